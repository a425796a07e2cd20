"""Domains: measures against closed forms, membership, evenly spread points, normals, and what is refused."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from torchflux_physics import Ball, Box, Cloud, Disk, Interval, Polygon, Rectangle, Triangle

METHODS = ("uniform", "latin", "sobol")
L_SHAPE = [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]
DOMAINS: dict[str, tuple[Any, float, float]] = {  # and volume, measure of the boundary
    "interval": (Interval("x", -1, 2), 3, 2),
    "rectangle": (Rectangle("xy", (0, -1), (2, 1)), 4, 8),
    "box": (Box("xyz", (0, 0, 0), (1, 2, 3)), 6, 22),
    "disk": (Disk("xy", (1, 2), 0.5), math.pi / 4, math.pi),
    "ball": (Ball("xyz", (0, 0, 1), 2), 32 / 3 * math.pi, 16 * math.pi),
    "triangle": (Triangle("xy", (0, 0), (3, 0), (0, 4)), 6, 12),
    "clockwise": (Triangle("xy", (0, 4), (3, 0), (0, 0)), 6, 12),
    "polygon": (Polygon("xy", L_SHAPE), 3, 8),
    "in time": (Disk("xy", (0, 0), 1) * Interval("t", 0, 2), 2 * math.pi, 4 * math.pi),
    "prism": (Polygon("xy", L_SHAPE) * Interval("z", 0, 1), 3, 8 + 2 * 3),
    "union": (Disk("xy", (0, 0), 1) | Disk("xy", (3, 0), 1), 2 * math.pi, 4 * math.pi),
    "half disk": (Disk("xy", (0, 0), 1) & Rectangle("xy", (0, -2), (2, 2)), math.pi / 2, math.pi + 2),
    "plate with a hole": (Rectangle("xy", (-1, -1), (1, 1)) - Disk("xy", (0, 0), 0.5), 4 - math.pi / 4, 8 + math.pi),
}
each = pytest.mark.parametrize("name", DOMAINS)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@each
def test_measures(name: str) -> None:
    domain, volume, boundary = DOMAINS[name]
    assert domain.volume == pytest.approx(volume, rel=2e-3)
    assert domain.boundary.measure == pytest.approx(boundary, rel=2e-3)


@each
@pytest.mark.parametrize("method", METHODS)
def test_points_lie_inside_and_are_the_same_again(name: str, method: str) -> None:
    domain = DOMAINS[name][0]
    drawn = domain.sample(100, generator=seeded(), method=method)
    assert drawn.points.shape == (100, len(domain.coordinates))
    assert drawn.points.dtype == torch.float64
    assert domain.contains(drawn.points).all()
    assert torch.equal(drawn.points, domain.sample(100, generator=seeded(), method=method).points)
    assert domain.check(drawn.points) is drawn.points


@each
def test_points_are_spread_evenly(name: str) -> None:
    # The share of points in a half of the bounding box is that of the volume there, counted on a grid.
    domain = DOMAINS[name][0]
    low, high = domain.bounds
    points = domain.sample(4000, generator=seeded()).points
    axes = [a + (b - a) * (torch.arange(60, dtype=torch.float64) + 0.5) / 60 for a, b in zip(low, high, strict=True)]
    grid = torch.cartesian_prod(*axes).view(-1, len(axes))
    inside = grid[domain.contains(grid)]
    for k in range(len(axes)):
        middle = low[k] + 0.4 * (high[k] - low[k])
        expected = (inside[:, k] < middle).double().mean().item()
        assert (points[:, k] < middle).double().mean().item() == pytest.approx(expected, abs=0.03)


@each
@pytest.mark.parametrize("method", METHODS)
def test_normals_point_outwards(name: str, method: str) -> None:
    domain = DOMAINS[name][0]
    drawn = domain.boundary.sample(200, generator=seeded(), method=method)
    points, normals = drawn.points, drawn.data["normal"]
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(200, dtype=torch.float64))
    step = 1e-6
    assert domain.contains(points - step * normals).all()
    assert not domain.contains(points + step * normals).any()


def test_boundaries_are_spread_evenly() -> None:
    # By the divergence theorem, the mean of x · n over the boundary is d · volume / its measure.
    for name in ("rectangle", "box", "ball", "triangle", "polygon", "half disk", "plate with a hole", "union"):
        domain, volume, measure = DOMAINS[name]
        drawn = domain.boundary.sample(4000, generator=seeded(), method="sobol")
        mean = (drawn.points * drawn.data["normal"]).sum(1).mean().item()
        assert mean == pytest.approx(len(domain.coordinates) * volume / measure, rel=0.03, abs=0.01), name


def test_sides_and_times() -> None:
    domain = Rectangle("xy", (0, 0), (1, 2)) * Interval("t", 0, 3)
    for side, k, value in (
        (domain.side("x"), 0, 0),
        (domain.side("y", upper=True), 1, 2),
        (domain.start, 2, 0),
        (domain.end, 2, 3),
    ):
        drawn = side.sample(20, generator=seeded())
        assert (drawn.points[:, k] == value).all()
        assert domain.contains(drawn.points).all()
    assert (domain.side("x").sample(3).data["normal"] == torch.tensor([-1.0, 0, 0])).all()
    assert domain.boundary.measure == pytest.approx(6 * 3)
    left = domain.boundary.where(lambda x, t: (x == 0) & (t < 1))
    assert left.measure == pytest.approx(2, rel=0.01)
    assert (left.sample(30).points[:, 2] < 1).all()
    with pytest.raises(ValueError, match="no factor is an interval of time"):
        (Interval("x", 0, 1) * Interval("y", 0, 1)).start  # noqa: B018
    with pytest.raises(ValueError, match=r"no factor is a box with a coordinate x; use boundary\.where"):
        (Disk("xy", (0, 0), 1) * Interval("t", 0, 1)).side("x")


def test_sobol_points_are_balanced() -> None:
    points = Interval("x", 0, 1).sample(64, generator=seeded(), method="sobol").points
    assert torch.histc(points, 64, 0, 1).eq(1).all()
    counts = torch.histc(Interval("x", 0, 1).sample(64, generator=seeded()).points, 64, 0, 1)
    assert counts.max() > 1


def test_edges_of_polygons_belong_to_them() -> None:
    shape = Polygon("xy", L_SHAPE)
    corners = torch.tensor(L_SHAPE, dtype=torch.float64)
    middles = (corners + corners.roll(-1, 0)) / 2
    assert shape.contains(torch.cat([corners, middles])).all()
    assert not shape.contains(torch.tensor([[1.5, 1.5], [-0.1, 0.5], [3, 1]], dtype=torch.float64)).any()


def test_a_cloud() -> None:
    values = torch.arange(5.0)
    cloud = Cloud(values[:, None], ("x",), {"measured": values})
    assert torch.equal(cloud.sample(9).data["measured"], values)
    some = cloud.sample(3, generator=seeded())
    assert torch.equal(some.points[:, 0], some.data["measured"])
    assert len(set(some.points[:, 0].tolist())) == 3
    assert some.to(torch.float64).points.dtype == torch.float64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Interval("x", 1, 0), "has 1 bounds below 1 others"),
        (lambda: Box("xy", (0,), (1, 1)), "has 2 bounds"),
        (lambda: Disk("xy", (0, 0), 0), "a radius above 0"),
        (lambda: Ball("x", (0,), 1), "2 or 3 coordinates"),
        (lambda: Polygon("xy", [(0, 0), (1, 1)]), "three corners"),
        (lambda: Polygon("xy", [(0, 0), (1, 1), (2, 2)]), "lie on a line"),
        (lambda: Interval("x", 0, 1) * Interval("x", 0, 1), "both factors have a coordinate x"),
        (lambda: Interval("x", 0, 1) | Interval("y", 0, 1), "can't be combined"),
        (lambda: Interval("x", 0, 1).sample(3, method="halton"), "'halton'; there are uniform, latin, sobol"),
        (lambda: (Interval("x", 0, 1) & Interval("x", 2, 3)).sample(3), "holds no points"),
        (lambda: Rectangle("xy", (0, 0), (1, 1)).side("z"), "no coordinate z"),
        (lambda: Interval("x", 0, 1).check(torch.tensor([[0.5], [2.0]])), r"1 of 2 points .* \(row 1\) at x = 2"),
        (lambda: Cloud(torch.zeros(3, 2), ("x",)), r"\(n, 1\)"),
        (lambda: Cloud(torch.zeros(3, 1), ("x",), {"a": torch.zeros(2)}), "a has 2 rows for 3 points"),
    ],
)
def test_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_wrong_normal_is_noticed() -> None:
    domain = Disk("xy", (0, 0), 1)
    drawn = domain.boundary.sample(10, generator=seeded())
    turned: Tensor = drawn.points - 1e-6 * -drawn.data["normal"]
    assert not domain.contains(turned).any()


SQUARE = Rectangle("xy", (0, 0), (1, 1))
TOUCHING: dict[str, tuple[Any, float, float]] = {  # domains whose edges coincide in parts
    "L by union": (Rectangle("xy", (0, 0), (2, 1)) | Rectangle("xy", (0, 0), (1, 2)), 3, 8),
    "L by difference": (Rectangle("xy", (0, 0), (2, 2)) - Rectangle("xy", (1, 1), (2, 2)), 3, 8),
    "side by side": (SQUARE | Rectangle("xy", (1, 0), (2, 1)), 2, 6),
    "nothing taken": (SQUARE - Rectangle("xy", (1, 0), (2, 1)), 1, 4),
    "intersection": (SQUARE & Rectangle("xy", (0, 0), (2, 1)), 1, 4),
    "twice the same": (SQUARE | SQUARE, 1, 4),
    "cube": (Box("xyz", (0, 0, 0), (2, 2, 2)) - Box("xyz", (1, 1, 1), (2, 2, 2)), 7, 24),
    "line": (Interval("x", 0, 3) - Interval("x", 1, 2), 2, 4),
}


@pytest.mark.parametrize("name", TOUCHING)
def test_boundaries_that_coincide(name: str) -> None:
    domain, volume, measure = TOUCHING[name]
    assert domain.boundary.measure == pytest.approx(measure, rel=2e-3)
    drawn = domain.boundary.sample(4000, generator=seeded(), method="sobol")
    points, normals = drawn.points, drawn.data["normal"]
    assert domain.contains(points).all()  # the edge of a hole belongs to the domain
    assert domain.contains(points - 1e-6 * normals).all()
    assert not domain.contains(points + 1e-6 * normals).any()
    mean = (points * normals).sum(1).mean().item()  # by the divergence theorem
    assert mean == pytest.approx(len(domain.coordinates) * volume / measure, rel=0.03)


def test_a_polygon_that_crosses_itself() -> None:
    with pytest.raises(ValueError, match="crosses itself: its edges 0 and 2"):
        Polygon("xy", [(0, 0), (2, 2), (2, 0), (0, 1)])
    assert Polygon("xy", [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]).volume == 1  # closed by hand
