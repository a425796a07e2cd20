"""One loop under the four problems: rows that have converged rest, and one that fails spoils nobody else's."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from torchflux import fmap

from ._lanes import any_of, transformed
from ._problem import Problem
from ._solution import Status

__all__ = ["Found", "Iterative", "Solver", "Step", "Task", "Tolerance"]

INFINITE = float("inf")


class Tolerance(NamedTuple):
    """How exact a solution is to be: entry by entry, `atol + rtol |y|`."""

    rtol: float
    atol: float

    def step(self, step: Tensor, y: Tensor) -> Tensor:
        """The largest entry of a step in units of the tolerance, shape (rows,)."""
        return (step / (y.abs() * self.rtol + self.atol)).abs().amax(-1)

    def residual(self, residual: Tensor, y: Tensor) -> Tensor:
        """The largest entry of a residual in units of the tolerance of the largest entry of y, shape (rows,)."""
        return residual.abs().amax(-1) / (y.abs().amax(-1) * self.rtol + self.atol)


class Task(NamedTuple):
    """What a step is made for; `running` (rows,) are the rows that it counts for."""

    problem: Any
    tolerance: Tolerance
    running: Tensor


class Step(NamedTuple):
    """A step's end, what the next one needs, and an estimate of the error in units of the tolerance.

    Arguments:
        y: shape (rows, n).
        state: a tree of tensors with the rows in front.
        error: shape (rows,); at most 1 where `y` is a solution, not finite where there is no step.
        stalled: the rows (rows,) for which no step is any better.
    """

    y: Tensor
    state: Any
    error: Tensor
    stalled: Tensor | None = None


class Found(NamedTuple):
    """The end of a solver: points (rows, n), a `Status`, a number of steps and an error each, and its own words."""

    y: Tensor
    status: Tensor
    steps: Tensor
    error: Tensor
    said: str = ""


class Solver(ABC):
    """What solves problems of some kinds."""

    takes: ClassVar[tuple[type, ...]] = ()

    @abstractmethod
    def solve(self, problem: Any, y: Tensor, tolerance: Tolerance, max_steps: int) -> Found:
        """Solves the problem for every row."""

    def equations(self, problem: Any, found: Found) -> tuple[Any, Tensor]:
        """The equations that define the solution, for the implicit function theorem, and their solution (rows, k).

        Its first entries are those of `found.y`.
        """
        return problem.optimality, found.y


class Iterative(Solver):
    """A solver that makes steps; `init` and `step` are all that it is."""

    inverts: ClassVar[bool] = False
    """Whether a step that isn't finite, where the function is, means a Jacobian without an inverse."""

    def init(self, problem: Any, y: Tensor) -> Any:
        """The state before the first step: a tree of tensors with the rows in front."""
        return ()

    @abstractmethod
    def step(self, task: Task, y: Tensor, state: Any) -> Step:
        """One step for all rows."""

    def solve(self, problem: Any, y: Tensor, tolerance: Tolerance, max_steps: int) -> Found:
        """Makes steps until every row has ended."""
        with torch.set_grad_enabled(problem.tape):
            return _iterated(self, problem, y, tolerance, max_steps)


def _iterated(solver: Iterative, problem: Any, y: Tensor, tolerance: Tolerance, max_steps: int) -> Found:
    """The loop. With marked arguments, it goes on with the running rows alone as soon as they are at most half."""
    running = torch.ones(len(y), dtype=torch.bool, device=y.device)
    none = torch.full_like(y[:, :1].squeeze(-1), INFINITE).detach()
    found = Found(y, torch.full_like(running, Status.MAX_ITERATIONS, dtype=torch.int64), running.long() * 0, none)
    drops = problem.marked and not problem.tape and not transformed()
    index, now, part, state = None, problem, found, solver.init(problem, y)
    for _ in range(max_steps):
        part, running, state = _advanced(solver, Task(now, tolerance, running), part, state)
        if not any_of(running):
            break
        if drops and 2 * int(running.sum()) <= len(running):
            found, index = _merged(found, part, index), running.nonzero()[:, 0] if index is None else index[running]
            part, state = _kept(part, running), _kept(state, running)
            now, running = problem.on(index), running[running]
    return _explained(solver, problem, _merged(found, part, index))


def _advanced(solver: Iterative, task: Task, part: Found, state: Any) -> tuple[Found, Tensor, Any]:
    """The rows after a step, those that still run, and the state."""
    y, running = part.y, task.running
    step = solver.step(task, y, state)
    error, fresh = (step.error, step.y) if task.problem.tape else (step.error.detach(), step.y.detach())
    fine, over = error < INFINITE, error <= 1
    y = torch.where((running & fine).unsqueeze(-1), fresh, y)
    ends = over | ~fine
    kind = torch.where(over, int(Status.SOLVED), int(Status.NOT_FINITE))
    if step.stalled is not None:
        kind, ends = torch.where(step.stalled & fine & ~over, int(Status.STALLED), kind), ends | step.stalled
    status = torch.where(running & ends, kind, part.status)
    error = torch.where(running, error.detach(), part.error)
    return Found(y, status, part.steps + running, error), running & ~ends, step.state


def _merged(found: Found, part: Found, index: Tensor | None) -> Found:
    """All rows, with what became of some of them."""
    if index is None:
        return part
    whole, some = found[:4], part[:4]
    y, status, steps, error = (x.index_copy(0, index, new) for x, new in zip(whole, some, strict=True))
    return Found(y, status, steps, error)


def _kept(tree: Any, rows: Tensor) -> Any:
    """Some rows of a tree of tensors."""
    return fmap(lambda x: x[rows], tree)


def _explained(solver: Iterative, problem: Problem, found: Found) -> Found:
    """Says of the rows without a step whether it was for a Jacobian without an inverse."""
    bad = found.status == Status.NOT_FINITE
    if not solver.inverts or not any_of(bad):
        return found
    finite = problem.optimality(found.y).detach().isfinite().all(-1)
    return found._replace(status=torch.where(bad & finite, int(Status.SINGULAR), found.status))
