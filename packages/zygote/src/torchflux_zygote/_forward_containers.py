"""Forward rules of lists, dicts, tuples and iterators: what is done to a list is done to its mirror. All Python."""

import collections
import functools
import itertools
import math
import operator
from types import FunctionType
from typing import Any

from . import _builtins, _forward_rules, _lists, _support  # noqa: F401 - of these some rules come first
from ._attributes import cell
from ._dicts import METHODS, merge
from ._forward_arrays import note_view
from ._kinds import SEQUENCES, carries, inert, is_numeric
from ._memory import is_array
from ._refuse import Refused, describe
from ._registry import PUSH, constant, pushes
from ._streams import (
    ChainStream,
    EnumerateStream,
    FilterStream,
    MapStream,
    SliceStream,
    ZipStream,
    dots_in,
    each_pair,
    has,
    pairs_of,
    split,
)
from ._unruled import check_still

__all__ = ["extend_in_place", "of_sequences", "repeat_in_place", "set_in"]

constant(cell, inert, describe)


@pushes(_lists.make_tuple)
def _make_tuple(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return args, dots


@pushes(_lists.make_list)
def _make_list(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = list(args)
    push.fill(y, dots)
    return y, None


@pushes(_lists.make_dict)
def _make_dict(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = {}
    for i in range(0, len(args), 2):
        y[args[i]] = args[i + 1]
        push.give(y, args[i], dots[i + 1])
    return y, None


@pushes(_lists.make_set)
def _make_set(push: Any, args: Any, dots: Any, names: Any) -> Any:
    check_set(args)
    return set(args), None


def check_set(parts: Any) -> None:
    if any(carries(x) for x in parts):
        raise Refused("a set of numbers with derivatives", "use a list or a dict")


constant(check_set)


@pushes(_lists.unpack)
def _unpack(push: Any, args: Any, dots: Any, names: Any) -> Any:
    values, parts = pairs_of(push, args[0], dots[0])
    y = _lists.unpack(values, *args[1:])
    found = _lists.unpack(parts, *args[1:])
    if len(args) < 3:
        return y, found
    before = args[1]
    push.fill(y[before], found[before])
    return y, (*found[:before], None, *found[before + 1 :])


@pushes(_support.join)
def _join(push: Any, args: Any, dots: Any, names: Any) -> Any:
    values: list[Any] = []
    parts: list[Any] = []
    for i in range(len(args)):
        xs, x_dots = pairs_of(push, args[i], dots[i])
        values.extend(xs)
        parts.extend(x_dots)
    return tuple(values), tuple(parts)


@pushes(_support.call)
def _call(push: Any, args: Any, dots: Any, names: Any) -> Any:
    f, xs, options = args
    x_dots = split(dots[1], len(xs))
    keys = tuple(options)
    option_dots = [push.field(options, key) for key in keys]
    return push(f, (*xs, *options.values()), (*x_dots, *option_dots), keys)


@pushes(_support.defaults)
def _defaults(push: Any, args: Any, dots: Any, names: Any) -> Any:
    f, keys = args[0], args[1]
    for i in range(len(keys)):
        push.give(f, keys[i], dots[2 + i])
    return None, None


@pushes(_support.each)
def _each(push: Any, args: Any, dots: Any, names: Any) -> Any:
    raise Refused("a loop of generated reverse code in forward mode", "nest gradients by calling gradient")


# Entries.


@pushes(operator.getitem)
def _get_item(push: Any, args: Any, dots: Any, names: Any) -> Any:
    x, i = args
    if is_array(x):
        y = x[i]
        if not carries(x):
            return y, None
        note_view(push, y, x, dots[0])
        return y, None if dots[0] is None else dots[0][i]
    method = python_method(x, "__getitem__")
    if method is not None:
        return push(method, args, dots)
    if isinstance(x, SEQUENCES):
        return _from_list(push, x, i)
    if isinstance(x, tuple):
        return x[i], None if dots[0] is None else dots[0][i]
    if isinstance(x, dict):
        return _from_dict(push, x, i)
    y = x[i]
    check_entry(x, y)
    return y, None


def check_entry(x: Any, y: Any) -> None:
    import torch

    if not (inert(x) or inert(y) or isinstance(y, torch.nn.Module | torch.nn.Parameter | type) or isinstance(x, type)):
        raise Refused(f"an entry of {describe(type(x))}", "use a list, a dict or an array")


def python_method(x: Any, name: str) -> Any:
    """A method of a class that is written in Python, and not in PyTorch."""
    method = getattr(type(x), name, None)
    mine = isinstance(method, FunctionType) and type(x).__module__.partition(".")[0] != "torch"
    return method if mine else None


constant(check_entry, python_method)


def _from_list(push: Any, x: Any, i: Any) -> Any:
    y = x[i]
    if not has(push, x):
        return y, None
    dot = push.mirror(x)[i]
    if isinstance(i, slice):
        push.fill(y, dot)
        return y, None
    return y, dot


def _from_dict(push: Any, x: Any, key: Any) -> Any:
    if key not in x and isinstance(getattr(x, "default_factory", None), FunctionType):
        made, dot = push(x.default_factory, (), ())
        x[key] = made
        push.give(x, key, dot)
    return x[key], push.field(x, key)


def set_in(push: Any, x: Any, i: Any, v: Any, dot: Any) -> Any:
    """`x[i] = v` of a list, a dict or an object."""
    method = python_method(x, "__setitem__")
    if method is not None:
        return push(method, (x, i, v), (None, None, dot))
    if isinstance(x, dict):
        x[i] = v
        push.give(x, i, dot)
        return None, None
    if isinstance(i, slice):
        mirror = push.mirror(x)
        mirror[i] = dots_in(push, v, dot)
    elif dot is not None or has(push, x):
        mirror = push.mirror(x)
        mirror[i] = dot
    x[i] = v
    return None, None


@pushes(operator.delitem)
def _del_item(push: Any, args: Any, dots: Any, names: Any) -> Any:
    x, i = args
    method = python_method(x, "__delitem__")
    if method is not None:
        return push(method, args, dots)
    if has(push, x):
        if isinstance(x, dict):
            push.mirror(x).pop(i, None)
        else:
            del push.mirror(x)[i]
    del x[i]
    return None, None


def extend_in_place(push: Any, x: Any, v: Any, dot: Any) -> Any:
    """`x += v` of a list or a deque, `x |= v` of a dict."""
    if isinstance(x, dict):
        push(dict.update, (x, v), (None, dot))
    else:
        push(list.extend if isinstance(x, list) else collections.deque.extend, (x, v), (None, dot))
    return x, None


def repeat_in_place(push: Any, x: Any, times: int) -> Any:
    """`x *= times` of a list."""
    mirror = push.mirror(x)
    mirror[:] = mirror * times
    x[:] = x * times
    return x, None


def of_sequences(push: Any, op: Any, args: Any, dots: Any) -> Any:
    """An operator of lists, tuples, strings, dicts and objects."""
    a, b = args
    if op is operator.add and isinstance(a, list) and isinstance(b, list):
        y = a + b
        push.fill(y, dots_in(push, a, None) + dots_in(push, b, None))
        return y, None
    if op is operator.add and isinstance(a, tuple) and isinstance(b, tuple):
        return a + b, split(dots[0], len(a)) + split(dots[1], len(b))
    if op is operator.mul and isinstance(b, list | tuple) and isinstance(a, int):
        return of_sequences(push, op, (b, a), (dots[1], None))
    if op is operator.mul and isinstance(a, list) and isinstance(b, int):
        y = a * b
        push.fill(y, dots_in(push, a, None) * b)
        return y, None
    if op is operator.mul and isinstance(a, tuple) and isinstance(b, int):
        return a * b, split(dots[0], len(a)) * b
    if isinstance(a, dict) and isinstance(b, dict):
        return push(merge, args, dots)
    if isinstance(a, str | bytes) or (inert(a) and inert(b)):
        return op(a, b), None
    for attempt in attempts(op, a, b):
        method, swapped = attempt
        y, dot = push(method, (b, a) if swapped else (a, b), (dots[1], dots[0]) if swapped else dots)
        if y is not NotImplemented:
            return y, dot
    raise TypeError(f"unsupported operand types for {op.__name__}: {type(a).__name__!r} and {type(b).__name__!r}")


def attempts(op: Any, a: Any, b: Any) -> list[tuple[Any, bool]]:
    """The methods that Python tries for an operator, and whether with the operands swapped."""
    from ._arithmetic import BINARY, _attempts

    found = []
    for x, _, dunder, swapped in _attempts(BINARY[op][0], a, b):
        method = getattr(type(x), dunder, None)
        plain = not isinstance(method, FunctionType)
        if plain and (is_numeric(x) or isinstance(x, str | list | tuple)):
            continue
        if method is not None and not isinstance(method, FunctionType):
            raise Refused(f"{op.__name__} of {describe(type(a))} and {describe(type(b))}", "convert them first")
        if method is not None:
            found.append((method, swapped))
    return found


constant(attempts)


# Methods of lists.


@pushes(list.append)
def _append(push: Any, args: Any, dots: Any, names: Any) -> Any:
    xs, v = args
    if dots[1] is not None or has(push, xs):
        push.mirror(xs).append(dots[1])
    xs.append(v)
    return None, None


@pushes(list.insert)
def _insert(push: Any, args: Any, dots: Any, names: Any) -> Any:
    push.mirror(args[0]).insert(args[1], dots[2])
    args[0].insert(args[1], args[2])
    return None, None


@pushes(list.pop)
def _pop(push: Any, args: Any, dots: Any, names: Any) -> Any:
    xs = args[0]
    i = args[1] if len(args) > 1 else len(xs) - 1
    dot = push.mirror(xs).pop(i) if has(push, xs) else None
    return xs.pop(i), dot


@pushes(list.extend)
def _extend(push: Any, args: Any, dots: Any, names: Any) -> Any:
    xs = args[0]
    values, parts = pairs_of(push, args[1], dots[1])
    push.mirror(xs).extend(parts)
    xs.extend(values)
    return None, None


@pushes(list.clear)
def _clear(push: Any, args: Any, dots: Any, names: Any) -> Any:
    push.mirror(args[0]).clear()
    args[0].clear()
    return None, None


@pushes(list.reverse)
def _reverse(push: Any, args: Any, dots: Any, names: Any) -> Any:
    push.mirror(args[0]).reverse()
    args[0].reverse()
    return None, None


@pushes(list.remove)
def _remove(push: Any, args: Any, dots: Any, names: Any) -> Any:
    xs = args[0]
    i = xs.index(args[1])
    push.mirror(xs).pop(i)
    xs.pop(i)
    return None, None


@pushes(list.sort)
def _sort(push: Any, args: Any, dots: Any, names: Any) -> Any:
    xs = args[0]
    order = order_of(list(xs), dict(zip(names, args[1:])))  # noqa: B905
    mirror = push.mirror(xs)
    mirror[:] = [mirror[i] for i in order]
    xs[:] = [xs[i] for i in order]
    return None, None


def order_of(parts: list[Any], how: dict[str, Any]) -> list[int]:
    return _lists.ordering(parts, **how)


constant(order_of)


@pushes(list.copy)
def _copy(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = args[0].copy()
    push.fill(y, dots_in(push, args[0], None))
    return y, None


@pushes(list)
def _list(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if len(args) == 0:
        return [], None
    values, parts = pairs_of(push, args[0], dots[0])
    push.fill(values, parts)
    return values, None


@pushes(tuple)
def _tuple(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if len(args) == 0:
        return (), None
    values, parts = pairs_of(push, args[0], dots[0])
    return tuple(values), tuple(parts)


@pushes(sorted)
def _sorted(push: Any, args: Any, dots: Any, names: Any) -> Any:
    values, parts = pairs_of(push, args[0], dots[0])
    order = order_of(values, dict(zip(names, args[1:])))  # noqa: B905
    y = [values[i] for i in order]
    push.fill(y, [parts[i] for i in order])
    return y, None


@pushes(reversed)
def _reversed(push: Any, args: Any, dots: Any, names: Any) -> Any:
    values, parts = pairs_of(push, args[0], dots[0])
    y = values[::-1]
    push.fill(y, parts[::-1])
    return each_pair(push, y, None), None


# Dicts.


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
    key, v = args[0].popitem()
    dot = push.mirror(args[0]).pop(key, None) if has(push, args[0]) else None
    return (key, v), (None, dot)


def items_in(push: Any, source: Any, dot: Any) -> list[tuple[Any, Any, Any]]:
    """Keys, values and tangents of a mapping or of pairs."""
    if isinstance(source, dict):
        return [(key, source[key], push.field(source, key)) for key in source]
    values, parts = pairs_of(push, source, dot)
    return [(values[i][0], values[i][1], split(parts[i], 2)[1]) for i in range(len(values))]


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
    y = dict.fromkeys(list(args[0]), *args[1:])
    for key in y:
        push.give(y, key, dots[1] if len(args) > 1 else None)
    return y, None


for _name in METHODS:
    PUSH[getattr(collections.OrderedDict, _name)] = PUSH[getattr(dict, _name)]


# Reductions and iterators.


@pushes(sum)
def _sum(push: Any, args: Any, dots: Any, names: Any) -> Any:
    values, parts = pairs_of(push, args[0], dots[0])
    total, total_dot = (args[1], dots[1]) if len(args) > 1 else (0, None)
    for i in range(len(values)):
        total, total_dot = push(operator.add, (total, values[i]), (total_dot, parts[i]))
    return total, total_dot


@pushes(math.fsum)
def _fsum(push: Any, args: Any, dots: Any, names: Any) -> Any:
    values, parts = pairs_of(push, args[0], dots[0])
    return math.fsum(values), math.fsum([p for p in parts if p is not None])


@pushes(math.hypot)
def _hypot(push: Any, args: Any, dots: Any, names: Any) -> Any:
    squares, dot = push(_builtins.squares, args, dots)
    return push(math.sqrt, (squares,), (dot,))


@pushes(math.pow)
def _math_pow(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return push(operator.pow, args, dots)


def _extreme(which: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    count = len(args) - len(names)
    options = {names[i]: args[count + i] for i in range(len(names))}
    if count > 1:
        values, parts = list(args[:count]), list(dots[:count])
    else:
        values, parts = pairs_of(push, args[0], dots[0])
    if len(values) == 0 and "default" in options:
        return options["default"], dots[count + names.index("default")]
    at = chosen(which, values, options.get("key"))
    return values[at], parts[at]


def chosen(which: Any, values: list[Any], key: Any) -> int:
    """The index of the least or greatest value."""
    keys = values if key is None else [key(x) for x in values]
    return which(range(len(values)), key=keys.__getitem__)


constant(chosen)
PUSH[max], PUSH[min] = functools.partial(_extreme, max), functools.partial(_extreme, min)


def _streams(push: Any, xs: Any, dots: Any) -> list[Any]:
    return [each_pair(push, xs[i], dots[i]) for i in range(len(xs))]


@pushes(zip)
def _zip(push: Any, args: Any, dots: Any, names: Any) -> Any:
    count = len(args) - len(names)
    return ZipStream(push, _streams(push, args[:count], dots), *args[count:]), None


@pushes(enumerate)
def _enumerate(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return EnumerateStream(push, each_pair(push, args[0], dots[0]), args[1] if len(args) > 1 else 0), None


@pushes(map)
def _map(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return MapStream(push, args[0], ZipStream(push, _streams(push, args[1:], dots[1:]))), None


@pushes(filter)
def _filter(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return FilterStream(push, args[0], each_pair(push, args[1], dots[1])), None


@pushes(iter)
def _iter(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return each_pair(push, args[0], dots[0]), None


@pushes(next)
def _next(push: Any, args: Any, dots: Any, names: Any) -> Any:
    stream = each_pair(push, args[0], dots[0])
    if len(args) == 1:
        return next(stream)
    try:
        pair = next(stream)
    except StopIteration:
        pair = args[1], dots[1]
    return pair


@pushes(itertools.chain)
def _chain(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return ChainStream(push, _streams(push, args, dots)), None


@pushes(itertools.islice)
def _islice(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return SliceStream(push, each_pair(push, args[0], dots[0]), args[1:]), None


@pushes(itertools.repeat)
def _repeat(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if len(args) < 2:
        raise endless_repeat()
    y = [args[0]] * args[1]
    push.fill(y, [dots[0]] * args[1])
    return y, None


def endless_repeat() -> Refused:
    return Refused("itertools.repeat without a number", "say how often, or use the value itself")


constant(endless_repeat)


@pushes(itertools.count)
def _count(push: Any, args: Any, dots: Any, names: Any) -> Any:
    check_still(itertools.count, dots)
    return count_from(*args), None


def count_from(*args: Any) -> Any:
    return itertools.count(*args)


constant(count_from)


@pushes(functools.partial)
def _partial(push: Any, args: Any, dots: Any, names: Any) -> Any:
    count = len(args) - len(names)
    options = {names[i]: args[count + i] for i in range(len(names))}
    y = functools.partial(*args[:count], **options)
    offset = len(y.args) - (count - 1)
    if isinstance(args[0], functools.partial):
        for i in range(offset):
            push.give(y, i, push.field(args[0], i))
        for name in args[0].keywords:
            push.give(y, name, push.field(args[0], name))
    for i in range(1, count):
        push.give(y, offset + i - 1, dots[i])
    for i in range(len(names)):
        push.give(y, names[i], dots[count + i])
    return y, None
