"""The picture of the experiment: what the three answers say of the plane, where chains agree, how features train."""

import matplotlib.pyplot as plt

TITLES = {"point": "most probable weights", "layer": "last layer sampled", "all": "all weights sampled"}


def draw(axis, maps, checks, x, y, looks, climbed, path):
    """Maps by name: probabilities (n²,) on axis × axis; checks: R-hat and ess on every other number of each."""
    figure = plt.figure(figsize=(12.5, 7.2), layout="constrained")
    grid = figure.subplot_mosaic([["point", "layer", "all"], ["rhat", "ess", "features"]])
    for name, probabilities in maps.items():
        image = draw_map(grid[name], axis, probabilities, x, y)
        grid[name].set_title(TITLES[name], fontsize=10)
        figure.colorbar(image, ax=grid[name], label="probability of label 1" if name == "all" else "", shrink=0.9)
    for name, found, title in zip(("rhat", "ess"), checks, ("R-hat", "effective draws"), strict=True):
        image = grid[name].pcolormesh(axis[::2], axis[::2], found.reshape(len(axis[::2]), -1).T, cmap="viridis")
        grid[name].set(aspect="equal", xticks=(-5, 0, 5), yticks=(-5, 0, 5))
        grid[name].set_title(f"all weights sampled: {title} of the map", fontsize=10)
        figure.colorbar(image, ax=grid[name], shrink=0.9)
    draw_features(grid["features"], looks, climbed)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_map(ax, axis, probabilities, x, y):
    n = len(axis)
    p = probabilities.view(n, n).T.numpy()
    image = ax.pcolormesh(axis, axis, p, cmap="RdBu_r", vmin=0, vmax=1, shading="gouraud")
    ax.contour(
        axis, axis, p, levels=[0.1, 0.5, 0.9], colors="k", linewidths=(0.6, 1.2, 0.6), linestyles=(":", "-", ":")
    )
    for label, colour in ((1, "#d6604d"), (0, "#4393c3")):
        ax.plot(*x[y == label].T.numpy(), "o", ms=4.5, color=colour, mec="white", mew=0.8)
    ax.set(aspect="equal", xticks=(-5, 0, 5), yticks=(-5, 0, 5))
    return image


def draw_features(ax, looks, climbed):
    steps, evidences = zip(*looks, strict=True)
    ax.plot(steps, evidences, color="#1b9e77", lw=1.4, label="HMC and Adam take turns")
    ax.axhline(climbed, color="#777777", lw=1, ls="--", label="climbed on with the exact slope")
    ax.set(xlabel="step of the features", ylabel="log evidence", ylim=(climbed - 12, climbed + 1))
    ax.set_title("last layer sampled: how the features train", fontsize=10)
    ax.legend(fontsize=8, frameon=False, loc="lower right")
