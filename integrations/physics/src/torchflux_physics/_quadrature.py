"""Integrals inside a residual: integro-differential equations."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._field import Field

__all__ = ["integral"]


def integral(f: Callable[[Any], Any], low: Any, high: Any, *, nodes: int = 20) -> Any:
    """∫ f(s) ds from `low` to `high`, by the Gauss-Legendre rule: exact for polynomials of degree 2 nodes - 1.

    **Arguments:**

    - `f`: takes all nodes at once, (nodes,), and gives as many values; of a field, `u(s, t)` are those at the nodes. It
      may be an integral itself, over other nodes.
    - `low`, `high`: numbers, or fields: `integral(lambda s: u(s, t), 0, x)` has derivatives in x.

    **Raises:** `ValueError` where `f` gives more than a number at a node.

    >>> import torch
    >>> from torchflux_physics import residuals
    >>> points = torch.tensor([[2.0]], dtype=torch.float64)
    >>> volterra = lambda u, x: u - integral(lambda s: u(s), 0, x)
    >>> residuals(volterra, torch.exp, points, coordinates="x")["residual"]  # eˣ - (eˣ - 1)
    tensor([1.0000], dtype=torch.float64)
    """
    depth = _depth.get()  # inside so many others, each with an axis of its own
    ends = [end.value if isinstance(end, Field) else end for end in (low, high)]
    like = next((end for end in ends if isinstance(end, Tensor)), _coordinate.get(torch.zeros(())))
    places, weights = (torch.as_tensor(a, device=like.device).view(-1, *[1] * depth) for a in _rule(nodes))
    half = (high - low) / 2
    token = _depth.set(depth + 1)
    try:
        values = f(low + half * (1 + places.to(like.dtype)))
    finally:
        _depth.reset(token)
    plain = values.value if isinstance(values, Field) else torch.as_tensor(values, dtype=like.dtype)
    if plain.dim() > depth + 1:
        raise ValueError(f"the integrand gives {tuple(plain.shape)} at {nodes} nodes; one number at each was expected")
    return torch.sum(values * weights.to(plain.real.dtype), -1 - depth) * half


_depth: ContextVar[int] = ContextVar("depth", default=0)
_coordinate: ContextVar[Tensor] = ContextVar("coordinate")


@contextmanager
def at_coordinate(like: Tensor) -> Iterator[None]:
    """While a residual is evaluated: a coordinate, whose dtype integrals between numbers have."""
    token = _coordinate.set(like)
    try:
        yield
    finally:
        _coordinate.reset(token)


@cache
def _rule(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(nodes)
