"""Results laid out like what they belong to: gradients like arguments, tangents and seeds like values."""

import copy
import dataclasses
import functools
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from ._cotangent import value
from ._kinds import SEQUENCES, carries, inert, is_parameter
from ._memory import home, is_array
from ._run import Sweep

__all__ = ["PathDict", "layout", "seed", "trainables"]


class PathDict(dict[str, Any]):
    """The gradient of a module: a dict by parameter path that also reads like the module.

    >>> grads = PathDict({"0.weight": 1, "0.bias": 2, "1.weight": 3})
    >>> grads["0.weight"], grads[0].bias, grads[1]
    (1, 2, {'weight': 3})
    """

    def __missing__(self, key: Any) -> Any:
        part = PathDict({path[len(f"{key}.") :]: v for path, v in self.items() if path.startswith(f"{key}.")})
        if not part:
            raise KeyError(f"no {key!r} here; there are: {', '.join(self) or 'no entries'}")
        return part

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None


torch.utils._pytree.register_pytree_node(
    PathDict,
    lambda tree: (list(tree.values()), list(tree)),
    lambda values, keys: PathDict(zip(keys, values, strict=True)),
)


def trainables(module: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters of a module that train, by path, each once."""
    found: dict[str, torch.Tensor] = {}
    _trainables(module, "", found, set())
    return found


def _trainables(module: nn.Module, path: str, found: dict[str, torch.Tensor], seen: set[int]) -> None:
    """`named_parameters`, which takes longer."""
    seen.add(id(module))
    for name, p in module._parameters.items():
        if p is not None and id(p) not in seen:
            seen.add(id(p))
            if p.requires_grad:
                found[path + name] = p
    for name, part in module._modules.items():
        if part is not None and (part._parameters or part._modules) and id(part) not in seen:
            _trainables(part, f"{path}{name}.", found, seen)


def layout(x: Any, bar: Any, sweep: Sweep) -> Any:
    """The cotangent of `x`, laid out like x: `bar`, and what lies in the shadows of references."""
    if type(x) is torch.Tensor and not sweep.marks:  # the usual case, said at once
        return value(bar) if carries(x) else None
    if isinstance(x, nn.Module):
        return PathDict({path: sweep.parameter(p) for path, p in trainables(x).items()})
    return _Layout(sweep).of(x, bar)


class _Layout:
    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.above = sweep, list[Any]()

    def of(self, x: Any, bar: Any) -> Any:
        if carries(x):
            return self.number(x, value(bar))
        if (inert(x) and not isinstance(x, tuple)) or any(x is y for y in self.above):
            return None
        self.above.append(x)
        try:
            return self.tree(x, value(bar))
        finally:
            self.above.pop()

    def number(self, x: Any, bar: Any) -> Any:
        if not is_array(x):
            return bar
        if is_parameter(x) or (self.sweep.marks and home(x) in self.sweep.marks):
            found = self.sweep.parameter(x)
            return found if bar is None else bar if found is None else bar + found
        return bar

    def tree(self, x: Any, bar: Any) -> Any:
        if isinstance(x, tuple):
            bars = (None,) * len(x) if bar is None else bar
            parts = [self.of(part, b) for part, b in zip(x, bars, strict=True)]
            return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
        if isinstance(x, SEQUENCES):
            slots = self.sweep.find(x) or [None] * len(x)
            return [self.of(part, b) for part, b in zip(x, slots, strict=True)]
        if isinstance(x, nn.Module):
            return PathDict({path: self.sweep.parameter(p) for path, p in trainables(x).items()})
        fields = self.sweep.find(x) or {}
        if isinstance(x, dict):
            return {key: self.of(part, fields.get(key)) for key, part in x.items()}
        return self.object(x, fields)

    def object(self, x: Any, fields: dict[Any, Any]) -> Any:
        if isinstance(x, MethodType):
            return {"self": self.of(x.__self__, None)}
        if isinstance(x, functools.partial):
            held: dict[Any, Any] = dict(enumerate(x.args))
            held.update(x.keywords)
            return {key: self.of(part, fields.get(key)) for key, part in held.items()}
        if isinstance(x, FunctionType):
            cells = dict(zip(x.__code__.co_freevars, x.__closure__ or (), strict=True))
            return {name: self.cell(box) for name, box in cells.items()}
        if dataclasses.is_dataclass(x) and not isinstance(x, type):
            return self.dataclass(x, fields)
        if isinstance(x, type) or not hasattr(x, "__dict__"):
            return None
        return {name: self.of(part, fields.get(name)) for name, part in vars(x).items()}

    def cell(self, box: CellType) -> Any:
        try:
            content = box.cell_contents
        except ValueError:
            return None
        return self.of(content, (self.sweep.find(box) or {}).get("cell_contents"))

    def dataclass(self, x: Any, fields: dict[Any, Any]) -> Any:
        twin = copy.copy(x)
        for field in dataclasses.fields(x):
            if hasattr(x, field.name):
                new = self.of(getattr(x, field.name), fields.get(field.name))
                object.__setattr__(twin, field.name, new)
        return twin


def seed(y: Any, ȳ: Any, sweep: Sweep) -> Any:
    """The cotangent ȳ of a result y, laid out like it, as generated code takes it: references' parts in shadows."""
    if ȳ is None:
        return None
    if carries(y):
        return sweep.arrive(y, ȳ)
    if isinstance(y, tuple):
        return tuple(seed(part, b, sweep) for part, b in zip(y, ȳ, strict=True))
    if isinstance(y, SEQUENCES):
        slots = sweep.slots(y)
        for i, (part, b) in enumerate(zip(y, ȳ, strict=True)):
            slots[i] = seed(part, b, sweep)
        return None
    if isinstance(y, dict):
        for key, part in y.items():
            sweep.give(y, key, seed(part, ȳ.get(key), sweep))
        return None
    if dataclasses.is_dataclass(y):
        for field in dataclasses.fields(y):
            sweep.give(y, field.name, seed(getattr(y, field.name), getattr(ȳ, field.name), sweep))
        return None
    return sweep.arrive(y, ȳ)
