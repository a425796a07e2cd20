"""torchdiffeq's events: the first zero of a function along a solution whose end isn't known."""

from collections.abc import Callable
from typing import Any

import torch
from scipy.optimize import brentq
from torch import Tensor

__all__ = ["first_event", "linked"]

Tree = Any
POINTS = 33
"""The times at which a stretch of the solution is looked at."""
STRETCHES = 24
"""How often the next stretch is twice as long as the last."""


def first_event(call: Callable[[Tree, Tensor], Tree], y0: Tree, t: Tensor, event_fn: Any) -> tuple[Tensor, Tree]:
    """The event's time, a constant, and the differentiable states at the first time and at the event."""
    if len(t) != 2:
        raise ValueError(f"t has {len(t)} times: with event_fn, pass the start and another, for the direction")
    with torch.no_grad():
        start, ahead = t.detach()
        event = _found(call, y0, start, ahead - start, event_fn)
    if float(event) == float(start):
        return event, _map(lambda x: torch.stack([x, x]), y0)
    return event, call(y0, torch.stack([t[0], event]))


def _found(call: Callable[[Tree, Tensor], Tree], y: Tree, t: Tensor, length: Tensor, event_fn: Any) -> Tensor:
    """Where the event function first changes its sign, in stretches that become longer."""
    signs = torch.sign(event_fn(t, y))
    value = lambda t, y: float(torch.min(event_fn(t, y) * signs))  # positive up to the event
    if value(t, y) == 0.0:
        return t
    for _ in range(STRETCHES):
        times = t + length * torch.linspace(0.0, 1.0, POINTS, dtype=t.dtype, device=t.device)
        states = call(y, times)
        at = lambda i, states=states: _map(lambda x: x[i], states)
        for i in range(1, POINTS):
            if value(times[i], at(i)) <= 0.0:
                return _root(call, at(i - 1), times[i - 1], times[i], value)
        t, y, length = times[-1], at(-1), 2 * length
    raise RuntimeError(f"event_fn didn't change its sign up to t = {float(t):g}: is it sure to?")


def _root(call: Callable[[Tree, Tensor], Tree], y: Tree, t: Tensor, end: Tensor, value: Any) -> Tensor:
    """The zero between two times of which the state at the first is `y`."""

    def at(θ: float) -> float:
        if θ == 0.0:
            return float(value(t, y))
        time = t + θ * (end - t)
        return float(value(time, _map(lambda x: x[-1], call(y, torch.stack([t, time])))))

    if at(1.0) > 0.0:  # to rounding, it is the end
        return end
    return t + brentq(at, 0.0, 1.0, xtol=4 * torch.finfo(t.dtype).eps) * (end - t)


def linked(func: Any, event_fn: Any, y0: Tree, t0: Tensor, event: Tensor, states: Tree) -> tuple[Tensor, Tree]:
    """The event's time and states, whose gradients know how the time moves, by the implicit function theorem."""
    end = _map(lambda x: x[-1], states)
    at = event.detach()
    if float(at) == float(t0.detach()):
        return t0.reshape(()), states
    if not torch.is_grad_enabled():
        return at.to(t0), states
    slope = _map(lambda x: x.detach(), func(at, _map(lambda x: x.detach(), end)))
    with torch.no_grad():
        signs = torch.sign(event_fn(t0.detach(), y0))
    combined = lambda t, y: torch.min(event_fn(t, y) * signs)
    leaf_t, leaf_y = at.clone().requires_grad_(), _map(lambda x: x.detach().requires_grad_(), end)
    rate = _rate(combined(leaf_t, leaf_y), leaf_t, leaf_y, slope)
    if float(rate.abs()) == 0.0:
        raise ValueError(f"event_fn doesn't change at t = {float(at):g}: the time of the event has no derivative")
    c = combined(at, end)
    moved = -(c - c.detach()) / rate
    moved = _Once.apply(moved) if moved.requires_grad else moved
    last = _map(lambda x, k: x + k * moved, end, slope)
    return (at + moved).to(t0), _map(lambda x, y: torch.cat([x[:-1], y[None]]), states, last)


def _rate(c: Tensor, t: Tensor, y: Tree, slope: Tree) -> Tensor:
    """How fast the event function changes along the solution."""
    parts, slopes = (y, slope) if isinstance(y, tuple) else ((y,), (slope,))
    of_t, *of_y = torch.autograd.grad(c, (t, *parts), allow_unused=True)
    total = c.new_zeros(()) if of_t is None else of_t
    return total + sum((g.conj() * k).sum().real for g, k in zip(of_y, slopes, strict=True) if g is not None)


class _Once(torch.autograd.Function):
    """The identity, whose gradient has none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The same."""
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        """The same."""
        if torch.is_grad_enabled():
            raise NotImplementedError("odeint_event has no second derivatives (create_graph=True): use solve(events=)")
        return g


def _map(f: Callable[..., Any], *trees: Tree) -> Tree:
    """A function of tensors, for tuples of them too."""
    return tuple(map(f, *trees)) if isinstance(trees[0], tuple) else f(*trees)
