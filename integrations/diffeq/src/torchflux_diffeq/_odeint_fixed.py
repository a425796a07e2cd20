"""torchdiffeq's methods with fixed steps: one from each time to the next, or of one length."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._adjoint import Task
from ._backsolve import Back, Backsolve, Backsolved
from ._captures import Noted, independent
from ._controller import Fixed
from ._field import Field
from ._lanes import greatest
from ._march import Method
from ._methods import Euler, Heun, Midpoint, _tableau
from ._runge_kutta import ExplicitRungeKutta
from ._solver import Slope

__all__ = ["FIXED", "Grid", "by_steps"]

Tree = Any


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
class Grid:
    """A method, and where its steps end."""

    solver: ExplicitRungeKutta
    step_size: float | None
    constructor: Callable[..., Tensor] | None
    cubic: bool

    @staticmethod
    def of(method: str, options: Mapping[str, Any]) -> "Grid":
        """What torchdiffeq's options say."""
        known = ("step_size", "grid_constructor", "interp", "perturb", "norm")
        rest = [name for name in options if name not in known]
        if rest or options.get("perturb", False):
            names = ", ".join(map(repr, rest or ["perturb"]))
            raise NotImplementedError(f"options {names} of method={method!r}: known are {', '.join(known[:3])}")
        interp, step = options.get("interp", "linear"), options.get("step_size")
        if interp not in ("linear", "cubic"):
            raise ValueError(f"options['interp'] = {interp!r}: it is 'linear' or 'cubic'")
        if step is not None and options.get("grid_constructor") is not None:
            raise ValueError("options has step_size and grid_constructor: pass one of them")
        size = None if step is None else float(step)
        return Grid(FIXED[method], size, options.get("grid_constructor"), interp == "cubic")

    def controller(self) -> Fixed:
        """For the way back from one time to the one before."""
        if self.constructor is not None:
            raise NotImplementedError("grid_constructor in odeint_adjoint: pass adjoint_options with a step_size")
        return Fixed(math.inf if self.step_size is None else self.step_size)

    def ends(self, f: Any, y0: Tree, t: Tensor) -> Tensor:
        """The ends of all steps, the start included, in the direction of the time."""
        if self.constructor is not None:
            grid = self.constructor(lambda t, y: f(t, y, None), y0, t)
            if grid[0] != t[0] or grid[-1] != t[-1]:
                raise ValueError(f"grid_constructor gave times from {grid[0]} to {grid[-1]}, not those of t")
            return grid
        if self.step_size is None:
            return t
        begin, end = (float(x) for x in greatest(t[[0, -1]]))
        count = math.ceil(abs(end - begin) / self.step_size + 1)
        length = math.copysign(self.step_size, end - begin)
        inner = torch.arange(1, count - 1, dtype=t.dtype, device=t.device) * length
        return torch.cat([t[:1], t[0] + inner, t[-1:]])


def by_steps(f: Callable[..., Tree], y0: Tree, t: Tensor, grid: Grid, backsolve: Backsolve | None) -> Tree:
    """The states at the times."""
    numbers = greatest(t)
    steps = np.diff(numbers)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise ValueError(f"t = {numbers}: the times increase, or decrease, strictly")
    backward = bool(steps[0] < 0)
    problem = Field(f, y0, None, False, backward)
    y = problem.ravel(y0, 1)
    t = t.to(y.real.dtype if y.is_complex() else y.dtype)
    ends, times = grid.ends(f, y0, t), t
    if backward:
        ends, times = -ends, -t
    if backsolve is None or not torch.is_grad_enabled():
        states = _stepped(problem.on(None), y, ends, times, grid)
    else:
        states = _backsolved(problem, y, ends, times, grid, backsolve)
    return problem.unravel(torch.cat([y[None], states])[:, 0], len(times))


def _stepped(slope: Slope, y: Tensor, ends: Tensor, times: Tensor, grid: Grid) -> Tensor:
    """The states at all times but the first, shape (S - 1, 1, n)."""
    where, wanted = greatest(ends), greatest(times)
    found: list[Tensor] = []
    k = slope(ends[:1], y)
    for i in range(len(ends) - 1):
        begin, end = ends[i : i + 1], ends[i + 1 : i + 2]
        step = grid.solver.step(slope, begin, end - begin, y, k)
        while len(found) + 1 < len(wanted) and wanted[len(found) + 1] <= where[i + 1]:
            t = times[len(found) + 1][None]
            found.append(_inside(grid, (t - begin) / (end - begin), end - begin, y, k, step, t, where[i + 1]))
        y, k = step.y, step.slope
    return torch.stack(found)


def _inside(grid: Grid, θ: Tensor, dt: Tensor, y: Tensor, k: Tensor, step: Any, t: Tensor, end: float) -> Tensor:
    """The state within a step."""
    if float(t.detach()) == end:
        return step.y
    θ, h = θ[:, None], dt[:, None]
    mean = (step.y - y) / h
    if not grid.cubic:
        return y + θ * h * mean
    return y + θ * h * (mean + (1 - θ) * ((1 - θ) * (k - mean) - θ * (step.slope - mean)))


def _backsolved(problem: Field, y: Tensor, ends: Tensor, times: Tensor, grid: Grid, backsolve: Backsolve) -> Tensor:
    """The same, whose gradient is the continuous adjoint's."""
    noted = Noted(problem, backsolve.using, "name it in adjoint_params, or use odeint")
    with torch.no_grad():
        states = _stepped(noted.on(None), y.detach(), ends.detach(), times.detach(), grid)
    used = independent(noted.used)
    if not any(x.requires_grad for x in (y, times, *used)):
        return states
    solver, controller = backsolve.solver or grid.solver, backsolve.controller or grid.controller()
    method = Method(solver, controller, None, 2**31 - 1)
    back = Back(Task(problem, y, times, method, None), method, np.full(1, math.inf), used)
    return Backsolved.apply(states, back, y, times, *used)
