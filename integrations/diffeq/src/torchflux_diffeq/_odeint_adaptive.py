"""torchdiffeq's adaptive methods and their options, in this package's terms."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._adjoint import Discrete
from ._backsolve import Backsolve
from ._controller import PID, Numbers
from ._dopri8 import Dopri8
from ._events import Event
from ._march import Status
from ._methods import Bosh3, Dopri5, Heun, _tableau
from ._odeint_options import refuse_rest
from ._runge_kutta import ExplicitRungeKutta
from ._scipy import SciPy
from ._solve import solve
from ._solver import Solver

__all__ = ["ADAPTIVE", "Adaptive", "OfSciPy"]

Tree = Any
FAR = 1e15
"""How far ahead an event is looked for."""


class Fehlberg2(ExplicitRungeKutta):
    """The second-order pair of Fehlberg (1969), NASA TR R-315."""

    tableau = _tableau(2, [0.5], [1 / 256, 255 / 256], [1 / 512, 255 / 256, 1 / 512], error=[-1 / 512, 0, 1 / 512, 0])


ADAPTIVE: dict[str, Solver] = {
    "dopri8": Dopri8(),
    "dopri5": Dopri5(),
    "bosh3": Bosh3(),
    "fehlberg2": Fehlberg2(),
    "adaptive_heun": Heun(),
}
OF_PID = {"max_step": "dtmax", "safety": "safety", "ifactor": "factor_max", "dfactor": "factor_min"}
"""torchdiffeq's names for what a `PID` takes."""


@dataclass(frozen=True)
class _Shared(PID):
    """Tolerances `each` of the state's numbers has, and a norm of all of it, by which the steps are chosen."""

    each: tuple[Any, Any] = (0.0, 0.0)
    like: Tree = None
    measure: Callable[[Tree], Any] | None = None

    def tolerances(self, dtype: torch.dtype) -> tuple[Any, Any]:
        """`rtol` and `atol`, numbers or shape (n,)."""
        return self.each

    def norm(self, x: Tensor) -> Numbers:
        """The norm of the only row: the greatest of the root mean squares of its parts, if none is given."""
        if isinstance(self.like, tuple):
            parts = x[0].split([part.numel() for part in self.like])
            state = tuple(part.view(like.shape) for part, like in zip(parts, self.like, strict=True))
            size = max(map(_rms, state)) if self.measure is None else self.measure(state)
        else:
            size = _rms(x) if self.measure is None else self.measure(x.view(self.like.shape))
        return np.asarray([abs(float(size))])


@dataclass(frozen=True)
class Adaptive:
    """A method with tolerances: `odeint`'s with `options`; with `back`, the gradient is that adjoint's."""

    method: str
    options: Mapping[str, Any]
    rtol: Any
    atol: Any
    back: Backsolve | None = None

    def __post_init__(self) -> None:
        others = ("norm", "first_step", "max_num_steps", "jump_t", "step_t", "dtype")
        refuse_rest(self.method, self.options, *OF_PID, *others)

    @property
    def chosen(self) -> dict[str, float]:
        """The options that a `PID` takes."""
        return {ours: float(self.options[theirs]) for theirs, ours in OF_PID.items() if theirs in self.options}

    def backsolve(self, using: tuple[Tensor, ...]) -> Backsolve:
        """The continuous adjoint by this method."""
        if self.options.get("norm", "seminorm") != "seminorm":
            raise NotImplementedError("adjoint_options['norm'] may be 'seminorm', which is the norm here")
        for x in (self.rtol, self.atol):
            if isinstance(x, tuple | list) or (isinstance(x, Tensor) and x.dim()):
                raise NotImplementedError(f"a tolerance of {x} on the way back: pass adjoint_rtol and adjoint_atol")
        return Backsolve(ADAPTIVE[self.method], PID(float(self.rtol), float(self.atol), **self.chosen), using)

    def states(self, f: Callable[..., Tree], y0: Tree, t: Tensor, beyond: bool = False) -> Tree:
        """The states at the times."""
        return solve(f, y0, t, **self._given(y0)).ys

    def event(self, f: Callable[..., Tree], y0: Tree, t: Tensor, value: Callable[[Tensor, Tree], Tensor]) -> Tensor:
        """The time at which a value that is positive at first becomes zero, shape ()."""
        event = Event(lambda t, y, args: value(t, y), direction=-1)
        span = torch.stack([t[0], t[0] + FAR * (t[1] - t[0]).sign()])
        found = solve(f, y0, span, events=event, **{**self._given(y0), "adjoint": None})
        if found.status != Status.EVENT:
            raise RuntimeError(f"event_fn doesn't become zero up to t = {float(found.t):g}: is it sure to?")
        return found.t

    def _given(self, y0: Tree) -> dict[str, Any]:
        """What `solve` gets."""
        options, each = self.options, (_spread(self.rtol, y0), _spread(self.atol, y0))
        stops = [options[name] for name in ("jump_t", "step_t") if options.get(name) is not None]
        jump_ts = torch.cat(stops).unique() if stops else None
        controller = _Shared(1.0, 1.0, **self.chosen, jump_ts=jump_ts, each=each, like=y0, measure=options.get("norm"))
        first, most = options.get("first_step"), int(options.get("max_num_steps", 2**31 - 1))
        given: dict[str, Any] = {"solver": ADAPTIVE[self.method], "controller": controller, "max_steps": most}
        given["adjoint"] = Discrete() if stops else self.back
        return given if first is None else {**given, "dt0": float(first)}


class OfSciPy(Adaptive):
    """SciPy's methods, whose gradient is their own."""

    def __post_init__(self) -> None:
        refuse_rest(self.method, self.options, "solver")

    def backsolve(self, using: tuple[Tensor, ...]) -> Backsolve:
        """Refused."""
        raise NotImplementedError(f"adjoint_method={self.method!r}: use 'dopri5'")

    def event(self, f: Callable[..., Tree], y0: Tree, t: Tensor, value: Callable[[Tensor, Tree], Tensor]) -> Tensor:
        """Refused."""
        raise NotImplementedError(f"method={self.method!r} with event_fn: use 'dopri5'")

    def _given(self, y0: Tree) -> dict[str, Any]:
        """What `solve` gets."""
        controller = PID(float(self.rtol), float(self.atol))
        return {"solver": SciPy(self.options.get("solver", "LSODA")), "controller": controller}


def _rms(x: Tensor) -> float:
    """The root mean square."""
    return float(torch.linalg.vector_norm(x)) / math.sqrt(x.numel())


def _spread(tolerance: Any, y0: Tree) -> Any:
    """A tolerance for all numbers of the state, or for each of its parts."""
    several = isinstance(tolerance, tuple | list)
    values = tolerance if several else (tolerance,)
    for value in values:
        if not (torch.as_tensor(value) >= 0).all():
            raise ValueError(f"a tolerance of {value}: it is a number that isn't negative")
    if not several:
        return tolerance.detach().reshape(-1) if isinstance(tolerance, Tensor) else float(tolerance)
    if not (isinstance(y0, tuple) and len(values) == len(y0)):
        raise ValueError(f"{len(values)} tolerances: pass one, or one for each part of a tuple")
    like = y0[0].real if y0[0].is_complex() else y0[0]
    return torch.cat([torch.as_tensor(x).to(like).expand(y.numel()) for x, y in zip(values, y0, strict=True)])
