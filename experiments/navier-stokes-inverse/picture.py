"""The picture of the experiment: what was measured, the pressure that was not, and the viscosity in the training."""

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

COLOURS = ("#1b9e77", "#7570b3", "#d95f02")


def draw(grid, truth, values, looks, nu, path):
    """grid (n, 2); truth (n, 3) there; values: the network's `ours` (n, 3), what was `seen` (m, 2) `at` places (m, 2);
    looks: (noise, name of the run, step, viscosity).
    """
    figure, axes = plt.subplots(1, 5, figsize=(15, 4), layout="constrained", width_ratios=(1.1, 1, 1, 1, 1.6))
    x, y = grid[:, 0].unique().numpy(), grid[:, 1].unique().numpy()
    table = lambda column: column.view(len(x), len(y)).T.numpy()
    u, v, ours = (table(column) for column in values["ours"].T)
    solution = table(truth[:, 2])
    ours = ours - ours.mean() + solution.mean()
    stream(axes[0], x, y, u, v)
    at, seen = values["at"].numpy(), values["seen"].numpy()
    axes[0].quiver(*at.T, *seen.T, (seen**2).sum(1) ** 0.5, cmap="viridis", angles="xy", scale=16, width=0.008)
    maps = {"pressure": (solution, None), "network's": (ours, None), "network − solution": (ours - solution, "RdBu_r")}
    for ax, (title, (values, colours)) in zip(axes[1:], maps.items(), strict=False):
        largest = abs(values).max()
        span = {"vmin": -largest, "vmax": largest} if colours else {"vmin": solution.min(), "vmax": solution.max()}
        image = ax.pcolormesh(x, y, values, cmap=colours, **span, rasterized=True)
        figure.colorbar(image, ax=ax, location="bottom", shrink=0.9, ticks=MaxNLocator(4))
        ax.set(title=title, xticks=(), yticks=(), aspect="equal")
    course(axes[4], looks, nu)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def stream(ax, x, y, u, v):
    """Stream lines of velocities (len(y), len(x))."""
    ax.streamplot(x, y, u, v, color="#999999", linewidth=0.6, arrowsize=0.6, density=0.8)
    ax.set(title="arrows: measured, lines: found", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal")


def course(ax, looks, nu):
    """The viscosity in the course of each run."""
    noises = sorted({noise for noise, *_ in looks})
    for name in dict.fromkeys(name for _, name, *_ in looks):
        noise, _, steps, values = zip(*(look for look in looks if look[1] == name), strict=True)
        colour = COLOURS[noises.index(noise[0]) % len(COLOURS)]
        label = None if any(line.get_color() == colour for line in ax.lines) else f"noise {noise[0]:.0%}"
        ax.plot(steps, values, color=colour, lw=1, label=label)
    ax.axhline(nu, color="black", lw=1, ls="--")
    ax.set(title="viscosity (dashed: true)", xlabel="step", yscale="log")
    ax.legend(fontsize=8, frameon=False)
