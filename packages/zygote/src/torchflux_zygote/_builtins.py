"""Rules for Python's own functions: conversions, reductions, iterators, and those that only look."""

import functools
import itertools
import math
import operator
from collections.abc import Callable
from types import FunctionType
from typing import Any

from torch import nn

from . import _arithmetic, _elementwise  # noqa: F401 - their rules come first
from ._cotangent import accum, value
from ._kinds import fit, inert, is_numeric
from ._lists import ordering
from ._parts import Constants, Cursor, cursor, elements, take_slots
from ._pull import pull, pull_function
from ._refuse import Refused
from ._registry import NONES, PULL, constant, finish, none, raw, substitute
from ._run import STATE, born
from ._unruled import as_constants

__all__: list[str] = []

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]

constant(
    *(len, range, isinstance, issubclass, callable, id, hash, repr, str, ascii, format, print, ord, chr, hex, oct, bin),
    *(int, bool, type, slice, hasattr, dir, bytes, input, open, any, all, operator.not_, operator.truth),
    *(operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge, operator.is_, operator.is_not),
    *(operator.contains, operator.index, operator.length_hint, operator.countOf, operator.indexOf),
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
def _complex(re: Any = 0.0, im: Any = 0.0) -> Pulled:
    y = complex(re, im)
    return y, lambda ȳ: NONES[2] if ȳ is None else (fit(ȳ, re), fit(-1j * ȳ, im))


@raw(round)
def _round(x: Any, *digits: Any) -> Pulled:
    if isinstance(getattr(type(x), "__round__", None), FunctionType):
        return pull(type(x).__round__, x, *digits)
    return round(x, *digits), none(1 + len(digits))


@raw(divmod)
def _divmod(a: Any, b: Any) -> Pulled:
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


def squares(*xs: Any) -> Any:
    """The sum of squares."""
    total = 0.0
    for x in xs:
        total = total + x * x
    return total


@raw(max)
def _max(*args: Any, **options: Any) -> Pulled:
    return _extreme(max, args, options)


@raw(min)
def _min(*args: Any, **options: Any) -> Pulled:
    return _extreme(min, args, options)


def _extreme(which: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Pulled:
    """The gradient goes to the element that was chosen, the first of equal ones."""
    several = len(args) > 1
    parts, give = (list(args), tuple) if several else elements(args[0])
    key, rest = options.get("key"), len(options)
    if not parts and "default" in options:
        spot = list(options).index("default")
        return options["default"], lambda ȳ: (give([]), *(ȳ if i == spot else None for i in range(rest)))
    at = which(range(len(parts)), key=[x if key is None else key(x) for x in parts].__getitem__)

    def back(ȳ: Any) -> tuple[Any, ...]:
        bars = [ȳ if i == at else None for i in range(len(parts))]
        found = give(bars)
        return (*(found if several else (found,)), *NONES[rest])

    return parts[at], back


@raw(sorted)
def _sorted(xs: Any, **how: Any) -> Pulled:
    parts, give = elements(xs)
    order = ordering(parts, **how)
    y = born([parts[i] for i in order])

    def back(_: Any) -> tuple[Any, ...]:
        bars: list[Any] = [None] * len(parts)
        for i, bar in zip(order, take_slots(y), strict=True):
            bars[i] = bar
        return (give(bars), *NONES[len(how)])

    return y, back


# Iterators.


class Zip(Cursor):
    def __init__(self, cursors: list[Cursor], strict: bool = False) -> None:
        self.cursors, self.strict = cursors, strict

    def step(self) -> Any:
        pairs = []
        for i, c in enumerate(self.cursors):
            try:
                pairs.append(c.step())
            except StopIteration:
                if self.strict and (i or any(_more(rest) for rest in self.cursors[1:])):
                    raise ValueError(f"zip() argument {i + 1} is of another length than the others") from None
                raise
        if not pairs:
            raise StopIteration
        xs, backs = zip(*pairs, strict=True)
        return xs, lambda bar: bar is None or ([b(x) for b, x in zip(backs, value(bar), strict=True)] and None)


def _more(c: Cursor) -> bool:
    try:
        c.step()
    except StopIteration:
        return False
    return True


class Enumerate(Cursor):
    def __init__(self, inner: Cursor, start: int) -> None:
        self.inner, self.i = inner, start - 1

    def step(self) -> Any:
        x, back = self.inner.step()
        self.i += 1
        return (self.i, x), lambda bar: back(None if bar is None else value(bar)[1])


class Map(Cursor):
    def __init__(self, f: Any, cursors: list[Cursor]) -> None:
        self.f, self.rows = f, Zip(cursors)

    def step(self) -> Any:
        xs, give = self.rows.step()
        y, back = pull(self.f, *xs)
        return y, lambda bar: give(back(bar)) and None


class Filter(Cursor):
    def __init__(self, f: Any, inner: Cursor) -> None:
        self.f, self.inner = f, inner

    def step(self) -> Any:
        while True:
            x, back = self.inner.step()
            if x if self.f is None else self.f(x):
                return x, back


class Chain(Cursor):
    def __init__(self, cursors: Any) -> None:
        self.cursors = iter(cursors)
        self.now: Any = None

    def step(self) -> Any:
        while True:
            try:
                if self.now is not None:
                    return self.now.step()
            except StopIteration:
                pass
            self.now = next(self.cursors)


class Slice(Cursor):
    def __init__(self, inner: Cursor, *limits: Any) -> None:
        self.inner, self.i = inner, 0
        self.wanted = iter(itertools.islice(itertools.count(), *limits))

    def step(self) -> Any:
        wanted = next(self.wanted)
        while True:
            pair = self.inner.step()
            self.i += 1
            if self.i > wanted:
                return pair


def _cursors(xs: tuple[Any, ...]) -> tuple[list[Cursor], Callable[..., tuple[Any, ...]]]:
    made = [cursor(x) for x in xs]

    def bars() -> tuple[Any, ...]:
        return tuple(c.bar() if c is not x else None for c, x in zip(made, xs, strict=True))

    return made, bars


@raw(zip)
def _zip(*xs: Any, **options: Any) -> Pulled:
    made, bars = _cursors(xs)
    return Zip(made, **options), lambda _: (*bars(), *NONES[len(options)])


@raw(enumerate)
def _enumerate(xs: Any, start: int = 0) -> Pulled:
    made, bars = _cursors((xs,))
    return Enumerate(made[0], start), lambda _: (*bars(), None)


@raw(map)
def _map(f: Any, *xs: Any) -> Pulled:
    made, bars = _cursors(xs)
    return Map(f, made), lambda _: (None, *bars())


@raw(filter)
def _filter(f: Any, xs: Any) -> Pulled:
    made, bars = _cursors((xs,))
    return Filter(f, made[0]), lambda _: (None, *bars())


@raw(iter)
def _iter(xs: Any, *sentinel: Any) -> Pulled:
    if sentinel:
        raise Refused("iter with a sentinel", "write a while loop")
    made, bars = _cursors((xs,))
    return made[0], lambda _: bars()


@raw(next)
def _next(it: Any, *default: Any) -> Pulled:
    count = 1 + len(default)
    if not isinstance(it, Cursor):
        if inert(it) or not hasattr(type(it).__next__, "__code__"):
            steps: Cursor = Constants(it)
            pair = _step(steps, default)
            return pair[0], none(count)
        y, back = pull(type(it).__next__, it)
        return y, lambda ȳ: (back(ȳ)[0], *NONES[count - 1])
    y, give = _step(it, default)
    return y, lambda ȳ: (give(ȳ) and None, *([ȳ] if default and give is _DEFAULT else NONES[count - 1]))


def _step(it: Cursor, default: tuple[Any, ...]) -> Any:
    try:
        return it.step()
    except StopIteration:
        if default:
            return default[0], _DEFAULT
        raise


def _DEFAULT(_: Any) -> None:
    return None


@raw(reversed)
def _reversed(xs: Any) -> Pulled:
    if isinstance(xs, range | str | dict):
        return Constants(reversed(xs)), none(1)
    parts, give = elements(xs)
    y = born(parts[::-1])
    return cursor(y), lambda _: (give(take_slots(y)[::-1]),)


@raw(itertools.chain)
def _chain(*xs: Any) -> Pulled:
    made, bars = _cursors(xs)
    return Chain(made), lambda _: bars()


@raw(itertools.islice)
def _islice(xs: Any, *limits: Any) -> Pulled:
    made, bars = _cursors((xs,))
    return Slice(made[0], *limits), lambda _: (*bars(), *NONES[len(limits)])


def accumulate(xs: Any, f: Any = operator.add, *, initial: Any = None) -> list[Any]:
    """`itertools.accumulate`, as a list."""
    totals = [] if initial is None else [initial]
    for x in xs:
        totals.append(f(totals[-1], x) if totals else x)
    return totals


def product(*xs: Any, repeat: int = 1) -> list[Any]:
    """`itertools.product`, as a list."""
    rows: list[Any] = [()]
    for column in [list(x) for x in xs] * repeat:
        rows = [(*row, x) for row in rows for x in column]
    return rows


def pairwise(xs: Any) -> list[Any]:
    """`itertools.pairwise`, as a list."""
    parts = list(xs)
    return [(parts[i], parts[i + 1]) for i in range(len(parts) - 1)]


def places(choose: Any, count: int, r: Any) -> list[tuple[int, ...]]:
    """The choices of r of some indices."""
    return list(choose(range(count), r))


constant(places)


def combinations(xs: Any, r: int) -> list[Any]:
    """`itertools.combinations`, as a list."""
    parts = list(xs)
    return [tuple([parts[i] for i in row]) for row in places(itertools.combinations, len(parts), r)]


def permutations(xs: Any, r: Any = None) -> list[Any]:
    """`itertools.permutations`, as a list."""
    parts = list(xs)
    return [tuple([parts[i] for i in row]) for row in places(itertools.permutations, len(parts), r)]


def zip_longest(*xs: Any, fillvalue: Any = None) -> list[Any]:
    """`itertools.zip_longest`, as a list."""
    columns = [list(x) for x in xs]
    length = max([len(column) for column in columns], default=0)
    return [tuple([c[i] if i < len(c) else fillvalue for c in columns]) for i in range(length)]


def starmap(f: Any, rows: Any) -> list[Any]:
    """`itertools.starmap`, as a list."""
    return [f(*row) for row in rows]


def takewhile(f: Any, xs: Any) -> list[Any]:
    """`itertools.takewhile`, as a list."""
    taken = []
    for x in xs:
        if not f(x):
            break
        taken.append(x)
    return taken


def repeat(x: Any, times: int) -> list[Any]:
    """`itertools.repeat`, as a list."""
    return [x] * times


def reduce(f: Any, xs: Any, *initial: Any) -> Any:
    """`functools.reduce`."""
    steps = iter(xs)
    total = initial[0] if initial else next(steps)
    for x in steps:
        total = f(total, x)
    return total


def prod(xs: Any, *, start: Any = 1) -> Any:
    """`math.prod`."""
    total = start
    for x in xs:
        total = total * x
    return total


def dist(p: Any, q: Any) -> Any:
    """`math.dist`."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        total = total + (a - b) * (a - b)
    return math.sqrt(total)


def sumprod(p: Any, q: Any) -> Any:
    """`math.sumprod`."""
    total = 0
    for a, b in zip(p, q, strict=True):
        total = total + a * b
    return total


for _name in (
    "accumulate",
    "product",
    "pairwise",
    "combinations",
    "permutations",
    "zip_longest",
    "starmap",
    "takewhile",
):
    substitute(getattr(itertools, _name))(globals()[_name])
substitute(functools.reduce)(reduce)
for _name in ("prod", "dist", "sumprod"):
    if hasattr(math, _name):
        substitute(getattr(math, _name))(globals()[_name])


@raw(itertools.repeat)
def _repeat(x: Any, *times: int) -> Pulled:
    if not times:
        raise Refused("itertools.repeat without a number", "say how often, or use the value itself")
    return pull_function(repeat, (x, *times), {})


@raw(itertools.count)
def _count(*args: Any) -> Pulled:
    refused = lambda _: Refused("itertools.count of floats", "count integers and multiply")
    y, back = as_constants(itertools.count, args, {}, refused)
    return Constants(y), back


@raw(functools.partial)
def _partial(f: Any, *args: Any, **kwargs: Any) -> Pulled:
    y = born(functools.partial(f, *args, **kwargs))
    at = len(y.args) - len(args)

    def back(_: Any) -> tuple[Any, ...]:
        sweep = STATE.sweep
        whole = value(sweep.take(y, "args")) or (None,) * len(y.args)  # where its attributes were read
        held = [accum(sweep.take(y, i), bar) for i, bar in enumerate(whole)]
        named = {name: accum(sweep.take(y, name), sweep.take(y.keywords, name)) for name in y.keywords}
        for i in range(at):  # a partial of a partial holds what that one held
            sweep.give(f, i, held[i])
        for name in y.keywords:
            if name not in kwargs:
                sweep.give(f, name, named[name])
        return (None, *held[at:], *(named[name] for name in kwargs))

    return y, back
