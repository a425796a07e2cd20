"""Rules for lists and tuples.

The shadow of a list is changed backwards as the sweep passes each change of the list, so that the two
always have the same length.
"""

import operator
from collections.abc import Callable, Iterable
from typing import Any

from ._cotangent import Entry, accum, value
from ._elements import elements
from ._kinds import SEQUENCES, carries
from ._ordering import by_key, ordering, sorted_by
from ._parts import give_slots, take_slots, tuple_bar
from ._pull import pull_function
from ._refuse import Refused
from ._registry import NONES, none, raw
from ._run import STATE, born, changed

__all__ = ["get_item", "make_dict", "make_list", "make_set", "make_tuple", "set_item", "undo", "unpack"]

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]


def undo(back: Callable[[], Any], again: Callable[[], Any]) -> None:
    """Undoes a change in the sweep; it is done again afterwards."""
    back()
    STATE.sweep.redo.append(again)


# Displays: `[a, *b]` is `make_list(a, *b)`.


def make_tuple(*parts: Any) -> tuple[Any, ...]:
    """`(a, b)`."""
    return parts


def make_list(*parts: Any) -> list[Any]:
    """`[a, b]`."""
    return list(parts)


def make_set(*parts: Any) -> set[Any]:
    """`{a, b}`."""
    return set(parts)


def make_dict(*parts: Any) -> dict[Any, Any]:
    """`{a: b, c: d}` is `make_dict(a, b, c, d)`."""
    return dict(zip(parts[::2], parts[1::2], strict=True))


@raw(make_tuple)
def _make_tuple(*parts: Any) -> Pulled:
    def back(ȳ: Any) -> tuple[Any, ...]:
        return NONES[len(parts)] if ȳ is None else value(ȳ)

    return parts, back


@raw(make_list)
def _make_list(*parts: Any) -> Pulled:
    y = born(list(parts))
    return y, lambda _: tuple(take_slots(y))


@raw(make_set)
def _make_set(*parts: Any) -> Pulled:
    if any(carries(x) for x in parts):
        raise Refused("a set of numbers with derivatives", "use a list or a dict")
    return born(set(parts)), none(len(parts))


@raw(make_dict)
def _make_dict(*parts: Any) -> Pulled:
    y = born(make_dict(*parts))

    def back(_: Any) -> tuple[Any, ...]:
        fields, bars = STATE.sweep.find(y) or {}, [None] * len(parts)
        for i in range(len(parts) - 2, -1, -2):  # of a key that is there twice, the last counts
            bars[i + 1] = fields.pop(parts[i], None)
        return tuple(bars)

    return y, back


@raw(list)
def _list(xs: Any = ()) -> Pulled:
    parts, give = elements(xs)
    y = born(list(parts))
    return y, lambda _: (give(take_slots(y)),)


@raw(tuple)
def _tuple(xs: Any = ()) -> Pulled:
    if type(xs) is tuple:
        return xs, lambda ȳ: (ȳ,)
    parts, give = elements(xs)
    return tuple(parts), lambda ȳ: (give([None] * len(parts) if ȳ is None else value(ȳ)),)


def unpack(xs: Any, before: int, after: int | None = None) -> tuple[Any, ...]:
    """What `a, b = xs` assigns (`before=2`), and `a, *b, c = xs` (`before=1, after=1`)."""
    parts = list(xs)
    if after is None:
        if len(parts) != before:
            short = len(parts) < before
            message = f"not enough values to unpack (expected {before}, got {len(parts)})"
            raise ValueError(message if short else f"too many values to unpack (expected {before})")
        return tuple(parts)
    if len(parts) < before + after:
        raise ValueError(f"not enough values to unpack (expected at least {before + after}, got {len(parts)})")
    end = len(parts) - after
    return (*parts[:before], parts[before:end], *parts[end:])


@raw(unpack)
def _unpack(xs: Any, before: int, after: int | None = None) -> Pulled:
    if after is None and type(xs) is tuple and len(xs) == before:
        return xs, lambda ȳ: (ȳ, None, None)
    parts, give = elements(xs)
    y = unpack(parts, before, after)

    def back(ȳ: Any) -> tuple[Any, ...]:
        bars = [None] * len(y) if ȳ is None else list(value(ȳ))
        if after is not None:
            bars[before : before + 1] = take_slots(y[before])
        return give(bars), None, None

    return y, back


# Entries.


