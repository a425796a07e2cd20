"""What generated code calls besides `pull` and `accum`."""

from collections.abc import Callable, Iterable, Iterator
from types import CellType
from typing import Any

from ._cursors import Back, Walk, lost_change
from ._elements import elements
from ._pull import adapted, interrupted_back, pull
from ._registry import NONES, raw
from ._run import STATE

__all__ = ["Tape", "call", "defaults", "each", "fields", "interruptible", "join", "taken"]

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]


def taken(cell: CellType) -> Any:
    """The cotangent of a captured parameter."""
    return STATE.sweep.take(cell, "cell_contents")


def fields(options: dict[str, Any]) -> dict[str, Any]:
    """The cotangents of keyword arguments that came as `**options`."""
    return {name: STATE.sweep.take(options, name) for name in options}


def each(xs: Iterable[Any]) -> Any:
    """The steps of a loop over xs: pairs of an element and the function that takes its cotangent."""
    return Walk(xs)


@raw(each)
def _each(xs: Any) -> Pulled:
    walk = Walk(xs)
    return walk, walk


def call(f: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """`f(*args, **options)`."""
    return f(*args, **options)


@raw(call)
def _call(f: Any, args: Any, options: dict[str, Any]) -> Pulled:
    names = list(options)

    def give(bars: tuple[Any, ...]) -> tuple[Any, ...]:
        for name, bar in zip(names, bars[len(args) :], strict=True):
            STATE.sweep.give(options, name, bar)
        return None, bars[: len(args)], None

    return adapted(f, args, options, (f, args, options), (), give)


def join(*several: Iterable[Any]) -> tuple[Any, ...]:
    """`(*a, *b)`."""
    return tuple(x for xs in several for x in xs)


@raw(join)
def _join(*several: Any) -> Pulled:
    found = [elements(xs) for xs in several]
    y = tuple(x for parts, _ in found for x in parts)

    def back(ȳ: Any) -> tuple[Any, ...]:
        bars = [None] * len(y) if ȳ is None else list(_value(ȳ))
        given = []
        for parts, give in found:
            mine, bars = bars[: len(parts)], bars[len(parts) :]
            given.append(give(mine))
        return tuple(given)

    return y, back


def _value(ȳ: Any) -> Any:
    from ._cotangent import value

    return value(ȳ)


def defaults(f: Any, names: tuple[str, ...], *values: Any) -> None:
    """Says that the function f was just made with these defaults."""


@raw(defaults)
def _defaults(f: Any, names: tuple[str, ...], *values: Any) -> Pulled:
    return None, lambda _: (*NONES[2], *(STATE.sweep.take(f, name) for name in names))


def interruptible(back: Any) -> None:
    """Says what undoes the function that begins here, however far it gets."""
    if STATE.frame is not None:
        STATE.frame.append(back)
        STATE.frame = None


class Tape(list[tuple[int, Any]]):
    """What has happened in a block that may be left anywhere: steps, each with its back.

    What is called from there may be interrupted, too, and is then undone as far as it went. So functions
    called through a tape keep tapes of their own.
    """

    def __init__(self) -> None:
        self.held = False  # of a generator: whether it waits in a block that does something on being left

    def log(self, step: int, back: Any) -> None:
        """Notes that a step is done."""
        self.append((step, back))

    def pull(self, step: int, f: Any, /, *args: Any, **kwargs: Any) -> Any:
        """`f(*args, **kwargs)`; notes its back, of what was done if it was interrupted."""
        run = STATE.runs[-1]
        changes, STATE.interrupted = run.changes, None
        STATE.guarded += 1
        try:
            y, back = pull(f, *args, **kwargs)
        except BaseException:
            partial = interrupted_back(args, tuple(kwargs))
            if partial is not None:
                self.log(step, partial)
            elif run.changes != changes:
                STATE.lost = True
            raise
        finally:
            STATE.guarded -= 1
        self.log(step, back)
        return y

    def over(self, step: int, walk: Walk) -> Iterator[tuple[Any, Back]]:
        """The steps of a loop; notes the back of how it came to its end, also where that was an exception."""
        run = STATE.runs[-1]
        while True:
            changes = run.changes
            STATE.guarded += 1
            try:
                pair = walk.cursor.step()
            except BaseException as error:
                back = getattr(error, "__undo__", None)
                if back is not None:
                    self.log(step, back)
                elif run.changes != changes:
                    STATE.lost = True
                if isinstance(error, StopIteration):
                    return
                raise
            finally:
                STATE.guarded -= 1
            yield pair

    def hold(self, step: int) -> None:
        """Notes that a generator yields, inside of a block that does something on being left."""
        self.append((step, None))
        self.held = True

    def go(self) -> None:
        """Notes that the generator goes on."""
        self.held = False

    def caught(self) -> None:
        """Makes sure that the step which was interrupted hasn't done anything that is lost."""
        lost, STATE.lost = STATE.lost, False
        if lost:
            raise lost_change()
