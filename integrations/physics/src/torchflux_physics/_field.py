"""A field at a point: a number that has derivatives by name, in the notation of the equation."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ._jet import component, shifted
from ._multi_index import Index

__all__ = ["Field"]


class Field:
    """What stands for u, x or t in a residual: its value at a point, and its derivatives by the coordinates' names.

    `u.x` is ∂u/∂x, `u.xxt` ∂³u/∂x²∂t; the order of the letters doesn't matter. A derivative is a field again, as is
    everything made of fields by arithmetic and PyTorch's functions, so a flux is written as it is meant:
    `(k(u) * u.x).x`. Coordinates with names of several letters are separated by underscores: `u.theta_theta`.

    `u[0]` is a component of a field of vectors, and `u(s, t)` the field at another place.

    **Raises:** `AttributeError` for a name that isn't made of coordinates.
    """

    __slots__ = ("coordinates", "elsewhere", "jet")

    def __init__(self, jet: Tensor, coordinates: tuple[str, ...], elsewhere: Callable[..., Any] | None = None) -> None:
        self.jet, self.coordinates, self.elsewhere = jet, coordinates, elsewhere

    def __call__(self, *place: Any) -> "Field":
        """The field at another place, given by all its coordinates: numbers, fields, or tensors of many places."""
        if self.elsewhere is None:
            raise TypeError(
                "only a model's own field can be evaluated at another place, not a derivative or an expression"
            )
        if len(place) != len(self.coordinates):
            raise TypeError(f"{len(place)} coordinates were given; a place has {', '.join(self.coordinates)}")
        return _wrapped(self.elsewhere(*_unwrapped(place, [])), self.coordinates)

    @property
    def value(self) -> Tensor:
        """The plain tensor."""
        return component(self.jet, ())

    @property
    def shape(self) -> torch.Size:
        """That of the value at one point: `()` for a number."""
        return self.value.shape

    def derivative(self, *coordinates: str) -> "Field":
        """The derivative in these coordinates; `u.derivative("x", "x")` is `u.xx`."""
        jet: Any = self.jet
        for name in coordinates:
            jet = None if jet is None else shifted(jet, self.coordinates.index(name))
        return Field(torch.zeros_like(self.value) if jet is None else jet, self.coordinates)

    def __getattr__(self, name: str) -> "Field":
        if name.startswith("__"):
            raise AttributeError(name)
        return self.derivative(*(self.coordinates[i] for i in index_of(name, self.coordinates)))

    def __iter__(self) -> Iterator["Field"]:
        if not self.shape:
            raise TypeError("a field of numbers has no components to go through")
        return (self[k] for k in range(self.shape[0]))

    def __getitem__(self, which: Any) -> "Field":
        return Field(self.jet[which], self.coordinates)

    def __bool__(self) -> bool:
        raise TypeError(
            "a residual is evaluated at all points at once, so it can't branch on a value at one of them: use "
            "torch.where(condition, a, b)."
        )

    def __repr__(self) -> str:
        return f"Field({self.value!r}, coordinates={self.coordinates})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        fields: list[Field] = []
        args, kwargs = _unwrapped(args, fields), _unwrapped(kwargs or {}, fields)
        return _wrapped(func(*args, **kwargs), fields[0].coordinates)


def _operator(name: str) -> Callable[..., Any]:
    def operate(self: Field, *others: Any) -> Any:
        return _wrapped(getattr(self.jet, name)(*_unwrapped(others, [])), self.coordinates)

    operate.__name__ = name
    return operate


ARITHMETIC = ("add", "sub", "mul", "truediv", "pow", "matmul")
OPERATORS = (*ARITHMETIC, *(f"r{name}" for name in ARITHMETIC), "neg", "pos", "abs", "lt", "le", "gt", "ge", "eq", "ne")
for _name in OPERATORS:
    setattr(Field, f"__{_name}__", _operator(f"__{_name}__"))
Field.__hash__ = object.__hash__  # type: ignore[method-assign]


def _unwrapped(x: Any, found: list[Field]) -> Any:
    """Arguments with the jets of their fields, which are collected."""
    if isinstance(x, Field):
        found.append(x)
        return x.jet
    if isinstance(x, tuple | list):
        return type(x)(_unwrapped(y, found) for y in x)
    if isinstance(x, dict):
        return {key: _unwrapped(y, found) for key, y in x.items()}
    return x


def _wrapped(x: Any, coordinates: tuple[str, ...]) -> Any:
    if isinstance(x, Tensor):
        return Field(x, coordinates)
    if isinstance(x, tuple | list):
        return type(x)(_wrapped(y, coordinates) for y in x)
    return x


@lru_cache(maxsize=256)
def check_coordinates(names: tuple[str, ...]) -> None:
    """Names of which each derivative has one."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two coordinates are called {name}")
        if "_" in name or hasattr(Field, name):
            raise ValueError(f"a coordinate can't be called {name}: an underscore parts names, and a field has its own")
        if len(name) > 1 and set(name) <= set(names):
            raise ValueError(
                f"a coordinate can't be called {name}: that is a derivative, by {', '.join(sorted(set(name)))}"
            )


def index_of(name: str, coordinates: tuple[str, ...]) -> Index:
    """The derivative that a name stands for.

    >>> index_of("txx", ("x", "t")), index_of("theta_r", ("r", "theta"))
    ((0, 0, 1), (0, 1))
    """
    letters = name.split("_") if "_" in name or name in coordinates else list(name)
    unknown = [letter for letter in letters if letter not in coordinates]
    if unknown:
        example = coordinates[0] * 2 if len(coordinates[0]) == 1 else f"{coordinates[0]}_{coordinates[0]}"
        raise AttributeError(
            f"a field has no {name!r}: derivatives are named by {', '.join(coordinates)}, as in {example!r}"
        )
    return tuple(sorted(coordinates.index(letter) for letter in letters))