def get_item(xs: Any, i: Any) -> Pulled:
    """`xs[i]` of a list, a deque or a tuple."""
    y = xs[i]
    if isinstance(i, slice):
        return _get_slice(xs, i, y)
    if y.__class__ in _NO_BAR:
        return y, none(2)
    at = operator.index(i)
    at = at + len(xs) if at < 0 else at
    if isinstance(xs, SEQUENCES):

        def back(ȳ: Any) -> tuple[Any, ...]:
            if ȳ is not None:
                slots = STATE.sweep.slots(xs)
                slots[at] = accum(slots[at], ȳ)
            return NONES[2]

        return y, back
    length = len(xs)
    return y, lambda ȳ: (None if ȳ is None else Entry(length, at, ȳ), None)


_NO_BAR = {int, str, bool, type(None), dict, *SEQUENCES}


def _get_slice(xs: Any, where: slice, y: Any) -> Pulled:
    spots, length = range(*where.indices(len(xs))), len(xs)
    if isinstance(xs, list):
        born(y)

    def back(ȳ: Any) -> tuple[Any, ...]:
        if isinstance(xs, list):
            for i, bar in zip(spots, take_slots(y), strict=True):
                give_slots(xs, [bar], i)
            return NONES[2]
        if ȳ is None:
            return NONES[2]
        bars: list[Any] = [None] * length
        for i, bar in zip(spots, value(ȳ), strict=True):
            bars[i] = bar
        return tuple(bars), None

    return y, back


def set_item(xs: Any, i: Any, v: Any) -> Pulled:
    """`xs[i] = v` of a list or a deque."""
    if isinstance(i, slice):
        return _set_slice(xs, i, v)
    at = operator.index(i)
    at = at + len(xs) if at < 0 else at
    old = xs[i]
    xs[i] = v
    changed(xs)

    def back(_: Any) -> tuple[Any, ...]:
        bar, slots = None, STATE.sweep.find(xs)
        if slots is not None:
            bar, slots[at] = slots[at], None
        undo(lambda: xs.__setitem__(at, old), lambda: xs.__setitem__(at, v))
        return None, None, bar

    return None, back


def replace(xs: list[Any], new: list[Any], mirror: Callable[[list[Any]], Any]) -> Callable[[Any], Any]:
    """Gives a list new contents; the back calls `mirror` with its shadow, to be made the old contents' shadow.

    `mirror` gets the list of cotangents of the new entries, and returns the cotangents of the old ones and
    something else, which the back returns.
    """
    changed(xs)
    old = list(xs)
    xs[:] = new

    def back(_: Any) -> Any:
        slots = STATE.sweep.find(xs)
        bars, rest = mirror([None] * len(new) if slots is None else slots)
        if slots is not None:
            slots[:] = bars
        undo(lambda: xs.__setitem__(slice(None), old), lambda: xs.__setitem__(slice(None), new))
        return rest

    return back


def _set_slice(xs: list[Any], where: slice, v: Any) -> Pulled:
    parts, give = elements(v)
    new, length = list(xs), len(xs)
    new[where] = parts
    start, stop, step = where.indices(length)
    spots = range(start, start + len(parts)) if step == 1 else range(start, stop, step)

    def mirror(bars: list[Any]) -> tuple[list[Any], Any]:
        rest = [bars[i] for i in spots]
        bars = list(bars)
        if step == 1:
            bars[start : start + len(parts)] = [None] * max(stop - start, 0)
        else:
            bars = [None if i in spots else bar for i, bar in enumerate(bars)]
        return bars, rest

    back = replace(xs, new, mirror)
    return None, lambda _: (None, None, give(back(None)))


def del_item(xs: list[Any], where: Any) -> Pulled:
    """`del xs[i]`."""
    length = len(xs)
    spots = range(*where.indices(length)) if isinstance(where, slice) else [range(length)[where]]
    return _keep(xs, [i for i in range(length) if i not in set(spots)], 2)


def _keep(xs: list[Any], order: list[int], count: int) -> Pulled:
    """`xs` has its entries at `order` from now on."""
    length = len(xs)

    def mirror(bars: list[Any]) -> tuple[list[Any], Any]:
        old: list[Any] = [None] * length
        for i, bar in zip(order, bars, strict=True):
            old[i] = bar
        return old, NONES[count]

    return None, replace(xs, [xs[i] for i in order], mirror)


# Methods.


