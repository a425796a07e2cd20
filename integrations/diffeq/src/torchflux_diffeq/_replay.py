"""The accepted steps again, with a tape: the gradient of what was computed, not of how the steps were chosen."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchflux import checkpointed

from ._breaks import Breaks
from ._dense import Between
from ._field import Field
from ._lanes import greatest, transformed
from ._moments import Again, Crossed
from ._record import Happened
from ._save import Indices, Saved, Saver
from ._solver import Slope, Solver
from ._track import March

__all__ = ["Replayed", "replay", "replayed"]

STRETCH = 256
"""The steps whose tape is held at once."""
FAN = 16
"""The parts of a longer stretch, of which the first states are held."""


@dataclass
class Replayed:
    """The times, states and slopes after some steps; those of samples that have ended, the latest last; what was noted.

    Arguments:
        ended: times and states.
        saved: the states that the steps pass.
        crossed: the crossings within them.
        steps: the steps themselves, if they are wanted.
    """

    t: Tensor
    y: Tensor
    k: Tensor
    ended: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    crossed: list[Crossed] = field(default_factory=list)
    steps: list[Between] = field(default_factory=list)


@dataclass(frozen=True)
class _Plan:
    """The accepted steps, the samples with the most of them first: `order` (rows,) says which those are.

    `ends[k]` is where step `k - 1` ends, of the samples that make step `k - 1`, and `ends[0]` where the first ones
    begin; `numbers` are the same as numbers, to look things up by, but of a step that was cut, where it was cut.
    """

    order: NDArray[np.int64]
    ends: list[Tensor]
    numbers: list[NDArray[np.float64]]
    again: Again | None


def replay(
    problem: Field, y0: Tensor, times: Tensor, solver: Solver, track: March, saver: Saver | None, checkpoints: bool
) -> tuple[Tensor, list[Saved]]:
    """The states at the end, shape (rows, n), and the saved ones, of the steps that `march` made; differentiable."""
    last = replayed(problem, y0, times, solver, track, saver, checkpoints)
    return last.y, last.saved


def replayed(
    problem: Field,
    y0: Tensor,
    times: Tensor,
    solver: Solver,
    track: March,
    saver: Saver | None,
    checkpoints: bool,
    breaks: Breaks | None = None,
    keep: bool = False,
) -> Replayed:
    """All that `march` has made, differentiable; `y` and `t` are those at the ends, shapes (rows, n) and (rows,).

    The steps' ends are constants, but for those that were given: `times[0]`, `times[-1]` and stops. A step after an
    event begins at the event's time, which is none.
    """
    plan = _plan(track, times, len(y0), breaks)
    run = _Run(problem, solver, saver, plan, checkpoints, keep)
    last = run.stretch(0, len(plan.ends) - 1, run.start(y0))
    order = torch.as_tensor(np.argsort(plan.order), device=y0.device)
    ended = [(last.t, last.y), *reversed(last.ended)]
    last.t, last.y = (torch.cat(parts)[order] for parts in zip(*ended, strict=True))
    last.steps = [run.sorted(last.steps)] if keep and last.steps else []
    return last


def _plan(track: March, times: Tensor, samples: int, breaks: Breaks | None) -> _Plan:
    """The steps by number, from the order in which they were made."""
    made = track.steps - track.rejected
    order = np.argsort(-made, kind="stable")
    rank = np.argsort(order)
    rows, ends = np.concatenate(track.rows), np.concatenate(track.ends)
    by_row = np.argsort(rows, kind="stable")
    rows, ends = rows[by_row], ends[by_row]
    number = np.arange(len(rows)) - (made.cumsum() - made)[rows]
    first, last = (float(t) for t in greatest(times[[0, -1]]))
    table = np.full((int(made.max(initial=0)) + 1, samples), first)
    table[number + 1, rank[rows]] = ends
    exact = torch.as_tensor(table, dtype=times.dtype, device=times.device)
    exact = torch.where(torch.as_tensor(table == last, device=times.device), times[-1], exact)
    exact = torch.where(torch.as_tensor(table == first, device=times.device), times[0], exact)
    again = None
    if breaks is not None:
        again = Again(breaks, Happened.joined(track.happened, track.y), order, made)
        exact = again.exact(exact)
        again.cut(table)
    counts = [samples, *((made > k).sum() for k in range(len(table) - 1))]
    pairs = [(row[:n], ends[:n]) for row, ends, n in zip(exact, table, counts, strict=True)]
    return _Plan(order, [row for row, _ in pairs], [ends for _, ends in pairs], again)


@dataclass(frozen=True)
class _Run:
    """What the steps need."""

    problem: Field
    solver: Solver
    saver: Saver | None
    plan: _Plan
    checkpoints: bool
    keep: bool
    sizes: dict[int, float] = field(default_factory=dict)

    def slope(self, rows: Indices, t: NDArray[np.float64], ends: NDArray[np.float64]) -> Slope:
        """The slopes of some samples, for steps from `t` to `ends`."""
        slope, again = self.problem.over(rows, t, ends), self.plan.again
        return slope if again is None or again.breaks.jumps is None else again.breaks.jumps.between(slope, t)

    def start(self, y0: Tensor) -> Replayed:
        """The first states, and the slopes there."""
        t, y, order = self.plan.ends[0], y0[self.plan.order], self.plan.order
        if self.plan.again is not None and 0 in self.plan.again.due:
            t, y, _, _ = self.plan.again.after(0, t, y, None)
        return Replayed(t, y, self.slope(order, self.plan.numbers[0], self.plan.numbers[0])(t, y))

    def stretch(self, start: int, stop: int, now: Replayed) -> Replayed:
        """The steps from `start` to `stop`: in parts that are computed again for the gradient, if they are many."""
        if stop - start <= STRETCH or not self.checkpoints:
            for k in range(start, stop):
                if self.checkpoints and k == stop - 1:  # the last step isn't made again to its end
                    self.compare(k, now.y)
                now = self.step(k, now)
            return now
        part = max(STRETCH, -(-(stop - start) // FAN))
        for k in range(start, stop, part):
            t, y, slope, *noted = checkpointed(self._part, k, min(k + part, stop), now.t, now.y, now.k)
            now = Replayed(t, y, slope, *(a + b for a, b in zip(_noted(now), noted, strict=True)))
        return now

    def _part(self, start: int, stop: int, t: Tensor, y: Tensor, k: Tensor) -> tuple[Any, ...]:
        """A stretch by itself."""
        end = self.stretch(start, stop, Replayed(t, y, k))
        return end.t, end.y, end.k, *_noted(end)

    def compare(self, number: int, y: Tensor) -> None:
        """Refuses a stretch that comes to other states after some steps than it did at first."""
        size = float(y.detach().norm()) if not transformed() else 0.0
        first = self.sizes.setdefault(number, size)
        if abs(size - first) > torch.finfo(y.dtype).eps ** 0.75 * first:
            raise RuntimeError(
                "a stretch of the solution that was made again for its gradient differs: what f uses has changed since "
                'then, or f is random; take the gradient before the change, or use Discrete("tape", replay=True)'
            )

    def step(self, number: int, now: Replayed) -> Replayed:
        """One step of the samples that have one more."""
        plan, ends = self.plan, self.plan.ends[number + 1]
        m = len(ends)
        y, k, t = now.y[:m], now.k[:m], now.t[:m]
        begins, stops = plan.numbers[number][:m], plan.numbers[number + 1]
        slope, dt = self.slope(plan.order[:m], begins, stops), ends - t
        step = self.solver.step(slope, t, dt, y, k)
        end = Replayed(ends, step.y, step.slope, now.ended, *_noted(now)[1:])
        if m < len(now.y):
            end.ended = [*now.ended, (now.t[m:], now.y[m:])]
        passed = None if self.saver is None else self.saver.passed(begins, stops)
        broken = plan.again is not None and number + 1 in plan.again.due
        if passed is None and not broken and not self.keep:
            return end
        inside = Between(self.solver, t, dt, y, torch.stack(tuple(self.solver.dense(slope, t, dt, y, k, step))))
        if passed is not None:
            assert self.saver is not None
            end.saved = [*now.saved, self.saver.states(passed, plan.order[:m], t, dt, y, inside.slopes)]
        if self.keep:
            end.steps = [*now.steps, inside]
        return self.broken(number + 1, end, inside) if broken else end

    def broken(self, number: int, end: Replayed, inside: Between) -> Replayed:
        """What becomes of the samples to which something happened in their steps."""
        assert self.plan.again is not None
        t, y, fresh, crossed = self.plan.again.after(number, end.t, end.y, inside)
        k = end.k
        if len(fresh):
            at = torch.as_tensor(fresh, device=y.device)
            when = self.plan.numbers[number][fresh]
            slope = self.slope(self.plan.order[fresh], when, when)
            k = k.index_copy(0, at, slope(t[at], y[at]))
        return Replayed(t, y, k, end.ended, end.saved, end.crossed + crossed, end.steps)

    def sorted(self, steps: list[Between]) -> Between:
        """All steps, sample by sample."""
        rows = np.concatenate([self.plan.order[: len(x.t)] for x in steps])
        by_row = torch.as_tensor(np.argsort(rows, kind="stable"), device=steps[0].y.device)
        t, dt, y = (torch.cat([getattr(x, name) for x in steps])[by_row] for name in ("t", "dt", "y"))
        return Between(self.solver, t, dt, y, torch.cat([x.slopes for x in steps], 1)[:, by_row])


def _noted(x: Replayed) -> tuple[Any, ...]:
    """What is noted, beside the states."""
    return x.ended, x.saved, x.crossed, x.steps
