"""The picture of the experiment: the solution, the error of each way over the domain, and as it falls in training."""

import matplotlib.pyplot as plt
import torch


def draw(compare, maps, looks, path):
    """Maps: each way's error (n,) at the points compared; looks: of each way, (seconds, relative error, …) rows."""
    figure, axes = plt.subplots(2, 4, figsize=(15, 7.4), layout="constrained")
    first, *others, last = axes.flat
    image = field(first, compare, compare.truth, cmap="viridis")
    first.set_title("solution")
    figure.colorbar(image, ax=first)
    for ax, (name, error) in zip(others, maps.items(), strict=True):
        image = field(ax, compare, error.abs().clamp(min=1e-12).log10(), cmap="magma", vmin=-7, vmax=-2)
        ax.set_title(f"{name}: error {looks[name][-1][1]:.1e}", fontsize=10)
    figure.colorbar(image, ax=others, label="log₁₀ |network − solution|", shrink=0.6)
    for name, rows in looks.items():
        last.plot(range(len(rows)), [row[1] for row in rows], marker="o", ms=3, label=name)
    last.set(yscale="log", title="relative error", xlabel="after Adam, and rounds of BFGS", xticks=range(len(rows)))
    last.legend(fontsize=7, frameon=False)
    figure.savefig(path, dpi=70)
    plt.close(figure)


def field(ax, compare, values, **how):
    line, whole = compare.line.numpy(), torch.full(compare.inside.shape, torch.nan, dtype=values.dtype)
    whole[compare.inside] = values
    ax.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1), aspect="equal")
    coarse = slice(None, None, 2)
    values = whole.view(len(line), len(line)).T[coarse, coarse].numpy()
    return ax.pcolormesh(line[coarse], line[coarse], values, rasterized=True, **how)
