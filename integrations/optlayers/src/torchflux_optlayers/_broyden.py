"""Broyden's method."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ._iterate import Iterative, Step, Task
from ._problem import Roots

__all__ = ["Broyden"]


class State(NamedTuple):
    """The inverse of the Jacobian as it is known so far (rows, n, n), and the function (rows, n)."""

    inverse: Tensor
    value: Tensor


@dataclass(frozen=True)
class Broyden(Iterative):
    """Broyden's good method for `root` and `fixed_point`: the Jacobian is formed once, and learned from the steps.

    It ends when both the step and the function are at most `atol + rtol |y|`.

    >>> from torchflux_optlayers import root
    >>> root(lambda y, _: y**2 - 2, 1.0, solver=Broyden()).value
    tensor(1.4142, dtype=torch.float64)

    Source: Broyden (1965), doi:10.1090/S0025-5718-1965-0198670-6.
    """

    takes: ClassVar[tuple[type, ...]] = (Roots,)
    inverts: ClassVar[bool] = True

    def init(self, problem: Roots, y: Tensor) -> State:
        """The inverse at the start."""
        value, matrix = problem.linearised(y)
        inverse, info = torch.linalg.inv_ex(matrix)
        regular = (info == 0) & matrix.isfinite().all(-1).all(-1)
        return State(torch.where(regular[:, None, None], inverse, torch.nan), value)

    def step(self, task: Task, y: Tensor, state: Any) -> Step:
        """A step, and what it teaches."""
        inverse, value = state
        step = -(inverse @ value.unsqueeze(-1)).squeeze(-1)
        new = task.problem.optimality(y + step)
        change = (inverse @ (new - value).unsqueeze(-1)).squeeze(-1)
        row = (step.unsqueeze(-2) @ inverse).squeeze(-2)
        slope = (step * change).sum(-1, keepdim=True)
        known = slope.abs() > torch.finfo(y.dtype).eps * (step * step).sum(-1, keepdim=True)
        missing = torch.where(known, (step - change) / torch.where(known, slope, 1.0), 0.0)
        error = torch.maximum(task.tolerance.step(step, y), task.tolerance.residual(new, y))
        return Step(y + step, State(inverse + missing.unsqueeze(-1) * row.unsqueeze(-2), new), error)
