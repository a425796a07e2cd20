"""The solution with steps that adapt, each sample's by themselves; finished samples are dropped from the work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._controller import PID, Fixed, Numbers
from ._field import Field
from ._lanes import greatest
from ._runge_kutta import ExplicitRungeKutta
from ._save import Saved, Saver
from ._sde import StochasticField, StochasticSlope
from ._solver import Slope, Solver, Step

__all__ = ["Made", "March", "Method", "Status", "joined", "march", "tensor"]


class Status(IntEnum):
    """How a sample's solution ended."""

    SUCCESS = 0
    MAX_STEPS = 1
    STALLED = 2
    NOT_FINITE = 3
    NOT_STEADY = 4


RUNNING = -1
FEW = 64
"""The numbers in a state, up to which the steps are kept for the gradient of all of them together."""
MANY = 1024
"""The steps that are kept at most, where it is only for the states to be saved."""


@dataclass(frozen=True)
class Method:
    """How to solve: all of `solve`'s options that the steps depend on.

    `arrived` says of the states and slopes (rows, n) at steps' ends, which samples need go no further.
    """

    solver: Solver
    controller: PID | Fixed
    dt0: float | None
    max_steps: int
    arrived: Callable[[Tensor, Tensor], NDArray[np.bool_]] | None = None


@dataclass(frozen=True)
class Made:
    """Accepted steps: whose, when, from which states (rows, n), and with which slopes (stages, rows, n)."""

    rows: NDArray[np.int64]
    t: Numbers
    ends: Numbers
    dt: Numbers
    y: Tensor
    slopes: Tensor


def joined(made: list[Made]) -> Made:
    """Several steps, or several samples' steps, as one."""
    rows, t, ends, dt = (np.concatenate([getattr(x, name) for x in made]) for name in ("rows", "t", "ends", "dt"))
    return Made(rows, t, ends, dt, torch.cat([x.y for x in made]), torch.cat([x.slopes for x in made], 1))


@dataclass
class March:
    """What came of a solution, by sample: the last state and its time, how it ended, the steps, and what they cost.

    `rows` and `ends` are the accepted steps in the order in which they were made: which samples, and up to where.
    """

    y: Tensor
    t: Numbers
    status: NDArray[np.int64]
    steps: NDArray[np.int64]
    rejected: NDArray[np.int64]
    evaluations: NDArray[np.int64]
    wasted: NDArray[np.int64]
    jacobians: NDArray[np.int64]
    rows: list[NDArray[np.int64]] = field(default_factory=list)
    ends: list[Numbers] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    needs_gradient: bool = False

    def save(self, saver: Saver) -> None:
        """The states at the times that the steps noted so far have passed, which are then forgotten."""
        steps = joined(self.made)
        self.made = []
        passed = saver.passed(steps.t, steps.ends)
        if passed is not None:
            t, dt = tensor(steps.t, steps.y), tensor(steps.dt, steps.y)
            self.saved.append(saver.states(passed, steps.rows, t, dt, steps.y, steps.slopes))


@dataclass
class _Live:
    """The samples that are under way; everything has one row for each."""

    rows: NDArray[np.int64]
    t: Numbers
    dt: Numbers
    e1: Numbers
    e2: Numbers
    steps: NDArray[np.int64]
    rejected: NDArray[np.int64]
    y: Tensor
    k: Tensor

    def keep(self, which: NDArray[np.bool_]) -> "_Live":
        """Some of them."""
        index = torch.as_tensor(which, device=self.y.device)
        parts: Any = (getattr(self, part.name) for part in fields(self))
        kept: Any = (part[index] if isinstance(part, Tensor) else part[which] for part in parts)
        return _Live(*kept)


