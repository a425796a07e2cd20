"""torchdiffeq's events: the first zero of a function along a solution whose end isn't known."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["Way", "linked", "until"]

Tree = Any


class Way(Protocol):
    """How it is solved."""

    def states(self, f: Callable[..., Tree], y0: Tree, t: Tensor, beyond: bool = False) -> Tree:
        """The states at the times; the last step may end `beyond` them."""

    def event(self, f: Callable[..., Tree], y0: Tree, t: Tensor, value: Callable[[Tensor, Tree], Tensor]) -> Tensor:
        """The time at which a value that is positive at first becomes zero, shape ()."""


def until(way: Way, f: Callable[..., Tree], y0: Tree, t: Tensor, event_fn: Any) -> tuple[Tensor, Tree]:
    """The event's time, a constant, and the differentiable states at the first time and at that one."""
    if len(t) != 2:
        raise ValueError(f"t has {len(t)} times: with event_fn, pass the start and another, for the direction")
    with torch.no_grad():
        value = _positive(event_fn, t[0], y0)
        if value(t[0], y0) == 0.0:
            return t[0].detach(), _map(lambda x: torch.stack([x, x]), y0)
        event = way.event(f, y0, t.detach(), value).to(t)
        if event == t[0]:
            raise ValueError(
                f"event_fn is {float(event_fn(t[0], y0).flatten()[0]):g} at the start, t = {float(t[0]):g}, and "
                f"becomes zero within the rounding of {t.dtype}: let the state begin further away, or pass float64"
            )
    return event, way.states(f, y0, torch.stack([t[0], event]), beyond=True)


def linked(func: Any, event_fn: Any, y0: Tree, t0: Tensor, event: Tensor, states: Tree) -> tuple[Tensor, Tree]:
    """The event's time and states, whose gradients know how the time moves, by the implicit function theorem."""
    t, y = event.detach(), _map(lambda x: x[-1], states)
    if t == t0.detach():
        return t0.reshape(()), states
    value = _positive(event_fn, t0, y0)
    slope = _map(lambda x: x.detach(), func(t, _map(lambda x: x.detach(), y)))
    c = value(t, y)
    if not c.requires_grad:
        return t, states
    shift = torch.zeros_like(t, requires_grad=True)
    ahead = value(t + shift, _map(lambda x, k: x.detach() + shift.to(x.real) * k, y, slope))
    (rate,) = torch.autograd.grad(ahead, shift)
    if rate == 0.0:
        raise ValueError(f"event_fn doesn't change at t = {float(t):g}: the time of the event has no derivative")
    moved = _Once.apply((c.detach() - c) / rate)  # zero, but with the derivative of the time
    last = _map(lambda x, k: x + moved.to(x.real) * k, y, slope)
    return t + moved, _map(lambda x, end: torch.cat([x[:-1], end[None]]), states, last)


def _positive(event_fn: Any, t0: Tensor, y0: Tree) -> Callable[[Tensor, Tree], Tensor]:
    """A number that is positive until the first of the event function's numbers changes its sign."""
    with torch.no_grad():
        signs = event_fn(t0, y0).sign()
    return lambda t, y: (event_fn(t, y) * signs).min()


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
