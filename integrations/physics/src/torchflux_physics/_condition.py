"""Conditions: an equation that holds on a part of the domain. Each kind is one residual."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ._calculus import components, grad
from ._field import Field
from ._points import Cloud, Region

__all__ = ["Condition", "Data", "Dirichlet", "Initial", "Neumann", "Periodic", "Robin"]

Value = float | Callable[..., Any]


@dataclass(frozen=True)
class Condition:
    """A residual, written for one point as that of an equation, and the region where it is to be zero.

    On a boundary the argument `normal` is the outward unit normal (d,).

    >>> from torchflux_physics import Interval
    >>> ends = Interval("x", 0, 1).boundary
    >>> slip = Condition(lambda u, v, normal: u * normal[0] + v * normal[1], on=ends)
    """

    residual: Callable[..., Any]
    on: Region


def Dirichlet(field: str, value: Value, on: Region) -> Condition:
    """The field has this value: a number, or a function of coordinates, parameters and data by their names."""
    return Condition(_named(field, value, lambda u, value, known: u - value), on)


def Neumann(field: str, value: Value, on: Region) -> Condition:
    """The derivative along the outward normal, ∂u/∂n, has this value."""
    return Condition(_named(field, value, lambda u, value, known: _along(u, known) - value, ("normal",)), on)


def Robin(field: str, a: float, b: float, value: Value, on: Region) -> Condition:
    """a u + b ∂u/∂n has this value."""
    residual = lambda u, value, known: a * u + b * _along(u, known) - value
    return Condition(_named(field, value, residual, ("normal",)), on)


def Initial(field: str, value: Value, on: Region) -> Condition:
    """The field has this value at the beginning; `"u.t"` is its derivative in time there."""
    return Dirichlet(field, value, on)


def Data(fields: str, values: Any, at: Cloud) -> Condition:
    """The field was measured: `values` (n,), at the n points of the cloud.

    Where several were, named as in `"u v"`, the values are (n, 2), and each field has a loss of its own: of a condition
    that is called `seen`, `seen.u` and `seen.v`. For a field of vectors they are (n, m); its losses are `seen.0`, ….

    **Raises:** `ValueError` for values of another shape.

    >>> import torch
    >>> from torchflux_physics import Interval, Problem
    >>> places = Cloud(torch.tensor([[0.0], [1.0]]), ("x",))
    >>> seen = Data("u v", torch.tensor([[0.0, 0.0], [1.0, 3.0]]), at=places)
    >>> problem = Problem(Interval("x", 0, 1), lambda u, v: u.x - v.x, {"seen": seen})
    >>> batch = problem.sample({"equation": 5, "seen": 2})
    >>> problem({"u": lambda p: p, "v": lambda p: p}, batch)
    {'equation': tensor(0.), 'seen.u': tensor(0.), 'seen.v': tensor(2.)}
    """
    names, values = fields.split(), torch.as_tensor(values)
    n, shape = len(at.points), tuple(values.shape)
    fits = values.dim() in (1, 2) if len(names) == 1 else shape[1:] == (len(names),)
    if shape[:1] != (n,) or not fits:
        expected = f"({n},)" if len(names) == 1 else f"({n}, {len(names)})"
        raise ValueError(f"values of {', '.join(names)} at {n} points are {expected}; given: {shape}")
    cloud = Cloud(at.points, at.coordinates, {**at.data, "measured": values})
    taken = (*dict.fromkeys(name.split(".")[0] for name in names), "measured")
    return Condition(_taking(taken, lambda known: _misses(names, known)), cloud)


def _misses(names: list[str], known: dict[str, Any]) -> Any:
    """How far fields are from what was measured of them at a point."""
    measured, parts = known["measured"], [_field(name, known) for name in names]
    if not measured.dim():
        return parts[0] - measured
    if len(names) > 1:
        return {name: part - measured[k] for k, (name, part) in enumerate(zip(names, parts, strict=True))}
    vector = components(parts[0])
    if len(vector) != len(measured):
        raise ValueError(f"{names[0]} has {len(vector)} components at a point, of which {len(measured)} were measured")
    return tuple(part - measured[k] for k, part in enumerate(vector))


def Periodic(field: str, coordinate: str, period: float, on: Region, *, order: int = 1) -> Condition:
    """The field and its derivatives up to an order agree a period further along a coordinate; `on` is the lower end."""
    names = on.coordinates

    def residual(known: dict[str, Any]) -> Any:
        u = known[field]
        further = u(*(known[name] + period if name == coordinate else known[name] for name in names))
        gap = u - further
        return tuple(gap.derivative(*[coordinate] * k) for k in range(order + 1))

    return Condition(_taking((field, *names), residual), on)


def _named(field: str, value: Value, residual: Callable[..., Any], extra: tuple[str, ...] = ()) -> Callable[..., Any]:
    """A residual of one field and of what its value depends on."""
    taken = arguments_of(value)

    def call(known: dict[str, Any]) -> Any:
        wanted = value(*(known[each] for each in taken)) if callable(value) else value
        return residual(_field(field, known), wanted, known)

    return _taking(tuple(dict.fromkeys((field.split(".")[0], *taken, *extra))), call)


def _field(name: str, known: dict[str, Any]) -> Any:
    """A field or, as in `u.t`, a derivative of it."""
    field, *derivatives = name.split(".")
    u = known[field]
    for derivative in derivatives:
        u = getattr(u, derivative)
    return u


def arguments_of(value: Value) -> tuple[str, ...]:
    if not callable(value):
        return ()
    taken = inspect.signature(value).parameters.values()
    return tuple(each.name for each in taken if each.default is each.empty)


def _taking(names: tuple[str, ...], call: Callable[[dict[str, Any]], Any]) -> Callable[..., Any]:
    """A function with these argument names, as `residuals` reads them."""

    def residual(**known: Any) -> Any:
        return call(known)

    kind = inspect.Parameter.KEYWORD_ONLY
    residual.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    return residual


def _along(u: Field, known: dict[str, Any]) -> Any:
    """The derivative along the normal, of which the part in time is zero."""
    normal = known["normal"]
    space = [i for i, name in enumerate(u.coordinates) if name != "t"]
    slope = grad(u)
    return sum((slope[k] * normal[i] for k, i in enumerate(space[1:], 1)), slope[0] * normal[space[0]])
