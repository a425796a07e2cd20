"""The picture of the experiment: the spiral and what was learned of it, in the plane and in time, and the error."""

import matplotlib.pyplot as plt
import numpy as np

COLOURS = {"torchflux": "#1b9e77", "torchdiffeq": "#7570b3"}


def draw(ts, truth, runs, p, path):
    """Truth: (points, 2); runs by library, of which the first one's spiral is shown."""
    learned = next(iter(runs.values())).whole()
    figure, (plane, time, error) = plt.subplots(1, 3, figsize=(12.5, 4), layout="constrained", width_ratios=(1, 1.3, 1.1))
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
    for name, run in runs.items():
        x = np.minimum(np.arange(len(run.looks)) * p.every, p.steps)
        pieces, whole = zip(*run.looks, strict=True)
        style = {"color": COLOURS[name], "lw": 4 if name == "torchflux" else 1.4, "alpha": 0.5 if name == "torchflux" else 1}
        error.plot(x, whole, **style, label=f"{name}: {run.processor:.0f} s of processor")
        error.plot(x, pieces, **style, ls="--" if name == "torchdiffeq" else "-")
    error.text(0.03 * p.steps, 0.3, "whole spiral", fontsize=8)
    error.text(0.03 * p.steps, 0.012, "pieces", fontsize=8)
    error.set(yscale="log", xlabel="step", ylabel="root mean square error")
    error.legend(fontsize=8, frameon=False, loc="upper right")
    figure.savefig(path, dpi=110)
    plt.close(figure)
