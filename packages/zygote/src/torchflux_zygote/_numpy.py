"""Rules for NumPy: reductions, shapes, linear algebra; the element-wise functions are in `_elementwise`.

What can be said in other functions is in `_numpy_functions`.
"""

import operator
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ._cotangent import Refusal, value
from ._forward_rules import spread
from ._forward_torch import applied, linear_functions
from ._kinds import carries, conj, fit, inert
from ._parts import elements
from ._pull import LIBRARIES, library, without_rule
from ._push import some
from ._refuse import Refused, describe
from ._registry import (
    FORWARD_LIBRARIES,
    NONES,
    PULL,
    PUSH,
    _constant,
    arrive,
    constant,
    finish,
    none,
    pushes,
    raw,
    rule,
)
from ._run import STATE
from ._streams import pairs_of
from ._torch import same_as
from ._unruled import no_rule, plain_numbers

__all__: list[str] = []

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]
Array = np.ndarray

same_as(operator.add, np.add)
same_as(operator.sub, np.subtract)
same_as(operator.mul, np.multiply)
same_as(operator.truediv, np.divide)
same_as(operator.pow, np.power, np.float_power)
same_as(operator.matmul, np.matmul)
same_as(operator.mod, np.mod)
same_as(operator.floordiv, np.floor_divide)
for _f, _op in (
    *((np.add, operator.add), (np.subtract, operator.sub), (np.multiply, operator.mul), (np.divide, operator.truediv)),
    *((np.power, operator.pow), (np.float_power, operator.pow), (np.matmul, operator.matmul), (np.mod, operator.mod)),
    *((np.floor_divide, operator.floordiv), (np.abs, abs), (np.negative, operator.neg)),
):
    PUSH[_f] = PUSH[_op]
PULL[np.abs] = PULL[abs]


