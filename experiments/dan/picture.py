"""The picture of the experiment: what the scanners see, how the modes compare, what λ does."""

import matplotlib.pyplot as plt
import numpy as np
import torch

COLOURS = {"oracle": "#777777", "plain": "#1f77b4", "literal": "#d95f02", "flipped": "#9467bd", "routed": "#1b9e77"}
MEASURES = (("accuracy, balanced test", (0.70, 0.95)), ("site probe accuracy", (0.4, 1.05)))


def draw(samples, table, lambdas, path):
    """Samples: four rows of images; table: (seeds, 2) accuracies by mode, "routed λ=1" and the like."""
    figure = plt.figure(figsize=(12.5, 4.2), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(0.8, 1, 1.1))
    draw_samples(left.subplots(4, 4), samples)
    compared = {
        name.removesuffix(" λ=1"): pairs for name, pairs in table.items() if "λ" not in name or "λ=1" in name.split()
    }
    pairs_of_axes = zip(middle.subplots(2, 1, sharex=True), right.subplots(2, 1, sharex=True), strict=True)
    for k, (axes, (label, limits)) in enumerate(zip(pairs_of_axes, MEASURES, strict=True)):
        draw_modes(axes[0], {name: pairs[:, k] for name, pairs in compared.items()})
        draw_sweep(axes[1], {name: pairs[:, k] for name, pairs in table.items()}, lambdas)
        for ax in axes:
            ax.set(ylabel=label, ylim=limits)
            if k == 1:
                ax.axhline(0.5, color="k", lw=0.9, ls=":")
    axes[1].set_xlabel("λ")
    axes[1].legend(fontsize=8, loc="upper right", bbox_to_anchor=(1, 0.93), frameon=False)
    left.suptitle("Digits at the two sites", fontsize=11)
    middle.suptitle(f"λ = 1, {len(table['plain'])} seeds", fontsize=11)
    right.suptitle("λ sweep, mean ± standard deviation", fontsize=11)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_samples(grid, samples):
    for axes, images, name in zip(grid, samples, ("original", "site 0", "site 1", "site 1"), strict=True):
        for ax, image in zip(axes, images, strict=True):
            ax.imshow(image.numpy(), cmap="gray_r", vmin=-0.6, vmax=1.6)
            ax.set(xticks=[], yticks=[])
        axes[0].set_ylabel(name, fontsize=9)


def draw_modes(ax, modes):
    for j, (name, runs) in enumerate(modes.items()):
        x = np.linspace(j - 0.15, j + 0.15, len(runs))
        ax.plot(x, runs.numpy(), "o", ms=5, alpha=0.7, color=COLOURS[name])
        ax.hlines(runs.mean().item(), j - 0.3, j + 0.3, color=COLOURS[name], lw=2)
    ax.set_xticks(range(len(modes)), list(modes))


def draw_sweep(ax, table, lambdas):
    ax.axhline(table["plain"].mean().item(), color=COLOURS["plain"], lw=1.2, ls="--", label="plain")
    for name in ("literal", "flipped", "routed"):
        runs = torch.stack([table[f"{name} λ={lam:g}"] for lam in lambdas])  # (lambdas, seeds)
        mean, std = runs.mean(1).numpy(), runs.std(1).numpy()
        ax.plot(lambdas, mean, "o-", ms=4, label=name, color=COLOURS[name])
        ax.fill_between(lambdas, mean - std, mean + std, alpha=0.12, color=COLOURS[name], lw=0)
    ax.set_xscale("log")
    ax.set_xticks(lambdas, [f"{lam:g}" for lam in lambdas])
    ax.minorticks_off()