@raw(list.append)
def _append(xs: list[Any], v: Any) -> Pulled:
    changed(xs)
    xs.append(v)

    def back(_: Any) -> tuple[Any, ...]:
        slots = STATE.sweep.find(xs)
        bar = None if slots is None else slots.pop()
        undo(xs.pop, lambda: xs.append(v))
        return None, bar

    return None, back


@raw(list.insert)
def _insert(xs: list[Any], i: int, v: Any) -> Pulled:
    changed(xs)
    at = min(max(i + len(xs) if i < 0 else i, 0), len(xs))
    xs.insert(at, v)

    def back(_: Any) -> tuple[Any, ...]:
        slots = STATE.sweep.find(xs)
        bar = None if slots is None else slots.pop(at)
        undo(lambda: xs.pop(at), lambda: xs.insert(at, v))
        return None, None, bar

    return None, back


@raw(list.pop)
def _pop(xs: list[Any], *where: int) -> Pulled:
    at = range(len(xs))[where[0]] if where else len(xs) - 1
    y = xs.pop(at)
    changed(xs)

    def back(ȳ: Any) -> tuple[Any, ...]:
        slots = STATE.sweep.slots(xs) if ȳ is not None else STATE.sweep.find(xs)
        if slots is not None:
            slots.insert(at, ȳ)
        undo(lambda: xs.insert(at, y), lambda: xs.pop(at))
        return NONES[1 + len(where)]

    return y, back


@raw(list.extend)
def _extend(xs: list[Any], more: Any) -> Pulled:
    parts, give = elements(more)
    length = len(xs)
    back = replace(xs, xs + parts, lambda bars: (bars[:length], bars[length:]))
    return None, lambda _: (None, give(back(None)))  # afterwards: what was added may be `xs` itself


def extend_in_place(xs: list[Any], more: Any) -> Pulled:
    """`xs += more` of a list."""
    _, back = _extend(xs, more)
    return xs, back


@raw(list.clear)
def _clear(xs: list[Any]) -> Pulled:
    return _keep(xs, [], 1)


@raw(list.reverse)
def _reverse(xs: list[Any]) -> Pulled:
    return _keep(xs, list(range(len(xs)))[::-1], 1)


@raw(list.remove)
def _remove(xs: list[Any], v: Any) -> Pulled:
    at = xs.index(v)
    return _keep(xs, [i for i in range(len(xs)) if i != at], 2)


@raw(list.sort)
def _sort(xs: list[Any], **how: Any) -> Pulled:
    if by_key(how):
        return pull_function(sort_by, (xs,), how)
    return _keep(xs, ordering(xs, **how), 1 + len(how))


def sort_by(xs: Any, key: Any, reverse: bool = False) -> None:
    xs[:] = sorted_by(xs, key, reverse)


@raw(list.copy)
def _copy(xs: list[Any]) -> Pulled:
    y = born(xs.copy())
    return y, lambda _: (give_slots(xs, take_slots(y)),)


def concatenate(a: Any, b: Any) -> Pulled:
    """`a + b` of lists or tuples."""
    y = a + b
    if isinstance(y, list):
        born(y)
        return y, lambda _: _split_list(a, b, take_slots(y))
    cut = len(a)
    return y, lambda ȳ: NONES[2] if ȳ is None else (tuple_bar(value(ȳ)[:cut]), tuple_bar(value(ȳ)[cut:]))


def _split_list(a: list[Any], b: list[Any], bars: list[Any]) -> tuple[Any, ...]:
    give_slots(a, bars[: len(a)])
    give_slots(b, bars[len(a) :])
    return NONES[2]


def fold(bars: Iterable[Any], length: int) -> list[Any]:
    """The cotangents of the entries of what was repeated."""
    total: list[Any] = [None] * length
    for i, bar in enumerate(bars):
        total[i % length] = accum(total[i % length], bar)
    return total


def repeat(xs: Any, times: int) -> Pulled:
    """`xs * times` of a list or tuple."""
    y, length = xs * times, len(xs)
    if isinstance(y, list):
        born(y)
        return y, lambda _: (give_slots(xs, fold(take_slots(y), length)), None)
    return y, lambda ȳ: NONES[2] if ȳ is None else (tuple_bar(fold(value(ȳ), length)), None)


def repeat_in_place(xs: list[Any], times: int) -> Pulled:
    """`xs *= times` of a list."""
    length = len(xs)
    back = replace(xs, xs * times, lambda bars: (fold(bars, length), NONES[2]))
    return xs, back
