"""Shapes: boxes, balls, polygons."""

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ._domain import Boundary, Domain, Face

__all__ = ["Ball", "Box", "Disk", "Interval", "Polygon", "Rectangle", "Triangle"]

ROUNDING = 1e-12


class Box(Domain):
    """low ≤ x ≤ high in each coordinate.

    >>> box = Box("xyz", (0, 0, 0), (1, 2, 3))
    >>> box.volume, box.boundary.measure
    (6.0, 22.0)
    """

    def __init__(self, coordinates: Iterable[str], low: Sequence[float], high: Sequence[float]) -> None:
        self.coordinates = tuple(coordinates)
        self.low, self.high = (torch.as_tensor(x, dtype=torch.float64) for x in (low, high))
        d = len(self.coordinates)
        if self.low.shape != (d,) or self.high.shape != (d,) or not (self.low < self.high).all():
            raise ValueError(
                f"a box in {', '.join(self.coordinates)} has {d} bounds below {d} others; given: {low}, {high}"
            )

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.low, self.high

    @property
    def volume(self) -> float:
        return (self.high - self.low).prod().item()

    def contains(self, points: Tensor) -> Tensor:
        slack = ROUNDING * (self.high - self.low)
        return ((points >= self.low - slack) & (points <= self.high + slack)).all(-1)

    def interior(self, points: Tensor) -> Tensor:
        slack = ROUNDING * (self.high - self.low)
        return ((points > self.low + slack) & (points < self.high - slack)).all(-1)

    def place(self, unit: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * unit

    @property
    def faces(self) -> tuple[Face, ...]:
        return tuple(self._face(k, upper) for k in range(len(self.low)) for upper in (False, True))

    def side(self, coordinate: str, upper: bool = False) -> Boundary:
        """One side: where a coordinate is at its lower or its upper bound."""
        if coordinate not in self.coordinates:
            raise ValueError(f"there is no coordinate {coordinate}; there are {', '.join(self.coordinates)}")
        return Boundary(self.coordinates, (self._face(self.coordinates.index(coordinate), upper),))

    def _face(self, k: int, upper: bool) -> Face:
        value, d = (self.high if upper else self.low)[k], len(self.low)
        others = [i for i in range(d) if i != k]

        def place(unit: Tensor) -> tuple[Tensor, Tensor]:
            points = value.expand(len(unit), d).clone()
            points[:, others] = self.low[others] + (self.high - self.low)[others] * unit
            normals = torch.zeros_like(points)
            normals[:, k] = 1.0 if upper else -1.0
            return points, normals

        return Face((self.high - self.low)[others].prod().item(), place)


def Interval(coordinate: str, low: float, high: float) -> Box:
    """low ≤ x ≤ high. Its boundary is two points.

    >>> Interval("x", -1, 1).boundary.measure
    2.0
    """
    return Box((coordinate,), (low,), (high,))


def Rectangle(coordinates: Iterable[str], low: Sequence[float], high: Sequence[float]) -> Box:
    """A box in two dimensions."""
    return Box(coordinates, low, high)


class Ball(Domain):
    """Points within a radius of a centre, in two or three dimensions.

    >>> round(Ball("xyz", (0, 0, 0), 1).volume, 4)
    4.1888
    """

    def __init__(self, coordinates: Iterable[str], centre: Sequence[float], radius: float) -> None:
        self.coordinates, self.radius = tuple(coordinates), float(radius)
        self.centre = torch.as_tensor(centre, dtype=torch.float64)
        d = len(self.coordinates)
        if d not in (2, 3) or self.centre.shape != (d,) or not radius > 0:
            raise ValueError(
                f"a ball has 2 or 3 coordinates, a centre of as many, and a radius above 0; given: {centre}, {radius}"
            )

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.centre - self.radius, self.centre + self.radius

    @property
    def volume(self) -> float:
        return math.pi * self.radius**2 if len(self.centre) == 2 else 4 / 3 * math.pi * self.radius**3

    def contains(self, points: Tensor) -> Tensor:
        return (points - self.centre).norm(dim=-1) <= self.radius * (1 + ROUNDING)

    def interior(self, points: Tensor) -> Tensor:
        return (points - self.centre).norm(dim=-1) < self.radius * (1 - ROUNDING)

    def place(self, unit: Tensor) -> Tensor:
        d = len(self.centre)
        return self.centre + self.radius * unit[:, :1] ** (1 / d) * _direction(unit[:, 1:])

    @property
    def faces(self) -> tuple[Face, ...]:
        measure = len(self.centre) * self.volume / self.radius

        def place(unit: Tensor) -> tuple[Tensor, Tensor]:
            normals = _direction(unit)
            return self.centre + self.radius * normals, normals

        return (Face(measure, place),)


def _direction(unit: Tensor) -> Tensor:
    """Evenly spread unit vectors: on the circle from (n, 1), on the sphere from (n, 2)."""
    angle = 2 * math.pi * unit[:, 0]
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    if unit.shape[1] == 1:
        return circle
    height = 2 * unit[:, 1:] - 1
    return torch.cat([(1 - height**2).sqrt() * circle, height], 1)


def Disk(coordinates: Iterable[str], centre: Sequence[float], radius: float) -> Ball:
    """A ball in two dimensions."""
    return Ball(coordinates, centre, radius)


class Polygon(Domain):
    """The inside of a closed line through corners (k, 2), in either direction, that doesn't cross itself.

    >>> Polygon("xy", [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]).volume
    3.0
    """

    def __init__(self, coordinates: Iterable[str], corners: Any) -> None:
        self.coordinates, corners = tuple(coordinates), torch.as_tensor(corners, dtype=torch.float64)
        if len(self.coordinates) != 2 or corners.dim() != 2 or corners.shape[1] != 2 or len(corners) < 3:
            raise ValueError(
                f"a polygon has two coordinates and three corners (k, 2) or more; given: {tuple(corners.shape)}"
            )
        area = _signed_area(corners)
        if area == 0:
            raise ValueError("the corners of a polygon lie on a line")
        self.corners = corners if area > 0 else corners.flip(0)
        self._check_edges()

    def _check_edges(self) -> None:
        """No two edges cross: of each, the ends lie on both sides of the other."""
        a, b = self.corners[:, None], self.corners.roll(-1, 0)[:, None]
        side = lambda p: ((b - a)[..., 0] * (p - a)[..., 1] - (b - a)[..., 1] * (p - a)[..., 0]).sign()
        parted = side(self.corners[None]) * side(self.corners.roll(-1, 0)[None]) < 0
        crossed = (parted & parted.T).nonzero()
        if len(crossed):
            i, j = crossed[0].tolist()
            raise ValueError(f"the line around a polygon crosses itself: its edges {i} and {j}, counter-clockwise")

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.corners.min(0).values, self.corners.max(0).values

    @cached_property
    def volume(self) -> float:
        return _signed_area(self.corners)

    def contains(self, points: Tensor) -> Tensor:
        """By the number of edges that a ray to the right crosses; points of an edge count as inside."""
        a, b = self.corners, self.corners.roll(-1, 0)
        x, y = points[:, :1], points[:, 1:]
        crosses = (a[:, 1] <= y) != (b[:, 1] <= y)
        height = torch.where(a[:, 1] == b[:, 1], 1.0, b[:, 1] - a[:, 1])
        inside = ((crosses & (x < a[:, 0] + (y - a[:, 1]) / height * (b[:, 0] - a[:, 0]))).sum(1) % 2).bool()
        return inside | self._on_edge(points)

    def interior(self, points: Tensor) -> Tensor:
        return self.contains(points) & ~self._on_edge(points)

    def _on_edge(self, points: Tensor) -> Tensor:
        a, edge = self.corners, self.corners.roll(-1, 0) - self.corners
        along = ((points[:, None] - a) * edge).sum(-1) / edge.square().sum(-1)
        foot = a + along.clamp(0, 1)[..., None] * edge
        return ((points[:, None] - foot).norm(dim=-1) <= ROUNDING * edge.norm(dim=-1).max()).any(1)

    def place(self, unit: Tensor) -> Tensor | None:
        """A triangle is laid out evenly; other polygons are cut out of their bounding box."""
        if len(self.corners) != 3:
            return None
        a, b, c = self.corners
        root = unit[:, :1].sqrt()
        return (1 - root) * a + root * (1 - unit[:, 1:]) * b + root * unit[:, 1:] * c

    @property
    def faces(self) -> tuple[Face, ...]:
        return tuple(_edge(a, b) for a, b in zip(self.corners, self.corners.roll(-1, 0), strict=True))


def _edge(a: Tensor, b: Tensor) -> Face:
    along = b - a
    normal = torch.stack([along[1], -along[0]]) / along.norm()
    return Face(along.norm().item(), lambda unit: (a + unit * along, normal.expand(len(unit), 2)))


def _signed_area(corners: Tensor) -> float:
    """The shoelace formula; positive counter-clockwise."""
    x, y = corners.T
    return ((x * y.roll(-1) - x.roll(-1) * y).sum() / 2).item()


def Triangle(coordinates: Iterable[str], a: Sequence[float], b: Sequence[float], c: Sequence[float]) -> Polygon:
    """A polygon with three corners."""
    return Polygon(coordinates, [a, b, c])
