"""The picture of the experiment: errors by number of images, what is taken for what, and where the network looks."""

import matplotlib.pyplot as plt
import numpy as np
from torch.nn.functional import avg_pool2d

COLOURS = {"random weights": "#777777", "photographs": "#d95f02", "digits": "#1f77b4", "logistic regression": "#2a9d4a"}
COLUMNS = 6  # of faces, in two rows


def draw(counts, faces, looks, p, path):
    """Counts by steps, way and images; faces (n, 1, 25, 25) held out, and how much each pixel counts, (n, 25, 25)."""
    figure = plt.figure(figsize=(15, 4.3), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1.1, 0.9, 1.5))
    draw_errors(left.subplots(), counts)
    *_, (steps, ways) = counts.items()
    cells = [
        (way, n) for n in (p.images[len(p.images) // 2], p.images[-1]) for way in ("random weights", "photographs")
    ]
    for ax, (way, n) in zip(middle.subplots(2, 2).flat, cells, strict=True):
        draw_confusion(ax, np.sum(ways[way][f"{n} images"], 0).reshape(2, 2), f"{way}, {n} images")
    middle.suptitle(f"what it is, and what is said, after {steps}", fontsize=10)
    draw_looks(right.subplots(4, COLUMNS), faces, looks)
    right.suptitle("the mean of 50 faces held out, some of them, and below each how much its pixels count", fontsize=10)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_errors(ax, counts):
    *early, last = counts
    for steps, ways in counts.items():
        for j, (way, row) in enumerate(ways.items()):
            images = np.array([int(n.split()[0]) for n in row])
            runs = np.array([[run[1] + run[2] for run in runs] for runs in row.values()])  # (numbers of images, splits)
            deviation = runs.std(1, ddof=min(1, runs.shape[1] - 1))
            style = {"color": COLOURS[way], "ms": 4, "lw": 1.3}
            if steps in early:
                ax.plot(images * (1 + 0.04 * (j - 1.5)), runs.mean(1), "o:", **style)
            else:
                name = way if way in ("random weights", "logistic regression") else f"{way} before"
                ax.errorbar(
                    images * (1 + 0.04 * (j - 1.5)), runs.mean(1), deviation, fmt="o-", capsize=2, label=name, **style
                )
    ax.set(xscale="log", xlabel="images to learn from", ylabel="wrong of 100 held out")
    ax.set_yscale("symlog", linthresh=1)
    ax.set_xticks(images, [str(n) for n in images])
    ax.set_yticks([0, 1, 2, 5, 10, 20, 50], ["0", "1", "2", "5", "10", "20", "50"])
    ax.set_ylim(0, 150)
    ax.minorticks_off()
    ax.set_title(f"after {last}; dotted: after {', '.join(early)}", fontsize=10)
    ax.legend(fontsize=8, frameon=False, ncols=2, loc="upper left")


def draw_confusion(ax, counts, title):
    ax.imshow(counts / counts.sum(1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        dark = count > counts[i].sum() / 2
        ax.text(j, i, count, ha="center", va="center", color="white" if dark else "k")
    ax.set_xticks((0, 1), ("no", "face"), fontsize=8)
    ax.set_yticks((0, 1), ("no", "face"), fontsize=8)
    ax.set_title(title, fontsize=9)


def draw_looks(grid, faces, looks):
    shares = looks / looks.mean((1, 2), keepdim=True)
    smooth = avg_pool2d(shares[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
    images = [faces[:, 0].mean(0), *faces[:, 0]]
    maps = [shares.mean(0), *smooth]
    places = [(grid[row, j], grid[row + 1, j]) for row in (0, 2) for j in range(COLUMNS)]
    for (above, below), image, look in zip(places, images, maps, strict=False):
        above.imshow(image.numpy(), cmap="gray")
        below.imshow(look.numpy(), cmap="magma")
    for ax in grid.flat:
        ax.set_axis_off()
