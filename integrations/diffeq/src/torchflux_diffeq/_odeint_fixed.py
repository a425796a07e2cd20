"""torchdiffeq's methods with fixed steps: one from each time to the next, or of one length."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count, islice, pairwise
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from ._adjoint import Task
from ._arguments import check_state
from ._backsolve import Back, Backsolve, Backsolved
from ._captures import Noted, independent
from ._controller import Fixed
from ._field import Field
from ._lanes import greatest
from ._march import Method
from ._methods import Euler, Heun, Midpoint, _tableau
from ._odeint_options import refuse_rest
from ._runge_kutta import ExplicitRungeKutta
from ._solver import Slope, Step
from ._stops import Jumps

__all__ = ["FIXED", "Grid"]

Tree = Any
MOST = 20000
"""The steps until an event, at most."""


class Heun3(ExplicitRungeKutta):
    """Heun's third-order method (1900)."""

    tableau = _tableau(3, [1 / 3], [0.0, 2 / 3], [0.25, 0.0, 0.75])


class ThreeEighths(ExplicitRungeKutta):
    """Kutta's 3/8 rule (1901), fourth order."""

    tableau = _tableau(4, [1 / 3], [-1 / 3, 1.0], [1.0, -1.0, 1.0], [1 / 8, 3 / 8, 3 / 8, 1 / 8])


FIXED: dict[str, ExplicitRungeKutta] = {
    "euler": Euler(),
    "midpoint": Midpoint(),
    "heun2": Heun(),
    "heun3": Heun3(),
    "rk4": ThreeEighths(),
}


@dataclass(frozen=True)
class _Piece:
    """A step from `begin` to `end`, shape (1,) each, and the states within it: on a line, or a cubic."""

    begin: Tensor
    end: Tensor
    y: Tensor
    k: Tensor
    step: Step
    cubic: bool

    def at(self, t: Tensor) -> Tensor:
        """The state at a time, shape (1, n)."""
        if float(t.detach()) == float(self.end.detach()):
            return self.step.y
        dt, θ = self.end - self.begin, (t - self.begin) / (self.end - self.begin)
        if not self.cubic:
            return self.y + θ * (self.step.y - self.y)
        mean = (self.step.y - self.y) / dt
        bend = (1 - θ) * (self.k - mean) - θ * (self.step.slope - mean)
        return self.y + θ * dt * (mean + (1 - θ) * bend)


