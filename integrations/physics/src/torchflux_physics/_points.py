"""Points of a region, and what is known at each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["Cloud", "Points", "Region"]


@dataclass(frozen=True)
class Points:
    """Points (n, d), with tensors (n, ...) by name: `normal` on a boundary, measured values."""

    points: Tensor
    data: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.points)

    def to(self, *args: Any, **kwargs: Any) -> "Points":
        """The same in another dtype or on another device, as `Tensor.to`."""
        return Points(self.points.to(*args, **kwargs), {name: x.to(*args, **kwargs) for name, x in self.data.items()})

    def __getitem__(self, which: Any) -> "Points":
        """Some of the points: a slice, or a tensor of indices or of truth values."""
        return Points(self.points[which], {name: x[which] for name, x in self.data.items()})


class Region(Protocol):
    """Where an equation or a condition holds: a domain, a part of its boundary, a cloud."""

    @property
    def coordinates(self) -> tuple[str, ...]:
        """The names of the points' columns."""
        ...

    def sample(self, n: int, *, generator: torch.Generator | None = None, method: str = "uniform") -> Points:
        """n points of the region, float64."""
        ...


@dataclass(frozen=True)
class Cloud:
    """The user's own points, with what is known there.

    **Arguments:** `points` (n, d) in the order of `coordinates`; `data`, tensors (n, ...) by name.

    A sample of it is drawn without replacement; all of it, where as many or more are asked for.

    >>> import torch
    >>> cloud = Cloud(torch.tensor([[0.0], [1.0]]), ("x",), {"measured": torch.tensor([3.0, 4.0])})
    >>> cloud.sample(2).data["measured"]
    tensor([3., 4.])
    """

    points: Tensor
    coordinates: tuple[str, ...]
    data: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.points.dim() != 2 or self.points.shape[1] != len(self.coordinates):
            raise ValueError(
                f"a cloud's points are (n, {len(self.coordinates)}), a column for each of "
                f"{', '.join(self.coordinates)}; given: {tuple(self.points.shape)}"
            )
        for name, x in self.data.items():
            if len(x) != len(self.points):
                raise ValueError(f"{name} has {len(x)} rows for {len(self.points)} points")

    def sample(self, n: int, *, generator: torch.Generator | None = None, method: str = "uniform") -> Points:
        """n of the points in random order, or all as they are."""
        whole = Points(self.points, self.data)
        return whole if n >= len(whole) else whole[torch.randperm(len(whole), generator=generator)[:n]]
