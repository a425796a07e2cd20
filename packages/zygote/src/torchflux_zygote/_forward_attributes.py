"""Forward rules of attributes. Ordinary Python."""

import inspect
from collections import deque
from types import FunctionType, MethodType
from typing import Any

from torch import nn

from ._attributes import ATTRIBUTES, _frozen, _own, described, getattr_kind, put, removed, stored
from ._kinds import is_numeric
from ._registry import constant, pushes

__all__: list[str] = []


@pushes(getattr)
def _getattr(push: Any, args: Any, dots: Any, names: Any) -> Any:
    x, name = args[0], args[1]
    kind = getattr_kind(x, name)
    if kind == "constant":
        return getattr(*args), None
    if kind == "number":
        return push(ATTRIBUTES[name], (x,), (dots[0],))
    if kind == "property":
        return push(property_of(x, name).fget, (x,), (dots[0],))
    if kind == "descriptor":
        found = static_of(x, name)
        return push(type(found).__get__, (found, x, type(x)), (None, dots[0], None))
    if kind == "dict":
        return dict_of(push, x), None
    if kind == "dynamic":
        try:
            pair = push(type(x).__getattr__, (x, name), (None, None))
        except AttributeError:
            if len(args) < 3:
                raise
            pair = args[2], dots[2]
        return pair
    if kind == "entry":
        return getattr(x, name), None if dots[0] is None else dots[0][entry_of(x, name)]
    return _get_field(push, x, name, args, dots)


def _get_field(push: Any, x: Any, name: str, args: Any, dots: Any) -> Any:
    if len(args) > 2 and not hasattr(x, name):
        return args[2], dots[2]
    y = getattr(x, name)
    if dots[0] is not None and is_value(x):  # a method of a number, an array or a tuple: it holds the tangent
        push.give(y, "__self__", dots[0])
        return y, None
    return y, None if isinstance(x, deque) and name == "maxlen" else push.field(x, name)


def is_value(x: Any) -> bool:
    return isinstance(x, tuple) or is_numeric(x)


constant(is_value)


def dict_of(push: Any, x: Any) -> Any:
    """`x.__dict__`, whose entries are the fields of x."""
    y = x.__dict__
    push.mirrors[id(y)] = (y, push.mirror(x))
    return y


def static_of(x: Any, name: str) -> Any:
    return inspect.getattr_static(type(x), name)


def property_of(x: Any, name: str) -> Any:
    return getattr(type(x), name)


def entry_of(x: Any, name: str) -> int:
    """The place of a field of a named tuple."""
    if hasattr(x, "_fields"):
        return x._fields.index(name)
    return next(i for i, part in enumerate(x) if part is getattr(x, name))


constant(property_of, entry_of)


def check_frozen(x: Any, name: str) -> None:
    """Raises what a frozen dataclass raises where an attribute is set."""
    if _frozen(x):
        setattr(x, name, None)


@pushes(put)
def _put(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return (_set_field if is_frozen(args[0]) else _setattr)(push, args, dots, names)


def is_frozen(x: Any) -> bool:
    return _frozen(x)


@pushes(setattr)
def _setattr(push: Any, args: Any, dots: Any, names: Any) -> Any:
    own = own_method(args[0], "__setattr__")
    if own is not None:
        push(own, args, (None, None, dots[2]))
        return None, None
    check_frozen(args[0], args[1])
    return _set_field(push, args, dots, names)


@pushes(object.__setattr__, nn.Module.__setattr__)
def _set_field(push: Any, args: Any, dots: Any, names: Any) -> Any:
    x, name, v = args
    setter = access_of(x, name, "fset", "__set__")
    if setter is not None:
        push(setter, (x, v), (None, dots[2]))
        return None, None
    return store_field(push, args, dots, names)


@pushes(stored)
def store_field(push: Any, args: Any, dots: Any, names: Any) -> Any:
    x, name, v = args
    stored(x, name, v)
    push.give(x, name, dots[2])
    return None, None


def access_of(x: Any, name: str, own: str, access: str) -> Any:
    """The Python function of a property or a descriptor that sets or deletes an attribute."""
    found = inspect.getattr_static(type(x), name, None)
    if isinstance(found, property):
        function = getattr(found, own)
        return function if isinstance(function, FunctionType) else None
    return MethodType(getattr(type(found), access), found) if described(x, name, found, access) else None


def own_method(x: Any, name: str) -> Any:
    return _own(x, name)


constant(static_of, access_of, own_method, described, check_frozen, is_frozen)


@pushes(delattr)
def _delattr(push: Any, args: Any, dots: Any, names: Any) -> Any:
    own = own_method(args[0], "__delattr__")
    return _delete_field(push, args, dots, names) if own is None else push(own, args, (None, None))


@pushes(object.__delattr__)
def _delete_field(push: Any, args: Any, dots: Any, names: Any) -> Any:
    x, name = args
    deleter = access_of(x, name, "fdel", "__delete__")
    if deleter is not None:
        push(deleter, (x,), (None,))
        return None, None
    return remove_field(push, args, dots, names)


@pushes(removed)
def remove_field(push: Any, args: Any, dots: Any, names: Any) -> Any:
    removed(*args)
    push.give(args[0], args[1], None)
    return None, None
