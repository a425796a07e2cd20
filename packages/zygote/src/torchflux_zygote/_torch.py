"""Rules for the torch functions that programs call most; the others go by `torch_call`.

These are written in torch operations, so that nothing is recorded on the way forward.
"""

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ._cotangent import Thunk
from ._kinds import carries, conj, fit
from ._refuse import Refused, describe
from ._registry import PULL, constant, finish, none, rule
from ._torch_call import torch_call

__all__: list[str] = []

Back = Callable[[Any], tuple[Any, ...]]
Pulled = tuple[Any, Back]


def same_as(op: Any, *functions: Any) -> None:
    """Registers functions of two operands that do what an operator does; with options, PyTorch's derivative."""
    for f in functions:
        if f is None:
            continue

        def pulled(*args: Any, f: Any = f, **kwargs: Any) -> Pulled:
            if len(args) == 2 and not kwargs:
                return PULL[op](*args)
            if isinstance(f, np.ufunc):
                raise Refused(f"{describe(f)} with these options", "leave them out")
            return torch_call(f, args, kwargs)

        pulled.operator = op  # type: ignore[attr-defined]
        PULL[f] = pulled


same_as(operator.add, torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__)
same_as(operator.sub, torch.sub, Tensor.sub, Tensor.__sub__)
same_as(operator.mul, torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, torch.multiply)
same_as(operator.truediv, torch.div, Tensor.div, Tensor.__truediv__, torch.true_divide)
same_as(operator.pow, torch.pow, Tensor.pow, Tensor.__pow__)
same_as(operator.matmul, torch.matmul, Tensor.matmul, torch.mm, Tensor.mm, torch.bmm, Tensor.bmm, Tensor.__matmul__)
same_as(operator.matmul, torch.mv, Tensor.mv, torch.dot, Tensor.dot)


@rule(F.linear)
def linear(input: Any, weight: Any, bias: Any = None) -> Pulled:
    y = F.linear(input, weight, bias)

    def back(ȳ: Any) -> tuple[Any, ...]:
        matrix = weight.ndim == 2
        rows = ȳ if matrix and ȳ.ndim == 2 else ȳ.reshape(-1, weight.shape[0] if matrix else 1)
        b̄ = None if bias is None else fit(rows.sum(0), bias)
        return Thunk(lambda: _to_input(ȳ, weight)), Thunk(lambda: _to_weight(rows, input, weight)), b̄

    return y, back


def _to_input(ȳ: Any, w: Any) -> Any:
    return ȳ @ conj(w) if w.ndim == 2 else ȳ[..., None] * conj(w)


def _to_weight(rows: Any, x: Any, w: Any) -> Any:
    w̄ = rows.t() @ conj(x if x.ndim == 2 else x.reshape(-1, x.shape[-1]))
    return w̄ if w.ndim == 2 else w̄[0]


aten: Any = torch.ops.aten


@rule(torch.relu, Tensor.relu)
def relu(x: Any) -> Pulled:
    y = torch.relu(x)
    return y, lambda ȳ: (aten.threshold_backward.default(ȳ, y, 0),)


@rule(torch.tanh, Tensor.tanh)
def tanh(input: Any) -> Pulled:
    y = torch.tanh(input)
    return y, lambda ȳ: (fit(aten.tanh_backward.default(ȳ, y), input),)


@rule(torch.sigmoid, Tensor.sigmoid)
def sigmoid(input: Any) -> Pulled:
    y = torch.sigmoid(input)
    return y, lambda ȳ: (fit(aten.sigmoid_backward.default(ȳ, y), input),)


def plainly(f: Any, simple: Callable[..., bool]) -> Callable[[Any], Any]:
    """Registers a rule for the calls of `f` that `simple(*args)` is true of; the others go by `torch_call`."""

    def register(made: Any) -> Any:
        def pulled(*args: Any, **kwargs: Any) -> Pulled:
            if kwargs or not simple(*args):
                return torch_call(f, args, kwargs)
            y, back = made(*args)
            return y, partial(finish, back, args, y)

        PULL[f] = pulled
        return made

    return register


plainly(F.relu, lambda x, *inplace: not inplace)(relu)

MEAN, NOT_IGNORED = 1, -100  # the defaults of the losses: their reduction, and the class that doesn't count


@plainly(F.cross_entropy, lambda x, t, *options: not options and x.ndim == 2 and t.dtype == torch.long)
def cross_entropy(input: Any, target: Any) -> Pulled:
    logs = torch.log_softmax(input, 1)
    y, count = aten.nll_loss_forward.default(logs, target, None, MEAN, NOT_IGNORED)

    def back(ȳ: Any) -> tuple[Any, ...]:
        bar = aten.nll_loss_backward.default(ȳ, logs, target, None, MEAN, NOT_IGNORED, count)
        return fit(torch._log_softmax_backward_data(bar, logs, 1, logs.dtype), input), None

    return y, back


