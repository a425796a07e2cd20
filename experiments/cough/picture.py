"""The picture of the experiment: what the chains make of a cough and of a vowel, and which way of learning hears it."""

import matplotlib.pyplot as plt
import numpy as np

COLOURS = {"as in training": "#999999", "swapped": "#d95f02", "unseen chain": "#1b9e77"}


def draw(sounds, responses, frequency, table, path):
    """Spectrograms (65, 33) of two sounds by chain; responses in dB by chain; accuracies of seeds, by way and test."""
    figure = plt.figure(figsize=(13.5, 4.7), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    draw_sounds(left.subplots(3, len(sounds), height_ratios=(1, 1, 0.9), squeeze=False), sounds, responses, frequency)
    draw_table(right.subplots(), table)
    figure.savefig(path, dpi=76)
    plt.close(figure)


def draw_sounds(axes, sounds, responses, frequency):
    for column, (name, spectrograms) in enumerate(sounds.items()):
        for ax, image, what in zip(axes[:2, column], spectrograms, ("cough", "vowel"), strict=True):
            ax.imshow(
                image.numpy(),
                origin="lower",
                aspect="auto",
                cmap=plt.get_cmap("magma", 12),
                vmin=-10,
                vmax=7,
                extent=(0, 0.51, 0, 4),
            )
            ax.set(xticks=[], yticks=[] if column else [0, 2, 4])
            if column == 0:
                ax.set_ylabel(f"{what}, kHz")
        axes[0, column].set_title(name, fontsize=10)
        axes[2, column].plot(frequency.numpy(), responses[name].numpy(), color="#7570b3", lw=1.4)
        axes[2, column].set(ylim=(-40, 15), xlim=(0, 4), xlabel="kHz", yticks=[] if column else [-30, -15, 0])
    axes[2, 0].set_ylabel("response, dB")


def draw_table(ax, table):
    """A row for each way, with a point for each seed and a bar at the mean."""
    for row, tests in enumerate(table.values()):
        for k, (test, runs) in enumerate(tests.items()):
            y = row + 0.24 * (k - 1)
            ax.plot(runs, np.full(len(runs), y), "o", ms=4, alpha=0.5, color=COLOURS[test])
            mean = sum(runs) / len(runs)
            ax.plot([mean, mean], [y - 0.11, y + 0.11], color=COLOURS[test], lw=3, label=None if row else test)
    ax.axvline(0.5, color="k", lw=0.9, ls=":")
    ax.set_yticks(range(len(table)), list(table))
    ax.invert_yaxis()
    ax.set(xlabel="sounds judged right", xlim=(0.3, 1.01))
    for row in range(1, len(table)):
        ax.axhline(row - 0.5, color="#dddddd", lw=0.8)
    ax.legend(fontsize=9, frameon=False, loc="center left")
