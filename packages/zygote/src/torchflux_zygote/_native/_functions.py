"""The functions that native code knows: math, builtins, operator and NumPy, by the function itself."""

import builtins
import contextlib
import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ._entries import ArrayRef, Manager, Range, Static, View, Zipped
from ._ir import BOOL, F32, F64, INT, WEAK, Array, Scalar, Value
from ._ops import DERIVATIVES, join
from ._writer import literal, rank

__all__ = ["FUNCTIONS", "METHODS", "array_of", "constant_axis", "known", "mean", "method", "stacked", "table", "total"]

Entry = Any
Rule = Callable[..., Entry]
FUNCTIONS: dict[Any, Rule] = {}
METHODS: dict[str, Rule] = {}


def known(*functions: Any) -> Callable[[Rule], Rule]:
    """Enters a rule for some functions."""

    def enter(rule: Rule) -> Rule:
        for f in functions:
            FUNCTIONS[f] = rule
        return rule

    return enter


def method(*names: str) -> Callable[[Rule], Rule]:
    """Enters a rule for some methods of arrays."""

    def enter(rule: Rule) -> Rule:
        for name in names:
            METHODS[name] = rule
        return rule

    return enter


def table() -> list[str]:
    """The names of what native code knows."""
    return sorted({f"{getattr(f, '__module__', '') or 'builtins'}.{getattr(f, '__name__', f)}" for f in FUNCTIONS})


def _elementwise(name: str) -> Rule:
    """The rule of an element-wise operation."""
    return lambda r, *args: r.elementwise(name, *args)


SAME = [
    "sqrt",
    "cbrt",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "hypot",
    "copysign",
    "floor",
    "ceil",
    "trunc",
    "isnan",
    "isinf",
    "isfinite",
]
for _name in SAME:
    for _module in (math, np):
        if hasattr(_module, _name):
            FUNCTIONS[getattr(_module, _name)] = _elementwise(_name)
for _name, _other in {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2",
    "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
}.items():  # fmt: skip
    FUNCTIONS[getattr(math, _name)] = FUNCTIONS[getattr(np, _other)] = _elementwise(_name)
for _name in ("erf", "erfc"):
    FUNCTIONS[getattr(math, _name)] = _elementwise(_name)
for _name, _functions in {
    "add": (operator.add, np.add), "sub": (operator.sub, np.subtract), "mul": (operator.mul, np.multiply),
    "neg": (operator.neg, np.negative), "div": (operator.truediv, np.divide, np.true_divide),
    "pow": (operator.pow, np.power, math.pow, builtins.pow), "abs": (abs, operator.abs, np.abs, math.fabs),
    "mod": (operator.mod, np.mod), "floordiv": (operator.floordiv, np.floor_divide),
    "maximum": (np.maximum,), "minimum": (np.minimum,), "sign": (np.sign,), "where": (np.where,),
    "lt": (operator.lt, np.less), "le": (operator.le, np.less_equal), "gt": (operator.gt, np.greater),
    "ge": (operator.ge, np.greater_equal), "eq": (operator.eq, np.equal), "ne": (operator.ne, np.not_equal),
}.items():  # fmt: skip
    for _f in _functions:
        FUNCTIONS[_f] = _elementwise(_name)
assert all(name in DERIVATIVES for name in (*SAME, "erf", "maximum"))


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


# Numbers.


@known(float, np.float64)
def _float(r: Any, x: Entry = 0.0) -> Entry:
    """A float; of a text, the number that it spells."""
    if isinstance(x, Static) and isinstance(x.value, str):
        return literal(float(x.value))
    if isinstance(x, ArrayRef | View):
        raise r.refuse("float() of an array", "write x.astype(np.float64), or x.item()")
    value: Value = r.as_value(x)
    if value.type == F64 and r.handled(ZeroDivisionError):  # one of Python's own from now on
        return r.w.emit("float", WEAK, value)
    return r.w.op("float", value)


@known(np.float32)
def _float32(r: Any, x: Entry) -> Entry:
    """A float of 32 bits."""
    return r.entry(r.w.op("float32", r.as_value(x)))


@known(int, math.trunc, np.int64)
def _int(r: Any, x: Entry) -> Entry:
    """An integer, cut off."""
    return r.entry(_whole(r, x))


def _whole(r: Any, x: Entry, rounding: str = "") -> Value:
    """A number as an integer, which NaN and what is beyond 64 bits can't be."""
    value: Value = r.as_value(x)
    if value.floats and not value.is_array:
        r.integral(value)
    whole: Value = r.w.op("int", r.w.op(rounding, value) if rounding else value)
    return whole


@known(math.floor)
def _floor(r: Any, x: Entry) -> Entry:
    """The integer below."""
    return r.entry(_whole(r, x, "floor"))


@known(math.ceil)
def _ceil(r: Any, x: Entry) -> Entry:
    """The integer above."""
    return r.entry(_whole(r, x, "ceil"))


@known(round)
def _round(r: Any, x: Entry) -> Entry:
    """The nearest integer."""
    return r.entry(_whole(r, x, "round"))


