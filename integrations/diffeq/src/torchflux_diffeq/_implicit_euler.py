"""Euler's method backward."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ._jacobian import only_real
from ._newton import implicit
from ._solver import Slope, Solver, Step

__all__ = ["ImplicitEuler"]


class ImplicitEuler(Solver):
    """The first-order method `y₁ = y₀ + h f(t₁, y₁)`, for the stiffest of problems; B-stable.

    Newton's method solves for `y₁`; a step in which it doesn't converge is made again shorter. The error's estimate is
    half the change of the slope, the dense output a straight line. Of the solution, three derivatives are right: those
    beyond need `Rosenbrock23` or `Rodas5P`.

    Source: Curtiss & Hirschfelder (1952), doi:10.1073/pnas.38.3.235; Hairer & Wanner (1996), IV.8.

    >>> import torch
    >>> from torchflux_diffeq import Fixed, ImplicitEuler, solve
    >>> decay = lambda t, y, args: -y
    >>> solve(decay, torch.ones(1), (0.0, 1.0), solver=ImplicitEuler(), controller=Fixed(0.25)).ys[-1]  # 1.25 ** -4
    tensor([0.4096])
    """

    order = 1
    error_order = 2
    estimates = True

    def check(self, y0: Any) -> None:
        """Refuses complex states."""
        only_real(y0, self)

    def step(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, error: bool = False) -> Step:
        """One step; the slope at its end is the step's own, in which the iteration's error isn't magnified."""
        end = implicit(slope, t + dt, dt, y)
        mean = (end - y) / dt[:, None]
        return Step(end, mean, dt[:, None] / 2 * (mean - k) if error else None, (mean,))

    def dense(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, step: Step) -> Sequence[Tensor]:
        """The straight line's slope."""
        return step.slopes

    def inside(self, θ: Tensor, dt: Tensor, y: Tensor, slopes: Tensor) -> Tensor:
        """The straight line."""
        return y + (θ * dt)[:, None] * slopes[0]
