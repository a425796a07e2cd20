"""The trebuchet's equations, against ones that automatic differentiation makes of its parts' positions."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.func import hessian, jacrev, jvp

from torchflux_diffeq import PID
from torchflux_lab import find

FOLDER = Path(__file__).parent.parent / "experiments"
NODES = (-(0.6**0.5), 0.0, 0.6**0.5), (5 / 18, 8 / 18, 5 / 18)  # of Gauss and Legendre: exact for a rod's inertia


@pytest.fixture
def machine() -> Iterator[ModuleType]:
    """throw.py, as its experiment imports it."""
    pytest.importorskip("matplotlib")
    with find("trebuchet", FOLDER).loaded():
        yield sys.modules["throw"]


def along(angle: Tensor) -> Tensor:
    return torch.stack([angle.sin(), -angle.cos()])


def places(machine: ModuleType, q: Tensor) -> Tensor:
    """Of the masses, seen from the pivot, (5, 2): three nodes for the rod, the counterweight, the projectile."""
    k = machine
    rod = [((k.L - k.S) / 2 + x * (k.L + k.S) / 2) * along(q[0]) for x in NODES[0]]
    return torch.stack([*rod, k.W * along(q[1]) - k.S * along(q[0]), k.L * along(q[0]) + k.R * along(q[2])])


def lagrangian(machine: ModuleType, q: Tensor, rates: Tensor, M: float) -> Tensor:
    """T - V of the masses, and of the counterweight's own moment of inertia."""
    masses = torch.tensor([*(machine.m_arm * w for w in NODES[1]), M, machine.m], dtype=q.dtype)
    at, velocity = jvp(lambda q: places(machine, q), (q,), (rates,))
    kinetic = masses @ velocity.square().sum(1) + machine.I_w * rates[1] ** 2
    return kinetic / 2 - machine.g * masses @ at[:, 1]


@pytest.fixture
def states() -> SimpleNamespace:
    rng = torch.Generator().manual_seed(0)
    q = torch.tensor([-2.0, 0.2, 1.2]) + 0.3 * torch.randn(8, 3, generator=rng)
    return SimpleNamespace(q=q.double(), rates=torch.randn(8, 3, generator=rng).double(), mass=torch.full((8,), 90.0))


def euler_lagrange(machine: ModuleType, q: Tensor, rates: Tensor, M: float) -> tuple[Tensor, Tensor]:
    """Mass matrix A and force b of A q" = b."""
    f = lambda q, rates: lagrangian(machine, q, rates, M)
    mixed = jacrev(jacrev(f, 1), 0)(q, rates)
    return hessian(f, 1)(q, rates), jacrev(f, 0)(q, rates) - mixed @ rates


def test_the_swing_is_that_of_the_lagrangian(machine: ModuleType, states: SimpleNamespace) -> None:
    aim = machine.Aim(None, states.mass.double(), None)
    slopes = machine.swing(None, torch.cat([states.q, states.rates], -1), aim)
    for q, rates, slope in zip(states.q, states.rates, slopes, strict=True):
        inertia, force = euler_lagrange(machine, q, rates, 90.0)
        torch.testing.assert_close(slope, torch.cat([rates, torch.linalg.solve(inertia, force)]))


def test_the_slide_is_that_with_a_multiplier(machine: ModuleType, states: SimpleNamespace) -> None:
    """A q" - N ∇y = b, and the height y of the projectile stays: ∇y·q" + q'·∇²y q' = 0."""
    height = lambda q: -machine.L * q[0].cos() - machine.R * q[2].cos()
    for q, rates in zip(states.q, states.rates, strict=True):
        rates[2] = -rates[0] * machine.L * q[0].sin() / (machine.R * q[2].sin())  # it does not rise
        slope, N = machine.sliding(torch.cat([q, rates])[None], torch.tensor([90.0]).double())
        inertia, force = euler_lagrange(machine, q, rates, 90.0)
        normal, curve = jacrev(height)(q), rates @ hessian(height)(q) @ rates
        left = torch.cat([torch.cat([inertia, -normal[:, None]], 1), torch.cat([normal, torch.zeros(1)])[None]])
        found = torch.linalg.solve(left, torch.cat([force, -curve[None]]))
        torch.testing.assert_close(torch.cat([slope[0, 3:], N]), found)


def test_energy_is_kept_until_the_release(machine: ModuleType) -> None:
    aim = machine.Aim(*torch.tensor([[0.7, 0.9], [90.0, 300.0], [0.0, 3.0]]).double())
    slide, swing, _ = machine.motion(aim, 5)
    kept = machine.energy(torch.cat([slide, swing]), aim.mass)  # (times, throws)
    torch.testing.assert_close(kept, kept[:1].expand_as(kept), rtol=1e-4, atol=0.0)
    assert (machine.energy(swing[-1], aim.mass + 1) / kept[-1] - 1).abs().min() > 1e-3  # another machine's is not


def test_without_air_it_flies_a_parabola(machine: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "DRAG", 0.0)
    aim = machine.Aim(*torch.tensor([[0.7], [90.0], [3.0]], dtype=torch.float64))
    _, released, landed = machine.throw(aim)
    x, y, dx, dy = machine.projectile(released.y)[0]
    assert torch.atan2(dy, dx).item() == pytest.approx(0.7, abs=1e-9)
    t = (dy + torch.sqrt(dy**2 + 2 * machine.g * y)) / machine.g
    torch.testing.assert_close((landed.t[0], landed.y[0, 0]), (t, x + dx * t))


def test_the_distance_and_finite_differences(machine: ModuleType) -> None:
    """Of angle, counterweight and wind: the angle acts through the time of the release alone."""
    at, steps = torch.tensor([0.7, 90.0, 3.0]).double(), torch.tensor([1e-4, 1e-2, 1e-3]).double()
    near = at + torch.cat([torch.diag(steps), -torch.diag(steps)])  # (6, 3)
    exact = PID(1e-9, 1e-11)
    above, below = machine.distance(machine.Aim(*near.T), exact).view(2, 3)
    point = at.clone().requires_grad_()
    (slope,) = torch.autograd.grad(machine.distance(machine.Aim(*point[:, None]), exact), point)
    torch.testing.assert_close(slope, (above - below) / (2 * steps), rtol=1e-5, atol=0.0)
