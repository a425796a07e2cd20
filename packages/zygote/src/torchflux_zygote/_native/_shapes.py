"""The functions that native code knows of arrays' shapes: reshaped, put together, diagonals, running sums."""

from functools import reduce
from typing import Any

import numpy as np

from ._array_functions import array_of, constant_axis, mean, stacked, total
from ._entries import ArrayRef, Static, View
from ._functions import known, method
from ._ir import BOOL, INT, Array, Value
from ._ops import join
from ._writer import literal, rank

__all__: list[str] = []

Entry = Any


# One array in another shape.


@method("reshape")
def _reshape_method(r: Any, x: Entry, *shape: Entry) -> Entry:
    """An array in another shape."""
    return _reshape(r, x, shape[0] if len(shape) == 1 else shape)


@known(np.reshape)
def _reshape(r: Any, x: Entry, shape: Entry) -> Entry:
    """An array in another shape, of which one length may be -1."""
    value = r.array(array_of(r, x))
    sizes = [r.integer(n) for n in (shape if isinstance(shape, tuple) else (shape,))]
    if not sizes:
        raise r.refuse("a reshape to no dimensions", "write x.item()")
    flat = _flat(r, value)
    sizes = _fitting(r, flat, sizes)
    new = flat if len(sizes) == 1 else r.w.emit("reshape", Array(value.type.dtype, len(sizes)), flat, *sizes)
    return _loose(r, new, x)


def _fitting(r: Any, flat: Value, sizes: list[Value]) -> list[Value]:
    """The lengths of a new shape, the one of -1 worked out; checked."""
    left = [k for k, n in enumerate(sizes) if n.const == -1]
    if len(left) > 1 or any(n.const is not None and n.const < -1 for n in sizes):
        raise r.refuse("a shape with several unknown or negative lengths", "leave out one length at most, as -1")
    others = [n for n in sizes if n.const != -1]
    product = reduce(lambda a, b: r.w.op("mul", a, b), others, literal(1))
    whole = r.w.shape(flat, 0)
    if left:
        sizes[left[0]] = r.w.op("floordiv", whole, r.w.op("max", product, literal(1)))
        product = r.w.op("mul", product, sizes[left[0]])
    fits = r.w.op("eq", product, whole)
    for n in others:
        fits = fits if n.const is not None else r.w.op("and", fits, r.w.op("ge", n, literal(0)))
    r.check(fits, "ValueError", f"{r.place()}: an array that can't be reshaped so")
    return sizes


def _flat(r: Any, value: Value) -> Value:
    """The elements in a row."""
    assert isinstance(value.type, Array)
    flat: Value = r.w.emit("ravel", Array(value.type.dtype, 1), value)
    r.w.sizes[flat] = (r.size(value),)
    return flat


def _loose(r: Any, value: Value, x: Entry) -> ArrayRef:
    """A name's hold on an array that NumPy makes as a view if it can, and else as a copy."""
    ref: ArrayRef = r.new_array(value)
    base = x.base if isinstance(x, View) else x
    ref.entangled, ref.loose = tuple(base.family), True
    return ref


@known(np.ravel)
@method("ravel")
def _ravel(r: Any, x: Entry) -> Entry:
    """An array in one row, which may or may not share its memory."""
    x = array_of(r, x)
    return _loose(r, _flat(r, r.array(x)), x)


@method("flatten")
def _flatten(r: Any, x: Entry) -> Entry:
    """A copy in one row."""
    value = r.array(x)
    return r.new_array(_flat(r, r.w.emit("copy", value.type, value, pure=False)))


@known(np.flip)
def _flip(r: Any, x: Entry) -> Entry:
    """A view from the end."""
    x = array_of(r, x)
    steps = ("s001",) * rank(r.array(x))
    return r.at(x, (steps,), tuple(literal(-1) for _ in steps))


# Several arrays put together.


@known(np.stack)
def _stack(r: Any, x: Entry, axis: Entry = None) -> Entry:
    """Arrays along a new axis."""
    parts = [r.array(array_of(r, part)) for part in r.elements(x)]
    return stacked(r, parts, 0 if axis is None else _new_axis(r, axis, rank(parts[0]) + 1))


