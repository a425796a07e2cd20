"""`itertools` and the functions that fold an iterable, in Python that is transformed in their place."""

import functools
import itertools
import math
import operator
from collections import deque
from typing import Any

import numpy as np
from torch import Tensor

from ._cursors import Constants
from ._kinds import carries
from ._pull import pull_function
from ._registry import constant, none, pushes, raw, substitute

__all__: list[str] = []


# One element at a time.


@substitute(itertools.accumulate)
def accumulate(xs: Any, f: Any = operator.add, *, initial: Any = None) -> Any:
    """`itertools.accumulate`."""
    steps = iter(xs)
    if initial is None:
        total = next(steps, NOTHING)
        if total is NOTHING:
            return
    else:
        total = initial
    yield total
    for x in steps:
        total = f(total, x)
        yield total


NOTHING = object()


@substitute(itertools.pairwise)
def pairwise(xs: Any) -> Any:
    """`itertools.pairwise`."""
    steps = iter(xs)
    last = next(steps, NOTHING)
    for x in steps:
        yield last, x
        last = x


@substitute(itertools.starmap)
def starmap(f: Any, rows: Any) -> Any:
    """`itertools.starmap`."""
    for row in rows:
        yield f(*row)


@substitute(itertools.takewhile)
def takewhile(f: Any, xs: Any) -> Any:
    """`itertools.takewhile`."""
    for x in xs:
        if not f(x):
            break
        yield x


@substitute(itertools.dropwhile)
def dropwhile(f: Any, xs: Any) -> Any:
    """`itertools.dropwhile`."""
    dropping = True
    for x in xs:
        dropping = dropping and bool(f(x))
        if not dropping:
            yield x


@substitute(itertools.filterfalse)
def filterfalse(f: Any, xs: Any) -> Any:
    """`itertools.filterfalse`."""
    for x in xs:
        if not (x if f is None else f(x)):
            yield x


@substitute(itertools.compress)
def compress(xs: Any, selectors: Any) -> Any:
    """`itertools.compress`."""
    for x, kept in zip(xs, selectors, strict=False):
        if kept:
            yield x


@substitute(itertools.chain.from_iterable)
def from_iterable(rows: Any) -> Any:
    """`itertools.chain.from_iterable`."""
    for row in rows:
        yield from row


@substitute(itertools.cycle)
def cycle(xs: Any) -> Any:
    """`itertools.cycle`."""
    seen = []
    for x in xs:
        yield x
        seen.append(x)
    while len(seen) > 0:
        yield from seen


@substitute(itertools.repeat)
def repeat(x: Any, times: Any = None) -> Any:
    """`itertools.repeat`."""
    while times is None or times > 0:
        yield x
        if times is not None:
            times -= 1


def count(start: Any = 0, step: Any = 1) -> Any:
    """`itertools.count`."""
    while True:
        yield start
        start = start + step


@raw(itertools.count)
def _count(*args: Any) -> Any:
    if any(carries(x) for x in args):
        return pull_function(count, args, {})
    return Constants(itertools.count(*args)), none(len(args))


