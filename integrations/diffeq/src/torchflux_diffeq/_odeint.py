"""torchdiffeq's functions and arguments, so that its scripts run with another import."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._odeint_adaptive import ADAPTIVE, Adaptive, OfSciPy
from ._odeint_event import Way, linked, until
from ._odeint_fixed import FIXED, Grid

__all__ = ["odeint", "odeint_adjoint", "odeint_event"]

Tree = Any
THEIRS = ("explicit_adams", "implicit_adams", "fixed_adams")
"""The methods that are torchdiffeq's own."""
CALLBACKS = ("callback_step", "callback_accept_step", "callback_reject_step")
OF_THE_WAY_THERE = ("norm", "first_step", "max_num_steps", "jump_t", "step_t")
"""The options that the way back doesn't take over."""


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
    `options={"step_size": ...}` between which states are linear. The Adams methods are torchdiffeq's own, which then
    has to be installed; "scipy_solver" is `SciPy`. Options that aren't here are refused; a failure is a `SolveError`.

    Arguments:
        func: the slope, `func(t, y)`; shaped as the state.
        y0: a tensor, or a tuple of tensors.
        t: the times, increasing or decreasing, shape (S,).
        rtol, atol: the tolerances, of an adaptive method; for a tuple also a tuple.
        method: by default "dopri5".
        options: of a fixed method: `step_size`, `grid_constructor`, `perturb`, `interp` ("linear" or "cubic"); of an
            adaptive one: `first_step`, `max_num_steps` (of the whole), `max_step`, `safety`, `ifactor`, `dfactor`,
            `norm`, `jump_t`, `step_t`.
        event_fn: ends the solution where it becomes zero. The gradient is the one at a time that doesn't move; see
            `odeint_event`. A fixed method takes a `step_size`.

    Returns:
        The states, with the times as the first axis; with `event_fn`, the time of the event, and the first and the
        last state.

    >>> odeint(lambda t, y: -y, torch.ones(1), torch.tensor([0.0, 1.0]))[-1]
    tensor([0.3679])

    Source: Chen (2018), https://github.com/rtqichen/torchdiffeq.
    """
    if method in THEIRS:
        return _theirs().odeint(func, y0, t, rtol=rtol, atol=atol, method=method, options=options, event_fn=event_fn)
    return _solved(_way(func, method, options, rtol, atol), func, y0, t, event_fn)


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

    See `Backsolve` for what that means. `func` need be no module: the tensors that it uses are found. Its parameters,
    or `adjoint_params`, are added to these; the gradient flows to all of them, and is zero for what isn't used.

    Arguments:
        func, y0, t, rtol, atol, method, options, event_fn: as for `odeint`.
        adjoint_rtol, adjoint_atol, adjoint_method, adjoint_options: for the way back, by default the same. The
            parameters' gradients don't count in the error, as with `norm="seminorm"`: they are a quadrature. With
            `jump_t` or `step_t`, the gradient is that of the numbers that were computed, as `odeint`'s.
        adjoint_params: tensors that `func` uses (default: its parameters, if it is a module).

    >>> rate = torch.tensor(2.0, requires_grad=True)
    >>> y = odeint_adjoint(lambda t, y: -rate * y, torch.ones(1), torch.tensor([0.0, 1.0]))[-1]
    >>> torch.autograd.grad(y.sum(), rate)
    (tensor(-0.1353),)
    """
    given = (adjoint_rtol, adjoint_atol, adjoint_method, adjoint_options)
    if method in THEIRS or adjoint_method in THEIRS:
        names = ("adjoint_rtol", "adjoint_atol", "adjoint_method", "adjoint_options", "adjoint_params")
        back = dict(zip(names, (*given, adjoint_params), strict=True))
        return _theirs().odeint_adjoint(
            func, y0, t, rtol=rtol, atol=atol, method=method, options=options, event_fn=event_fn, **back
        )
    there = _way(func, method, options, rtol, atol)
    if isinstance(there, OfSciPy):
        if any(x is not None for x in given):
            raise NotImplementedError("method='scipy_solver' has a gradient of its own: leave adjoint_... out")
        return _solved(there, func, y0, t, event_fn)
    if adjoint_method not in (None, method or "dopri5") and options and adjoint_options is None:
        raise ValueError(f"adjoint_method={adjoint_method!r} and options={options}: pass adjoint_options, too")
    options = options or {}
    named = options if adjoint_options is None else adjoint_options
    own = {name: x for name, x in named.items() if name not in OF_THE_WAY_THERE or options.get(name) is not x}
    tolerances = (x if y is None else y for x, y in zip((rtol, atol), given, strict=False))
    way_back = _way(func, adjoint_method or method, own, *tolerances)
    params = func.parameters() if adjoint_params is None and isinstance(func, torch.nn.Module) else adjoint_params or ()
    there = replace(there, back=way_back.backsolve(tuple(x for x in params if x.requires_grad)))
    return _solved(there, func, y0, t, event_fn)


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


def _way(func: Any, method: str | None, options: Mapping[str, Any] | None, rtol: Any, atol: Any) -> Grid | Adaptive:
    """How it is solved, from torchdiffeq's arguments."""
    method, options = method or "dopri5", options or {}
    for name in CALLBACKS:
        if hasattr(func, name):
            raise NotImplementedError(f"func.{name}: what is called at steps isn't here; see solve(callbacks=)")
    if method in FIXED:
        return Grid(method, options)
    if method in ADAPTIVE:
        return Adaptive(method, options, rtol, atol)
    if method == "scipy_solver":
        return OfSciPy(method, options, rtol, atol)
    known = ", ".join((*ADAPTIVE, *FIXED, "scipy_solver", *THEIRS))
    raise ValueError(f"method={method!r}: it is one of {known}")


def _solved(way: Way, func: Callable[[Tensor, Tree], Tree], y0: Tree, t: Tensor, event_fn: Any) -> Any:
    """The states, up to an event if there is one."""
    _check_times(t)
    f = lambda t, y, args: func(t, y)
    if event_fn is not None:
        return until(way, f, y0, t, event_fn)
    if len(t) == 1:
        return tuple(x[None] for x in y0) if isinstance(y0, tuple) else y0[None]
    return way.states(f, y0, t)


def _check_times(t: Any) -> None:
    """Refuses what isn't a row of times, or in no order."""
    if not isinstance(t, Tensor) or not t.is_floating_point() or t.dim() != 1 or not len(t):
        raise TypeError(f"t is {t!r}: pass a tensor of floating-point times, shape (S,)")
    numbers = t.detach().cpu().double().numpy()
    steps = np.diff(numbers)
    wrong = np.flatnonzero(~(steps * steps[:1] > 0))
    if len(wrong):
        here, following = numbers[wrong[0] : wrong[0] + 2]
        raise ValueError(
            f"t[{wrong[0]}] = {here:g} is followed by {following:g}: the times increase, or decrease, strictly"
        )


def _theirs() -> Any:
    """torchdiffeq itself, or how to get it."""
    try:
        import torchdiffeq
    except ImportError:
        methods = ", ".join(THEIRS)
        raise ImportError(f'{methods} are torchdiffeq\'s own: pip install "torchdiffeq>=0.2.5"') from None
    return torchdiffeq
