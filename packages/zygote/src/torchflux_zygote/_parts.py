"""The cotangents of the entries of lists, deques and tuples, all at once."""

from collections.abc import Iterable, MutableSequence
from typing import Any

from ._cotangent import accum
from ._run import STATE

__all__ = ["give_slots", "take_slots", "tuple_bar"]


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
