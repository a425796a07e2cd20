"""NumPy's functions that native code knows: products, sums, new arrays, linear algebra."""

import functools
import operator
from typing import Any

import numpy as np

from ._entries import ArrayRef, Static, View
from ._functions import Entry, known, method
from ._ir import BOOL, F32, F64, INT, Array, Scalar, Value
from ._ops import join
from ._writer import literal, rank

__all__ = ["array_of", "constant_axis", "mean", "stacked", "total"]


@known(operator.matmul, np.dot, np.matmul)
@method("dot")
def _matmul(r: Any, a: Entry, b: Entry) -> Entry:
    """A matrix product; with a number, an element-wise one."""
    x, y = r.as_value(a), r.as_value(b)
    if not (x.is_array and y.is_array):
        return r.elementwise("mul", a, b)
    return r.matmul(a, b)


@known(np.square)
def _square(r: Any, a: Entry) -> Entry:
    """The square."""
    return r.elementwise("mul", a, a)


@known(np.outer)
def _outer(r: Any, a: Entry, b: Entry) -> Entry:
    """The outer product."""
    column = r.at(array_of(r, a), (("s000", "n"),), ())
    row = r.at(array_of(r, b), (("n", "s000"),), ())
    return r.elementwise("mul", column, row)


def array_of(r: Any, entry: Entry) -> Entry:
    """An entry that has to be an array."""
    if isinstance(entry, tuple):
        return _array(r, entry)
    if not isinstance(entry, ArrayRef | View):
        raise r.refuse(f"{r.describe(entry)} where an array is due", "pass an array")
    return entry


@known(np.sum)
@method("sum")
def total(r: Any, x: Entry, axis: Entry = None) -> Entry:
    """The sum, of all elements or along an axis."""
    value = r.array(array_of(r, x))
    dtype = value.type.dtype if value.floats else INT
    if axis is None or (isinstance(axis, Static) and axis.value is None):
        return r.w.emit("sum", dtype, value)
    k = constant_axis(r, axis, value)
    if value.type.ndim == 1:
        return r.w.emit("sum", dtype, value)
    return r.entry(r.w.emit("sum_axis", Array(dtype, value.type.ndim - 1), value, attrs=k))


def constant_axis(r: Any, axis: Entry, value: Value) -> int:
    """A constant axis, counted from the front."""
    k = r.as_value(axis).const
    assert isinstance(value.type, Array)
    n = value.type.ndim
    if not isinstance(k, int) or not -n <= k < n:
        raise r.refuse("an axis that isn't a constant within the array's dimensions", "write the number")
    return k % n


@known(np.mean)
@method("mean")
def mean(r: Any, x: Entry, axis: Entry = None) -> Entry:
    """The mean, of all elements or along an axis."""
    value = r.array(array_of(r, x))
    if value.type.dtype == INT:  # as floats, of which the sum can't wrap around
        x = r.entry(r.w.cast(value, Array(F64, rank(value))))
        value = r.array(x)
    whole = axis is None or (isinstance(axis, Static) and axis.value is None)
    n = r.size(value) if whole else r.w.shape(value, constant_axis(r, axis, value))
    return r.elementwise("div", total(r, x, axis), r.w.op("float", n))


@known(np.linalg.norm)
def _norm(r: Any, x: Entry) -> Entry:
    """The Euclidean norm."""
    return r.w.op("norm", total(r, r.elementwise("mul", x, x)))


@known(np.zeros, np.empty)
def _zeros(r: Any, shape: Entry, dtype: Entry = None) -> Entry:
    """An array of zeros."""
    return _filled(r, shape, literal(0), dtype)


@known(np.ones)
def _ones(r: Any, shape: Entry, dtype: Entry = None) -> Entry:
    """An array of ones."""
    return _filled(r, shape, literal(1), dtype)


@known(np.full)
def _full(r: Any, shape: Entry, value: Entry, dtype: Entry = None) -> Entry:
    """An array of one number."""
    fill = r.as_value(value)
    if dtype is None:
        dtype = Static(float if fill.floats else int)
    new = _filled(r, shape, literal(0), dtype)
    r.store(new, (("s000",) * r.array(new).type.ndim,), (), fill)
    return new


def _filled(r: Any, shape: Entry, value: Value, dtype: Entry) -> Entry:
    """A new array of zeros or ones."""
    sizes = [r.integer(n) for n in (shape if isinstance(shape, tuple) else (shape,))]
    for n in sizes:
        r.check(r.w.op("ge", n, literal(0)), "ValueError", f"{r.place()}: a negative dimension")
    type = Array(_dtype(r, dtype), len(sizes))
    name = "zeros" if value.const == 0 else "ones"
    return r.new_array(r.w.emit(name, type, *sizes, attrs=str(type.dtype), pure=False))


def _dtype(r: Any, dtype: Entry) -> Scalar:
    """A number type by name."""
    if dtype is None or (isinstance(dtype, Static) and dtype.value is None):
        return F64
    name = dtype.value if isinstance(dtype, Static) else dtype
    text = name if isinstance(name, str) else getattr(name, "__name__", str(name))
    kinds = {"float": F64, "float64": F64, "float32": F32, "int": INT, "int64": INT, "bool": BOOL, "bool_": BOOL}
    if text not in kinds:
        raise r.refuse(f"dtype {text}", "use float64, float32, int64 or bool")
    return kinds[text]


