"""Rules for attributes of objects, cells and modules."""

import functools
import inspect
import sys
from collections.abc import Callable
from functools import partial
from types import CellType, FunctionType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor, nn

from ._cotangent import Entry
from ._kinds import carries, inert, is_parameter
from ._lists import undo
from ._pull import library, pull, pull_method
from ._refuse import Refused, describe
from ._registry import NONES, PULL, SUBSTITUTES, finish, none, raw
from ._run import STATE, changed

__all__ = ["cell", "put"]

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]
ABSENT: Any = object()


def cell(reader: Any) -> CellType:
    """The cell of the one variable that the function `reader` captures: `cell(lambda: x)`."""
    return reader.__closure__[0]


@raw(cell)
def _cell(reader: Any) -> Pulled:
    return cell(reader), none(1)


def getattr_kind(x: Any, name: str) -> str:
    """What reading an attribute is: of a number, by a property, an entry of a tuple, a field, or a constant."""
    if type(x) is CellType:
        return "field"
    if type(x) is Tensor:
        return _number_kind(x, name)
    if isinstance(x, ModuleType | type):
        return "constant"
    if isinstance(x, Tensor | np.ndarray | np.generic | float | complex):
        return _number_kind(x, name)
    static = inspect.getattr_static(type(x), name, ABSENT)
    if isinstance(static, property) and isinstance(static.fget, FunctionType) and library(static.fget) != "torch":
        return "property"
    if static is ABSENT and _has_getattr(x, name):
        return "dynamic"
    if described(x, name, static, "__get__"):
        return "descriptor"
    if name == "__dict__":
        return "dict"
    if _own(x, "__getattribute__"):
        raise Refused(f"an attribute of {describe(type(x))}, which has a __getattribute__", "use properties")
    if isinstance(x, tuple) and any(part is getattr(x, name, ABSENT) for part in x) and carries(getattr(x, name)):
        return "entry"
    return "field"


def _number_kind(x: Any, name: str) -> str:
    if name in ATTRIBUTES and carries(x):
        return "number"
    y = getattr(x, name)
    if carries(y) and carries(x):
        raise Refused(f"the attribute {name!r} of {describe(type(x))}", "use a function or method for it")
    return "field" if callable(y) and getattr(y, "__self__", None) is x else "constant"


@raw(getattr)
def _getattr(x: Any, name: str, *default: Any) -> Pulled:
    if type(x) is CellType and name == "cell_contents":
        y = x.cell_contents
        return y, lambda ȳ: NONES[2] if ȳ is None or is_parameter(y) else STATE.sweep.give(x, name, ȳ) or NONES[2]
    if type(x) is Tensor and name in OF_TENSORS and carries(x):
        y, back = OF_TENSORS[name](x)
        return y, partial(finish, back, (x, name, *default), y)
    kind, count = getattr_kind(x, name), 2 + len(default)
    if kind == "constant":
        return getattr(x, name, *default), none(count)
    if kind == "field":
        return _field(x, name, default, count)
    if kind == "dict":
        return _dict_of(x), none(count)
    if kind == "entry":
        y, length = getattr(x, name), len(x)
        i = x._fields.index(name) if hasattr(x, "_fields") else next(i for i, part in enumerate(x) if part is y)
        return y, lambda ȳ: (None if ȳ is None else Entry(length, i, ȳ), *NONES[count - 1])
    if kind == "dynamic":
        try:
            y, back = pull_method("__getattr__", (x, name), {})
        except AttributeError:
            if not default:
                raise
            return default[0], lambda ȳ: (None, None, ȳ)
    elif kind == "descriptor":
        static = inspect.getattr_static(type(x), name)
        y, back = pull(type(static).__get__, static, x, type(x))
        return y, lambda ȳ: (back(ȳ)[1], *NONES[count - 1])
    else:
        y, back = pull(ATTRIBUTES[name] if kind == "number" else inspect.getattr_static(type(x), name).fget, x)
    return y, lambda ȳ: (back(ȳ)[0], *NONES[count - 1])


