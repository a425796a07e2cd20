"""The solution with steps that adapt, each sample's by themselves; finished samples are dropped from the work."""

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._breaks import Breaks
from ._controller import PID, Fixed, Numbers
from ._field import Field
from ._lanes import greatest
from ._runge_kutta import ExplicitRungeKutta
from ._save import Indices, Saver
from ._sde import StochasticField, StochasticSlope
from ._solver import Slope, Step
from ._stops import Jumps
from ._track import RUNNING, Live, Made, March, Method, Status, Trial, joined, tensor

__all__ = ["NOTHING", "Made", "March", "Method", "Status", "joined", "march", "tensor"]

FEW = 64
"""The numbers in a state, up to which the steps are kept for the gradient of all of them together."""
MANY = 1024
"""The steps that are kept at most, where it is only for the states to be saved."""

NOTHING = 1e-30
"""The part of the time that is left, below which a step is too short also at t = 0."""


class _Watch:
    """The slopes of some samples without a tape; counts them, and notices whether there would have been a tape."""

    def __init__(self, problem: Field, rows: Indices | None, out: March, watching: bool, jumps: Jumps | None) -> None:
        self.slope = self.of_f = problem.on(rows)
        self.out, self.watching, self.jumps = out, watching, jumps
        self.rows: Any = slice(None) if rows is None else rows
        self.calls = self.counted = 0

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return self.noticed(self.slope, t, y)

    def noticed(self, slope: Slope, t: Tensor, y: Tensor) -> Tensor:
        """A slope, or what else the equation has of that kind."""
        if not self.watching or self.out.needs_gradient:
            return slope(t, y)
        if torch.is_grad_enabled():
            k = slope(t, y)
            self.out.needs_gradient = k.requires_grad
            return k
        with torch.enable_grad():
            k = slope(t, y)
        self.out.needs_gradient = k.requires_grad
        return k.detach()

    def count(self) -> int:
        """Writes down the calls since the last time, and says how many they are."""
        calls, self.counted = self.calls - self.counted, self.calls
        self.out.evaluations[self.rows] += calls
        return calls

    def over(self, t: Numbers, ends: Numbers) -> None:
        """The slopes are those for steps from `t` to `ends` (rows,) now."""
        if self.jumps is not None:
            self.slope = self.jumps.between(self.of_f, t)

    def taped(self, t: Tensor, y: Tensor) -> Tensor:
        """The slopes with their tape, for a Jacobian."""
        self.calls += 1
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