@known(bool)
def _bool(r: Any, x: Entry) -> Entry:
    """Whether something holds."""
    return r.truth(x)


@known(math.degrees, np.degrees)
def _degrees(r: Any, x: Entry) -> Entry:
    """An angle in degrees."""
    return r.elementwise("mul", x, literal(180.0 / math.pi))


@known(math.radians, np.radians)
def _radians(r: Any, x: Entry) -> Entry:
    """An angle in radians."""
    return r.elementwise("mul", x, literal(math.pi / 180.0))


@known(operator.not_)
def _not(r: Any, x: Entry) -> Entry:
    """Whether something doesn't hold."""
    return r.w.op("not", r.truth(x))


@known(divmod)
def _divmod(r: Any, a: Entry, b: Entry) -> Entry:
    """Quotient and remainder."""
    return r.elementwise("floordiv", a, b), r.elementwise("mod", a, b)


@known(operator.getitem)
def _getitem(r: Any, x: Entry, i: Entry) -> Entry:
    """An element."""
    if isinstance(x, tuple):
        return x[r.as_value(i).const]
    return r.at(x, (("i", *("s000",) * (r.array(x).type.ndim - 1)),), (r.checked(r.integer(i), x, 0),))


# Python's own: length, ranges, folds.


@known(len)
def _len(r: Any, x: Entry) -> Entry:
    """A length."""
    if isinstance(x, tuple):
        return literal(len(x))
    if isinstance(x, Range):
        return r.length_of(x)
    return r.w.shape(r.array(array_of(r, x)), 0)


@known(range)
def _range(r: Any, first: Entry, second: Entry = None, third: Entry = None, /) -> Entry:
    """A range of integers."""
    values = [r.integer(end) for end in (first, second, third) if end is not None]
    if len(values) == 3 and values[2].const is None:
        r.check(r.w.op("ne", values[2], literal(0)), "ValueError", f"{r.place()}: range() arg 3 must not be zero")
    if len(values) == 1:
        return Range(literal(0), values[0], literal(1))
    return Range(values[0], values[1], values[2] if len(values) == 3 else literal(1))


@known(reversed)
def _reversed(r: Any, x: Entry) -> Entry:
    """The same from the end."""
    if isinstance(x, tuple):
        return tuple(reversed(x))
    if isinstance(x, Range):
        n = r.length_of(x)
        last = r.w.op("add", x.start, r.w.op("mul", r.w.op("sub", n, literal(1)), x.step))
        return Range(last, r.w.op("sub", x.start, x.step), r.w.op("neg", x.step))
    return r.at(array_of(r, x), (("s001", *("s000",) * (r.array(x).type.ndim - 1)),), (literal(-1),))


@known(zip)
def _zip(r: Any, *parts: Entry, strict: Entry = None) -> Entry:
    """Several side by side."""
    if isinstance(strict, Value) and strict.const:
        raise r.refuse("zip(strict=True)", "compare the lengths and raise")
    if all(isinstance(part, tuple) for part in parts):
        return tuple(zip(*parts, strict=False))
    if any(isinstance(part, tuple) for part in parts):
        lists = [r.elements(part) if isinstance(part, tuple | Range) else None for part in parts]
        n = min(len(part) for part in lists if part is not None)
        return tuple(
            tuple(p[k] if p is not None else r.part_at(q, literal(k)) for p, q in zip(lists, parts, strict=True))
            for k in range(n)
        )
    return Zipped(parts)


@known(enumerate)
def _enumerate(r: Any, x: Entry, start: Entry | None = None) -> Entry:
    """Elements with their numbers."""
    first = literal(0) if start is None else r.integer(start)
    if isinstance(x, tuple):
        return tuple((r.w.op("add", first, literal(k)), part) for k, part in enumerate(x))
    return Zipped((x,), first)


@known(tuple, list)
def _tuple(r: Any, x: Entry = ()) -> Entry:
    """The elements as a tuple."""
    return tuple(r.elements(x))


@known(sum)
def _sum_builtin(r: Any, x: Entry, start: Entry | None = None) -> Entry:
    """The sum of elements, one after the other."""
    if isinstance(x, ArrayRef | View):
        return total(r, x) if start is None else r.elementwise("add", start, total(r, x))
    whole = literal(0) if start is None else start
    for part in r.elements(x):
        whole = r.elementwise("add", whole, part)
    return whole


@known(math.prod)
def _prod(r: Any, x: Entry) -> Entry:
    """The product of elements."""
    total: Entry = literal(1)
    for part in r.elements(x):
        total = r.elementwise("mul", total, part)
    return total


def _extreme(name: str) -> Rule:
    """The rule of Python's `max` or `min`."""

    def rule(r: Any, *args: Entry) -> Entry:
        if len(args) == 1 and isinstance(args[0], ArrayRef | View):
            return _extreme_of_array(r, args[0], f"arg{name}")
        parts = r.elements(args[0]) if len(args) == 1 else list(args)
        whole = parts[0]
        for part in parts[1:]:
            whole = r.elementwise(name, whole, part)
        return whole

    return rule


