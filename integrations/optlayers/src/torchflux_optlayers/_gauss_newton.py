"""Gauss and Newton's method."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ._iterate import Iterative, Step, Task
from ._line_search import Backtracking, Path
from ._problem import LeastSquares

__all__ = ["GaussNewton"]


@dataclass(frozen=True)
class GaussNewton(Iterative):
    """Gauss and Newton's method for `least_squares`: each step is the linear problem's solution.

    It ends with the step that is at most `atol + rtol |y|`, and makes it.

    Arguments:
        line_search: shortens steps that don't make the sum of squares smaller, e.g. `Backtracking()`.

    >>> from torchflux_optlayers import least_squares
    >>> least_squares(lambda y, _: (torch.exp(y) - 2, y - 1), 0.0, solver=GaussNewton()).value
    tensor(0.7504, dtype=torch.float64)

    Source: Nocedal & Wright (2006), doi:10.1007/978-0-387-40065-5, 10.3.
    """

    line_search: Backtracking | None = None
    takes: ClassVar[tuple[type, ...]] = (LeastSquares,)
    inverts: ClassVar[bool] = True

    def step(self, task: Task, y: Tensor, state: Any) -> Step:
        """One linear problem."""
        residuals, matrix = task.problem.linearised(y)
        if residuals.shape[-1] < y.shape[-1]:
            m, n = residuals.shape[-1], y.shape[-1]
            raise ValueError(f"GaussNewton: {m} residuals for {n} unknowns; take LevenbergMarquardt(), or regularise")
        step = -fitted(matrix, residuals)
        error = task.tolerance.step(step, y)
        if self.line_search is None:
            return Step(y + step, state, error)
        slope = ((matrix @ step.unsqueeze(-1)).squeeze(-1) * residuals).sum(-1)
        path = Path(y, step, residuals.square().sum(-1) / 2, slope, torch.ones_like(slope))
        length, fine = self.line_search.lengths(task.problem.losses, None, path, task.running & (error > 1))
        length = torch.where(error <= 1, 1.0, length).unsqueeze(-1)
        return Step(y + length * step, state, error, ~fine & (error > 1))


def fitted(matrix: Tensor, b: Tensor) -> Tensor:
    """The x with the least `|A x - b|`, for (rows, m, n) and (rows, m); not finite where columns are dependent."""
    length = matrix.norm(dim=-2, keepdim=True)
    q, r = torch.linalg.qr(matrix / torch.where(length > 0, length, 1.0))
    diagonal = r.diagonal(dim1=-2, dim2=-1).abs()
    rank = diagonal.amin(-1) > max(matrix.shape[-2:]) * torch.finfo(b.dtype).eps
    safe = torch.where(rank[:, None, None], r, torch.eye(r.shape[-1], dtype=r.dtype, device=r.device))
    x = torch.linalg.solve_triangular(safe, q.mT @ b.unsqueeze(-1), upper=True)
    return torch.where(rank.unsqueeze(-1), (x / length.mT).squeeze(-1), torch.nan)