@dataclass(frozen=True)
class Grid:
    """A method, and where its steps end: `odeint`'s with `options`; with `back`, the gradient is that adjoint's."""

    method: str
    options: Mapping[str, Any]
    back: Backsolve | None = None

    def __post_init__(self) -> None:
        refuse_rest(self.method, self.options, "step_size", "grid_constructor", "interp", "perturb", "norm")
        if self.options.get("interp", "linear") not in ("linear", "cubic"):
            raise ValueError(f"options['interp'] = {self.options['interp']!r}: it is 'linear' or 'cubic'")
        if self.step_size is not None and self.options.get("grid_constructor") is not None:
            raise ValueError("options has step_size and grid_constructor: pass one of them")
        if self.step_size is not None and not self.step_size > 0.0:
            raise ValueError(f"options['step_size'] = {self.step_size}: it is positive, in either direction of time")

    @property
    def step_size(self) -> float | None:
        """The steps' length, if they have one."""
        given = self.options.get("step_size")
        return None if given is None else float(given)

    def backsolve(self, using: tuple[Tensor, ...]) -> Backsolve:
        """The continuous adjoint with these steps, from each time to the one before."""
        if self.options.get("grid_constructor") is not None or self.options.get("perturb", False):
            raise NotImplementedError("grid_constructor and perturb on the way back: pass adjoint_options without them")
        return Backsolve(FIXED[self.method], Fixed(self.step_size or math.inf), using)

    def states(self, f: Callable[..., Tree], y0: Tree, t: Tensor, beyond: bool = False) -> Tree:
        """The states at the times; the last step may end `beyond` them."""
        problem, y, times = _rows(f, y0, t)
        ends = self._ends(f, y0, times, problem.sign, beyond)
        if self.back is None or not torch.is_grad_enabled():
            states = self._stepped(problem.on(None), y, ends, times)
        else:
            states = self._backsolved(problem, y, ends, times, self.back)
        finite = states.isfinite().flatten(1).all(1)
        if not finite.all():
            first = float(t.detach()[1:][~finite][0])
            raise RuntimeError(
                f"method={self.method!r}: the state isn't finite at t = {first:g}: the steps may be too long for the "
                "equation, or the solution blow up"
            )
        return problem.unravel(torch.cat([y[None], states])[:, 0], len(times))

    def event(self, f: Callable[..., Tree], y0: Tree, t: Tensor, value: Callable[[Tensor, Tree], Tensor]) -> Tensor:
        """The time at which a value that is positive at first becomes zero, shape ()."""
        if self.step_size is None:
            raise ValueError(f"method={self.method!r} with event_fn: pass options={{'step_size': ...}}")
        problem, y, times = _rows(f, y0, t)

        def at(piece: _Piece, x: float) -> float:
            time = times.new_tensor([x])
            return float(value(problem.sign * time[0], problem.unravel(piece.at(time)[0])))

        ends = (times[:1] + i * self.step_size for i in count())
        for piece in islice(self._pieces(problem.on(None), y, ends), MOST):
            if at(piece, float(piece.end)) <= 0.0:
                return problem.sign * times.new_tensor(brentq(partial(at, piece), float(piece.begin), float(piece.end)))
        raise RuntimeError(f"event_fn doesn't become zero within {MOST} steps: is it sure to?")

    def _ends(self, f: Any, y0: Tree, times: Tensor, sign: int, beyond: bool) -> Tensor:
        """The ends of all steps, the start included, increasing."""
        constructor, (begin, end) = self.options.get("grid_constructor"), greatest(times[[0, -1]]).tolist()
        if constructor is not None:
            grid: Tensor = sign * constructor(lambda t, y: f(t, y, None), y0, sign * times)
            if grid[0] != times[0] or grid[-1] != times[-1]:
                raise ValueError(f"grid_constructor gave times from {grid[0]} to {grid[-1]}, not those of t")
            return grid
        if self.step_size is None:
            return times
        steps = math.ceil((end - begin) / self.step_size)
        ends = times[0] + self.step_size * torch.arange(steps + beyond, dtype=times.dtype, device=times.device)
        return torch.cat([ends[:-1], ends[-1:].maximum(times[-1:])]) if beyond else torch.cat([ends, times[-1:]])

    def _pieces(self, slope: Slope, y: Tensor, ends: Iterable[Tensor]) -> Iterator[_Piece]:
        """The steps, one by one."""
        cubic, perturb = self.options.get("interp") == "cubic", self.options.get("perturb", False)
        near, k = slope, None
        for begin, end in pairwise(ends):
            if perturb:  # between two of the times at which steps meet, so that each step has slopes of its own
                near, k = Jumps(torch.cat([begin, end])).between(slope, greatest(begin)), None
            k = near(begin, y) if k is None else k
            step = FIXED[self.method].step(near, begin, end - begin, y, k)
            yield _Piece(begin, end, y, k, step, cubic)
            y, k = step.y, step.slope

    def _stepped(self, slope: Slope, y: Tensor, ends: Tensor, times: Tensor) -> Tensor:
        """The states at all times but the first, shape (S - 1, 1, n)."""
        wanted = greatest(times)
        found: list[Tensor] = []
        for piece in self._pieces(slope, y, ends.split(1)):
            end = float(greatest(piece.end)[0])
            while len(found) + 1 < len(wanted) and wanted[len(found) + 1] <= end:
                found.append(piece.at(times[len(found) + 1][None]))
        return torch.stack(found)

    def _backsolved(self, problem: Field, y: Tensor, ends: Tensor, times: Tensor, back: Backsolve) -> Tensor:
        """The same, whose gradient is the continuous adjoint's."""
        noted = Noted(problem, back.using, "name it in adjoint_params, or use odeint")
        with torch.no_grad():
            states = self._stepped(noted.on(None), y.detach(), ends.detach(), times.detach())
        used = independent(noted.used)
        if not any(x.requires_grad for x in (y, times, *used)):
            return states
        assert back.solver is not None
        method = Method(back.solver, back.controller, None, 2**31 - 1)  # type: ignore[arg-type]
        way = Back(Task(problem, y, times, method, None), method, np.full(1, math.inf), used)
        return Backsolved.apply(states, way, y, times, *used)


def _rows(f: Callable[..., Tree], y0: Tree, t: Tensor) -> tuple[Field, Tensor, Tensor]:
    """The problem, its first state and its times, which run forward."""
    check_state(y0, False)
    problem = Field(f, y0, None, False, bool(t[1] < t[0]))
    y = problem.ravel(y0, 1)
    return problem, y, problem.sign * t.to(y.real if y.is_complex() else y)