FUNCTIONS[max], FUNCTIONS[min] = _extreme("max"), _extreme("min")


def _extreme_of_array(r: Any, x: Entry, name: str) -> Entry:
    """The greatest or smallest element, as the element at its place, so that it has a derivative."""
    value = r.array(x)
    r.check(r.w.op("gt", r.size(value), literal(0)), "ValueError", f"{r.place()}: {name[3:]} of an empty array")
    place: Value = r.w.emit(name, INT, value)
    where: list[Value] = []
    for k in reversed(range(value.type.ndim)):
        n = r.w.shape(value, k)
        where.insert(0, r.w.op("mod", place, n) if k else place)
        place = r.w.op("floordiv", place, n) if k else place
    return r.at(x, (("i",) * value.type.ndim,), tuple(where))


@known(np.max, np.amax)
@method("max")
def _max(r: Any, x: Entry) -> Entry:
    """The greatest element."""
    return _extreme_of_array(r, array_of(r, x), "argmax")


@known(np.min, np.amin)
@method("min")
def _min(r: Any, x: Entry) -> Entry:
    """The smallest element."""
    return _extreme_of_array(r, array_of(r, x), "argmin")


@known(np.argmax)
@method("argmax")
def _argmax(r: Any, x: Entry) -> Entry:
    """The place of the greatest element."""
    return _place_of(r, x, "argmax")


@known(np.argmin)
@method("argmin")
def _argmin(r: Any, x: Entry) -> Entry:
    """The place of the smallest element."""
    return _place_of(r, x, "argmin")


def _place_of(r: Any, x: Entry, name: str) -> Value:
    """The number of the greatest or smallest element."""
    value = r.array(array_of(r, x))
    r.check(r.w.op("gt", r.size(value), literal(0)), "ValueError", f"{r.place()}: {name} of an empty array")
    place: Value = r.w.emit(name, INT, value)
    return place


@known(isinstance)
def _isinstance(r: Any, x: Entry, kinds: Entry) -> Entry:
    """Whether something is of some type, which is known here."""
    wanted = [kind.value for kind in (kinds if isinstance(kinds, tuple) else (kinds,))]
    if isinstance(x, Value):
        python = {"f": float, "i": int, "b": bool}[r.scalar_of(x).kind]
        return literal(any(issubclass(python, kind) for kind in wanted))
    if isinstance(x, tuple):
        return literal(tuple in wanted)
    if isinstance(x, ArrayRef | View):
        return literal(np.ndarray in wanted)
    return literal(isinstance(x.value, tuple(wanted)) if isinstance(x, Static) else False)


@known(functools.reduce)
def _reduce(r: Any, f: Entry, x: Entry, *first: Entry) -> Entry:
    """A fold."""
    parts = [*first, *r.elements(x)]
    whole = parts[0]
    for part in parts[1:]:
        whole = r.call(f, [whole, part], {})
    return whole


@known(map)
def _map(r: Any, f: Entry, *xs: Entry) -> Entry:
    """A function's results for the elements."""
    return tuple(r.call(f, list(parts), {}) for parts in zip(*(r.elements(x) for x in xs), strict=False))


@known(all, np.all)
@method("all")
def _all(r: Any, x: Entry) -> Entry:
    """Whether all elements hold."""
    return _fold_bool(r, x, "all", "and", True)


@known(any, np.any)
@method("any")
def _any(r: Any, x: Entry) -> Entry:
    """Whether any element holds."""
    return _fold_bool(r, x, "any", "or", False)


def _fold_bool(r: Any, x: Entry, name: str, op: str, start: bool) -> Entry:
    """The elements' truth values, folded."""
    if isinstance(x, ArrayRef | View):
        return r.w.emit(name, BOOL, r.array(x))
    whole = literal(start)
    for part in r.elements(x):
        whole = r.w.op(op, whole, r.truth(part))
    return whole


@known(contextlib.nullcontext)
def _nullcontext(r: Any, entry: Entry = None) -> Entry:
    """A manager that does nothing."""
    return Manager(Static(None) if entry is None else entry)


@known(contextlib.suppress)
def _suppress(r: Any, *kinds: Entry) -> Entry:
    """A manager that suppresses exceptions."""
    return Manager(Static(None), tuple(map(r.kind, kinds)))


@known(np.errstate)
def _errstate(r: Any, **modes: Entry) -> Entry:
    """A manager that does nothing: native code never warns."""
    if any(not isinstance(mode, Static) or mode.value not in ("ignore", "warn") for mode in modes.values()):
        raise r.refuse("np.errstate that raises or calls", "test for what is to be raised")
    return Manager(Static(None))


# Arrays.


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


@known(np.arange)
def _arange(r: Any, first: Entry, second: Entry = None, third: Entry = None, /) -> Entry:
    """The integers of a range."""
    span = _range(r, first, second, third)
    return r.new_array(r.w.emit("arange", Array(INT, 1), span.start, span.stop, span.step, pure=False))


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
