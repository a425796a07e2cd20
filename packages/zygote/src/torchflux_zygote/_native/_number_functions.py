"""Functions of numbers that native code knows: conversions, rounding, angles, entries."""

import functools
import math
import operator
from typing import Any

import numpy as np

from ._entries import ArrayRef, Static, View
from ._functions import Entry, known
from ._ir import F64, WEAK, Value
from ._writer import literal

__all__: list[str] = []


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


@known(math.log)
def _log(r: Any, x: Entry, base: Entry = None, /) -> Entry:
    """A logarithm."""
    log = r.elementwise("log", x)
    return log if base is None else r.elementwise("div", log, r.elementwise("log", base))


@known(math.hypot)
def _hypot(r: Any, *parts: Entry) -> Entry:
    """The length of a vector."""
    if len(parts) < 2:
        return r.elementwise("abs", *parts or [literal(0.0)])
    return functools.reduce(lambda a, b: r.elementwise("hypot", a, b), parts)


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
