"""Derivatives of functions that jets have no rule for, one differentiation inside another.

The first derivative is PyTorch's forward mode. Nested forward mode is silently wrong for some of its operations (the
second derivative of `layer_norm`, as of 2.13), so higher ones are taken by reverse mode twice: a pullback is linear in
its cotangent, and the pullback of that is the pushforward.
"""

from collections.abc import Callable
from math import factorial, prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from ._jet import Jet, component, value_of
from ._multi_index import Index

__all__: list[str] = []


def nested(func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The jets of any function's results. Its arguments are made polynomials in a step of the coordinates."""
    leaves, spec = tree_flatten((args, kwargs))
    jets = [leaf for leaf in leaves if isinstance(leaf, Jet)]

    def call(xs: list[Any]) -> Any:
        moved = iter(xs)
        args, kwargs = tree_unflatten([next(moved) if isinstance(leaf, Jet) else leaf for leaf in leaves], spec)
        with sdpa_kernel(SDPBackend.MATH):  # the others have no second derivative
            return func(*args, **kwargs)

    values, out_spec = tree_flatten(call([value_of(jet) for jet in jets]))
    parts: dict[Index, Any] = {}

    def moving(step: Tensor, index: Index) -> dict[int, Tensor]:
        found = tree_flatten(call([_polynomial(jet, step, index) for jet in jets]))[0]
        return {k: value for k, value in enumerate(found) if _moves(value)}

    def derivative(index: Index) -> dict[int, Tensor]:
        if index not in parts:
            for jet in jets:
                _terms(jet, index)  # before any differentiation: what is computed inside of one can't be kept
            parts[index] = _directional(lambda step: moving(step, index), index, jets[0])
        return parts[index]

    def jet_of(k: int, value: Any) -> Any:
        return Jet(value, lambda _, index: derivative(index)[k], jets[0].evaluation) if _moves(value) else value

    return tree_unflatten([jet_of(k, value) for k, value in enumerate(values)], out_spec)


def _moves(x: Any) -> bool:
    return isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex())


def _directional(func: Callable[[Tensor], Any], index: Index, like: Jet) -> Any:
    """∂func/∂step at no step, one differentiation inside another for each coordinate of the index."""
    zero = torch.zeros(
        max(index) + 1, dtype=like.value.real.dtype if like.is_complex() else like.dtype, device=like.device
    )
    for i in index:
        direction = torch.eye(len(zero), dtype=zero.dtype, device=zero.device)[i]
        func = (_forward if len(index) == 1 else _twice_reverse)(func, direction)
    return func(zero)


def _forward(func: Callable[[Tensor], Any], direction: Tensor) -> Callable[[Tensor], Any]:
    return lambda step: torch.func.jvp(func, (step,), (direction,))[1]


def _twice_reverse(func: Callable[[Tensor], Any], direction: Tensor) -> Callable[[Tensor], Any]:
    def push(step: Tensor) -> Any:
        pair: Any = torch.func.vjp(func, step)
        value, pullback = pair
        zeros = tree_map(torch.zeros_like, value)
        return torch.func.vjp(lambda cotangent: pullback(cotangent)[0], zeros)[1](direction)[0]

    return push


def _polynomial(jet: Jet, step: Tensor, index: Index) -> Tensor:
    """The Taylor polynomial of a jet with the terms that a derivative needs."""
    total = jet.value
    for part, change in _terms(jet, index).items():
        if change is not None:
            weight = prod(factorial(part.count(i)) for i in set(part))
            total = total + change * prod((step[i] for i in part), start=torch.ones_like(step[0])) / weight
    return total


def _terms(jet: Jet, index: Index) -> dict[Index, Tensor | None]:
    """The derivatives of a jet that a derivative of a function of it needs."""
    kept = (tuple(i for i, bit in zip(index, _bits(k, len(index)), strict=True) if bit) for k in range(2 ** len(index)))
    return {part: component(jet, part) for part in sorted(set(kept)) if part}


def _bits(k: int, n: int) -> list[bool]:
    return [bool(k >> i & 1) for i in range(n)]
