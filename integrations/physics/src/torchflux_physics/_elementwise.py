"""Functions of each element by themselves: the jet of f(x) follows from the slope f'(x).

A slope is written with the ordinary operations on jets, of x and of the result y, so its own derivatives, and with them
those of any order, are there too.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._jet import RULES, Jet, chained, product_rule, value_of
from ._multi_index import Index

__all__ = ["rule"]

Slope = Callable[..., Any]

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""Klambauer et al. (2017), arXiv:1706.02515."""


def rule(func: Callable[..., Tensor]) -> Callable[[Slope], Slope]:
    """Teaches jets a function of each element: decorate its slope, which takes the argument and the result.

    The slope is written with operations that jets know; where higher derivatives are wanted, it is differentiated too.
    For functions of your own, or of several arguments, use `torchflux.adjoint(jvp=...)`.

    >>> import torch
    >>> @rule(torch.special.i0)
    ... def _(x, y):
    ...     return torch.special.i1(x)
    """

    def decorated(slope: Slope) -> Slope:
        RULES[func] = _elementwise(func, slope)
        return slope

    return decorated


def forms(name: str) -> Iterator[Any]:
    """What PyTorch offers under a name: the function, the method, and those of its sub-namespaces."""
    for place in (torch, Tensor, F, torch.special, torch.linalg):
        found = getattr(place, name, None)
        if callable(found):
            yield found


def _elementwise(func: Callable[..., Tensor], slope: Slope) -> Callable[..., Any]:
    def apply(x: Any, *args: Any, **kwargs: Any) -> Any:
        return chained(func(x.value, *args, **kwargs), x, lambda x, y: slope(x, y, *args, **kwargs))

    return _or_in_place(apply)


def _or_in_place(apply: Callable[..., Any]) -> Callable[..., Any]:
    """A function with the option `inplace`."""
    return lambda *args, inplace=False, **kwargs: (in_place(apply) if inplace else apply)(*args, **kwargs)


def in_place(apply: Callable[..., Any]) -> Callable[..., Any]:
    """An operation that changes its first argument, from which nothing has been made yet, as it would change too."""

    def changed(x: Any, *args: Any, **kwargs: Any) -> Jet:
        if not isinstance(x, Jet):
            raise NotImplementedError(
                "a tensor of constants is changed in place by what follows from the coordinates: make a new one, a + b"
            )
        if x.value._is_view() or x.taken:
            raise NotImplementedError(
                "an operation in place on a view, or on a tensor that something else was made of before, isn't known "
                "to jets: make a new one, y = y + z for y += z"
            )
        before = Jet(x.value, x.derive, x.evaluation)
        before.known, before.slope = x.known, x.slope
        after = apply(before, *args, **kwargs)
        x.value, x.derive, x.known, x.slope = after.value, after.derive, after.known, after.slope
        return x

    return changed


SMOOTH: dict[str, Slope] = {
    "exp": lambda x, y: y,
    "exp2": lambda x, y: math.log(2) * y,
    "expm1": lambda x, y: y + 1,
    "log": lambda x, y: x.reciprocal(),
    "log2": lambda x, y: x.reciprocal() / math.log(2),
    "log10": lambda x, y: x.reciprocal() / math.log(10),
    "log1p": lambda x, y: (1 + x).reciprocal(),
    "sin": lambda x, y: torch.cos(x),
    "cos": lambda x, y: -torch.sin(x),
    "tan": lambda x, y: 1 + y * y,
    "asin": lambda x, y: torch.rsqrt(1 - x * x),
    "arcsin": lambda x, y: torch.rsqrt(1 - x * x),
    "acos": lambda x, y: -torch.rsqrt(1 - x * x),
    "arccos": lambda x, y: -torch.rsqrt(1 - x * x),
    "atan": lambda x, y: (1 + x * x).reciprocal(),
    "arctan": lambda x, y: (1 + x * x).reciprocal(),
    "sinh": lambda x, y: torch.cosh(x),
    "cosh": lambda x, y: torch.sinh(x),
    "tanh": lambda x, y: 1 - y.square(),
    "asinh": lambda x, y: torch.rsqrt(1 + x * x),
    "arcsinh": lambda x, y: torch.rsqrt(1 + x * x),
    "acosh": lambda x, y: torch.rsqrt(x * x - 1),
    "arccosh": lambda x, y: torch.rsqrt(x * x - 1),
    "atanh": lambda x, y: (1 - x * x).reciprocal(),
    "arctanh": lambda x, y: (1 - x * x).reciprocal(),
    "sqrt": lambda x, y: 0.5 * y.reciprocal(),
    "rsqrt": lambda x, y: -0.5 * y * y * y,
    "reciprocal": lambda x, y: -y * y,
    "square": lambda x, y: 2 * x,
    "sigmoid": lambda x, y: y * (1 - y),
    "expit": lambda x, y: y * (1 - y),
    "erf": lambda x, y: 2 / math.sqrt(math.pi) * torch.exp(-x * x),
    "erfc": lambda x, y: -2 / math.sqrt(math.pi) * torch.exp(-x * x),
    "softplus": lambda x, y, beta=1, threshold=20: torch.where(beta * x > threshold, 1.0, torch.sigmoid(beta * x)),
    "logsigmoid": lambda x, y: torch.sigmoid(-x),
    "silu": lambda x, y: torch.sigmoid(x) + y * torch.sigmoid(-x),
    "mish": lambda x, y: _mish_slope(x),
    "gelu": lambda x, y, approximate="none": _gelu_slope(x, approximate),
    # Smooth once, or piecewise: away from the joints these are the derivatives.
    "elu": lambda x, y, alpha=1.0: torch.where(x > 0, 1.0, y + alpha),
    "celu": lambda x, y, alpha=1.0: torch.where(x > 0, 1.0, y / alpha + 1),
    "selu": lambda x, y: torch.where(x > 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA),
    "softsign": lambda x, y: (1 - y.abs()) * (1 - y.abs()),
    "hardswish": lambda x, y: torch.where(x.abs() < 3, x / 3 + 0.5, (x > 0).to(x.dtype)),
}
KINKED: dict[str, Slope] = {
    "relu": lambda x: x > 0,
    "relu6": lambda x: (x > 0) & (x < 6),
    "abs": torch.sign,
    "absolute": torch.sign,
    "__abs__": torch.sign,
    "leaky_relu": lambda x, negative_slope=0.01: torch.where(x > 0, torch.ones_like(x), negative_slope),
    "hardtanh": lambda x, min_val=-1.0, max_val=1.0: (x > min_val) & (x < max_val),
    "hardsigmoid": lambda x: (x.abs() < 3).to(x.dtype) / 6,
    "clamp": lambda x, min=None, max=None: _within(x, min, max),
    "clip": lambda x, min=None, max=None: _within(x, min, max),
    "clamp_min": lambda x, min: _within(x, min, None),
    "clamp_max": lambda x, max: _within(x, None, max),
    "nan_to_num": lambda x, nan=0.0, posinf=None, neginf=None: x.isfinite(),
    "threshold": lambda x, threshold, value: x > threshold,
    "softshrink": lambda x, lambd=0.5: x.abs() > lambd,
    "hardshrink": lambda x, lambd=0.5: x.abs() > lambd,
}
INNOCENT = ("abs", "absolute", "__abs__", "clamp", "clip", "clamp_min", "clamp_max", "nan_to_num")
"""Kinks that formulas have, rather than activations: no warning for these."""
STEPS = ("floor", "ceil", "round", "trunc", "sign", "heaviside", "sgn")


