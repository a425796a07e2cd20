"""Which solutions are native programs, and what becomes of them."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from ._adjoint import Adjoint, Discrete
from ._controller import PID, Fixed
from ._lanes import transformed
from ._march import Method, Status
from ._methods import Tsit5
from ._native_args import NotNative
from ._native_chain import autonomous
from ._native_march import REFUSED
from ._native_operation import Job, solved
from ._native_program import NativeProgram
from ._native_replay import OnTensors, retraced
from ._native_source import DTYPES, is_native, of_chain, of_function
from ._runge_kutta import ExplicitRungeKutta
from ._solution import MESSAGES, Solution, Stats
from ._solver import Solver
from ._tableau import Tableau

__all__ = ["native_source"]

_DISCRETE = Discrete()
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
        problem = _Problem(f, y0, times, args, method, batched, any_size=route == "native")
        job = problem.job(y0, method)
        return _solution(job, times, *solved(job, y0, problem.slope.params), problem.sign, method, batched)
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
    return _Problem(f, y0, times, args, method, batched).program.source(what)


def on_tensors(f: Any, args: Any, batched: bool) -> Any:
    """The slope as PyTorch's solvers call it."""
    return OnTensors(f, args, batched) if is_native(f) else f


def _times(ts: Any, y0: Tensor) -> Tensor:
    """The times as a tensor, checked where a native program doesn't."""
    if isinstance(ts, Tensor) and ts.dtype == y0.dtype and ts.dim() == 1 and len(ts) > 1 and ts.device == y0.device:
        return ts
    from ._solve import _times

    return _times(ts, y0)


class _Problem:
    """What is to be solved, as a program takes it.

    Raises:
        NotNative: it can't be done in this way; the message says why.
    """

    def __init__(
        self, f: Any, y0: Tensor, times: Tensor, args: Any, method: Method, batched: bool, any_size: bool = True
    ) -> None:
        _check(y0, times, method, batched)
        self.times, self.batched = times, batched
        self.samples = len(y0) if batched else 1
        self.n = 1 if y0.dim() == batched else y0.shape[-1]
        chain = type(f) is autonomous
        self.slope = of_chain(f, y0, batched, any_size) if chain else of_function(f, y0, args, batched)
        given = times.detach().contiguous().numpy()
        self.sign = -1 if given[0] > given[-1] else 1
        self.forward = given.copy() if self.sign > 0 else -given  # the way back needs them, whatever becomes of `ts`
        self.program = self._program(y0.dtype, method)

    def _program(self, dtype: torch.dtype, method: Method) -> NativeProgram:
        """The program, read anew if what the slope depends on has changed."""
        tableau: Tableau = method.solver.tableau  # type: ignore[attr-defined]
        adaptive = isinstance(method.controller, PID)
        key = (self.slope.key, self.n, dtype, tableau, adaptive, self.sign)
        known = _programs.setdefault(self.slope.owner, {})
        found = known.get(key)
        if found is None or not found.code.current():
            code = self.slope.code(self.sign < 0)
            found = known[key] = NativeProgram(tableau, code, adaptive, DTYPES[dtype])
        return found

    def job(self, y0: Tensor, method: Method) -> Job:
        """The program's run."""
        lead = (len(self.times), self.samples) if self.batched else (len(self.times),)
        shape = (lead + y0.shape[self.batched :], lead[1:] + y0.shape[self.batched :])
        options = _options(method, y0.dtype)
        sizes = method.max_steps, self.samples, self.n
        return Job(self.program, self.slope.leaves, self.forward, options, *sizes, shape, self.again)

    def again(self, job: Job, y0: Tensor, params: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The states of a job's steps, by PyTorch and differentiable."""
        by_torch, sign = self.slope.on_tensors(params), self.sign
        slope: Any = lambda rows, t, y: sign * by_torch(rows, sign * t, y)
        begins, ends = job.accepted()
        as_times: Callable[[Any], list[Tensor]] = lambda steps: [torch.as_tensor(x, dtype=y0.dtype) for x in steps]
        y, times = y0.reshape(job.samples, job.n), sign * self.times.detach()
        ys, end = retraced(self.program.tableau, slope, y, times, as_times(begins), as_times(ends))
        return ys.reshape(job.shape[0]), end.reshape(job.shape[1])


def _check(y0: Any, times: Tensor, method: Method, batched: bool) -> None:
    """Refuses what only PyTorch's route can do."""
    solver, controller = method.solver, method.controller
    if y0.dim() not in (batched, batched + 1):
        raise NotNative(f"the state has the shape {tuple(y0.shape[batched:])}, not one axis")
    if y0.dtype not in DTYPES or y0.device.type != "cpu" or not y0.numel():
        raise NotNative(f"the state is {y0.dtype} on {y0.device}, of {y0.numel()} numbers: it takes floats on the CPU")
    if not isinstance(solver, ExplicitRungeKutta) or type(solver).step is not ExplicitRungeKutta.step:
        raise NotNative(f"{solver} is not an explicit Runge-Kutta method")
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


def _solution(
    job: Job, times: Tensor, ys: Tensor, end: Tensor, sign: int, method: Method, batched: bool
) -> Solution | None:
    """What came of it, in the user's terms."""
    each = job.program.tableau.stages - 1
    started = 2 if method.dt0 is None and job.program.adaptive else 1
    if not batched:
        status, steps, rejected, *_ = job.counts[0].tolist()
        if status == REFUSED:
            return None
        stats = Stats(steps, steps - rejected, rejected, started + each * steps, each * rejected, 0)
        message = _message(job, sign, batched) if status else MESSAGES[Status.SUCCESS]
        t = torch.scalar_tensor(sign * job.last[0], dtype=times.dtype)
        return Solution(times, ys, stats, Status(status), message, t, end, route="native")
    message = _message(job, sign, batched)
    if message != MESSAGES[Status.SUCCESS] and (job.status == REFUSED).any():
        return None
    status, steps, rejected, *_ = job.counts.T
    useful, wasted = started + each * steps, each * rejected
    counts = (steps, steps - rejected, rejected, useful, wasted, np.zeros_like(wasted))
    stats = Stats(*map(torch.from_numpy, counts))
    t = torch.from_numpy(sign * job.last).to(times.dtype)
    return Solution(times, ys, stats, torch.from_numpy(status), message, t, end, route="native")


def _message(job: Job, sign: int, batched: bool) -> str:
    """How it ended, in words."""
    from ._solve import _message

    return _message(job, sign, batched)  # type: ignore[arg-type]
