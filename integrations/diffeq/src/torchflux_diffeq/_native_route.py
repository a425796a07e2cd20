"""Which solutions are native programs, and what becomes of them."""

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from ._adjoint import Adjoint, Discrete
from ._arguments import times_of
from ._controller import PID, Fixed
from ._lanes import transformed
from ._march import Method
from ._methods import Tsit5
from ._native_args import NotNative
from ._native_chain import autonomous
from ._native_operation import Job, solved
from ._native_program import NativeProgram
from ._native_replay import OnTensors
from ._native_solution import native_solution
from ._native_source import DTYPES, NativeSource, OfChain, OfFunction, is_native
from ._runge_kutta import ExplicitRungeKutta
from ._solution import Solution
from ._solver import Solver
from ._tableau import Tableau

__all__ = ["native_source"]

_DISCRETE = Discrete()
FAR = 16.0
"""How much further from zero than each other times in float32 may be; more, and their differences are too coarse."""
_programs: WeakKeyDictionary[Any, dict[Any, NativeProgram]] = WeakKeyDictionary()


def native_route(
    route: str, f: Any, y0: Any, ts: Any, args: Any, method: Method, adjoint: Adjoint, batched: bool
) -> Solution | None:
    """The solution in machine code; `None` where it is PyTorch's turn, if only to say what is wrong."""
    if route == "torch":
        return None
    known = is_native(f) or type(f) is autonomous
    if route == "auto" and not known:
        return None
    try:
        if not known:
            raise NotNative(f"f is {f!r}: decorate it by @native of torchflux_zygote, or see autonomous")
        if not isinstance(y0, Tensor):
            raise NotNative("y0 is a tree: pass a tensor")
        if adjoint != _DISCRETE:
            raise NotNative(f"the adjoint is {adjoint}")
        times = _times(ts, y0)
        job = _job(f, y0, times, args, method, batched, route == "native")
        return native_solution(job, times, *solved(job, y0), method, batched)
    except NotNative as reason:
        if route == "native":
            raise NotNative(f"route='native': {reason}; or choose route='torch'") from None
        return None


def native_source(
    f: Any,
    y0: Tensor,
    args: Any = None,
    *,
    solver: Solver | None = None,
    controller: PID | Fixed | None = None,
    batched: bool = False,
    backward: bool = False,
    what: str = "march",
) -> str:
    """The program that `solve` runs for such arguments on its native route, as generated Python.

    Arguments:
        backward: of times that decrease.
        what: "march" makes the steps, "sweep" goes back through them for the gradient.

    Raises:
        NotNative: the native route can't solve this; the message says why.
    """
    if what not in ("march", "sweep"):
        raise ValueError(f"what={what!r}: it is 'march' or 'sweep'")
    method = Method(solver or Tsit5(), controller or PID(), None, 0)
    times = torch.tensor([1.0, 0.0] if backward else [0.0, 1.0], dtype=y0.dtype)
    return _job(f, y0, times, args, method, batched).program.source(what)


def on_tensors(f: Any, args: Any, batched: bool) -> Any:
    """The slope as PyTorch's solvers call it."""
    return OnTensors(f, args, batched) if is_native(f) else f


def _times(ts: Any, y0: Tensor) -> Tensor:
    """The times as a tensor, checked where a native program doesn't."""
    if isinstance(ts, Tensor) and ts.dtype == y0.dtype and ts.is_cpu and ts.dim() == 1 and ts.shape[0] > 1:
        return ts
    return times_of(ts, y0)


def _job(f: Any, y0: Tensor, times: Tensor, args: Any, method: Method, batched: bool, any_size: bool = True) -> Job:
    """What is to be solved, as a program takes it.

    Raises:
        NotNative: it can't be done in this way; the message says why.
    """
    _check(y0, times, method, batched)
    source = OfChain(f, y0, batched, any_size) if type(f) is autonomous else OfFunction(f, y0, args, batched)
    given = times.numpy(force=True)
    if y0.dtype == torch.float32 and np.abs(given[[0, -1]]).max() > FAR * abs(given[-1] - given[0]):
        raise NotNative("ts is far from zero for float32: let the time begin at zero, or pass float64")
    sign = -1 if given[0] > given[-1] else 1
    forward = given.copy() if sign > 0 else -given  # the way back needs them, whatever becomes of `ts`
    program, samples = _program(source, method, sign), len(y0) if batched else 1
    return Job(program, source, forward, sign, _options(method, y0.dtype), method.max_steps, samples, source.n)


def _program(source: NativeSource, method: Method, sign: int) -> NativeProgram:
    """The program, read anew if what the slope depends on has changed."""
    tableau: Tableau = method.solver.tableau  # type: ignore[attr-defined]
    adaptive = isinstance(method.controller, PID)
    key = (source.key, source.n, source.dtype, tableau, adaptive, sign)
    known = _programs.get(source.owner)
    if known is None:
        known = _programs[source.owner] = {}
    found = known.get(key)
    if found is None or not found.code.current():
        found = known[key] = NativeProgram(tableau, source.code(sign < 0), adaptive, DTYPES[source.dtype])
    return found


def _check(y0: Any, times: Tensor, method: Method, batched: bool) -> None:
    """Refuses what only PyTorch's route can do."""
    solver, controller = method.solver, method.controller
    if y0.dim() not in (batched, batched + 1):
        raise NotNative(f"the state has the shape {tuple(y0.shape[batched:])}, not one axis")
    if y0.dtype not in DTYPES or not y0.is_cpu or not y0.numel():
        raise NotNative(f"the state is {y0.dtype} on {y0.device}, of {y0.numel()} numbers: it takes floats on the CPU")
    if not isinstance(solver, ExplicitRungeKutta) or type(solver).step is not ExplicitRungeKutta.step:
        raise NotNative(f"{solver} is no explicit Runge-Kutta method that is all in its tableau, like Tsit5()")
    if type(controller) not in (PID, Fixed) or getattr(controller, "jump_ts", None) is not None:
        raise NotNative(f"the controller is {controller}, more than PID or Fixed")
    if isinstance(controller, PID) and not solver.estimates:
        raise NotNative(f"{solver} has no error estimate")
    if transformed():
        raise NotNative("a transform of torch.func is under way")
    if times.requires_grad and torch.is_grad_enabled():
        raise NotNative("ts requires a gradient")


def _options(method: Method, dtype: torch.dtype) -> Any:
    """The controller's numbers."""
    c, k = method.controller, method.solver.error_order
    if isinstance(c, Fixed):
        return np.array([0.0] * 10 + [c.dt])
    p, i, d = c.pcoeff / k, c.icoeff / k, c.dcoeff / k
    bounds = (c.safety, c.factor_min, c.factor_max, c.dtmin, c.dtmax)
    first = -1.0 if method.dt0 is None else method.dt0
    return np.array([*c.tolerances(dtype), -(p + i + d), p + 2 * d, -d, *bounds, first])
