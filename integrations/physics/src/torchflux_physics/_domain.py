"""Domains: sets of points with a boundary, put together by union, intersection, difference and extrusion in time."""

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ._points import Points
from ._unit import unit_points

__all__ = ["Boundary", "Domain"]

TIME = "t"
BESIDE = 1e-7
"""How far from a boundary its two sides are looked at, in the size of the domain."""
EFFORT = 2000
"""Draws a point from which on a region counts as empty."""


class Domain(ABC):
    """A bounded set of points (d,), with named coordinates.

    `a | b` is the union, `a & b` the intersection, `a - b` the difference; `space * time` the product.
    """

    coordinates: tuple[str, ...]

    @property
    @abstractmethod
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest of each coordinate, (d,) and (d,)."""

    @property
    @abstractmethod
    def volume(self) -> float:
        """Length, area or volume. That of a union, intersection or difference is estimated, to about 0.1 %."""

    @abstractmethod
    def contains(self, points: Tensor) -> Tensor:
        """Whether points (n, d) lie inside or on the boundary, (n,) bool."""

    def interior(self, points: Tensor) -> Tensor:
        """Whether points (n, d) lie inside and not on the boundary, (n,) bool; what a difference takes away."""
        return self.contains(points)

    @property
    @abstractmethod
    def faces(self) -> "tuple[Face, ...]":
        """The pieces of the boundary."""

    def place(self, unit: Tensor) -> Tensor | None:
        """Points of the unit cube (n, d) laid evenly over the domain; None where there is no such map."""
        return None

    @property
    def boundary(self) -> "Boundary":
        """The boundary; in a product with time, that of space at all times."""
        return Boundary(self.coordinates, self.faces)

    def sample(self, n: int, *, generator: torch.Generator | None = None, method: str = "uniform") -> Points:
        """n points, spread evenly; `method` is `"uniform"`, `"latin"` or `"sobol"`.

        **Raises:** `ValueError` for an empty domain.
        """
        placed = self.place(unit_points(n, len(self.coordinates), generator, method))
        return Points(self.rejected(n, generator, method) if placed is None else placed)

    def rejected(self, n: int, generator: torch.Generator | None, method: str) -> Tensor:
        """n points of the bounding box that lie inside."""
        low, high = self.bounds

        def draw(m: int) -> Points:
            box = low + (high - low) * unit_points(m, len(low), generator, method)
            return Points(box[self.contains(box)])

        return gathered(n, draw, f"the domain in {', '.join(self.coordinates)}").points

    def check(self, points: Tensor) -> Tensor:
        """The points, if all lie in the domain, or outside by no more than float32 rounds: a millionth of its size.

        **Raises:** `ValueError` that names the first ones outside.
        """
        (low, high), exact = self.bounds, points.double().cpu()
        inside = self.contains(exact)
        for signs in product((-1.0, 1.0), repeat=len(low)):
            inside = inside | self.contains(exact + 1e-6 * (high - low) * torch.tensor(signs, dtype=torch.float64))
        outside = (~inside).nonzero()[:, 0]
        if len(outside):
            place = ", ".join(
                f"{name} = {x:g}" for name, x in zip(self.coordinates, points[outside[0]].tolist(), strict=True)
            )
            raise ValueError(
                f"{len(outside)} of {len(points)} points lie outside, the first (row {outside[0]}) at {place}"
            )
        return points

    def __or__(self, other: "Domain") -> "Domain":
        return Combined(self, other, "|")

    def __and__(self, other: "Domain") -> "Domain":
        return Combined(self, other, "&")

    def __sub__(self, other: "Domain") -> "Domain":
        return Combined(self, other, "-")

    def __mul__(self, other: "Domain") -> "Domain":
        from ._product import Product

        return Product(self, other)


def gathered(n: int, draw: Callable[[int], Points], what: str) -> Points:
    """n points of a way to draw that may give fewer than were asked for."""
    found: list[Points] = []
    have = drawn = 0
    while have < n:
        m = max(16, min(10**6, math.ceil(1.2 * (n - have) * max(drawn, 1) / max(have, 1))))
        found.append(draw(m))
        have, drawn = have + len(found[-1]), drawn + m
        if drawn > EFFORT * max(have, 1) and drawn > 10**4:
            raise ValueError(f"{what} holds no points, or nearly none: of {drawn} draws {have} lay in it")
    points = torch.cat([each.points for each in found])[:n] if found else draw(0).points
    names = found[0].data if found else {}
    return Points(points, {name: torch.cat([each.data[name] for each in found])[:n] for name in names})


@dataclass(frozen=True)
class Face:
    """A piece of a boundary: its measure, and its points and outward normals from those of a unit cube (n, d - 1)."""

    measure: float
    place: Callable[[Tensor], tuple[Tensor, Tensor]]
    keep: Callable[[Tensor, Tensor], Tensor] | None = None
    """Which points (n, d), with these normals (n, d), belong to it; all, where it is None."""

    def restricted(self, keep: Callable[[Tensor, Tensor], Tensor]) -> "Face":
        """The part of it where something else holds too."""
        before = self.keep
        return Face(self.measure, self.place, keep if before is None else lambda p, n: before(p, n) & keep(p, n))

    def flipped(self) -> "Face":
        """The same with the normals turned."""

        def place(unit: Tensor) -> tuple[Tensor, Tensor]:
            points, normals = self.place(unit)
            return points, -normals

        before = self.keep
        return Face(self.measure, place, None if before is None else lambda p, n: before(p, -n))


@dataclass(frozen=True)
class Boundary:
    """Pieces of a domain's boundary. Its points carry the outward unit `normal` (n, d)."""

    coordinates: tuple[str, ...]
    faces: tuple[Face, ...]

    def where(self, condition: Callable[..., Any]) -> "Boundary":
        """The part where a condition on coordinates, by their names, holds: `boundary.where(lambda x: x == 0)`."""
        names = tuple(inspect.signature(condition).parameters)
        unknown = [name for name in names if name not in self.coordinates]
        if unknown:
            raise TypeError(
                f"the condition takes {', '.join(unknown)}; the coordinates are {', '.join(self.coordinates)}"
            )
        columns = [self.coordinates.index(name) for name in names]
        keep = lambda p, _: torch.as_tensor(condition(*(p[:, k] for k in columns)))
        return Boundary(self.coordinates, tuple(face.restricted(keep) for face in self.faces))

    @cached_property
    def measure(self) -> float:
        """Length or area (the number of points, in one dimension); estimated where parts are cut away."""
        return sum(face.measure * _share(face, len(self.coordinates)) for face in self.faces)

    def sample(self, n: int, *, generator: torch.Generator | None = None, method: str = "uniform") -> Points:
        """n points, spread evenly over the pieces."""
        weights = torch.tensor([face.measure for face in self.faces], dtype=torch.float64)
        shares = weights.cumsum(0) / weights.sum()

        def draw(m: int) -> Points:
            unit = unit_points(m, len(self.coordinates), generator, method)
            which = torch.searchsorted(shares, unit[:, 0].contiguous(), right=True).clamp(max=len(shares) - 1)
            points, normals = torch.empty_like(unit), torch.empty_like(unit)
            kept = torch.ones(m, dtype=torch.bool)
            for k, face in enumerate(self.faces):  # in the order of the draws: some may be left out at the end
                on = which == k
                points[on], normals[on] = face.place(unit[on, 1:])
                kept[on] = True if face.keep is None else face.keep(points[on], normals[on])
            return Points(points[kept], {"normal": normals[kept]})

        return gathered(n, draw, f"the boundary in {', '.join(self.coordinates)}")


