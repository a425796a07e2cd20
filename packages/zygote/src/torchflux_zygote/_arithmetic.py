"""Rules for the operators: of numbers and arrays by formula, of sequences, and of objects by their methods."""

import math
import operator
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import _dicts, _lists
from ._cotangent import Thunk
from ._formulas import BINARY, REAL, add_formula, matmul_formula, mul_formula, sub_formula
from ._kinds import NUMERIC, fit, inert, is_numeric
from ._pull import library, pull
from ._refuse import Refused, describe
from ._registry import NONES, PULL, finish, none, raw
from ._run import STATE

__all__ = ["UNARY", "attempts", "own_operator", "sign"]

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]

# Numbers first: this is the inner loop of programs on floats.


@raw(operator.add)
def add(a: Any, b: Any) -> Pulled:
    if type(a) in REAL and type(b) in REAL:
        return a + b, lambda ȳ: (ȳ, ȳ)
    if type(a) is Tensor and type(b) is Tensor:
        return of_tensors(a, b, a + b, _add_alike if alike(a, b) else add_formula)
    return general(operator.add, a, b)


@raw(operator.sub)
def sub(a: Any, b: Any) -> Pulled:
    if type(a) in REAL and type(b) in REAL:
        return a - b, lambda ȳ: NONES[2] if ȳ is None else (ȳ, -ȳ)
    if type(a) is Tensor and type(b) is Tensor:
        return of_tensors(a, b, a - b, _sub_alike if alike(a, b) else sub_formula)
    return general(operator.sub, a, b)


@raw(operator.mul)
def mul(a: Any, b: Any) -> Pulled:
    if type(a) in REAL and type(b) in REAL:
        return a * b, lambda ȳ: NONES[2] if ȳ is None else (ȳ * b, ȳ * a)
    if type(a) is Tensor and type(b) is Tensor:
        return of_tensors(a, b, a * b, _mul_alike if alike(a, b) else mul_formula)
    return general(operator.mul, a, b)


@raw(operator.truediv)
def truediv(a: Any, b: Any) -> Pulled:
    if type(a) in REAL and type(b) in REAL:
        y = a / b
        return y, lambda ȳ: NONES[2] if ȳ is None else (ȳ / b, -ȳ * y / b)
    return general(operator.truediv, a, b)


def of_tensors(a: Any, b: Any, y: Any, formula: Any) -> Pulled:
    """`y` of two tensors, none of them a parameter: what flows to them needs no way of its own."""

    def back(ȳ: Any) -> tuple[Any, ...]:
        if type(ȳ) is Tensor and not STATE.sweep.marks:
            return formula(a, b, y, ȳ)
        return finish(partial(formula, a, b, y), (a, b), y, ȳ)

    return y, back


REALS = {torch.float32, torch.float64, torch.float16, torch.bfloat16}


def real(a: Any, b: Any) -> bool:
    """Whether two tensors are of one dtype, of real numbers."""
    return a.dtype is b.dtype and a.dtype in REALS


def alike(a: Any, b: Any) -> bool:
    """Whether the cotangents of two tensors and of what they give have one shape and dtype."""
    return a.shape == b.shape and real(a, b)