@torch.no_grad()
def march(
    problem: Any,
    y0: Tensor,
    times: Tensor,
    method: Method,
    saver: Saver | None,
    watch: bool,
    breaks: Breaks | None = None,
    keep: bool = False,
    tape: int = 0,
) -> March:
    """Solves from `times[0]` to `times[-1]`.

    Arguments:
        problem: a `Field`, or what stands for one in an adjoint.
        watch: whether to find out if the slopes have a tape.
        breaks: what interrupts the steps.
        keep: whether all accepted steps are wanted.
        tape: up to how many steps are made with a tape, which is forgotten where there are more of them, or where only
            some of the samples accept one: a rejected step's derivatives may not be finite.
    """
    torch.set_grad_enabled(tape > 0)
    y, m = y0 if tape else y0.detach(), len(y0)
    begin, end = greatest(times)[[0, -1]].tolist()
    count = np.zeros(m, np.int64)
    numbers: Any = (count.copy() for _ in range(6))
    out = March(y, np.full(m, begin), *numbers)
    out.needs_gradient = watch and y0.requires_grad
    if breaks is not None:
        y = breaks.begin(y, out, watch)
    jumps = None if breaks is None else breaks.jumps
    live = Live(np.arange(m), out.t.copy(), out.t, np.ones(m), np.ones(m), count, count, y, y)
    watched = partial(_StochasticWatch if isinstance(problem, StochasticField) else _Watch, problem)
    slope = watched(None, out, watch, jumps)
    slope.over(live.t, live.t)
    live.k = slope(times.detach()[0].expand(m), y)
    method.solver.begin(slope, tensor(live.t, y), y, live.k)
    live.dt = _first_steps(slope, live, method)
    slope.count()
    ended = [(live.rows[:0], y[:0])]
    out.rows.append(live.rows[:0])
    out.ends.append(live.t[:0])
    while len(live.rows):
        trial, live, status = _advance(live, slope, end if breaks is None else breaks.targets(live.rows), method, out)
        ends = trial.ends
        if breaks is not None:
            ends, live, status, fresh = breaks.settle(trial, live, status, method.max_steps, out)
            if fresh.any():
                part = live.keep(fresh)
                live = _restarted(live, part, fresh, watched(part.rows, out, watch, jumps), method)
        _note(trial, ends, out, saver, keep)
        tape -= 1
        if torch.is_grad_enabled() and (tape < 0 or trial.accepted.any() != trial.accepted.all()):
            torch.set_grad_enabled(False)
            out.untape()
            live.y, live.k = live.y.detach(), live.k.detach()
            ended = [(rows, states.detach()) for rows, states in ended]
        leaving = status != RUNNING
        if leaving.any():
            ended.append(_left(live, leaving, status, out))
            if leaving.all():
                break
            live = live.keep(~leaving)
            slope = watched(live.rows, out, watch, jumps)
    out.taped = torch.is_grad_enabled()
    if saver is not None and out.made and (out.taped or not out.needs_gradient):
        out.save(saver, keep)
    order = np.argsort(np.concatenate([rows for rows, _ in ended]))
    out.y = torch.cat([states for _, states in ended]).index_select(0, torch.as_tensor(order, device=y0.device))
    return out


def _left(live: Live, leaving: NDArray[np.bool_], status: Indices, out: March) -> tuple[Indices, Tensor]:
    """Notes how samples have ended: which they are, and their states."""
    part = live if leaving.all() else live.keep(leaving)
    gone = part.rows
    out.t[gone], out.status[gone] = part.t, status[leaving]
    out.steps[gone], out.rejected[gone] = part.steps, part.rejected
    return gone, part.y


def _first_steps(slope: Slope, live: Live, method: Method) -> Numbers:
    """The length of each sample's first step."""
    if isinstance(method.controller, Fixed):
        return np.full(len(live.y), method.controller.dt)
    if method.dt0 is not None:
        return np.full(len(live.y), method.dt0)
    with torch.no_grad():
        first = method.controller.first(slope, tensor(live.t, live.y), live.y, live.k, method.solver.order)
    return np.minimum(np.where(np.isfinite(first) & (first > 0.0), first, 1e-6), method.controller.dtmax)


def _restarted(live: Live, part: Live, fresh: NDArray[np.bool_], slope: _Watch, method: Method) -> Live:
    """The samples with a slope and a first step anew for those that go on from a break."""
    slope.over(part.t, part.t)
    part.k = slope(tensor(part.t, part.y), part.y)
    dt, e1, e2, k = live.dt.copy(), live.e1.copy(), live.e2.copy(), live.k.clone()
    dt[fresh] = _first_steps(slope, part, method)
    slope.count()
    e1[fresh] = e2[fresh] = 1.0
    k[torch.as_tensor(fresh, device=k.device)] = part.k
    return Live(live.rows, live.t, dt, e1, e2, live.steps, live.rejected, live.y, k)


