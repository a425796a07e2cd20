"""The explicit method of eighth order, for high accuracy."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.polynomial import Polynomial
from numpy.typing import NDArray
from scipy.integrate import DOP853
from torch import Tensor

from ._runge_kutta import ExplicitRungeKutta
from ._solver import Slope, Solver, Step
from ._tableau import Tableau, hermite

__all__ = ["Dopri8"]

Matrix = NDArray[np.float64]
STAGES = DOP853.n_stages + 1
"""Those of a step; three more are for the dense output alone."""


class _Inner(ExplicitRungeKutta):
    """A step's twelve slopes and the one at its end, with the fifth-order estimate of its error."""

    a = np.pad(np.vstack((DOP853.A, DOP853.B)), ((0, 0), (0, 1)))
    tableau = Tableau(8, a, np.append(DOP853.C, 1.0), DOP853.E5, hermite(a))


def _dense() -> Matrix:
    """The weights of all slopes inside a step, shape (16, 7), by powers of the part of it that has passed.

    Its terms are `θ, θ (1 - θ), θ² (1 - θ), θ² (1 - θ)², ...`, the first three of which make Hermite's cubic.
    """
    first, last, whole = np.eye(16)[0], np.eye(16)[STAGES - 1], np.append(DOP853.B, np.zeros(4))
    terms = [whole, first - whole, 2 * whole - first - last, *DOP853.D]
    θ = Polynomial([0.0, 1.0])
    powers = [θ ** (i // 2 + 1) * (1 - θ) ** ((i + 1) // 2) for i in range(len(terms))]
    dense = np.zeros((16, len(terms)))
    for term, power in zip(terms, powers, strict=True):
        dense += np.outer(term, np.pad(power.coef[1:], (0, 8 - len(power.coef))))
    return dense


class Dopri8(Solver):
    """The eighth-order method of Dormand & Prince (1989) with the error's estimate and dense output of DOP853.

    Two estimates, of fifth and third order, make one that falls like a seventh-order method's error. The dense output
    is of seventh order; it takes three more slopes of a step, only where a state inside of it is wanted.

    Source: Hairer, Nørsett & Wanner (1993), Solving Ordinary Differential Equations I, II.5 and II.10.

    >>> import torch
    >>> from torchflux_diffeq import PID, Dopri8, solve
    >>> y0 = torch.ones(1, dtype=torch.float64)
    >>> solution = solve(lambda t, y, args: -y, y0, (0.0, 1.0), solver=Dopri8(), controller=PID(1e-10, 1e-12))
    >>> (solution.ys[-1] - torch.exp(-torch.ones(1))).abs() < 1e-7
    tensor([True])
    """

    order = 8
    estimates = True
    inner = _Inner()
    weights = _dense()

    def step(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, error: bool = False) -> Step:
        """One step, whose error's estimates `e₅` and `e₃` make `e₅ |e₅| / √(|e₅|² + |e₃ / 10|²)`."""
        step = self.inner.step(slope, t, dt, y, k, error)
        if step.error is None:
            return step
        third = dt[:, None] * _sum(DOP853.E3, torch.stack(tuple(step.slopes)))
        size = step.error.abs()
        part = size / torch.hypot(size, third.abs() / 10).clamp(min=torch.finfo(y.dtype).tiny)
        return step._replace(error=step.error * part)

    def dense(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, step: Step) -> Sequence[Tensor]:
        """All sixteen slopes."""
        slopes = list(step.slopes)
        for row, c in zip(DOP853.A_EXTRA, DOP853.C_EXTRA.tolist(), strict=True):
            slopes.append(slope(t + c * dt, y + dt[:, None] * _sum(row[: len(slopes)], torch.stack(slopes))))
        return slopes

    def inside(self, θ: Tensor, dt: Tensor, y: Tensor, slopes: Tensor) -> Tensor:
        """The polynomial of seventh degree."""
        powers = torch.stack([θ ** (j + 1) for j in range(7)]) * dt
        weights = torch.as_tensor(self.weights, dtype=θ.dtype, device=θ.device) @ powers
        return y + torch.einsum("sp,spn->pn", weights.to(y.dtype), slopes)


def _sum(weights: Matrix, slopes: Tensor) -> Tensor:
    """Slopes (stages, rows, n), weighted."""
    return torch.tensordot(torch.as_tensor(weights, dtype=slopes.dtype, device=slopes.device), slopes, 1)
