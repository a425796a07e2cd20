"""A residual, written for one point, at many: the models' derivatives that it asks for, and what it makes of them."""

import inspect
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ._field import Field, check_coordinates
from ._jet import Jet, component, finished
from ._multi_index import Index
from ._network import Network, networks
from ._quadrature import at_coordinate

__all__ = ["residuals"]

Residual = Callable[..., Any]


def residuals(
    residual: Residual,
    models: Any,
    points: Tensor,
    params: Any = None,
    *,
    coordinates: Iterable[str] = ("x", "t"),
    data: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """What is left of an equation at each of many points.

    **Arguments:**

    - `residual`: the equation, for one point: a function whose arguments are known by their names. A field's name gives
      the `Field`, a coordinate's name the coordinate, `params` all parameters, the name of one of them that parameter.
      It returns a number, or a tuple or dict of numbers for a system.
    - `models`: the model of the field `u`, or a dict of models by the fields' names. A model takes points (n, d) and
      gives (n,) or (n, 1) for a field of numbers, (n, m) for a field of vectors; several fields of numbers that one
      model has are named together: `{"u v p": model}`, with (n, 3). A model that isn't named isn't called.
    - `points`: (n, d), floating.
    - `params`: anything; a mapping's entries may be asked for by name.
    - `coordinates`: the names of the d coordinates.
    - `data`: what is known at each point, tensors (n, ...) by name: measured values, normals.

    **Returns:** tensors (n,) by name: `residual` for a single number, `0`, `1`, … for a tuple, a dict's own names.

    **Raises:** `TypeError` for an argument that nothing has the name of; `ValueError` for shapes that don't fit, and
    for a residual that isn't a number at a point.

    Derivatives in the coordinates are computed together by Taylor mode, and only those that the residual asks for. The
    result has derivatives itself, with respect to parameters and points.

    >>> import torch
    >>> wave = lambda p: torch.sin(p[:, 0] - 2 * p[:, 1])
    >>> points = torch.rand(3, 2, dtype=torch.float64)
    >>> residuals(lambda u: u.tt - 4 * u.xx, wave, points)["residual"].abs().max() < 1e-14
    tensor(True)
    """
    names = tuple(coordinates)
    check_points(points, names)
    data = dict(data or {})
    check_data(data, len(points))
    bound = Bound.of(residual, networks(models), names, params, tuple(data))
    jets = {name: jet for network in bound.networks for name, jet in network.jets(points).items()}
    try:
        return at_all(bound, jets, _remembered(LAST_WANTED, residual), points, data)
    except Unforeseen:
        wanted = _noted(LAST_WANTED, residual, bound.wanted(jets, points, data))
        return at_all(bound, jets, wanted, points, data)
    finally:
        for jet in jets.values():
            finished(jet)


LAST_WANTED: "WeakKeyDictionary[Residual, Wanted]" = WeakKeyDictionary()
"""What a residual asked for when it was last seen: a guess, which is put right where it asks for more."""


class Unforeseen(RuntimeError):
    """A residual asked for a derivative that hasn't been computed."""

    def __init__(self) -> None:
        super().__init__("the residual asks for other derivatives each time that it is called")


def at_all(
    bound: "Bound", jets: dict[str, Jet], wanted: "Wanted | None", points: Tensor, data: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The residual at every point, from the derivatives there."""
    if wanted is None or set(wanted.indices) != set(jets):
        raise Unforeseen
    n, indices = len(points), wanted.indices
    if not n:
        return {name: points.new_zeros(0) for name in wanted.results}
    fields = {name: {index: component(jet, index) for index in indices[name]} for name, jet in jets.items()}
    moving = {
        name: {i: d.expand(n, *d.shape[1:]) for i, d in each.items() if d is not None} for name, each in fields.items()
    }
    still = {name: {i for i, d in each.items() if d is None} for name, each in fields.items()}

    def at_point(values: dict[str, dict[Index, Tensor]], point: Tensor, known: dict[str, Tensor]) -> dict[str, Tensor]:
        evaluation: list[Jet] = []
        given = {name: _given(each, still[name], evaluation) for name, each in values.items()}
        found = named(bound.call(given, _coordinates(point, evaluation), known))
        for jet in evaluation:
            jet.slope = None
        return {name: number(name, x, point) for name, x in found.items()}

    return torch.vmap(at_point)(moving, points, data)


@dataclass(frozen=True)
class Wanted:
    """What a residual asks for, and the names of what it returns."""

    indices: dict[str, set[Index]]
    results: tuple[str, ...]


@dataclass(frozen=True)
class Bound:
    """A residual with what its arguments' names stand for."""

    residual: Residual
    arguments: tuple[str, ...]
    networks: tuple[Network, ...]
    coordinates: tuple[str, ...]
    constants: dict[str, Any]

    @classmethod
    def of(
        cls,
        residual: Residual,
        models: tuple[Network, ...],
        coordinates: tuple[str, ...],
        params: Any,
        data: tuple[str, ...],
    ) -> "Bound":
        taken = parameters_of(residual)
        fields = [name for network in models for name in network.fields]
        entries = {"params": params} | (dict(params) if isinstance(params, Mapping) else {})
        known = {*fields, *coordinates, *entries, *data}
        unknown = [name for name, argument in taken.items() if name not in known and argument.default is argument.empty]
        if unknown:
            raise TypeError(
                f"{_called(residual)} takes {', '.join(unknown)}, which nothing is named. Known are the fields "
                f"{', '.join(fields)}, the coordinates {', '.join(coordinates)}, the parameters {', '.join(entries)}."
            )
        arguments = tuple(name for name in taken if name in known)
        often = Counter([*fields, *coordinates, *entries, *data])
        twice = [name for name in arguments if often[name] > 1]
        if twice:
            raise TypeError(
                f"{_called(residual)} takes {', '.join(twice)}, which more than one thing is named, among the fields "
                f"{', '.join(fields)}, the coordinates {', '.join(coordinates)}, the parameters {', '.join(entries)} "
                "and what is known at the points: rename one"
            )
        constants = {name: entries[name] for name in arguments if name in entries}
        used = tuple(network for network in models if set(network.fields) & set(arguments))
        return cls(residual, arguments, used, coordinates, constants)

    def call(self, jets: Mapping[str, Jet], coordinates: list[Jet], data: Mapping[str, Tensor]) -> Any:
        """The residual of fields, coordinates and data at a point."""
        places = dict(zip(self.coordinates, coordinates, strict=True))
        like = coordinates[0].value
        elsewhere = {name: network.elsewhere(name, like) for network in self.networks for name in network.fields}
        fields = {name: Field(jet, self.coordinates, elsewhere[name]) for name, jet in jets.items()}
        known = (
            self.constants | dict(data) | {name: Field(jet, self.coordinates) for name, jet in places.items()} | fields
        )
        with at_coordinate(like):
            return self.residual(**{name: known[name] for name in self.arguments})

    def wanted(self, jets: Mapping[str, Jet], points: Tensor, data: Mapping[str, Tensor]) -> Wanted:
        """Which derivatives the residual asks for: it is called once with fields that take notes."""
        indices: dict[str, set[Index]] = {name: {()} for name in jets}
        evaluation: list[Jet] = []
        noting = {name: _noting(jet.value, indices[name], evaluation) for name, jet in jets.items()}
        point = points.new_full(points.shape[1:], 0.5)
        known = {name: x.new_full(x.shape[1:], 0.5) for name, x in data.items()}
        found = self.call(noting, _coordinates(point, evaluation), known)
        for jet in evaluation:
            jet.slope = None
        return Wanted(indices, tuple(named(found)))


PARAMETERS: "WeakKeyDictionary[Residual, Mapping[str, inspect.Parameter]]" = WeakKeyDictionary()


def parameters_of(residual: Residual) -> Mapping[str, inspect.Parameter]:
    """The arguments of a function, which take a while to look up."""
    known = _remembered(PARAMETERS, residual)
    return known if known is not None else _noted(PARAMETERS, residual, inspect.signature(residual).parameters)


def _remembered(kept: Any, residual: Residual) -> Any:
    return kept.get(residual) if isinstance(residual, Hashable) else None


def _noted(kept: Any, residual: Residual, found: Any) -> Any:
    if isinstance(residual, Hashable):
        kept[residual] = found
    return found


def _noting(value: Tensor, indices: set[Index], evaluation: list[Jet]) -> Jet:
    """A field like one point of a value, that notes the derivatives which are asked of it."""
    like = torch.full(value.shape[1:], 0.5, dtype=value.dtype, device=value.device)

    def derive(_: Jet, index: Index) -> Tensor:
        indices.add(index)
        return like

    return Jet(like, derive, evaluation)


def _given(values: dict[Index, Tensor], still: set[Index], evaluation: list[Jet]) -> Jet:
    """A field at a point, of derivatives that have been computed."""

    def derive(_: Jet, index: Index) -> Tensor | None:
        if index in values or index in still:
            return values.get(index)
        raise Unforeseen

    return Jet(values[()], derive, evaluation)


def _coordinates(point: Tensor, evaluation: list[Jet]) -> list[Jet]:
    """The coordinates of one point (d,), as jets."""
    unit = lambda i: lambda jet, index: torch.ones_like(jet.value) if index == (i,) else None
    return [Jet(point[i], unit(i), evaluation) for i in range(point.shape[0])]


def named(found: Any) -> dict[str, Any]:
    """A residual's numbers by name."""
    if isinstance(found, Mapping | tuple | list) and not found:
        raise ValueError("the residual returned no equation at all")
    if isinstance(found, Mapping):
        return {str(name): x for name, x in found.items()}
    if isinstance(found, tuple | list):
        return {str(k): x for k, x in enumerate(found)}
    return {"residual": found}


def number(name: str, x: Any, like: Tensor) -> Tensor:
    """A residual at a point, if it is a number."""
    value = x.value if isinstance(x, Field) else x
    if isinstance(value, int | float | complex):
        return torch.full_like(like[0], value)
    if not isinstance(value, Tensor) or value.dim():
        given = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise ValueError(
            f"the residual {name!r} is {given} at a point; it must be a number there. Return the equations of a "
            "system as a tuple or a dict."
        )
    if not (value.is_floating_point() or value.is_complex()):
        raise ValueError(f"the residual {name!r} is of {value.dtype} at a point; a floating number was expected")
    return value


def check_data(data: Mapping[str, Tensor], n: int) -> None:
    """What is known at each point has a row for each."""
    for name, x in data.items():
        if len(x) != n:
            raise ValueError(f"{name} is of shape {tuple(x.shape)}: a row for each of {n} points was expected")


def check_points(points: Tensor, names: tuple[str, ...]) -> None:
    """Points are (n, d) and floating, with a name for each coordinate."""
    check_coordinates(names)
    if (
        not isinstance(points, Tensor)
        or not points.is_floating_point()
        or points.dim() != 2
        or points.shape[1] != len(names)
    ):
        given = f"{points.dtype} {tuple(points.shape)}" if isinstance(points, Tensor) else f"a {type(points).__name__}"
        raise ValueError(
            f"points are a floating tensor (n, {len(names)}), a column for each of {', '.join(names)}; given: {given}"
        )


def _called(residual: Residual) -> str:
    return getattr(residual, "__name__", repr(residual))
