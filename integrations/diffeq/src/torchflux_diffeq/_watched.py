"""Conditions on the way: their values at states, and inside of steps, without a tape."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._controller import Numbers
from ._crossings import NODES, Crossings, behind, crossings
from ._events import Condition
from ._lanes import greatest, has_lanes
from ._save import Indices
from ._track import March, Trial, tensor

__all__ = ["Watched", "Within"]


@dataclass
class Watched:
    """The values of conditions as numbers; `watch` asks to find out whether they have a tape."""

    conditions: list[Condition]
    watch: bool
    out: March

    def one(self, c: int, rows: Indices, t: Numbers, y: Tensor) -> Numbers:
        """One condition's values, shape (rows,)."""
        with torch.set_grad_enabled(self.watch and not self.out.needs_gradient):
            g = self.conditions[c](rows, tensor(t, y), y)
        self.out.needs_gradient |= g.requires_grad
        if has_lanes(g):
            raise ValueError(f"{self.conditions[c].name} differs between the lanes of a vmap: use batched=True")
        return greatest(g).astype(np.float64)

    def all(self, rows: Indices, t: Numbers, y: Tensor) -> Numbers:
        """All conditions' values, shape (rows, conditions)."""
        g = [self.one(c, rows, t, y) for c in range(len(self.conditions))]
        return np.stack(g, -1) if g else np.zeros((len(rows), 0))


@dataclass
class Within:
    """The conditions inside of steps."""

    watched: "Watched"
    trial: Trial

    def at(self, i: Indices, θ: Numbers) -> tuple[Numbers, Tensor]:
        """Times and states at parts of steps."""
        live, dt = self.trial.live, self.trial.dt[i]
        index = torch.as_tensor(i, device=live.y.device)
        y = self.trial.solver.inside(tensor(θ, live.y), tensor(dt, live.y), live.y[index], self.trial.dense[:, index])
        return live.t[i] + θ * dt, y

    def value(self, which: Indices, i: Indices, θ: Numbers) -> Numbers:
        """Conditions at parts of steps, shape (points,)."""
        t, y = self.at(i, θ)
        g = np.empty(len(i))
        for c in np.unique(which):
            at = which == c
            g[at] = self.watched.one(int(c), self.trial.live.rows[i[at]], t[at], y[torch.as_tensor(at)])
        return g

    def values(self, i: Indices, θ: Numbers) -> Numbers:
        """All conditions at all of the nodes `θ`, shape (steps, conditions, nodes)."""
        points = np.repeat(i, len(θ))
        t, y = self.at(points, np.tile(θ, len(i)))
        rows = self.trial.live.rows[points]
        return self.watched.all(rows, t, y).reshape(len(i), len(θ), -1).swapaxes(1, 2)

    def crossings(self, i: Indices, first: Numbers) -> tuple[Crossings, Numbers, NDArray[np.bool_]]:
        """The crossings in steps that begin with the values `first`; the values at their ends; which are undefined."""
        eps = torch.finfo(self.trial.live.y.dtype).eps
        zero = (first == 0).any(1)
        parts, ends, undefined = [], first.copy(), np.zeros(len(i), bool)
        for which, θ in ((~zero, NODES), (zero, np.append(behind(eps), NODES))):
            at = i[which]
            if not len(at):
                continue
            g = np.concatenate([first[which, :, None], self.values(at, θ)], -1)
            rounding = 4 * np.abs(g[..., 1:3]).max(-1, keepdims=True)
            g[(first[which, :, None] == 0) & (np.abs(g) <= rounding)] = 0.0
            undefined[which] = np.isnan(g).any((1, 2))
            ends[which] = g[..., -1]
            g[np.isnan(g).any((1, 2))] = 1.0
            tolerance = eps * np.maximum(np.abs(self.trial.live.t[at]) / self.trial.dt[at], 1.0)
            value = self._among(at)
            found = crossings(value, np.append(0.0, θ), g, tolerance)
            parts.append(found._replace(rows=at[found.rows]))
        rows, which_c, θ, sign = (np.concatenate(x) for x in zip(*parts, strict=True))
        direction = np.array([c.direction for c in self.watched.conditions])[which_c]
        keep = direction * sign <= 0
        return Crossings(rows[keep], which_c[keep], θ[keep], sign[keep]), ends, undefined

    def _among(self, at: Indices) -> Callable[[Indices, Indices, Numbers], Numbers]:
        """The conditions of some of the steps."""
        return lambda which, rows, θ: self.value(which, at[rows], θ)
