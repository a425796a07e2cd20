"""The picture of the experiment: made digits and their nearest real ones, ways from one to another, and training."""

import matplotlib.pyplot as plt
import torch

COLUMNS, PAIRS = 12, 4


def draw(made, generator, walk, x, looks, table, path):
    """Made images (n, 64); ends of walks in the noise (m, 2, latent); training images; (step, how well told)."""
    figure = plt.figure(figsize=(14, 4.6), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1, 1, 1.05))
    first = made[: PAIRS * COLUMNS]
    nearest = x[torch.cdist(first, x).argmin(1)]
    pairs = torch.stack([first.view(PAIRS, COLUMNS, 64), nearest.view(PAIRS, COLUMNS, 64)], 1)
    show(left.subplots(), pairs.flatten(0, 2), "made digits, each above its nearest training digit")
    along = torch.linspace(0, 1, COLUMNS)[:, None]
    ways = torch.cat([torch.lerp(start, end, along) for start, end in walk])
    with torch.no_grad():
        show(middle.subplots(), generator(ways), "from one point of the noise to another")
    draw_training(right.subplots(), looks, table)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_training(ax, looks, table):
    steps, told = zip(*looks, strict=True)
    ax.plot(steps, told, color="#1b9e77", lw=1.5, label="generator")
    for name, colour in (("normal density", "#d95f02"), ("training digits", "#777777")):
        ax.axhline(table[name]["told from held-out digits"], color=colour, lw=1.2, ls="--", label=name)
    ax.axhline(0.5, color="k", lw=0.9, ls=":")
    ax.set(xlabel="step", ylabel="how often a nearest neighbour is of the own kind", ylim=(0.4, 1.02))
    ax.legend(fontsize=9, frameon=False)


def show(ax, images, title):
    ax.imshow(tiled(images).numpy(), cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.set_frame_on(False)
    ax.set_title(title, fontsize=10)


def tiled(images):
    """Images (n, 64) in rows, with a gap between them."""
    padded = torch.nn.functional.pad(images.view(-1, 8, 8), (1, 1, 1, 1))  # (n, 10, 10)
    return padded.view(-1, COLUMNS, 10, 10).transpose(1, 2).reshape(-1, 10 * COLUMNS)
