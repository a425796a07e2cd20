"""NumPy's functions that are said in others, and are transformed in their place: right in both modes and all orders."""

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ._elementwise import FORMULAS, _register, sign_of
from ._forward_rules import _formula
from ._refuse import Refused
from ._registry import PUSH, SUBSTITUTES, constant

__all__: list[str] = []

Array = np.ndarray


# Products.


def dot(a: Any, b: Any) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return a * b
    return a @ b if np.ndim(b) < 3 else tensordot(a, b, (-1, -2))


def inner(a: Any, b: Any) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return a * b
    return tensordot(a, b, (-1, -1))[()]


def outer(a: Any, b: Any) -> Any:
    return np.ravel(a)[:, None] * np.ravel(b)[None, :]


def vdot(a: Any, b: Any) -> Any:
    return np.sum(np.ravel(np.conj(a)) * np.ravel(b))


def vecdot(x1: Any, x2: Any, *, axis: int = -1) -> Any:
    return np.sum(np.conj(x1) * x2, axis=axis)


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    left, right, shape = pairing(np.shape(a), np.shape(b), axes)
    rows, columns = np.transpose(a, left[0]), np.transpose(b, right[0])
    return np.reshape(np.reshape(rows, left[1]) @ np.reshape(columns, right[1]), shape)


def pairing(a: Any, b: Any, axes: Any) -> Any:
    """The orders of axes and the shapes of matrices by which arrays of shapes a and b are multiplied; the result's."""
    if isinstance(axes, int):
        axes = range(len(a) - axes, len(a)), range(axes)
    summed_a, summed_b = ([int(i) % n for i in np.ravel(x)] for x, n in zip(axes, (len(a), len(b)), strict=True))
    free_a = [i for i in range(len(a)) if i not in summed_a]
    free_b = [i for i in range(len(b)) if i not in summed_b]
    if [a[i] for i in summed_a] != [b[i] for i in summed_b]:
        raise ValueError("shape-mismatch for sum")
    rows, columns = [a[i] for i in free_a], [b[i] for i in free_b]
    count = int(np.prod([a[i] for i in summed_a], dtype=int))
    sizes = (int(np.prod(rows, dtype=int)), count), (count, int(np.prod(columns, dtype=int)))
    return ((*free_a, *summed_a), sizes[0]), ((*summed_b, *free_b), sizes[1]), (*rows, *columns)


def kron(a: Any, b: Any) -> Any:
    left, right, shape = paired(np.shape(a), np.shape(b))
    return np.reshape(np.reshape(a, left) * np.reshape(b, right), shape)


def tile(A: Any, reps: Any) -> Any:
    left, right, shape = paired(reps, np.shape(A))
    whole = [left[i] * right[i] for i in range(len(left))]
    return np.copy(np.reshape(np.broadcast_to(np.reshape(A, right), whole), shape))


def paired(a: Any, b: Any) -> Any:
    """The shapes in which each axis of a meets that of b as a neighbour, and their product's."""
    a, b = tuple(np.ravel(a).astype(int).tolist()), tuple(b)
    a, b = (1,) * (len(b) - len(a)) + a, (1,) * (len(a) - len(b)) + b
    left = tuple(size for n in a for size in (n, 1))
    right = tuple(size for n in b for size in (1, n))
    return left, right, tuple(m * n for m, n in zip(a, b, strict=True))


def cross(a: Any, b: Any) -> Any:
    if np.shape(a)[-1] != 3 or np.shape(b)[-1] != 3:
        raise Refused("np.cross of other vectors than of three numbers", "write it out")
    after, before = [1, 2, 0], [2, 0, 1]
    return a[..., after] * b[..., before] - a[..., before] * b[..., after]


