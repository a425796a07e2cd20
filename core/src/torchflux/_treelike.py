"""`@treelike`: a plain annotated class becomes an `nn.Module`, and its fields the model's data."""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from functools import partial, wraps
from typing import Any, dataclass_transform

from torch import Tensor, nn

from ._model import modules
from ._show import show
from ._walk import children, differentiable, rebuild, tensors

__all__ = ["Group", "treelike"]


@dataclass_transform()
def treelike(cls: Any = None, *, trainable: Iterable[str] | None = None) -> Any:
    """Makes an `nn.Module` out of a plain annotated class with a `__call__`.

    Its fields are the annotated names and whatever its own `__init__` assigns: parameters, modules, any
    callable, numbers, and tuples, lists and dicts of them. A floating-point tensor becomes a parameter, any
    other tensor a buffer. A class that annotates fields and has no `__init__` of its own gets a dataclass's; one that
    annotates none keeps the `__init__` that it inherits. `state_dict` keys are the field paths (`conv.0.weight`).

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
    dataclasses.dataclass(cls, init=bool(cls.__annotations__) and "__init__" not in vars(cls), repr=False, eq=False)
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
    __repr__ = show

    def __setattr__(self, name: str, value: Any) -> None:
        if self._building or name in self._fields:
            self._fields[name] = None
            _set(self, name, value, self._trainable is None or name in self._trainable)
        else:
            super().__setattr__(name, value)


def _set(module: nn.Module, name: str, value: Any, trains: bool = True) -> None:
    """Puts any value into a module: tensors become parameters or buffers, what has parts of its own a module."""
    for place in (module._parameters, module._buffers, module._modules, module.__dict__):
        place.pop(name, None)
    if isinstance(value, tuple | list | dict) and (modules(value) or tensors(value)):
        parts = value._asdict() if hasattr(value, "_asdict") else children(value)
        value = Group()._fill(parts, type(value), trains)
    elif not isinstance(value, Tensor | nn.Module) and callable(value) and children(value):
        value = Closure(value)
    elif isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and trains and differentiable(value):
        value = nn.Parameter(value)
    if isinstance(value, nn.Module | nn.Parameter):
        nn.Module.__setattr__(module, name, value if trains else value.requires_grad_(False))
    elif isinstance(value, Tensor):
        module.register_buffer(name, value)
    else:
        module.__dict__[name] = value


class Group(nn.Module):
    """An ordered, named collection of anything: what a tuple, list or dict field of a model is.

    Reads like the tuple, list or dict that it was made of: index, slice, iterate, `len`, `in`, unpack.
    """

    __repr__ = show

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__()
        if values and named:
            raise TypeError(f"give {type(self).__name__} parts by position or by name, not both")
        self._fill(named or children(values))

    def _fill(self, parts: dict[Any, Any], kind: type = tuple, trains: bool = True) -> "Group":
        self._fields, self._kind = tuple(map(str, parts)), kind
        for name, value in zip(self._fields, parts.values(), strict=True):
            if not name or "." in name or hasattr(self, name):
                raise ValueError(f"{name!r} can't name a part of {type(self).__name__}: choose another name")
            _set(self, name, value, trains)
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(self._fields if issubclass(self._kind, dict) else self.values())

    def __len__(self) -> int:
        return len(self._fields)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return (list if issubclass(self._kind, list) else tuple)(self.values()[key])
        named = isinstance(key, str) or issubclass(self._kind, dict)
        try:
            return getattr(self, self._fields[self._fields.index(str(key)) if named else key])
        except (ValueError, IndexError):
            error = KeyError if named else IndexError
            raise error(f"no {key!r} in {type(self).__name__} of {', '.join(self._fields) or 'nothing'}") from None

    def keys(self) -> tuple[str, ...]:
        """The names of the parts."""
        return self._fields

    def values(self) -> tuple[Any, ...]:
        """The parts, in order."""
        parts = self._modules
        return tuple([parts[name] if name in parts else getattr(self, name) for name in self._fields])

    def items(self) -> tuple[tuple[str, Any], ...]:
        """Names and parts, in order."""
        return tuple(zip(self._fields, self.values(), strict=True))


class Closure(nn.Module):
    """A function, partial or bound method whose parameters and modules are registered as parts."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function, self._held = function, children(function)
        for name, part in self._held.items():
            _set(self, name, part)

    def __deepcopy__(self, memo: Any) -> "Closure":
        return rebuild(self, copy.deepcopy(children(self), memo))  # the copy differs from what the function holds

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function with the parameters and modules that are registered now."""
        parts = {**self._modules, **self._parameters}
        unchanged = all(parts.get(name) is part for name, part in self._held.items())
        return (self._function if unchanged else rebuild(self._function, parts))(*args, **kwargs)
