"""The picture of the experiment: what was seen and what was forecast, and how far off, from every origin."""

import matplotlib.pyplot as plt
import numpy as np

SPECIES = (("hare", "#1b9e77"), ("lynx", "#d95f02"))
COLOURS = {"Lotka-Volterra": "#1f77b4", "as ten years ago": "#888888"}
SHADES = ("#e7a6cf", "#cc4c9c", "#6a1b52")


def draw(moments, years, pelts, models, errors, p, path):
    """By name: logarithms of the models (moments, origins, seeds, 2), errors of the forecasts (origins, seeds)."""
    universal = [name for name in models if name.startswith("universal")]
    colours = COLOURS | dict(zip(universal, (SHADES[min(i, 2)] for i in range(len(universal))), strict=True))
    figure, grid = plt.subplot_mosaic("aac;bbc", figsize=(12, 5.2), layout="constrained")
    shown = p.origins.index(p.shown)
    for ax, k in zip((grid["a"], grid["b"]), range(2), strict=True):
        for model, ys in models.items():
            lines = ax.plot(
                moments, ys[:, shown, :, k].exp(), color=colours[model], lw=1.4, alpha=0.9
            )  # a line for each seed
            lines[0].set_label(model)
        draw_species(ax, years.numpy(), pelts[:, k].exp().numpy(), p, k)
    grid["b"].legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.43, 1), frameon=False)
    grid["a"].set_title(f"fitted to {p.shown} (full circles), then forecast; the grey years count", fontsize=11)
    grid["a"].tick_params(labelbottom=False)
    draw_errors(grid["c"], errors, colours, p)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_species(ax, years, pelts, p, k):
    """The pelts: full circles where the models have seen them, empty ones where they haven't."""
    name, colour = SPECIES[k]
    seen = years <= p.shown
    ax.axvspan(p.shown + 0.5, p.shown + p.horizon + 0.5, color="#f0f0f0", lw=0, zorder=0)
    ax.plot(years[seen], pelts[seen], "o", color=colour, ms=6, zorder=3)
    ax.plot(years[~seen], pelts[~seen], "o", color=colour, ms=6, mfc="white", zorder=3)
    top = 1.15 * pelts.max()
    ax.set(ylabel=f"{name}, thousand pelts", ylim=(0, top), xlim=(years[0] - 0.5, years[-1] + 0.5))
    ax.set_xticks(range(int(years[0]), int(years[-1]) + 1, 4))


def draw_errors(ax, errors, colours, p):
    """Error of the forecasts against the origin; a dot for each seed."""
    for name, forecast in errors.items():
        if name not in colours:  # it would lie far above the others
            continue
        mean, forecast = forecast.mean(1).numpy(), forecast.numpy()
        ax.plot(p.origins, mean, "-", color=colours[name], lw=1.6, label=f"{name}: {forecast.mean():.2f}")
        x = np.repeat(np.array(p.origins)[:, None], forecast.shape[1], 1)
        ax.plot(x, forecast, "o", color=colours[name], ms=3.5, alpha=0.8)
    ax.set(xlabel="last year seen", ylabel="error of the logarithms, r.m.s.", ylim=(0, None))
    ax.set_title(f"forecasts of the next {p.horizon} years", fontsize=11)
    ax.set_xticks(p.origins)
    ax.tick_params(axis="x", rotation=45)
    ax.legend(fontsize=8, loc="lower right", frameon=False, title="mean of all origins", title_fontsize=8)
