"""Forward rules of operators and of the element-wise functions. Ordinary Python."""

import operator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._arithmetic import UNARY, own_operator, sign
from ._attributes import getattr_kind
from ._elementwise import FORMULAS, LOGARITHMS
from ._formulas import BINARY, pow_growth, pow_slope
from ._kinds import carries, conj, fit, is_numeric, ratio
from ._refuse import Refused, describe
from ._registry import PUSH, constant, finish, pushes, raw, rule

__all__ = ["spread", "weighted"]

constant(carries, is_numeric, getattr_kind)


def spread(dot: Any, y: Any) -> Any:
    """A tangent in the shape and type of y."""
    if isinstance(y, Tensor):
        dot = torch.as_tensor(dot, dtype=None if isinstance(dot, Tensor) else y.dtype, device=y.device)
        return dot.to(y.dtype).expand(y.shape) if dot.shape != y.shape or dot.dtype != y.dtype else dot
    if isinstance(y, np.ndarray):
        dot = np.asarray(dot)
        return np.broadcast_to(dot.astype(y.dtype), y.shape) if dot.shape != y.shape or dot.dtype != y.dtype else dot
    return fit(dot, y)


@rule(spread)
def _spread(dot: Any, y: Any) -> Any:
    return spread(dot, y), lambda ȳ: (fit(ȳ, dot),)


@pushes(spread)
def _push_spread(push: Any, args: Any, dots: Any, names: Any) -> Any:
    dot, y = args
    return spread(dot, y), None if dots[0] is None else spread(dots[0], y)


@rule(conj)
def _conj(x: Any) -> Any:
    return conj(x), lambda ȳ: (conj(ȳ),)