@pushes(itertools.count)
def _push_count(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if any(dot is not None for dot in dots):
        return push(count, args, dots, names)
    return count_from(*args), None


def count_from(*args: Any) -> Any:
    """`itertools.count`, of constants."""
    return itertools.count(*args)


constant(count_from)


# All elements first: a list.


@substitute(itertools.product)
def product(*xs: Any, repeat: int = 1) -> list[Any]:
    """`itertools.product`, as a list."""
    rows: list[Any] = [()]
    for column in [list(x) for x in xs] * repeat:
        rows = [(*row, x) for row in rows for x in column]
    return rows


def places(choose: Any, count: int, r: Any) -> list[tuple[int, ...]]:
    """The choices of r of some indices."""
    return list(choose(range(count), r))


constant(places)


@substitute(itertools.combinations)
def combinations(xs: Any, r: int) -> list[Any]:
    """`itertools.combinations`, as a list."""
    parts = list(xs)
    return [tuple([parts[i] for i in row]) for row in places(itertools.combinations, len(parts), r)]


@substitute(itertools.permutations)
def permutations(xs: Any, r: Any = None) -> list[Any]:
    """`itertools.permutations`, as a list."""
    parts = list(xs)
    return [tuple([parts[i] for i in row]) for row in places(itertools.permutations, len(parts), r)]


@substitute(itertools.zip_longest)
def zip_longest(*xs: Any, fillvalue: Any = None) -> list[Any]:
    """`itertools.zip_longest`, as a list."""
    columns = [list(x) for x in xs]
    length = max([len(column) for column in columns], default=0)
    return [tuple([c[i] if i < len(c) else fillvalue for c in columns]) for i in range(length)]


@substitute(itertools.combinations_with_replacement)
def combinations_with_replacement(xs: Any, r: int) -> list[Any]:
    """`itertools.combinations_with_replacement`."""
    parts = list(xs)
    return [tuple([parts[i] for i in row]) for row in choices(len(parts), r)]


def choices(count: int, r: int) -> list[tuple[int, ...]]:
    """The choices of r of some indices, each as often as one likes."""
    return list(itertools.combinations_with_replacement(range(count), r))


constant(choices)


@substitute(itertools.groupby)
def groupby(xs: Any, key: Any = None) -> list[Any]:
    """`itertools.groupby`; a group is a list."""
    groups: list[Any] = []
    for x in xs:
        name = x if key is None else key(x)
        if len(groups) == 0 or groups[-1][0] != name:
            groups.append((name, []))
        groups[-1][1].append(x)
    return groups


@substitute(itertools.tee)
def tee(xs: Any, n: int = 2) -> Any:
    """`itertools.tee`."""
    parts = list(xs)
    return tuple([iter(list(parts)) for _ in range(n)])


if hasattr(itertools, "batched"):

    @substitute(itertools.batched)
    def batched(xs: Any, n: int) -> list[Any]:
        """`itertools.batched`."""
        parts = list(xs)
        return [tuple(parts[i : i + n]) for i in range(0, len(parts), n)]


# Folds.


SETTLED = (list, tuple, set, frozenset, dict, deque, str, range, np.ndarray, Tensor)
"""What `any` and `all` look at without changing anything."""


def _decides(f: Any, said: Any) -> None:
    """Registers `any` or `all`, with what it is in Python."""

    @raw(f)
    def pulled(xs: Any) -> Any:
        return (f(xs), none(1)) if isinstance(xs, SETTLED) else pull_function(said, (xs,), {})

    @pushes(f)
    def pushed(push: Any, args: Any, dots: Any, names: Any) -> Any:
        return push(said, args, dots)


def any_of(xs: Any) -> bool:
    """`any`, which the front end reads as a loop."""
    return any(x for x in xs)


def all_of(xs: Any) -> bool:
    """`all`, which the front end reads as a loop."""
    return all(x for x in xs)


_decides(any, any_of)
_decides(all, all_of)


@substitute(operator.countOf)
def count_of(xs: Any, y: Any) -> int:
    """`operator.countOf`."""
    found = 0
    for x in xs:
        if x is y or x == y:
            found += 1
    return found


@substitute(operator.indexOf)
def index_of(xs: Any, y: Any) -> int:
    """`operator.indexOf`."""
    for i, x in enumerate(xs):
        if x is y or x == y:
            return i
    raise ValueError("sequence.index(x): x not in sequence")


@substitute(functools.reduce)
def reduce(f: Any, xs: Any, *initial: Any) -> Any:
    """`functools.reduce`."""
    steps = iter(xs)
    total = initial[0] if initial else next(steps)
    for x in steps:
        total = f(total, x)
    return total


@substitute(math.prod)
def prod(xs: Any, *, start: Any = 1) -> Any:
    """`math.prod`."""
    total = start
    for x in xs:
        total = total * x
    return total


@substitute(math.dist)
def dist(p: Any, q: Any) -> Any:
    """`math.dist`."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        total = total + (a - b) * (a - b)
    return math.sqrt(total)


if hasattr(math, "sumprod"):

    @substitute(math.sumprod)
    def sumprod(p: Any, q: Any) -> Any:
        """`math.sumprod`."""
        total = 0
        for a, b in zip(p, q, strict=True):
            total = total + a * b
        return total
