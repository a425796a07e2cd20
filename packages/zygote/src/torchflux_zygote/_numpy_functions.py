"""NumPy's functions that are said in others, and are transformed in their place: right in both modes and all orders."""

from typing import Any

import numpy as np

from ._refuse import Refused
from ._registry import SUBSTITUTES, constant

__all__: list[str] = []

Array = np.ndarray


def dot(a: Any, b: Any) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return a * b
    return a @ b


def inner(a: Any, b: Any) -> Any:
    return a @ b.T if np.ndim(b) > 1 else a @ b


def outer(a: Any, b: Any) -> Any:
    return a.ravel()[:, None] * b.ravel()[None, :]


def vdot(a: Any, b: Any) -> Any:
    return np.sum(np.conj(a).ravel() * b.ravel())


def trace(a: Any) -> Any:
    return np.sum(np.diag(a))


def extreme(a: Any, axis: Any, keepdims: bool, found: Any) -> Any:
    """The elements that are greatest (or least), ties sharing alike: their mean."""
    chosen = 1.0 * (a == found)
    chosen = (chosen / np.sum(chosen, axis=axis, keepdims=True)).astype(found.dtype)
    return np.sum(a * chosen, axis=axis, keepdims=keepdims)


def amax(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return extreme(a, axis, keepdims, greatest(a, axis))


def amin(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return extreme(a, axis, keepdims, least(a, axis))


def greatest(a: Any, axis: Any) -> Any:
    return np.max(a, axis=axis, keepdims=True)


def least(a: Any, axis: Any) -> Any:
    return np.min(a, axis=axis, keepdims=True)


def prod(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if axis is None:
        total = 1.0
        for x in a.ravel():
            total = total * x
        return np.reshape(total, (1,) * np.ndim(a)) if keepdims else total
    rows = np.moveaxis(a, axis, 0)
    total = rows[0]
    for i in range(1, len(rows)):
        total = total * rows[i]
    return np.expand_dims(total, axis) if keepdims else total


def var(a: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    centred = a - np.mean(a, axis=axis, keepdims=True)
    squares = (centred * np.conj(centred)).real
    total = np.sum(squares, axis=axis, keepdims=keepdims)
    return total / (np.size(a) / np.size(total) - ddof)


def std(a: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    return np.sqrt(var(a, axis, ddof=ddof, keepdims=keepdims))


def clip(a: Any, a_min: Any = None, a_max: Any = None) -> Any:
    y = a if a_min is None else np.where(a < a_min, a_min, a)
    return y if a_max is None else np.where(y > a_max, a_max, y)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord is not None and not (ord == 2 and (np.ndim(x) == 1 or isinstance(axis, int))):
        if ord == "fro" and axis is None:
            return np.sqrt(np.sum((x * np.conj(x)).real))
        if ord == 1 and (np.ndim(x) == 1 or isinstance(axis, int)):
            return np.sum(np.abs(x), axis=axis, keepdims=keepdims)
        raise unknown_norm(ord)
    return np.sqrt(np.sum((x * np.conj(x)).real, axis=axis, keepdims=keepdims))


def unknown_norm(ord: Any) -> Exception:
    return Refused(f"np.linalg.norm with ord={ord!r}", "write it out")


def hstack(arrays: Any) -> Any:
    return np.concatenate([np.atleast_1d(a) for a in arrays], 0 if np.ndim(arrays[0]) < 2 else 1)


def vstack(arrays: Any) -> Any:
    return np.concatenate([np.atleast_2d(a) for a in arrays], 0)


def full(shape: Any, fill_value: Any) -> Any:
    return np.ones(shape) * fill_value


def full_like(a: Any, fill_value: Any) -> Any:
    return np.ones_like(a) * fill_value


def slogdet(a: Any) -> Any:
    d = np.linalg.det(a)
    return np.sign(d), np.log(np.abs(d))


def tolist(a: Any) -> Any:
    return [tolist(row) for row in a] if np.ndim(a) > 0 else a.item()


def fill(a: Any, v: Any) -> Any:
    a[...] = v


constant(greatest, least, unknown_norm)
SUBSTITUTES.update(
    {
        np.dot: dot,
        Array.dot: dot,
        np.inner: inner,
        np.outer: outer,
        np.vdot: vdot,
        np.trace: trace,
        Array.trace: trace,
        np.max: amax,
        Array.max: amax,
        np.min: amin,
        np.amin: amin,
        np.amax: amax,
        Array.min: amin,
        np.prod: prod,
        Array.prod: prod,
        np.var: var,
        Array.var: var,
        np.std: std,
        Array.std: std,
        np.clip: clip,
        Array.clip: clip,
        np.linalg.norm: norm,
        np.hstack: hstack,
        np.vstack: vstack,
        np.full: full,
        np.full_like: full_like,
        np.linalg.slogdet: slogdet,
        Array.tolist: tolist,
        Array.fill: fill,
    }
)
