"""The conditions of Karush, Kuhn and Tucker at a solution: which bounds and constraints hold with a force."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._derivatives import jacobian, pulled
from ._krylov import least
from ._lanes import plain
from ._linear_solvers import factored
from ._problem import LeastSquares, Minima

__all__ = ["UNCLEAR", "Restricted"]

NEAR, WEAK = 1e-4, 1e-6
"""The distance up to which a constraint may be active, and the force up to which it counts as none."""
POLISHED, FAR = 20, 0.01
"""How many steps of Newton's method it may be from SciPy's point to the solution, and what share of its size."""


@dataclass(frozen=True)
class Restricted:
    """A problem with `lower ≤ y ≤ upper` (rows, n), `equal(y) = 0` and `ahead(y) ≥ 0`.

    Arguments:
        problem: what is to be least.
        lower, upper: infinite where there is no bound; gradients flow to them.
        equal, ahead: functions of the tree and `args`.
    """

    problem: Minima
    lower: Tensor
    upper: Tensor
    equal: Sequence[Callable[..., Any]]
    ahead: Sequence[Callable[..., Any]]

    def constraints(self, y: Tensor) -> Tensor:
        """All constraints, shape (rows, k); equations first."""
        return torch.cat((self._of(self.equal, y), self._of(self.ahead, y)), -1)

    def _of(self, functions: Sequence[Callable[..., Any]], y: Tensor) -> Tensor:
        found = [self.problem.other(LeastSquares, f).numbers(y) for f in functions]
        return torch.cat(found, -1) if found else y[:, :0]

    def depends(self, y: Tensor) -> bool:
        """Whether anything that the solution depends on has a gradient."""
        return any(x.requires_grad for x in (self.problem.losses(y), self.constraints(y), self.lower, self.upper))

    def equations(self, y: Tensor, failed: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor, Tensor]:
        """What defines the solution next to `y` (rows, n), it with its forces (rows, n + k), and which rows have none.

        Variables at a bound with a force are that bound; constraints without a force have the force 0; what is left
        of the gradient is 0 otherwise. Rows that failed before have none either.
        """
        low, up, active, force = self._active(y)
        n = y.shape[-1]

        def equations(z: Tensor) -> Tensor:
            y, force = z[:, :n], z[:, n:]
            rest = self._gradient(y, force)
            rest = torch.where(low, y - self.lower, torch.where(up, y - self.upper, rest))
            return torch.cat((rest, torch.where(active, self.constraints(y), force)), -1)

        z, exact = _polished(equations, torch.cat((y, force), -1), ~failed)
        right = exact & self._right(z[:, :n], z[:, n:], low, up, active)
        return equations, torch.where(right.unsqueeze(-1), z, torch.cat((y, force), -1)), ~right

    def _gradient(self, y: Tensor, force: Tensor) -> Tensor:
        """That of the loss without the forces' work."""

        def lagrangian(y: Tensor) -> Tensor:
            return self.problem.losses(y) - (force * self.constraints(y)).sum(-1)

        losses, pull = pulled(lagrangian, y, True)
        return pull(torch.ones_like(losses))

    def _active(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Which variables are at their lower or upper bound, which constraints are active, and their forces (rows, k).

        What is near may be active; what has no force then, or one in the wrong direction, is taken out.
        """
        slope = plain(self._gradient(y, torch.zeros_like(plain(self.constraints(y)))))
        values, matrix = (plain(x) for x in jacobian(self.constraints, y))
        lower, upper, y = plain(self.lower), plain(self.upper), plain(y)
        equal = torch.zeros_like(values, dtype=torch.bool)
        equal[:, : self._of(self.equal, y).shape[-1]] = True
        low, up = (distance <= NEAR * (1 + y.abs()) for distance in (y - lower, upper - y))
        active, weak = equal | (values <= NEAR), WEAK * (1 + slope.abs().amax(-1, keepdim=True))
        for _ in range(2 + int(low.sum() + up.sum() + active.sum())):
            force = _forces(matrix, slope, active, ~(low | up))
            rest = slope - (force.unsqueeze(-2) @ matrix).squeeze(-2)
            found = low & (rest > weak), up & (rest < -weak), equal | (active & (force > weak))
            if all(torch.equal(a, b) for a, b in zip(found, (low, up, active), strict=True)):
                break
            low, up, active = found
        return low, up, active, force

    def _right(self, y: Tensor, force: Tensor, low: Tensor, up: Tensor, active: Tensor) -> Tensor:
        """Which points (rows,) are allowed, with forces that pull the right way."""
        rest = plain(self._gradient(y, force))
        values, lower, upper, force = (plain(x) for x in (self.constraints(y), self.lower, self.upper, force))
        y = plain(y)
        equations = self._of(self.equal, y).shape[-1]
        slack = NEAR * (1 + y.abs())
        allowed = (y >= lower - slack) & (y <= upper + slack)
        pulls = (~low | (rest > 0)) & (~up | (rest < 0))
        kept = (values >= -NEAR) & (~active | (force > 0))
        kept[:, :equations] = values[:, :equations].abs() <= NEAR
        return allowed.all(-1) & pulls.all(-1) & kept.all(-1)


UNCLEAR = (
    "there is no gradient, as no exact solution is next to SciPy's, or it can't be told which bounds and constraints "
    "are active there: ask for a more exact one (rtol=, or options= with the method's own tolerances); minima that "
    "aren't isolated have none, neither do constraints that depend on each other; throw=False makes it NaN"
)


def _forces(matrix: Tensor, slope: Tensor, active: Tensor, free: Tensor) -> Tensor:
    """The forces (rows, k) that leave least of the gradient of the free variables; 0 where inactive."""
    if not matrix.shape[1]:
        return slope[:, :0]
    used = torch.where(active.unsqueeze(-1) & free.unsqueeze(-2), matrix, 0.0)
    found = least(used.mT, torch.where(free, slope, 0.0).unsqueeze(-1))
    return torch.where(active, found.squeeze(-1), 0.0)


def _polished(equations: Callable[[Tensor], Tensor], z: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The solution of equations next to `z` (rows, k), by Newton's method, and which of the rows that count have it."""
    z, start, small = z.detach(), z.detach(), 1e3 * torch.finfo(z.dtype).eps
    for _ in range(POLISHED):
        value, matrix = jacobian(equations, z)
        divide, singular = factored(matrix.detach())
        counts = counts & ~plain(singular)
        step = torch.where(counts.unsqueeze(-1), plain(divide(value)), 0.0)
        z, size = z - step, (step.abs() / (1 + z.abs())).amax(-1)
        if not (size > small).any():
            break
    near = ((z - start).abs() / (1 + start.abs())).amax(-1) <= FAR
    return z, counts & (size <= small) & near