def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    if len(a) < len(v):
        a, v = v, a
    padded = np.concatenate([a, np.zeros(len(v) - 1, a.dtype)])
    total = padded * v[0]
    for i in range(1, len(v)):
        total = total + np.roll(padded, i) * v[i]
    first = {"full": 0, "same": (len(v) - 1) // 2, "valid": len(v) - 1}[mode]
    return total[first : first + len(a)] if mode == "same" else total[first : len(total) - first]


def polyval(p: Any, x: Any) -> Any:
    y = x * 0
    for c in p:
        y = y * x + c
    return y


# Reductions.


def trace(a: Any, offset: int = 0) -> Any:
    return np.sum(np.diagonal(a, offset), axis=-1)


def ptp(a: Any, axis: Any = None) -> Any:
    return np.max(a, axis=axis) - np.min(a, axis=axis)


def prod(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
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


def cumprod(a: Any, axis: Any = None) -> Any:
    rows = np.ravel(a) if axis is None else np.moveaxis(a, axis, 0)
    products = [rows[0]]
    for i in range(1, len(rows)):
        products.append(products[-1] * rows[i])
    return np.stack(products, 0 if axis is None else axis)


def average(a: Any, axis: Any = None, weights: Any = None) -> Any:
    if weights is None:
        return np.mean(a, axis=axis)
    if np.shape(weights) != np.shape(a):
        raise Refused("np.average with weights of another shape", "broadcast them")
    return np.sum(a * weights, axis=axis) / np.sum(weights, axis=axis)


def nansum(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return np.sum(np.where(np.isnan(a), 0.0, a), axis=axis, keepdims=keepdims)


def nanmean(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return nansum(a, axis, keepdims=keepdims) / np.sum(~np.isnan(a), axis=axis, keepdims=keepdims)


def median(a: Any, axis: Any = None) -> Any:
    ordered = np.sort(np.ravel(a)) if axis is None else np.moveaxis(np.sort(a, axis), axis, 0)
    count = len(ordered)
    y = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    return np.where(np.isnan(ordered[-1]), ordered[-1], y)[()]  # NaNs come last


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0) -> Any:
    width = dx if x is None else x[..., 1:] - x[..., :-1]
    return np.sum(width * (y[..., 1:] + y[..., :-1]) / 2, axis=-1)


def root(x: Any) -> Any:
    """The square root of a sum of squares: its slope at 0 is 0, as PyTorch has it for norms and deviations."""
    return np.sqrt(x)


def _root(x: Any, y: Any, m: Any) -> Any:
    return (np.where(y == 0, 0.0, 0.5 / np.where(y == 0, 1.0, y)),)


_register(root, _root, np, 1)
PUSH[root] = partial(_formula, root, *FORMULAS[root])


def var(a: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    centred = a - np.mean(a, axis=axis, keepdims=True)
    squares = (centred * np.conj(centred)).real
    total = np.sum(squares, axis=axis, keepdims=keepdims)
    return total / (np.size(a) / np.size(total) - ddof)


def std(a: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    return root(var(a, axis, ddof=ddof, keepdims=keepdims))


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord is None or (ord == "fro" and axis is None) or (ord == 2 and is_of_vectors(x, axis)):
        return root(np.sum((x * np.conj(x)).real, axis=axis, keepdims=keepdims))
    if not is_of_vectors(x, axis) or isinstance(ord, str) or ord == 0:
        raise unknown_norm(ord)
    sizes = np.abs(x)
    if ord == np.inf:
        return np.max(sizes, axis=axis, keepdims=keepdims)
    if ord == -np.inf:
        return np.min(sizes, axis=axis, keepdims=keepdims)
    return np.sum(sizes**ord, axis=axis, keepdims=keepdims) ** (1.0 / ord)


def is_of_vectors(x: Any, axis: Any) -> bool:
    return np.ndim(x) == 1 or isinstance(axis, int)


def unknown_norm(ord: Any) -> Exception:
    return Refused(f"np.linalg.norm with ord={ord!r}", "write it out")


# Element by element.


def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = a_min if min is None else min, a_max if max is None else max
    y = a if low is None else np.where(a < low, low, a)
    y = y if high is None else np.where(y > high, high, y)
    return y[()] if np.ndim(y) == 0 else np.copy(y)


def clip_method(a: Any, min: Any = None, max: Any = None) -> Any:
    return clip(a, min, max)


def angle(z: Any, deg: bool = False) -> Any:
    y = np.arctan2(np.imag(z), np.real(z))
    return np.degrees(y) if deg else y


def sign(x: Any) -> Any:
    return x / np.where(x == 0, 1.0, np.abs(x)) if np.iscomplexobj(x) else sign_of(x)


def heaviside(x1: Any, x2: Any) -> Any:
    return np.where(x1 == 0, x2, step(x1))[()]


def step(x: Any) -> Any:
    return np.heaviside(x, 0.0)


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    y = default
    for i in range(len(choicelist) - 1, -1, -1):
        y = np.where(condlist[i], choicelist[i], y)
    return y


def interp(x: Any, xp: Any, fp: Any) -> Any:
    xp, fp = np.asarray(xp), np.asarray(fp)
    i = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, len(xp) - 2)
    y = fp[i] + (x - xp[i]) / (xp[i + 1] - xp[i]) * (fp[i + 1] - fp[i])
    return np.where(x < xp[0], fp[0], np.where(x > xp[-1], fp[-1], y))[()]


# Parts and joins.


def hstack(tup: Any) -> Any:
    parts = [np.atleast_1d(a) for a in tup]
    return np.concatenate(parts, 0 if np.ndim(parts[0]) == 1 else 1)


def vstack(tup: Any) -> Any:
    return np.concatenate([np.atleast_2d(a) for a in tup], 0)


def column_stack(tup: Any) -> Any:
    return np.concatenate([a[:, None] if np.ndim(a) == 1 else a for a in tup], 1)


def dstack(tup: Any) -> Any:
    return np.concatenate([a if np.ndim(a) > 2 else np.atleast_2d(a)[..., None] for a in tup], 2)


def append(arr: Any, values: Any, axis: Any = None) -> Any:
    if axis is None:
        return np.concatenate([np.ravel(arr), np.ravel(values)])
    return np.concatenate([arr, values], axis)


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    return [ary[where] for where in pieces(np.shape(ary), indices_or_sections, axis, True)]


def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    return [ary[where] for where in pieces(np.shape(ary), indices_or_sections, axis, False)]


def pieces(shape: Any, sections: Any, axis: int, equal: bool) -> Any:
    """The slices into which an array of a shape is split."""
    cuts = [0, *np.ravel(sections), shape[axis]]
    if np.ndim(sections) == 0:
        parts = (np.split if equal else np.array_split)(np.arange(shape[axis]), sections)
        cuts = [0, *np.cumsum([len(part) for part in parts])]
    return [along_axis(len(shape), slice(a, b), axis) for a, b in pairwise(cuts)]


def along_axis(count: int, where: Any, axis: int) -> Any:
    """The index that is `where` on an axis of an array of so many."""
    return (*(slice(None),) * (axis % count), where)


def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    y = np.moveaxis(a, axis, 0)
    for _ in range(n):
        y = y[1:] - y[:-1]
    return np.moveaxis(y, 0, axis)


def take(a: Any, indices: Any, axis: Any = None) -> Any:
    return np.ravel(a)[indices] if axis is None else a[along_axis(np.ndim(a), indices, axis)]


def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    return np.ravel(arr)[indices] if axis is None else arr[each_along(np.shape(arr), indices, axis)]


def each_along(shape: Any, indices: Any, axis: int) -> Any:
    """The index arrays that pick `indices` along an axis."""
    grid = list(np.ogrid[tuple(slice(n) for n in shape)])
    grid[axis] = indices
    return tuple(grid)


def sort(a: Any, axis: Any = -1) -> Any:
    return take_along_axis(a, np.argsort(a, axis), axis)


def sort_in_place(a: Any, axis: int = -1) -> Any:
    a[...] = sort(a, axis)


def fliplr(m: Any) -> Any:
    return m[:, ::-1]


def flipud(m: Any) -> Any:
    return m[::-1]


def meshgrid(*xi: Any, indexing: str = "xy") -> Any:
    whole = tuple([np.size(x) for x in xi])
    grids = [spread_along(x, i, whole) for i, x in enumerate(xi)]
    if indexing == "xy" and len(xi) > 1:
        grids = [np.copy(np.swapaxes(grid, 0, 1)) for grid in grids]
    return tuple(grids)


def spread_along(x: Any, axis: int, whole: Any) -> Any:
    """An array with the entries of x along an axis, the same ones along the others."""
    shape = [1] * len(whole)
    shape[axis] = whole[axis]
    return np.copy(np.broadcast_to(np.reshape(x, shape), whole))


def tolist(a: Any) -> Any:
    return [tolist(row) for row in a] if np.ndim(a) > 0 else a.item()


def fill(a: Any, v: Any) -> Any:
    a[...] = v


constant(pairing, paired, step, pieces, along_axis, each_along, is_of_vectors, unknown_norm)
_FUNCTIONS = (
    *(dot, inner, outer, vdot, tensordot, kron, tile, cross, convolve, polyval, trace, ptp, prod, cumprod, average),
    *(nansum, nanmean, median, var, std, clip, angle, sign, heaviside, select, interp, hstack, vstack, column_stack),
    *(dstack, append, split, array_split, diff, take, take_along_axis, sort, fliplr, flipud, meshgrid),
    *(vecdot, trapezoid),
)
SUBSTITUTES.update({getattr(np, f.__name__): f for f in _FUNCTIONS})
SUBSTITUTES.update({getattr(Array, f.__name__): f for f in (dot, trace, prod, cumprod, var, std, take, tolist, fill)})
SUBSTITUTES.update({Array.clip: clip_method, Array.sort: sort_in_place, np.linalg.norm: norm})
