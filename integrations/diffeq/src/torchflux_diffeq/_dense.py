"""The solution at any time: the dense output of all steps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._controller import Numbers
from ._field import Field
from ._lanes import greatest, has_lanes
from ._record import Kind
from ._save import Indices
from ._solver import Solver
from ._track import Made, March, joined, tensor

__all__ = ["Between", "Dense", "SaveAt", "Steps"]


@dataclass(frozen=True)
class SaveAt:
    """What is kept of a solution beside the states at `ts`.

    Arguments:
        dense: all steps' dense output, for `Solution.evaluate` and `Solution.derivative`.
        steps: the times and states of the accepted steps, as `Solution.steps`.

    Either takes memory for each step, and where there is a gradient, it is replayed step by step.

    >>> from torchflux_diffeq import solve
    >>> solution = solve(lambda t, y, args: -y, torch.ones(1), (0.0, 1.0), saveat=SaveAt(dense=True))
    >>> solution.evaluate(0.5), solution.derivative(0.0)
    (tensor([0.6065]), tensor([-1.]))
    """

    dense: bool = False
    steps: bool = False


@dataclass(frozen=True)
class Steps:
    """The accepted steps of a solution.

    Arguments:
        ts: the start and the ends of the steps, shape (steps + 1,); of a batch (most steps + 1, samples), with NaN
            behind those of a sample that made fewer: it made `stats.accepted`.
        ys: the states there, times first; where a callback changed the state, the one before.
    """

    ts: Tensor
    ys: Any


@dataclass(frozen=True)
class Between:
    """The dense output of steps: times and lengths (rows,), first states (rows, n), slopes (any, rows, n).

    The times may be of float64 where the state isn't: a step between times that float32 can't tell apart has a length.
    """

    solver: Solver
    t: Tensor
    dt: Tensor
    y: Tensor
    slopes: Tensor

    def __getitem__(self, at: Tensor) -> "Between":
        """Some of the steps, or a step several times."""
        return Between(self.solver, self.t[at], self.dt[at], self.y[at], self.slopes[:, at])

    def at(self, t: Tensor) -> Tensor:
        """The states at times (rows,)."""
        return self.solver.inside(((t - self.t) / self.dt).to(t.dtype), self.dt.to(t.dtype), self.y, self.slopes)


class Dense:
    """All steps' dense output, and where each sample's begin.

    Arguments:
        problem: whose solution it is; `solver` made it.
        found: the solution, all of whose steps were kept.
        y0: the first states, shape (rows, n).
        times: the first and the last time, and those between, forward.
    """

    def __init__(self, problem: Field, solver: Solver, found: March, y0: Tensor, times: Tensor) -> None:
        self.problem, self.y0, self.start = problem, y0, times[0]
        self.made = found.steps - found.rejected
        self.first = self.made.cumsum() - self.made
        rows = np.concatenate(found.rows)
        by_row = np.argsort(rows, kind="stable")
        self.ends = np.concatenate(found.ends)[by_row]
        for happened in found.happened:
            cut = happened.kind == Kind.CUT
            self.ends[self.first[happened.rows[cut]] + happened.numbers[cut] - 1] = happened.t[cut]
        self.span = greatest(times[[0, -1]])
        self.begins = np.roll(self.ends, 1)
        self.begins[self.first[self.made > 0]] = self.span[0]
        self.last = found.t if found.exact is None else found.exact
        self.between = found.between or _between(solver, joined(found.made))

    def evaluate(self, t: Any, slope: bool = False) -> Any:
        """The states, or their slopes, at times of the user's; see `Solution.evaluate`."""
        problem, samples = self.problem, len(self.y0)
        given = torch.as_tensor(t, dtype=self.start.dtype, device=self.start.device)
        if has_lanes(given):
            raise ValueError("t differs between the lanes of a vmap: pass all times as one tensor")
        if problem.batched and (given.dim() > 2 or (given.dim() == 2 and given.shape[1] != samples)):
            raise ValueError(f"t has the shape {tuple(given.shape)}, not (), (times,) or (times, {samples})")
        lead = (*given.shape[:1], samples) if problem.batched else given.shape
        forward = problem.sign * (given[..., None] if problem.batched and given.dim() < 2 else given)
        when = forward.expand(lead).reshape(-1).contiguous()
        rows = np.tile(np.arange(samples), len(when) // samples)
        numbers = greatest(when).astype(np.float64)
        self.check(numbers)
        step, ended = self.steps(rows, numbers)
        between = self.between[torch.as_tensor(step, device=when.device)]
        if slope:
            y = problem.sign * torch.func.jvp(between.at, (when,), (torch.ones_like(when),))[1]
        else:
            y = between.at(when)
        return problem.unravel(y.masked_fill(torch.as_tensor(ended, device=y.device)[:, None], float("nan")), *lead)

    def check(self, t: Numbers) -> None:
        """Refuses times outside of the interval."""
        wrong = np.flatnonzero(~((t >= self.span[0]) & (t <= self.span[1])))
        if len(wrong):
            first, last = self.problem.sign * self.span
            t = self.problem.sign * t[wrong[0]]
            raise ValueError(f"t = {t:g} is outside of the interval from {first:g} to {last:g}: solve that far")

    def steps(self, rows: Indices, t: Numbers) -> tuple[Indices, Any]:
        """Which step each time is in, and whether its sample's solution has ended before."""
        step, ended = np.zeros_like(rows), np.ones(len(rows), bool)
        for row in range(len(self.made)):
            of = slice(self.first[row], self.first[row] + self.made[row])
            if not self.made[row]:
                continue
            at = rows == row
            step[at] = of.start + np.maximum(np.searchsorted(self.begins[of], t[at]) - 1, 0)
            end = self.ends[of][-1]
            rounding = 16 * torch.finfo(self.start.dtype).eps * max(abs(end), end - self.begins[of][-1])
            ended[at] = t[at] > end + rounding
        return step, ended

    def accepted(self) -> Steps:
        """The steps themselves."""
        samples, most = len(self.y0), int(self.made.max())
        rows = np.repeat(np.arange(samples), self.made)
        number = np.arange(len(rows)) - self.first[rows] + 1
        inner = np.flatnonzero(number < self.made[rows])
        ends = tensor(self.ends, self.y0)
        if len(inner):
            ends = ends.index_copy(0, torch.as_tensor(inner), self.between.t[torch.as_tensor(inner + 1)].to(ends))
        final = np.flatnonzero(number == self.made[rows])
        last = torch.as_tensor(self.last).to(ends)[torch.as_tensor(rows[final])]
        ends = ends.index_copy(0, torch.as_tensor(final), last)
        at = (torch.as_tensor(number), torch.as_tensor(rows))
        ts = torch.cat([self.start.expand(1, samples), ends.new_full((most, samples), float("nan"))])
        ys = torch.cat([self.y0[None], self.y0.new_full((most, *self.y0.shape), float("nan"))])
        ts, ys = ts.index_put(at, ends) * self.problem.sign, ys.index_put(at, self.between.at(ends))
        if self.problem.batched:
            return Steps(ts, self.problem.unravel(ys, most + 1, samples))
        return Steps(ts[:, 0], self.problem.unravel(ys[:, 0], most + 1))


def _between(solver: Solver, steps: Made) -> Between:
    """The steps that were kept, sample by sample."""
    by_row = np.argsort(steps.rows, kind="stable")
    y = steps.y[torch.as_tensor(by_row)]
    t, dt = (torch.as_tensor(x[by_row], device=y.device) for x in (steps.t, steps.dt))
    return Between(solver, t, dt, y, steps.slopes[:, torch.as_tensor(by_row)])