@known(np.zeros_like, np.empty_like)
def _zeros_like(r: Any, x: Entry) -> Entry:
    """Zeros in the shape of an array."""
    return r.new_array(r.w.zeros_like(r.array(array_of(r, x))))


@known(np.ones_like)
def _ones_like(r: Any, x: Entry) -> Entry:
    """Ones in the shape of an array."""
    new = _zeros_like(r, x)
    r.store(new, (("s000",) * r.array(new).type.ndim,), (), literal(1.0))
    return new


@known(np.eye, np.identity)
def _eye(r: Any, n: Entry) -> Entry:
    """The unit matrix."""
    size = r.integer(n)
    return r.new_array(r.w.emit("eye", Array(F64, 2), size, pure=False))


@known(np.copy)
@method("copy")
def _copy(r: Any, x: Entry) -> Entry:
    """A copy."""
    value = r.array(array_of(r, x))
    return r.new_array(r.w.emit("copy", value.type, value, pure=False))


@method("astype")
def _astype(r: Any, x: Entry, dtype: Entry) -> Entry:
    """A copy of another number type."""
    value = r.array(x)
    return r.entry(r.w.cast(value, Array(_dtype(r, dtype), value.type.ndim)))


@known(np.asarray)
def _asarray(r: Any, x: Entry, dtype: Entry = None) -> Entry:
    """An array, the same one if it is one."""
    return x if isinstance(x, ArrayRef | View) and dtype is None else _array(r, x, dtype)


@known(np.array)
def _array(r: Any, x: Entry, dtype: Entry = None) -> Entry:
    """A new array from an array or from nested elements."""
    if isinstance(x, ArrayRef | View):
        return _copy(r, x) if dtype is None else _astype(r, x, dtype)
    rows = r.elements(x)
    if not rows:
        raise r.refuse("an empty array", "write np.zeros(0)")
    if isinstance(rows[0], tuple | ArrayRef | View):
        parts = [
            r.array(_array(r, row, dtype)) if isinstance(row, tuple) else r.array(array_of(r, row)) for row in rows
        ]
        return stacked(r, parts, 0, dtype)
    parts = [r.as_value(row) for row in rows]
    whole = functools.reduce(join, (part.type for part in parts))
    type = Array((F64 if whole.weak else whole) if dtype is None else _dtype(r, dtype), 1)
    new = r.new_array(r.w.emit("zeros", type, literal(len(rows)), attrs=str(type.dtype), pure=False))
    for k, part in enumerate(parts):
        r.store(new, (("i",),), (literal(k),), part)
    return new


def stacked(r: Any, parts: list[Value], axis: int, dtype: Entry = None) -> Entry:
    """Arrays of one shape along a new axis."""
    whole = functools.reduce(join, (part.type for part in parts))
    assert isinstance(whole, Array)
    if any(rank(part) != whole.ndim for part in parts):
        raise r.refuse("arrays of different dimensions in one", "give all of them the same")
    shape = [r.w.shape(parts[0], k) for k in range(whole.ndim)]
    for part in parts[1:]:
        for k, n in enumerate(shape):
            r.check(
                r.w.op("eq", n, r.w.shape(part, k)), "ValueError", f"{r.place()}: arrays of different shapes in one"
            )
    shape.insert(axis, literal(len(parts)))
    type = Array(whole.dtype if dtype is None else _dtype(r, dtype), len(shape))
    new = r.new_array(r.w.emit("zeros", type, *shape, attrs=str(type.dtype), pure=False))
    step = tuple("i" if k == axis else "s000" for k in range(len(shape)))
    for k, part in enumerate(parts):
        r.store(new, (step,), (literal(k),), part)
    return new


@known(np.transpose)
@method("transpose")
def _transpose(r: Any, x: Entry) -> Entry:
    """A transposed view."""
    return r.attribute(array_of(r, x), "T")


@method("item")
def _item(r: Any, x: Entry) -> Entry:
    """The one element."""
    size = r.size(r.array(x))
    r.check(r.w.op("eq", size, literal(1)), "ValueError", f"{r.place()}: item of an array of another size than one")
    return r.at(x, (("i",) * r.array(x).type.ndim,), tuple(literal(0) for _ in range(r.array(x).type.ndim)))


@known(np.linalg.solve)
def _solve(r: Any, a: Entry, b: Entry) -> Entry:
    """The solution of a linear system."""
    x, y = r.array(array_of(r, a)), r.array(array_of(r, b))
    return r.entry(r.w.emit("solve", y.type, x, y))


@known(np.linalg.inv)
def _inv(r: Any, a: Entry) -> Entry:
    """The inverse."""
    x = r.array(array_of(r, a))
    return r.entry(r.w.emit("inv", x.type, x))


@known(np.linalg.det)
def _det(r: Any, a: Entry) -> Entry:
    """The determinant."""
    x = r.array(array_of(r, a))
    return r.w.emit("det", x.type.dtype, x)
