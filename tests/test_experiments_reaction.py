"""The experiments with reactions: a short version of each learns, and its reference satisfies the equation."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from torchflux_lab import find

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
Short = Callable[..., dict[str, Any]]
FOLDER = Path(__file__).parent.parent / "experiments"


def beside(name: str, module: str) -> ModuleType:
    """A module that lies beside an experiment's script."""
    with find(name, FOLDER).loaded():
        return sys.modules[module]


def test_allen_cahn(short: Short) -> None:
    ways = "ways=naive Adam,causal BFGS"
    sizes = ("width=10", "points=150", "extra=100", "rounds=8", "first=2", "iterations=25", "rate=0.02")
    results = short("allen-cahn", ways, *sizes)
    assert results["causal BFGS"]["error"] < 0.6
    assert results["naive Adam"]["error"] > 0.9


def test_allen_cahn_refuses_a_way_that_it_does_not_know() -> None:
    with find("allen-cahn", FOLDER).loaded() as program, pytest.raises(ValueError, match=r"casual Adam is no way"):
        program.parameters(ways=("casual Adam",))


def test_allen_cahns_network_begins_as_the_equation_does_and_is_periodic() -> None:
    with find("allen-cahn", FOLDER).loaded() as program:
        script = sys.modules["allen-cahn"]
        model = script.make_model(program.parameters(), causal=True)
        x = torch.linspace(-1, 1, 50).double()
        begun = model(torch.stack([x, 0 * x], 1))[:, 0]
        ends = model(torch.tensor([[-1.0, 0.7], [1.0, 0.7]]).double())[:, 0]
    assert torch.allclose(begun, x**2 * torch.cos(torch.pi * x), atol=1e-14)
    assert torch.allclose(ends[0], ends[1], atol=1e-14)


def test_allen_cahns_solution_is_the_published_one() -> None:
    """Values of AC.mat (Chebfun, 512 points), which Raissi et al. (2019, doi:10.1016/j.jcp.2018.10.045) published."""
    x, t, u = beside("allen-cahn", "spectral").solution()
    published = {
        (0.0, 0.5): 0.0012164450648214364,
        (-0.25, 0.5): 0.4738321893083856,
        (0.5, 0.5): -0.0038079628203968596,
        (0.0, 1.0): 0.02957972234920425,
        (0.25, 1.0): 0.9884746503209177,
        (0.5, 1.0): -0.06407762203955325,
    }
    for (place, moment), value in published.items():
        assert u[(x - place).abs().argmin(), (t - moment).abs().argmin()].item() == pytest.approx(value, abs=2e-6)


def test_allen_cahns_solution_satisfies_the_equation() -> None:
    x, t, u = beside("allen-cahn", "spectral").solution()
    inner = u[:, 50:-1]
    slope = (u[:, 51:] - u[:, 49:-2]) / (2 * (t[1] - t[0]))
    curvature = (inner.roll(1, 0) - 2 * inner + inner.roll(-1, 0)) / (x[1] - x[0]) ** 2
    reaction = 5 * inner - 5 * inner**3
    assert largest(slope - 1e-4 * curvature - reaction) < 0.02 * largest(slope)
    assert largest(slope - reaction) > 0.2 * largest(slope)  # without diffusion it isn't one


def test_diffusion_inverse(short: Short) -> None:
    settings = ("noise=0.001", "points=150", "width=10", "field_width=8", "steps=100", "rounds=2", "rate=0.02")
    results = short("diffusion-inverse", *settings)
    assert results["errors"]["D"] < 0.3
    assert results["errors"]["u"] < 0.03


@pytest.mark.parametrize(("rate", "holds"), [(0.5, True), (0.4, False)])
def test_diffusion_inverses_solution_satisfies_the_equation(rate: float, holds: bool) -> None:
    cells, t = beside("diffusion-inverse", "cells"), torch.tensor([0.0, 0.2999, 0.3, 0.3001], dtype=torch.float64)
    x, u = cells.solution(t)
    assert torch.allclose(u[:, 0], torch.sin(torch.pi * x) + 0.5 * torch.sin(2 * torch.pi * x), atol=1e-12)
    slope, here = (u[1:-1, 3] - u[1:-1, 1]) / 2e-4, u[:, 2]
    flow = cells.diffusivity((x[1:] + x[:-1]) / 2) * here.diff() * 1000
    assert (largest(slope - flow.diff() * 1000 + rate * here[1:-1]) < 1e-4 * largest(slope)) is holds


def test_diffusion_inverses_solution_without_a_bump_is_the_closed_form() -> None:
    """D = 0.1: each sine decays at a rate of its own."""
    cells, t = beside("diffusion-inverse", "cells"), torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    x, u = cells.solution(t, diffusivity=lambda x: torch.full_like(x, 0.1))
    decay = lambda k: torch.exp(-(0.1 * (k * torch.pi) ** 2 + 0.5) * t)
    due = torch.sin(torch.pi * x)[:, None] * decay(1) + 0.5 * torch.sin(2 * torch.pi * x)[:, None] * decay(2)
    assert largest(u - due) < 1e-5


def test_diffusion_inverses_bound_is_how_least_squares_scatter() -> None:
    """For D that is off by a line, c + d x: estimates of r, c and d from 500 noisy records."""
    cells, rng = beside("diffusion-inverse", "cells"), torch.Generator().manual_seed(0)
    places, t, noise = torch.arange(5, 200, 10), torch.arange(1, 51).double() / 50, 0.01

    def measured(r: float, c: float, d: float) -> Tensor:
        field = lambda x: cells.diffusivity(x) + c + d * x
        return cells.solution(t, 200, field, cells.RATE + r)[1][places].flatten()

    units = [[1e-4 * (i == k) for i in range(3)] for k in range(3)]
    slopes = torch.stack([(measured(*e) - measured(*(-x for x in e))) / 2e-4 for e in units], 1)
    records = noise * torch.randn(len(slopes), 500, generator=rng, dtype=torch.float64)
    r, c, d = torch.linalg.lstsq(slopes, records).solution
    rate, knots, ends = cells.bound(places, t, noise, knots=2)
    assert knots.tolist() == [0, 1]
    found = torch.stack([r.std(), c.std(), (c + d).std()])
    assert torch.allclose(found, torch.stack([rate, *ends]), rtol=0.1)
    assert cells.bound(places, t, noise, knots=11)[0] > rate  # what more isn't known of D costs


def largest(x: Tensor) -> float:
    return x.abs().max().item()
