"""Iterators of differentiated code: each step gives an element and its back.

The backs of the steps are called in reverse order, all of them, also where nothing flows to an element: what an
iterator has done on the way to an element is undone by the element's back. What it has done on the way to the end, or
to an exception, is undone by a back that the exception carries.
"""

from collections.abc import Callable, Iterator
from types import FunctionType, GeneratorType
from typing import Any

import numpy as np
from torch import Tensor

from ._cotangent import Entry, Refusal, Scatter, accum, value
from ._kinds import SEQUENCES, carries, fit
from ._pull import interrupted_back, pull, pull_method
from ._refuse import Refused
from ._run import STATE

__all__ = ["Back", "Cursor", "Several", "Stepped", "Walk", "cursor", "is_foreign", "is_indexed", "is_user_iterable"]
__all__ += ["attempt", "leave", "left", "lost_change", "no_active", "nothing", "undo_all"]

Back = Callable[[Any], Any]


def nothing(_: Any) -> None:
    """The back of what has done nothing."""


def leave(error: BaseException, back: Back) -> BaseException:
    """The exception, which carries the back of what was done before it."""
    error.__undo__ = back  # type: ignore[attr-defined]
    return error


def left(error: BaseException) -> Back:
    """The back of what a cursor had done when it raised an exception."""
    back: Back = getattr(error, "__undo__", nothing)
    return back


class Cursor:
    """An iterator of differentiated code.

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


class Walk:
    """A loop over a cursor: gives the pairs of its steps; and is the back of where it was made.

    Attributes:
        end: undoes what the cursor did after its last step. Called before the backs of the steps.
    """

    def __init__(self, xs: Any) -> None:
        self.xs, self.cursor = xs, cursor(xs)
        self.end: Callable[..., Any] = _no_end

    def __iter__(self) -> Iterator[tuple[Any, Back]]:
        step = self.cursor.step
        while True:
            try:
                pair = step()
            except StopIteration as stop:
                self.ended(stop)
                return
            yield pair

    def ended(self, stop: StopIteration) -> None:
        """Notes how the loop came to its end."""
        back = left(stop)
        if back is not nothing:
            self.end = lambda: back(None)

    def __call__(self, _: Any) -> tuple[Any]:
        return (self.cursor.bar() if self.cursor is not self.xs else None,)


def _no_end() -> None:
    pass


class Constants(Cursor):
    """Over what has no derivatives: a range, a string, a generator made outside."""

    def __init__(self, xs: Any) -> None:
        self.iterator = iter(xs)

    def step(self) -> tuple[Any, Back]:
        return next(self.iterator), nothing


class Of(Cursor):
    """Over something whose elements can be named by an index."""

    def __init__(self, xs: Any) -> None:
        self.xs, self.iterator, self.i = xs, iter(xs), -1

    def step(self) -> tuple[Any, Back]:
        x = next(self.iterator)
        self.i += 1
        if isinstance(x, int | str):
            return x, nothing
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


class Several(Cursor):
    """A cursor that steps other cursors, and undoes all that they did."""

    def step(self) -> tuple[Any, Back]:
        done: list[Back] = []
        try:
            x, share = self.advance(done)
        except StopIteration:
            raise leave(StopIteration(), lambda _: undo_all(done, ())) from None
        except BaseException as error:
            leave(error, lambda _: undo_all(done, ()))
            raise
        return x, lambda bar: undo_all(done, share(bar))

    def advance(self, done: list[Back]) -> tuple[Any, Callable[[Any], Any]]:
        """The next element, and what gives the last of the backs in `done` their cotangents, one each."""
        raise NotImplementedError

    def take(self, inner: Cursor, done: list[Back]) -> Any:
        """The next element of a cursor; its back, or what it left, goes to `done`."""
        try:
            x, back = inner.step()
        except BaseException as error:
            done.append(left(error))
            raise
        done.append(back)
        return x


def undo_all(done: list[Back], bars: Any) -> None:
    """Calls backs, last to first; the last of them get cotangents."""
    given = [*[None] * (len(done) - len(bars)), *bars]
    for back, bar in zip(reversed(done), reversed(given), strict=True):
        back(bar)


class Stepped(Cursor):
    """Over an iterator that is written in Python: its `__next__` is pulled."""

    def __init__(self, iterator: Any) -> None:
        self.iterator = iterator

    def step(self) -> tuple[Any, Back]:
        x, back = attempt((self.iterator,), lambda: pull_method("__next__", (self.iterator,), {}))
        return x, lambda bar: back(bar) and None


class Asked(Several):
    """Over what a method `__iter__` that is written in Python gives."""

    def __init__(self, xs: Any) -> None:
        iterator, self.back = pull_method("__iter__", (xs,), {})
        self.inner: Cursor = iterator if isinstance(iterator, Cursor) else Stepped(iterator)

    def advance(self, done: list[Back]) -> tuple[Any, Callable[[Any], Any]]:
        return self.take(self.inner, done), lambda bar: (bar,)

    def bar(self) -> Any:
        return self.back(None)[0]


class Indexed(Cursor):
    """Over an object that has entries (`__getitem__`), and no iterator."""

    def __init__(self, xs: Any) -> None:
        self.xs, self.i = xs, -1

    def step(self) -> tuple[Any, Back]:
        self.i += 1
        get, given = type(self.xs).__getitem__, (self.xs, self.i)
        try:
            x, back = attempt(given, lambda: pull(get, *given))
        except IndexError as error:
            raise leave(StopIteration(), left(error)) from None
        return x, lambda bar: back(bar) and None


def attempt(args: tuple[Any, ...], call: Callable[[], Any]) -> Any:
    """What pulling a call with these arguments gives; an exception carries the back of what was done before it."""
    run = STATE.runs[-1]
    changes, STATE.interrupted = run.changes, None
    STATE.guarded += 1
    try:
        return call()
    except BaseException as error:
        partly, lost, STATE.lost = interrupted_back(args, ()), STATE.lost, False
        if not isinstance(error, Refused) and (lost or (partly is None and run.changes != changes)):
            raise lost_change() from error
        leave(error, partly or nothing)
        raise
    finally:
        STATE.guarded -= 1


def lost_change() -> Refused:
    """The refusal of an exception that has interrupted a change which can't be undone."""
    return Refused(
        "an exception from inside of a built-in function, after something was changed there,",
        "call the function in a loop of your own, or catch the exception inside",
    )


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
        no_active(xs)
        return Constants(xs)
    if is_foreign(xs):
        return Constants(xs)
    if is_user_iterable(xs):
        return Asked(xs)
    return Indexed(xs) if is_indexed(xs) else Constants(xs)


def is_indexed(xs: Any) -> bool:
    """Whether an object is iterated over by its `__getitem__`, written in Python."""
    return not hasattr(type(xs), "__iter__") and isinstance(getattr(type(xs), "__getitem__", None), FunctionType)


def is_foreign(xs: Any) -> bool:
    """Whether the elements of an iterable are taken as constants."""
    return isinstance(xs, GeneratorType | range | str | bytes) or type(xs).__module__.partition(".")[0] == "torch"


def is_user_iterable(xs: Any) -> bool:
    """Whether the iterator of an object is made in Python."""
    return any(hasattr(vars(base).get("__iter__"), "__code__") for base in type(xs).__mro__)


def no_active(xs: Any) -> None:
    """Refuses numbers with derivatives as members of sets or keys."""
    if any(carries(x) for x in xs):
        raise Refused(
            f"iteration over a {type(xs).__name__} whose members are numbers with derivatives",
            "keep them in a list, or as the values of a dict",
        )
