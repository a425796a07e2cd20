"""Samples as a table, as ArviZ's data, and as pictures."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._diagnostics import ess_bulk, ess_tail, rhat
from ._positions import sampled
from ._run import Samples

__all__ = ["Summary", "named", "plot_rank", "plot_trace", "summary", "to_arviz"]

COLUMNS = ("mean", "sd", "5%", "50%", "95%", "ess_bulk", "ess_tail", "rhat")


@dataclass(frozen=True)
class Summary:
    """A row for each number of the position, with the columns `COLUMNS`; prints as a table with its warnings."""

    names: list[str]
    values: Any
    warnings: list[str]

    def __getitem__(self, name: str) -> dict[str, float]:
        row = self.values[self.names.index(name)]
        return dict(zip(COLUMNS, row.tolist(), strict=True))

    def __str__(self) -> str:
        width = max(map(len, self.names), default=4)
        lines = [" " * width + "".join(f"{column:>10}" for column in COLUMNS)]
        for name, row in zip(self.names, self.values, strict=True):
            numbers = "".join(f"{x:10.3f}" for x in row[:5]) + f"{row[5]:10.0f}{row[6]:10.0f}{row[7]:10.3f}"
            lines.append(f"{name:<{width}}{numbers}")
        return "\n".join([*lines, *self.warnings])


def named(samples: Samples) -> dict[str, Any]:
    """The draws by name, as NumPy arrays (chains, draws, ...)."""
    return {path or "position": x.detach().cpu().numpy() for path, x in sampled(samples.positions)}


def summary(samples: Samples) -> Summary:
    """Means, deviations and quantiles, with effective sample sizes and R-hat, and warnings where these are bad.

    >>> import torch
    >>> from torchflux_mcmc import hmc, run
    >>> alg = hmc(lambda x: -(x**2).sum() / 2, step_size=0.5)
    >>> table = summary(run(torch.Generator().manual_seed(0), alg, torch.zeros(4, 2), 500))
    >>> table.names, table.warnings
    (['position[0]', 'position[1]'], [])
    """
    names, rows = [], []
    for name, draws in named(samples).items():
        flat = draws.reshape(*draws.shape[:2], -1).astype(np.float64)
        places = np.ndindex(*draws.shape[2:])
        names += [name + (f"[{', '.join(map(str, place))}]" if place else "") for place in places]
        everything = flat.reshape(-1, flat.shape[2])
        quantiles = np.quantile(everything, [0.05, 0.5, 0.95], axis=0)
        checks = ess_bulk(flat), ess_tail(flat), rhat(flat)
        rows.append(np.stack([everything.mean(0), everything.std(0, ddof=1), *quantiles, *checks], 1))
    values = np.concatenate(rows)
    return Summary(names, values, _warnings(names, values, samples))


def _warnings(names: list[str], values: Any, samples: Samples) -> list[str]:
    found = []
    if samples.divergences:
        share = samples.divergences / samples.info.is_divergent.size
        found.append(
            f"{samples.divergences} transitions ({share:.1%}) diverged: the trajectories left the density; take "
            "smaller steps (a higher target_acceptance_rate), or write the model in other parameters"
        )
    chains, (mean, sd) = samples.info.is_divergent.shape[0], values.T[:2]
    still = sd <= 1e-12 * np.abs(mean)
    for column, what, bad in (
        ("sd", "all draws are the same: no move was accepted", lambda _: still),
        ("rhat", "R-hat above 1.01: the chains disagree, run them longer", lambda x: ~(x <= 1.01) & ~still),
        ("ess_bulk", "fewer than 100 effective draws a chain: run longer", lambda x: ~(x >= 100 * chains)),
        ("ess_tail", "fewer than 100 effective draws a chain in the tails: run longer", lambda x: ~(x >= 100 * chains)),
    ):
        wrong = [names[i] for i in np.flatnonzero(bad(values[:, COLUMNS.index(column)]))]
        if wrong:
            found.append(f"{', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''}: {what}")
    return found


def to_arviz(samples: Samples) -> Any:
    """The draws as ArviZ's `InferenceData`, with divergences, energies and acceptance rates.

    Raises:
        ImportError: ArviZ isn't installed.
    """
    try:
        import arviz
    except ImportError as error:
        raise ImportError("to_arviz needs ArviZ: pip install arviz") from error
    info = samples.info
    stats = {
        "diverging": info.is_divergent,
        "energy": info.energy,
        "acceptance_rate": info.acceptance_rate,
        "n_steps": info.num_integration_steps,
    }
    return arviz.from_dict(posterior=named(samples), sample_stats=stats)


def _axes(samples: Samples, number: int, axes: Any) -> tuple[list[tuple[str, Any]], Any]:
    """The numbers of a position by name (chains, draws), and axes for as many rows of `number` pictures."""
    flat = []
    for name, draws in named(samples).items():
        for place in np.ndindex(*draws.shape[2:]):
            flat.append((name + (f"[{', '.join(map(str, place))}]" if place else ""), draws[(..., *place)]))
    if axes is None:
        import matplotlib.pyplot as plt

        _, axes = plt.subplots(
            len(flat), number, figsize=(4.5 * number, 1.8 * len(flat)), squeeze=False, layout="constrained"
        )
    return flat, np.asarray(axes).reshape(len(flat), number)


def plot_trace(samples: Samples, axes: Any = None) -> Any:
    """For each number of the position its chains' histograms and traces; returns the axes (numbers, 2).

    Marks below the traces are draws of divergent transitions.
    """
    flat, axes = _axes(samples, 2, axes)
    divergent = np.flatnonzero(samples.info.is_divergent.any(0))
    for (name, draws), (left, right) in zip(flat, axes, strict=True):
        edges = np.histogram_bin_edges(draws, 25)
        for chain in draws:
            left.hist(chain, bins=edges, histtype="step", density=True)
            right.plot(chain, lw=0.5)
        right.plot(divergent, np.full(len(divergent), draws.min()), "k|")
        left.set(ylabel=name, yticks=[])
    axes[-1, 0].set_xlabel("value")
    axes[-1, 1].set_xlabel("draw")
    return axes


def plot_rank(samples: Samples, axes: Any = None, bins: int = 20) -> Any:
    """For each number of the position the histograms of each chain's ranks, which are flat where chains agree."""
    from scipy.stats import rankdata

    flat, axes = _axes(samples, 1, axes)
    for (name, draws), (ax,) in zip(flat, axes, strict=True):
        for chain in rankdata(draws).reshape(draws.shape):
            ax.hist(chain, bins=bins, range=(0, draws.size), histtype="step")
        ax.axhline(draws.shape[1] / bins, color="k", lw=0.8, ls=":")
        ax.set(ylabel=name, yticks=[])
    axes[-1, 0].set_xlabel("rank among all draws")
    return axes
