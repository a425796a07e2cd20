"""The picture of the experiment: how training goes, how the methods compare, and what the network misreads."""

import matplotlib.pyplot as plt
import numpy as np

COLOURS = {"network, images as they are": "#1f77b4", "network, images moved": "#d95f02"}
ROWS, COLUMNS = 4, 8


def draw(curves, table, misread, folder):
    """Curves: held-out error by epoch, a list for each seed; table: errors at last; misread: (image, is, read as)."""
    figure = plt.figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1, 1.1, 1.1))
    draw_curves(left.subplots(), curves)
    draw_methods(middle.subplots(), table)
    draw_misread(right.subplots(ROWS, COLUMNS), misread[: ROWS * COLUMNS])
    right.suptitle("misread: what it is → what the network says", fontsize=10)
    figure.savefig(folder / "mlp-digits.png", dpi=110)
    plt.close(figure)


def draw_curves(ax, curves):
    for name, runs in curves.items():
        epochs, colour = np.arange(1, len(runs[0]) + 1), COLOURS[f"network, images {name}"]
        for run in runs:
            ax.plot(epochs, 100 * np.array(run), lw=0.6, alpha=0.35, color=colour)
        ax.plot(epochs, 100 * np.mean(runs, 0), lw=1.8, color=colour, label=f"images {name}")
    ax.set(xlabel="epoch", ylabel="held-out images misread, %", yscale="log", yticks=[1, 2, 5, 10, 20])
    ax.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    ax.minorticks_off()
    ax.legend(fontsize=9, frameon=False)


def draw_methods(ax, table):
    for j, (name, runs) in enumerate(table.items()):
        percent, colour = 100 * np.array(runs), COLOURS.get(name, "#777777")
        ax.plot(percent, j + np.linspace(-0.15, 0.15, len(runs)), "o", ms=5, alpha=0.6, color=colour)
        ax.vlines(percent.mean(), j - 0.3, j + 0.3, color=colour, lw=2)
    ax.set_yticks(range(len(table)), [name.replace(", ", ",\n") for name in table], fontsize=9)
    ax.invert_yaxis()
    ax.set(xlabel="held-out images misread, %", xlim=(0, None))


def draw_misread(grid, misread):
    for ax in grid.flat:
        ax.set_axis_off()
    for ax, (image, label, guess) in zip(grid.flat, misread, strict=False):
        ax.imshow(image.numpy(), cmap="gray_r")
        ax.set_title(f"{label} → {guess}", fontsize=8, pad=2)
