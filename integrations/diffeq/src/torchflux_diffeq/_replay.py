"""The accepted steps again, with a tape: the gradient of what was computed, not of how the steps were chosen."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchflux import checkpointed

from ._field import Field
from ._lanes import greatest
from ._march import March
from ._save import Saved, Saver
from ._solver import Solver

__all__ = ["replay"]

STRETCH = 256
"""The steps whose tape is held at once."""
FAN = 16
"""The parts of a longer stretch, of which the first states are held."""


@dataclass
class Replayed:
    """The states and slopes after some steps; those of samples that have ended, the latest last; and what was saved."""

    y: Tensor
    k: Tensor
    ended: list[Tensor]
    saved: list[Saved]


@dataclass(frozen=True)
class _Plan:
    """The accepted steps, the samples with the most of them first: `order` (rows,) says which those are.

    `ends[k]` is where step `k` begins and step `k - 1` ends, of the samples that make step `k - 1`; `numbers` are the
    same as numbers, to look things up by.
    """

    order: NDArray[np.int64]
    ends: list[Tensor]
    numbers: list[NDArray[np.float64]]


def replay(
    problem: Field, y0: Tensor, times: Tensor, solver: Solver, track: March, saver: Saver | None, checkpoints: bool
) -> tuple[Tensor, list[Saved]]:
    """The states at the end, shape (rows, n), and the saved ones, of the steps that `march` has made; differentiable.

    The steps' ends are constants, but for the first beginning and the last end: those are `times[0]` and `times[-1]`.
    """
    plan = _plan(track, times, len(y0))
    y = y0[plan.order]
    start = Replayed(y, problem.on(plan.order)(plan.ends[0], y), [], [])
    run = _Run(problem, solver, saver, plan, checkpoints)
    last = run.stretch(0, len(plan.ends) - 1, start)
    ended = torch.cat([last.y, *reversed(last.ended)])
    return ended[np.argsort(plan.order)], last.saved


def _plan(track: March, times: Tensor, samples: int) -> _Plan:
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
    counts = [samples, *((made > k).sum() for k in range(len(table) - 1))]
    pairs = [(row[:n], ends[:n]) for row, ends, n in zip(exact, table, counts, strict=True)]
    return _Plan(order, [row for row, _ in pairs], [ends for _, ends in pairs])


@dataclass(frozen=True)
class _Run:
    """What the steps need."""

    problem: Field
    solver: Solver
    saver: Saver | None
    plan: _Plan
    checkpoints: bool

    def stretch(self, start: int, stop: int, now: Replayed) -> Replayed:
        """The steps from `start` to `stop`: in parts that are computed again for the gradient, if they are many."""
        if stop - start <= STRETCH or not self.checkpoints:
            for k in range(start, stop):
                now = self.step(k, now)
            return now
        part = max(STRETCH, -(-(stop - start) // FAN))
        for k in range(start, stop, part):
            y, slope, ended, saved = checkpointed(self._part, k, min(k + part, stop), now.y, now.k)
            now = Replayed(y, slope, now.ended + ended, now.saved + [Saved(*x) for x in saved])
        return now

    def _part(self, start: int, stop: int, y: Tensor, k: Tensor) -> tuple[Tensor, Tensor, list[Tensor], list[Saved]]:
        """A stretch by itself."""
        end = self.stretch(start, stop, Replayed(y, k, [], []))
        return end.y, end.k, end.ended, end.saved

    def step(self, number: int, now: Replayed) -> Replayed:
        """One step of the samples that have one more."""
        ends = self.plan.ends[number + 1]
        m = len(ends)
        y, k, t = now.y[:m], now.k[:m], self.plan.ends[number][:m]
        rows = self.plan.order[:m]
        slope, dt = self.problem.over(rows, self.plan.numbers[number][:m], self.plan.numbers[number + 1]), ends - t
        step = self.solver.step(slope, t, dt, y, k)
        saved = now.saved
        if self.saver is not None:
            passed = self.saver.passed(self.plan.numbers[number][:m], self.plan.numbers[number + 1])
            if passed is not None:
                slopes = torch.stack(tuple(self.solver.dense(slope, t, dt, y, k, step)))
                saved = [*saved, self.saver.states(passed, rows, t, dt, y, slopes)]
        ended = now.ended if m == len(now.y) else [*now.ended, now.y[m:]]
        return Replayed(step.y, step.slope, ended, saved)