@pushes(conj)
def _push_conj(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return conj(args[0]), None if dots[0] is None else conj(dots[0])


@raw(ratio)
def _ratio(a: Any, b: Any) -> Any:
    y = ratio(a, b)
    return y, partial(finish, partial(BINARY[operator.truediv][1], a, b, y), (a, b), y)


@rule(fit)
def _fit(bar: Any, x: Any) -> Any:
    return fit(bar, x), lambda ȳ: (spread(ȳ, bar),)


def total(y: Any, parts: Any) -> Any:
    """The sum of the parts of a tangent of y; None where there are none."""
    found = None
    for part in parts:
        if part is not None:
            found = part if found is None else found + part
    return None if found is None else spread(found, y)


def weighted(y: Any, slopes: Any, dots: Any) -> Any:
    """Σ slope · tangent, in the shape of y."""
    parts = []
    for i in range(len(slopes)):
        if dots[i] is not None:
            parts.append(dots[i] * slopes[i])
    return total(y, parts)


def _formula(f: Any, formula: Any, library: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    if len(names) > 0 or len(args) != arity_of(formula):
        return push(with_options(f), args, dots, names)
    y = f(*args)
    return y, weighted(y, formula(*args, y, library), dots)


def arity_of(formula: Any) -> int:
    return formula.__code__.co_argcount - 2


def with_options(f: Any) -> Any:
    """What computes a function with options: a logarithm with a base, or PyTorch's derivative."""
    from ._forward_torch import push_general
    from ._pull import library

    if f in LOGARITHMS:
        return LOGARITHMS[f]
    if library(f) != "torch" and not hasattr(f, "__objclass__"):
        raise Refused(f"{describe(f)} with these options", "leave them out, and apply them by separate functions")
    options = f"{describe(f)} with options"
    PUSH[options] = partial(push_general, f)
    return options


constant(arity_of, with_options)

for _f, (_form, _lib) in FORMULAS.items():
    PUSH[_f] = partial(_formula, _f, _form, _lib)


# Operators.


def _add(a: Any, b: Any, y: Any, a_dot: Any, b_dot: Any) -> Any:
    return total(y, (a_dot, b_dot))


def _sub(a: Any, b: Any, y: Any, a_dot: Any, b_dot: Any) -> Any:
    return total(y, (a_dot, None if b_dot is None else -b_dot))


def _mul(a: Any, b: Any, y: Any, a_dot: Any, b_dot: Any) -> Any:
    return total(y, (None if a_dot is None else a_dot * b, None if b_dot is None else a * b_dot))


def _truediv(a: Any, b: Any, y: Any, a_dot: Any, b_dot: Any) -> Any:
    return total(y, (None if a_dot is None else ratio(a_dot, b), None if b_dot is None else -ratio(y * b_dot, b)))


def _mod(a: Any, b: Any, y: Any, a_dot: Any, b_dot: Any) -> Any:
    return total(y, (a_dot, None if b_dot is None else -(a // b) * b_dot))


def _pow(a: Any, b: Any, y: Any, a_dot: Any, b_dot: Any) -> Any:
    first = None if a_dot is None else a_dot * pow_slope(a, b)
    return total(y, (first, None if b_dot is None else b_dot * pow_growth(a, b, y)))


def _matmul(a: Any, b: Any, y: Any, a_dot: Any, b_dot: Any) -> Any:
    return total(y, (None if a_dot is None else a_dot @ b, None if b_dot is None else a @ b_dot))


def _none(a: Any, b: Any, y: Any, a_dot: Any, b_dot: Any) -> Any:
    return None


_FORWARD = {
    operator.add: _add,
    operator.sub: _sub,
    operator.mul: _mul,
    operator.truediv: _truediv,
    operator.mod: _mod,
    operator.pow: _pow,
    operator.matmul: _matmul,
    ratio: _truediv,
}


def _binary(op: Any, formula: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    a, b = args
    if is_numeric(a) and is_numeric(b) and not own_operator(method_of(op), a, b):
        y = op(a, b)
        return y, formula(a, b, y, dots[0], dots[1])
    from ._forward_containers import of_sequences

    return of_sequences(push, op, args, dots)


def method_of(op: Any) -> str:
    return BINARY[op][0] if op in BINARY else "truediv"


constant(own_operator, method_of)


for _op in (*BINARY, ratio):
    PUSH[_op] = partial(_binary, _op, _FORWARD.get(_op, _none))


def _neg(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if not is_numeric(args[0]):
        return push(type(args[0]).__neg__, args, dots)
    return -args[0], None if dots[0] is None else -dots[0]


def _pos(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if not is_numeric(args[0]):
        return push(type(args[0]).__pos__, args, dots)
    return +args[0], dots[0]


def _invert(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if not is_numeric(args[0]):
        return push(type(args[0]).__invert__, args, dots)
    return ~args[0], None


PUSH.update(zip(UNARY, (_neg, _pos, _invert), strict=True))


@pushes(abs, operator.abs)
def _abs(push: Any, args: Any, dots: Any, names: Any) -> Any:
    x = args[0]
    if not is_numeric(x):
        return push(type(x).__abs__, args, dots)
    y = abs(x)
    return y, None if dots[0] is None else real_of(dots[0] * conj(sign(x, y)), y)


def real_of(x: Any, y: Any) -> Any:
    """The real part of a tangent of a real result."""
    return x.real if is_complex(x) and not is_complex(y) else x


def is_complex(x: Any) -> bool:
    return x.is_complex() if isinstance(x, Tensor) else np.iscomplexobj(x)


constant(is_complex)


# Conversions.


@pushes(float)
def _float(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if len(args) == 0 or isinstance(args[0], str):
        return float(*args), None
    if not is_numeric(args[0]):
        return push(type(args[0]).__float__, args, dots)
    y = float(args[0])
    return y, None if dots[0] is None else spread(dots[0], y)


@pushes(complex)
def _complex(push: Any, args: Any, dots: Any, names: Any) -> Any:
    spots = [*range(len(args) - len(names)), *[("real", "imag").index(name) for name in names]]
    y = complex(*[args[spots.index(i)] if i in spots else 0.0 for i in range(2 if 1 in spots else len(spots))])
    parts = [None if dots[i] is None else dots[i] * (1.0, 1.0j)[spots[i]] for i in range(len(args))]
    return y, total(y, parts)


@pushes(round)
def _round(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if not is_numeric(args[0]):
        return push(type(args[0]).__round__, args, dots)
    return round(*args), None


@pushes(pow)
def _power(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return (pow(*args), None) if len(args) > 2 and args[2] is not None else push(operator.pow, args[:2], dots[:2])


@pushes(divmod)
def _divmod(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if not (is_numeric(args[0]) and is_numeric(args[1])):
        from ._forward_containers import of_sequences

        return of_sequences(push, divmod, args, dots)
    rest, dot = push(operator.mod, args, dots)
    return (args[0] // args[1], rest), (None, dot)
