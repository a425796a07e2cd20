"""Rules for dicts; their keys carry no gradients."""

import collections
from collections.abc import Callable
from types import FunctionType
from typing import Any

from ._cotangent import accum, value
from ._elements import elements
from ._kinds import carries
from ._lists import undo
from ._parts import take_slots
from ._pull import pull
from ._refuse import Refused
from ._registry import NONES, PULL, none, raw
from ._run import STATE, born, changed

__all__ = ["METHODS", "get_key", "set_key"]

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]
ABSENT: Any = object()


def get_key(d: Any, key: Any) -> Pulled:
    """`d[key]`."""
    factory = getattr(d, "default_factory", None)
    if isinstance(factory, FunctionType) and key not in d:
        made, back_made = pull(factory)
        _, back_set = set_key(d, key, made)
        y, back_get = get_key(d, key)
        return y, lambda ȳ: (back_get(ȳ), back_made(back_set(None)[2])) and NONES[2]
    y = d[key]

    def back(ȳ: Any) -> tuple[Any, ...]:
        STATE.sweep.give(d, key, ȳ)
        return NONES[2]

    return y, back


def plain(d: Any) -> Any:
    """The class of C whose methods change a dict: past what a class of one's own makes of them."""
    return collections.OrderedDict if isinstance(d, collections.OrderedDict) else dict


def assign(d: Any, key: Any, v: Any) -> Callable[[], Any]:
    """`d[key] = v`; what undoes it returns the cotangent of `v`."""
    changed(d)
    old = dict.get(d, key, ABSENT)
    d[key] = v

    def back() -> Any:
        bar = STATE.sweep.take(d, key)
        undo(
            lambda: plain(d).pop(d, key) if old is ABSENT else plain(d).__setitem__(d, key, old),
            lambda: d.__setitem__(key, v),
        )
        return bar

    return back


def set_key(d: Any, key: Any, v: Any) -> Pulled:
    """`d[key] = v`."""
    back = assign(d, key, v)
    return None, lambda _: (None, None, back())


def remove(d: Any, key: Any) -> tuple[Any, Callable[[Any], None]]:
    """`d.pop(key)`; the back takes the cotangent of the value."""
    changed(d)
    last = next(reversed(d)) == key
    order = None if last else dict(d)
    y = plain(d).pop(d, key)

    def put_back() -> None:
        if order is None:
            plain(d).__setitem__(d, key, y)
        else:
            plain(d).clear(d)
            plain(d).update(d, order)

    def back(ȳ: Any) -> None:
        STATE.sweep.give(d, key, ȳ)
        undo(put_back, lambda: plain(d).pop(d, key))

    return y, back


def del_key(d: Any, key: Any) -> Pulled:
    """`del d[key]`."""
    if key not in d:
        raise KeyError(key)
    _, back = remove(d, key)
    return None, lambda _: back(None) or NONES[2]


@raw(dict.pop)
def _pop(d: Any, key: Any, *default: Any) -> Pulled:
    if key not in d and default:
        return default[0], lambda ȳ: (None, None, ȳ)
    if key not in d:
        raise KeyError(key)
    y, back = remove(d, key)
    return y, lambda ȳ: back(ȳ) or NONES[2 + len(default)]


@raw(dict.popitem)
def _popitem(d: Any, last: bool = True) -> Pulled:
    key = next(reversed(d) if last else iter(d), ABSENT)
    if key is ABSENT:
        raise KeyError("popitem(): dictionary is empty")
    y, back = remove(d, key)
    return (key, y), lambda ȳ: (back(None if ȳ is None else value(ȳ)[1]), None)


@raw(collections.OrderedDict.move_to_end)
def _move_to_end(d: Any, key: Any, last: bool = True) -> Pulled:
    order = list(d)
    d.move_to_end(key, last)
    changed(d)

    def put_back() -> None:
        for name in order:
            d.move_to_end(name)

    def back(_: Any) -> tuple[Any, ...]:
        undo(put_back, lambda: d.move_to_end(key, last))
        return NONES[3]

    return None, back


@raw(dict.get)
def _get(d: Any, key: Any, *default: Any) -> Pulled:
    if key in d:
        y, back = dict.__getitem__(d, key), lambda ȳ: STATE.sweep.give(d, key, ȳ)
        return y, lambda ȳ: back(ȳ) or NONES[2 + len(default)]
    return (default[0], lambda ȳ: (None, None, ȳ)) if default else (None, none(2))


@raw(dict.setdefault)
def _setdefault(d: Any, key: Any, default: Any = None) -> Pulled:
    if key in d:
        y = dict.__getitem__(d, key)
        return y, lambda ȳ: STATE.sweep.give(d, key, ȳ) or NONES[3]
    back = assign(d, key, default)

    def back_both(ȳ: Any) -> tuple[Any, ...]:
        STATE.sweep.give(d, key, ȳ)
        return None, None, back()

    return default, back_both


