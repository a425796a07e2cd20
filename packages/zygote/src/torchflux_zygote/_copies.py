"""Copies of containers and objects, in Python that is transformed in place of the library's."""

import copy
import dataclasses
from collections import deque
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor, nn

from ._kinds import carries, inert, is_numeric
from ._memory import is_array
from ._refuse import Refused, describe
from ._registry import constant, substitute

__all__: list[str] = []


@substitute(copy.copy)
def shallow(x: Any) -> Any:
    """`copy.copy`."""
    if is_array(x):
        return x.clone() if isinstance(x, Tensor) else x.copy()
    if is_value(x):
        return x
    if own_method(x, "__copy__") is not None:
        return x.__copy__()
    if isinstance(x, list | dict | deque):
        check_plain(x)
        return x.copy()
    y = blank(x)
    for name in names_in(x):
        y.__dict__[name] = x.__dict__[name]
    return y


@substitute(copy.deepcopy)
def deep(x: Any, memo: Any = None) -> Any:
    """`copy.deepcopy`: what is there twice is one thing in the copy, too."""
    return copied(x, {} if memo is None else memo)


def copied(x: Any, made: dict[int, Any]) -> Any:
    """A copy of x, with what has been copied already, by identity."""
    if id(x) in made:
        return made[id(x)]
    if is_array(x):
        y = x.clone() if isinstance(x, Tensor) else x.copy()
    elif isinstance(x, tuple):
        parts = [copied(part, made) for part in x]
        return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
    elif is_value(x):
        return x
    elif own_method(x, "__deepcopy__") is not None:
        return x.__deepcopy__(made)
    elif isinstance(x, list | deque):
        check_plain(x)
        y = [] if isinstance(x, list) else deque(maxlen=x.maxlen)
        made[id(x)] = y
        for part in x:
            y.append(copied(part, made))
    elif isinstance(x, dict):
        check_plain(x)
        y = {}
        made[id(x)] = y
        for key in x:
            y[key] = copied(x[key], made)
    else:
        y = blank(x)
        made[id(x)] = y
        for name in names_in(x):
            y.__dict__[name] = copied(x.__dict__[name], made)
    made[id(x)] = y
    return y


def is_value(x: Any) -> bool:
    """Whether a copy of x is x itself."""
    return is_numeric(x) or carries(x) or inert(x) or isinstance(x, tuple | type | FunctionType | ModuleType)


def own_method(x: Any, name: str) -> Any:
    found = getattr(type(x), name, None)
    return found if isinstance(found, FunctionType) and not isinstance(x, nn.Module | np.ndarray) else None


def check_plain(x: Any) -> None:
    """Refuses lists, deques and dicts of classes of one's own."""
    if type(x) not in (list, dict, deque):
        raise Refused(f"a copy of a {describe(type(x))}", "make a new one of its parts")


def blank(x: Any) -> Any:
    """An object of the class of x, with nothing in it."""
    made: Any = type(x).__new__
    if not hasattr(x, "__dict__") or isinstance(x, nn.Module | BaseException) or made is not object.__new__:
        raise Refused(f"a copy of a {describe(type(x))}", "make a new one of its parts")
    return object.__new__(type(x))


def names_in(x: Any) -> list[str]:
    return list(x.__dict__)


constant(is_value, own_method, check_plain, blank, names_in)


@substitute(dataclasses.replace)
def replace(x: Any, /, **changes: Any) -> Any:
    """`dataclasses.replace`."""
    values = {name: getattr(x, name) for name in given_fields(x) if name not in changes}
    return type(x)(**values, **changes)


def given_fields(x: Any) -> list[str]:
    """The fields that the `__init__` of a dataclass takes."""
    return [field.name for field in dataclasses.fields(x) if field.init]


constant(given_fields)
