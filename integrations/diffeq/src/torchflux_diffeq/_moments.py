"""What happened on the way, again and with a tape: the times of the events, and the changes of the state.

An event's time solves `g(t, y(t)) = 0` on the dense output of its step. From the time that was found, Newton's
correction `t - g / (dg/dt)` is that time again, to rounding, but as a function of all that `g` and `y` depend on: its
derivative is the one of the implicit function theorem. What comes after it, the state there, its change, and the steps
that begin there, follows from that time by the tape.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ._breaks import Breaks
from ._controller import Numbers
from ._dense import Between
from ._events import Condition
from ._lanes import greatest
from ._record import Happened, Kind
from ._save import Indices
from ._track import tensor

__all__ = ["Again", "Crossed"]

CORRECTIONS = 2
"""The first makes the first derivative right, a second one the second and third."""


@dataclass(frozen=True)
class Crossed:
    """Crossings by their places among all of the record: their times (crossings,) and states (crossings, n)."""

    places: Tensor
    t: Tensor
    y: Tensor


class Again:
    """The record of what happened, by the numbers of the steps.

    Arguments:
        breaks: what they were.
        happened: the record.
        order: the samples as the replay has them; `made` are the steps of each, in the samples' own order.
    """

    def __init__(self, breaks: Breaks, happened: Happened, order: Indices, made: Indices) -> None:
        self.breaks, self.happened, self.order, self.made = breaks, happened, order, made
        self.rank = np.argsort(order)
        self.places = np.cumsum(happened.kind != Kind.STOP) - 1
        by_number = np.argsort(happened.numbers, kind="stable")
        numbers, first = np.unique(happened.numbers[by_number], return_index=True)
        parts = np.split(by_number, first[1:]) if len(numbers) else []
        self.due = dict(zip(numbers.tolist(), parts, strict=True))

    def exact(self, ends: Tensor) -> Tensor:
        """The steps' ends (numbers, rows), where those at stops are the tensors that were given for them."""
        h, stops = self.happened, self.breaks.stops
        if stops is None:
            return ends
        at = np.flatnonzero(h.kind == Kind.STOP)
        given = stops.exact[torch.as_tensor(h.rows[at]), torch.as_tensor(h.what[at])]
        return ends.index_put((torch.as_tensor(h.numbers[at]), torch.as_tensor(self.rank[h.rows[at]])), given)

    def cut(self, ends: Numbers) -> None:
        """Writes into the steps' ends (numbers, rows) where they were cut."""
        at = self.happened.kind == Kind.CUT
        ends[self.happened.numbers[at], self.rank[self.happened.rows[at]]] = self.happened.t[at]

    def after(
        self, number: int, t: Tensor, y: Tensor, steps: Between | None
    ) -> tuple[Tensor, Tensor, Indices, list[Crossed]]:
        """What becomes of times (rows,) and states (rows, n) after a number of steps.

        Also which rows have to go on with a new slope, and the crossings within the steps.
        """
        h, due = self.happened, self.due[number]
        kind, rank, level = h.kind[due], self.rank[h.rows[due]], h.level[due]
        crossed = []
        for c in np.unique(h.what[due[kind <= Kind.CUT]]):
            which = due[(kind <= Kind.CUT) & (h.what[due] == c)]
            assert steps is not None
            found = self._moments(self.breaks.conditions[c], which, steps)
            crossed.append(found)
            cut = torch.as_tensor(h.kind[which] == Kind.CUT)
            at = torch.as_tensor(self.rank[h.rows[which]])[cut]
            t, y = t.index_copy(0, at, found.t[cut]), y.index_copy(0, at, found.y[cut])
        shared = due[kind == Kind.SHARED]
        if len(shared):
            at = torch.as_tensor(self.rank[h.rows[shared]])
            crossed.append(Crossed(torch.as_tensor(self.places[shared]), t[at], y[at]))
        for now in range(int(level.max()) + 1):
            for change, ranks in self._changes(due[level == now]):
                at = torch.as_tensor(ranks)
                y = y.index_copy(0, at, change.affected(self.order[ranks], t[at], y[at]))
        fresh = np.unique(rank[((kind == Kind.CUT) | (kind == Kind.STOP)) & (self.made[h.rows[due]] > number)])
        return t, y, fresh, crossed

    def _changes(self, which: Indices) -> list[tuple[Condition, Indices]]:
        """The changes that some entries of the record stand for, each with the rows that it is for."""
        h, found = self.happened, []
        for c, condition in enumerate(self.breaks.conditions):
            at = which[((h.kind[which] == Kind.CUT) | (h.kind[which] == Kind.SHARED)) & (h.what[which] == c)]
            if condition.affect is not None and len(at):
                found.append((condition, self.rank[h.rows[at]]))
        stops = self.breaks.stops
        if stops is not None:
            at = which[h.kind[which] == Kind.STOP]
            what = stops.what[h.rows[at], h.what[at]]
            found += [(self.breaks.changes[c], self.rank[h.rows[at[what == c]]]) for c in np.unique(what[what >= 0])]
        return found

    def _moments(self, condition: Condition, which: Indices, steps: Between) -> Crossed:
        """The times of crossings of one condition, and the states there."""
        rows = self.happened.rows[which]
        steps = steps[torch.as_tensor(self.rank[rows])]
        t = tensor(self.happened.t[which], steps.y)
        value = lambda t: condition(rows, t, steps.at(t))
        for _ in range(CORRECTIONS):
            g, rate, *_ = torch.func.jvp(value, (t,), (torch.ones_like(t),))
            t = t - g / rate
        self._check_rate(condition, rows, self.happened.t[which], rate, steps)
        return Crossed(torch.as_tensor(self.places[which]), t, steps.at(t))

    @torch.no_grad()
    def _check_rate(self, condition: Condition, rows: Indices, t: Numbers, rate: Tensor, steps: Between) -> None:
        """Refuses crossings where the condition stands still, as their times have no derivative."""
        times = [steps.t + part * steps.dt for part in (0.0, 0.5, 1.0)]
        largest = np.fmax.reduce([greatest(condition(rows, t, steps.at(t)).abs()) for t in times])
        least = torch.finfo(rate.dtype).eps ** 0.4 * largest
        grazing = np.flatnonzero(~(greatest((rate * steps.dt).abs()) > least))
        if len(grazing):
            i = grazing[0]
            who = f" of sample {rows[i]}" if condition.problem.batched else ""
            raise ValueError(
                f"{condition.name}{who} is zero at t = {condition.problem.sign * t[i]:g} without changing at a rate "
                "there: it touches zero, or jumps, so the time has no derivative; solve under torch.no_grad(), or "
                "use a function that goes through zero"
            )
