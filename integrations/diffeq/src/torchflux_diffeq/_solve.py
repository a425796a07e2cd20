"""`solve`: an initial value problem, and the gradient of its solution."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchflux import leaves

from ._controller import PID, Fixed
from ._field import Field
from ._lanes import greatest, has_lanes, transformed
from ._march import March, Method, Status, march
from ._methods import Tsit5
from ._replay import replay
from ._runge_kutta import ExplicitRungeKutta
from ._save import Saver
from ._solution import MESSAGES, Solution, SolveError, Stats
from ._solver import Solver
from ._together import together, worthwhile

__all__ = ["Discrete", "solve"]

Tree = Any


@dataclass(frozen=True)
class Discrete:
    """The gradient of what the solver computed, step by step: discretise, then optimise.

    Arguments:
        memory: of a replay: "checkpoints" computes the steps again in stretches, so that the tape of 256 is held
            at once, and the states held between grow with the logarithm of the number of steps; "tape" holds the
            tape of all accepted steps. Inside of `torch.func`'s transforms the tape is held.
        replay: makes the steps again one by one, also where the state is small enough for all of them at once.

    Source: Griewank & Walther (2000), doi:10.1145/347837.347846.
    """

    memory: str = "checkpoints"
    replay: bool = False

    def __post_init__(self) -> None:
        if self.memory not in ("checkpoints", "tape"):
            raise ValueError(f"Discrete(memory={self.memory!r}): it is 'checkpoints' or 'tape'")


@torch.compiler.disable
def solve(
    f: Callable[..., Tree],
    y0: Tree,
    ts: Tensor | Sequence[float | Tensor],
    args: Tree = None,
    *,
    solver: Solver | None = None,
    controller: PID | Fixed | None = None,
    adjoint: Discrete | None = None,
    dt0: float | None = None,
    max_steps: int = 4096,
    batched: bool = False,
    throw: bool = True,
) -> Solution:
    """Solves `dy/dt = f(t, y, args)` from `y(ts[0]) = y0`.

    Arguments:
        f: the slope, shaped and nested as the state. It gets the time as a tensor of shape (), or (samples,) with
            `batched=True`, where every tensor of the state has the samples in front and `f` treats them one by one. It
            is called with the samples that are under way, which may be fewer than `y0` has: mark what `args` holds for
            each sample by `per_sample`.
        y0: the state at the start: a tensor, or a tree of tensors of one dtype.
        ts: the times at which the state is wanted, increasing or decreasing; the first is `y0`'s, the last is the end.
        args: anything; handed to `f`.
        solver: the method (default `Tsit5()`).
        controller: how the steps are chosen (default `PID()`), or `Fixed(dt)`.
        adjoint: how the gradient is computed (default `Discrete()`). It flows to `y0`, `ts`, `args` and what `f` uses.
        dt0: the first step's length; by default it is estimated.
        max_steps: for each sample, rejected steps included.
        batched: solves each sample of `y0`'s leading axis with steps of its own.
        throw: whether a failure is an error; otherwise see `status` and `message`.

    Raises:
        SolveError: a sample failed and `throw` is true; the error holds the solution as far as it goes.
        ValueError, TypeError: the arguments don't fit.

    >>> solution = solve(lambda t, y, rate: -rate * y, torch.tensor([1.0]), (0.0, 1.0), 2.0)
    >>> solution.ys[-1]
    tensor([0.1353])
    """
    solver, controller, adjoint = solver or Tsit5(), controller or PID(), adjoint or Discrete()
    _check_state(y0, batched)
    solver.check(y0)
    times = _times(ts, y0)
    if isinstance(controller, PID) and not solver.estimates:
        raise ValueError(f"{solver} has no error estimate, so its steps can't adapt: pass controller=Fixed(dt)")
    backward = bool(np.diff(greatest(times))[0] < 0)
    problem = Field(f, y0, args, batched, backward)
    forward = -times if backward else times
    y = problem.ravel(y0, len(next(x for _, x in leaves(y0))) if batched else 1)
    saver = Saver(forward, solver) if len(times) > 2 else None
    method = Method(solver, controller, dt0, max_steps)
    watch = torch.is_grad_enabled()
    found = march(problem, y, forward, method, saver, watch)
    end, saved = found.y, found.saved
    if transformed() or found.needs_gradient or (watch and times.requires_grad):
        again = lambda y0, checkpoints: replay(problem, y0, forward, solver, found, saver, checkpoints)
        whole = None
        stepwise = transformed() or times.requires_grad or adjoint.replay
        if not stepwise and isinstance(solver, ExplicitRungeKutta) and worthwhile(found, solver.tableau.stages):
            whole = together(problem, y, solver, found, saver, partial(again, checkpoints=False))
        end, saved = whole or again(y, adjoint.memory == "checkpoints")
    inner = [] if saver is None else [saver.gathered(saved, len(y), y)]
    failed = found.status != 0
    reached = end
    if failed.any():
        reached = end.masked_fill(torch.as_tensor(failed, device=end.device)[:, None], float("nan"))
    ys = torch.cat([y[None], *inner, reached[None]])
    lead = (len(times), len(y)) if batched else (len(times),)
    solution = Solution(
        times,
        problem.unravel(ys, *lead),
        _stats(found, batched),
        torch.as_tensor(found.status) if batched else Status(found.status[0]),
        _message(found, backward, batched),
        torch.as_tensor(found.t * (-1 if backward else 1)) if batched else found.t[0] * (-1 if backward else 1),
        problem.unravel(end, *lead[1:]),
    )
    if throw and failed.any():
        raise SolveError(solution.message, solution)
    return solution


def _check_state(y0: Tree, batched: bool) -> None:
    """Refuses states that are no floats, of several dtypes, or not finite."""
    parts = [(path, x) for path, x in leaves(y0) if isinstance(x, Tensor)]
    if not parts:
        raise TypeError(f"y0 is {y0!r}: pass a tensor, or a tree of tensors")
    dtypes = {x.dtype for _, x in parts}
    if len(dtypes) > 1:
        raise TypeError(f"y0 has tensors of {', '.join(map(str, sorted(dtypes, key=str)))}: convert them to one dtype")
    for path, x in parts:
        name = f"y0[{path!r}]" if path else "y0"
        if not (x.is_floating_point() or x.is_complex()):
            raise TypeError(f"{name} is {x.dtype}: a state changes continuously, so pass floats")
        if greatest((~x.isfinite()).any().int()):
            raise ValueError(f"{name} has NaN or inf in it: {x}")
        if batched and x.dim() == 0:
            raise ValueError(f"{name} has no axis for the samples, with batched=True: its leading axis is the batch")
    if batched and len({len(x) for _, x in parts}) > 1:
        raise ValueError(f"the parts of y0 have {[len(x) for _, x in parts]} samples: the leading axis is the batch")


def _times(ts: Any, y0: Tree) -> Tensor:
    """The times as a tensor, checked."""
    like = next(x for _, x in leaves(y0) if isinstance(x, Tensor))
    real = like.real.dtype if like.is_complex() else like.dtype
    if isinstance(ts, Tensor):
        times = ts.to(dtype=real, device=like.device)
    elif any(isinstance(t, Tensor) for t in ts):
        times = torch.stack([torch.as_tensor(t, dtype=real, device=like.device) for t in ts])
    else:
        times = torch.tensor(list(ts), dtype=real, device=like.device)
    if times.dim() != 1 or len(times) < 2:
        raise ValueError(f"ts has the shape {tuple(times.shape)}: pass at least the first and the last time")
    if has_lanes(times):
        raise ValueError("ts differs between the lanes of a vmap: scale the time instead, or solve them one by one")
    numbers = greatest(times)
    if not np.isfinite(numbers).all():
        raise ValueError(f"ts has NaN or inf in it: {numbers}")
    steps = np.diff(numbers)
    wrong = np.flatnonzero(steps * steps[0] <= 0)
    if len(wrong):
        i = int(wrong[0])
        here, following = numbers[i : i + 2]
        raise ValueError(f"ts[{i}] = {here:g} is followed by {following:g}: the times increase, or decrease, strictly")
    return times


def _stats(found: March, batched: bool) -> Stats:
    """What it cost."""
    accepted = found.steps - found.rejected
    numbers = (found.steps, accepted, found.rejected, found.evaluations, found.wasted, found.jacobians)
    return Stats(*(torch.as_tensor(x) if batched else int(x[0]) for x in numbers))


def _message(found: March, backward: bool, batched: bool) -> str:
    """How it ended, in words."""
    if not found.status.any():
        return MESSAGES[Status.SUCCESS]
    failed = found.status.nonzero()[0].tolist()
    lines = []
    for status in sorted({int(found.status[i]) for i in failed}):
        rows = [i for i in failed if int(found.status[i]) == status]
        t = float(found.t[rows[0]]) * (-1 if backward else 1)
        who = f"samples {', '.join(map(str, rows[:8]))}{', ...' if len(rows) > 8 else ''}: " if batched else ""
        lines.append(f"{who}stopped at t = {t:g}, after {int(found.steps[rows[0]])} steps; {MESSAGES[Status(status)]}")
    return "\n".join(lines)
