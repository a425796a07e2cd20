"""What interrupts the steps, sample by sample: events, changes of the state, jumps; found without a tape, and noted."""

from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._controller import Numbers
from ._crossings import Crossings
from ._events import Condition
from ._field import Field
from ._record import Entry, Happened, Kind, tables
from ._save import Indices
from ._stops import Jumps, Stops
from ._track import RUNNING, Live, March, Status, Trial, tensor
from ._watched import Watched, Within

__all__ = ["Breaks"]


@dataclass
class _Scene:
    """The samples behind their steps, while it is settled what becomes of them."""

    rows: Indices
    t: Numbers
    y: Tensor
    status: Indices
    alive: NDArray[np.bool_]
    g: Numbers
    entries: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fresh = np.zeros(len(self.rows), bool)
        self.levels = np.zeros(len(self.rows), np.int64)
        self.fired = np.zeros(self.g.shape, bool)
        self.noise = np.zeros_like(self.g)

    def enter(self, i: int, what: int, kind: Kind, t: float) -> None:
        """One more thing that happened to the sample `i`."""
        self.entries.append((i, what, kind, int(self.levels[i]), t))
        self.levels[i] += 1

    def end(self, which: Indices | int, status: Status) -> None:
        """Some samples end here."""
        self.status[which], self.alive[which] = status, False


