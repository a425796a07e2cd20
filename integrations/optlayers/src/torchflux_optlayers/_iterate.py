"""One loop under the four problems: rows that have converged rest, and one that fails spoils nobody else's."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from torchflux import fmap

from ._lanes import any_of, bounds, transformed
from ._solution import Status

__all__ = ["Found", "Iterative", "Solver", "Step", "Task", "Tolerance", "unproven"]

INFINITE = float("inf")


class Tolerance(NamedTuple):
    """How exact a solution is to be: entry by entry, `atol + rtol |y|`."""

    rtol: float
    atol: float

    def step(self, step: Tensor, y: Tensor) -> Tensor:
        """The largest entry of a step in units of the tolerance, shape (rows,)."""
        return _greatest(step.detach() / y.detach().abs().mul_(self.rtol).add_(self.atol))

    def residual(self, residual: Tensor, y: Tensor) -> Tensor:
        """The largest entry of a residual in units of the tolerance of the largest entry of y, shape (rows,)."""
        return _greatest(residual.detach()) / _greatest(y.detach()).mul_(self.rtol).add_(self.atol)


def unproven(tolerance: Tolerance, residual: Tensor, step: Tensor, y: Tensor, first: Tensor | None) -> Tensor:
    """The error of a method that learns the scale of a function from its steps, shape (rows,).

    What is left is small in units that may mean nothing, and a step may be small for its own sake: so it takes both.
    In `first` rows, nothing is learned yet, and only a residual of 0 is enough.
    """
    left, far = tolerance.residual(residual, y), tolerance.step(step, y)
    error = torch.maximum(left, far)
    return error if first is None else torch.where(first & (left > 0), error.clamp(min=2.0), error)


def _greatest(x: Tensor) -> Tensor:
    """The largest absolute entry of each row."""
    return x.abs().squeeze(-1) if x.shape[-1] == 1 else x.abs().amax(-1)


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

    def depends(self, problem: Any, y: Tensor) -> bool:
        """Whether what is solved may depend on anything that has a gradient."""
        return bool(problem.depends(y))

    def equations(self, problem: Any, found: Found, throw: bool) -> tuple[Any, Tensor, Tensor]:
        """The equations that define the solution, for the implicit function theorem, and their solution (rows, k).

        Its first entries are those of `found.y`, or what is exact next to it. The rows that have none come third.
        """
        return problem.optimality, found.y, found.status != Status.SOLVED


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


class _Rows(NamedTuple):
    """What becomes of rows: points (rows, n), errors, numbers of steps, and whether no step was any better."""

    y: Tensor
    error: Tensor
    steps: Tensor
    stalled: Tensor


def _iterated(solver: Iterative, problem: Any, y: Tensor, tolerance: Tolerance, max_steps: int) -> Found:
    """The loop. With marked arguments, it goes on with the running rows alone as soon as they are at most half."""
    running = torch.ones(len(y), dtype=torch.bool, device=y.device)
    part = _Rows(y, torch.full_like(y[:, 0], INFINITE).detach(), torch.zeros_like(running).long(), ~running)
    drops = problem.marked and not problem.tape and not transformed()
    whole, index, now, state, all_run = part, None, problem, solver.init(problem, y), True
    for count in range(1, max_steps + 1):
        step = solver.step(Task(now, tolerance, running), part.y, state)
        step = step if now.tape else Step(step.y.detach(), step.state, step.error.detach(), step.stalled)
        part, ends, state = *_after(part, step, running, all_run, count), step.state
        if ends is None:
            continue
        running, all_run = running & ~ends, False
        if not any_of(running):
            break
        if drops and 2 * int(running.sum()) <= len(running):
            whole, index = _merged(whole, part, index), running.nonzero()[:, 0] if index is None else index[running]
            part, state = _kept(part, running), _kept(state, running)
            now, running, all_run = problem.on(index), running[running], True
    part = part._replace(steps=torch.full_like(part.steps, max_steps)) if all_run else part
    return _found(solver, problem, _merged(whole, part, index))


def _after(part: _Rows, step: Step, running: Tensor, all_run: bool, count: int) -> tuple[_Rows, Tensor | None]:
    """The rows after a step, and which end with it; `None` where all go on, which costs one look at their errors."""
    low, high = bounds(step.error)
    fine = None if high < INFINITE else step.error < INFINITE
    stalls = step.stalled if step.stalled is not None and any_of(step.stalled) else None
    y = step.y if fine is None else torch.where(fine.unsqueeze(-1), step.y, part.y)
    if all_run:
        new = part._replace(y=y, error=step.error)
        if low > 1 and fine is None and stalls is None:
            return new, None
        new = new._replace(steps=torch.full_like(part.steps, count))
    else:
        error, steps = torch.where(running, step.error, part.error), torch.where(running, count, part.steps)
        new = _Rows(torch.where(running.unsqueeze(-1), y, part.y), error, steps, part.stalled)
    ends = step.error <= 1 if fine is None else (step.error <= 1) | ~fine
    if stalls is None:
        return new, ends
    stalled = torch.where(running & ~ends, stalls, part.stalled)
    return new._replace(stalled=stalled), ends | stalled


def _merged(whole: _Rows, part: _Rows, index: Tensor | None) -> _Rows:
    """All rows, with what became of some of them."""
    if index is None:
        return part
    return _Rows(*(x.index_copy(0, index, new) for x, new in zip(whole, part, strict=True)))


def _found(solver: Iterative, problem: Any, rows: _Rows) -> Found:
    """How the rows ended. Without a step, where the function is finite, it was for a Jacobian without an inverse."""
    status = torch.where(rows.error <= 1, int(Status.SOLVED), int(Status.MAX_ITERATIONS))
    if any_of(rows.stalled):
        status = torch.where(rows.stalled, int(Status.STALLED), status)
    if any_of(bad := ~(rows.error < INFINITE)):
        status = torch.where(bad, int(Status.NOT_FINITE), status)
        if solver.inverts:
            finite = problem.optimality(rows.y).detach().isfinite().all(-1)
            status = torch.where(bad & finite, int(Status.SINGULAR), status)
    return Found(rows.y, status, rows.steps, rows.error)


def _kept(tree: Any, rows: Tensor) -> Any:
    """Some rows of a tree of tensors."""
    return fmap(lambda x: x[rows], tree)
