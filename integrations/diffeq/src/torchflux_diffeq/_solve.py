"""`solve`: an initial value problem, and the gradient of its solution."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchflux import leaves

from ._adjoint import Adjoint, Task
from ._arguments import check_state, times_of
from ._brownian import BrownianTree
from ._controller import PID, Fixed
from ._dense import Dense, SaveAt
from ._eager import eager
from ._field import Field
from ._foreign import chosen
from ._interrupted import interrupted
from ._lanes import greatest
from ._march import March, Method, Status, tensor
from ._names import named
from ._native_args import NotNative
from ._native_route import native_route, on_tensors
from ._save import Saver
from ._sde import SDE
from ._solution import MESSAGES, Solution, SolveError, Stats, message
from ._solver import Solver
from ._stochastic_task import refuse, stochastic, usual
from ._unreached import warn_unreached

__all__ = ["solve"]

Tree = Any


@eager
def solve(
    f: Callable[..., Tree] | SDE,
    y0: Tree,
    ts: Tensor | Sequence[float | Tensor] | NDArray[np.floating],
    args: Tree = None,
    *,
    solver: Solver | str | None = None,
    controller: PID | Fixed | None = None,
    saveat: SaveAt | None = None,
    adjoint: Adjoint | None = None,
    events: Any = (),
    callbacks: Any = (),
    dt0: float | None = None,
    max_steps: int = 4096,
    batched: bool = False,
    generator: torch.Generator | BrownianTree | None = None,
    throw: bool = True,
    route: str = "auto",
) -> Solution:
    """Solves `dy/dt = f(t, y, args)` from `y(ts[0]) = y0`.

    Arguments:
        f: the slope, shaped and nested as the state. It gets the time as a tensor of shape (), or (samples,) with
            `batched=True`, where every tensor of the state has the samples in front and `f` treats them one by one. It
            is called with the samples that are under way, which may be fewer than `y0` has: mark what `args` holds for
            each sample by `per_sample`. Or an `SDE`.
        y0: the state at the start: a tensor, or a tree of tensors of one dtype.
        ts: the times at which the state is wanted, increasing or decreasing; the first is `y0`'s, the last is the end.
        args: anything; handed to `f`.
        solver: the method, or its name, also in SciPy or torchdiffeq (default `Tsit5()`; of an `SDE`,
            `EulerMaruyama()` or `StochasticHeun()`, by its calculus).
        controller: how the steps are chosen (default `PID()`), or `Fixed(dt)`.
        adjoint: how the gradient is computed (default `Discrete()`). It flows to `y0`, `ts`, `args` and what `f` uses.
        saveat: what else is kept: `SaveAt(dense=True)` for `evaluate`, `SaveAt(steps=True)` for the steps.
        events: an `Event` or a function, or several: where they change their sign is found and noted, or ends it.
        callbacks: a `Callback`, or several: changes of the state at events, or at times.
        dt0: the first step's length; by default it is estimated.
        max_steps: for each sample, rejected steps included.
        batched: solves each sample of `y0`'s leading axis with steps of its own.
        generator: where an `SDE` gets its noise from: a seed is drawn from it. Or the `BrownianTree` itself. Each
            sample of a batch has a path of its own; the lanes of a `vmap` share it.
        throw: whether a failure is an error; otherwise see `status` and `message`.
        route: "native" is machine code, step control included, for an `f` that is `@native` (see `torchflux_zygote`);
            "torch" is PyTorch; "auto" takes the native one where it can, and `Solution.route` says which.

    Raises:
        SolveError: a sample failed and `throw` is true; the error holds the solution as far as it goes.
        ValueError, TypeError: the arguments don't fit.

    >>> solution = solve(lambda t, y, rate: -rate * y, torch.tensor([1.0]), (0.0, 1.0), 2.0)
    >>> solution.ys[-1]
    tensor([0.1353])
    """
    solver = named(solver) if isinstance(solver, str) else solver
    _check_objects(solver, controller, saveat, adjoint)
    _check_options(dt0, max_steps, route)
    solver = solver or usual(f)
    method, adjoint = Method(solver, controller or PID(), dt0, max_steps), chosen(solver, adjoint)
    refuse(f, method.solver, adjoint, generator)
    saveat = saveat or SaveAt()
    plain = not (events or callbacks or saveat.dense or saveat.steps or method.controller.jump_ts is not None)
    if route == "native" and not plain:
        raise NotNative("route='native': events, callbacks, jump_ts and saveat are PyTorch's; or choose route='torch'")
    solution = native_route(route, f, y0, ts, args, method, adjoint, batched) if plain else None
    if solution is None:
        task = _task(on_tensors(f, args, batched), y0, ts, args, method, batched, generator)
        task = interrupted(task, adjoint, saveat, events, callbacks)
        solution = _solution(task, adjoint.solve(task), saveat)
    if throw and solution.message is not MESSAGES[Status.SUCCESS] and _failed(solution.status):
        raise SolveError(solution.message, solution)
    warn_unreached(f, solution.ys)
    return solution


def _check_objects(solver: Any, controller: Any, saveat: Any, adjoint: Any) -> None:
    """Refuses what is of another kind, a class instead of its object for one."""
    for name, given, kind, example in (
        ("solver", solver, Solver, "Tsit5()"),
        ("controller", controller, PID | Fixed, "PID(rtol=1e-6, atol=1e-9)"),
        ("saveat", saveat, SaveAt, "SaveAt(dense=True), and name times in ts"),
        ("adjoint", adjoint, Adjoint, "Discrete()"),
    ):
        if given is not None and not isinstance(given, kind):
            raise TypeError(f"{name}={given!r}: pass an object like {example}")


def _check_options(dt0: Any, max_steps: int, route: str) -> None:
    """Refuses what isn't a step's length, a number of steps, a route."""
    if dt0 is not None and not 0.0 < dt0 < float("inf"):
        raise ValueError(f"dt0={dt0!r}: the length of the first step is positive, in either direction of time")
    if not max_steps >= 1:
        raise ValueError(f"max_steps={max_steps!r}: allow one step at least")
    if route not in ("auto", "native", "torch"):
        raise ValueError(f"route={route!r}: it is 'auto', 'native' or 'torch'")


def _failed(status: Any) -> bool:
    """Whether a sample didn't come to its end."""
    if isinstance(status, int):
        return Status(status).failed
    return bool(status.any()) and any(Status(one).failed for one in status.unique().tolist())


