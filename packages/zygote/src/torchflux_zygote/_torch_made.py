"""Rules for tensors made of numbers, and numbers made of tensors."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ._cotangent import Refusal, value
from ._elements import elements
from ._kinds import carries, fit
from ._pull import pull_function
from ._registry import NONES, finish, none, raw, rule
from ._run import STATE

__all__ = ["tensor_of"]

Back = Callable[[Any], tuple[Any, ...]]
Pulled = tuple[Any, Back]


@raw(torch.tensor)
def tensor(data: Any, **kwargs: Any) -> Pulled:
    return tensor_of(data, kwargs)


@raw(torch.as_tensor)
def as_tensor(data: Any, *dtype: Any, **kwargs: Any) -> Pulled:
    """What is a tensor stays itself, or is copied into another one; an array lends its memory."""
    if not hasattr(data, "__array__"):  # as tensors have, too
        y, back = tensor_of(data, {**dict(zip(("dtype", "device"), dtype, strict=False)), **kwargs})
        return y, lambda ȳ: (back(ȳ)[0], *NONES[len(dtype) + len(kwargs)])
    y = torch.as_tensor(data, *dtype, **kwargs)
    options = (*dtype, *kwargs.values())
    return y, partial(finish, lambda ȳ: (fit(ȳ, data), *NONES[len(options)]), (data, *options), y)


def tensor_of(data: Any, kwargs: dict[str, Any]) -> Pulled:
    """`torch.tensor(data, **kwargs)`, of numbers, arrays and nested lists of them."""
    count = 1 + len(kwargs)
    if isinstance(data, float | complex | Tensor) or hasattr(data, "__array__"):
        y = torch.tensor(data, **kwargs) if not isinstance(data, Tensor) else data.clone().to(**kwargs)
        return y, partial(finish, lambda ȳ: (fit(ȳ, data), *NONES[count - 1]), (data, *kwargs.values()), y)
    if isinstance(data, list | tuple | deque):
        parts, give = elements(data)
        pairs = [tensor_of(part, kwargs) for part in parts]
        y = torch.tensor(_plain(data), **kwargs)

        def back(ȳ: Any) -> tuple[Any, ...]:
            if isinstance(ȳ, Refusal):
                return give([ȳ] * len(parts)), *NONES[count - 1]
            ȳ = value(STATE.sweep.collect(y, (), ȳ) if STATE.sweep.marks else ȳ)
            bars = [b(None if ȳ is None or not carries(y) else ȳ[i].to(x.dtype))[0] for i, (x, b) in enumerate(pairs)]
            return (give(bars), *NONES[count - 1])

        return y, back
    return torch.tensor(data, **kwargs), none(count)


def _plain(x: Any) -> Any:
    if isinstance(x, list | tuple | deque):
        return [_plain(part) for part in x]
    return x.item() if isinstance(x, Tensor) and x.ndim == 0 else x


@rule(Tensor.item, Tensor.__float__)
def item(x: Any) -> Pulled:
    return x.item(), lambda ȳ: (fit(ȳ, x),)


@raw(Tensor.tolist)
def tolist(x: Any) -> Pulled:
    if not carries(x):
        return x.tolist(), none(1)
    return pull_function(_tolist, (x,), {})


def _tolist(x: Any) -> Any:
    return [_tolist(row) for row in x] if x.ndim > 0 else x.item()


@rule(torch.full)
def full(size: Any, fill_value: Any, **kwargs: Any) -> Pulled:
    y = torch.full(size, fill_value, **kwargs)
    return y, lambda ȳ: (None, fit(ȳ, fill_value))


@rule(torch.full_like)
def full_like(input: Any, fill_value: Any, **kwargs: Any) -> Pulled:
    y = torch.full_like(input, fill_value, **kwargs)
    return y, lambda ȳ: (None, fit(ȳ, fill_value))
