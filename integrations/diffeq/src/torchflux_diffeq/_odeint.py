"""torchdiffeq's functions and arguments, so that its scripts run with another import."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._backsolve import Backsolve
from ._odeint_event import first_event, linked
from ._odeint_fixed import FIXED, Grid, by_steps
from ._odeint_options import ADAPTIVE, adaptive, refuse_rest
from ._scipy import SciPy
from ._solve import solve
from ._torchdiffeq import TorchDiffEq

__all__ = ["odeint", "odeint_adjoint", "odeint_event"]

Tree = Any
OTHERS = ("dopri8", "explicit_adams", "implicit_adams", "fixed_adams")
METHODS = (*ADAPTIVE, *FIXED, *OTHERS, "scipy_solver")


@dataclass(frozen=True)
class _Call:
    """What was asked for, whatever the times."""

    func: Callable[[Tensor, Tree], Tree]
    rtol: Any
    atol: Any
    method: str
    options: Mapping[str, Any]
    back: "_Call | None" = None
    using: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r}: it is one of {', '.join(METHODS)}")
        for name in ("callback_step", "callback_accept_step", "callback_reject_step"):
            if hasattr(self.func, name):
                raise NotImplementedError(f"func.{name}: callbacks of steps aren't called here; use solve(callbacks=)")

    def __call__(self, y0: Tree, t: Tensor) -> Tree:
        """The states at the times."""
        f = lambda t, y, args: self.func(t, y)
        if len(t) == 1:
            return tuple(x[None] for x in y0) if isinstance(y0, tuple) else y0[None]
        if self.method in FIXED:
            return by_steps(f, y0, t, Grid.of(self.method, self.options), self._backsolve(y0))
        if self.method in ADAPTIVE:
            return adaptive(f, y0, t, self.rtol, self.atol, self.method, self.options, self._backsolve(y0))
        return self._foreign(f, y0, t)

    def _backsolve(self, y0: Tree) -> Backsolve | None:
        """The continuous adjoint, if it was asked for."""
        if self.back is None:
            return None
        method, options = self.back.method, {k: v for k, v in self.back.options.items() if k != "norm"}
        if self.back.options.get("norm", "seminorm") != "seminorm":
            raise NotImplementedError("adjoint_options['norm'] may be 'seminorm', which is the norm here")
        if method in FIXED:
            grid = Grid.of(method, options)
            return Backsolve(grid.solver, grid.controller(), self.using)
        if method not in ADAPTIVE:
            raise NotImplementedError(f"adjoint_method={method!r}: it is one of {', '.join((*ADAPTIVE, *FIXED))}")
        refuse_rest(method, options, "max_num_steps", "first_step")
        solver = ADAPTIVE[method]
        return Backsolve(solver, _plain(self.back.rtol, self.back.atol), self.using)

    def _foreign(self, f: Callable[..., Tree], y0: Tree, t: Tensor) -> Tree:
        """By SciPy, or by torchdiffeq itself."""
        options, steps = dict(self.options), {}
        if self.back is not None:
            raise NotImplementedError(f"odeint_adjoint with method={self.method!r}: use odeint, which has its gradient")
        solver: Any = SciPy(options.pop("solver", "LSODA")) if self.method == "scipy_solver" else None
        if solver is None:
            steps = {"max_steps": options.pop("max_num_steps", 2**31 - 1)}
            grid = self.method != "dopri8" and not {"step_size", "grid_constructor"} & set(options)
            solver = TorchDiffEq(self.method, {"grid_constructor": lambda f, y, t: t, **options} if grid else options)
        else:
            refuse_rest(self.method, options)
        return solve(f, y0, t, solver=solver, controller=_plain(self.rtol, self.atol), **steps).ys


def odeint(
    func: Callable[[Tensor, Tree], Tree],
    y0: Tree,
    t: Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
    event_fn: Callable[[Tensor, Tree], Tensor] | None = None,
) -> Any:
    """torchdiffeq's `odeint`: the states at the times `t`, with the gradient of the numbers that were computed.

    The whole state, a batch or not, has one step size. Methods without an error estimate ("euler", "midpoint", "heun2",
    "heun3", "rk4", which is the 3/8 rule) make a step from each time to the next, or steps of
    `options={"step_size": ...}` between which states are linear. "dopri8" and the Adams methods are torchdiffeq's own,
    which then has to be installed. Options that aren't here are refused; a failure is a `SolveError`.

    Arguments:
        func: the slope, `func(t, y)`; shaped as the state.
        y0: a tensor, or a tuple of tensors.
        t: the times, increasing or decreasing, shape (S,).
        rtol, atol: the tolerances, of an adaptive method; for a tuple also a tuple.
        method: by default "dopri5".
        options: of a fixed method: `step_size`, `grid_constructor`, `interp` ("linear" or "cubic"); of an adaptive one:
            `first_step`, `max_num_steps` (of the whole), `max_step`, `safety`, `ifactor`, `dfactor`, `norm`, `jump_t`,
            `step_t`.
        event_fn: ends the solution where it becomes zero; see `odeint_event`.

    Returns:
        The states, with the times as the first axis; with `event_fn`, the time of the event, and the first and the
        last state.

    >>> odeint(lambda t, y: -y, torch.ones(1), torch.tensor([0.0, 1.0]))[-1]
    tensor([0.3679])

    Source: Chen (2018), https://github.com/rtqichen/torchdiffeq.
    """
    _check_times(t)
    call = _Call(func, rtol, atol, method or "dopri5", options or {})
    return call(y0, t) if event_fn is None else first_event(call, y0, t, event_fn)


def odeint_adjoint(
    func: Callable[[Tensor, Tree], Tree],
    y0: Tree,
    t: Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
    event_fn: Callable[[Tensor, Tree], Tensor] | None = None,
    adjoint_rtol: Any = None,
    adjoint_atol: Any = None,
    adjoint_method: str | None = None,
    adjoint_options: Mapping[str, Any] | None = None,
    adjoint_params: Sequence[Tensor] | None = None,
) -> Any:
    """torchdiffeq's `odeint_adjoint`: `odeint` with the continuous adjoint's gradient, whose memory is constant.

    See `Backsolve` for what that means. `func` need be no module: the tensors that it uses are found. `adjoint_params`
    are added to these; the gradient flows to all of them.

    Arguments:
        func, y0, t, rtol, atol, method, options, event_fn: as for `odeint`.
        adjoint_rtol, adjoint_atol, adjoint_method, adjoint_options: for the way back, by default the same. The
            parameters' gradients don't count in the error, as with `norm="seminorm"`.
        adjoint_params: tensors that `func` uses.

    >>> rate = torch.tensor(2.0, requires_grad=True)
    >>> y = odeint_adjoint(lambda t, y: -rate * y, torch.ones(1), torch.tensor([0.0, 1.0]))[-1]
    >>> torch.autograd.grad(y.sum(), rate)
    (tensor(-0.1353),)
    """
    _check_times(t)
    method = method or "dopri5"
    if adjoint_method not in (None, method) and options and adjoint_options is None:
        raise ValueError(f"adjoint_method={adjoint_method!r} and options={options}: pass adjoint_options, too")
    given = [adjoint_rtol, adjoint_atol, adjoint_method, adjoint_options]
    usual = [rtol, atol, method, {k: v for k, v in (options or {}).items() if k not in ("norm", "first_step")}]
    back = _Call(func, *(x if y is None else y for x, y in zip(usual, given, strict=True)))
    using = tuple(x for x in adjoint_params or () if x.requires_grad)
    call = _Call(func, rtol, atol, method, options or {}, back, using)
    return call(y0, t) if event_fn is None else first_event(call, y0, t, event_fn)


def odeint_event(
    func: Callable[[Tensor, Tree], Tree],
    y0: Tree,
    t0: Tensor,
    *,
    event_fn: Callable[[Tensor, Tree], Tensor],
    reverse_time: bool = False,
    odeint_interface: Callable[..., Any] = odeint,
    **kwargs: Any,
) -> tuple[Tensor, Tree]:
    """torchdiffeq's `odeint_event`: the time at which `event_fn(t, y)` becomes zero, and the states there and at `t0`.

    The gradients of both flow to `y0`, `t0`, what `func` uses, and, other than in torchdiffeq, to what `event_fn` uses.
    There are no second derivatives (they are refused): `solve` with an `Event` is meant for these.

    Arguments:
        func, y0: as for `odeint`.
        t0: the start, shape ().
        event_fn: a number, or several, of which the first that becomes zero ends it.
        reverse_time: whether the time runs backward.
        odeint_interface: `odeint` or `odeint_adjoint`.
        kwargs: their arguments.

    >>> fall = lambda t, y: torch.stack((y[1], torch.full_like(y[1], -2.0)))
    >>> t, ys = odeint_event(fall, torch.tensor([4.0, 3.0]), torch.tensor(0.0), event_fn=lambda t, y: y[0])
    >>> round(t.item(), 4), ys.shape
    (4.0, torch.Size([2, 2]))
    """
    t = torch.stack([t0.reshape(()), t0.detach().reshape(()) + (-1.0 if reverse_time else 1.0)])
    event_t, states = odeint_interface(func, y0, t, event_fn=event_fn, **kwargs)
    return linked(func, event_fn, y0, t0, event_t, states)


def _plain(rtol: Any, atol: Any) -> Any:
    """Tolerances as a controller's."""
    from ._controller import PID

    if any(isinstance(x, tuple | list) or (isinstance(x, Tensor) and x.dim()) for x in (rtol, atol)):
        raise NotImplementedError("tolerances for each part of the state, in the adjoint or a foreign method: pass one")
    return PID(float(rtol), float(atol))


def _check_times(t: Any) -> None:
    """Refuses what isn't a row of floating-point times."""
    if not isinstance(t, Tensor) or not t.is_floating_point() or t.dim() != 1 or not len(t):
        raise TypeError(f"t is {t!r}: pass a tensor of floating-point times, shape (S,)")
