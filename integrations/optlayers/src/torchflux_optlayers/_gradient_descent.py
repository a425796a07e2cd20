"""Gradient descent."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ._iterate import Iterative, Step, Task
from ._line_search import Backtracking
from ._problem import Minima

__all__ = ["GradientDescent"]


class State(NamedTuple):
    """The last length of each row, shape (rows,)."""

    length: Tensor


@dataclass(frozen=True)
class GradientDescent(Iterative):
    """Gradient descent for `minimise`, by as far as the line search lets it go; it ends at a small gradient.

    Arguments:
        length: of the first step, in units of the gradient; the next one begins with twice the last.
        line_search: `None` for steps that are all of the same length.

    Source: Cauchy (1847), Comptes rendus 25, 536-538.
    """

    length: float = 1.0
    line_search: Backtracking | None = field(default_factory=Backtracking)
    takes: ClassVar[tuple[type, ...]] = (Minima,)

    def init(self, problem: Minima, y: Tensor) -> State:
        """The first length."""
        return State(torch.full_like(y[:, :1].sum(-1), self.length).detach())

    def step(self, task: Task, y: Tensor, state: Any) -> Step:
        """One step downhill."""
        loss, slope = task.problem.sloped(y)
        error = task.tolerance.residual(slope, y)
        far = task.running & (error > 1)
        if self.line_search is None:
            length, fine = state.length, torch.ones_like(far)
        else:
            start = loss.detach(), -slope.square().sum(-1).detach(), state.length
            length, fine = self.line_search.lengths(task.problem.losses, y, -slope.detach(), start, far)
        new = torch.where((error > 1).unsqueeze(-1), y - length.unsqueeze(-1) * slope, y)
        longer = length if self.line_search is None else 2 * length
        return Step(new, State(longer), error, far & ~fine)
