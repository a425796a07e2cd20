"""The picture of the experiment: the orbit, measured, true and found; the network's error; the coefficients' way."""

import matplotlib.pyplot as plt

COLOURS = ("#1b9e77", "#d95f02", "#7570b3")


def draw(ts, truth, ours, measured, looks, true, path):
    """ts (n,), truth and ours (n, 3), measured: times (m,) and values (m, 3); looks: (step, coefficients)."""
    figure, (solution, error, course) = plt.subplots(1, 3, figsize=(14, 3.8), layout="constrained")
    for k, (name, colour) in enumerate(zip("xyz", COLOURS, strict=True)):
        solution.plot(ts, truth[:, k], color=colour, lw=5, alpha=0.25)
        solution.plot(ts, ours[:, k], color=colour, lw=1.2, label=name)
        solution.plot(measured[0], measured[1][:, k], ".", color=colour, ms=3)
        error.plot(ts, ours[:, k] - truth[:, k], color=colour, lw=1.2)
    solution.set(title="wide: solution; thin: network; dots: measured", xlabel="t")
    solution.legend(fontsize=8, frameon=False, ncols=3)
    error.set(title="network − solution", xlabel="t")
    steps, *values = zip(*looks, strict=True)
    for (name, value), way, colour in zip(true.items(), values, COLOURS, strict=True):
        course.plot(steps, way, color=colour, lw=1.5, label=name)
        course.axhline(value, color=colour, lw=1, ls="--")
    course.set(title="coefficients (dashed: true)", xlabel="step")
    course.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=100)
    plt.close(figure)
