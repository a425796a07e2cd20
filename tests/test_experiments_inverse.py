"""What is found from measurements, and operators: short versions learn, and the references satisfy their equations."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from torchflux_lab import find

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
Short = Callable[..., dict[str, Any]]
FOLDER = Path(__file__).parent.parent / "experiments"


@contextmanager
def script(name: str) -> Iterator[Any]:
    """An experiment's module."""
    with find(name, FOLDER).loaded():
        yield sys.modules[name]


def test_navier_stokes_inverse(short: Short) -> None:
    settings = ("repeats=1", "noises=0.01", "measured=150", "points=150", "width=10", "steps=50", "iterations=250")
    results = short("navier-stokes-inverse", *settings, "weight=1")
    (errors,) = results["errors"].values()
    assert errors["viscosity"] < 0.3  # it begins forty times too large
    assert errors["velocity"] < 0.1
    assert errors["pressure"] < 0.2


def kovasznay_at(h: float) -> tuple[torch.Tensor, ...]:
    """Values (50, 3) of u, v, p, and by central differences their slopes along x and y, and their Laplacian."""
    x, y = torch.rand(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with script("navier-stokes-inverse") as program:
        f = program.exact
        here, east, west, north, south = f(x, y), f(x + h, y), f(x - h, y), f(x, y + h), f(x, y - h)
    return here, (east - west) / (2 * h), (north - south) / (2 * h), (east + west + north + south - 4 * here) / h**2


def test_kovasznays_flow_satisfies_the_equations_with_its_viscosity_alone() -> None:
    (u, v, _), along_x, along_y, bent = (values.T for values in kovasznay_at(1e-4))
    left = lambda nu, k: u * along_x[k] + v * along_y[k] + (along_x, along_y)[k][2] - nu * bent[k]
    assert (along_x[0] + along_y[1]).abs().max() < 1e-6
    assert max(left(1 / 40, k).abs().max() for k in (0, 1)) < 1e-6
    assert max(left(1.1 / 40, k).abs().max() for k in (0, 1)) > 1e-2  # with another viscosity it doesn't


def test_kovasznays_decay_is_the_published_one() -> None:
    """-0.96374 at Re = 40: Re/2 - √(Re²/4 + 4π²) (Kovasznay, 1948, doi:10.1017/S0305004100023999)."""
    with script("navier-stokes-inverse") as program:
        wake = 1 - program.exact(torch.tensor([0.0, 1.0]).double(), torch.zeros(2).double())[:, 0]
    assert math.log(wake[1] / wake[0]) == pytest.approx(-0.96374, abs=1e-5)


def test_the_best_that_the_formula_allows_is_what_least_squares_scatters_by() -> None:
    """The spread of ν over 2,000 drawn sets of errors, by Gauss and Newton's step from the true one."""
    with script("navier-stokes-inverse") as program:
        p = program.Parameters()
        problem, _, bound = program.make_problem(0.01, 0, p)
        at, h, nu = problem.conditions["seen"].on.points, 1e-6, program.NU
        slope = ((program.exact(*at.T, nu + h) - program.exact(*at.T, nu - h))[:, :2] / (2 * h)).flatten()
        speed = program.exact(*at.T)[:, :2].square().sum(1).mean().sqrt()
    errors = 0.01 * speed * torch.randn(2000, len(slope), generator=torch.Generator().manual_seed(1)).double()
    assert (errors @ slope / slope.square().sum() / nu).std().item() == pytest.approx(bound, rel=0.05)


def test_heat_operator(short: Short) -> None:
    settings = ("width=12", "sensors=12", "points=150", "sources=20", "steps=100", "rounds=2", "iterations=100")
    results = short("heat-operator", *settings, "rate=0.01", "tests=30", "lengths=0.2,0.05")
    smooth, rough = results["errors"].values()
    assert smooth["mean"] < 0.1
    assert rough["mean"] > 2 * smooth["mean"]  # sources that it wasn't trained for


def test_heat_sources_have_the_covariance_that_is_said() -> None:
    x = torch.linspace(0, 0.5, 11).double()
    with script("heat-operator"):
        family = sys.modules["sources"]
        f = family.source(family.draw_sources(40_000, 0.2, torch.Generator().manual_seed(0)), x)
        far = [family.draw_sources(1, length, torch.Generator().manual_seed(0)).shape for length in (0.05, 0.4)]
    assert far == [(1, 2, 41)] * 2
    covariance = f @ f.T / f.shape[1]
    due = torch.exp(-((x[:, None] - x) ** 2) / (2 * 0.2**2))
    assert (covariance - due).abs().max() < 0.03
    assert (covariance - due**2).abs().max() > 0.2  # of another length


def test_heat_solutions_satisfy_the_equation_for_their_own_source() -> None:
    x, t, h = torch.linspace(0.1, 0.9, 9).double(), torch.tensor([0.1, 0.5, 1.0]).double(), 1e-3
    with script("heat-operator"):
        family = sys.modules["sources"]
        coefficients = family.draw_sources(4, 0.2, torch.Generator().manual_seed(0))
        u = lambda dx, dt: family.exact(coefficients, x + dx, t + dt)
        u_t = (u(0, h) - u(0, -h)) / (2 * h)
        u_xx = (u(h, 0) - 2 * u(0, 0) + u(-h, 0)) / h**2
        f = family.source(coefficients, x)[:, None]
        ends = family.exact(coefficients, torch.tensor([0.0, 1.0]).double(), t)
        start = family.exact(coefficients, x, torch.zeros(1).double())
    assert (u_t - 0.01 * u_xx - f).abs().max() < 2e-3 * f.abs().max()
    assert (u_t - 0.01 * u_xx - f.flip(-1)).abs().max() > 0.5 * f.abs().max()  # not for another one
    assert ends.abs().max() < 1e-12
    assert start.abs().max() == 0
