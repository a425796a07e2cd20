"""What a solver found, and how it ended."""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from torch import Tensor

__all__ = ["QPSolution", "Status"]


class Status(IntEnum):
    """How the solution of a program ended.

    >>> Status(1).name
    'INFEASIBLE'
    """

    SOLVED = 0
    INFEASIBLE = 1
    """No point satisfies the constraints."""
    UNBOUNDED = 2
    """The cost has no least value."""
    NOT_CONVEX = 3
    """Q has a negative eigenvalue."""
    NOT_FINITE = 4
    """A number in the program is NaN or infinite (h and OSQP's bounds may be infinite)."""
    MAX_ITERATIONS = 5
    """The tolerance was not reached."""
    SINGULAR = 10
    """A Jacobian on the way has no inverse."""
    STALLED = 11
    """No step makes it better, and the tolerance is not reached."""
    REFUSED = 12
    """SciPy's solver gave up."""


ADVICE = {
    Status.INFEASIBLE: "no point satisfies the constraints",
    Status.UNBOUNDED: "the cost has no least value: bound the variables, or add a positive multiple of I to Q",
    Status.NOT_CONVEX: "Q has a negative eigenvalue: add a positive multiple of I",
    Status.NOT_FINITE: "there is a NaN or an infinite number in it",
    Status.MAX_ITERATIONS: "the tolerance was not reached: scale the problem, raise max_iterations or tol",
}


class QPSolution(NamedTuple):
    """The minimiser of each program, shapes as the batch `*` of the arguments says.

    `x`, `z`, `y` and `slack` carry derivatives of all orders; the rest are numbers about the solution.
    """

    x: Tensor
    """The minimiser, shape (*, n)."""
    z: Tensor
    """The multipliers of Gx ≤ h, at least 0, shape (*, m)."""
    y: Tensor
    """The multipliers of Ax = b, shape (*, e)."""
    slack: Tensor
    """h - Gx, and 0 where that holds with a force, shape (*, m)."""
    status: Tensor
    """A `Status` each, shape (*)."""
    iterations: Tensor
    """How many linear systems were factorised, shape (*)."""
    primal_residual: Tensor
    """The largest violation of a constraint, shape (*)."""
    dual_residual: Tensor
    """The largest entry of Qx + p + G'z + A'y, shape (*)."""

    @property
    def solved(self) -> Tensor:
        """Which programs were solved, shape (*)."""
        return self.status == Status.SOLVED


def complaint(status: Tensor, shape: Sequence[int]) -> str:
    """Which elements of a batch of this shape failed, why, and what to do for the others."""
    return f"{failures(status, shape)}; on_failure='nan' returns the others"


def failures(status: Tensor, shape: Sequence[int]) -> str:
    """Which elements of a batch of this shape failed, and why."""
    ends = status.tolist()
    parts = []
    for kind, advice in ADVICE.items():
        where = [i for i, end in enumerate(ends) if end == kind]
        if where:
            parts.append(f"{kind.name} {places(where, shape)} ({advice})")
    failed = len(ends) - ends.count(Status.SOLVED)
    return f"{failed} of {len(ends)} programs not solved: {'; '.join(parts)}"


def places(where: list[int], shape: Sequence[int]) -> str:
    """Indices into the batch, the first ten."""
    if not shape:
        return "as a whole"
    found = zip(*(axis.tolist() for axis in np.unravel_index(where[:10], tuple(shape))), strict=True)
    names = [str(i[0]) if len(shape) == 1 else str(i) for i in found]
    return f"at {', '.join(names)}{', ...' if len(where) > 10 else ''}"
