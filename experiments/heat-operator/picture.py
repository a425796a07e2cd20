"""The picture of the experiment: sources and temperatures, the middling one whole, and the errors by roughness."""

import matplotlib.pyplot as plt


def draw(compare, f, ours, errors, looks, path):
    """compare: places `x` and times `t` (n,), and the `truth` (n, n, B); f (n, B) and ours (n, n, B) of its sources;
    errors: those of each source by length; looks: (step, mean error).
    """
    figure, (ends, found, gap, spread, course) = plt.subplots(1, 5, figsize=(17, 3.5), layout="constrained")
    x, t, own = compare.x.numpy(), compare.t.numpy(), (ours - compare.truth).flatten(0, 1).norm(dim=0)
    middling = own.argsort()[len(own) // 2]
    for k in range(3):
        (line,) = ends.plot(x, ours[:, -1, k], lw=1.3)
        ends.plot(x, compare.truth[:, -1, k], color=line.get_color(), lw=5, alpha=0.25)
        ends.plot(x, f[:, k], color=line.get_color(), lw=1, ls=":")
    ends.set(title="u at t = 1 (wide: exact), f dotted", xlabel="x")
    for ax, title, values in (
        (found, "network, a middling source", ours),
        (gap, "network − solution", ours - compare.truth),
    ):
        values = values[:, :, middling].numpy()
        largest = abs(values).max()
        image = ax.pcolormesh(t, x, values, cmap="RdBu_r", vmin=-largest, vmax=largest, rasterized=True)
        figure.colorbar(image, ax=ax)
        ax.set(title=title, xlabel="t", ylabel="x")
    spread.violinplot([each.log10().numpy() for each in errors.values()], showmedians=True)
    spread.set(title="unseen sources: log₁₀ of the error", xlabel="length", xticks=range(1, len(errors) + 1))
    spread.set_xticklabels([f"{length:g}" for length in errors])
    course.semilogy(*zip(*looks, strict=True))
    course.set(title="mean error in the training", xlabel="step")
    figure.savefig(path, dpi=100)
    plt.close(figure)
