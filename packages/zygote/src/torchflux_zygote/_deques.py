"""Rules for `collections.deque`. Its shadow and its mirror are lists."""

import operator
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import _lists
from ._elements import elements
from ._lists import undo
from ._parts import give_slots, take_slots
from ._registry import NONES, PULL, PUSH, constant, none, pushes, raw
from ._run import STATE, born, changed
from ._streams import dots_in, has, pairs_of

__all__ = ["del_item", "extend_in_place", "set_item"]

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]


@dataclass(frozen=True)
class End:
    """One of the two ends, and the methods that add there and take from there."""

    left: bool
    add: Any
    take: Any

    def give(self, slots: list[Any], bar: Any) -> None:
        """Adds a cotangent at this end of a shadow."""
        slots.insert(0 if self.left else len(slots), bar)

    def get(self, slots: list[Any]) -> Any:
        """Takes the cotangent at this end of a shadow."""
        return slots.pop(0 if self.left else -1)


LEFT, RIGHT = End(True, deque.appendleft, deque.popleft), End(False, deque.append, deque.pop)


def _add(end: End, other: End, xs: deque[Any], v: Any) -> Pulled:
    """`append` and `appendleft`; of a full deque the other end is lost."""
    if xs.maxlen == 0:
        return None, none(2)
    changed(xs)
    full = len(xs) == xs.maxlen
    lost = xs[-1 if end.left else 0] if full else None
    end.add(xs, v)

    def put_back() -> None:
        end.take(xs)
        if full:
            other.add(xs, lost)

    def back(_: Any) -> tuple[Any, ...]:
        bar, slots = None, STATE.sweep.find(xs)
        if slots is not None:
            bar = end.get(slots)
            if full:
                other.give(slots, None)
        undo(put_back, lambda: end.add(xs, v))
        return None, bar

    return None, back


def _take(end: End, xs: deque[Any]) -> Pulled:
    """`pop` and `popleft`."""
    y = end.take(xs)
    changed(xs)

    def back(ȳ: Any) -> tuple[Any, ...]:
        slots = STATE.sweep.slots(xs) if ȳ is not None else STATE.sweep.find(xs)
        if slots is not None:
            end.give(slots, ȳ)
        undo(lambda: end.add(xs, y), lambda: end.take(xs))
        return NONES[1]

    return y, back


def _extend(end: End, other: End, xs: deque[Any], more: Any) -> Pulled:
    """`extend` and `extendleft`: one after the other."""
    parts, give = elements(more)
    backs = [_add(end, other, xs, part)[1] for part in parts]
    return None, lambda _: (None, give([back(None)[1] for back in reversed(backs)][::-1]))


def extend_in_place(xs: deque[Any], more: Any) -> Pulled:
    """`xs += more`."""
    _, back = _extend(RIGHT, LEFT, xs, more)
    return xs, back


for _end, _other, _word in ((LEFT, RIGHT, "left"), (RIGHT, LEFT, "")):
    PULL[_end.add] = partial(_add, _end, _other)
    PULL[_end.take] = partial(_take, _end)
    PULL[getattr(deque, f"extend{_word}")] = partial(_extend, _end, _other)


@raw(deque)
def _deque(iterable: Any = (), maxlen: int | None = None) -> Pulled:
    parts, give = elements(iterable)
    y = born(deque(parts, maxlen))
    return y, lambda _: (give([None] * (len(parts) - len(y)) + take_slots(y)), None)


@raw(deque.copy)
def _copy(xs: deque[Any]) -> Pulled:
    y = born(xs.copy())
    return y, lambda _: (give_slots(xs, take_slots(y)),)


def set_item(xs: deque[Any], i: Any, v: Any) -> Pulled:
    """`xs[i] = v`."""
    return _lists.set_item(xs, operator.index(i), v)


@raw(deque.insert)
def _insert(xs: deque[Any], i: int, v: Any) -> Pulled:
    at = min(max(i + len(xs) if i < 0 else i, 0), len(xs))
    xs.insert(at, v)
    changed(xs)

    def back(_: Any) -> tuple[Any, ...]:
        slots = STATE.sweep.find(xs)
        bar = None if slots is None else slots.pop(at)
        undo(lambda: xs.__delitem__(at), lambda: xs.insert(at, v))
        return None, None, bar

    return None, back


def _keep(xs: deque[Any], order: list[int], count: int) -> Pulled:
    """`xs` has its entries at `order` from now on."""
    changed(xs)
    old = list(xs)
    new = [old[i] for i in order]
    _become(xs, new)

    def back(_: Any) -> tuple[Any, ...]:
        slots = STATE.sweep.find(xs)
        if slots is not None:
            bars: list[Any] = [None] * len(old)
            for i, bar in zip(order, slots, strict=True):
                bars[i] = bar
            slots[:] = bars
        undo(partial(_become, xs, old), partial(_become, xs, new))
        return NONES[count]

    return None, back