def _mish_slope(x: Jet) -> Any:
    gate = torch.tanh(F.softplus(x))
    return gate + x * (1 - gate * gate) * torch.sigmoid(x)


def _gelu_slope(x: Jet, approximate: str) -> Any:
    """Of x Φ(x), or of its approximation by tanh (Hendrycks & Gimpel, 2016, arXiv:1606.08415)."""
    if approximate == "none":
        return 0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    inner, inner_slope = x + 0.044715 * x * x * x, 1 + 3 * 0.044715 * x * x
    gate = torch.tanh(math.sqrt(2 / math.pi) * inner)
    return 0.5 * (1 + gate) + 0.5 * x * (1 - gate * gate) * math.sqrt(2 / math.pi) * inner_slope


def _within(x: Tensor, low: Any, high: Any) -> Tensor:
    inside = torch.ones_like(x, dtype=torch.bool)
    if low is not None:
        inside = inside & (x > low)
    return inside if high is None else inside & (x < high)


def warn_of_pieces(name: str, order: int) -> None:
    warnings.warn(
        f"a derivative of order {order} is taken through {name}, which consists of straight pieces: its own second "
        "derivative is zero. Use a smooth activation (tanh, gelu, swish, sin).",
        stacklevel=3,
    )


def _clamped(x: Any, min: Any = None, max: Any = None) -> Any:
    """Between bounds that depend on the coordinates."""
    x = x if min is None else torch.maximum(x, min)
    return x if max is None else torch.minimum(x, max)


def _kinked(name: str, func: Callable[..., Tensor], slope: Slope) -> Callable[..., Any]:
    """A function of straight pieces: its second derivative is zero, which is seldom what an equation of it means."""

    def apply(x: Jet, *args: Any, **kwargs: Any) -> Any:
        if any(isinstance(bound, Jet) for bound in (*args, *kwargs.values())):
            return _clamped(x, *args, **kwargs)
        if x.is_complex():  # the modulus is the only one that complex numbers have
            return torch.sqrt(squared(x))

        def derive(y: Jet, index: Index) -> Tensor | None:
            if len(index) > 1 and name not in INNOCENT:
                warn_of_pieces(name, len(index))
            return product_rule(slope(x.value, *args, **kwargs).to(x.value.dtype), x, index)

        return Jet(func(x.value, *args, **kwargs), derive, x.evaluation)

    return _or_in_place(apply)


def squared(x: Any) -> Any:
    """|x|², of complex numbers too."""
    return torch.real(x * torch.conj(x)) if x.is_complex() else x * x


def _step(func: Callable[..., Tensor]) -> Callable[..., Any]:
    def apply(x: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(x, Jet) and x.is_complex():  # sgn, the only one that complex numbers have
            return x / torch.abs(x)
        return func(*map(value_of, (x, *args)), **kwargs)

    return apply


def _register() -> None:
    for name, slope in SMOOTH.items():
        for func in forms(name):
            RULES[func] = _elementwise(func, slope)
        for func in forms(f"{name}_"):
            RULES[func] = in_place(_elementwise(getattr(torch, name, None) or getattr(F, name), slope))
    for name, slope in KINKED.items():
        for func in forms(name):
            RULES[func] = _kinked(name, func, slope)
        for func in forms(f"{name}_"):
            RULES[func] = in_place(_kinked(name, getattr(torch, name, None) or getattr(F, name), slope))
    for name in STEPS:
        for func in forms(name):
            RULES[func] = _step(func)


_register()
