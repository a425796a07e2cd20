"""How far chains can be trusted: effective sample sizes and R-hat.

All take draws (chains, draws, ...) and give one number for each of the axes that follow.

Source: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), doi:10.1214/20-BA1221.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from torch import Tensor

__all__ = ["ess_bulk", "ess_tail", "rhat"]

Array = NDArray[np.float64]


def ess_bulk(draws: Any) -> Array:
    """The effective sample size of the bulk: of the draws' ranks, as normal numbers, in split chains.

    >>> float(ess_bulk(np.random.default_rng(0).normal(size=(4, 1000)))) > 3000
    True
    """
    return _each(draws, lambda x: _ess(_ranks(_split(x))))


def ess_tail(draws: Any) -> Array:
    """The effective sample size of the tails: the smaller one of those of the 5 % and 95 % quantiles.

    >>> float(ess_tail(np.random.default_rng(0).normal(size=(4, 1000)))) > 2000
    True
    """
    return _each(draws, lambda x: min(_ess(_split(x <= np.quantile(x, p)).astype(float)) for p in (0.05, 0.95)))


def rhat(draws: Any) -> Array:
    """How much wider all chains together are than each by itself; 1 where they agree, above 1.01 a warning.

    The larger one of that of the draws' ranks, and of their distances from the median.

    >>> float(rhat(np.random.default_rng(0).normal(size=(4, 1000)))) < 1.01
    True
    """
    return _each(draws, lambda x: max(_rhat(_ranks(y)) for y in _and_folded(_split(x))))


def _each(draws: Any, measure: Any) -> Array:
    x = np.asarray(draws.detach().cpu() if isinstance(draws, Tensor) else draws, dtype=np.float64)
    if x.ndim < 2 or x.shape[1] < 4:
        raise ValueError(f"the draws have the shape {x.shape}: pass (chains, draws, ...) with at least four draws")
    flat = x.reshape(*x.shape[:2], -1)
    found = [measure(column) if np.isfinite(column).all() else np.nan for column in np.moveaxis(flat, 2, 0)]
    return np.array(found).reshape(x.shape[2:])


def _split(x: Array) -> Array:
    """Each chain as two of half its length; the middle draw of an odd number is left out."""
    half = x.shape[1] // 2
    return np.concatenate([x[:, :half], x[:, -half:]])


def _and_folded(x: Array) -> tuple[Array, Array]:
    return x, np.abs(x - np.median(x))


def _ranks(x: Array) -> Array:
    """The ranks of all draws as quantiles of the normal distribution (Blom's offsets)."""
    ranks = rankdata(x, method="average").reshape(x.shape)
    scores: Array = norm.ppf((ranks - 0.375) / (x.size + 0.25))
    return scores


def _rhat(x: Array) -> float:
    n = x.shape[1]
    within, between = x.var(1, ddof=1).mean(), x.mean(1).var(ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.sqrt((n - 1) / n + between / within))


def _ess(x: Array) -> float:
    """By the sum of the autocorrelations, in pairs as long as those are positive, made monotone (Geyer, 1992)."""
    chains, n = x.shape
    if (x == x[0, 0]).all():
        return float(x.size)
    centred = x - x.mean(1, keepdims=True)
    size = 1 << (2 * n - 1).bit_length()
    autocovariance = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2, size)[:, :n].mean(0) / n
    within = autocovariance[0] * n / (n - 1)
    spread = autocovariance[0] + (x.mean(1).var(ddof=1) if chains > 1 else 0.0)
    correlation = 1 - (within - autocovariance) / spread
    correlation[0] = 1.0
    pairs = correlation[: n - n % 2].reshape(-1, 2).sum(1)[: (n - 1) // 2]
    negative = np.flatnonzero(pairs < 0)
    last = int(negative[0]) if len(negative) else len(pairs) - 1
    next_even = correlation[2 * last]
    if len(negative):
        next_even = max(next_even, 0.0)
    time = -1 + 2 * np.minimum.accumulate(pairs[:last]).sum() + next_even
    return float(x.size / max(time, 1 / np.log10(x.size)))