class _Watch:
    """The slopes of some samples without a tape; counts them, and notices whether there would have been a tape."""

    def __init__(self, problem: Field, rows: NDArray[np.int64] | None, out: March, watching: bool) -> None:
        self.slope, self.out, self.watching = problem.on(rows), out, watching
        self.rows: Any = slice(None) if rows is None else rows
        self.calls = 0

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        self.out.evaluations[self.rows] += 1
        return self.noticed(self.slope, t, y)

    def noticed(self, slope: Slope, t: Tensor, y: Tensor) -> Tensor:
        """A slope, or what else the equation has of that kind."""
        if not self.watching or self.out.needs_gradient:
            return slope(t, y)
        with torch.enable_grad():
            k = slope(t, y)
        self.out.needs_gradient = k.requires_grad
        return k.detach()

    def over(self, t: Numbers, ends: Numbers) -> None:
        """The slopes are those for steps from `t` to `ends` (rows,) now."""

    def taped(self, t: Tensor, y: Tensor) -> Tensor:
        """The slopes with their tape, for a Jacobian."""
        self.calls += 1
        self.out.evaluations[self.rows] += 1
        self.out.jacobians[self.rows] += 1
        return self.slope(t, y)


class _StochasticWatch(_Watch):
    """The same for a drift, whose diffusion has to be noticed as well."""

    slope: StochasticSlope

    @property
    def kind(self) -> str:
        """Of noise."""
        return self.slope.kind

    def over(self, t: Numbers, ends: Numbers) -> None:
        """The slopes and the noise are those for steps from `t` to `ends` (rows,) now."""
        self.slope.over(t, ends)

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        """The diffusion without a tape."""
        return self.noticed(self.slope.diffusion, t, y)

    def along(self, t: Tensor, y: Tensor) -> Tensor:
        """The diffusion and its derivative along itself, without a tape."""
        return self.noticed(self.slope.along, t, y)

    def noise(self, g: Tensor) -> Tensor:
        """The increments of the motions."""
        return self.slope.noise(g)

    def mixes(self, t: Tensor, y: Tensor) -> bool:
        """Whether the diffusion mixes the numbers of the state."""
        return self.slope.mixes(t, y)


@torch.compiler.disable
@torch.no_grad()
def march(problem: Field, y0: Tensor, times: Tensor, method: Method, saver: Saver | None, watch: bool) -> March:
    """Solves from `times[0]` to `times[-1]`; `watch` asks to find out whether the slopes have a tape."""
    y, m = y0.detach(), len(y0)
    begin, end = (float(t) for t in greatest(times[[0, -1]]))
    count = np.zeros(m, np.int64)
    numbers: Any = (count.copy() for _ in range(6))
    out = March(y, np.full(m, begin), *numbers)
    out.needs_gradient = watch and y0.requires_grad
    watched = _StochasticWatch if isinstance(problem, StochasticField) else _Watch
    slope = watched(problem, None, out, watch)
    t = times.detach()[0].expand(m)
    k = slope(t, y)
    method.solver.begin(slope, t, y, k)
    dt = _first_steps(slope, t, y, k, method)
    live = _Live(np.arange(m), out.t.copy(), dt, np.ones(m), np.ones(m), count, count, y, k)
    ended = []
    while len(live.rows):
        live, status = _advance(live, slope, end, method, out, saver)
        leaving = status != RUNNING
        if leaving.any():
            gone = live.rows[leaving]
            ended.append((gone, live.y if leaving.all() else live.y[torch.as_tensor(leaving)]))
            out.t[gone], out.status[gone] = live.t[leaving], status[leaving]
            out.steps[gone], out.rejected[gone] = live.steps[leaving], live.rejected[leaving]
            live = live.keep(~leaving)
            slope = watched(problem, live.rows, out, watch)
    if saver is not None and out.made and not out.needs_gradient:
        out.save(saver)
    order = np.argsort(np.concatenate([rows for rows, _ in ended]))
    out.y = torch.cat([states for _, states in ended])[torch.as_tensor(order)]
    return out


def _first_steps(slope: Slope, t: Tensor, y: Tensor, k: Tensor, method: Method) -> Numbers:
    """The length of each sample's first step."""
    if isinstance(method.controller, Fixed):
        return np.full(len(y), method.controller.dt)
    if method.dt0 is not None:
        return np.full(len(y), method.dt0)
    first = method.controller.first(slope, t, y, k, method.solver.order)
    return np.minimum(np.where(np.isfinite(first), first, 1e-6), method.controller.dtmax)