def _advance(live: Live, slope: _Watch, target: Any, method: Method, out: March) -> tuple[Trial, Live, Indices]:
    """One step of every sample under way, to its target at most; how each has ended, or that it is `RUNNING`."""
    controller, solver = method.controller, method.solver
    left = target - live.t
    last = live.dt >= left * (1 - 1e-9)
    dt, ends = np.where(last, left, live.dt), np.where(last, target, live.t + live.dt)
    slope.over(live.t, ends)
    step = solver.step(slope, tensor(live.t, live.y), tensor(dt, live.y), live.y, live.k, isinstance(controller, PID))
    calls = slope.count()
    if isinstance(controller, PID):
        assert step.error is not None
        e0 = controller.ratio(step.error, live.y, step.y)
        accepted = e0 <= 1.0
        following = np.minimum(dt * controller.factor(solver.error_order, e0, live.e1, live.e2), controller.dtmax)
    else:
        e0, following, accepted = live.e1, live.dt, _finite(step.y)
    steps = live.steps + 1
    there = last if method.arrived is None else last | method.arrived(step.y, step.slope)
    status = np.where(accepted & there, int(Status.SUCCESS), RUNNING)
    if (late := steps >= method.max_steps).any():
        status[late & (status == RUNNING)] = Status.MAX_STEPS
    trial = Trial(live, dt, ends, accepted, step, slope, solver)
    if accepted.all():
        live = Live(live.rows, ends, following, e0, live.e1, steps, live.rejected, step.y, step.slope)
        return trial, live, status
    out.wasted[live.rows[~accepted]] += calls
    stalled = ~accepted
    if isinstance(controller, PID):
        following = np.where(accepted, following, np.minimum(following, dt))
        stalled &= following < _shortest(live.t, left, controller.dtmin, live.y.dtype)
        stalled |= _begins_undefined(live, ~np.isfinite(e0))
    if stalled.any():
        status[stalled] = _reasons(live, step, stalled)[stalled]
    t, e1, e2 = (np.where(accepted, a, b) for a, b in ((ends, live.t), (e0, live.e1), (live.e1, live.e2)))
    y, k = live.y, live.k
    if accepted.any():
        choose = torch.as_tensor(accepted, device=y.device)[:, None]
        y, k = torch.where(choose, step.y, y), torch.where(choose, step.slope, k)
    return trial, Live(live.rows, t, following, e1, e2, steps, live.rejected + ~accepted, y, k), status


def _note(trial: Trial, ends: Numbers, out: March, saver: Saver | None, keep: bool) -> None:
    """Writes down the steps that were accepted; what they pass through until `ends`, where it will be asked for."""
    live, accepted = trial.live, trial.accepted
    which = accepted.nonzero()[0]
    out.rows.append(live.rows.take(which))
    out.ends.append(trial.ends.take(which))
    few = live.y.shape[-1] <= FEW
    if torch.is_grad_enabled() and not accepted.any():  # no tape leads to a rejected step, not even with zeros
        return
    if out.needs_gradient and few and isinstance(trial.solver, ExplicitRungeKutta):
        out.made.append(trial.made(ends, trial.step.slopes))
    elif out.needs_gradient and not torch.is_grad_enabled():
        return
    elif keep:
        out.made.append(trial.made(ends, trial.dense))
    elif saver is not None and saver.passed(live.t, np.where(accepted, ends, live.t)) is not None:
        out.made.append(trial.made(ends, trial.dense))
        if not few or len(out.made) >= MANY:
            out.save(saver)


def _finite(y: Tensor) -> NDArray[np.bool_]:
    """Which rows are finite."""
    return greatest((~y.isfinite()).any(-1).int()) == 0


def _reasons(live: Live, step: Step, stalled: NDArray[np.bool_]) -> Indices:
    """Why samples go no further."""
    reasons = np.where(_finite(step.y), int(Status.STALLED), int(Status.NOT_FINITE))
    reasons[_begins_undefined(live, stalled) & _finite(live.y)] = Status.UNDEFINED
    return reasons


def _begins_undefined(live: Live, failed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of the samples whose step has failed, those whose slope at its start isn't finite: no shorter one succeeds."""
    return failed & ~_finite(live.k) if failed.any() else failed


def _shortest(t: Numbers, left: Numbers, dtmin: float, dtype: torch.dtype) -> Numbers:
    """The shortest step that is worth taking: below it, the time doesn't move on."""
    real = torch.finfo(dtype)
    return np.maximum(np.maximum(np.abs(t) * (4 * real.eps), left * NOTHING), max(dtmin, real.tiny))