def _items_of(source: Any) -> tuple[list[Any], list[Any], Callable[[list[Any]], Any]]:
    """The keys and values of a mapping or of pairs, and what takes the cotangents of the values."""
    if hasattr(source, "keys"):
        keys = list(source)
        return keys, [source[k] for k in keys], lambda bars: _give_all(source, keys, bars)
    pairs, give = elements(source)
    split = [elements(pair) for pair in pairs]
    keys, values = [parts[0] for parts, _ in split], [parts[1] for parts, _ in split]
    return keys, values, lambda bars: give([g([None, b]) for (_, g), b in zip(split, bars, strict=True)])


def _give_all(d: Any, keys: list[Any], bars: list[Any]) -> Any:
    """Adds cotangents to the entries of a dict; to the dict itself nothing flows: None."""
    for key, bar in zip(keys, bars, strict=True):
        STATE.sweep.give(d, key, bar)


@raw(dict.update)
def _update(d: Any, *sources: Any, **named: Any) -> Pulled:
    keys, values, give = _items_of(sources[0]) if sources else ([], [], lambda _: None)
    backs = [assign(d, k, v) for k, v in [*zip(keys, values, strict=True), *named.items()]]

    def back(_: Any) -> tuple[Any, ...]:
        bars = [b() for b in reversed(backs)][::-1]
        return (None, *([give(bars[: len(keys)])] if sources else []), *bars[len(keys) :])

    return None, back


@raw(dict)
def _dict(*sources: Any, **named: Any) -> Pulled:
    y: dict[Any, Any] = born({})
    _, back = _update(y, *sources, **named)
    return y, lambda ȳ: back(ȳ)[1:]


def merge(*sources: Any) -> dict[Any, Any]:
    """`{**a, **b}`: the last counts."""
    y: dict[Any, Any] = {}
    for source in sources:
        y.update(source)
    return y


@raw(merge)
def _merge(*sources: Any) -> Pulled:
    y: dict[Any, Any] = born({})
    backs = [_update(y, source)[1] for source in sources]
    return y, lambda ȳ: tuple([back(ȳ)[1] for back in reversed(backs)][::-1])


@raw(dict.copy)
def _copy(d: Any) -> Pulled:
    y = born(d.copy())
    return y, lambda _: (_give_all(d, list(d), [STATE.sweep.take(y, k) for k in d]),)


@raw(dict.clear)
def _clear(d: Any) -> Pulled:
    backs = [remove(d, key)[1] for key in reversed(list(d))]
    return None, lambda _: ([back(None) for back in reversed(backs)] and None,)


@raw(dict.keys)
def _keys(d: Any) -> Pulled:
    if any(carries(key) for key in d):
        raise Refused("the keys of a dict that are numbers with derivatives", "keep them as values")
    return d.keys(), none(1)


@raw(dict.values)
def _values(d: Any) -> Pulled:
    keys, y = list(d), born(list(d.values()))
    return y, lambda _: (_give_all(d, keys, take_slots(y)),)


@raw(dict.items)
def _items(d: Any) -> Pulled:
    keys, y = list(d), born(list(d.items()))

    def back(_: Any) -> tuple[Any, ...]:
        bars = [None if bar is None else value(bar)[1] for bar in take_slots(y)]
        return (_give_all(d, keys, bars),)

    return y, back


@raw(dict.fromkeys)
def _fromkeys(keys: Any, default: Any = None) -> Pulled:
    found, give = elements(keys)
    y = born(dict.fromkeys(found, default))
    return y, lambda _: (give([None] * len(found)), _shared(y))


def _shared(y: Any) -> Any:
    """What flowed to the one value of all keys."""
    total = None
    for key in y:
        total = accum(total, STATE.sweep.take(y, key))
    return total


@raw(collections.defaultdict)
def _defaultdict(factory: Any = None, *sources: Any, **named: Any) -> Pulled:
    y: Any = born(collections.defaultdict(factory))
    _, back = _update(y, *sources, **named)
    return y, lambda ȳ: (None, *back(ȳ)[1:])


@raw(collections.OrderedDict)
def _ordered_dict(*sources: Any, **named: Any) -> Pulled:
    y: Any = born(collections.OrderedDict())
    _, back = _update(y, *sources, **named)
    return y, lambda ȳ: back(ȳ)[1:]


METHODS = ("pop", "popitem", "get", "setdefault", "update", "copy", "clear", "keys", "values", "items")
for _name in METHODS:
    PULL[getattr(collections.OrderedDict, _name)] = PULL[getattr(dict, _name)]
