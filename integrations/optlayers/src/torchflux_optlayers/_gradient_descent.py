"""Gradient descent."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ._iterate import Iterative, Step, Task, unproven
from ._line_search import Backtracking, Path
from ._problem import Minima

__all__ = ["GradientDescent"]


class State(NamedTuple):
    """The next length of each row to try, and whether a longer one has been too long, shape (rows,) each."""

    length: Tensor
    known: Tensor


@dataclass(frozen=True)
class GradientDescent(Iterative):
    """Gradient descent for `minimise`, by as far as the line search lets it go; it ends at a small gradient and step.

    Arguments:
        length: of the first step, in units of the gradient; the next one begins with twice the last.
        line_search: `None` for steps that are all of the same length.

    >>> from torchflux_optlayers import minimise
    >>> minimise(lambda y, _: torch.cosh(y - 2), 0.0, solver=GradientDescent()).value
    tensor(2.0000, dtype=torch.float64)

    Source: Cauchy (1847), Comptes rendus 25, 536-538.
    """

    length: float = 1.0
    line_search: Backtracking | None = field(default_factory=lambda: Backtracking(0.3))
    takes: ClassVar[tuple[type, ...]] = (Minima,)

    def init(self, problem: Minima, y: Tensor) -> State:
        """The first length."""
        length = torch.full_like(y[:, 0], self.length).detach()
        return State(length, torch.full_like(length, self.line_search is None, dtype=torch.bool))

    def step(self, task: Task, y: Tensor, state: Any) -> Step:
        """One step downhill."""
        loss, slope = task.problem.sloped(y)
        length = state.length
        error = unproven(task.tolerance, slope, length.unsqueeze(-1) * slope, y, ~state.known)
        far = task.running & (error > 1)
        if self.line_search is None:
            return Step(y - length.unsqueeze(-1) * slope, state, error)
        path = Path(y, -slope, loss, -slope.square().sum(-1), length)
        length, fine = self.line_search.lengths(task.problem.losses, task.problem.gradient, path, far)
        new = torch.where((error > 1).unsqueeze(-1), y - length.unsqueeze(-1) * slope, y)
        error = torch.where(far & ~fine, task.tolerance.residual(slope, y), error)  # as near as rounding lets it
        return Step(new, State(2 * length, state.known | (length < state.length)), error, far & ~fine)
