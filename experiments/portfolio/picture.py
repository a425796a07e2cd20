"""The picture of the experiment: what became of 1, what was held, how sure the differences are, what is learned."""

import matplotlib.pyplot as plt
import numpy as np
from market import FEATURES, STOCKS, YEAR

COLOURS = {
    "end to end": "#1b9e77",
    "tuned": "#7570b3",
    "predict": "#d95f02",
    "minimum variance": "#e6ab02",
    "equal weights": "#555555",
    "index": "#aaaaaa",
}


def draw(returns, walks, differences, p, path):
    """Returns by name (times,); walks as from `walk`; differences by name, each a difference with its interval."""
    rows = (("worth", "differences"), ("held", "learned"))
    figure, grid = plt.subplot_mosaic(rows, figsize=(12.5, 7), width_ratios=(1.2, 1), layout="constrained")
    figure.get_layout_engine().set(wspace=0.05, hspace=0.05)
    draw_worth(grid["worth"], returns, p)
    draw_held(grid["held"], walks["end to end"][1].numpy(), p)
    draw_differences(grid["differences"], differences)
    draw_learned(grid["learned"], walks)
    figure.savefig(path, dpi=105)
    plt.close(figure)


def dates(p, n):
    return np.linspace(p.first, p.last + 1, n, endpoint=False)


def draw_worth(ax, returns, p):
    ends = {}
    for name, r in returns.items():
        worth = r.log1p().cumsum(0).exp().numpy()
        ax.plot(dates(p, len(worth)), worth, color=COLOURS[name], lw=2 if name == "end to end" else 1.2)
        ends[name] = worth[-1]
    heights = spread_out({name: np.log(end) for name, end in ends.items()}, 0.085 * np.log(max(ends.values())))
    for name, height in heights.items():
        text = f"{name}  {ends[name]:.1f}"
        ax.text(p.last + 1.15, np.exp(height), text, color=COLOURS[name], fontsize=9, va="center")
    ax.set(yscale="log", xlim=(p.first, p.last + 1), title="what became of 1, after costs")
    ax.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    ax.minorticks_off()


def spread_out(heights, gap):
    """The same, in order, moved up so far that labels don't overlap."""
    found, last = {}, -np.inf
    for name in sorted(heights, key=heights.get):
        last = found[name] = max(heights[name], last + gap)
    return found


def draw_held(ax, weights, p):
    """The stocks that were held most, and the rest, (times, 20)."""
    most = np.argsort(-weights.mean(0))[:8]
    rest = np.delete(weights, most, 1).sum(1)
    shades = [*plt.get_cmap("tab20c")(np.linspace(0, 0.75, 8)), (0.9, 0.9, 0.9, 1.0)]
    parts = [*weights[:, most].T, rest]
    ax.stackplot(dates(p, len(weights)), *parts, colors=shades, lw=0, labels=[*(STOCKS[k] for k in most), "others"])
    ax.set(xlim=(p.first, p.last + 1), ylim=(0, 1), ylabel="weight", title="what is held, end to end")
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))


def draw_differences(ax, differences):
    for k, (name, found) in enumerate(differences.items()):
        low, middle, high = (100 * found["utility"][what] for what in ("low", "difference", "high"))
        ax.plot([low, high], [k, k], color=COLOURS[name], lw=3, solid_capstyle="round", alpha=0.6)
        ax.plot([middle], [k], "o", color=COLOURS[name], ms=8)
        ax.text(middle, k - 0.25, f"{middle:+.1f}", color=COLOURS[name], fontsize=9, ha="center")
    ax.axvline(0, color="k", lw=0.9, ls=":")
    ax.set_yticks(range(len(differences)), [f"− {name}" for name in differences])
    ax.set(ylim=(len(differences) - 0.5, -0.6), xlabel="% a year of certain return, with 95 % intervals")
    ax.set_title("end to end, less the others: utility")


def draw_learned(ax, walks):
    """The coefficients over the trainings: full lines end to end, dotted by regression."""
    palette = ("#1f77b4", "#d62728", "#9467bd", "#8c564b")
    for way, style in (("end to end", "o-"), ("predict", "o:")):
        policies = walks[way][3]
        for k, (name, colour) in enumerate(zip(FEATURES, palette, strict=True)):
            found = [YEAR * policy.weights[0][k].item() / 10 for policy in policies.values()]
            label = name if way == "end to end" else None
            ax.plot(list(policies), found, style, color=colour, lw=1.4, ms=4, label=label)
    ax.axhline(0, color="k", lw=0.8)
    ax.set_xticks(list(policies))
    ax.set(ylim=(None, 1.3 * ax.get_ylim()[1]), xlabel="trained until", ylabel="% a year, one standard deviation")
    ax.set_title("worth of features (dotted: regression)", fontsize=11)
    ax.legend(fontsize=8, frameon=False, ncols=2, loc="upper right")
