"""Generators: what `yield` suspends goes on backwards when the cotangent of what was yielded comes.

The pullback of a generator is a generator, which notes on a tape what it does. Its reverse is a generator too:
where the one yielded a value, the other waits for its cotangent. So each step of the consumer is answered, when the
sweep comes to it, by what the generator did on the way to that step, and nothing else; whatever both of them change is
undone in the opposite of the order in which it was done. What `send` gives is what `yield` returns, and backwards what
`yield` gives is what `send` returns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import GeneratorType
from typing import Any

from ._cotangent import accum, value
from ._cursors import Asked, Back, Cursor, leave, left, nothing
from ._place import here
from ._refuse import Refused
from ._registry import NONES, none, raw
from ._run import STATE, born, changed

__all__ = ["Kind", "begin", "delegated", "returned"]

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]


@dataclass(frozen=True)
class Kind:
    """What is known about the code of a generator.

    Attributes:
        delegates: it has a `yield from`.
        guards: it has a `yield` in a block that does something on being left (`finally`, `with`).
    """

    delegates: bool
    guards: bool


class Yields(Cursor):
    """A generator of differentiated code.

    Attributes:
        tape: what it has done.
        back: makes the generator that answers it, of the cotangent of what it returned.
        count: how often it was resumed.
        stop: the exception that says that it has ended, if that was the last time.
    """

    def __init__(self, steps: "GeneratorType[Any, Any, Any]", kind: Kind) -> None:
        self.steps, self.kind = steps, kind
        self.tape, self.back = next(steps)
        self.count = 0
        self.ended = False
        self.stop: StopIteration | None = None
        born(self)
        if kind.guards:
            STATE.runs[-1].generators.append((self, here()))

    @property
    def held(self) -> bool:
        """Whether it waits inside of a block that does something on being left."""
        return self.tape.held and self.steps.gi_frame is not None

    def step(self) -> tuple[Any, Back]:
        return self.resume(partial(next, self.steps))

    def send(self, x: Any) -> Any:
        """Goes on, with a value for the `yield`."""
        raise Refused("a generator given to a function that isn't transformed", "send to it in Python")

    def throw(self, error: Any) -> Any:
        """Goes on with an exception."""
        raise Refused("a generator given to a function that isn't transformed", "throw to it in Python")

    def close(self) -> None:
        """Ends here."""
        raise Refused("a generator given to a function that isn't transformed", "close it in Python")

    def resume(self, go: Callable[[], Any]) -> tuple[Any, Back]:
        """What it yields next, and what answers that: the back returns the cotangent of what was sent."""
        if self.steps.gi_running:
            raise ValueError("generator already executing")
        if self.steps.gi_frame is None:
            return go(), nothing
        changed(self)
        self.count += 1
        back = partial(self.answer, self.count)
        try:
            y = go()
        except BaseException as error:
            self.ended = True
            if isinstance(error, StopIteration):
                self.stop = error
            leave(error, back)
            raise
        self.ended = self.steps.gi_frame is None
        return y, back

    # The sweep.

    def answer(self, number: int, bar: Any) -> Any:
        """Undoes what was done when it was resumed for the n-th time; returns the cotangent of what was sent then."""
        state = STATE.sweep.fields(self)
        if number != state.get("left", self.count):
            raise _stepped_elsewhere()
        state["left"] = number - 1
        sent = None
        if "answers" not in state:
            state["answers"] = self.back(self._returned_bar())
            sent = self._go(state, None)
        return sent if self.ended and number == self.count else self._go(state, bar)

    def _go(self, state: dict[Any, Any], bar: Any) -> Any:
        try:
            return state["answers"].send(bar)
        except StopIteration as stop:
            state["bars"] = stop.value
            return None

    def _returned_bar(self) -> Any:
        if self.stop is None:
            return None
        bar, args = STATE.sweep.take(self.stop, "value"), value(STATE.sweep.take(self.stop, "args"))
        return accum(bar, args[0]) if args else bar

    def bars(self, _: Any) -> tuple[Any, ...]:
        """The back of the call that made it: the cotangents of its parameters."""
        state = STATE.sweep.fields(self)
        if state.get("left", self.count) != 0:
            raise _stepped_elsewhere()
        if "answers" not in state:
            state["answers"] = self.back(None)
            self._go(state, None)
        bars: tuple[Any, ...] = state["bars"]
        state.clear()
        return bars


def _stepped_elsewhere() -> Refused:
    return Refused("a generator that a function without a rule has stepped", "give it list(...) of the generator")


def begin(kind: Kind, pullback: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """A generator and the back of the call that makes it."""
    made = Yields(pullback(*args, **kwargs), kind)
    return made, made.bars


# What may be done to a generator, besides taking the next element.


@raw(Yields.send)
def _send(steps: Yields, x: Any) -> Pulled:
    if steps.kind.delegates and x is not None:
        raise delegated("send")
    if steps.count == 0 and x is not None:
        raise TypeError("can't send non-None value to a just-started generator")
    return _resumed(steps, partial(steps.steps.send, x), (x,))


@raw(Yields.throw)
def _throw(steps: Yields, *error: Any) -> Pulled:
    if steps.kind.delegates:
        raise delegated("throw")
    return _resumed(steps, partial(steps.steps.throw, thrown(*error)), error)


def thrown(kind: Any, value: Any = None, traceback: Any = None) -> Any:
    """The exception that `throw(kind, value, traceback)` raises: contextlib's own way before Python 3.12."""
    if value is not None and not isinstance(value, BaseException):
        raise Refused("throw(kind, value)", "write throw(kind(value))")
    return kind if value is None else value


@raw(Yields.close)
def _close(steps: Yields) -> Pulled:
    return _resumed(steps, steps.steps.close, ())


def _resumed(steps: Yields, go: Callable[[], Any], given: tuple[Any, ...]) -> Pulled:
    """Resumes a generator with some arguments, the first of which may have a cotangent."""
    try:
        y, back = steps.resume(go)
    except BaseException as error:
        undo = left(error)
        STATE.interrupted = ((steps, *given), (), lambda _: (None, *_first(undo(None), given)))
        raise
    return y, lambda bar: (None, *_first(back(bar), given))


def _first(bar: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The cotangents of what was given: of the first, if there is one."""
    return (bar, *NONES[len(given)])[: len(given)]


def delegated(name: str) -> Refused:
    """The refusal of a value or an exception that would have to be handed on."""
    found = f"{name}(...) to a generator that has a `yield from`"
    return Refused(found, "write the loop, and what it does with what it receives")


def returned(steps: Any) -> Any:
    """What the generator of a `yield from` has returned."""
    raise NotImplementedError


@raw(returned)
def _returned(steps: Any) -> Pulled:
    while isinstance(steps, Asked):
        steps = steps.inner
    stop = getattr(steps, "stop", None)
    if stop is None:
        return None, none(1)
    return stop.value, lambda bar: STATE.sweep.give(stop, "value", bar) or NONES[1]