def described(x: Any, name: str, static: Any, access: str) -> bool:
    """Whether an attribute is reached by a descriptor with a method (`__get__`, `__set__`, ...) written in Python."""
    kind = type(static)
    if not isinstance(getattr(kind, access, None), FunctionType):
        return False
    if access == "__get__" and not hasattr(kind, "__set__") and name in getattr(x, "__dict__", ()):
        return False
    return kind is functools.cached_property or kind.__module__.partition(".")[0] not in _OTHERS


_OTHERS = {*sys.stdlib_module_names, "torch"}


def _own(x: Any, name: str) -> Any:
    """A method of the class of x in place of object's own (`__setattr__`, ...), if that is written in Python."""
    found = getattr(type(x), name)
    others = isinstance(found, FunctionType) and library(found) not in ("torch", "torchflux_zygote")
    return found if others and not _frozen(x) else None


def cached(self: Any, instance: Any, owner: Any = None) -> Any:
    """`functools.cached_property.__get__`."""
    y = self.func(instance)
    instance.__dict__[self.attrname] = y
    return y


SUBSTITUTES[functools.cached_property.__get__] = cached


def _dict_of(x: Any) -> Any:
    """`x.__dict__`, whose entries are the fields of x."""
    fields = x.__dict__
    for run in STATE.runs:
        run.owners[id(fields)] = (fields, x)
    return fields


def vars_of(x: Any) -> Any:
    """`vars(x)`."""
    return x.__dict__


SUBSTITUTES[vars] = vars_of


_VALUES = Tensor | np.ndarray | np.generic | float | complex | tuple


def _field(x: Any, name: str, default: tuple[Any, ...], count: int) -> Pulled:
    y = getattr(x, name, ABSENT)
    if y is ABSENT:
        return (default[0], lambda ȳ: (None, None, ȳ)) if default else (getattr(x, name), none(count))
    if getattr(y, "__self__", None) is x and isinstance(x, _VALUES):
        return y, lambda _: (STATE.sweep.take(y, "__self__"), *NONES[count - 1])
    if inert(y) or is_parameter(y):
        return y, none(count)

    def back(ȳ: Any) -> tuple[Any, ...]:
        STATE.sweep.give(x, name, ȳ)
        return NONES[count]

    return y, back


def _has_getattr(x: Any, name: str) -> bool:
    found = inspect.getattr_static(type(x), "__getattr__", None)
    return (
        isinstance(found, FunctionType)
        and not isinstance(x, nn.Module)
        and name not in getattr(x, "__dict__", ())
        and not name.startswith("__")
    )


ATTRIBUTES: dict[str, Callable[..., Any]] = {}
"""The attributes of numbers and arrays that have derivatives, as functions with rules."""
OF_TENSORS: dict[str, Callable[[Any], Pulled]] = {}
"""The rules of these attributes themselves, without what `rule` adds."""


@raw(setattr)
def _setattr(x: Any, name: str, v: Any) -> Pulled:
    own = _own(x, "__setattr__")
    if own is not None:
        _, back = pull(own, x, name, v)
        return None, lambda _: (None, None, back(None)[2])
    if _frozen(x):
        setattr(x, name, v)  # which refuses to
    return _set(x, name, v)


@raw(object.__setattr__, nn.Module.__setattr__)
def _set(x: Any, name: str, v: Any) -> Pulled:
    static = inspect.getattr_static(type(x), name, None)
    if isinstance(static, property) and isinstance(static.fset, FunctionType):
        _, back = pull(static.fset, x, v)
        return None, lambda _: (None, None, back(None)[1])
    if described(x, name, static, "__set__"):
        _, back = pull(type(static).__set__, static, x, v)
        return None, lambda _: (None, None, back(None)[2])
    if isinstance(x, Tensor | np.ndarray | ModuleType | type):
        if inert(v) and not isinstance(x, Tensor | np.ndarray):
            setattr(x, name, v)
            return None, none(3)
        raise Refused(f"setting the attribute {name!r} of {describe(type(x))}", "keep the value in a variable")
    return _assign(x, name, v)


