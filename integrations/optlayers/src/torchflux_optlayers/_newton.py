"""Newton's method."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ._iterate import Iterative, Step, Task
from ._line_search import Backtracking, Path
from ._problem import Roots

__all__ = ["Newton"]


@dataclass(frozen=True)
class Newton(Iterative):
    """Newton's method for `root` and `fixed_point`: `J δ = -F`, each element with a Jacobian of its own.

    It ends with the step that is at most `atol + rtol |y|` in every entry, and makes it.

    Arguments:
        chord: keeps the first Jacobian, so that a step is cheap, and there are more of them.
        line_search: shortens steps that don't make `|F|` smaller, e.g. `Backtracking()`.

    >>> from torchflux_optlayers import root
    >>> root(lambda y, _: y**2 - 2, 1.0, solver=Newton(line_search=Backtracking())).value
    tensor(1.4142, dtype=torch.float64)

    Source: Dennis & Schnabel (1983), doi:10.1137/1.9781611971200, chapters 5 and 6.
    """

    chord: bool = False
    line_search: Backtracking | None = None
    takes: ClassVar[tuple[type, ...]] = (Roots,)
    inverts: ClassVar[bool] = True

    def init(self, problem: Roots, y: Tensor) -> Any:
        """The first Jacobian, if it is kept."""
        return problem.linearised(y)[1] if self.chord else ()

    def step(self, task: Task, y: Tensor, state: Any) -> Step:
        """One linear system."""
        value, matrix = (task.problem.optimality(y), state) if self.chord else task.problem.linearised(y)
        step = divided(matrix, value)
        error = task.tolerance.step(step, y)
        if self.line_search is None:
            return Step(y - step, state, error)
        merit = lambda y: task.problem.optimality(y).square().sum(-1)
        before = value.square().sum(-1)
        path = Path(y, -step, before, -2 * before, torch.ones_like(before))
        length, fine = self.line_search.lengths(merit, None, path, task.running & (error > 1))
        length = torch.where(error <= 1, 1.0, length).unsqueeze(-1)
        return Step(y - length * step, state, error, ~fine & (error > 1))


def divided(matrix: Tensor, b: Tensor) -> Tensor:
    """The solutions of `A x = b`, for (rows, n, n) and (rows, n); NaN or infinite where the matrix has no inverse."""
    if matrix.shape[-1] == 1:
        only = matrix.squeeze(-1)
        return torch.add(b / only, only, alpha=0)  # NaN for an infinite slope: a quotient of 0 would look like a root
    x, info = torch.linalg.solve_ex(matrix, b.unsqueeze(-1))
    regular = (info == 0) & matrix.isfinite().all(-1).all(-1)
    return torch.where(regular.unsqueeze(-1), x.squeeze(-1), torch.nan)
