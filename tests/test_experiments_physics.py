"""The experiments with equations: a short version of each learns, and its reference satisfies the equation."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from torchflux_lab import find

pytest.importorskip("matplotlib")
Short = Callable[..., dict[str, Any]]
FOLDER = Path(__file__).parent.parent / "experiments"


def reference(name: str) -> Callable[..., Tensor]:
    """The exact solution that a script carries."""
    pytest.importorskip("tqdm")
    with find(name, FOLDER).loaded():
        return sys.modules[name].exact


def slopes(u: Callable[..., Tensor], x: Tensor, t: Tensor, h: float) -> tuple[Tensor, Tensor, Tensor]:
    """u_t, u_x and u_xx by central differences."""
    before, here, after = u(x - h, t), u(x, t), u(x + h, t)
    return (u(x, t + h) - u(x, t - h)) / (2 * h), (after - before) / (2 * h), (after - 2 * here + before) / h**2


def places(seed: int = 0) -> tuple[Tensor, Tensor]:
    """50 points of [0, 1] x [0.05, 0.95]."""
    unit = torch.rand(2, 50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return unit[0], 0.05 + 0.9 * unit[1]


def test_burgers(short: Short) -> None:
    settings = ("width=10", "points=200", "extra=100", "steps=60", "rate=0.01", "rounds=1", "iterations=60")
    results = short("burgers", *settings)
    adam, polished = results["looks"].values()
    assert polished == results["error"] < 0.75 * adam
    assert adam < 0.7


def test_burgers_solution_satisfies_the_equation_from_its_beginning() -> None:
    u, (x, t) = reference("burgers"), places()
    u_t, u_x, u_xx = slopes(u, x, t, 1e-4)
    scale = (u(x, t) * u_x).abs().max()
    assert (u_t + u(x, t) * u_x - 0.01 / math.pi * u_xx).abs().max() < 1e-4 * scale
    assert (u_t + u(x, t) * u_x).abs().max() > 1e-2 * scale  # without viscosity it isn't one
    assert torch.allclose(u(x, 0 * t), -torch.sin(math.pi * x), atol=1e-12)
    assert u(0 * x, t).abs().max() < 1e-12


def test_burgers_slope_at_the_shock_is_the_published_one() -> None:
    """-152.00516 at t = 1.6037/π (Basdevant et al., 1986, doi:10.1016/0045-7930(86)90036-8)."""
    u, t = reference("burgers"), torch.tensor([1.6037 / math.pi], dtype=torch.float64)
    h = torch.tensor([1e-5], dtype=torch.float64)
    assert ((u(h, t) - u(-h, t)) / (2 * h)).item() == pytest.approx(-152.00516, abs=1e-3)


def test_heat(short: Short) -> None:
    results = short("heat", "width=8", "points=200", "steps=50", "rate=0.02", "iterations=80")
    assert results["error"] < 0.05
    assert sum(results["losses"].values()) < 1e-2


def test_heats_solution_satisfies_the_equation() -> None:
    u, (x, t) = reference("heat"), places()
    u_t, _, u_xx = slopes(u, x, t, 1e-4)
    assert (u_t - 0.4 * u_xx).abs().max() < 1e-6 * u_t.abs().max()
    assert torch.allclose(u(x, 0 * t), torch.sin(math.pi * x))
    assert u(torch.ones_like(t), t).abs().max() < 1e-15


def test_lorenz_inverse(short: Short) -> None:
    settings = ("measured=60", "noise=0.1", "points=100", "width=20", "steps=200", "rate=0.01", "iterations=300")
    results = short("lorenz-inverse", *settings)
    assert max(results["errors"].values()) < 0.2


def test_lorenz_orbit_satisfies_the_equations() -> None:
    with find("lorenz-inverse", FOLDER).loaded():
        script = sys.modules["lorenz-inverse"]
        h, ts = 1e-4, torch.tensor([0.0, 0.9999, 1.0, 1.0001], dtype=torch.float64)
        start, before, (x, y, z), after = script.orbit(ts)
    assert start.tolist() == [-8, 7, 27]
    slope = torch.stack([10 * (y - x), x * (15 - z) - y, x * y - 8 / 3 * z])
    assert torch.allclose((after - before) / (2 * h), slope, rtol=1e-5)
