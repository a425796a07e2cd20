"""Iteration in forward mode: iterators over pairs of an element and its tangent. Ordinary Python."""

import itertools
import operator
from collections import deque
from typing import Any

from ._cursors import is_foreign, is_indexed, no_active
from ._cursors import is_user_iterable as has_own_iterator
from ._kinds import SEQUENCES, carries
from ._memory import is_array
from ._registry import constant

__all__ = ["Stream", "YieldStream", "begin", "dots_in", "each_pair", "pairs_of", "split", "stepped", "steps_of"]


def split(dot: Any, count: int) -> Any:
    """The tangents of the entries of a tuple."""
    return (None,) * count if dot is None else dot


class Stream:
    """An iterator over pairs, of one forward run: to another one it is an iterator like any other."""

    push: Any

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> tuple[Any, Any]:
        raise NotImplementedError

    def __contains__(self, y: Any) -> bool:
        return any(x is y or x == y for x, _ in self)


class ListStream(Stream):
    def __init__(self, push: Any, xs: Any) -> None:
        self.push, self.xs, self.i = push, xs, 0

    def __next__(self) -> tuple[Any, Any]:
        i = self.i
        if i >= len(self.xs):
            raise StopIteration
        self.i = i + 1
        return self.xs[i], entry_dot(self.push, self.xs, i)


class DequeStream(Stream):
    """Over a deque, which must not be changed meanwhile."""

    def __init__(self, push: Any, xs: Any) -> None:
        self.push, self.xs, self.watch, self.i = push, xs, native_iter(xs), 0

    def __next__(self) -> tuple[Any, Any]:
        native_next(self.watch)
        i = self.i
        self.i = i + 1
        return self.xs[i], entry_dot(self.push, self.xs, i)


def entry_dot(push: Any, xs: Any, i: int) -> Any:
    """The tangent of an entry of a list."""
    if not has(push, xs):
        return None
    return push.mirror(xs)[i]


def has(push: Any, xs: Any) -> bool:
    """Whether a reference has a mirror."""
    return id(xs) in push.mirrors


class ValueStream(Stream):
    """Over a tuple or an array."""

    def __init__(self, push: Any, xs: Any, dot: Any) -> None:
        self.push, self.xs, self.dot, self.i = push, xs, dot, 0

    def __next__(self) -> tuple[Any, Any]:
        i = self.i
        if i >= len(self.xs):
            raise StopIteration
        self.i = i + 1
        if is_array(self.xs):  # of which the elements may be views
            return self.push(operator.getitem, (self.xs, i), (self.dot, None))
        return self.xs[i], None if self.dot is None else self.dot[i]


class ConstantStream(Stream):
    def __init__(self, push: Any, xs: Any) -> None:
        self.push, self.iterator = push, native_iter(xs)

    def __next__(self) -> tuple[Any, Any]:
        return native_next(self.iterator), None


def native_iter(xs: Any) -> Any:
    return iter(xs)


def native_next(iterator: Any) -> Any:
    return next(iterator)


class MethodStream(Stream):
    """Over an iterator that is written in Python."""

    def __init__(self, push: Any, iterator: Any) -> None:
        self.push, self.iterator = push, iterator

    def __next__(self) -> tuple[Any, Any]:
        return self.push(type(self.iterator).__next__, (self.iterator,), (None,))


class IndexStream(Stream):
    """Over an object that has entries, and no iterator."""

    def __init__(self, push: Any, xs: Any) -> None:
        self.push, self.xs, self.i = push, xs, 0

    def __next__(self) -> tuple[Any, Any]:
        i = self.i
        self.i = i + 1
        try:
            pair = self.push(type(self.xs).__getitem__, (self.xs, i), (None, None))
        except IndexError:
            raise StopIteration from None
        return pair


class YieldStream(Stream):
    """A generator, whose forward code yields pairs."""

    def __init__(self, push: Any, delegates: bool, pairs: Any) -> None:
        self.push, self.delegates, self.pairs = push, delegates, pairs
        self.returned: Any = (None, None)

    def __next__(self) -> tuple[Any, Any]:
        return self.send(None)

    def send(self, pair: Any) -> Any:
        """Goes on, with a value for the `yield`, and its tangent."""
        try:
            new = self.pairs.send(pair)
        except StopIteration as stop:
            raise self.ended(stop.value) from None
        return new

    def throw(self, error: Any) -> Any:
        """Goes on with an exception."""
        try:
            new = self.pairs.throw(error)
        except StopIteration as stop:
            raise self.ended(stop.value) from None
        return new

    def ended(self, pair: Any) -> StopIteration:
        """The exception that carries what was returned."""
        if pair is not None:
            self.returned = pair
        y, dot = (None, None) if pair is None else pair
        stop = StopIteration(y)
        self.push.give(stop, "value", dot)
        self.push.give(stop, "args", (dot,))
        return stop

    def close(self) -> None:
        """Ends here."""
        self.pairs.close()


def begin(delegates: bool, pushforward: Any, push: Any, args: Any, dots: Any) -> tuple[Any, None]:
    """A generator in forward mode."""
    return YieldStream(push, delegates, pushforward(push, args, dots)), None