def _of_numpy(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pulled:
    """A NumPy function without a rule."""
    if (inert(args) and inert(tuple(kwargs.values()))) or _without_numbers(args, kwargs):
        return f(*args, **kwargs), none(len(args) + len(kwargs))
    return without_rule(f, args, kwargs)


def _without_numbers(args: Any, kwargs: Any) -> bool:
    return all(inert(x) or (isinstance(x, list) and all(inert(part) for part in x)) for x in (*args, *kwargs.values()))


LIBRARIES["numpy"] = _of_numpy


def _forward_of_numpy(f: Any, args: Any) -> Any:
    from ._push import _push_constant, _push_unruled

    if _without_numbers(args, {}):
        return partial(_push_constant, f)
    if plain_numbers(args):
        return partial(_push_unruled, f)
    raise no_rule(f)


FORWARD_LIBRARIES["numpy"] = _forward_of_numpy


# Reductions.


def _opened(ȳ: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """The cotangent of a reduction, with the axes that were reduced."""
    if axis is not None and not keepdims:
        ȳ = np.expand_dims(ȳ, axis)
    return np.broadcast_to(ȳ, np.shape(x))


@rule(np.sum, Array.sum)
def _sum(a: Any, axis: Any = None, *, keepdims: bool = False, dtype: Any = None) -> Pulled:
    y = np.sum(a, axis=axis, keepdims=keepdims, dtype=dtype)
    return y, lambda ȳ: (fit(_opened(ȳ, a, axis, keepdims), a),)


@rule(np.mean, Array.mean)
def _mean(a: Any, axis: Any = None, *, keepdims: bool = False) -> Pulled:
    y = np.mean(a, axis=axis, keepdims=keepdims)
    count = np.size(a) / max(np.size(y), 1)
    return y, lambda ȳ: (fit(_opened(ȳ / count, a, axis, keepdims), a),)


@rule(np.cumsum, Array.cumsum)
def _cumsum(a: Any, axis: Any = None) -> Pulled:
    y = np.cumsum(a, axis=axis)

    def back(ȳ: Any) -> tuple[Any, ...]:
        if axis is None:
            return (np.cumsum(ȳ[::-1])[::-1].reshape(np.shape(a)),)
        return (np.flip(np.cumsum(np.flip(ȳ, axis), axis), axis),)

    return y, back


# Shapes.


def shape_rule(*functions: Any) -> None:
    """Registers functions that only give an array another shape."""
    for f in functions:
        PULL[f] = partial(_reshaped, f)
        linear_functions(f)


def _reshaped(f: Any, x: Any, *args: Any, **kwargs: Any) -> Pulled:
    y = f(x, *args, **kwargs)
    shape = np.shape(x)
    return y, partial(finish, lambda ȳ: (fit(ȳ.reshape(shape), x),), (x, *args, *kwargs.values()), y)


shape_rule(np.reshape, Array.reshape, np.ravel, Array.ravel, Array.flatten, np.squeeze, Array.squeeze, np.expand_dims)
shape_rule(np.atleast_1d, np.atleast_2d)


@rule(np.transpose, Array.transpose)
def _transpose(a: Any, *axes: Any) -> Pulled:
    axes = tuple(axes[0]) if len(axes) == 1 and axes[0] is not None and not isinstance(axes[0], int) else axes
    axes = () if axes == (None,) else axes
    y = a.transpose(*axes)
    return y, lambda ȳ: (ȳ.transpose(*([int(i) for i in np.argsort(axes)] if axes else ())),)


@rule(np.swapaxes, Array.swapaxes)
def _swapaxes(a: Any, axis1: int, axis2: int) -> Pulled:
    return a.swapaxes(axis1, axis2), lambda ȳ: (ȳ.swapaxes(axis1, axis2),)


@rule(np.moveaxis)
def _moveaxis(a: Any, source: Any, destination: Any) -> Pulled:
    return np.moveaxis(a, source, destination), lambda ȳ: (np.moveaxis(ȳ, destination, source),)


@rule(np.flip)
def _flip(m: Any, axis: Any = None) -> Pulled:
    return np.flip(m, axis), lambda ȳ: (np.flip(ȳ, axis),)


@rule(np.roll)
def _roll(a: Any, shift: Any, axis: Any = None) -> Pulled:
    back = tuple(-s for s in shift) if isinstance(shift, tuple) else -shift
    return np.roll(a, shift, axis), lambda ȳ: (np.roll(ȳ, back, axis),)


@rule(np.broadcast_to)
def _broadcast_to(array: Any, shape: Any) -> Pulled:
    return np.broadcast_to(array, shape), lambda ȳ: (fit(ȳ, array),)


@rule(np.diag)
def _diag(v: Any, k: int = 0) -> Pulled:
    def back(ȳ: Any) -> tuple[Any, ...]:
        if v.ndim == 1:
            return (np.diag(ȳ, k).copy(),)
        total = np.zeros_like(v)
        rows = np.arange(len(ȳ)) + max(-k, 0)
        total[rows, rows + k] = ȳ
        return (total,)

    return np.diag(v, k).copy(), back


@rule(np.tril)
def _tril(m: Any, k: int = 0) -> Pulled:
    return np.tril(m, k), lambda ȳ: (np.tril(ȳ, k),)


@rule(np.triu)
def _triu(m: Any, k: int = 0) -> Pulled:
    return np.triu(m, k), lambda ȳ: (np.triu(ȳ, k),)


@rule(np.repeat, Array.repeat)
def _repeat(a: Any, repeats: int, axis: int = 0) -> Pulled:
    if not isinstance(repeats, int) or (axis == 0 and np.ndim(a) > 1):
        raise Refused("np.repeat with an array of counts or without an axis", "use a number and an axis")
    y = np.repeat(a, repeats, axis)

    def back(ȳ: Any) -> tuple[Any, ...]:
        shape = list(np.shape(a))
        at = axis % len(shape)
        shape[at : at + 1] = [shape[at], repeats]
        return (ȳ.reshape(shape).sum(at + 1),)

    return y, back


linear_functions(np.sum, Array.sum, np.mean, Array.mean, np.cumsum, Array.cumsum, np.transpose, Array.transpose)
linear_functions(np.swapaxes, Array.swapaxes, np.moveaxis, np.flip, np.roll, np.broadcast_to, np.diag, np.tril, np.triu)
linear_functions(np.repeat, Array.repeat, np.real, np.imag, np.conj, Array.conj, Array.conjugate, np.trace)
linear_functions(Array.copy, np.copy, Array.item, np.generic.item)


@rule(Array.copy, np.copy)
def _copy(a: Any) -> Pulled:
    return np.copy(a), lambda ȳ: (fit(ȳ, a),)


@rule(Array.item, np.generic.item)
def _item(a: Any, *index: Any) -> Pulled:
    y = a.item(*index)

    def back(ȳ: Any) -> tuple[Any, ...]:
        if not index:
            return (fit(ȳ, a),)
        total = np.zeros_like(a)
        total[np.unravel_index(index[0], a.shape) if len(index) == 1 else index] = ȳ
        return (total,)

    return y, back


@rule(Array.astype)
def _astype(a: Any, dtype: Any, **options: Any) -> Pulled:
    y = a.astype(dtype, **options)
    return y, lambda ȳ: (fit(ȳ, a) if carries(y) else None,)


@pushes(Array.astype)
def _push_astype(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(Array.astype, args, names)
    return y, None if dots[0] is None or not carries(y) else spread(dots[0], y)


# Making arrays.


@raw(np.array, np.asarray)
def _array(object: Any, dtype: Any = None, **options: Any) -> Pulled:
    if isinstance(object, Array):
        y = np.array(object, dtype=dtype)
        return y, partial(finish, lambda ȳ: (fit(ȳ, object), None), (object, dtype), y)
    if isinstance(object, list | tuple | deque) and not _plain(object):
        return _array_of(object, dtype)
    y = np.array(object, dtype=dtype, **options)
    return y, partial(finish, lambda ȳ: (fit(ȳ, object), None), (object, dtype), y)


def _plain(x: Any) -> bool:
    return all(
        type(part) is int or isinstance(part, str | bool) or (isinstance(part, list | tuple | deque) and _plain(part))
        for part in x
    )


def _array_of(parts: Any, dtype: Any) -> Pulled:
    values, give = elements(parts)
    pairs = [_array_of(p, dtype) if isinstance(p, list | tuple | deque) else (p, None) for p in values]
    y = np.array([x for x, _ in pairs], dtype=dtype)

    def back(ȳ: Any) -> tuple[Any, ...]:
        if isinstance(ȳ, Refusal):
            return give([ȳ] * len(values)), None
        ȳ = _collected(y, ȳ)
        bars = (
            [None] * len(pairs)
            if ȳ is None
            else [arrive(x, fit(ȳ[i], x)) if b is None else b(ȳ[i])[0] for i, (x, b) in enumerate(pairs)]
        )
        return give(bars), None

    return y, back


def _collected(y: Any, ȳ: Any) -> Any:
    sweep = STATE.sweep
    return value(sweep.collect(y, (), ȳ) if sweep.marks else ȳ)


@pushes(np.array, np.asarray)
def _push_array(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(np.array, args, names)
    if isinstance(args[0], list | tuple | deque):
        values, parts = pairs_of(push, args[0], dots[0])
        rows = [push(np.array, (values[i],), (parts[i],))[1] for i in range(len(values))]
        if not some(rows):
            return y, None
        return y, np.stack(
            [np.zeros_like(y[i]) if rows[i] is None else spread(rows[i], y[i]) for i in range(len(rows))]
        )
    return y, None if dots[0] is None else spread(dots[0], y)


# Several arrays.


@raw(np.concatenate)
def _concatenate(arrays: Any, axis: Any = 0) -> Pulled:
    parts, give = elements(arrays)
    y = np.concatenate(parts, axis)
    cuts = np.cumsum([part.shape[axis] for part in parts])[:-1]
    return y, _several(parts, give, y, lambda ȳ: np.split(ȳ, cuts, axis))


@raw(np.stack)
def _stack(arrays: Any, axis: int = 0) -> Pulled:
    parts, give = elements(arrays)
    y = np.stack(parts, axis)
    return y, _several(parts, give, y, lambda ȳ: list(np.moveaxis(ȳ, axis, 0)))


def _several(parts: list[Any], give: Any, y: Any, split: Any) -> Any:
    def back(ȳ: Any) -> tuple[Any, ...]:
        def split_bars(bar: Any) -> tuple[Any, ...]:
            return tuple(fit(b, p) for b, p in zip(split(bar), parts, strict=True))

        return give(finish(split_bars, tuple(parts), y, ȳ)), *NONES[1]

    return back


def _push_several(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    values, parts = pairs_of(push, args[0], dots[0])
    y = applied(f, (values, *args[1:]), names)
    if not some(parts):
        return y, None
    full = [np.zeros_like(values[i]) if parts[i] is None else spread(parts[i], values[i]) for i in range(len(values))]
    return y, applied(f, (full, *args[1:]), names)


PUSH[np.concatenate], PUSH[np.stack] = partial(_push_several, np.concatenate), partial(_push_several, np.stack)


@rule(np.where)
def _where(condition: Any, x: Any, y: Any) -> Pulled:
    result = np.where(condition, x, y)
    return result, lambda ȳ: (None, fit(np.where(condition, ȳ, 0), x), fit(np.where(condition, 0, ȳ), y))


@pushes(np.where)
def _push_where(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = np.where(*args)
    if len(args) < 3 or (dots[1] is None and dots[2] is None):
        return y, None
    a = 0.0 if dots[1] is None else dots[1]
    b = 0.0 if dots[2] is None else dots[2]
    return y, np.where(args[0], a, b)


# Linear algebra. Source: Giles (2008), "An extended collection of matrix derivative results".


@rule(np.linalg.solve)
def _solve(a: Any, b: Any) -> Pulled:
    y = np.linalg.solve(a, b)

    def back(ȳ: Any) -> tuple[Any, ...]:
        b̄ = np.linalg.solve(conj(np.swapaxes(a, -1, -2)), ȳ)
        outer = b̄[..., None] * conj(y) if b.ndim == 1 else b̄ @ conj(np.swapaxes(y, -1, -2))
        return fit(-outer, a), fit(b̄, b)

    return y, back


@pushes(np.linalg.solve)
def _push_solve(push: Any, args: Any, dots: Any, names: Any) -> Any:
    a, b = args
    y = np.linalg.solve(a, b)
    right = dots[1]
    if dots[0] is not None:
        right = -(dots[0] @ y) if right is None else right - dots[0] @ y
    return y, None if right is None else np.linalg.solve(a, right)


@rule(np.linalg.inv)
def _inv(a: Any) -> Pulled:
    y = np.linalg.inv(a)
    return y, lambda ȳ: (-conj(np.swapaxes(y, -1, -2)) @ ȳ @ conj(np.swapaxes(y, -1, -2)),)


@pushes(np.linalg.inv)
def _push_inv(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = np.linalg.inv(args[0])
    return y, None if dots[0] is None else -(y @ dots[0] @ y)


@rule(np.linalg.det)
def _det(a: Any) -> Pulled:
    y = np.linalg.det(a)
    return y, lambda ȳ: (fit((ȳ * conj(y))[..., None, None] * conj(np.swapaxes(np.linalg.inv(a), -1, -2)), a),)


@pushes(np.linalg.det)
def _push_det(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = np.linalg.det(args[0])
    if dots[0] is None:
        return y, None
    return y, y * (np.swapaxes(np.linalg.inv(args[0]), -1, -2) * dots[0]).sum(axis=(-2, -1))


@rule(np.einsum)
def _einsum(subscripts: str, *operands: Any) -> Pulled:
    inputs, output = _subscripts(subscripts)
    y = np.einsum(subscripts, *operands)

    def back(ȳ: Any) -> tuple[Any, ...]:
        return (None, *(_einsum_bar(i, inputs, output, operands, ȳ) for i in range(len(operands))))

    return y, back


def _subscripts(text: str) -> tuple[list[str], str]:
    text = text.replace(" ", "")
    if "..." in text:
        raise Refused("np.einsum with an ellipsis", "name the axes")
    left, arrow, right = text.partition("->")
    letters = left.replace(",", "")
    implied = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    inputs = left.split(",")
    if any(len(set(term)) < len(term) for term in inputs):
        raise Refused("np.einsum with an axis named twice in one operand", "take the diagonal first")
    return inputs, right if arrow else implied


def _einsum_bar(i: int, inputs: list[str], output: str, operands: Any, ȳ: Any) -> Any:
    if not carries(operands[i]):
        return None
    others = [conj(x) for j, x in enumerate(operands) if j != i]
    terms = [output, *(term for j, term in enumerate(inputs) if j != i)]
    known = set("".join(terms))
    kept = "".join(c for c in inputs[i] if c in known)
    bar = np.einsum(f"{','.join(terms)}->{kept}", ȳ, *others)
    bar = np.expand_dims(bar, tuple(j for j, c in enumerate(inputs[i]) if c not in known))
    return fit(np.broadcast_to(bar, operands[i].shape), operands[i])


@pushes(np.einsum)
def _push_einsum(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = np.einsum(*args)
    total = None
    for i in range(1, len(args)):
        if dots[i] is not None:
            part = np.einsum(*args[:i], dots[i], *args[i + 1 :])
            total = part if total is None else total + part
    return y, total


PUSH.pop(np.trace, None)  # it is said in others
constant(
    *(np.zeros_like, np.ones_like, np.empty_like, np.argmax, np.argmin, np.argsort, np.shape, np.ndim, np.size, np.any),
    *(np.all, np.allclose, np.isclose, np.array_equal, np.nonzero, np.count_nonzero, np.unravel_index, np.result_type),
    *(Array.argmax, Array.argmin, Array.argsort, Array.any, Array.all, Array.nonzero, Array.__len__, np.searchsorted),
    *(np.iscomplexobj, np.round, Array.round, np.equal, np.not_equal, np.less, np.less_equal, np.greater),
    *(np.greater_equal, np.logical_and, np.logical_or, np.logical_not, np.isscalar),
)


@rule(np.linspace)
def _linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, **options: Any) -> Pulled:
    y = np.linspace(start, stop, num, endpoint, **options)

    def back(ȳ: Any) -> tuple[Any, ...]:
        part = _share(num, endpoint, options)
        return fit((ȳ * (1 - part)).sum(), start), fit((ȳ * part).sum(), stop)

    return y, back


def _share(num: int, endpoint: bool, options: Any) -> Any:
    """How much of the last number there is in each entry of `linspace`."""
    if options:
        raise Refused("np.linspace with these options", "leave them out")
    return np.linspace(0.0, 1.0, num, endpoint)


@pushes(np.linspace)
def _push_linspace(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(np.linspace, args, names)
    if not some(dots):
        return y, None
    if len(names) > 0 and names != ("num",):
        raise bad_options()
    share = np.linspace(0.0, 1.0, len(y), *args[3:])
    a = 0.0 if dots[0] is None else dots[0]
    b = 0.0 if dots[1] is None else dots[1]
    return y, a * (1 - share) + b * share


def bad_options() -> Refused:
    return Refused("forward mode of np.linspace with these options", "leave them out")


constant(bad_options)


# Numbers of NumPy's.


def _number(kind: Any, x: Any = 0.0) -> Pulled:
    y = kind(x)
    return y, partial(finish, lambda ȳ: (fit(ȳ, x),), (x,), y)


def _push_number(kind: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = made(kind, *args)
    return y, None if dots[0] is None else spread(dots[0], y)


def made(kind: Any, *args: Any) -> Any:
    return kind(*args)


constant(made)
for _kind in (np.float64, np.float32):
    PULL[_kind], PUSH[_kind] = partial(_number, _kind), partial(_push_number, _kind)


# Lists of numbers: NumPy makes arrays of them, but a list's cotangents go another way than an array's.


def _no_lists(f: Any, *args: Any) -> None:
    """Refuses lists and tuples of numbers with derivatives."""
    for x in args:
        if isinstance(x, list | tuple | deque) and not inert(tuple(x)):
            raise Refused(f"{describe(f)} of a {type(x).__name__}", "make an array of it first, by np.array(...)")


constant(_no_lists)


def _pull_arrays(f: Any, known: Any, *args: Any, **kwargs: Any) -> Pulled:
    _no_lists(f, *args, *kwargs.values())
    return known(*args, **kwargs)


def _push_arrays(f: Any, known: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    _no_lists(f, *args)
    return known(push, args, dots, names)


_OF_LISTS = (np.array, np.asarray, np.concatenate, np.stack)
for _f in [f for f in PULL if (library(f) or library(type(f))) == "numpy" and f not in _OF_LISTS]:
    if getattr(PULL[_f], "func", None) is not _constant:
        PULL[_f] = partial(_pull_arrays, _f, PULL[_f])
        if _f in PUSH:
            PUSH[_f] = partial(_push_arrays, _f, PUSH[_f])