def _task(f: Any, y0: Tree, ts: Any, args: Tree, method: Method, batched: bool, generator: Any) -> Task:
    """The problem in rows of numbers, checked."""
    solver, controller = method.solver, method.controller
    check_state(y0, batched)
    solver.check(y0)
    times = times_of(ts, y0)
    if isinstance(controller, PID) and not solver.estimates:
        raise ValueError(f"{solver} has no error estimate, so its steps can't adapt: pass controller=Fixed(dt)")
    numbers = greatest(times)
    _check_resolution(controller, times.dtype, float(np.abs(numbers[[0, -1]]).max()))
    backward = bool(numbers[1] < numbers[0])
    problem = Field(f, y0, args, batched, backward)
    forward = -times if backward else times
    y = problem.ravel(y0, len(next(x for _, x in leaves(y0))) if batched else 1)
    saver = Saver(forward, solver) if len(times) > 2 else None
    if isinstance(f, SDE):
        problem, saver = stochastic(f, y0, args, times, solver, controller, batched, generator)
    return Task(problem, y, forward, method, saver)


def _check_resolution(controller: PID | Fixed, dtype: torch.dtype, furthest: float) -> None:
    """Refuses steps that end where they begin, to rounding."""
    if isinstance(controller, Fixed) and controller.dt < furthest * torch.finfo(dtype).eps / 2:
        raise ValueError(f"{controller} is below what {dtype} tells apart at t = {furthest:g}: let time begin at zero")


def _solution(task: Task, found: March, saveat: SaveAt) -> Solution:
    """What came of it, in the user's terms."""
    problem, y, end = task.problem, task.y0, found.y
    inner = [] if task.saver is None else [task.saver.gathered(found.saved, len(y), y)]
    reached, failed = end, found.status != int(Status.SUCCESS)
    if failed.any():
        early = failed & ((found.status != Status.EVENT) | (found.t < float(greatest(task.times[-1]))))
        reached = end.masked_fill(torch.as_tensor(early, device=end.device)[:, None], float("nan"))
    ys = torch.cat([y[None], *inner, reached[None]])
    t = problem.sign * (tensor(found.t, y) if found.exact is None else found.exact)
    dense = Dense(problem, task.method.solver, found, y, task.times) if task.keep else None
    t_events, y_events = ((), ()) if task.breaks is None else task.breaks.found(problem, found)
    lead = (len(ys), len(y)) if problem.batched else (len(ys),)
    return Solution(
        task.times * problem.sign,
        problem.unravel(ys, *lead),
        _stats(found, problem.batched),
        torch.as_tensor(found.status) if problem.batched else Status(found.status[0]),
        message(found, problem.sign, problem.batched),
        t if problem.batched else t[0],
        problem.unravel(end, *lead[1:]),
        t_events,
        y_events,
        dense.accepted() if dense is not None and saveat.steps else None,
        dense if saveat.dense else None,
    )


def _stats(found: March, batched: bool) -> Stats:
    """What it cost."""
    accepted = found.steps - found.rejected
    numbers = (found.steps, accepted, found.rejected, found.evaluations, found.wasted, found.jacobians)
    return Stats(*(torch.as_tensor(x) if batched else int(x[0]) for x in numbers))