def _share(face: Face, dimensions: int) -> float:
    """How much of a face is kept."""
    if face.keep is None:
        return 1.0
    unit = (
        unit_points(2**14, dimensions - 1, torch.Generator().manual_seed(0), "sobol")
        if dimensions > 1
        else torch.zeros(1, 0)
    )
    return face.keep(*face.place(unit)).double().mean().item()


class Combined(Domain):
    """The union, intersection or difference of two domains."""

    def __init__(self, a: Domain, b: Domain, how: str) -> None:
        if a.coordinates != b.coordinates:
            raise ValueError(
                f"domains in {', '.join(a.coordinates)} and in {', '.join(b.coordinates)} can't be combined by {how}"
            )
        self.a, self.b, self.how, self.coordinates = a, b, how, a.coordinates

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        (low, high), (other_low, other_high) = self.a.bounds, self.b.bounds
        if self.how == "-":
            return low, high
        if self.how == "&":
            return torch.maximum(low, other_low), torch.minimum(high, other_high)
        return torch.minimum(low, other_low), torch.maximum(high, other_high)

    @cached_property
    def volume(self) -> float:
        low, high = self.bounds
        unit = unit_points(2**18, len(low), torch.Generator().manual_seed(0), "sobol")
        return self.contains(low + (high - low) * unit).double().mean().item() * (high - low).prod().item()

    def contains(self, points: Tensor) -> Tensor:
        if self.how == "-":
            return self.a.contains(points) & ~self.b.interior(points)
        inside, other = self.a.contains(points), self.b.contains(points)
        return inside | other if self.how == "|" else inside & other

    def interior(self, points: Tensor) -> Tensor:
        if self.how == "-":
            return self.a.interior(points) & ~self.b.contains(points)
        inside, other = self.a.interior(points), self.b.interior(points)
        return inside | other if self.how == "|" else inside & other

    @property
    def faces(self) -> tuple[Face, ...]:
        """Where one side is in the domain and the other isn't; of faces that coincide, the first domain's."""
        of_b = (face.flipped() if self.how == "-" else face for face in self.b.faces)
        return (
            *(face.restricted(self._parts) for face in self.a.faces),
            *(face.restricted(lambda p, n: self._parts(p, n) & ~self._of_both(p, n)) for face in of_b),
        )

    def _parts(self, points: Tensor, normals: Tensor) -> Tensor:
        step = self._step * normals
        return self.contains(points - step) & ~self.contains(points + step)

    def _of_both(self, points: Tensor, normals: Tensor) -> Tensor:
        step = self._step * normals
        return self.a.contains(points - step) != self.a.contains(points + step)

    @cached_property
    def _step(self) -> float:
        low, high = self.bounds
        return BESIDE * (high - low).abs().max().item()
