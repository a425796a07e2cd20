"""Rules for the shapes of tensors, and for several tensors that become one.

What the shape functions return are views: with tensors that change in place, shadows are viewed alike.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ._cotangent import value
from ._elements import elements
from ._kinds import fit
from ._registry import NONES, PULL, finish, raw, rule
from ._torch_call import torch_call

__all__: list[str] = []

Back = Callable[[Any], tuple[Any, ...]]
Pulled = tuple[Any, Back]


def _shape_rule(f: Any) -> Any:
    def pulled(x: Any, *args: Any, **kwargs: Any) -> Pulled:
        y = f(x, *args, **kwargs)
        count = 1 + len(args) + len(kwargs)
        if not isinstance(x, Tensor):
            return torch_call(f, (x, *args), kwargs)
        shape = x.shape
        return y, partial(finish, lambda ȳ: (ȳ.reshape(shape), *NONES[count - 1]), (x, *args, *kwargs.values()), y)

    return pulled


for _f in (
    *(torch.reshape, Tensor.reshape, Tensor.view, torch.flatten, Tensor.flatten, torch.unsqueeze, Tensor.unsqueeze),
    *(torch.squeeze, Tensor.squeeze, torch.ravel, Tensor.ravel, torch.unflatten, Tensor.unflatten, Tensor.view_as),
    *(Tensor.reshape_as, torch.atleast_1d, torch.atleast_2d),
):
    PULL[_f] = _shape_rule(_f)


@rule(torch.transpose, Tensor.transpose, torch.swapaxes, Tensor.swapaxes, torch.swapdims, Tensor.swapdims)
def transpose(input: Any, dim0: Any, dim1: Any) -> Pulled:
    return input.transpose(dim0, dim1), lambda ȳ: (ȳ.transpose(dim0, dim1),)


@rule(torch.t, Tensor.t)
def t(input: Any) -> Pulled:
    return input.t(), lambda ȳ: (ȳ.t(),)


@rule(torch.permute, Tensor.permute)
def permute(input: Any, *dims: Any) -> Pulled:
    dims = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else dims
    back = [0] * len(dims)
    for i, d in enumerate(dims):
        back[d % len(dims)] = i
    return input.permute(dims), lambda ȳ: (ȳ.permute(back),)


@rule(Tensor.expand, Tensor.expand_as, torch.broadcast_to, Tensor.broadcast_to)
def expand(x: Any, *shape: Any) -> Pulled:
    y = x.expand_as(*shape) if isinstance(shape[0], Tensor) else x.expand(*shape)
    return y, lambda ȳ: (fit(ȳ, x),)


@rule(torch.clone, Tensor.clone, Tensor.contiguous)
def clone(input: Any, **kwargs: Any) -> Pulled:
    return input.clone(**kwargs), lambda ȳ: (ȳ,)


@raw(torch.cat, torch.concat, torch.concatenate)
def cat(tensors: Any, dim: int = 0) -> Pulled:
    parts, give = elements(tensors)
    y = torch.cat(parts, dim)
    sizes = [part.shape[dim] if part.ndim == y.ndim else 0 for part in parts]

    def split(ȳ: Any) -> list[Any]:
        pieces = torch.split(ȳ, sizes, dim)
        return [
            fit(piece, part) if piece.ndim == part.ndim else None for piece, part in zip(pieces, parts, strict=True)
        ]

    return y, _several(parts, give, y, split, 2)


@raw(torch.stack)
def stack(tensors: Any, dim: int = 0) -> Pulled:
    parts, give = elements(tensors)
    y = torch.stack(parts, dim)
    return y, _several(parts, give, y, lambda ȳ: [fit(b, p) for b, p in zip(ȳ.unbind(dim), parts, strict=True)], 2)


def _several(parts: list[Any], give: Any, y: Any, split: Any, count: int) -> Back:
    def back(ȳ: Any) -> tuple[Any, ...]:
        bars = finish(lambda bar: tuple(split(bar)), tuple(parts), y, ȳ)
        return (give(bars), *NONES[count - 1])

    return back


@rule(torch.unbind, Tensor.unbind)
def unbind(input: Any, dim: int = 0) -> Pulled:
    y = input.unbind(dim)

    def back(ȳ: Any) -> tuple[Any, ...]:
        bars = [torch.zeros_like(part) if b is None else value(b) for part, b in zip(y, ȳ, strict=True)]
        return (torch.stack(bars, dim),)

    return y, back
