"""Products of domains: a shape in space at all times of an interval, a prism over a disk."""

import torch
from torch import Tensor

from ._domain import TIME, Boundary, Domain, Face
from ._shapes import Box

__all__ = ["Product"]


class Product(Domain):
    """All pairs of points of two domains. `space * Interval("t", 0, 1)` is a domain extruded in time.

    >>> from torchflux_physics import Disk, Interval
    >>> cylinder = Disk("xy", (0, 0), 1) * Interval("t", 0, 2)
    >>> cylinder.coordinates, round(cylinder.volume, 3)
    (('x', 'y', 't'), 6.283)
    >>> cylinder.start.sample(1).points[0, 2].item()
    0.0
    """

    def __init__(self, first: Domain, second: Domain) -> None:
        twice = sorted(set(first.coordinates) & set(second.coordinates))
        if twice:
            raise ValueError(f"both factors have a coordinate {', '.join(twice)}")
        self.first, self.second, self.coordinates = first, second, first.coordinates + second.coordinates

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        lows, highs = zip(self.first.bounds, self.second.bounds, strict=True)
        return torch.cat(lows), torch.cat(highs)

    @property
    def volume(self) -> float:
        return self.first.volume * self.second.volume

    def contains(self, points: Tensor) -> Tensor:
        d = len(self.first.coordinates)
        return self.first.contains(points[:, :d]) & self.second.contains(points[:, d:])

    def interior(self, points: Tensor) -> Tensor:
        d = len(self.first.coordinates)
        return self.first.interior(points[:, :d]) & self.second.interior(points[:, d:])

    def place(self, unit: Tensor) -> Tensor | None:
        d = len(self.first.coordinates)
        first, second = self.first.place(unit[:, :d]), self.second.place(unit[:, d:])
        return None if first is None or second is None else torch.cat([first, second], 1)

    @property
    def faces(self) -> tuple[Face, ...]:
        """Those of space at all times; of two factors in space, both sides'."""
        first = (
            ()
            if self.first.coordinates == (TIME,)
            else tuple(_over(f, self.first, self.second, True) for f in self.first.faces)
        )
        second = (
            ()
            if self.second.coordinates == (TIME,)
            else tuple(_over(f, self.second, self.first, False) for f in self.second.faces)
        )
        return first + second

    @property
    def start(self) -> Boundary:
        """The domain at the first time."""
        return self._at(False)

    @property
    def end(self) -> Boundary:
        """The domain at the last time."""
        return self._at(True)

    def _at(self, upper: bool) -> Boundary:
        for time, space, first in ((self.second, self.first, False), (self.first, self.second, True)):
            if isinstance(time, Box) and time.coordinates == (TIME,):
                return Boundary(self.coordinates, (_over(time.faces[upper], time, space, first),))
        raise ValueError(
            f"no factor is an interval of time, {TIME!r}: the coordinates are {', '.join(self.coordinates)}"
        )

    def side(self, coordinate: str, upper: bool = False) -> Boundary:
        """One side of a factor that is a box."""
        for factor, other, first in ((self.first, self.second, True), (self.second, self.first, False)):
            if coordinate in factor.coordinates and isinstance(factor, Box | Product):
                faces = factor.side(coordinate, upper).faces
                return Boundary(self.coordinates, tuple(_over(face, factor, other, first) for face in faces))
        raise ValueError(f"no factor is a box with a coordinate {coordinate}; use boundary.where(...)")


def _over(face: Face, owner: Domain, other: Domain, first: bool) -> Face:
    """A face of one factor, over all of the other."""
    d = len(owner.coordinates) - 1

    def place(unit: Tensor) -> tuple[Tensor, Tensor]:
        points, normals = face.place(unit[:, :d])
        rest = other.place(unit[:, d:])
        if rest is None:
            rest = other.rejected(len(unit), _generator(unit), "uniform")
        pair = (points, rest) if first else (rest, points)
        zeros = torch.zeros_like(rest)
        return torch.cat(pair, 1), torch.cat((normals, zeros) if first else (zeros, normals), 1)

    k, width = (0, d + 1) if first else (len(other.coordinates), d + 1)
    before = face.keep
    keep = None if before is None else lambda p, n: before(p[:, k : k + width], n[:, k : k + width])
    return Face(face.measure * other.volume, place, keep)


def _generator(unit: Tensor) -> torch.Generator:
    """A generator seeded by the draw, so that what follows of it is the same again."""
    seed = int((unit.sum().item() % 1) * 2**31) if unit.numel() else 0
    return torch.Generator().manual_seed(seed)
