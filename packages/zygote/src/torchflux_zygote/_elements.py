"""All elements of an iterable at once, and how their cotangents get back to where they came from."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._cotangent import value
from ._cursors import Back, Cursor, cursor, left
from ._kinds import SEQUENCES, carries, fit
from ._parts import give_slots, tuple_bar
from ._run import STATE

__all__ = ["elements"]

Give = Callable[[Iterable[Any]], Any]


def elements(xs: Any) -> tuple[list[Any], Give]:
    """The elements of an iterable, and what takes their cotangents and gives that of the iterable."""
    if isinstance(xs, SEQUENCES):
        return list(xs), lambda bars: give_slots(xs, bars)
    if isinstance(xs, tuple):
        return list(xs), tuple_bar
    if isinstance(xs, Tensor | np.ndarray) and carries(xs):
        return list(xs), lambda bars: _stack(xs, bars)
    return _stepped(xs, cursor(xs))


def _stepped(xs: Any, steps: Cursor) -> tuple[list[Any], Give]:
    found: list[Any] = []
    backs: list[Back] = []

    def give(end: Back, bars: Iterable[Any]) -> Any:
        end(None)
        for back, bar in zip(reversed(backs), reversed(list(bars)), strict=True):
            back(bar)
        return steps.bar() if steps is not xs else None

    try:
        while True:
            x, back = steps.step()
            found.append(x)
            backs.append(back)
    except StopIteration as stop:
        end = left(stop)
    except BaseException as error:
        stopped = left(error)
        STATE.interrupted = ((xs,), (), lambda _: (give(stopped, [None] * len(found)),))
        raise
    return found, lambda bars: give(end, bars)


def _stack(xs: Any, bars: Iterable[Any]) -> Any:
    bars = [fit(value(bar), xs[i]) if bar is not None else None for i, bar in enumerate(bars)]
    if all(bar is None for bar in bars):
        return None
    total = torch.zeros_like(xs) if isinstance(xs, Tensor) else np.zeros_like(xs)
    for i, bar in enumerate(bars):
        if bar is not None:
            total[i] = bar
    return STATE.sweep.arrive(xs, total)
