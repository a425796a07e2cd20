"""Torch functions that take Python numbers which may have derivatives: bounds, slopes, fills; and NumPy's arrays.

PyTorch itself has no derivative by any of these numbers.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ._forward_rules import spread, total
from ._forward_torch import applied
from ._kinds import conj, fit
from ._push import some
from ._refuse import Refused
from ._registry import NONES, PULL, PUSH, SUBSTITUTES, constant, pushes, raw, rule
from ._torch_made import tensor_of

__all__: list[str] = []

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]


# Said in other functions.


def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """`torch.clamp`."""
    y = input if min is None else torch.where(input < min, min, input)
    return y if max is None else torch.where(y > max, max, y)


def clamp_max(input: Any, max: Any) -> Any:
    """`torch.clamp_max`."""
    return torch.where(input > max, max, input)


def leaky_relu(input: Any, negative_slope: Any = 0.01, inplace: bool = False) -> Any:
    """`F.leaky_relu`."""
    if inplace:
        raise out_of_place(F.leaky_relu)
    return torch.where(input > 0, input, input * negative_slope)


def out_of_place(f: Any) -> Exception:
    return Refused(f"{f.__name__} with inplace=True", "use what it returns")


constant(out_of_place)
SUBSTITUTES.update(dict.fromkeys((torch.clamp, Tensor.clamp, torch.clip, Tensor.clip), clamp))
SUBSTITUTES.update(dict.fromkeys((torch.clamp_min, Tensor.clamp_min), clamp))
SUBSTITUTES.update(dict.fromkeys((torch.clamp_max, Tensor.clamp_max), clamp_max))
SUBSTITUTES[F.leaky_relu] = leaky_relu


# `torch.add(a, b, alpha=c)` and `torch.sub(a, b, alpha=c)`.


def scaled(sign: float, f: Any, a: Any, b: Any, alpha: Any) -> Any:
    """a ± alpha b, in one operation."""
    return f(a, b, alpha=alpha)


@rule(scaled)
def _scaled(sign: float, f: Any, a: Any, b: Any, alpha: Any) -> Pulled:
    def back(ȳ: Any) -> tuple[Any, ...]:
        ȳ_b = sign * ȳ
        return None, None, fit(ȳ, a), fit(ȳ_b * conj(alpha), b), fit(ȳ_b * conj(b), alpha)

    return scaled(sign, f, a, b, alpha), back


@pushes(scaled)
def _push_scaled(push: Any, args: Any, dots: Any, names: Any) -> Any:
    sign, f, a, b, alpha = args
    y = scaled(sign, f, a, b, alpha)
    by_b = None if dots[3] is None else sign * alpha * dots[3]
    return y, total(y, (dots[2], by_b, None if dots[4] is None else sign * dots[4] * b))


def _pull_scaled(sign: float, f: Any, plain: Any, *args: Any, **kwargs: Any) -> Pulled:
    if tuple(kwargs) != ("alpha",) or len(args) != 2:
        return plain(*args, **kwargs)
    y, back = PULL[scaled](sign, f, *args, kwargs["alpha"])
    return y, lambda ȳ: back(ȳ)[2:]


def _push_scaled_call(sign: float, f: Any, plain: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    if names == ("alpha",) and len(args) == 3:
        return push(scaled, (sign, f, *args), (None, None, *dots))
    return plain(push, args, dots, names)


for _sign, _f in ((1.0, torch.add), (1.0, Tensor.add), (-1.0, torch.sub), (-1.0, Tensor.sub)):
    PULL[_f] = partial(_pull_scaled, _sign, _f, PULL[_f])
    PUSH[_f] = partial(_push_scaled_call, _sign, _f, PUSH[_f])


# Making tensors of numbers.


def share(y: Any, options: Any) -> Any:
    """How much of the last number there is in each entry of `linspace`."""
    return torch.linspace(0, 1, len(y), dtype=y.dtype, device=y.device)


@rule(torch.linspace)
def linspace(start: Any, end: Any, steps: int, **options: Any) -> Pulled:
    y = torch.linspace(start, end, steps, **options)

    def back(ȳ: Any) -> tuple[Any, ...]:
        part = share(y, options)
        return fit((ȳ * (1 - part)).sum(), start), fit((ȳ * part).sum(), end)

    return y, back


@pushes(torch.linspace)
def _push_linspace(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(torch.linspace, args, names)
    if not some(dots[:2]):
        return y, None
    part = share(y, names)
    a, b = 0.0 if dots[0] is None else dots[0], 0.0 if dots[1] is None else dots[1]
    return y, a * (1 - part) + b * part


constant(share)


@rule(Tensor.new_full)
def new_full(input: Any, size: Any, fill_value: Any, **options: Any) -> Pulled:
    y = input.new_full(size, fill_value, **options)
    return y, lambda ȳ: (None, None, fit(ȳ, fill_value))


@pushes(Tensor.new_full)
def _push_new_full(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(Tensor.new_full, args, names)
    return y, None if dots[2] is None else spread(dots[2], y)


@raw(torch.scalar_tensor)
def scalar_tensor(s: Any, **options: Any) -> Pulled:
    y, back = tensor_of(s, {"dtype": torch.get_default_dtype(), **options})
    return y, lambda ȳ: back(ȳ)[:1] + NONES[len(options)]


@pushes(torch.scalar_tensor)
def _push_scalar_tensor(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(torch.scalar_tensor, args, names)
    return y, None if dots[0] is None else spread(dots[0], y)


def new_tensor(input: Any, data: Any) -> Any:
    """`Tensor.new_tensor`."""
    return torch.tensor(data, dtype=input.dtype, device=input.device)


SUBSTITUTES[Tensor.new_tensor] = new_tensor


# NumPy's arrays and PyTorch's of the same memory.


@rule(torch.from_numpy)
def from_numpy(array: Any) -> Pulled:
    return torch.from_numpy(array), lambda ȳ: (fit(ȳ, array),)


@rule(Tensor.numpy)
def numpy(x: Any, **options: Any) -> Pulled:
    y = x.numpy(**options)
    return y, lambda ȳ: (fit(torch.as_tensor(np.ascontiguousarray(ȳ)), x),)


@pushes(torch.from_numpy, Tensor.numpy)
def _push_between(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return between(args[0]), None if dots[0] is None else between(dots[0])


def between(x: Any) -> Any:
    """An array as a tensor, a tensor as an array."""
    return x.numpy() if isinstance(x, Tensor) else torch.from_numpy(np.array(x))


@rule(between)
def _between(x: Any) -> Pulled:
    return between(x), lambda ȳ: (fit(between(ȳ), x),)


PUSH[between] = _push_between
