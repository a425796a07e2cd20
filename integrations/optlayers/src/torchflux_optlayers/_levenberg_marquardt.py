"""Levenberg and Marquardt's method."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ._gauss_newton import fitted
from ._iterate import Iterative, Step, Task
from ._problem import LeastSquares

__all__ = ["LevenbergMarquardt"]

FACTOR, GOOD, LEAST, MOST = 4.0, 0.75, 1e-12, 1e12
"""By which the damping changes, the share of the promise from which on it becomes less, and its bounds."""
ROUNDING = 8
"""By how many units in the last place a sum of squares may grow: it is only known to so many."""


class State(NamedTuple):
    """The damping (rows,), and the largest columns so far (rows, n)."""

    damping: Tensor
    scale: Tensor


@dataclass(frozen=True)
class LevenbergMarquardt(Iterative):
    """Levenberg and Marquardt's method for `least_squares`: damped steps, each element with a damping of its own.

    The damping of a variable is in proportion to the largest derivative by it so far, so that its unit doesn't matter.
    It ends with a step of at most `atol + rtol |y|`, if that is hardly damped.

    Arguments:
        damping: at the start.

    >>> from torchflux_optlayers import least_squares
    >>> least_squares(lambda y, _: torch.atan(y), 9.0, solver=LevenbergMarquardt()).value.abs() < 1e-8
    tensor(True)

    Source: Marquardt (1963), doi:10.1137/0111030; Moré (1978), doi:10.1007/BFb0067700.
    """

    damping: float = 1e-3
    takes: ClassVar[tuple[type, ...]] = (LeastSquares,)
    inverts: ClassVar[bool] = True

    def init(self, problem: LeastSquares, y: Tensor) -> State:
        """The first damping."""
        return State(torch.full_like(y[:, :1].sum(-1), self.damping).detach(), torch.zeros_like(y).detach())

    def step(self, task: Task, y: Tensor, state: Any) -> Step:
        """One damped linear problem; a step that makes it worse isn't made."""
        residuals, matrix = task.problem.linearised(y)
        size = matrix.norm(dim=-2)
        scale = torch.maximum(state.scale, size.detach())
        units = torch.where(scale > 0, scale, 1.0)
        damped = torch.cat((matrix, torch.diag_embed(state.damping.sqrt().unsqueeze(-1) * units)), 1)
        step = -fitted(damped, torch.cat((residuals, torch.zeros_like(y)), -1))
        moved = (matrix @ step.unsqueeze(-1)).squeeze(-1) + residuals
        before, promised = (x.square().sum(-1).detach() / 2 for x in (residuals, moved))
        with torch.no_grad():
            after = task.problem.losses(y + step).detach()
        gain = (before - after) / (before - promised).clamp(min=torch.finfo(y.dtype).tiny)
        better = after <= before * (1 + ROUNDING * torch.finfo(y.dtype).eps)
        less = torch.where(gain > GOOD, state.damping / FACTOR, state.damping).clamp(min=LEAST)
        error = torch.where(better & (state.damping <= 1), task.tolerance.step(step, y), 2.0)
        error = torch.where(residuals.isfinite().all(-1), error, torch.nan)
        new = torch.where(better.unsqueeze(-1), y + step, y)
        damping = torch.where(better, less, state.damping * FACTOR)
        return Step(new, State(damping, scale), error, damping > MOST)
