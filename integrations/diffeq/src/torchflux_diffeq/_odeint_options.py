"""torchdiffeq's adaptive methods and their options, in this package's terms."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._backsolve import Backsolve
from ._controller import PID, Numbers
from ._lanes import greatest
from ._methods import Bosh3, Dopri5, Heun, _tableau
from ._runge_kutta import ExplicitRungeKutta
from ._solve import solve
from ._solver import Solver

__all__ = ["ADAPTIVE", "adaptive", "refuse_rest"]

Tree = Any


class Fehlberg2(ExplicitRungeKutta):
    """The second-order pair of Fehlberg (1969), NASA TR R-315."""

    tableau = _tableau(2, [0.5], [1 / 256, 255 / 256], [1 / 512, 255 / 256, 1 / 512], error=[-1 / 512, 0, 1 / 512, 0])


ADAPTIVE: dict[str, Solver] = {"dopri5": Dopri5(), "bosh3": Bosh3(), "adaptive_heun": Heun(), "fehlberg2": Fehlberg2()}


@dataclass(frozen=True)
class _Shared(PID):
    """Tolerances for every number of the state, and a norm for all of it."""

    each: tuple[Any, Any] = (0.0, 0.0)
    measure: Callable[[Tree], Any] | None = None
    split: Callable[[Tensor], Tree] | None = None

    def tolerances(self, dtype: torch.dtype) -> tuple[Any, Any]:
        """`rtol` and `atol`, numbers or shape (n,)."""
        return self.each

    def norm(self, x: Tensor) -> Numbers:
        """The norm of the only row."""
        if self.measure is None or self.split is None:
            return super().norm(x)
        return np.asarray(greatest(torch.as_tensor(self.measure(self.split(x[0])), dtype=x.dtype).abs().reshape(1)))


def adaptive(
    f: Callable[..., Tree],
    y0: Tree,
    t: Tensor,
    rtol: Any,
    atol: Any,
    method: str,
    options: Mapping[str, Any],
    backsolve: Backsolve | None,
) -> Tree:
    """The states at the times, by an adaptive method."""
    renamed = {"max_step": "dtmax", "safety": "safety", "ifactor": "factor_max", "dfactor": "factor_min"}
    refuse_rest(method, options, "norm", "first_step", "max_num_steps", "jump_t", "step_t", *renamed)
    parts = y0 if isinstance(y0, tuple) else (y0,)
    each = tuple(_spread(x, parts, isinstance(y0, tuple)) for x in (rtol, atol))
    measure, split = options.get("norm"), lambda x: x.view(parts[0].shape)
    if isinstance(y0, tuple):
        measure, sizes = measure or _mixed, [x.numel() for x in parts]
        split = lambda x: tuple(part.view(y.shape) for part, y in zip(x.split(sizes), parts, strict=True))
    chosen = {ours: float(options[theirs]) for theirs, ours in renamed.items() if theirs in options}
    controller = _Shared(1.0, 1.0, each=each, measure=measure, split=split, **chosen)
    given: dict[str, Any] = {"solver": ADAPTIVE[method], "controller": controller, "adjoint": backsolve}
    if backsolve is not None and backsolve.controller is None:
        given["adjoint"] = replace(backsolve, controller=PID(float(rtol), float(atol)))
    if options.get("first_step") is not None:
        given["dt0"] = float(options["first_step"])
    given["max_steps"] = int(options.get("max_num_steps", 2**31 - 1))
    stops = [x for name in ("jump_t", "step_t") if options.get(name) is not None for x in options[name].tolist()]
    return _between(f, y0, t, sorted(set(stops)), given)


def _between(f: Callable[..., Tree], y0: Tree, t: Tensor, stops: list[float], given: dict[str, Any]) -> Tree:
    """Solved anew from each stop on; at it, `f` is asked for just this side."""
    begin, end = float(t.detach()[0]), float(t.detach()[-1])
    sign = 1.0 if end > begin else -1.0
    stops = sorted((x for x in stops if sign * begin < sign * x < sign * end), key=lambda x: sign * x)
    if not stops:
        return solve(f, y0, t, **given).ys
    found: list[Any] = []
    state, edges = y0, [begin, *stops, end]
    for i, (left, right) in enumerate(pairwise(edges)):
        inner = t[(sign * t > sign * left) & (sign * t < sign * right)]
        first, last = (t[:1] if i == 0 else t.new_tensor([left])), (t[-1:] if right == end else t.new_tensor([right]))
        ys = solve(_within(f, left, right), state, torch.cat([first, inner, last]), **given).ys
        tree, state = isinstance(ys, tuple), (tuple(y[-1] for y in ys) if isinstance(ys, tuple) else ys[-1])
        wanted = right == end or bool((t == right).any())
        cut = slice(0 if i == 0 else 1, None if wanted else -1)
        found.append(tuple(y[cut] for y in ys) if tree else ys[cut])
    return tuple(map(torch.cat, zip(*found, strict=True))) if isinstance(y0, tuple) else torch.cat(found)


def _within(f: Callable[..., Tree], left: float, right: float) -> Callable[..., Tree]:
    """`f` as it is between two times, the ends included."""

    def inside(t: Tensor, y: Tree, args: Any) -> Tree:
        low, high = t.new_tensor(min(left, right)), t.new_tensor(max(left, right))
        clear = torch.nextafter(low, high), torch.nextafter(high, low)
        return f(t + (t.clamp(*clear) - t).detach(), y, args)

    return inside


def refuse_rest(method: str, options: Mapping[str, Any], *known: str) -> None:
    """Refuses options that aren't known."""
    rest = [name for name in options if name not in known]
    if rest:
        raise NotImplementedError(
            f"options {', '.join(map(repr, rest))} of method={method!r}: known are {', '.join(known) or 'none'}"
        )


def _spread(tolerance: Any, parts: tuple[Tensor, ...], separately: bool) -> Any:
    """A tolerance for all numbers of the state, or for each of its parts."""
    several = isinstance(tolerance, tuple | list)
    values = tolerance if several else (tolerance,)
    for value in values:
        if not (torch.as_tensor(value) >= 0).all():
            raise ValueError(f"a tolerance of {value}: it is a number that isn't negative")
    if several and not (separately and len(values) == len(parts)):
        raise ValueError(f"{len(values)} tolerances: pass one, or one for each part of a tuple")
    if not several:
        return tolerance.detach() if isinstance(tolerance, Tensor) else float(tolerance)
    like = parts[0].real if parts[0].is_complex() else parts[0]
    each = [torch.as_tensor(x).to(like).expand(y.numel()) for x, y in zip(values, parts, strict=True)]
    return torch.cat(each)


def _mixed(parts: tuple[Tensor, ...]) -> float:
    """torchdiffeq's norm of a tuple: the largest root mean square of its parts."""
    return max(float(torch.linalg.vector_norm(x)) / math.sqrt(x.numel()) for x in parts)