def _new_axis(r: Any, axis: Entry, ndim: int) -> int:
    """A constant axis of a result, counted from the front."""
    k = r.as_value(axis).const
    if not isinstance(k, int) or not -ndim <= k < ndim:
        raise r.refuse("an axis that isn't a constant within the array's dimensions", "write the number")
    return k % ndim


@known(np.concatenate)
def _concatenate(r: Any, x: Entry, axis: Entry = None) -> Entry:
    """Arrays one after the other along an axis."""
    parts = [r.array(array_of(r, part)) for part in r.elements(x)]
    return _joined(r, parts, 0 if axis is None else constant_axis(r, axis, parts[0]))


def _joined(r: Any, parts: list[Value], axis: int) -> Entry:
    """Arrays one after the other along an axis, whose lengths along the others must be the same."""
    first = parts[0]
    ndim = rank(first)
    if any(rank(part) != ndim for part in parts):
        raise r.refuse("arrays of different dimensions, one after the other", "reshape them to the same")
    whole = reduce(join, (part.type for part in parts))
    assert isinstance(whole, Array)
    lengths = [r.w.shape(first, k) for k in range(ndim)]
    for part in parts[1:]:
        for k in range(ndim):
            if k != axis:
                same = r.w.op("eq", lengths[k], r.w.shape(part, k))
                r.check(same, "ValueError", f"{r.place()}: arrays whose shapes don't fit together")
    ends = [literal(0)]
    for part in parts:
        ends.append(r.w.op("add", ends[-1], r.w.shape(part, axis)))
    lengths[axis] = ends[-1]
    new = r.new_array(r.w.emit("zeros", whole, *lengths, attrs=str(whole.dtype), pure=False))
    step = tuple("s110" if k == axis else "s000" for k in range(ndim))
    for part, start, end in zip(parts, ends, ends[1:], strict=False):
        r.store(new, (step,), (start, end), part)
    return new


@known(np.vstack)
def _vstack(r: Any, x: Entry) -> Entry:
    """Rows one under the other."""
    parts = [array_of(r, part) for part in r.elements(x)]
    rows = [r.at(p, (("n", "s000"),), ()) if rank(r.array(p)) == 1 else p for p in parts]
    return _joined(r, [r.array(row) for row in rows], 0)


@known(np.hstack)
def _hstack(r: Any, x: Entry) -> Entry:
    """Arrays side by side."""
    parts = [r.array(array_of(r, part)) for part in r.elements(x)]
    return _joined(r, parts, 0 if rank(parts[0]) == 1 else 1)


@known(np.column_stack)
def _column_stack(r: Any, x: Entry) -> Entry:
    """Vectors as columns, and matrices, side by side."""
    parts = [array_of(r, part) for part in r.elements(x)]
    columns = [r.at(p, (("s000", "n"),), ()) if rank(r.array(p)) == 1 else p for p in parts]
    return _joined(r, [r.array(column) for column in columns], 1)


# Sums of parts, and spread.


@known(np.cumsum)
@method("cumsum")
def _cumsum(r: Any, x: Entry, axis: Entry = None) -> Entry:
    """The sums of the first elements."""
    value = r.array(array_of(r, x))
    if rank(value) > 1 and axis is not None:
        raise r.refuse("a running sum along an axis of a matrix", "write a loop over the rows")
    if axis is not None:
        constant_axis(r, axis, value)
    dtype = value.type.dtype if value.floats else INT
    flat = r.w.cast(value if rank(value) == 1 else _flat(r, value), Array(dtype, 1))
    return r.new_array(r.w.emit("cumsum", Array(dtype, 1), flat))


@known(np.diff)
def _diff(r: Any, x: Entry) -> Entry:
    """The differences of neighbours."""
    x = array_of(r, x)
    before = ("s000",) * (rank(r.array(x)) - 1)
    return r.elementwise(
        "sub", r.at(x, ((*before, "s100"),), (literal(1),)), r.at(x, ((*before, "s010"),), (literal(-1),))
    )


@known(np.var)
@method("var")
def _var(r: Any, x: Entry, axis: Entry = None) -> Entry:
    """The mean square of the deviations from the mean."""
    x = array_of(r, x)
    middle = mean(r, x, axis)
    if isinstance(middle, ArrayRef):
        k = constant_axis(r, axis, r.array(x))
        middle = r.at(middle, (tuple("n" if n == k else "s000" for n in range(rank(r.array(x)))),), ())
    deviation = r.elementwise("sub", x, middle)
    return mean(r, r.elementwise("mul", deviation, deviation), axis)


