"""The picture of the experiment: surprise letter by letter, the curve beside counts, and what the network writes."""

import textwrap

import matplotlib.pyplot as plt
from matplotlib.colors import Normalize

WIDTH, LINES = 62, 18


def draw(text, surprise, looks, bits, written, path):
    """The held-out text with its bits but for the first letter; (step, bits); bits by method; texts by temperature."""
    figure = plt.figure(figsize=(15, 5), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1.25, 0.9, 1))
    start = text.index("\n\n") + 2  # where the next one speaks
    draw_text(left.subplots(), text[start:], surprise[start - 1 :].tolist())
    draw_curve(middle.subplots(), looks, bits)
    for ax, (temperature, sample) in zip(
        right.subplots(len(written), 1, squeeze=False).flat, written.items(), strict=True
    ):
        ax.set_axis_off()
        lines = [part for line in sample.strip().split("\n") for part in textwrap.wrap(line, 64) or [""]][:15]
        ax.text(0, 1, "\n".join(lines), va="top", fontsize=7.5, family="monospace", transform=ax.transAxes)
        ax.set_title(f"written at temperature {temperature}", fontsize=10, loc="left")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_text(ax, text, bits):
    colours, norm, row, column = plt.get_cmap("OrRd"), Normalize(0, 9), 0, 0
    for letter, surprise in zip(text, bits, strict=True):
        if letter == "\n" or column == WIDTH:
            row, column = row + 1, 0
        if row == LINES:
            break
        if letter != "\n":
            box = {"facecolor": colours(norm(surprise)), "edgecolor": "none", "pad": 0.8}
            ax.text(column, -row, letter, fontsize=8, family="monospace", ha="center", va="center", bbox=box)
            column += 1
    ax.set(xlim=(-1, WIDTH), ylim=(-LINES, 1))
    ax.set_axis_off()
    ax.set_title("held-out text; the redder, the more surprising a letter was", fontsize=10, loc="left")


def draw_curve(ax, looks, bits):
    ax.plot(*zip(*looks, strict=True), color="#1b9e77", lw=1.8, label="network")
    for k, value in enumerate(value for name, value in bits.items() if name != "network"):
        ax.axhline(value, color="#d95f02", lw=1, ls="--", label="counts, by letters before" if k == 0 else None)
        ax.annotate(str(k), (looks[-1][0] * (0.3 + 0.1 * k), value), fontsize=8, color="#d95f02", va="bottom")
    ax.set(xlabel="step", ylabel="held out, bits a letter")
    ax.legend(fontsize=9, frameon=False, loc="center right", bbox_to_anchor=(1, 0.6))
