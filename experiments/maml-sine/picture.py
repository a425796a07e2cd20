"""The picture of the experiment: two new waves and what is learnt of them, and errors by steps."""

import matplotlib.pyplot as plt
import torch

COLOURS = {"MAML": "#1b9e77", "first order": "#7570b3", "joint": "#d95f02", "random": "#777777"}
SHADES = {0: (0.9, ":"), 1: (1.2, "--"), 10: (1.8, "-")}


def draw(learner, found, waves, seen, errors, steps, path):
    """Weights by way of training; waves, of which points (2, k, 1) are seen; errors (steps + 1, tests) by way."""
    figure, grid = plt.subplots(1, 4, figsize=(16, 3.9), layout="constrained", width_ratios=(1, 1, 1, 1.05))
    pairs = (("MAML", 0), ("joint", 0), ("MAML", 1))
    for ax, (name, k) in zip(grid, pairs, strict=False):
        draw_wave(ax, learner, found[name], waves, seen, k, steps, COLOURS[name])
        ax.set_title(f"{name}: a new wave{', seen on one side' if k else ''}", fontsize=10)
    draw_errors(grid[-1], errors)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_wave(ax, learner, weights, waves, seen, k, steps, colour):
    x = torch.linspace(-5, 5, 300)[:, None]
    points = [part[k] for part in seen]
    ax.plot(x, waves(x)[k], color="#bbbbbb", lw=4, label="the wave")
    for after, (width, style) in zip((0, 1, steps), SHADES.values(), strict=True):
        with torch.no_grad():
            y = learner.network(learner.descent(weights, *points, after))(x)
        ax.plot(x, y, color=colour, lw=width, ls=style, label=f"after {after} step{'s' * (after != 1)}")
    ax.plot(*points, "k^", ms=6, label="seen")
    top = 1.9 * waves.amplitude[k].item()
    ax.set(xlabel="x", ylim=(-top, top))
    ax.legend(fontsize=8, frameon=False, loc="upper left", ncol=2)


def draw_errors(ax, errors):
    for name, each in errors.items():
        ax.plot(each.mean(1), "o-", ms=4, color=COLOURS[name], label=name)
    ax.set(xlabel="steps of gradient descent on ten points", ylabel="mean squared error, new waves", yscale="log")
    ax.set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
    ax.minorticks_off()
    ax.legend(fontsize=9, frameon=False, loc="center right", bbox_to_anchor=(1, 0.45), ncol=2)
