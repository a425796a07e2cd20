"""The picture of the experiment: solution, network and error over space and time, and two moments in time."""

import matplotlib.pyplot as plt

TIMES = (0.0, 0.1, 0.3, 1.0)


def draw(x, t, truth, ours, path):
    """x (m,), t (n,), truth and ours (m, n)."""
    x, t, truth, ours = (a.numpy() for a in (x, t, truth, ours))
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.4), layout="constrained", width_ratios=(1, 1, 1, 1.1))
    maps = {"solution": truth, "network": ours, "network − solution": ours - truth}
    for ax, (title, values) in zip(axes, maps.items(), strict=False):
        largest = abs(values).max()
        image = ax.pcolormesh(t, x, values, cmap="RdBu_r", vmin=-largest, vmax=largest, rasterized=True)
        figure.colorbar(image, ax=ax)
        ax.set(title=title, xlabel="t", ylabel="x")
    for time in TIMES:
        k = abs(t - time).argmin()
        (line,) = axes[-1].plot(x, ours[:, k], lw=1.3, label=f"t = {time:g}")
        axes[-1].plot(x, truth[:, k], color=line.get_color(), lw=5, alpha=0.25)
    axes[-1].set(title="wide: the solution", xlabel="x", ylabel="u")
    axes[-1].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=100)
    plt.close(figure)