_Slot = type(type("_", (), {"__slots__": ("a",)}).a)  # type: ignore[attr-defined]


def _frozen(x: Any) -> bool:
    parameters = getattr(type(x), "__dataclass_params__", None)
    return parameters is not None and parameters.frozen


def put(x: Any, name: str, v: Any) -> None:
    """Sets an attribute as the `__init__` of a dataclass does, also of a frozen one."""
    (object.__setattr__ if _frozen(x) else setattr)(x, name, v)


def _put(x: Any, name: str, v: Any) -> Pulled:
    return _set(x, name, v) if _frozen(x) else _setattr(x, name, v)


PULL[put] = _put


def stored(x: Any, name: str, v: Any) -> None:
    """Sets an attribute, past a `__setattr__` that is written in Python."""
    found: Any = type(x).__setattr__
    if isinstance(found, FunctionType):
        found = nn.Module.__setattr__ if isinstance(x, nn.Module) else object.__setattr__
    found(x, name, v)


@raw(stored)
def _assign(x: Any, name: str, v: Any) -> Pulled:
    changed(x)
    old = _current(x, name)
    stored(x, name, v)

    def back(_: Any) -> tuple[Any, ...]:
        bar = STATE.sweep.take(x, name)
        undo(lambda: _restore(x, name, old), lambda: stored(x, name, v))
        return None, None, bar

    return None, back


def _current(x: Any, name: str) -> Any:
    """What the object itself holds under a name, apart from its class."""
    if name in getattr(x, "__dict__", ()):
        return x.__dict__[name]
    if isinstance(x, CellType | FunctionType | nn.Module) or not hasattr(x, "__dict__") or not hasattr(type(x), name):
        try:
            return getattr(x, name)
        except (AttributeError, ValueError):
            return ABSENT
    return (
        ABSENT
        if name in dir(type(x)) and not isinstance(inspect.getattr_static(x, name), _Slot)
        else getattr(x, name, ABSENT)
    )


def _restore(x: Any, name: str, old: Any) -> None:
    if old is not ABSENT:
        stored(x, name, old)
    elif isinstance(x, CellType):
        del x.cell_contents
    else:
        object.__delattr__(x, name) if not isinstance(x, nn.Module) else delattr(x, name)


@raw(delattr)
def _delattr(x: Any, name: str) -> Pulled:
    own = _own(x, "__delattr__")
    if own is not None:
        _, back = pull(own, x, name)
        return None, lambda _: back(None) and NONES[2]
    if _frozen(x):
        delattr(x, name)  # which refuses to
    return _delete(x, name)


@raw(object.__delattr__)
def _delete(x: Any, name: str) -> Pulled:
    static = inspect.getattr_static(type(x), name, None)
    if isinstance(static, property) and isinstance(static.fdel, FunctionType):
        _, back = pull(static.fdel, x)
        return None, lambda _: back(None) and NONES[2]
    if described(x, name, static, "__delete__"):
        _, back = pull(type(static).__delete__, static, x)
        return None, lambda _: back(None) and NONES[2]
    return _remove(x, name)


def removed(x: Any, name: str) -> None:
    """Deletes an attribute, past a `__delattr__` that is written in Python."""
    (delattr if isinstance(x, nn.Module) else object.__delattr__)(x, name)


@raw(removed)
def _remove(x: Any, name: str) -> Pulled:
    changed(x)
    old = _current(x, name)
    removed(x, name)

    def back(_: Any) -> tuple[Any, ...]:
        undo(lambda: stored(x, name, old), lambda: removed(x, name))
        return NONES[2]

    return None, back
