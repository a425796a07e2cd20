"""The picture of the experiment: a throw, throws in several winds, the training, the aims, and the errors left."""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from throw import L, R, S, W, h, motion

WINDS = {-6.0: "#2166ac", -3.0: "#67a9cf", 0.0: "#555555", 3.0: "#ef8a62", 6.0: "#b2182b"}


def draw(aim, tasks, error, history, p, path):
    """Aim: from tasks (n, 2) to their aims; error (tests,): of the held-out tasks; history: of the training."""
    rows = (("machine", "flights", "flights"), ("training", "aims", "errors"))
    figure, grid = plt.subplot_mosaic(rows, figsize=(12.5, 7), layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)
    middle = (p.near + p.far) / 2
    with torch.no_grad():
        shown = aim(torch.tensor([[middle, wind] for wind in WINDS], dtype=tasks.dtype))
        slide, swing, flight = motion(shown)  # (points, winds, parts)
        draw_machine(grid["machine"], torch.cat([slide, swing])[:, 2])
        draw_flights(grid["flights"], flight.numpy(), shown)
        draw_aims(grid["aims"], aim, p)
    grid["flights"].plot([middle], [0], "kx", ms=9, mew=2, clip_on=False, zorder=4)
    grid["flights"].set(xlabel="distance (m)", ylabel="height (m)", ylim=(0, 1.25 * flight[..., 1].max().item()))
    grid["flights"].set_title(f"throws at {middle:g} m, as the network aims them")
    grid["flights"].legend(fontsize=8, frameon=False, loc="upper left")
    draw_training(grid["training"], history, error, p)
    draw_errors(grid["errors"], tasks, error)
    figure.savefig(path, dpi=105)
    plt.close(figure)


def draw_machine(ax, states):
    """Arm, counterweight and sling at some of the states (times, 6), and the projectile's path until its release."""
    θ, φ, ψ = states[:, :3].numpy().T
    pivot = np.array([0.0, h])
    along = lambda angle: np.stack([np.sin(angle), -np.cos(angle)], -1)
    tip, heel = pivot + L * along(θ), pivot - S * along(θ)
    stone, weight = tip + R * along(ψ), heel + W * along(φ)
    moments = np.searchsorted(-ψ, np.linspace(-ψ[0], -ψ[-1], 8))  # evenly in the sling's turn
    for shade, i in zip(np.linspace(0.15, 1, 8), moments, strict=True):
        ax.plot(*np.stack([weight[i], heel[i], tip[i], stone[i]]).T, color="#5b3a1e", lw=1.3, alpha=shade)
        ax.plot(*weight[i], "s", color="#444444", ms=9, alpha=shade, mec="none")
        ax.plot(*stone[i], "o", color="#d95f02", ms=4, alpha=shade, mec="none")
    ax.plot(*stone.T, color="#d95f02", lw=1)
    ax.plot([-0.35, 0, 0.35], [0, h, 0], color="k", lw=2)
    ax.axhline(0, color="k", lw=0.8)
    ax.set(aspect="equal", xlabel="distance (m)", ylabel="height (m)", xlim=(-3.3, 1.7), ylim=(-0.25, 4.6))
    ax.set_title("until the release")


def draw_flights(ax, paths, aims):
    for k, (wind, colour) in enumerate(WINDS.items()):
        label = f"tail wind {wind:+g} m/s: {math.degrees(aims.angle[k]):.0f}°, {aims.mass[k]:.0f} kg"
        ax.plot(*paths[:, k, :2].T, color=colour, lw=1.5, label=label)


def draw_training(ax, history, error, p):
    throws, mean = p.throws * np.arange(1, len(history) + 1), 100 * error.mean().item()
    ax.plot(throws, 100 * np.array(history), color="#1b9e77", lw=1.6, label="mean of each step's new tasks")
    ax.plot(throws[-1:], [mean], "o", color="k", ms=5, label=f"held out, mean: {mean:.4f} %")
    ax.axhline(0.3, color="#777777", lw=1, ls="--")
    ax.text(throws[-1], 0.36, "0.3 % (2019)", fontsize=8, color="#555555", ha="right")
    ax.set(yscale="log", xlabel="throws simulated", ylabel="error, % of the distance", title="training")
    ax.xaxis.set_major_locator(plt.MaxNLocator(4))
    ax.legend(fontsize=8, frameon=False, loc="upper right")


def draw_aims(ax, aim, p):
    """The counterweight (full lines) and the angle (dotted) for each distance."""
    targets, right = torch.linspace(p.near, p.far, 100), ax.twinx()
    for wind, colour in WINDS.items():
        found = aim(torch.stack([targets, torch.full_like(targets, wind)], -1).double())
        ax.plot(targets.numpy(), found.mass.numpy(), color=colour, lw=1.5)
        right.plot(targets.numpy(), found.angle.rad2deg().numpy(), color=colour, lw=1.5, ls=":")
    ax.set(yscale="log", xlabel="distance of the target (m)", ylabel="counterweight (kg, full lines)")
    ax.set_title("aims, by wind as above")
    ax.set_yticks([20, 50, 100, 200, 400], labels=["20", "50", "100", "200", "400"])
    ax.minorticks_off()
    right.set(ylabel="angle of release (degrees, dotted)", ylim=(0, 90))


def draw_errors(ax, tasks, error):
    places = ax.scatter(*tasks.numpy().T, c=(100 * error).log10().numpy(), s=9, cmap="viridis", lw=0)
    bar = ax.figure.colorbar(places, ax=ax)
    ticks = range(math.ceil(places.get_clim()[0]), math.floor(places.get_clim()[1]) + 1)
    bar.set_ticks(list(ticks), labels=[f"$10^{{{k}}}$" for k in ticks])
    ax.set(xlabel="distance of the target (m)", ylabel="tail wind (m/s)", title="error of held-out tasks, %")