class ZipStream(Stream):
    def __init__(self, push: Any, streams: list[Stream], strict: bool = False) -> None:
        self.push, self.streams, self.strict = push, streams, strict

    def __next__(self) -> tuple[Any, Any]:
        xs: list[Any] = []
        dots: list[Any] = []
        for stream in self.streams:
            x, dot = next_pair(stream, self.strict and len(xs) > 0)
            xs.append(x)
            dots.append(dot)
        if len(xs) == 0:
            raise StopIteration
        return tuple(xs), tuple(dots)


def next_pair(stream: Stream, strict: bool) -> tuple[Any, Any]:
    """The next pair; of a stream that must not end here, if strict."""
    if not strict:
        return next(stream)
    try:
        pair = next(stream)
    except StopIteration:
        raise ValueError("zip() argument is shorter than the others") from None
    return pair


class EnumerateStream(Stream):
    def __init__(self, push: Any, stream: Stream, start: int) -> None:
        self.push, self.stream, self.i = push, stream, start

    def __next__(self) -> tuple[Any, Any]:
        x, dot = next(self.stream)
        i = self.i
        self.i = i + 1
        return (i, x), (None, dot)


class MapStream(Stream):
    def __init__(self, push: Any, f: Any, rows: Stream) -> None:
        self.push, self.f, self.rows = push, f, rows

    def __next__(self) -> tuple[Any, Any]:
        xs, dots = next(self.rows)
        return self.push(self.f, xs, dots)


class FilterStream(Stream):
    def __init__(self, push: Any, f: Any, stream: Stream) -> None:
        self.push, self.f, self.stream = push, f, stream

    def __next__(self) -> tuple[Any, Any]:
        while True:
            x, dot = next(self.stream)
            if x if self.f is None else self.f(x):
                return x, dot


class ChainStream(Stream):
    def __init__(self, push: Any, streams: list[Stream]) -> None:
        self.push, self.streams, self.i = push, streams, 0

    def __next__(self) -> tuple[Any, Any]:
        while self.i < len(self.streams):
            try:
                return next(self.streams[self.i])
            except StopIteration:
                self.i = self.i + 1
        raise StopIteration


class SliceStream(Stream):
    def __init__(self, push: Any, stream: Stream, limits: tuple[Any, ...]) -> None:
        self.push, self.stream, self.wanted, self.i = push, stream, wanted_spots(limits), 0

    def __next__(self) -> tuple[Any, Any]:
        spot = native_next(self.wanted)
        while True:
            x, dot = next(self.stream)
            i = self.i
            self.i = i + 1
            if i == spot:
                return x, dot


def wanted_spots(limits: tuple[Any, ...]) -> Any:
    return iter(itertools.islice(itertools.count(), *limits))


def each_pair(push: Any, xs: Any, dot: Any) -> Any:
    """The pairs of a loop over xs."""
    if push.special and is_array(xs):
        dot = push.tangent(xs, dot)
    if isinstance(xs, Stream) and xs.push is push:
        return xs
    if isinstance(xs, list):
        return ListStream(push, xs)
    if isinstance(xs, deque):
        return DequeStream(push, xs)
    if isinstance(xs, tuple) or (is_array(xs) and carries(xs)):
        return ValueStream(push, xs, dot)
    if is_user_iterable(xs):
        steps = push(type(xs).__iter__, (xs,), (None,))[0]
        return steps if isinstance(steps, Stream) and steps.push is push else MethodStream(push, steps)
    if is_indexed(xs):
        return IndexStream(push, xs)
    check_members(xs)
    return ConstantStream(push, xs)


def steps_of(push: Any, it: Any) -> Any:
    """The pairs of an iterator itself, whose `__iter__` isn't asked."""
    own = is_user_iterator(it) and not (isinstance(it, Stream) and it.push is push)
    return MethodStream(push, it) if own else each_pair(push, it, None)


def is_user_iterator(it: Any) -> bool:
    """Whether the steps of an iterator are written in Python."""
    return hasattr(getattr(type(it), "__next__", None), "__code__")


def is_user_iterable(xs: Any) -> bool:
    """Whether the iterator of xs is written in Python."""
    return not isinstance(xs, dict | set | frozenset) and not is_foreign(xs) and has_own_iterator(xs)


def check_members(xs: Any) -> None:
    """Refuses numbers with derivatives as members of sets or keys."""
    if isinstance(xs, dict | set | frozenset):
        no_active(xs)


constant(is_indexed, has, native_iter, native_next, wanted_spots, is_user_iterable, is_user_iterator, check_members)


def pairs_of(push: Any, xs: Any, dot: Any) -> tuple[list[Any], list[Any]]:
    """The elements of an iterable and their tangents."""
    values: list[Any] = []
    dots: list[Any] = []
    if isinstance(xs, SEQUENCES):
        values = list(xs)
        dots = list(push.mirror(xs)) if has(push, xs) else [None] * len(xs)
    else:
        for x, x_dot in each_pair(push, xs, dot):
            values.append(x)
            dots.append(x_dot)
    if push.special:
        dots = [push.tangent(values[i], dots[i]) for i in range(len(values))]
    return values, dots


def stepped(push: Any, xs: Any) -> Any:
    """`xs`, for a function that looks at elements and not at tangents: a stream as the list of its elements."""
    return pairs_of(push, xs, None)[0] if isinstance(xs, Stream) and xs.push is push else xs


def dots_in(push: Any, xs: Any, dot: Any) -> list[Any]:
    """The tangents of the elements of an iterable."""
    return pairs_of(push, xs, dot)[1]
