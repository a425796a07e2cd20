"""Smoothed values and derivatives of measured trajectories: what to fit a slope to without solving anything."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

__all__ = ["KERNELS", "Collocated", "collocate"]

Array = NDArray[np.float64]
Kernel = Callable[[Array], Array]


def _inside(weight: Kernel) -> Kernel:
    """A kernel that is zero outside of [-1, 1]."""
    return lambda u: np.where(np.abs(u) <= 1, weight(np.clip(u, -1, 1)), 0.0)


KERNELS: dict[str, Kernel] = {
    "epanechnikov": _inside(lambda u: 0.75 * (1 - u**2)),
    "uniform": _inside(lambda u: np.full_like(u, 0.5)),
    "triangular": _inside(lambda u: 1 - np.abs(u)),
    "quartic": _inside(lambda u: 15 / 16 * (1 - u**2) ** 2),
    "triweight": _inside(lambda u: 35 / 32 * (1 - u**2) ** 3),
    "tricube": _inside(lambda u: 70 / 81 * (1 - np.abs(u) ** 3) ** 3),
    "cosine": _inside(lambda u: math.pi / 4 * np.cos(math.pi / 2 * u)),
    "gaussian": lambda u: np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi),
    "logistic": lambda u: 0.25 / np.cosh(np.clip(u / 2, -300, 300)) ** 2,
    "sigmoid": lambda u: 1 / (math.pi * np.cosh(np.clip(u, -300, 300))),
    "silverman": lambda u: np.exp(-np.abs(u) / math.sqrt(2)) * np.sin(np.abs(u) / math.sqrt(2) + math.pi / 4) / 2,
}
"""What counts at a distance over the bandwidth; integrals are 1. Silverman's is negative beyond 3.3."""


class Collocated(NamedTuple):
    """Derivatives and values at the times, shaped like the data."""

    du: Tensor
    u: Tensor


def collocate(
    data: Tensor,
    ts: Tensor | Sequence[float],
    kernel: str | Kernel = "triangular",
    bandwidth: float | None = None,
    *,
    at: Tensor | Sequence[float] | None = None,
) -> Collocated:
    """Derivatives and values of noisy trajectories, by polynomials that are fitted around each time.

    The values come from a local line, the derivatives from a local parabola. Both are linear in the data, which the
    gradient flows to. A model of the slope is fitted to them at once, `mse(model(u), du)`: a good start for `solve`.

    Arguments:
        data: what was measured, shape (S, ...), with the times in front.
        ts: when, increasing or decreasing, shape (S,).
        kernel: what a measurement counts at a distance: "epanechnikov", "uniform", "triangular", "quartic",
            "triweight", "tricube", "cosine", "gaussian", "logistic", "sigmoid", "silverman", a function of an array
            (distances over the bandwidth), or "spline": a cubic spline through the data, for those without noise.
        bandwidth: the kernel's width, in the unit of the times; by default `n^(-2/7) log(n)^(-1/16)` of their range.
        at: other times (P,) at which derivatives and values are wanted; the results have the shape (P, ...).

    Raises:
        ValueError: fewer than three measurements count at one of the times, or one counts negatively.

    >>> ts = torch.linspace(0.0, 1.0, 50)
    >>> du, u = collocate(ts[:, None] ** 2, ts)
    >>> du.shape, bool((du[:, 0] - 2 * ts).abs().max() < 1e-4)
    (torch.Size([50, 1]), True)

    Source: Liang & Wu (2008), doi:10.1198/016214508000000797.
    """
    times = _numbers(ts)
    points = times if at is None else _numbers(at)
    if len(times) != len(data) or len(times) < 3 or not _is_monotone(times):
        raise ValueError(
            f"{len(data)} measurements at {len(times)} times: give one time for each, at least three, increasing or "
            "decreasing strictly"
        )
    if kernel == "spline":
        if bandwidth is not None:
            raise ValueError(f"bandwidth={bandwidth}: a spline goes through the data and has none")
        slopes, values = _spline(times, points)
    else:
        slopes, values = _local(times, points, _kernel(kernel), bandwidth)
    flat = data.reshape(len(data), -1)
    smooth = lambda weights: (torch.as_tensor(weights).to(data) @ flat).reshape(-1, *data.shape[1:])
    return Collocated(smooth(slopes), smooth(values))


def _numbers(ts: Any) -> Array:
    """Times as an array."""
    return np.asarray(ts.detach().cpu() if isinstance(ts, Tensor) else ts, np.float64)


def _is_monotone(times: Array) -> bool:
    steps = np.diff(times)
    return bool((steps * steps[0] > 0).all())


def _kernel(kernel: str | Kernel) -> Kernel:
    """A kernel by its name."""
    if callable(kernel):
        return kernel
    if kernel not in KERNELS:
        raise ValueError(f"no kernel {kernel!r}: it is one of {', '.join(KERNELS)}, or spline")
    return KERNELS[kernel]


def _local(times: Array, points: Array, kernel: Kernel, bandwidth: float | None) -> tuple[Array, Array]:
    """What each measurement counts in each derivative and value, two arrays (points, times)."""
    n = len(times)
    if bandwidth is None:
        bandwidth = float(np.ptp(times)) * n ** (-2 / 7) * math.log(n) ** (-1 / 16)
    if not 0 < bandwidth < math.inf:
        raise ValueError(f"bandwidth={bandwidth}: it is a positive length of time")
    u = (times - points[:, None]) / bandwidth
    weights = kernel(u)
    if (weights < 0).any():
        raise ValueError(
            f"bandwidth={bandwidth:g}: the kernel is negative at some distances, and a fit takes positive weights "
            "(their moments would cancel); widen it, or take another kernel"
        )
    counts = (weights != 0).sum(1)
    if counts.min() < 3:
        where = points[counts.argmin()]
        raise ValueError(
            f"bandwidth={bandwidth:g}: only {counts.min()} measurements count at the time {where:g}, and a parabola "
            "takes three; widen it"
        )
    powers = np.stack([np.ones_like(u), u, u**2], 1)  # (points, 3, times)
    return _fitted(powers, weights)[:, 1] / bandwidth, _fitted(powers[:, :2], weights)[:, 0]


def _fitted(powers: Array, weights: Array) -> Array:
    """The coefficients of weighted least squares as sums of the data, (points, terms, times): (TᵀWT)⁻¹TᵀW."""
    weighted = powers * weights[:, None]
    return np.asarray(np.linalg.solve(weighted @ powers.transpose(0, 2, 1), weighted))


def _spline(times: Array, points: Array) -> tuple[Array, Array]:
    """The same of a cubic spline, which is linear in the data: it is that of unit vectors."""
    order = np.argsort(times)
    spline = CubicSpline(times[order], np.eye(len(times))[order])
    return spline(points, 1), spline(points)