class Breaks:
    """Looks at each accepted step, and says how far it counts and from where its samples go on.

    Arguments:
        conditions: the functions whose signs are watched.
        changes: what is done at the stops.
        stops, jumps: the times at which steps have to end; those at which `f` jumps.
        end: the last time.
        samples: the number of samples.
    """

    def __init__(
        self,
        conditions: list[Condition],
        changes: list[Condition],
        stops: Stops | None,
        jumps: Jumps | None,
        end: float,
        samples: int,
    ) -> None:
        self.conditions, self.changes, self.stops, self.jumps, self.end = conditions, changes, stops, jumps, end
        self.samples = samples

    @property
    def differentiable(self) -> bool:
        """Whether a gradient by the times of stops is wanted."""
        return self.stops is not None and self.stops.exact.requires_grad

    def begin(self, y: Tensor, out: March, watch: bool) -> Tensor:
        """The first states, after the changes that are due at the start."""
        self.watched = Watched(self.conditions, watch, out)
        self.g = np.zeros((self.samples, len(self.conditions)))
        self.last = np.full_like(self.g, -np.inf)
        self.counts = np.zeros((self.samples, len(self.conditions) + len(self.changes)), np.int64)
        if self.stops is not None:
            self.stops.at[:] = 0
        out.needs_gradient |= watch and self.differentiable
        rows = np.arange(len(y))
        g = self.watched.all(rows, out.t, y)
        scene = _Scene(rows, out.t.copy(), y, np.full(len(y), RUNNING), np.ones(len(y), bool), g)
        self._stop(scene, out)
        if scene.entries:
            out.happened.append(Happened.of(scene.entries, rows, np.zeros_like(rows), y))
        self.g[rows] = scene.g
        return scene.y

    def targets(self, rows: Indices) -> Numbers:
        """How far the next steps may go."""
        return np.full(len(rows), self.end) if self.stops is None else np.minimum(self.stops.next(rows), self.end)

    def settle(
        self, trial: Trial, live: Live, status: Indices, max_steps: int, out: March
    ) -> tuple[Numbers, Live, Indices, NDArray[np.bool_]]:
        """Until when the steps count, where the samples are then, how they ended, and which have to begin anew."""
        ends = np.where(trial.accepted, trial.ends, live.t)
        g = self.g[live.rows]
        scene = _Scene(live.rows, ends, live.y, status.copy(), trial.accepted.copy(), g)
        noted = self._cross(scene, trial, out) if self.conditions else live.y[:0]
        crossed, y = len(noted), scene.y
        self._change_all(scene, out)
        self._stop(scene, out)
        self.g[live.rows] = scene.g
        going = trial.accepted & scene.alive & (scene.t < self.end)
        scene.status[going] = np.where(live.steps[going] >= max_steps, int(Status.MAX_STEPS), RUNNING)
        scene.fresh &= going
        if scene.entries:
            later = [i for i, _, kind, *_ in scene.entries[crossed:] if kind != Kind.STOP]
            noted = torch.cat([noted, y[later]])
            out.happened.append(Happened.of(scene.entries, live.rows, live.steps - live.rejected, noted))
        short = trial.accepted & (trial.dt < trial.live.dt)  # its end was forced, and says nothing about the next
        dt = np.where(short, np.maximum(live.dt, trial.live.dt), live.dt)
        live = Live(live.rows, scene.t, dt, live.e1, live.e2, live.steps, live.rejected, scene.y, live.k)
        return scene.t, live, scene.status, scene.fresh

    def found(self, problem: Field, track: March) -> tuple[Any, Any]:
        """The times and states of all crossings, for the user."""
        happened = Happened.joined(track.happened, track.y)
        y = happened.y
        t = tensor(happened.t[happened.kind != Kind.STOP], y)
        if track.crossed:
            places, t, y = (torch.cat([getattr(x, name) for x in track.crossed]) for name in ("places", "t", "y"))
            order = places.argsort()
            t, y = t[order], y[order]
        return tables(problem, happened, len(self.conditions), self.samples, t, y)

    def _cross(self, scene: _Scene, trial: Trial, out: March) -> Tensor:
        """Looks for crossings in the steps that were accepted; the states there."""
        steps = Within(self.watched, trial)
        which = np.flatnonzero(trial.accepted)
        if not len(which):
            return scene.y[:0]
        found, scene.g[which], undefined = steps.crossings(which, scene.g[which])
        scene.end(which[undefined], Status.NOT_FINITE)
        self._enter(scene, trial, found)
        if not scene.entries:
            return scene.y[:0]
        i, _, kind, _, t = (np.array(column) for column in zip(*scene.entries, strict=True))
        y = steps.at(i, (t - trial.live.t[i]) / trial.dt[i])[1]
        cut = kind == Kind.CUT
        if cut.any():
            scene.t[i[cut]], scene.fresh[i[cut]] = t[cut], True
            scene.y = _put(scene.y, i[cut], y[torch.as_tensor(cut)])
            scene.g[i[cut]] = self.watched.all(scene.rows[i[cut]], t[cut], y[torch.as_tensor(cut)])
            scene.noise = 4 * np.abs(scene.g) * scene.fired
        return y

    def _enter(self, scene: _Scene, trial: Trial, found: Crossings) -> None:
        """Enters the crossings in the order of their times, up to the first that cuts the step."""
        t = trial.live.t[found.rows] + found.θ * trial.dt[found.rows]
        eps = torch.finfo(scene.y.dtype).eps
        order = np.lexsort((found.which, t, found.rows))
        for i, group in groupby(order, lambda k: found.rows[k]):
            row, cut = scene.rows[i], np.inf
            for k in group:
                if t[k] > cut + 8 * eps * max(abs(cut), trial.dt[i]):
                    break
                c = self.conditions[found.which[k]]
                last = self._count(scene, i, found.which[k])
                kind = Kind.SHARED if cut < np.inf else Kind.CUT if last or c.affect is not None else Kind.NOTED
                cut = t[k] if kind == Kind.CUT else cut
                scene.enter(int(i), int(found.which[k]), kind, float(min(t[k], cut)))
                short = max(eps**0.7 * abs(t[k]), 4096 * eps * trial.dt[i])
                if not last and c.affect is not None and t[k] - self.last[row, found.which[k]] <= short:
                    scene.end(i, Status.ZENO)
                self.last[row, found.which[k]] = t[k]

    def _count(self, scene: _Scene, i: int, c: int) -> bool:
        """One more crossing of a condition; whether it is the one at which the solution ends."""
        scene.fired[i, c] = True
        self.counts[scene.rows[i], c] += 1
        last = bool(self.counts[scene.rows[i], c] == self.conditions[c].terminal)
        if last:
            scene.end(i, Status.EVENT)
        return last

    def _change_all(self, scene: _Scene, out: March) -> None:
        """Makes the changes of the crossings that cut a step, or happened with such a one."""
        due = [entry for entry in scene.entries if entry[2] in (Kind.CUT, Kind.SHARED)]
        due = [entry for entry in due if self.conditions[entry[1]].affect is not None]
        for now in sorted({level for *_, level, _ in due}):
            for c in sorted({entry[1] for entry in due if entry[3] == now}):
                which = np.array([entry[0] for entry in due if entry[3] == now and entry[1] == c])
                self._change(scene, self.conditions[c], which, out)
        self._follow(scene, np.unique([entry[0] for entry in due]).astype(np.int64), out)

    def _follow(self, scene: _Scene, which: Indices, out: March) -> None:
        """Looks for conditions whose signs a change has changed; each may be crossed once at a time."""
        direction = np.array([c.direction for c in self.conditions])
        while len(which) and self.conditions:
            at, before = torch.as_tensor(which, device=scene.y.device), scene.g[which]
            g = self.watched.all(scene.rows[which], scene.t[which], scene.y[at])
            g[np.abs(g) <= scene.noise[which]] = 0.0
            scene.g[which] = g
            crossed = (g * before < 0) & (direction * before <= 0) & ~scene.fired[which] & scene.alive[which, None]
            changed = []
            for k, c in zip(*crossed.nonzero(), strict=True):
                i = int(which[k])
                scene.enter(i, int(c), Kind.SHARED, float(scene.t[i]))
                self._count(scene, i, c)
                if self.conditions[c].affect is not None:
                    changed.append((int(c), i))
            for c in sorted({c for c, _ in changed}):
                self._change(scene, self.conditions[c], np.array([i for d, i in changed if d == c]), out)
            which = np.unique([i for _, i in changed]).astype(np.int64)

    def _stop(self, scene: _Scene, out: March) -> None:
        """Does what is due at the stops that the samples have come to."""
        if self.stops is None:
            return
        while True:
            due = np.flatnonzero(scene.alive & (self.stops.next(scene.rows) <= scene.t))
            if not len(due):
                return
            rows = scene.rows[due]
            number = self.stops.at[rows]
            what = self.stops.what[rows, number]
            self.stops.at[rows] += 1
            scene.fresh[due] = True
            for i, k in zip(due, number, strict=True):
                scene.enter(int(i), int(k), Kind.STOP, float(scene.t[i]))
            for c in np.unique(what[what >= 0]):
                self._change(scene, self.changes[c], due[what == c], out)
                self.counts[rows[what == c], len(self.conditions) + c] += 1
                last = self.counts[rows[what == c], len(self.conditions) + c] == self.changes[c].terminal
                scene.end(due[what == c][last], Status.EVENT)
            self._follow(scene, due[what >= 0], out)

    def _change(self, scene: _Scene, change: Condition, which: Indices, out: March) -> None:
        """Changes the states of some samples."""
        index = torch.as_tensor(which, device=scene.y.device)
        with torch.set_grad_enabled(self.watched.watch):
            new = change.affected(scene.rows[which], tensor(scene.t[which], scene.y), scene.y[index])
        out.needs_gradient |= new.requires_grad
        scene.y = _put(scene.y, which, new.detach())


def _put(y: Tensor, rows: Indices, new: Tensor) -> Tensor:
    """States of which some rows are new."""
    return y.index_copy(0, torch.as_tensor(rows, device=y.device), new)
