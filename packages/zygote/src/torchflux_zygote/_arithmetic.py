"""Rules for the operators: of numbers and arrays by formula, of sequences, and of objects by their methods."""

import math
import operator
from collections import deque
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import _deques, _dicts, _lists
from ._cotangent import Refusal, Scatter, Thunk, value
from ._kinds import NUMBERS, NUMERIC, carries, conj, fit, inert, is_numeric, ratio
from ._pull import library, pull
from ._refuse import Refused, describe
from ._registry import NONES, PULL, finish, none, raw
from ._run import STATE, mark

__all__ = ["BINARY", "IN_PLACE", "UNARY"]

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]
REAL = {float, int, bool}

# What flows to a and to b, for y = a · b on numbers and arrays.


def _add(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return fit(ȳ, a), fit(ȳ, b)


def _sub(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return fit(ȳ, a), fit(-ȳ, b) if carries(b) else None


def _mul(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return fit(ȳ * conj(b), a) if carries(a) else None, fit(ȳ * conj(a), b) if carries(b) else None


def _truediv(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    ā = ratio(ȳ, conj(b))
    return fit(ā, a), fit(-ā * conj(y), b) if carries(b) else None


def _mod(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return fit(ȳ, a), fit(-ȳ * (a // b), b) if carries(b) else None


def _pow(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    ā = fit(ȳ * conj(pow_slope(a, b)), a) if carries(a) else None
    return ā, fit(ȳ * conj(pow_growth(a, b, y)), b) if carries(b) else None


def pow_slope(a: Any, b: Any) -> Any:
    """∂aᵇ/∂a = b aᵇ⁻¹; zero for b = 0, also at a = 0."""
    if type(b) in REAL:
        return 0.0 if b == 0 else 2 * a if b == 2 else b * power(a, b - 1)
    where = torch.where if isinstance(b, Tensor) or isinstance(a, Tensor) else np.where
    b = torch.as_tensor(b) if isinstance(a, Tensor) else b
    return where(b == 0, 0.0 * b, b * power(a, b - 1))


def power(a: Any, b: Any) -> Any:
    """`a ** b` with 0 ** -1 = inf, as arrays have it."""
    try:
        return a**b
    except ZeroDivisionError:
        return math.inf


def pow_growth(a: Any, b: Any, y: Any) -> Any:
    """∂aᵇ/∂b = aᵇ log a; zero at a = 0 (for b ≥ 0), as PyTorch has it."""
    if type(a) in NUMBERS and type(y) in NUMBERS:
        if a == 0:
            return 0.0
        if isinstance(a, complex) or isinstance(y, complex):
            import cmath

            return y * cmath.log(a)
        return y * math.log(a) if a > 0 else math.nan
    if isinstance(y, Tensor):
        a = torch.as_tensor(a, dtype=y.dtype)
        return torch.where(a == 0, torch.zeros_like(y), y * torch.log(a))
    a = np.asarray(a)
    return np.where(a == 0, 0.0 * y, y * np.log(np.where(a == 0, 1.0, a), dtype=np.asarray(y).dtype))


def _matmul(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return Thunk(lambda: _left(a, b, ȳ)), Thunk(lambda: _right(a, b, ȳ))


def _left(a: Any, b: Any, ȳ: Any) -> Any:
    """ā = ȳ bᴴ of y = a @ b."""
    if a.ndim == 1 and b.ndim == 1:
        return fit(ȳ * conj(b), a)
    if b.ndim == 1:
        return fit(ȳ[..., None] * conj(b), a)
    if a.ndim == 1:
        return fit((conj(b) @ ȳ[..., None])[..., 0], a)
    return fit(ȳ @ conj(b).mT, a)


def _right(a: Any, b: Any, ȳ: Any) -> Any:
    """b̄ = aᴴ ȳ of y = a @ b."""
    if a.ndim == 1 and b.ndim == 1:
        return fit(ȳ * conj(a), b)
    if a.ndim == 1:
        return fit(conj(a)[:, None] * ȳ[..., None, :], b)
    if b.ndim == 1:
        return fit((conj(a).swapaxes(-1, -2) @ ȳ[..., None])[..., 0], b)
    return fit(conj(a).mT @ ȳ, b)


def _none(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return None, None


BINARY: dict[Any, tuple[Any, Callable[..., tuple[Any, Any]]]] = {
    operator.add: ("add", _add),
    operator.sub: ("sub", _sub),
    operator.mul: ("mul", _mul),
    operator.truediv: ("truediv", _truediv),
    operator.floordiv: ("floordiv", _none),
    operator.mod: ("mod", _mod),
    operator.pow: ("pow", _pow),
    operator.matmul: ("matmul", _matmul),
    operator.and_: ("and", _none),
    operator.or_: ("or", _none),
    operator.xor: ("xor", _none),
    operator.lshift: ("lshift", _none),
    operator.rshift: ("rshift", _none),
}
"""By operator: the name of its method, and the formula of its cotangents."""


# Numbers first: this is the inner loop of programs on floats.


@raw(operator.add)
def add(a: Any, b: Any) -> Pulled:
    if type(a) in REAL and type(b) in REAL:
        return a + b, lambda ȳ: (ȳ, ȳ)
    if type(a) is Tensor and type(b) is Tensor:
        return of_tensors(a, b, a + b, _add_alike if alike(a, b) else _add)
    return general(operator.add, a, b)


@raw(operator.sub)
def sub(a: Any, b: Any) -> Pulled:
    if type(a) in REAL and type(b) in REAL:
        return a - b, lambda ȳ: NONES[2] if ȳ is None else (ȳ, -ȳ)
    if type(a) is Tensor and type(b) is Tensor:
        return of_tensors(a, b, a - b, _sub_alike if alike(a, b) else _sub)
    return general(operator.sub, a, b)


@raw(operator.mul)
def mul(a: Any, b: Any) -> Pulled:
    if type(a) in REAL and type(b) in REAL:
        return a * b, lambda ȳ: NONES[2] if ȳ is None else (ȳ * b, ȳ * a)
    if type(a) is Tensor and type(b) is Tensor:
        return of_tensors(a, b, a * b, _mul_alike if alike(a, b) else _mul)
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
    for x, other, dunder, swapped in _attempts(name, a, b):
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


def _attempts(name: str, a: Any, b: Any) -> list[tuple[Any, Any, str, bool]]:
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
        return of_tensors(a, b, a @ b, _matmul_of_matrices if a.ndim == 2 == b.ndim and real(a, b) else _matmul)
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
        return np.sign(x)
    return (x / size if isinstance(x, complex) else math.copysign(1.0, x)) if x != 0 else 0.0


# Entries: `x[i]`, `x[i] = v`, `del x[i]`.


@raw(operator.getitem)
def getitem(x: Any, i: Any) -> Pulled:
    kind = type(x)
    if kind is list or kind is tuple:
        return _lists.get_item(x, i)
    if isinstance(x, np.ndarray | Tensor):
        y = x[i]
        if not carries(x):
            return y, none(2)
        return y, partial(finish, lambda ȳ: (Scatter(x, i, fit(ȳ, y)), None), (x, i), y)
    method = getattr(kind, "__getitem__", None)
    if isinstance(method, FunctionType) and kind.__module__.partition(".")[0] != "torch":
        return pull(method, x, i)
    if isinstance(x, list | tuple | deque):
        return _lists.get_item(x, i)
    if isinstance(x, dict):
        return _dicts.get_key(x, i)
    y = x[i]
    if inert(x) or inert(y) or isinstance(y, torch.nn.Module | torch.nn.Parameter | type) or isinstance(x, type):
        return y, none(2)
    raise Refused(f"an entry of {describe(kind)}", "use a list, a dict or an array")


@raw(operator.setitem)
def setitem(x: Any, i: Any, v: Any) -> Pulled:
    kind = type(x)
    if kind is list:
        return _lists.set_item(x, i, v)
    if isinstance(x, np.ndarray | Tensor):
        return set_array(x, i, v)
    method = getattr(kind, "__setitem__", None)
    if isinstance(method, FunctionType):
        return pull(method, x, i, v)
    if isinstance(x, list):
        return _lists.set_item(x, i, v)
    if isinstance(x, deque):
        return _deques.set_item(x, i, v)
    if isinstance(x, dict):
        return _dicts.set_key(x, i, v)
    raise Refused(f"setting an entry of {describe(kind)}", "use a list, a dict or an array")


@raw(operator.delitem)
def delitem(x: Any, i: Any) -> Pulled:
    method = getattr(type(x), "__delitem__", None)
    if isinstance(method, FunctionType):
        return pull(method, x, i)
    if isinstance(x, list):
        return _lists.del_item(x, i)
    if isinstance(x, deque):
        return _deques.del_item(x, i)
    if isinstance(x, dict):
        return _dicts.del_key(x, i)
    raise Refused(f"deleting an entry of {describe(type(x))}", "use a list or a dict")


def copied(x: Any) -> Any:
    """A copy of an array; a number itself."""
    return x.clone() if isinstance(x, Tensor) else x.copy() if isinstance(x, np.ndarray) else x


def set_array(x: Any, i: Any, v: Any) -> Pulled:
    """`x[i] = v` of an array: the entries' cotangents go to v, and are zero before."""
    mark(x)
    old = copied(x[i])
    if isinstance(v, list | tuple):
        raise Refused("assigning a list to the entries of an array", "make an array of the list first")
    x[i] = v

    def back(_: Any) -> tuple[Any, ...]:
        sweep = STATE.sweep
        shadow = sweep.array(x) if carries(x) else None
        bar = None
        if shadow is not None:
            bar = copied(shadow[i])
            shadow[i] = 0
            bar = fit(_winners(x, i, bar), v)
        new = copied(x[i])
        _lists.undo(partial(operator.setitem, x, i, old), partial(operator.setitem, x, i, new))
        return None, None, sweep.arrive(v, bar)

    return None, back


def _winners(x: Any, i: Any, bar: Any) -> Any:
    """Of entries that are named twice, the last assignment counts."""
    parts = i if isinstance(i, tuple) else (i,)
    if not any(isinstance(part, list | np.ndarray | Tensor) for part in parts) or not hasattr(bar, "shape"):
        return bar
    order: Any
    places: Any
    if isinstance(x, Tensor):
        order = torch.arange(bar.numel(), device=x.device).reshape(bar.shape)
        places = torch.full(x.shape, -1, device=x.device)
    else:
        order, places = np.arange(bar.size).reshape(bar.shape), np.full(x.shape, -1)
    places[i] = order
    return bar * (places[i] == order)


# In place: `x += v`.

IN_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    operator.ifloordiv: operator.floordiv,
    operator.imod: operator.mod,
    operator.ipow: operator.pow,
    operator.imatmul: operator.matmul,
    operator.iand: operator.and_,
    operator.ior: operator.or_,
    operator.ixor: operator.xor,
    operator.ilshift: operator.lshift,
    operator.irshift: operator.rshift,
}


def in_place(iop: Any, x: Any, v: Any) -> Pulled:
    """`x op= v`: a change of an array or a list, a new value for everything else."""
    op = IN_PLACE[iop]
    if type(x) in NUMBERS:
        return PULL[op](x, v)
    if isinstance(x, np.ndarray | Tensor):
        return change(x, lambda: iop(x, v), lambda old: pull(op, old, v))
    if iop is operator.iadd and isinstance(x, list):
        return _lists.extend_in_place(x, v)
    if iop is operator.iadd and isinstance(x, deque):
        return _deques.extend_in_place(x, v)
    if iop is operator.ior and isinstance(x, dict):
        _, back = pull(dict.update, x, v)
        return x, back
    if iop is operator.imul and isinstance(x, list):
        return _lists.repeat_in_place(x, v)
    method = getattr(type(x), f"__{iop.__name__}__", None)
    if isinstance(method, FunctionType):
        return pull(method, x, v)
    return PULL[op](x, v)


def change(x: Any, act: Callable[[], Any], same: Callable[[Any], Pulled], count: int = 2) -> Pulled:
    """An operation that changes the array x in place: `act()` does it, `same(old)` pulls it on a copy.

    The cotangent of the new x, in its memory's shadow, becomes that of the old one.
    """
    mark(x)
    old = copied(x)
    act()

    def back(ȳ: Any) -> tuple[Any, ...]:
        sweep = STATE.sweep
        new = copied(x)
        _lists.undo(lambda: _overwrite(x, old), lambda: _overwrite(x, new))
        if not carries(x):
            return NONES[count]
        shadow = sweep.array(x)
        _, back_same = same(old)
        bar = copied(shadow)
        shadow[...] = 0  # before the back: v may look at the same memory
        before, *bars = back_same(bar)
        if before is not None:
            shadow += value(before)
        return (None, *(bar if isinstance(bar, Refusal) else value(bar) for bar in bars))

    return x, back


def _overwrite(x: Any, content: Any) -> None:
    x[...] = content


for _op in IN_PLACE:
    PULL[_op] = partial(in_place, _op)
