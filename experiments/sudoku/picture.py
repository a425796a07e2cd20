"""The picture of the experiment: a puzzle and the answers, what the equations say, and how they are learned."""

import matplotlib.pyplot as plt
import numpy as np
import torch

COLOURS = {"layer": "#1b9e77", "dense": "#7570b3", "convolutional": "#d95f02"}
KINDS = {"cells": "#333333", "rows": "#1f77b4", "columns": "#e7298a", "boxes": "#a6761d"}
STAGES = {"before": "before training", "learned": "learned", "true": "the true rules"}
CORNER = 2  # of the 64 numbers: a 3 in the first cell


def draw(runs, path):
    """Runs, one for each seed: scores, looks, boards by name (1, 64), equations by stage (m, 64)."""
    _, _, boards, equations = runs[0]
    figure = plt.figure(figsize=(12.5, 6.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.45, 1))
    top, bottom = left.subfigures(2, 1, height_ratios=(1, 2.3))
    for ax, name in zip(top.subplots(1, 4), ("puzzle", *COLOURS), strict=True):
        draw_board(ax, name, boards)
    top.suptitle("A puzzle of a kind never seen, and three answers", fontsize=11)
    draw_equations(bottom, equations)
    solved, known = right.subplots(2, 1, sharex=True)
    draw_solved(solved, runs)
    draw_known(known, runs)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def cells(board):
    return board.view(4, 4, 4).argmax(2)


def grid(ax):
    """The lines of a board."""
    for k in range(5):
        style = {"color": "#333333", "lw": 1.6 if k % 2 == 0 else 0.6, "clip_on": False}
        ax.plot([k - 0.5] * 2, [-0.5, 3.5], **style)
        ax.plot([-0.5, 3.5], [k - 0.5] * 2, **style)
    ax.set(xlim=(-0.5, 3.5), ylim=(3.5, -0.5), xticks=[], yticks=[], aspect="equal")
    ax.set_frame_on(False)


def draw_board(ax, name, boards):
    """The clues in black, what was filled in in its colour, and what is wrong on red."""
    given, right = boards["puzzle"].view(4, 4, 4).sum(2) > 0, cells(boards["solution"])
    answer = cells(boards[name])
    for i, j in np.ndindex(4, 4):
        if name == "puzzle" and not given[i, j]:
            continue
        if answer[i, j] != right[i, j]:
            ax.add_patch(plt.Rectangle((j - 0.5, i - 0.5), 1, 1, color="#f4a6a0", lw=0))
        colour, weight = ("#111111", "bold") if given[i, j] else (COLOURS[name], "normal")
        ax.text(j, i, str(answer[i, j].item() + 1), ha="center", va="center", color=colour, weight=weight, fontsize=13)
    grid(ax)
    ax.set_title(name, fontsize=10, color=COLOURS.get(name, "#111111"))


def draw_equations(figure, equations):
    """How a 3 in the first cell is tied to all 64 numbers: its row of the projection on the equations' span."""
    axes = figure.subplots(3, 4)
    for row, (stage, title) in zip(axes, STAGES.items(), strict=True):
        projection = torch.linalg.pinv(equations[stage]) @ equations[stage]  # (64, 64)
        ties = projection[CORNER].view(4, 4, 4).numpy()  # row, column, digit
        for digit, ax in enumerate(row):
            shades = ax.imshow(ties[..., digit], cmap="RdBu_r", vmin=-0.3, vmax=0.3)
            grid(ax)
            if stage == "before":
                ax.set_title(f"digit {digit + 1}", fontsize=9)
        row[0].set_ylabel(title, fontsize=10)
    bar = figure.colorbar(shades, ax=axes, shrink=0.6, aspect=25)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle("What the equations tie to a 3 in the first cell", fontsize=11)


def draw_solved(ax, runs):
    """The layer's share of held-out puzzles as it learns, and where the networks end."""
    for _, looks, *_ in runs:
        steps, _, held_out, *_ = zip(*looks, strict=True)
        ax.plot(steps, held_out, color=COLOURS["layer"], lw=1.6, alpha=0.8)
    for name in ("dense", "convolutional"):
        shares = [scores[name][1] for scores, *_ in runs]
        ax.axhspan(min(shares), max(shares), color=COLOURS[name], alpha=0.25, lw=0)
        ax.axhline(np.mean(shares), color=COLOURS[name], lw=1.4)
        ax.text(steps[-1], np.mean(shares) + 0.02, name + ", trained", color=COLOURS[name], fontsize=9, ha="right")
    ax.text(steps[-1], 0.93, "layer", color=COLOURS["layer"], fontsize=9, ha="right")
    ax.set(ylim=(-0.02, 1.03), ylabel="held-out puzzles solved", title=f"solved, {len(runs)} seeds")


def draw_known(ax, runs):
    for k, (name, colour) in enumerate(KINDS.items()):
        for i, (_, looks, *_) in enumerate(runs):
            steps, known = [look[0] for look in looks], [look[3 + k] for look in looks]
            ax.plot(steps, known, color=colour, lw=1.4, alpha=0.8, label=name if i == 0 else None)
    ax.axhline(40 / 64, color="#999999", lw=1, ls=":")
    ax.text(looks[-1][0], 40 / 64 - 0.035, "40 equations by chance", color="#777777", fontsize=8, ha="right")
    ax.set(xlabel="step", ylabel="true rules in the learned span", ylim=(0.55, 1.01))
    ax.legend(fontsize=8, frameon=False, loc="center right", ncols=2)
