"""Derivatives of functions of rows, whose rows don't depend on each other."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ._lanes import transformed

__all__ = ["jacobian", "mixed", "pulled", "rows_of"]

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
    if TALL * y.shape[-1] <= value.shape[-1]:
        try:
            return value, _columns(f, y, tape)
        except NotImplementedError:  # an operation that has only a derivative backward
            pass
    return value, rows_of(value, pull)


def rows_of(value: Tensor, pull: Function) -> Tensor:
    """The derivatives (rows, m, n) of what `pulled` returned, one row of each after the other, or many at once."""
    m = value.shape[-1]
    if m == 1:
        return pull(torch.ones_like(value)).unsqueeze(1)
    units = torch.eye(m, dtype=value.dtype, device=value.device).unsqueeze(1).expand(m, *value.shape)
    if m <= LOOPED or not value.shape[0]:
        return torch.stack([pull(unit) for unit in units], 1) if m else pull(value).unsqueeze(1)[:, :0]
    return (torch.func.vmap(pull)(units) if transformed() else pull(units)).transpose(0, 1)


def mixed(value: Tensor, pull: Function, matrix: Tensor) -> bool:
    """Whether rows of what `pulled` returned depend on other rows, so that these derivatives say nothing.

    For cotangents that differ from row to row, what comes back would be more than each row's own.
    """
    weights = (1.0 + torch.arange(value.shape[0], device=value.device) % 7).to(value.dtype).unsqueeze(-1)
    off = (pull(weights.expand_as(value).contiguous()) - weights * matrix.sum(-2)).abs()
    size = 7 * matrix.abs().sum(-2).amax(-1, keepdim=True)
    return bool((off > torch.finfo(value.dtype).eps ** 0.5 * size).any())


def _columns(f: Function, y: Tensor, tape: bool) -> Tensor:
    """The Jacobian by forward mode, one variable after the other."""
    units = torch.eye(y.shape[-1], dtype=y.dtype, device=y.device)
    with torch.set_grad_enabled(tape):
        return torch.stack([torch.func.jvp(f, (y,), (unit.expand_as(y),))[1] for unit in units], -1)
