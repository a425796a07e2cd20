"""Rules for NumPy's reductions and shapes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ._forward_rules import spread
from ._forward_torch import applied, linear_functions
from ._kinds import carries, fit
from ._refuse import Refused, describe
from ._registry import PULL, PUSH, constant, finish, pushes, rule

__all__: list[str] = []

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]
Array = np.ndarray


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


@rule(np.max, np.amax, Array.max)
def _max(a: Any, axis: Any = None, *, keepdims: bool = False) -> Pulled:
    return _extreme(np.max, a, axis, keepdims)


@rule(np.min, np.amin, Array.min)
def _min(a: Any, axis: Any = None, *, keepdims: bool = False) -> Pulled:
    return _extreme(np.min, a, axis, keepdims)


def _extreme(f: Any, a: Any, axis: Any, keepdims: bool) -> Pulled:
    y = f(a, axis=axis, keepdims=keepdims)
    return y, lambda ȳ: (fit(_opened(ȳ, a, axis, keepdims) * shares(f, a, axis), a),)


def shares(f: Any, a: Any, axis: Any) -> Any:
    """What each element has in the greatest (or least) one: ties share alike."""
    a = np.asarray(a)
    y = f(a, axis=axis, keepdims=True)
    chosen = (a == y) | ((a != a) & (y != y))
    return (chosen / chosen.sum(axis=axis, keepdims=True)).astype(a.dtype)


constant(shares)


def _push_extreme(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(f, args, names)
    if dots[0] is None:
        return y, None
    count = len(args) - len(names)
    axis = args[1] if count > 1 else {names[i]: args[count + i] for i in range(len(names))}.get("axis")
    return y, applied(np.sum, (dots[0] * shares(f, args[0], axis), *args[1:]), names)


for _f in (np.max, np.amax, Array.max):
    PUSH[_f] = partial(_push_extreme, np.max)
for _f in (np.min, np.amin, Array.min):
    PUSH[_f] = partial(_push_extreme, np.min)


# Shapes.


def shape_rule(*functions: Any) -> None:
    """Registers functions that only give an array another shape."""
    for f in functions:
        PULL[f] = partial(_reshaped, f)
        linear_functions(f)


def _reshaped(f: Any, x: Any, *args: Any, **kwargs: Any) -> Pulled:
    y = f(x, *args, **kwargs)
    check_order(f, (*args, *kwargs.values()))
    shape, order = np.shape(x), "F" if any(isinstance(o, str) and o == "F" for o in (*args, *kwargs.values())) else "C"
    return y, partial(finish, lambda ȳ: (fit(ȳ.reshape(shape, order=order), x),), (x, *args, *kwargs.values()), y)


def check_order(f: Any, options: Any) -> None:
    """Refuses the orders of elements that depend on how an array lies in memory."""
    if any(isinstance(x, str) and x in ("A", "K") for x in options):
        raise Refused(f"{describe(f)} in the order of memory (A, K)", "use order C or F")


constant(check_order)


def _push_reshaped(f: Any, known: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    check_order(f, args[1:])
    return known(push, args, dots, names)


shape_rule(np.reshape, Array.reshape, np.ravel, Array.ravel, Array.flatten, np.squeeze, Array.squeeze, np.expand_dims)
shape_rule(np.atleast_1d, np.atleast_2d, np.ascontiguousarray)
for _g in (np.reshape, Array.reshape, np.ravel, Array.ravel, Array.flatten):
    PUSH[_g] = partial(_push_reshaped, _g, PUSH[_g])


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
    return np.diag(v, k), lambda ȳ: (np.diag(ȳ, k) if v.ndim == 1 else _on_diagonal(ȳ, v, k, 0, 1),)


@rule(np.diagonal, Array.diagonal)
def _diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Pulled:
    return np.diagonal(a, offset, axis1, axis2), lambda ȳ: (_on_diagonal(ȳ, a, offset, axis1, axis2),)


def _on_diagonal(ȳ: Any, a: Any, offset: int, axis1: int, axis2: int) -> Any:
    """Zeros like a, with ȳ on a diagonal of two of its axes."""
    total = np.zeros_like(a)
    rows = np.arange(ȳ.shape[-1]) + max(-offset, 0)
    np.moveaxis(total, (axis1, axis2), (-2, -1))[..., rows, rows + offset] = ȳ
    return total


@rule(np.tril)
def _tril(m: Any, k: int = 0) -> Pulled:
    return np.tril(m, k), lambda ȳ: (np.tril(ȳ, k),)


@rule(np.triu)
def _triu(m: Any, k: int = 0) -> Pulled:
    return np.triu(m, k), lambda ȳ: (np.triu(ȳ, k),)


@rule(np.repeat, Array.repeat)
def _repeat(a: Any, repeats: int, axis: int | None = None) -> Pulled:
    if not isinstance(repeats, int):
        raise Refused("np.repeat with an array of counts", "use a number")
    y = np.repeat(a, repeats, axis)

    def back(ȳ: Any) -> tuple[Any, ...]:
        shape = [np.size(a)] if axis is None else list(np.shape(a))
        at = 0 if axis is None else axis % len(shape)
        shape[at : at + 1] = [shape[at], repeats]
        return (fit(ȳ.reshape(shape).sum(at + 1).reshape(np.shape(a)), a),)

    return y, back


linear_functions(np.sum, Array.sum, np.mean, Array.mean, np.cumsum, Array.cumsum, np.transpose, Array.transpose)
linear_functions(np.swapaxes, Array.swapaxes, np.moveaxis, np.flip, np.roll, np.broadcast_to, np.diag, np.tril, np.triu)
linear_functions(
    np.diagonal, Array.diagonal, np.repeat, Array.repeat, np.real, np.imag, np.conj, Array.conj, Array.conjugate
)
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
