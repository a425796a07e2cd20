"""The picture of the experiment: accuracy by epoch, what is taken for what, and images with what is said of them."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image

ROWS, COLUMNS = 5, 7


def draw(data, curve, test, labels, guesses, path):
    """Data: what the images are; curve: accuracy by epoch; test: (image, class) of those held out; guesses (n,)."""
    figure = plt.figure(figsize=(15, 4.6), layout="constrained")
    warning = "" if data == "CIFAR-10" else " (not CIFAR-10's images)"
    figure.suptitle(f"{data}{warning}: {curve[-1]:.1%} of {len(test)} held-out images are named rightly")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(0.8, 1, 1.4))
    draw_curve(left.subplots(), curve)
    draw_confusion(middle.subplots(), test.targets, guesses.tolist(), labels)
    draw_images(right.subplots(ROWS, COLUMNS), test, guesses.tolist(), labels)
    content = BytesIO()
    figure.savefig(content, dpi=90)
    PIL.Image.open(content).convert("RGB").quantize(200).save(path, optimize=True)  # noise makes a PNG large
    plt.close(figure)


def draw_curve(ax, curve):
    ax.plot(np.arange(1, len(curve) + 1), 100 * np.array(curve), "o-", ms=4)
    ax.axhline(10, color="#777777", lw=0.8, ls=":")
    ax.text(1, 11, "by guessing", fontsize=8, color="#777777")
    ax.set(xlabel="epoch", ylabel="held-out images named rightly, %", ylim=(0, 100))


def draw_confusion(ax, targets, guesses, labels):
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (targets, guesses), 1)
    ax.imshow(counts / counts.sum(1, keepdims=True).clip(1), cmap="Blues", vmin=0, vmax=1)
    for i, j in zip(*counts.nonzero(), strict=True):
        dark = counts[i, j] > counts[i].sum() / 2
        ax.text(j, i, counts[i, j], ha="center", va="center", fontsize=8, color="white" if dark else "k")
    ax.set_xticks(range(10), labels, rotation=60, ha="right", fontsize=8)
    ax.set_yticks(range(10), labels, fontsize=8)
    ax.set(xlabel="what the network says", ylabel="what it is")


def draw_images(grid, test, guesses, labels):
    """The first mistakes in half of the rows, in red, and the first of the others."""
    wrong = [i for i, (y, guess) in enumerate(zip(test.targets, guesses, strict=True)) if y != guess]
    right = [i for i in range(len(test)) if i not in set(wrong)]
    half = ROWS // 2 * COLUMNS
    shown = wrong[:half] + right
    for ax, i in zip(grid.flat, shown, strict=False):
        image, y = test[i]
        said = labels[guesses[i]]
        ax.imshow(image.values().permute(1, 2, 0).numpy())
        ax.set_title(
            said if y == guesses[i] else f"{labels[y]} → {said}",
            fontsize=7,
            pad=2,
            color="k" if y == guesses[i] else "#c0272d",
        )
        ax.set_axis_off()
