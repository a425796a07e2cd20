"""The elements of iterables, and how cotangents of elements get back to where these came from."""

from collections.abc import Callable, Iterable, MutableSequence
from types import FunctionType, GeneratorType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._cotangent import Entry, Refusal, Scatter, accum, value
from ._kinds import SEQUENCES, carries, fit
from ._refuse import Refused
from ._run import STATE

__all__ = ["Cursor", "cursor", "elements", "give_slots", "take_slots"]

Back = Callable[[Any], Any]


def give_slots(xs: MutableSequence[Any], bars: Iterable[Any], start: int = 0) -> Any:
    """Adds cotangents to the entries of a list or a deque, from `start` on; to the list itself nothing flows: None."""
    slots = None
    for i, bar in enumerate(bars, start):
        if bar is not None:
            slots = STATE.sweep.slots(xs) if slots is None else slots
            slots[i] = accum(slots[i], bar)


def take_slots(xs: list[Any]) -> list[Any]:
    """What flowed to the entries of a list that is made here: nothing comes before."""
    slots = STATE.sweep.find(xs)
    if slots is None:
        return [None] * len(xs)
    found, slots[:] = list(slots), [None] * len(slots)
    return found


def tuple_bar(bars: Iterable[Any]) -> Any:
    """The cotangent of a tuple, None where nothing flows to any of its entries."""
    bars = tuple(bars)
    return None if all(bar is None for bar in bars) else bars


class Cursor:
    """An iterator of differentiated code: each step gives an element and its back.

    Cotangents of the elements of a value (a tuple, an array) are gathered, and go to it when the sweep comes
    to where the iterator was made.
    """

    def step(self) -> tuple[Any, Back]:
        """The next element, and the function that takes its cotangent.

        Raises:
            StopIteration: there is none.
        """
        raise NotImplementedError

    def bar(self) -> Any:
        """The cotangent of the value that was iterated over; None for a reference."""
        return None

    def __iter__(self) -> "Cursor":
        return self

    def __next__(self) -> Any:
        raise Refused("an iterator given to a function that isn't transformed", "give it list(...) of the iterator")

    def pairs(self) -> Iterable[tuple[Any, Back]]:
        while True:
            try:
                pair = self.step()
            except StopIteration:
                return
            yield pair


def _nothing(_: Any) -> None:
    return None


class Constants(Cursor):
    """Over what has no derivatives: a range, a string, a generator made outside."""

    def __init__(self, xs: Any) -> None:
        self.iterator = iter(xs)

    def step(self) -> tuple[Any, Back]:
        return next(self.iterator), _nothing


class Of(Cursor):
    """Over something whose elements can be named by an index."""

    def __init__(self, xs: Any) -> None:
        self.xs, self.iterator, self.i = xs, iter(xs), -1

    def step(self) -> tuple[Any, Back]:
        x = next(self.iterator)
        self.i += 1
        if isinstance(x, int | str):
            return x, _nothing
        i = self.i
        return x, lambda bar: self.give(i, bar)

    def give(self, i: int, bar: Any) -> None:
        raise NotImplementedError


class OfList(Of):
    def give(self, i: int, bar: Any) -> None:
        if bar is not None:
            slots = STATE.sweep.slots(self.xs)
            slots[i] = accum(slots[i], bar)


class OfTuple(Of):
    def give(self, i: int, bar: Any) -> None:
        STATE.sweep.give(self, 0, None if bar is None else Entry(len(self.xs), i, bar))

    def bar(self) -> Any:
        return value(STATE.sweep.take(self, 0))


class OfArray(Of):
    def give(self, i: int, bar: Any) -> None:
        if bar is None:
            return
        bar = bar if isinstance(bar, Refusal) else Scatter(self.xs, i, fit(value(bar), self.xs[i]))
        if STATE.sweep.routed(self.xs):  # now: further back in time the array may be changed
            STATE.sweep.arrive(self.xs, bar)
        else:
            STATE.sweep.give(self, 0, bar)

    def bar(self) -> Any:
        found = STATE.sweep.take(self, 0)
        return STATE.sweep.arrive(self.xs, found if isinstance(found, Refusal) else value(found))


