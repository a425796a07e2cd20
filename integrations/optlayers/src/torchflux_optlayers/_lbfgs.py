"""The BFGS method with limited memory."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ._anderson import pushed
from ._iterate import Iterative, Step, Task, unproven
from ._line_search import Backtracking, Path
from ._problem import Minima

__all__ = ["LBFGS"]


class State(NamedTuple):
    """The last steps and changes of the gradient (rows, memory, n), and the last point and gradient (rows, n)."""

    steps: Tensor
    changes: Tensor
    y: Tensor
    slope: Tensor


@dataclass(frozen=True)
class LBFGS(Iterative):
    """The BFGS method with limited memory for `minimise`; it ends when the gradient and the next step are small.

    Each element has a memory and lengths of its own. A step along which the gradient doesn't grow is not remembered.

    Arguments:
        memory: how many steps are remembered.
        line_search: how the lengths are found.

    >>> from torchflux_optlayers import minimise
    >>> minimise(lambda y, _: torch.cosh(y - 2), 0.0, solver=LBFGS(memory=3)).value
    tensor(2.0000, dtype=torch.float64)

    Source: Nocedal (1980), doi:10.1090/S0025-5718-1980-0572855-7.
    """

    memory: int = 10
    line_search: Backtracking = field(default_factory=Backtracking)
    takes: ClassVar[tuple[type, ...]] = (Minima,)

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise ValueError(f"{self}: the memory is at least 1")

    def init(self, problem: Minima, y: Tensor) -> State:
        """Nothing yet."""
        none = y.new_zeros(len(y), self.memory, y.shape[-1])
        return State(none, none, y, torch.full_like(y, torch.nan))

    def step(self, task: Task, y: Tensor, state: Any) -> Step:
        """One step, from the length 1 on; the first is no longer than the point is far from the origin, or 1."""
        loss, slope = task.problem.sloped(y)
        steps, changes = _remembered(state, y, slope)
        direction = -_times(steps, changes, slope)
        descent = (direction * slope).sum(-1)
        direction = torch.where((descent < 0).unsqueeze(-1), direction, -slope)
        descent = torch.where(descent < 0, descent, -slope.square().sum(-1))
        first = (steps == 0).all(-1).all(-1)
        error = unproven(task.tolerance, slope, direction, y, first)
        far = task.running & (error > 1)
        short = (y.norm(dim=-1).clamp(min=1) / slope.norm(dim=-1)).clamp(max=1)
        path = Path(y, direction, loss, descent, torch.where(first, short, 1.0))
        length, fine = self.line_search.lengths(task.problem.losses, task.problem.gradient, path, far)
        new = torch.where((error > 1).unsqueeze(-1), y + length.unsqueeze(-1) * direction, y)
        error = torch.where(far & ~fine, task.tolerance.residual(slope, y), error)  # as near as rounding lets it
        return Step(new, State(steps, changes, y, slope), error, far & ~fine)


def _remembered(state: State, y: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """The memory with the last step, where it has a curvature."""
    step, change = y - state.y, slope - state.slope
    curved = (step * change).sum(-1) > torch.finfo(y.dtype).eps * change.square().sum(-1)
    keep = curved[:, None, None]
    return (
        torch.where(keep, pushed(state.steps, torch.where(curved.unsqueeze(-1), step, 0.0)), state.steps),
        torch.where(keep, pushed(state.changes, torch.where(curved.unsqueeze(-1), change, 0.0)), state.changes),
    )


def _times(steps: Tensor, changes: Tensor, slope: Tensor) -> Tensor:
    """The inverse Hessian that the memory stands for, times the gradient: the recursion with two loops."""
    curvature = (steps * changes).sum(-1)
    some = curvature > 0
    rho = torch.where(some, 1 / torch.where(some, curvature, 1.0), 0.0)
    shares, found, memory = [], slope, range(steps.shape[1])
    for i in reversed(memory):
        share = rho[:, i] * (steps[:, i] * found).sum(-1)
        shares.append(share)
        found = found - share.unsqueeze(-1) * changes[:, i]
    last, size = curvature[:, -1], changes[:, -1].square().sum(-1)
    scale = torch.where(some[:, -1], last / torch.where(some[:, -1], size, 1.0), 1.0)
    found = scale.unsqueeze(-1) * found
    for i, share in zip(memory, reversed(shares), strict=True):
        found = found + (share - rho[:, i] * (changes[:, i] * found).sum(-1)).unsqueeze(-1) * steps[:, i]
    return found
