"""Forward rules of dicts. All Python."""

import collections
from typing import Any

from ._dicts import METHODS, merge
from ._registry import PUSH, constant, pushes
from ._streams import has, pairs_of, split

__all__: list[str] = []


@pushes(dict.get)
def _get(push: Any, args: Any, dots: Any, names: Any) -> Any:
    d, key = args[0], args[1]
    if key in d:
        return d[key], push.field(d, key)
    return (args[2], dots[2]) if len(args) > 2 else (None, None)


@pushes(dict.setdefault)
def _setdefault(push: Any, args: Any, dots: Any, names: Any) -> Any:
    d, key = args[0], args[1]
    if key not in d:
        d[key] = args[2] if len(args) > 2 else None
        push.give(d, key, dots[2] if len(args) > 2 else None)
    return d[key], push.field(d, key)


@pushes(dict.pop)
def _pop_key(push: Any, args: Any, dots: Any, names: Any) -> Any:
    d, key = args[0], args[1]
    if key not in d and len(args) > 2:
        return args[2], dots[2]
    dot = push.mirror(d).pop(key, None) if has(push, d) else None
    return d.pop(key), dot


@pushes(dict.popitem)
def _popitem(push: Any, args: Any, dots: Any, names: Any) -> Any:
    key, v = args[0].popitem(*args[1:])
    dot = push.mirror(args[0]).pop(key, None) if has(push, args[0]) else None
    return (key, v), (None, dot)


def items_in(push: Any, source: Any, dot: Any) -> list[tuple[Any, Any, Any]]:
    """Keys, values and tangents of a mapping or of pairs."""
    if isinstance(source, dict):
        return [(key, source[key], push.field(source, key)) for key in source]
    values, parts = pairs_of(push, source, dot)
    return [(values[i][0], values[i][1], split(parts[i], 2)[1]) for i in range(len(values))]


def move_to_end(d: Any, key: Any, last: bool = True) -> None:
    d.move_to_end(key, last)


@pushes(collections.OrderedDict.move_to_end)
def _move_to_end(push: Any, args: Any, dots: Any, names: Any) -> Any:
    move_to_end(*args)
    return None, None


constant(move_to_end)


@pushes(dict.update)
def _update(push: Any, args: Any, dots: Any, names: Any) -> Any:
    d, count = args[0], len(args) - len(names)
    for i in range(1, count):
        for key, v, dot in items_in(push, args[i], dots[i]):
            d[key] = v
            push.give(d, key, dot)
    for i in range(len(names)):
        d[names[i]] = args[count + i]
        push.give(d, names[i], dots[count + i])
    return None, None


@pushes(dict)
def _dict(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y: dict[Any, Any] = {}
    push(dict.update, (y, *args), (None, *dots), names)
    return y, None


@pushes(collections.defaultdict)
def _defaultdict(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = new_defaultdict(*args[:1])
    push(dict.update, (y, *args[1:]), (None, *dots[1:]), names)
    return y, None


def new_defaultdict(*factory: Any) -> Any:
    return collections.defaultdict(*factory)


constant(new_defaultdict)


@pushes(collections.OrderedDict)
def _ordered_dict(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y: Any = new_ordered_dict()
    push(dict.update, (y, *args), (None, *dots), names)
    return y, None


def new_ordered_dict() -> Any:
    return collections.OrderedDict()


constant(new_ordered_dict)


@pushes(merge)
def _merge(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y: dict[Any, Any] = {}
    for source in args:
        push(dict.update, (y, source), (None, None))
    return y, None


@pushes(dict.copy)
def _copy_dict(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = args[0].copy()
    for key in args[0]:
        push.give(y, key, push.field(args[0], key))
    return y, None


@pushes(dict.clear)
def _clear_dict(push: Any, args: Any, dots: Any, names: Any) -> Any:
    push.mirror(args[0]).clear()
    args[0].clear()
    return None, None


@pushes(dict.keys)
def _keys(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return args[0].keys(), None


@pushes(dict.values)
def _values(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = list(args[0].values())
    push.fill(y, [push.field(args[0], key) for key in args[0]])
    return y, None


@pushes(dict.items)
def _items(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = list(args[0].items())
    push.fill(y, [(None, push.field(args[0], key)) for key in args[0]])
    return y, None


@pushes(dict.fromkeys)
def _fromkeys(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = dict.fromkeys(pairs_of(push, args[0], dots[0])[0], *args[1:])
    for key in y:
        push.give(y, key, dots[1] if len(args) > 1 else None)
    return y, None


for _name in METHODS:
    PUSH[getattr(collections.OrderedDict, _name)] = PUSH[getattr(dict, _name)]
