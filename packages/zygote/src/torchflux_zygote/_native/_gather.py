"""Indices that are arrays: places to read from and to store into.

All of them come to one array of places, numbers of elements in order, which `take` reads and `put` stores into.
"""

import ast
from typing import Any

import numpy as np

from ._array_functions import array_of, constant_axis
from ._entries import ArrayRef, Listed, View
from ._functions import known
from ._ir import BOOL, INT, Array, Value
from ._writer import literal, rank

__all__ = ["chosen", "put_at", "take_at"]

Entry = Any


def chosen(entries: list[Any]) -> bool:
    """Whether an index has arrays in it."""
    return any(isinstance(e, ArrayRef | View | Listed) for e in entries)


def take_at(r: Any, entry: ArrayRef | View, entries: list[Any]) -> ArrayRef:
    """`entry[index]`: a new array."""
    part, where = _places(r, entry, entries)
    value = r.array(part)
    found: ArrayRef = r.new_array(r.w.emit("take", Array(value.type.dtype, rank(where)), value, where))
    return found


def put_at(r: Any, entry: ArrayRef | View, entries: list[Any], value: Value) -> None:
    """`entry[index] = value`: of several for one place the last stays."""
    value = r.unshared(entry if isinstance(entry, ArrayRef) else entry.base, (), value)
    part, where = _places(r, entry, entries)
    dtype = r.array(part).type.dtype
    if value.is_array:
        value = _spread(r, r.w.cast(value, Array(dtype, rank(value))) if not value.floats else value, where)
    r.store(part, (), (where,), value, "put")


def _spread(r: Any, value: Value, where: Value) -> Value:
    """What is stored, in the shape of the places."""
    sizes = [[r.w.shape(x, k) for k in range(rank(x))] for x in (value, where)]
    if [n.const or n for n in sizes[0]] == [n.const or n for n in sizes[1]]:
        return value
    dtype = value.type.dtype  # type: ignore[union-attr]
    new = r.new_array(r.w.emit("zeros", Array(dtype, rank(where)), *sizes[1], attrs=str(dtype), pure=False))
    r.store(new, (("s000",) * rank(where),), (), value)
    whole: Value = r.array(new)
    return whole


def _places(r: Any, entry: ArrayRef | View, entries: list[Any]) -> tuple[Entry, Value]:
    """The array, slices applied, and the places in it."""
    entries = [array_of(r, tuple(e)) if isinstance(e, Listed) else e for e in entries]
    ndim = rank(r.array(entry))
    mask = len(entries) == 1 and isinstance(entries[0], ArrayRef | View) and _is_mask(r, entries[0])
    if mask and rank(r.array(entries[0])) == ndim and ndim <= 2:
        return entry, _true(r, entry, r.array(entries[0]))
    if ndim > 2 or len(entries) > ndim or any(not isinstance(e, ArrayRef | View | Value | ast.Slice) for e in entries):
        raise r.refuse(
            "an index with arrays in it that isn't one array, or integers, slices and arrays for one or two dimensions",
            "write a loop",
        )
    entries += [ast.Slice()] * (ndim - len(entries))
    part = r.part_of(entry, [e if isinstance(e, ast.Slice) else ast.Slice() for e in entries])
    axes = [_along(r, part, k, e) for k, e in enumerate(entries)]
    if ndim == 1:
        return part, r.array(axes[0])
    if any(isinstance(a, ArrayRef | View) and rank(r.array(a)) > 1 for a in axes):
        raise r.refuse("an index array of several dimensions into a matrix", "index rows, columns or pairs of both")
    rows, columns = axes
    if isinstance(entries[0], ast.Slice) != isinstance(entries[1], ast.Slice):
        rows = r.at(rows, (("s000", "n"),), ()) if isinstance(rows, ArrayRef | View) else rows
    wide = r.elementwise("mul", rows, r.w.shape(r.array(part), 1))
    return part, r.array(r.elementwise("add", wide, columns))


def _is_mask(r: Any, entry: Entry) -> bool:
    """Whether an index is an array of truth values."""
    return bool(r.array(entry).type.dtype == BOOL)


def _along(r: Any, part: Entry, axis: int, e: Any) -> Entry:
    """The places along one axis: a number, or an array of them."""
    n = r.w.shape(r.array(part), axis)
    if isinstance(e, ast.Slice):
        return r.new_array(r.w.emit("arange", Array(INT, 1), literal(0), n, literal(1), pure=False))
    if isinstance(e, Value):
        i = r.checked(r.integer(e), part, axis)
        return r.w.op("where", r.w.op("lt", i, literal(0)), r.w.op("add", i, n), i)
    value = r.array(e)
    if value.type.dtype == BOOL:
        if rank(value) > 1:
            raise r.refuse("a mask of several dimensions among other indices", "write a loop")
        return r.new_array(_true(r, part, value, axis))
    if value.floats:
        raise r.refuse("an array of floats as an index", "convert it: `.astype(int)`")
    if r.bounds:
        beyond = r.w.emit("beyond", BOOL, value, n)
        r.check(r.w.op("not", beyond), "IndexError", f"{r.place()}: index out of bounds")
    return r.new_array(r.w.emit("wrapped", value.type, value, n))


def _true(r: Any, entry: Entry, mask: Value, axis: int | None = None) -> Value:
    """The places at which a mask holds; its shape must be the array's, or that of one axis of it."""
    value = r.array(entry)
    for k in range(rank(mask)):
        same = r.w.op("eq", r.w.shape(mask, k), r.w.shape(value, k if axis is None else axis))
        r.check(same, "IndexError", f"{r.place()}: a mask of another shape than what it is an index of")
    where: Value = r.w.emit("nonzero", Array(INT, 1), mask)
    return where


@known(np.take)
def _take(r: Any, x: Entry, where: Entry, axis: Entry = None) -> Entry:
    """The elements, rows or columns at some places."""
    x, where = array_of(r, x), where if isinstance(where, ArrayRef | View | Value) else array_of(r, where)
    ndim = rank(r.array(x))
    k = constant_axis(r, axis, r.array(x)) if axis is not None else 0
    if axis is None and ndim > 1:
        raise r.refuse("np.take without an axis from a matrix", "give the axis, or flatten it first")
    entries = [ast.Slice() for _ in range(k)] + [where]
    return take_at(r, x, entries) if chosen(entries) else r.part_of(x, entries)


@known(np.flatnonzero)
def _flatnonzero(r: Any, x: Entry) -> Entry:
    """The places of what isn't zero."""
    value = r.array(array_of(r, x))
    mask = value if value.type.dtype == BOOL else r.w.op("ne", value, literal(0))
    return r.new_array(r.w.emit("nonzero", Array(INT, 1), mask))


@known(np.sort)
def _sort(r: Any, x: Entry) -> Entry:
    """The elements of a vector in order."""
    value = r.array(array_of(r, x))
    if rank(value) != 1:
        raise r.refuse(f"a sort of {rank(value)} dimensions", "sort the rows in a loop")
    order = r.w.emit("argsort", Array(INT, 1), value)
    return r.new_array(r.w.emit("take", value.type, value, order))


@known(np.add.at)
def _add_at(r: Any, x: Entry, where: Entry, value: Entry) -> None:
    """`x[where] += value`, all that is for one place added up."""
    entries = list(where) if isinstance(where, tuple) and not isinstance(where, Listed) else [where]
    if not chosen(entries):
        raise r.refuse("np.add.at of one place", "write `x[i] += value`")
    part, places = _places(r, array_of(r, x), entries)
    more = r.as_value(value)
    r.store(part, (), (places,), _spread(r, more, places) if more.is_array else more, "scatter")