class Pulled(Cursor):
    """Over an iterator that is written in Python: its `__next__` is pulled."""

    def __init__(self, xs: Any) -> None:
        from ._pull import pull_method

        self.iterator, self.back = pull_method("__iter__", (xs,), {})
        self.next = pull_method

    def step(self) -> tuple[Any, Back]:
        x, back = self.next("__next__", (self.iterator,), {})
        return x, lambda bar: back(bar) and None


class Indexed(Cursor):
    """Over an object that has entries (`__getitem__`), and no iterator."""

    def __init__(self, xs: Any) -> None:
        from ._pull import pull

        self.xs, self.i, self.pull = xs, -1, pull

    def step(self) -> tuple[Any, Back]:
        self.i += 1
        try:
            x, back = self.pull(type(self.xs).__getitem__, self.xs, self.i)
        except IndexError:
            raise StopIteration from None
        return x, lambda bar: back(bar) and None


def cursor(xs: Any) -> Cursor:
    """An iterator over `xs` whose elements' cotangents find their way back."""
    if isinstance(xs, Cursor):
        return xs
    if isinstance(xs, SEQUENCES):
        return OfList(xs)
    if isinstance(xs, tuple):
        return OfTuple(xs)
    if isinstance(xs, Tensor | np.ndarray):
        return OfArray(xs) if carries(xs) else Constants(xs)
    if isinstance(xs, dict | set | frozenset):
        _no_active(xs)
        return Constants(xs)
    if _is_foreign(xs):
        return Constants(xs)
    if _is_user_iterable(xs):
        return Pulled(xs)
    return Indexed(xs) if is_indexed(xs) else Constants(xs)


def is_indexed(xs: Any) -> bool:
    """Whether an object is iterated over by its `__getitem__`, written in Python."""
    return not hasattr(type(xs), "__iter__") and isinstance(getattr(type(xs), "__getitem__", None), FunctionType)


def _is_foreign(xs: Any) -> bool:
    return isinstance(xs, GeneratorType | range | str | bytes) or type(xs).__module__.partition(".")[0] == "torch"


def _is_user_iterable(xs: Any) -> bool:
    return "__iter__" in {name for base in type(xs).__mro__ for name in vars(base)} and any(
        "__iter__" in vars(base) and hasattr(vars(base)["__iter__"], "__code__") for base in type(xs).__mro__
    )


def _no_active(xs: Any) -> None:
    if any(carries(x) for x in xs):
        raise Refused(
            f"iteration over a {type(xs).__name__} whose members are numbers with derivatives",
            "keep them in a list, or as the values of a dict",
        )


def elements(xs: Any) -> tuple[list[Any], Callable[[Iterable[Any]], Any]]:
    """The elements of an iterable, and what takes their cotangents and gives that of the iterable."""
    if isinstance(xs, SEQUENCES):
        return list(xs), lambda bars: give_slots(xs, bars)
    if isinstance(xs, tuple):
        return list(xs), tuple_bar
    if isinstance(xs, Tensor | np.ndarray) and carries(xs):
        return list(xs), lambda bars: _stack(xs, bars)
    steps = cursor(xs)
    pairs = list(steps.pairs())

    def give(bars: Iterable[Any]) -> Any:
        for (_, back), bar in zip(reversed(pairs), reversed(list(bars)), strict=True):
            back(bar)
        return steps.bar() if steps is not xs else None

    return [x for x, _ in pairs], give


def _stack(xs: Any, bars: Iterable[Any]) -> Any:
    bars = [fit(value(bar), xs[i]) if bar is not None else None for i, bar in enumerate(bars)]
    if all(bar is None for bar in bars):
        return None
    total = torch.zeros_like(xs) if isinstance(xs, Tensor) else np.zeros_like(xs)
    for i, bar in enumerate(bars):
        if bar is not None:
            total[i] = bar
    return STATE.sweep.arrive(xs, total)