@plainly(F.mse_loss, lambda x, t, *options: not options and x.shape == t.shape and x.dtype == t.dtype)
def mse_loss(input: Any, target: Any) -> Pulled:
    def back(ȳ: Any) -> tuple[Any, ...]:
        bar = aten.mse_loss_backward.default(ȳ, input, target, MEAN)
        return bar, Thunk(lambda: -bar)

    return F.mse_loss(input, target), back


@plainly(F.softplus, lambda x, *options: not options)
def softplus(input: Any) -> Pulled:
    return F.softplus(input), lambda ȳ: (ȳ * torch.where(input > 20.0, 1.0, torch.sigmoid(input)),)


@rule(F.silu)
def silu(input: Any) -> Pulled:
    s = torch.sigmoid(input)
    return input * s, lambda ȳ: (ȳ * (s * (1 + input * (1 - s))),)


@rule(torch.softmax, F.softmax, Tensor.softmax)
def softmax(input: Any, dim: Any = None, *args: Any, **kwargs: Any) -> Pulled:
    y = torch.softmax(input, dim, *args)

    def back(ȳ: Any) -> tuple[Any, ...]:
        weighted = ȳ * y
        return (fit(weighted - y * weighted.sum(dim, keepdim=True), input),)

    return y, back


@rule(torch.log_softmax, F.log_softmax, Tensor.log_softmax)
def log_softmax(input: Any, dim: Any = None, *args: Any) -> Pulled:
    y = torch.log_softmax(input, dim, *args)
    return y, lambda ȳ: (fit(ȳ - y.exp() * ȳ.sum(dim, keepdim=True), input),)


# Reductions.


def _opened(ȳ: Any, x: Any, dim: Any, keepdim: bool) -> Any:
    """The cotangent of a reduction, with the dimensions that were reduced."""
    if dim is not None and not keepdim and ȳ.ndim < x.ndim:
        for d in sorted(i % x.ndim for i in ((dim,) if isinstance(dim, int) else tuple(dim) or range(x.ndim))):
            ȳ = ȳ.unsqueeze(d)
    return ȳ.expand(x.shape)


@rule(torch.sum, Tensor.sum)
def sum(input: Any, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Pulled:
    y = torch.sum(input, dim, keepdim, **kwargs)
    return y, lambda ȳ: (fit(_opened(ȳ, input, dim, keepdim), input),)


@rule(torch.mean, Tensor.mean)
def mean(input: Any, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Pulled:
    y = torch.mean(input, dim, keepdim, **kwargs)
    count = input.numel() // max(y.numel(), 1)
    if dim is None and not kwargs:
        shape = input.shape
        return y, lambda ȳ: ((ȳ / count).expand(shape),)
    return y, lambda ȳ: (fit(_opened(ȳ / count, input, dim, keepdim), input),)


# Choices and conversions.


@rule(torch.where)
def where(condition: Any, input: Any, other: Any) -> Pulled:
    y = torch.where(condition, input, other)

    def back(ȳ: Any) -> tuple[Any, ...]:
        zero = torch.zeros_like(ȳ)
        return None, fit(torch.where(condition, ȳ, zero), input), fit(torch.where(condition, zero, ȳ), other)

    return y, back


def _conversion(f: Any) -> Any:
    def pulled(x: Any, *args: Any, **kwargs: Any) -> Pulled:
        y = f(x, *args, **kwargs)
        given = (x, *args, *kwargs.values())
        if not carries(x) or not carries(y):
            return y, none(len(given))
        return y, partial(finish, lambda ȳ: (fit(ȳ.to(x.device), x),), given, y)

    return pulled


for _f in (
    Tensor.to,
    Tensor.float,
    Tensor.double,
    Tensor.half,
    Tensor.bfloat16,
    Tensor.cpu,
    Tensor.type_as,
    Tensor.type,
):
    PULL[_f] = _conversion(_f)

constant(
    *(
        torch.zeros_like,
        torch.ones_like,
        torch.empty_like,
        torch.rand_like,
        torch.randn_like,
        torch.argmax,
        torch.argmin,
    ),
    *(
        Tensor.detach,
        Tensor.argmax,
        Tensor.argmin,
        Tensor.size,
        Tensor.dim,
        Tensor.numel,
        Tensor.stride,
        Tensor.__len__,
    ),
    *(Tensor.new_zeros, Tensor.new_ones, Tensor.new_empty, Tensor.is_floating_point, Tensor.is_complex, torch.no_grad),
    *(torch.is_tensor, torch.manual_seed, torch.allclose, Tensor.allclose, Tensor.data_ptr, Tensor.is_contiguous),
    *(Tensor.eq, Tensor.ne, Tensor.lt, Tensor.le, Tensor.gt, Tensor.ge, Tensor.bool, Tensor.int, Tensor.long),
    *(Tensor.__repr__, Tensor.__str__, Tensor.__format__, Tensor.__bool__, Tensor.__int__),
)
