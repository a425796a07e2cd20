"""Rules for iterators, step by step: `iter`, `next`, `zip`, `enumerate`, `map`, `filter` and their like."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

from ._cotangent import value
from ._cursors import Back, Constants, Cursor, Several, Stepped, cursor, left, lost_change, nothing, undo_all
from ._elements import elements
from ._kinds import inert
from ._parts import take_slots
from ._pull import interrupted_back, pull
from ._refuse import Refused
from ._registry import NONES, PULL, none, raw
from ._run import STATE, born

__all__: list[str] = []

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]
Share = Callable[[Any], Any]


def alone(bar: Any) -> tuple[Any]:
    """The cotangent of an element that one cursor gave."""
    return (bar,)


class Zip(Several):
    def __init__(self, cursors: list[Cursor], strict: bool = False) -> None:
        self.cursors, self.strict = cursors, strict

    def advance(self, done: list[Back]) -> tuple[Any, Share]:
        xs: list[Any] = []
        for i, c in enumerate(self.cursors):
            try:
                xs.append(self.take(c, done))
            except StopIteration:
                if self.strict and (i or any(self._more(rest, done) for rest in self.cursors[1:])):
                    raise ValueError(f"zip() argument {i + 1} is of another length than the others") from None
                raise
        if not xs:
            raise StopIteration
        return tuple(xs), lambda bar: NONES[len(xs)] if bar is None else value(bar)

    def _more(self, c: Cursor, done: list[Back]) -> bool:
        try:
            self.take(c, done)
        except StopIteration:
            return False
        return True


class Enumerate(Several):
    def __init__(self, inner: Cursor, start: int) -> None:
        self.inner, self.i = inner, start - 1

    def advance(self, done: list[Back]) -> tuple[Any, Share]:
        x = self.take(self.inner, done)
        self.i += 1
        return (self.i, x), lambda bar: (None if bar is None else value(bar)[1],)


class Map(Several):
    def __init__(self, f: Any, cursors: list[Cursor]) -> None:
        self.f, self.rows = f, Zip(cursors)

    def advance(self, done: list[Back]) -> tuple[Any, Share]:
        xs, share = self.rows.advance(done)
        y, back = applied(self.f, xs, done, share)
        return y, lambda bar: share(back(bar))


class Filter(Several):
    def __init__(self, f: Any, inner: Cursor) -> None:
        self.f, self.inner = f, inner

    def advance(self, done: list[Back]) -> tuple[Any, Share]:
        while True:
            x = self.take(self.inner, done)
            kept, back = (x, nothing) if self.f is None else applied(self.f, (x,), done, tuple)
            if kept:
                return x, partial(_kept, back)
            done.append(back)


def _kept(back: Back, bar: Any) -> tuple[Any]:
    back(None)
    return (bar,)


def applied(f: Any, xs: tuple[Any, ...], done: list[Back], share: Share) -> tuple[Any, Back]:
    """Pulls a function of elements; what it did before an exception goes to `done`."""
    changes = STATE.runs[-1].changes
    try:
        return pull(f, *xs)
    except BaseException as error:
        partly, before = interrupted_back(xs, ()), list(done)
        if partly is not None:
            done[:] = [lambda _: undo_all(before, share(partly(None)))]
        elif STATE.runs[-1].changes != changes:
            STATE.lost = True
            if isinstance(error, StopIteration) and not STATE.guarded:
                raise lost_change() from error
        raise


class Chain(Several):
    def __init__(self, cursors: list[Cursor]) -> None:
        self.cursors = iter(cursors)
        self.now: Any = None

    def advance(self, done: list[Back]) -> tuple[Any, Share]:
        while True:
            try:
                if self.now is not None:
                    return self.take(self.now, done), alone
            except StopIteration:
                pass
            self.now = next(self.cursors)


class Slice(Several):
    def __init__(self, inner: Cursor, *limits: Any) -> None:
        self.inner, self.i = inner, 0
        self.wanted = iter(itertools.islice(itertools.count(), *limits))

    def advance(self, done: list[Back]) -> tuple[Any, Share]:
        wanted = next(self.wanted)
        while True:
            x = self.take(self.inner, done)
            self.i += 1
            if self.i > wanted:
                return x, alone


def _cursors(xs: tuple[Any, ...]) -> tuple[list[Cursor], Callable[..., tuple[Any, ...]]]:
    made = [cursor(x) for x in xs]

    def bars() -> tuple[Any, ...]:
        pairs = zip(reversed(made), reversed(xs), strict=True)
        return tuple([c.bar() if c is not x else None for c, x in pairs][::-1])

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
    try:
        y, give = _steps_of(it).step()
    except BaseException as error:
        end = left(error)
        if not (default and isinstance(error, StopIteration)):
            STATE.interrupted = ((it, *default), (), lambda _: (end(None), *NONES[len(default)]))
            raise
        return default[0], lambda ȳ: (end(None), ȳ)
    return y, lambda ȳ: (give(ȳ) and None, *NONES[len(default)])


def _steps_of(it: Any) -> Cursor:
    """A cursor over an iterator itself, whose `__iter__` isn't asked."""
    if isinstance(it, Cursor):
        return it
    own = not inert(it) and hasattr(getattr(type(it), "__next__", None), "__code__")
    return Stepped(it) if own else _Native(it)


class _Native(Constants):
    def __init__(self, it: Any) -> None:
        self.iterator = it


PULL[Cursor.__next__] = _next
PULL[Cursor.__iter__] = lambda steps: (steps, none(1))


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
