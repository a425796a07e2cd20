"""`@treelike`: a plain annotated class becomes an `nn.Module`, and its fields the model's data."""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from functools import partial, wraps
from typing import Any, dataclass_transform

from torch import Tensor, nn

from ._show import show
from ._walk import children, rebuild

__all__ = ["Group", "treelike"]


@dataclass_transform()
def treelike(cls: Any = None, *, trainable: Iterable[str] | None = None) -> Any:
    """Makes an `nn.Module` out of a plain annotated class with a `__call__`.

    Its fields are the annotated names and whatever its own `__init__` assigns: parameters, modules, any
    callable, numbers, and tuples, lists and dicts of them. A floating-point tensor becomes a parameter, any
    other tensor a buffer. Without an `__init__` of its own the class gets a dataclass's. `state_dict` keys are
    the field paths (`conv.0.weight`).

    Arguments:
        trainable: the fields that train; all of them, unless said otherwise. The tensors of the others
            are buffers, and the parameters below them are frozen.

    Raises:
        TypeError: the class has no `__call__` or is a module already; or, when it is first called, `trainable`
            names something that is no field.

    >>> import torch
    >>> from torchflux import Dense, relu
    >>> @treelike
    ... class Residual:
    ...     branch: Dense
    ...     activation: object = relu
    ...
    ...     def __call__(self, x):
    ...         return self.activation(self.branch(x) + x)
    >>> Residual(Dense(4, 4))(torch.zeros(2, 4)).shape
    torch.Size([2, 4])

    Source: Flux v0.6, `src/treelike.jl`.
    """
    return partial(_module_class, trainable=trainable) if cls is None else _module_class(cls, trainable)


def _module_class(cls: Any, trainable: Iterable[str] | None) -> Any:
    if issubclass(cls, nn.Module):
        raise TypeError(f"{cls.__name__} is an nn.Module already; @treelike takes a plain class (compose them instead)")
    if not any("__call__" in vars(base) for base in cls.__mro__):
        raise TypeError(f"@treelike class {cls.__name__} has no __call__; define what calling it computes")
    declares = bool(cls.__annotations__) and "__init__" not in vars(cls)
    dataclasses.dataclass(cls, init=declares or cls.__init__ is object.__init__, repr=False, eq=False)
    fields = [field.name for field in dataclasses.fields(cls)]
    defaults = {name: vars(cls)[name] for name in fields if name in vars(cls)}
    for name in defaults:
        delattr(cls, name)  # left on the class, it would hide the parameter of the same name

    @wraps(cls.__init__)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(_fields=dict.fromkeys(fields), _building=True)
        for name, value in defaults.items():
            setattr(self, name, value)
        cls.__init__(self, *args, **kwargs)
        self.__dict__["_building"] = False
        if set(trainable or ()) - self._fields.keys():
            raise TypeError(f"trainable={trainable} of {cls.__name__} must be among its fields: {[*self._fields]}")

    names = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    calls = {"__init__": __init__, "forward": cls.__call__, "__call__": nn.Module.__call__}
    return type(cls.__name__, (cls, Treelike), {**names, **calls, "_trainable": trainable})


