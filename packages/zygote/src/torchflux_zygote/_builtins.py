"""Rules for Python's own functions: conversions, reductions, and those that only look."""

import functools
import math
import operator
from collections.abc import Callable
from types import FunctionType
from typing import Any

from torch import nn

from . import _arithmetic, _elementwise, _entries, _in_place  # noqa: F401 - their rules come first
from ._arithmetic import by_method
from ._cotangent import value
from ._elements import elements
from ._kinds import fit, is_numeric
from ._ordering import by_key, chosen, chosen_by, ordering, sorted_by
from ._parts import take_slots
from ._pull import pull, pull_function
from ._registry import NONES, PULL, constant, finish, none, raw
from ._run import STATE, born

__all__: list[str] = []

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]

constant(
    *(len, range, isinstance, issubclass, callable, id, hash, repr, str, ascii, format, print, ord, chr, hex, oct, bin),
    *(int, bool, type, slice, hasattr, dir, bytes, input, open, operator.not_, operator.truth),
    *(operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge, operator.is_, operator.is_not),
    *(operator.contains, operator.index, operator.length_hint),
    *(list.index, list.count, tuple.index, tuple.count, list.__len__, tuple.__len__, dict.__len__, list.__contains__),
    *(dict.__contains__, globals, locals, object, super, staticmethod, classmethod, property, nn.Module.train),
    *(float.is_integer, float.fromhex, math.ulp, nn.Module.eval, nn.Module.zero_grad),
    *(object.__init__, nn.Module.__init__, BaseException.__init__, BaseException.with_traceback),
)
for _method in (*vars(str).values(), *vars(bytes).values(), *vars(int).values(), *vars(range).values()):
    if callable(_method) and getattr(_method, "__hash__", None) and _method not in PULL:
        constant(_method)


@raw(float)
def _float(x: Any = 0.0) -> Pulled:
    if type(x) is float:
        return x, lambda ȳ: (ȳ,)
    if is_numeric(x) or isinstance(x, str):
        y = float(x)
        return y, functools.partial(finish, lambda ȳ: (fit(ȳ, x),), (x,), y)
    return pull(type(x).__float__, x)


@raw(complex)
def _complex(real: Any = 0.0, imag: Any = None) -> Pulled:
    y = complex(real) if imag is None else complex(real, imag)
    return y, lambda ȳ: NONES[2] if ȳ is None else (fit(ȳ, real), fit(-1j * ȳ, imag))


@raw(round)
def _round(number: Any, ndigits: Any = None) -> Pulled:
    given = () if ndigits is None else (ndigits,)
    if isinstance(getattr(type(number), "__round__", None), FunctionType):
        y, back = pull(type(number).__round__, number, *given)
        return y, lambda ȳ: (*back(ȳ), None)
    return round(number, *given), none(2)


@raw(divmod)
def _divmod(a: Any, b: Any) -> Pulled:
    if not (is_numeric(a) and is_numeric(b)):
        return by_method(divmod, "divmod", a, b)
    quotient, _ = pull(operator.floordiv, a, b)
    rest, back_r = pull(operator.mod, a, b)
    return (quotient, rest), lambda ȳ: back_r(None if ȳ is None else value(ȳ)[1])


@raw(pow)
def _pow(a: Any, b: Any, *mod: Any) -> Pulled:
    if mod and mod[0] is not None:
        return pow(a, b, *mod), none(3)
    y, back = pull(operator.pow, a, b)
    return y, lambda ȳ: back(ȳ) + NONES[len(mod)]


@raw(math.pow)
def _math_pow(a: Any, b: Any) -> Pulled:
    math.pow(a, b)  # for its errors
    return pull(operator.pow, float(a), b) if type(a) is int else pull(operator.pow, a, b)


@raw(sum)
def _sum(xs: Any, start: Any = 0) -> Pulled:
    parts, give = elements(xs)
    if not all(type(x) in (float, int, bool) for x in (*parts, start)):
        y, back = pull_function(add_up, (start, *parts), {})
        return y, lambda ȳ: _sum_back(back(ȳ), give)
    y, count = sum(parts, start), len(parts)
    return y, lambda ȳ: (give([ȳ] * count), ȳ)


def _sum_back(bars: Any, give: Any) -> tuple[Any, Any]:
    start, *rest = bars
    return give(rest), start


def add_up(total: Any, *xs: Any) -> Any:
    """The sum, never in place."""
    for x in xs:
        total = total + x
    return total


@raw(math.fsum)
def _fsum(xs: Any) -> Pulled:
    parts, give = elements(xs)
    return math.fsum(parts), lambda ȳ: (give([fit(ȳ, x) if ȳ is not None else None for x in parts]),)


@raw(math.hypot)
def _hypot(*xs: Any) -> Pulled:
    y = math.hypot(*xs)
    return y, lambda ȳ: NONES[len(xs)] if ȳ is None else tuple(fit(ȳ * x / y, x) if y else 0.0 for x in xs)


@raw(max)
def _max(*args: Any, **options: Any) -> Pulled:
    return _extreme(max, args, options)


@raw(min)
def _min(*args: Any, **options: Any) -> Pulled:
    return _extreme(min, args, options)


def _extreme(which: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Pulled:
    """The gradient goes to the element that was chosen, the first of equal ones."""
    several = len(args) > 1
    if by_key(options):
        y, back_by_key = pull_function(chosen_by, (which, args if several else args[0]), options)

        def back_all(ȳ: Any) -> tuple[Any, ...]:
            _, bar, *others = back_by_key(ȳ)
            return (*((bar or NONES[len(args)]) if several else (bar,)), *others)

        return y, back_all
    parts, give = (list(args), tuple) if several else elements(args[0])
    key, rest = options.get("key"), len(options)
    if not parts and "default" in options:
        spot = list(options).index("default")
        return options["default"], lambda ȳ: (give([]), *(ȳ if i == spot else None for i in range(rest)))
    at = chosen(which, parts, key)

    def back(ȳ: Any) -> tuple[Any, ...]:
        bars = [ȳ if i == at else None for i in range(len(parts))]
        found = give(bars)
        return (*(found if several else (found,)), *NONES[rest])

    return parts[at], back


@raw(sorted)
def _sorted(xs: Any, **how: Any) -> Pulled:
    if by_key(how):
        return pull_function(sorted_by, (xs,), how)
    parts, give = elements(xs)
    order = ordering(parts, **how)
    y = born([parts[i] for i in order])

    def back(_: Any) -> tuple[Any, ...]:
        bars: list[Any] = [None] * len(parts)
        for i, bar in zip(order, take_slots(y), strict=True):
            bars[i] = bar
        return (give(bars), *NONES[len(how)])

    return y, back


@raw(functools.partial)
def _partial(f: Any, *args: Any, **kwargs: Any) -> Pulled:
    y = born(functools.partial(f, *args, **kwargs))
    at = len(y.args) - len(args)

    def back(_: Any) -> tuple[Any, ...]:
        sweep = STATE.sweep
        held = value(sweep.take(y, "args")) or (None,) * len(y.args)
        named = {name: sweep.take(y.keywords, name) for name in y.keywords}
        if any(bar is not None for bar in held[:at]):  # a partial of a partial holds what that one held
            sweep.give(f, "args", held[:at])
        for name in y.keywords:
            if name not in kwargs:
                sweep.give(f.keywords, name, named[name])
        return (None, *held[at:], *(named[name] for name in kwargs))

    return y, back