def _become(xs: deque[Any], content: list[Any]) -> None:
    xs.clear()
    xs.extend(content)


def del_item(xs: deque[Any], i: Any) -> Pulled:
    """`del xs[i]`."""
    at = range(len(xs))[operator.index(i)]
    return _keep(xs, [k for k in range(len(xs)) if k != at], 2)


@raw(deque.remove)
def _remove(xs: deque[Any], v: Any) -> Pulled:
    _, back = del_item(xs, xs.index(v))
    return None, back


@raw(deque.clear)
def _clear(xs: deque[Any]) -> Pulled:
    return _keep(xs, [], 1)


@raw(deque.reverse)
def _reverse(xs: deque[Any]) -> Pulled:
    return _keep(xs, list(range(len(xs)))[::-1], 1)


@raw(deque.rotate)
def _rotate(xs: deque[Any], n: int = 1) -> Pulled:
    length = len(xs)
    return _keep(xs, [(i - n) % length for i in range(length)], 2)


# Forward mode: what is done to a deque is done to its mirror. All Python.


def _push_add(left: bool, push: Any, args: Any, dots: Any, names: Any) -> Any:
    xs, v = args
    if xs.maxlen != 0 and (dots[1] is not None or has(push, xs)):
        mirror = push.mirror(xs)
        if len(xs) == xs.maxlen:
            mirror.pop(-1 if left else 0)
        mirror.insert(0 if left else len(mirror), dots[1])
    if left:
        xs.appendleft(v)
    else:
        xs.append(v)
    return None, None


def _push_take(left: bool, push: Any, args: Any, dots: Any, names: Any) -> Any:
    xs = args[0]
    y = xs.popleft() if left else xs.pop()
    return y, push.mirror(xs).pop(0 if left else -1) if has(push, xs) else None


def _push_extend(left: bool, push: Any, args: Any, dots: Any, names: Any) -> Any:
    values, parts = pairs_of(push, args[1], dots[1])
    for i in range(len(values)):
        _push_add(left, push, (args[0], values[i]), (None, parts[i]), ())
    return None, None


for _end, _word in ((LEFT, "left"), (RIGHT, "")):
    PUSH[_end.add] = partial(_push_add, _end.left)
    PUSH[_end.take] = partial(_push_take, _end.left)
    PUSH[getattr(deque, f"extend{_word}")] = partial(_push_extend, _end.left)


@pushes(deque)
def _push_deque(push: Any, args: Any, dots: Any, names: Any) -> Any:
    count = len(args) - len(names)
    given = {names[i]: args[count + i] for i in range(len(names))}
    given_dots = {names[i]: dots[count + i] for i in range(len(names))}
    source = args[0] if count > 0 else given.get("iterable", ())
    values, parts = pairs_of(push, source, dots[0] if count > 0 else given_dots.get("iterable"))
    y = deque(values, args[1] if count > 1 else given.get("maxlen"))
    push.fill(y, parts[len(parts) - len(y) :])
    return y, None


@pushes(deque.copy)
def _push_copy(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = args[0].copy()
    push.fill(y, dots_in(push, args[0], None))
    return y, None


@pushes(deque.insert)
def _push_insert(push: Any, args: Any, dots: Any, names: Any) -> Any:
    mirror = push.mirror(args[0])
    args[0].insert(args[1], args[2])
    mirror.insert(args[1], dots[2])
    return None, None


@pushes(deque.remove)
def _push_remove(push: Any, args: Any, dots: Any, names: Any) -> Any:
    xs = args[0]
    i = xs.index(args[1])
    push.mirror(xs).pop(i)
    del xs[i]
    return None, None


@pushes(deque.clear)
def _push_clear(push: Any, args: Any, dots: Any, names: Any) -> Any:
    push.mirror(args[0]).clear()
    args[0].clear()
    return None, None


@pushes(deque.reverse)
def _push_reverse(push: Any, args: Any, dots: Any, names: Any) -> Any:
    push.mirror(args[0]).reverse()
    args[0].reverse()
    return None, None


@pushes(deque.rotate)
def _push_rotate(push: Any, args: Any, dots: Any, names: Any) -> Any:
    xs, n = args[0], args[1] if len(args) > 1 else 1
    if len(xs) > 0:
        mirror = push.mirror(xs)
        cut = -n % len(xs)
        mirror[:] = mirror[cut:] + mirror[:cut]
    xs.rotate(n)
    return None, None


constant(deque.index, deque.count, deque.__len__, deque.__contains__)
