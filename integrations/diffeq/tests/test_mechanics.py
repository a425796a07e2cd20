"""Motion from energies and Lagrangians: textbook accelerations, conservation, and learning."""

import pytest
import torch
from diffeq_problems import DTYPE, tensor
from torch.autograd.functional import hessian, jacobian

from torchflux import Chain, Dense
from torchflux_diffeq import (
    PID,
    Fixed,
    HamiltonianNN,
    LagrangianNN,
    Midpoint,
    SemiImplicitEuler,
    Separable,
    Status,
    Verlet,
    Yoshida4,
)

G = 9.81


def states(n=5, seed=0):
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=DTYPE)


def double_pendulum(x, m1=1.3, m2=0.7, l1=0.9, l2=1.1):
    """The Lagrangian of two masses on rods: angles from the vertical, then their velocities."""
    a, b, v, w = x.unbind(1)
    kinetic = (m1 + m2) * (l1 * v) ** 2 / 2 + m2 * (l2 * w) ** 2 / 2 + m2 * l1 * l2 * v * w * torch.cos(a - b)
    return kinetic + (m1 + m2) * G * l1 * torch.cos(a) + m2 * G * l2 * torch.cos(b)


def double_pendulum_acceleration(x, m1=1.3, m2=0.7, l1=0.9, l2=1.1):
    """What textbooks solve it for (E. W. Weisstein, "Double Pendulum", MathWorld), with both velocities in front."""
    a, b, v, w = x.unbind(1)
    d = a - b
    below = 2 * m1 + m2 - m2 * torch.cos(2 * d)
    first = -G * (2 * m1 + m2) * a.sin() - m2 * G * (a - 2 * b).sin()
    first = first - 2 * d.sin() * m2 * (w**2 * l2 + v**2 * l1 * d.cos())
    second = v**2 * l1 * (m1 + m2) + G * (m1 + m2) * a.cos() + w**2 * l2 * m2 * d.cos()
    return torch.stack((v, w, first / (l1 * below), 2 * d.sin() * second / (l2 * below)), 1)


def test_the_double_pendulum():
    found = LagrangianNN(double_pendulum).time_derivative(states())
    assert torch.allclose(found, double_pendulum_acceleration(states()), rtol=1e-12, atol=1e-12)
    wrong = lambda x: double_pendulum_acceleration(x, m2=0.71)
    assert not torch.allclose(found, wrong(states()), rtol=1e-3)


def test_a_lagrangian_that_changes_with_the_time():
    """L = e^t (v² - q²) / 2 is a damped oscillator, a = -q - v: the mass grows, and takes the speed with it."""
    model = lambda t, x: torch.exp(t) * (x[:, 1] ** 2 - x[:, 0] ** 2) / 2
    layer = LagrangianNN(model, (0.0, 2.0), time=True, controller=PID(1e-10, 1e-12))
    x = tensor(1.0, 0.3, 0.5, -2.0).reshape(2, 2)
    assert torch.allclose(layer.time_derivative(x, 0.7), torch.stack((x[:, 1], -x.sum(1)), 1), rtol=1e-12)
    due = x @ torch.linalg.matrix_exp(2 * tensor(0.0, -1.0, 1.0, -1.0).reshape(2, 2))
    assert torch.allclose(layer(x), due, rtol=1e-8)


def test_the_energy_is_conserved():
    torch.manual_seed(0)
    energy = Chain(Dense(4, 16, torch.tanh), Dense(16, 1)).double()
    layer = HamiltonianNN(energy, torch.linspace(0.0, 20.0, 9), controller=PID(1e-9, 1e-11))
    with torch.no_grad():
        path = layer.trajectory(states())
        values = energy(path)[..., 0]
        assert (path[-1] - path[0]).norm(dim=-1).min() > 0.1
        assert (values - values[0]).abs().max() < 1e-7


ENERGY = Separable(lambda p: p.square().sum(1, keepdim=True) / 2, lambda q: (1 - torch.cos(q)).sum(1))


def drift(solver):
    """Errors of a pendulum's energy in fifteen swings."""
    x, ts = tensor(1.0, 0.0).reshape(1, 2), torch.linspace(0.0, 100.0, 51)
    path = HamiltonianNN(ENERGY, ts, solver=solver, controller=Fixed(0.2)).trajectory(x)
    return (ENERGY(path[:, 0]) - ENERGY(x)).abs()


@pytest.mark.parametrize(("solver", "bound"), [(SemiImplicitEuler(), 0.1), (Verlet(), 5e-3), (Yoshida4(), 1e-4)])
def test_a_separable_energy_takes_a_symplectic_solver(solver, bound):
    assert drift(solver).max() < bound
    with pytest.raises(ValueError, match=r"takes a state \(q, p\)"):
        HamiltonianNN(lambda x: ENERGY(x), solver=solver, controller=Fixed(0.2))(states())


