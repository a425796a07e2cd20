"""The picture of the experiment: solution, naive and causal network, their ends, and the errors' ways."""

import matplotlib.pyplot as plt

COLOURS = {"naive Adam": "#d95f02", "naive BFGS": "#e6ab02", "causal Adam": "#7570b3", "causal BFGS": "#1b9e77"}


def draw(known, found, looks, path):
    """`known` has x (m,), t (n,) and truth (m, n); by way of training `found` (m, n), and `looks`: (error, seconds)."""
    x, t, truth = known.x.numpy(), known.t.numpy(), known.truth.numpy()
    found = {way: u.numpy() for way, u in found.items()}
    (first, *_), (*_, last) = found, found
    error = found[last] - truth
    maps = (
        ("solution", truth, 1),
        (f"network: {first}", found[first], 1),
        (f"network: {last}", found[last], 1),
        (f"{last} − solution", error, abs(error).max()),
    )
    figure, axes = plt.subplots(2, 3, figsize=(13, 6.4), layout="constrained")
    for ax, (title, values, largest) in zip((*axes[0], axes[1, 2]), maps, strict=True):
        image = ax.pcolormesh(t, x, values, cmap="RdBu_r", vmin=-largest, vmax=largest, rasterized=True)
        figure.colorbar(image, ax=ax)
        ax.set(title=title, xlabel="t", ylabel="x")
    course, end = axes[1, :2]
    for way, values in looks.items():
        errors, seconds = zip(*values, strict=True)
        course.semilogy(seconds, errors, color=COLOURS[way], lw=1.6, label=way)
        end.plot(x, found[way][:, -1], color=COLOURS[way], lw=1.4)
    course.axhline(0.01, color="grey", lw=0.8, ls=":")
    course.set(title="relative error", xlabel="seconds of the processor")
    course.legend(fontsize=8, frameon=False)
    end.plot(x, truth[:, -1], color="black", lw=5, alpha=0.2, zorder=0)
    end.set(title="t = 1; wide: the solution", xlabel="x", ylabel="u")
    figure.savefig(path, dpi=90)
    plt.close(figure)
