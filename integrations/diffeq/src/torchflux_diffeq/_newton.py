"""States that an equation determines, for implicit methods; differentiable by the implicit function theorem."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._jacobian import factored, linearized
from ._lanes import greatest, transformed
from ._solver import Slope

__all__ = ["implicit"]

SIMPLE = 5
"""The iterations with the first Jacobian; after them, each has its own."""
MOST = 16
"""The iterations until it has failed."""
DERIVATIVES = 3
"""How often the root can be differentiated; each time takes a slope."""


def implicit(slope: Slope, t: Tensor, dt: Tensor, y: Tensor) -> Tensor:
    """The states `x` (rows, n) with `x = y + dt f(t, x)`; NaN in the rows where Newton's iteration fails.

    The root is found without a tape. From there, an iteration with a tape, but with the root's Jacobian held constant,
    leaves the numbers as they are and makes the first derivative right; the next one the second, and so on.

    Source: Hairer & Wanner (1996), IV.8; Griewank & Walther (2008), 15.1.
    """
    derivatives = DERIVATIVES if torch.is_grad_enabled() or transformed() else 0
    with torch.no_grad():
        now, length = t.detach(), dt.detach()
        x = _root(slope, now, length, y.detach()).detach()
        if derivatives:
            solve = factored(linearized(slope, now, x)[0].detach(), length)
    for _ in range(derivatives):
        x = x + solve(slope(t, x) + (y - x) / dt[:, None])
    return x


def _root(slope: Slope, t: Tensor, dt: Tensor, y: Tensor) -> Tensor:
    """The root by Newton's method, from `y` on: until a change is below what the next one will be nothing beside."""
    x, h = y, dt[:, None]
    enough = torch.finfo(y.dtype).eps ** (2 / 3)
    running, failed = np.ones(len(y), bool), np.zeros(len(y), bool)
    for iteration in range(MOST):
        if iteration == 0 or iteration >= SIMPLE:
            solve = factored(linearized(slope, t, x)[0], dt)
        change = solve(slope(t, x) + (y - x) / h)
        x = torch.where(_mask(running, x), x + change, x)
        scale = torch.maximum(x.abs(), y.abs()).amax(-1).clamp(min=torch.finfo(y.dtype).tiny)
        size = greatest(change.abs().amax(-1) / scale)
        failed |= running & ~np.isfinite(size)
        running &= np.isfinite(size) & (size > enough)
        if not running.any():
            break
    return x.masked_fill(_mask(running | failed, x), float("nan"))


def _mask(rows: NDArray[np.bool_], like: Tensor) -> Tensor:
    """Which rows, as a tensor (rows, 1)."""
    return torch.as_tensor(rows, device=like.device)[:, None]