def test_another_solver_gains_energy():
    """The canary."""
    assert drift(Midpoint())[-1] > 0.05


def test_a_separable_energy_is_learnt_through_a_symplectic_solver():
    torch.manual_seed(0)
    net = lambda: Chain(Dense(2, 8, torch.tanh), Dense(8, 1)).double()
    layer = HamiltonianNN(Separable(net(), net()), (0.0, 1.0), solver=Verlet(), controller=Fixed(0.25))
    parameters = list(layer.parameters())
    layer(states()).square().sum().backward()
    for x in parameters[::2]:
        v = torch.randn_like(x)
        due = []
        for sign in (1, -1):
            with torch.no_grad():
                x.add_(sign * 1e-6 * v)
                due.append(layer(states()).square().sum())
                x.sub_(sign * 1e-6 * v)
        assert torch.isclose((x.grad * v).sum(), (due[0] - due[1]) / 2e-6, rtol=1e-6)


def test_hamiltons_equations():
    energy = lambda x: torch.sin(x[:, 0] * x[:, 3]) + (x[:, 1] * x[:, 2]) ** 2
    found = HamiltonianNN(energy).time_derivative(states())
    for x, slope in zip(states(), found, strict=True):
        g = jacobian(lambda x: energy(x[None])[0], x)
        assert torch.allclose(slope, torch.cat((g[2:], -g[:2])), rtol=1e-12)


def test_the_euler_lagrange_equation_of_a_network():
    torch.manual_seed(0)
    net = Chain(Dense(4, 16, torch.nn.functional.softplus), Dense(16, 1)).double()
    layer = LagrangianNN(Chain(lambda x: net(x) + (x[:, 2:] ** 2).sum(1, keepdim=True)))
    for x, slope in zip(states(), layer.time_derivative(states()), strict=True):
        value = lambda x: layer.model(x[None])[0, 0]
        g, h = jacobian(value, x), hessian(value, x)
        force = h[2:, 2:] @ slope[2:] + h[2:, :2] @ x[2:] - g[:2]
        assert torch.allclose(force, torch.zeros_like(force), atol=1e-12)


def test_both_views_of_a_pendulum_agree():
    ts = torch.linspace(0.0, 3.0, 7)
    tight = {"controller": PID(1e-9, 1e-11)}
    energy = Separable(lambda p: (p * p).sum(1) / 2, lambda q: -torch.cos(q).sum(1))
    of_energy = HamiltonianNN(energy, ts, **tight).trajectory(states())
    action = lambda x: (x[:, 2:] ** 2).sum(1) / 2 + torch.cos(x[:, :2]).sum(1)
    of_lagrangian = LagrangianNN(action, ts, **tight).trajectory(states())
    assert torch.allclose(of_energy, of_lagrangian, rtol=1e-7, atol=1e-8)


def test_a_singular_mass_fails_by_itself():
    action = lambda x: x[:, 1] ** 2 * torch.relu(x[:, 0]) + x[:, 0]
    x = tensor(1.0, 0.5, -1.0, 0.5).reshape(2, 2)
    solution = LagrangianNN(action, (1.0, 1.1)).solve(x, throw=False)
    assert solution.status.tolist() == [Status.SUCCESS, Status.UNDEFINED]


def test_an_energy_is_learnt_from_derivatives():
    """The pendulum of Greydanus et al. (2019), section 3: slopes of states, no energies."""
    torch.manual_seed(0)
    x = 2 * torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) - 1
    due = torch.stack((x[:, 1], -torch.sin(x[:, 0])), 1)
    layer = HamiltonianNN(Chain(Dense(2, 32, torch.tanh), Dense(32, 1)), (0.0, 6.0))
    opt = torch.optim.Adam(layer.parameters(), 0.02)
    for _ in range(300):
        loss = (layer.time_derivative(x) - due).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    assert loss < 1e-3
    true = HamiltonianNN(lambda x: x[:, 1] ** 2 / 2 - torch.cos(x[:, 0]), (0.0, 6.0))
    with torch.no_grad():
        assert (layer(x[:5] / 2) - true(x[:5] / 2)).abs().max() < 0.15


@pytest.mark.parametrize("layer", [HamiltonianNN, LagrangianNN])
def test_states_of_odd_size(layer):
    with pytest.raises(ValueError, match="positions first"):
        layer(lambda x: x.sum(1))(torch.zeros(2, 3))
