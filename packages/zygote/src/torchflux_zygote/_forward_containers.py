"""Forward rules of displays, entries and operators of containers. All Python."""

import collections
import operator
from types import FunctionType
from typing import Any

from . import _builtins, _forward_attributes, _forward_rules, _lists, _support  # noqa: F401 - of these some rules come first
from ._attributes import cell
from ._dicts import merge
from ._forward_arrays import note_view
from ._kinds import SEQUENCES, carries, inert, is_numeric
from ._memory import is_array
from ._refuse import Refused, describe
from ._registry import constant, pushes
from ._streams import dots_in, has, pairs_of, split

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
        v, parts = pairs_of(push, v, dot)
        mirror = push.mirror(x)
        mirror[i] = parts
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
    from ._arithmetic import attempts
    from ._formulas import BINARY

    found = []
    for x, _, dunder, swapped in attempts(BINARY[op][0] if op in BINARY else op.__name__, a, b):
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
