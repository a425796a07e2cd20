"""The picture of the experiment: how training goes, what is taken for what, and each kind of mistake with its image."""

import matplotlib.pyplot as plt
import numpy as np

ROWS, COLUMNS = 4, 6


def draw(curves, misread, images, p, path):
    """Curves: held-out error by epoch for each network; misread: what was said of an image; images: (image, digit)."""
    figure = plt.figure(figsize=(14, 4.2), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1, 0.95, 1.25))
    draw_curves(left.subplots(), curves)
    draw_confusion(middle.subplots(), misread, p.rounds)
    draw_misread(right.subplots(ROWS, COLUMNS), misread, images)
    right.suptitle("misread most often: what it is → what the network says, and how surely", fontsize=10)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_curves(ax, curves):
    epochs, percent = np.arange(1, len(curves[0]) + 1), 100 * np.array(curves)
    ax.plot(epochs, percent.T, lw=0.6, alpha=0.4, color="#1f77b4")
    ax.plot(epochs, percent.mean(0), lw=2, color="#1f77b4", label=f"mean of {len(curves)} networks")
    ax.axhline(2, color="#777777", lw=0.8, ls=":")
    ax.set(xlabel="epoch", ylabel="held-out images misread, %", ylim=(0, None))
    ax.set_yscale("symlog", linthresh=1)
    ax.set_xticks(range(5, len(curves[0]) + 1, 5))
    ax.set_yticks([0, 1, 2, 5, 10, 50], ["0", "1", "2", "5", "10", "50"])
    ax.minorticks_off()
    ax.legend(fontsize=9, frameon=False)


def draw_confusion(ax, misread, rounds):
    counts = np.zeros((10, 10), int)
    for row in misread:
        counts[row["is"], int(row["said"][0][0])] += 1
    ax.imshow(counts, cmap="Blues")
    for i, j in zip(*counts.nonzero(), strict=True):
        ax.text(j, i, counts[i, j], ha="center", va="center", color="white" if counts[i, j] > counts.max() / 2 else "k")
    ax.set(xlabel="what the network says", ylabel="what it is", xticks=range(10), yticks=range(10))
    ax.set_title(f"mistakes in {rounds} rounds of all images", fontsize=10)


def draw_misread(grid, misread, images):
    """The images misread in the most rounds, with the surest of their mistakes."""
    for ax in grid.flat:
        ax.set_axis_off()
    surest = sorted(misread, key=lambda row: row["said"][0][1])
    each = {row["image"]: row for row in surest}  # the last one stays
    times = {i: sum(row["image"] == i for row in misread) for i in each}
    shown = sorted(each.values(), key=lambda row: (-times[row["image"]], -row["said"][0][1]))
    for ax, row in zip(grid.flat, shown, strict=False):
        image, digit = images[row["image"]]
        label, probability = row["said"][0]
        ax.imshow(image.values()[0].numpy(), cmap="gray_r", vmin=0, vmax=16)
        ax.set_title(f"{digit} → {label}, {probability:.0%}", fontsize=8, pad=2)
