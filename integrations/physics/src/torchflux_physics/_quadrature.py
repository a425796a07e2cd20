"""Integrals inside a residual: integro-differential equations."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

from ._field import Field

__all__ = ["integral"]


def integral(f: Callable[[Any], Any], low: Any, high: Any, *, nodes: int = 20) -> Any:
    """∫ f(s) ds from `low` to `high`, by the Gauss-Legendre rule: exact for polynomials of degree 2 nodes - 1.

    **Arguments:**

    - `f`: takes all nodes at once, (nodes,), and gives as many values; of a field, `u(s, t)` are those at the nodes.
    - `low`, `high`: numbers, or fields: `integral(lambda s: u(s, t), 0, x)` has derivatives in x.

    >>> import torch
    >>> from torchflux_physics import residuals
    >>> points = torch.tensor([[2.0]], dtype=torch.float64)
    >>> volterra = lambda u, x: u - integral(lambda s: u(s), 0, x)
    >>> residuals(volterra, torch.exp, points, coordinates="x")["residual"]  # eˣ - (eˣ - 1)
    tensor([1.0000], dtype=torch.float64)
    """
    like = next((end.value for end in (low, high) if isinstance(end, Field)), torch.zeros(()))
    places, weights = (torch.as_tensor(a, dtype=like.dtype, device=like.device) for a in _rule(nodes))
    half = (high - low) / 2
    values = f(low + half * (1 + places))
    return torch.sum(values * weights) * half


@cache
def _rule(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(nodes)
