"""Anderson's acceleration of fixed points."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ._iterate import Iterative, Step, Task, unproven
from ._problem import Roots

__all__ = ["Anderson"]


class State(NamedTuple):
    """The last changes of the point and of what is left (rows, memory, n), and what they are changes from (rows, n)."""

    steps: Tensor
    changes: Tensor
    y: Tensor
    value: Tensor


@dataclass(frozen=True)
class Anderson(Iterative):
    """Anderson's acceleration for `fixed_point` (and for a `root` of which `y - F(y)` is an iteration).

    No Jacobian is formed: of the last iterations, those combinations are taken that leave least. It ends when what is
    left, `y - fn(y)`, and the next step are both at most `atol + rtol |y|`.

    Arguments:
        memory: how many iterations are combined.
        mixing: the share of what is left that a step goes along.

    >>> from torchflux_optlayers import fixed_point
    >>> fixed_point(lambda y, _: torch.cos(y), 1.0, solver=Anderson(memory=2)).value
    tensor(0.7391, dtype=torch.float64)

    Source: Anderson (1965), doi:10.1145/321296.321305; Walker & Ni (2011), doi:10.1137/10078356X.
    """

    memory: int = 5
    mixing: float = 1.0
    takes: ClassVar[tuple[type, ...]] = (Roots,)

    def __post_init__(self) -> None:
        if self.memory < 0 or not self.mixing:
            raise ValueError(f"{self}: memory is at least 0, and mixing isn't 0")

    def init(self, problem: Roots, y: Tensor) -> State:
        """Nothing yet."""
        none = y.new_zeros(len(y), self.memory, y.shape[-1])
        return State(none, none, y, torch.full_like(y, torch.nan))

    def step(self, task: Task, y: Tensor, state: Any) -> Step:
        """The combination that leaves least."""
        value = task.problem.optimality(y)
        first = state.value.isnan().any(-1, keepdim=True)
        steps = pushed(state.steps, torch.where(first, 0.0, y - state.y))
        changes = pushed(state.changes, torch.where(first, 0.0, value - state.value))
        weights = _least(changes, value)
        plain = y - self.mixing * value
        new = plain - (weights.unsqueeze(-2) @ (steps - self.mixing * changes)).squeeze(-2)
        error = unproven(task.tolerance, value, new - y, y, first.squeeze(-1) if self.memory else None)
        new = torch.where((error <= 1).unsqueeze(-1), y, new)
        return Step(new, State(steps, changes, y, value), error)


def pushed(memory: Tensor, new: Tensor) -> Tensor:
    """A memory (rows, memory, n) with a new last entry (rows, n), without the first."""
    return torch.cat((memory[:, 1:], new.unsqueeze(1)), 1) if memory.shape[1] else memory


def _least(changes: Tensor, value: Tensor) -> Tensor:
    """The weights (rows, memory) with which the changes leave least of the value; 0 for changes that are 0."""
    length = changes.norm(dim=-1, keepdim=True)
    units = changes / torch.where(length > 0, length, 1.0)
    ridge = 10 * torch.finfo(value.dtype).eps * torch.eye(changes.shape[1], dtype=value.dtype, device=value.device)
    gram = units @ units.mT + ridge
    found = torch.linalg.solve_ex(gram, units @ value.unsqueeze(-1))[0]
    return (found / torch.where(length > 0, length, 1.0)).squeeze(-1)