class Treelike(nn.Module):
    """What every `@treelike` class is: a module whose fields may hold anything."""

    _fields: dict[str, None]
    _building = False
    _trainable: Iterable[str] | None = None

    def __repr__(self) -> str:
        return show(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._building:
            self._fields[name] = None
        if name in self._fields:
            _set(self, name, value, self._trains(name))
        else:
            super().__setattr__(name, value)

    def _trains(self, name: str) -> bool:
        return self._trainable is None or name in self._trainable


def _set(module: nn.Module, name: str, value: Any, trains: bool = True) -> None:
    """Puts any value into a module under `name`, where the module keeps its kind."""
    for parts in (module._parameters, module._buffers, module._modules, module.__dict__):
        parts.pop(name, None)
    value = _as_part(value, trains)
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        module.register_buffer(name, value)
    elif isinstance(value, nn.Module | nn.Parameter):
        nn.Module.__setattr__(module, name, value)
    else:
        module.__dict__[name] = value


def _as_part(value: Any, trains: bool) -> Any:
    """`value` as modules can hold it: tensors become parameters, containers of parts become modules."""
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return nn.Parameter(value) if trains and (value.is_floating_point() or value.is_complex()) else value
    if isinstance(value, tuple | list | dict) and _has_parts(value):
        value = Group.of(value, trains)
    elif not isinstance(value, nn.Module | Tensor) and callable(value) and children(value):
        value = Closure(value)
    if not trains and isinstance(value, nn.Module | nn.Parameter):
        value.requires_grad_(False)
    return value


def _has_parts(value: Any) -> bool:
    if isinstance(value, tuple | list | dict):
        return any(_has_parts(part) for part in children(value).values())
    return isinstance(value, Tensor | nn.Module) or (callable(value) and bool(children(value)))


class Group(nn.Module):
    """An ordered, named collection of anything: what a tuple, list or dict field of a model is.

    Reads like the tuple, list or dict that it was made of: index, slice, iterate, `len`, `in`, unpack.
    """

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__()
        self._names: tuple[str, ...] = ()
        self._kind: type = tuple
        if values and named:
            raise TypeError(f"give {type(self).__name__} parts by position or by name, not both")
        self._fill(children(values) or named)

    @classmethod
    def of(cls, values: Any, trains: bool = True) -> "Group":
        """The group of a tuple, list or dict."""
        group = cls()
        group._kind = type(values)
        group._fill(values._asdict() if hasattr(values, "_asdict") else children(values), trains)
        return group

    def _fill(self, parts: dict[Any, Any], trains: bool = True) -> None:
        for name in map(str, parts):
            if not name or "." in name or hasattr(self, name):
                raise ValueError(f"{name!r} can't name a part of {type(self).__name__}: choose another name")
        for name, value in parts.items():
            _set(self, str(name), value, trains)
        self._names = tuple(map(str, parts))

    def _parts(self) -> Iterator[Any]:
        modules = self._modules
        for name in self._names:
            yield modules[name] if name in modules else getattr(self, name)

    def __repr__(self) -> str:
        return show(self)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._names) if issubclass(self._kind, dict) else self._parts()

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self._slice(key)
        named = isinstance(key, str) or issubclass(self._kind, dict)
        try:
            return getattr(self, self._names[self._names.index(str(key)) if named else key])
        except (ValueError, IndexError):
            error = KeyError if named else IndexError
            raise error(f"no {key!r} in {type(self).__name__} of {', '.join(self._names) or 'nothing'}") from None

    def _slice(self, key: slice) -> Any:
        return (list if issubclass(self._kind, list) else tuple)(list(self._parts())[key])

    def keys(self) -> tuple[str, ...]:
        """The names of the parts."""
        return self._names

    def values(self) -> tuple[Any, ...]:
        """The parts, in order."""
        return tuple(self._parts())

    def items(self) -> tuple[tuple[str, Any], ...]:
        """Names and parts, in order."""
        return tuple(zip(self._names, self._parts(), strict=True))


class Closure(nn.Module):
    """A function, partial or bound method whose parameters and modules are registered as parts."""

    _function: Callable[..., Any]
    _held: dict[str, Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.__dict__["_function"] = function
        self.__dict__["_held"] = children(function)
        for name, part in self._held.items():
            _set(self, name, part)

    def __deepcopy__(self, memo: Any) -> "Closure":
        return rebuild(self, copy.deepcopy(children(self), memo))  # the copy differs from what the function holds

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function with the parameters and modules that are registered now."""
        parts = {**self._modules, **self._parameters}
        if all(parts.get(name) is part for name, part in self._held.items()):
            return self._function(*args, **kwargs)
        return rebuild(self._function, parts)(*args, **kwargs)