def _add_alike(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return ȳ, ȳ


def _sub_alike(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return ȳ, Thunk(lambda: -ȳ)


def _mul_alike(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return ȳ * b, ȳ * a


def _matmul_of_matrices(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return Thunk(lambda: ȳ @ b.t()), Thunk(lambda: a.t() @ ȳ)


def general(op: Any, a: Any, b: Any) -> Pulled:
    """`op(a, b)` of anything."""
    name, formula = BINARY[op]
    known = type(a) in NUMERIC and type(b) in NUMERIC
    if known or (is_numeric(a) and is_numeric(b)):
        if not known and own_operator(name, a, b):
            return by_method(op, name, a, b)
        y = op(a, b)
        args = (a, b)
        return y, partial(finish, partial(formula, a, b, y), args, y)
    if isinstance(a, list | tuple) or isinstance(b, list | tuple):
        special = _of_sequence(op, a, b)
        if special is not None:
            return special
    if isinstance(a, str | bytes) or (inert(a) and inert(b)):
        return op(a, b), none(2)
    return by_method(op, name, a, b)


def own_operator(name: str, a: Any, b: Any) -> bool:
    """Whether a number is of a class of one's own that has the operator."""
    return any(
        type(x) not in NUMERIC
        and isinstance(f := getattr(type(x), dunder, None), FunctionType)
        and library(f) not in _LIBRARIES
        for x, dunder in ((a, f"__{name}__"), (b, f"__r{name}__"))
    )


_LIBRARIES = ("torch", "numpy")


def _of_sequence(op: Any, a: Any, b: Any) -> Pulled | None:
    if op is operator.add and isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return _lists.concatenate(a, b)
    if op is operator.mul and isinstance(a, list | tuple) and isinstance(b, int):
        return _lists.repeat(a, b)
    if op is operator.mul and isinstance(b, list | tuple) and isinstance(a, int):
        y, back = _lists.repeat(b, a)
        return y, lambda ȳ: back(ȳ)[::-1]
    if isinstance(a, np.ndarray | np.generic | Tensor) or isinstance(b, np.ndarray | np.generic | Tensor):
        raise Refused("arithmetic of an array and a list", "make an array of the list first")
    return None


def by_method(op: Any, name: str, a: Any, b: Any) -> Pulled:
    """`op(a, b)` by the methods of the operands, as Python does it."""
    for x, other, dunder, swapped in attempts(name, a, b):
        found = getattr(type(x), dunder, None)
        if found is None:
            continue
        if not isinstance(found, FunctionType):
            if is_numeric(x) or isinstance(x, str | list | tuple):
                continue  # it knows nothing of the other's class
            return _native(op, a, b)
        y, back = pull(found, x, other)
        if y is not NotImplemented:
            return y, (lambda ȳ, back=back: back(ȳ)[::-1]) if swapped else back
    raise TypeError(f"unsupported operand types for {op.__name__}: {type(a).__name__!r} and {type(b).__name__!r}")


def attempts(name: str, a: Any, b: Any) -> list[tuple[Any, Any, str, bool]]:
    left, right = (a, b, f"__{name}__", False), (b, a, f"__r{name}__", True)
    mine = type(b) is not type(a) and issubclass(type(b), type(a))
    return [right, left] if mine else [left] if type(a) is type(b) else [left, right]


def _native(op: Any, a: Any, b: Any) -> Pulled:
    if isinstance(a, dict | set | frozenset) and isinstance(b, dict | set | frozenset):
        return _dicts_or(op, a, b)
    raise Refused(f"{op.__name__} of {describe(type(a))} and {describe(type(b))}", "convert them first")


def _dicts_or(op: Any, a: Any, b: Any) -> Pulled:
    if isinstance(a, dict):
        y, back = pull(_dicts.merge, a, b)
        return y, back
    return op(a, b), none(2)


@raw(operator.matmul)
def matmul(a: Any, b: Any) -> Pulled:
    if type(a) is Tensor and type(b) is Tensor:
        return of_tensors(a, b, a @ b, _matmul_of_matrices if a.ndim == 2 == b.ndim and real(a, b) else matmul_formula)
    return general(operator.matmul, a, b)


for _op in BINARY:
    if _op not in PULL:
        PULL[_op] = partial(general, _op)


# One operand.

UNARY: dict[Any, tuple[str, Callable[[Any], Any]]] = {
    operator.neg: ("neg", lambda ȳ: -ȳ),
    operator.pos: ("pos", lambda ȳ: ȳ),
    operator.invert: ("invert", lambda ȳ: None),
}


def unary(op: Any, x: Any) -> Pulled:
    """`op(x)` of anything."""
    name, formula = UNARY[op]
    if is_numeric(x):
        y = op(x)
        return y, partial(finish, lambda ȳ: (fit(formula(ȳ), x),), (x,), y)
    return pull(getattr(type(x), f"__{name}__"), x)


for _op in UNARY:
    PULL[_op] = partial(unary, _op)


@raw(abs, operator.abs)
def _abs(x: Any) -> Pulled:
    if not is_numeric(x):
        return pull(type(x).__abs__, x)
    y = abs(x)
    return y, partial(finish, lambda ȳ: (fit(ȳ * sign(x, y), x),), (x,), y)


def sign(x: Any, size: Any) -> Any:
    """The derivative of |x|: the sign, 0 at 0; x/|x| for complex x."""
    if isinstance(x, Tensor):
        return torch.sgn(x)
    if isinstance(x, np.ndarray | np.generic):
        return x / np.where(x == 0, 1.0, size) if np.iscomplexobj(x) else np.sign(x)
    return (x / size if isinstance(x, complex) else math.copysign(1.0, x)) if x != 0 else 0.0
