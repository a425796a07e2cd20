"""The picture of the experiment: the solution, the errors of the worst way and of the best, and how all errors fall."""

import matplotlib.pyplot as plt


def draw(compare, maps, looks, steps, path):
    """Maps: each way's error (n, n) over x and y; looks: rows of (step, relative error, …); `steps` of them by Adam."""
    errors = {name: rows[-1][1] for name, rows in looks.items()}
    worst, best = max(errors, key=errors.get), min(errors, key=errors.get)
    shown = {"solution": compare.truth.view_as(maps[best])}
    shown |= {f"{name}: network − solution": maps[name] for name in (worst, best)}
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.4), layout="constrained", width_ratios=(1, 1, 1, 1.1))
    line = compare.line.numpy()
    for ax, (title, values) in zip(axes, shown.items(), strict=False):
        largest = values.abs().max().item()
        image = ax.pcolormesh(line, line, values.T.numpy(), cmap="RdBu_r", vmin=-largest, vmax=largest, rasterized=True)
        figure.colorbar(image, ax=ax)
        ax.set(title=title, xlabel="x", ylabel="y")
    for name, rows in looks.items():
        axes[-1].plot([row[0] for row in rows], [row[1] for row in rows], label=name)
    axes[-1].axvline(steps, color="grey", lw=0.8, ls=":")
    axes[-1].set(yscale="log", title="relative error: Adam, then BFGS", xlabel="steps and iterations")
    axes[-1].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=90)
    plt.close(figure)