@known(np.std)
@method("std")
def _std(r: Any, x: Entry, axis: Entry = None) -> Entry:
    """The root of the variance."""
    return r.elementwise("sqrt", _var(r, x, axis))


# Diagonals.


@known(np.diagonal)
@method("diagonal")
def _diagonal(r: Any, x: Entry) -> Entry:
    """The diagonal, which is only read."""
    value = r.array(array_of(r, x))
    if rank(value) != 2:
        raise r.refuse(f"a diagonal of {rank(value)} dimensions", "pass a matrix")
    return r.new_array(r.w.emit("diagonal", Array(value.type.dtype, 1), value))


@known(np.diag)
def _diag(r: Any, x: Entry) -> Entry:
    """The diagonal of a matrix; of a vector, the matrix with that diagonal."""
    value = r.array(array_of(r, x))
    if rank(value) != 1:
        return _diagonal(r, x)
    n = r.w.shape(value, 0)
    return r.new_array(r.w.emit("on_diagonal", Array(value.type.dtype, 2), value, n, n))


@known(np.trace)
@method("trace")
def _trace(r: Any, x: Entry) -> Entry:
    """The sum of the diagonal."""
    return total(r, _diagonal(r, x))


# Products, numbers in a row, bounds.


@known(np.inner, np.vdot)
def _inner(r: Any, a: Entry, b: Entry) -> Entry:
    """The products of rows with rows."""
    x, y = array_of(r, a), array_of(r, b)
    return r.matmul(x, r.attribute(y, "T"))


@known(np.linspace)
def _linspace(r: Any, start: Entry, stop: Entry, num: Entry = None) -> Entry:
    """So many numbers from one to another, both of them included."""
    n = literal(50) if num is None else r.integer(num)
    r.check(r.w.op("ge", n, literal(0)), "ValueError", f"{r.place()}: a negative number of samples")
    k = r.new_array(r.w.emit("arange", Array(INT, 1), literal(0), n, literal(1), pure=False))
    intervals = r.w.op("max", r.w.op("sub", n, literal(1)), literal(1))
    step = r.elementwise("div", r.elementwise("sub", stop, start), r.w.op("float", intervals))
    inner = r.elementwise("add", r.elementwise("mul", k, step), start)
    last = r.w.op("where", r.w.op("gt", n, literal(1)), r.w.op("sub", n, literal(1)), literal(-1))
    return r.elementwise("where", r.elementwise("eq", k, last), r.w.op("float", r.as_value(stop)), inner)


@known(np.clip)
@method("clip")
def _clip(r: Any, x: Entry, low: Entry, high: Entry) -> Entry:
    """Numbers within bounds, of which one may be None."""
    if not (isinstance(low, Static) and low.value is None):
        x = r.elementwise("where", r.elementwise("lt", x, low), low, x)
    if not (isinstance(high, Static) and high.value is None):
        x = r.elementwise("where", r.elementwise("gt", x, high), high, x)
    return x


@known(np.argsort)
@method("argsort")
def _argsort(r: Any, x: Entry) -> Entry:
    """The places of the elements in their order, equal ones as they stand."""
    value = r.array(array_of(r, x))
    if rank(value) != 1:
        raise r.refuse(f"argsort of {rank(value)} dimensions", "sort the rows in a loop")
    return r.new_array(r.w.emit("argsort", Array(INT, 1), value))


def _logical(name: str) -> Any:
    """The rule of a truth function of arrays and numbers."""

    def rule(r: Any, *args: Entry) -> Entry:
        truths = [x if isinstance(x, ArrayRef | View) else r.truth(x) for x in args]
        values = [r.as_value(x) for x in truths]
        zeros = [v if _is_bool(v) else r.w.op("ne", v, literal(0)) for v in values]
        return r.entry(r.w.op(name, *zeros))

    return rule


def _is_bool(value: Value) -> bool:
    """Whether a value is a truth value, or an array of them."""
    return (value.type.dtype if isinstance(value.type, Array) else value.type) == BOOL


known(np.logical_and)(_logical("and"))
known(np.logical_or)(_logical("or"))
known(np.logical_not)(_logical("not"))
