"""The picture of the experiment: the spiral before and after the training, in time, and the error on the way."""

import matplotlib.pyplot as plt
import numpy as np

COLOURS = {"torchflux": "#1b9e77", "torchdiffeq": "#7570b3"}


def draw(ts, truth, untrained, runs, p, path):
    """Truth and untrained: (points, 2); runs by library, of which the first one's spiral is shown."""
    learned = next(iter(runs.values())).whole()
    figure, (plane, time, error) = plt.subplots(1, 3, figsize=(12.5, 4), layout="constrained", width_ratios=(1, 1.3, 1.1))
    plane.plot(*truth.T, color="#bbbbbb", lw=4, label="the spiral")
    plane.plot(*untrained.T, color="#e7298a", lw=1.2, label="the network, untrained")
    plane.plot(*learned.T, color=COLOURS["torchflux"], lw=1.2, label=f"after {p.steps:,} steps")
    plane.set(xlim=(-2.3, 2.3), ylim=(-2.3, 2.3), aspect="equal", xlabel="y₁", ylabel="y₂")
    plane.legend(fontsize=8, frameon=False, loc="lower left")
    for k, (y, style) in enumerate(zip(truth.T, ("-", "--"), strict=True)):
        time.plot(ts, y, color="#bbbbbb", lw=4)
        time.plot(ts, learned[:, k], color=COLOURS["torchflux"], lw=1.2, ls=style, label=f"y{'₁₂'[k]} of the network")
    time.axvspan(0, ts[p.length - 1], color="#f4d9a8", lw=0, label="length of a piece")
    time.set(xlabel="t", ylim=(-2.3, 2.3))
    time.legend(fontsize=8, frameon=False, loc="lower right", ncols=3)
    for name, run in runs.items():
        x = np.minimum(np.arange(len(run.errors)) * p.every, p.steps)
        error.plot(x, run.errors, color=COLOURS[name], lw=1.6, label=f"{name}: {run.seconds:.0f} s")
    error.set(yscale="log", xlabel="step", ylabel="mean absolute error of the whole spiral")
    error.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
