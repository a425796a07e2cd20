"""What the solvers of implicit functions return, and what they say of elements that failed."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ._lanes import plain, transformed
from ._solution import Status

__all__ = ["Solution", "SolveError", "Stats"]

ADVICE = {
    Status.INFEASIBLE: "no point satisfies the constraints",
    Status.NOT_FINITE: "fn or a derivative is NaN or infinite there: start nearer, or keep fn defined (a line search "
    "shortens steps that leave its domain)",
    Status.MAX_ITERATIONS: "the tolerance was not reached: raise max_steps, rtol or atol, start nearer, or take "
    "another solver",
    Status.SINGULAR: "the Jacobian has no inverse there: start elsewhere, or take least_squares or Anderson(), "
    "which need none; equations that don't depend on y never have one",
    Status.STALLED: "no step makes it better: see whether fn is smooth there, or raise rtol and atol",
    Status.REFUSED: "SciPy gave up",
}


class SolveError(RuntimeError):
    """Elements that could not be solved; `solution` is what there is of them.

    >>> from torchflux_optlayers import root
    >>> try:
    ...     root(lambda y, _: y**2 + 1, 1.0)
    ... except SolveError as error:
    ...     error.solution.status
    <Status.SINGULAR: 10>
    """

    def __init__(self, message: str, solution: "Solution") -> None:
        super().__init__(message)
        self.solution = solution


@dataclass(frozen=True)
class Stats:
    """What a solution cost and how good it is, for each element (without a batch: numbers).

    Arguments:
        steps: how many steps it took.
        error: the solver's last estimate, in units of the tolerance.
    """

    steps: Any
    error: Any


@dataclass(frozen=True)
class Solution:
    """A solution, and how it ended.

    Arguments:
        value: laid out as `y0`; of an element that failed, the best that was found, whose gradient is NaN.
        status: a `Status`, or one for each element as a tensor (B,).
        stats: what it cost.
        message: the same in words, with what to try.

    >>> from torchflux_optlayers import root
    >>> solution = root(lambda y, _: y**2 + 1, 1.0, throw=False)
    >>> solution.solved, solution.stats.steps
    (False, 2)
    """

    value: Any
    status: Any
    stats: Stats
    message: str

    @property
    def solved(self) -> Any:
        """Whether it is solved, or which elements are."""
        return self.status == Status.SOLVED


def message(name: str, status: Tensor, steps: Tensor, batched: bool, said: str = "") -> str:
    """How it ended, in words; `said` is what a solver has to say itself."""
    if transformed():
        kinds = sorted({Status(kind) for kind in plain(status).flatten().tolist()} - {Status.SOLVED})
        found = "; ".join(f"{kind.name} ({ADVICE[kind]})" for kind in kinds)
        return f"{name}: not solved: {found}; inside of a transform, elements have no names"
    failed = (status != Status.SOLVED).nonzero()[:, 0].tolist()
    if not failed:
        return "solved"
    lines = []
    for kind in sorted({int(status[i]) for i in failed}):
        where = [i for i in failed if int(status[i]) == kind]
        who = f" at {places(where)}" if batched else ""
        lines.append(f"{Status(kind).name}{who} after {int(steps[where[0]])} steps ({ADVICE[Status(kind)]})")
    count = f"{len(failed)} of {len(status)} elements " if batched else ""
    words = f"; SciPy: {said}" if said else ""
    return f"{name}: {count}not solved: {'; '.join(lines)}{words}; throw=False returns the best that was found"


def which(rows: Tensor) -> str:
    """Where a mask (rows,) is true, where that says anything."""
    return "" if len(rows) == 1 or transformed() else f" at {places(rows.nonzero()[:, 0].tolist())}"


def places(where: list[int]) -> str:
    """Indices into the batch, the first ten."""
    return f"{', '.join(map(str, where[:10]))}{', ...' if len(where) > 10 else ''}"
