"""What `root`, `fixed_point`, `minimise` and `least_squares` have in common."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ._adjoint import Adjoint, Implicit
from ._iterate import Found, Solver, Tolerance
from ._lanes import any_of, transformed
from ._outcome import Solution, SolveError, Stats, message
from ._problem import Problem
from ._rows import Rows
from ._solution import Status

__all__ = ["solved"]

Tree = Any


@torch.compiler.disable  # how often a loop runs depends on numbers: it isn't traced, and compiled code calls it
def solved(
    kind: type[Problem],
    fn: Callable[..., Tree],
    y0: Tree,
    args: Tree,
    *,
    solver: Solver,
    adjoint: Adjoint | None,
    batched: bool,
    rtol: float | None,
    atol: float | None,
    max_steps: int,
    throw: bool,
) -> Solution:
    """The solution of a problem of some kind."""
    if not issubclass(kind, solver.takes):
        raise TypeError(f"{kind.name} can't take {solver}: see its documentation for those that it can")
    if torch.is_inference_mode_enabled():
        raise RuntimeError(f"{kind.name}: there are no derivatives in torch.inference_mode; use torch.no_grad")
    adjoint, rows = adjoint or Implicit(), Rows(y0, batched)
    problem = kind(fn, rows, args, adjoint.unrolls and torch.is_grad_enabled())
    if max_steps < 1:
        raise ValueError(f"max_steps={max_steps}: it is at least 1")
    y = rows.start() if problem.tape else rows.start().detach()
    found = solver.solve(problem, y, _tolerance(rows.dtype, rtol, atol), max_steps) if y.numel() else _nothing(y)
    said = message(kind.name, found.status, found.steps, batched, found.said) if _failed(found) else "solved"
    if throw and _failed(found):
        raise SolveError(said, _presented(rows, found, found.y.detach(), said))
    return _presented(rows, found, adjoint.differentiable(solver, problem, found, throw), said)


def _tolerance(dtype: torch.dtype, rtol: float | None, atol: float | None) -> Tolerance:
    """The tolerances, or those that the dtype can hold."""
    rtol = (1e-5 if dtype == torch.float32 else 1e-8) if rtol is None else rtol
    atol = (1e-6 if dtype == torch.float32 else 1e-10) if atol is None else atol
    if not (rtol >= 0 and atol >= 0 and rtol + atol > 0):
        raise ValueError(f"rtol={rtol} and atol={atol}: they are at least 0, and one is positive")
    return Tolerance(rtol, max(atol, torch.finfo(dtype).tiny))


def _nothing(y: Tensor) -> Found:
    """The end where there is nothing to solve for."""
    none = torch.zeros(len(y), dtype=torch.int64, device=y.device)
    return Found(y, none, none, y.new_zeros(len(y)))


def _failed(found: Found) -> bool:
    return any_of(found.status != Status.SOLVED)


def _presented(rows: Rows, found: Found, y: Tensor, said: str) -> Solution:
    """The solution in the layout of `y0`."""
    status, steps, error = found.status, found.steps, found.error
    if not rows.batched:
        status, steps, error = (x[0] for x in (status, steps, error))
        if not transformed():
            status, steps, error = Status(int(status)), int(steps), float(error)  # type: ignore[assignment]
    return Solution(rows.unravel(y), status, Stats(steps, error), said)
