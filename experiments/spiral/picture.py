"""The picture of the experiment: the spiral and what was learned of it, in the plane and in time, and the error."""

import matplotlib.pyplot as plt
import numpy as np

COLOURS = {"torchflux": "#1b9e77", "torchdiffeq": "#7570b3"}


def draw(ts, truth, runs, p, path):
    """Truth: (points, 2); runs by library, of which the first one's spiral is shown."""
    ts, truth, learned = ts.numpy(), truth.numpy(), next(iter(runs.values())).whole().numpy()
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 4), layout="constrained", width_ratios=(1, 1.3, 1.1))
    plane, time, error = axes
    plane.plot(*truth.T, color="#bbbbbb", lw=4, label="the spiral")
    plane.plot(*learned.T, color=COLOURS["torchflux"], lw=1.2, label="the network")
    plane.set(xlim=(-2.3, 2.3), ylim=(-3.1, 2.3), aspect="equal", xlabel="y₁", ylabel="y₂")
    plane.legend(fontsize=8, frameon=False, loc="lower left")
    for k, (y, style) in enumerate(zip(truth.T, ("-", "--"), strict=True)):
        time.plot(ts, y, color="#bbbbbb", lw=4)
        time.plot(ts, learned[:, k], color=COLOURS["torchflux"], lw=1.2, ls=style, label=f"y{'₁₂'[k]} of the network")
    time.axvspan(0, ts[p.length - 1], color="#f4d9a8", lw=0, label="length of a piece")
    time.set(xlabel="t", ylim=(-2.3, 2.3), xlim=(-0.5, ts[-1]))
    time.legend(fontsize=8, frameon=False, loc="lower right")
    draw_errors(error, runs, p)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_errors(ax, runs, p):
    """Of the pieces and of the whole spiral, for both libraries: the first one's lines are wide, to be seen below."""
    for (name, run), wide in zip(runs.items(), (True, False), strict=False):
        style = {"color": COLOURS[name], "lw": 4 if wide else 1.4, "alpha": 0.5 if wide else 1}
        steps = np.minimum(np.arange(len(run.so_far.looks)) * p.every, p.steps)
        pieces, whole = zip(*run.so_far.looks, strict=True)
        ax.plot(steps, whole, **style, label=f"{name}: {run.so_far.processor:.0f} s of processor time")
        ax.plot(steps, pieces, **style)
    for errors, text in ((whole, "of the whole spiral"), (pieces, "of the pieces")):
        above = 1.25 * max(error for step, error in zip(steps, errors, strict=True) if step >= 0.6 * p.steps)
        ax.text(p.steps, above, text, fontsize=8, ha="right", color="#444444")
    ax.axhline(p.goal, color="#777777", lw=1, ls="--")
    ax.text(0, 0.95 * p.goal, f"goal: {p.goal:g}", fontsize=8, va="top", color="#555555")
    ax.set(yscale="log", xlabel="step", ylabel="root mean square error")
    ax.legend(fontsize=8, frameon=False, loc="upper right")