def _advance(
    live: _Live, slope: _Watch, end: float, method: Method, out: March, saver: Saver | None
) -> tuple[_Live, NDArray[np.int64]]:
    """One step of every sample that is under way, and what became of each: a status, or `RUNNING`."""
    controller, solver = method.controller, method.solver
    left = end - live.t
    last = live.dt >= left * (1 - 1e-9)
    dt = np.where(last, left, live.dt)
    calls, ends = slope.calls, np.where(last, end, live.t + dt)
    slope.over(live.t, ends)
    step = solver.step(slope, tensor(live.t, live.y), tensor(dt, live.y), live.y, live.k, isinstance(controller, PID))
    calls = slope.calls - calls
    if isinstance(controller, PID):
        assert step.error is not None
        e0 = controller.ratio(step.error, live.y, step.y)
        accepted = e0 <= 1.0
        following = dt * controller.factor(solver.error_order, e0, live.e1, live.e2)
        following = np.minimum(np.where(accepted, following, np.minimum(following, dt)), controller.dtmax)
        stalled = ~accepted & (following < _shortest(live.t, controller.dtmin, live.y.dtype))
    else:
        e0, following = live.e1, live.dt
        accepted = _finite(step.y)
        stalled = ~accepted
    steps = live.steps + 1
    there = last if method.arrived is None else last | method.arrived(step.y, step.slope)
    status = np.where(accepted & there, int(Status.SUCCESS), RUNNING)
    status[(status == RUNNING) & (steps >= method.max_steps)] = Status.MAX_STEPS
    if stalled.any():
        status[stalled] = np.where(_finite(step.y), int(Status.STALLED), int(Status.NOT_FINITE))[stalled]
    _note(live, slope, ends, dt, step, accepted, out, method.solver, saver)
    if accepted.all():
        live = _Live(live.rows, ends, following, e0, live.e1, steps, live.rejected, step.y, step.slope)
        return live, status
    out.wasted[live.rows[~accepted]] += calls
    t, e1, e2 = (np.where(accepted, a, b) for a, b in ((ends, live.t), (e0, live.e1), (live.e1, live.e2)))
    choose = torch.as_tensor(accepted, device=live.y.device)[:, None]
    y, k = torch.where(choose, step.y, live.y), torch.where(choose, step.slope, live.k)
    return _Live(live.rows, t, following, e1, e2, steps, live.rejected + ~accepted, y, k), status


def _note(
    live: _Live,
    slope: Slope,
    ends: Numbers,
    dt: Numbers,
    step: Step,
    accepted: NDArray[np.bool_],
    out: March,
    solver: Solver,
    saver: Saver | None,
) -> None:
    """Writes down the steps that were accepted; what they pass through, where it will be asked for."""
    out.rows.append(live.rows[accepted])
    out.ends.append(ends[accepted])
    few = live.y.shape[-1] <= FEW
    if out.needs_gradient:
        if few and isinstance(solver, ExplicitRungeKutta):
            out.made.append(_made(live, ends, dt, step.slopes, accepted))
    elif saver is not None and saver.passed(live.t, np.where(accepted, ends, live.t)) is not None:
        slopes = solver.dense(slope, tensor(live.t, live.y), tensor(dt, live.y), live.y, live.k, step)
        out.made.append(_made(live, ends, dt, slopes, accepted))
        if not few or len(out.made) >= MANY:
            out.save(saver)


def _made(live: _Live, ends: Numbers, dt: Numbers, every: Sequence[Tensor], accepted: NDArray[np.bool_]) -> Made:
    """The steps that were accepted."""
    slopes = torch.stack(tuple(every))
    if accepted.all():
        return Made(live.rows, live.t, ends, dt, live.y, slopes)
    which = torch.as_tensor(accepted, device=slopes.device)
    rows, t = live.rows[accepted], live.t[accepted]
    return Made(rows, t, ends[accepted], dt[accepted], live.y[which], slopes[:, which])


def _finite(y: Tensor) -> NDArray[np.bool_]:
    """Which rows are finite."""
    return greatest((~y.isfinite()).any(-1).int()) == 0


def tensor(numbers: Numbers, like: Tensor) -> Tensor:
    """Numbers as a tensor of the state's real dtype and device."""
    return torch.as_tensor(numbers, dtype=like.dtype.to_real(), device=like.device)


def _shortest(t: Numbers, dtmin: float, dtype: torch.dtype) -> Numbers:
    """The shortest step that is worth taking: below it, the time doesn't move on."""
    real = torch.finfo(dtype)
    return np.maximum(np.abs(t) * (4 * real.eps), max(dtmin, real.tiny))
