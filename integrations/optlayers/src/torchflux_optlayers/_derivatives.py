"""Derivatives of functions of rows, whose rows don't depend on each other."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ._lanes import transformed

__all__ = ["jacobian", "mixed", "pulled"]

Function = Callable[[Tensor], Tensor]

LOOPED = 12
"""The numbers in a result, up to which the rows of a Jacobian are computed one after the other."""
TALL = 4
"""From how many results for each variable on, forward mode is taken."""


def pulled(f: Function, y: Tensor, tape: bool = False) -> tuple[Tensor, Function]:
    """`f(y)` and the function from its cotangents to those of `y`; with `tape`, both can be differentiated again."""
    if transformed():
        found: Any = torch.func.vjp(f, y)
        return found[0], lambda g: found[1](g)[0]
    with torch.enable_grad():
        x = y.view_as(y) if tape and y.requires_grad else y.detach().requires_grad_()
        value = f(x)

    def pull(g: Tensor) -> Tensor:
        if not value.requires_grad:
            return torch.zeros_like(y)
        batched = g.dim() > value.dim()
        (cotangent,) = torch.autograd.grad(value, x, g, True, tape, is_grads_batched=batched, allow_unused=True)
        return y.new_zeros(g.shape[:1] * batched + y.shape) if cotangent is None else cotangent

    return value if tape else value.detach(), pull


def jacobian(f: Function, y: Tensor, tape: bool = False) -> tuple[Tensor, Tensor]:
    """`f(y)` (rows, m) and its derivatives by `y` (rows, m, n)."""
    value, pull = pulled(f, y, tape)
    m, n = value.shape[-1], y.shape[-1]
    if m == 1:
        return value, pull(torch.ones_like(value)).unsqueeze(1)
    if TALL * n <= m:
        try:
            return value, _columns(f, y, tape)
        except NotImplementedError:  # an operation that has only a derivative backward
            pass
    units = torch.eye(m, dtype=value.dtype, device=value.device).unsqueeze(1).expand(m, *value.shape)
    if m <= LOOPED or not len(y):
        return value, torch.stack([pull(unit) for unit in units], 1) if m else y.new_zeros(len(y), 0, n)
    return value, (torch.func.vmap(pull)(units) if transformed() else pull(units)).transpose(0, 1)


def mixed(f: Function, y: Tensor, matrix: Tensor) -> bool:
    """Whether rows of `f` depend on other rows of `y`, so that these derivatives (rows, m, n) say nothing.

    For cotangents that differ from row to row, what comes back would be more than each row's own.
    """
    value, pull = pulled(f, y)
    weights = (1.0 + torch.arange(len(y), device=y.device) % 7).to(y.dtype).unsqueeze(-1)
    found, due = pull(weights.expand_as(value).contiguous()), weights * matrix.sum(-2)
    off, size = (found - due).abs(), 7 * matrix.abs().sum(-2)
    return bool((off > torch.finfo(y.dtype).eps ** 0.5 * size.amax(-1, keepdim=True)).any())


def _columns(f: Function, y: Tensor, tape: bool) -> Tensor:
    """The Jacobian by forward mode, one variable after the other."""
    units = torch.eye(y.shape[-1], dtype=y.dtype, device=y.device)
    with torch.set_grad_enabled(tape):
        return torch.stack([torch.func.jvp(f, (y,), (unit.expand_as(y),))[1] for unit in units], -1)
