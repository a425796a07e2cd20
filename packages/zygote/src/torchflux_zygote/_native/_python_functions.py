"""Python's own functions that native code knows: lengths, ranges, folds, contexts."""

import contextlib
import functools
import math
from typing import Any

import numpy as np

from ._array_functions import array_of, total
from ._entries import ArrayRef, Manager, Range, Static, View, Zipped
from ._functions import FUNCTIONS, Entry, Rule, known, method
from ._ir import BOOL, INT, Array, Value
from ._writer import literal

__all__: list[str] = []


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


@known(np.arange)
def _arange(r: Any, first: Entry, second: Entry = None, third: Entry = None, /) -> Entry:
    """The integers of a range."""
    span = _range(r, first, second, third)
    return r.new_array(r.w.emit("arange", Array(INT, 1), span.start, span.stop, span.step, pure=False))
