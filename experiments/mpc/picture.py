"""The picture of the experiment: runs from the same places, how often the wall is passed, and the costs recovered."""

import matplotlib.pyplot as plt
import numpy as np
from cart import DT

COLOURS = {"expert": "#333333", "costs": "#1b9e77", "costs+l": "#66a61e", "network": "#d95f02"}
TITLES = {"expert": "the expert", "costs": "its costs, learned", "network": "a network that imitates it"}
NAMES = {"costs": "costs learned", "costs+l": "costs and length", "network": "network"}
WEIGHTS = ("place", "speed", "angle", "turning", "length")
PALETTE = ("#1f77b4", "#9467bd", "#d62728", "#e377c2", "#7f7f7f")


def draw(runs, truth, p, path):
    """Runs, one for each seed: scores by (name, shown, wall), weights by (name, shown), states (times, b, 4)."""
    rows = (("expert", "costs", "network"), ("passed", "learning", "weights"))
    figure, grid = plt.subplot_mosaic(rows, figsize=(12.5, 6.6), layout="constrained")
    figure.get_layout_engine().set(wspace=0.05, hspace=0.05, w_pad=0.1)
    middle = p.shown[len(p.shown) // 2]
    for name, title in TITLES.items():
        shown = 0 if name == "expert" else middle
        draw_paths(grid[name], runs[0][2][name, shown, p.wall][..., 0].numpy(), p.wall, COLOURS[name])
        grid[name].set(title=title if name == "expert" else f"{title}, {middle} runs shown", xlabel="time (s)")
    grid["expert"].set(ylabel="place of the cart (m)")
    draw_passed(grid["passed"], [scores for scores, *_ in runs], p)
    draw_learning(grid["learning"], runs[0][1]["costs+l", max(p.shown)].numpy(), truth)
    draw_weights(grid["weights"], [weights for _, weights, _ in runs], truth, p)
    figure.savefig(path, dpi=105)
    plt.close(figure)


def draw_paths(ax, places, wall, colour):
    """Runs that pass the wall in red."""
    times = DT * np.arange(len(places))
    beyond = (np.abs(places) > wall).any(0)
    ax.axhspan(wall, 10, color="#dddddd", lw=0)
    ax.axhspan(-10, -wall, color="#dddddd", lw=0)
    ax.plot(times, places[:, ~beyond], color=colour, lw=0.8, alpha=0.55)
    ax.plot(times, places[:, beyond], color="#c0152f", lw=1.1)
    ax.text(times[-1], 1.12 * wall, f"{beyond.sum()} of {len(beyond)} pass the wall", ha="right", fontsize=9)
    ax.set(xlim=(0, times[-1]), ylim=(-1.35 * wall, 1.35 * wall))


def draw_passed(ax, scores, p):
    """The share of runs beyond the wall: dots for seeds, where the wall was and (hollow) where it is moved to."""
    for k, name in enumerate(NAMES):
        for j, n in enumerate(p.shown):
            for wall, face, shift in ((p.wall, COLOURS[name], -0.06), (p.moved, "none", 0.06)):
                shares = [100 * row[name, n, wall]["runs beyond the wall"] for row in scores]
                x = np.full(len(shares), j + 0.27 * (k - 1) + shift)
                ax.plot(x, shares, "o", mfc=face, mec=COLOURS[name], ms=6, clip_on=False, zorder=3)
        ax.plot([], [], "o", color=COLOURS[name], label=NAMES[name])
    ax.plot([], [], "o", mfc="none", mec="#555555", label="the wall moved after training")
    ax.set_xticks(range(len(p.shown)), [f"{n}" for n in p.shown])
    ax.set(xlabel="runs shown", ylabel="runs that pass the wall, %", title=f"control, {len(scores)} seeds")
    ax.set_ylim(0, None)
    ax.legend(fontsize=8, frameon=False)


def draw_learning(ax, weights, truth):
    for name, colour, path, true in zip(WEIGHTS, PALETTE, weights.T, truth, strict=True):
        ax.plot(np.arange(len(path)), path, color=colour, lw=1.5, label=name)
        ax.axhline(true, color=colour, lw=0.9, ls=":")
    ax.xaxis.set_major_locator(plt.MaxNLocator(integer=True))
    ax.set(yscale="log", xlabel="step", title="costs and length learned (dotted: true)")
    ax.set_ylim(None, 1.6 * max(truth))
    ax.legend(fontsize=8, frameon=False, ncols=2, loc="upper right", bbox_to_anchor=(1, 0.86))


def draw_weights(ax, weights, truth, p):
    """What was learned in parts of the truth: paler for fewer shown runs."""
    for j, (n, shade) in enumerate(zip(p.shown, np.linspace(0.35, 1, len(p.shown)), strict=True)):
        for k, (colour, true) in enumerate(zip(PALETTE, truth, strict=True)):
            found = [row["costs+l", n][-1, k].item() / true for row in weights]
            x = np.full(len(found), k + 0.22 * (j - (len(p.shown) - 1) / 2))
            ax.plot(x, found, "o", color=colour, alpha=shade, ms=6, mec="none")
    ax.axhline(1, color="k", lw=0.9, ls=":")
    ax.set_xticks(range(len(WEIGHTS)), WEIGHTS)
    label = ", ".join(map(str, p.shown))
    ax.set(yscale="log", ylabel="learned / true", title=f"{label} runs shown, from pale to full")
