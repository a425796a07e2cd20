"""The states at the times that were asked for, from the steps that pass them."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._lanes import greatest
from ._runge_kutta import ExplicitRungeKutta
from ._solver import Solver

__all__ = ["Indices", "Passed", "Saved", "Saver"]

Indices = NDArray[np.int64]


class Passed(NamedTuple):
    """Which of the steps pass which of the times: pairs, shape (points,) each; and when those steps begin."""

    steps: Indices
    times: Indices
    begins: NDArray[np.float64]


class Saved(NamedTuple):
    """States (points, n) and where they belong: sample times the number of times plus time, shape (points,)."""

    places: Tensor
    states: Tensor


class Saver:
    """The dense output of steps at the times between the first and the last.

    Arguments:
        times: all the times, increasing, shape (S,).
        solver: whose dense output it is.
    """

    def __init__(self, times: Tensor, solver: Solver) -> None:
        self.solver, self.inner = solver, times[1:-1]
        self.numbers = greatest(self.inner).astype(np.float64) if len(times) > 2 else np.zeros(0)

    def passed(self, t: NDArray[np.float64], ends: NDArray[np.float64]) -> Passed | None:
        """The times in `(t, ends]`, for steps (m,)."""
        first = np.searchsorted(self.numbers, t, side="right")
        counts = np.searchsorted(self.numbers, ends, side="right") - first
        total = int(counts.sum())
        if not total:
            return None
        steps = np.repeat(np.arange(len(t)), counts)
        return Passed(steps, np.arange(total) + (first - counts.cumsum() + counts)[steps], t[steps])

    def states(self, passed: Passed, rows: Indices, t: Tensor, dt: Tensor, y: Tensor, slopes: Tensor) -> Saved:
        """The states at the times that steps of `rows` (m,) pass, from `y` (m, n) with `slopes` (stages, m, n)."""
        steps = torch.as_tensor(passed.steps, device=y.device)
        y, slopes = y.index_select(0, steps), slopes.index_select(1, steps)
        return Saved(self.places(passed, rows), self.solver.inside(*self.parts(passed, t, dt), y, slopes))

    def parts(self, passed: Passed, t: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        """At which parts of their steps the times are, and those steps' lengths, shape (points,) each.

        The steps begin at `t` and have the lengths `dt` (m,), in float64 if the times' dtype can't tell them apart.
        """
        steps, times = (torch.as_tensor(index, device=t.device) for index in passed[:2])
        lengths = dt.index_select(0, steps)
        θ = (self.inner.index_select(0, times) - t.index_select(0, steps)) / lengths
        return θ.to(self.inner.dtype), lengths.to(self.inner.dtype)

    def places(self, passed: Passed, rows: Indices) -> Tensor:
        """Where the states belong, as in `Saved`."""
        return torch.as_tensor(passed.times + rows[passed.steps] * len(self.inner), device=self.inner.device)

    def weights(self, passed: Passed, t: Tensor, dt: Tensor) -> Tensor:
        """What the slopes of an explicit Runge-Kutta method count in those states, shape (stages, points)."""
        assert isinstance(self.solver, ExplicitRungeKutta)
        return self.solver.weights(*self.parts(passed, t, dt)).detach()

    def gathered(self, saved: list[Saved], samples: int, like: Tensor) -> Tensor:
        """All states, shape (S - 2, samples, n); what no step has passed is NaN."""
        n = len(self.inner)
        flat = like.new_full((samples * n, like.shape[-1]), float("nan"))
        if saved:
            flat = flat.index_copy(0, torch.cat([x.places for x in saved]), torch.cat([x.states for x in saved]))
        return flat.view(samples, n, like.shape[-1]).transpose(0, 1)
