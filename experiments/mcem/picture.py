"""The picture of the experiment: the way to the closed form's likelihood and noise, and its axes beside the learned."""

import matplotlib.pyplot as plt
import torch

COLOURS = {"sampled": "#1b9e77", "modes": "#d95f02"}


def draw(answer, runs, noise, limit, p, path):
    """Answer: W (64, q) of the closed form; runs by name: (model, looks) of each seed."""
    figure = plt.figure(figsize=(12.5, 4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.9, 1))
    gap, variance = left.subplots(1, 2)
    for name, done in runs.items():
        for i, (_, looks) in enumerate(done):
            steps = [p.every * (k + 1) for k in range(len(looks))]
            style = {"color": COLOURS[name], "lw": 1.1, "alpha": 0.8, "label": name if i == 0 else None}
            gap.plot(steps, [look[0] for look in looks], **style)
            variance.plot(steps, [look[1] for look in looks], **style)
    gap.set(yscale="log", xlabel="step", ylabel="nats below the greatest log likelihood")
    gap.legend(fontsize=9, frameon=False, loc="upper right")
    draw_limits(variance, noise, limit, p)
    draw_axes(right, answer, runs["sampled"][0][0].W.detach())
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_limits(ax, noise, limit, p):
    for value, text, above in ((noise, "closed form", True), (limit, "what modes lead to", False)):
        ax.axhline(value, color="#777777", lw=1, ls="--")
        ax.annotate(
            text, (p.steps, value), (0, 4 if above else -4), textcoords="offset points", fontsize=8, ha="right",
            va="bottom" if above else "top", color="#444444",
        )  # fmt: skip
    ax.set(xlabel="step", ylabel="variance σ² of the noise", ylim=(0.8 * limit, 1.4 * noise))


def draw_axes(figure, answer, learned):
    """The principal axes of both; W is known up to a rotation of the latents, which the axes don't see."""
    axes = [torch.linalg.svd(W, full_matrices=False).U.T for W in (answer, learned)]  # (q, 64)
    axes[1] = axes[1] * (axes[0] * axes[1]).sum(1, keepdim=True).sign()
    columns = (len(axes[0]) + 1) // 2
    grid = figure.subplots(4, columns, squeeze=False)
    for ax in grid.flat:
        ax.set(xticks=[], yticks=[])
        ax.set_frame_on(False)
    for i in range(len(axes[0])):
        for k, rows in enumerate(axes):
            ax = grid[2 * (i // columns) + k, i % columns]
            ax.imshow(rows[i].view(8, 8).numpy(), cmap="RdBu_r", vmin=-0.4, vmax=0.4)
    for row, name in zip(grid, ("closed form", "learned") * 2, strict=True):
        row[0].set_ylabel(name, fontsize=8)
    figure.suptitle("the principal axes", fontsize=10)
