"""Symplectic methods: orders, what they conserve, and gradients."""

import math

import pytest
import torch
from diffeq_problems import DTYPE, tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, jvp, vmap

from torchflux_diffeq import (
    PID,
    RK4,
    SDE,
    Backsolve,
    Fixed,
    Forward,
    SemiImplicitEuler,
    Tsit5,
    Verlet,
    Yoshida4,
    per_sample,
    solve,
)

METHODS = [SemiImplicitEuler(), Verlet(), Yoshida4()]
START = tensor(1.0, 0.0), tensor(0.0, 1.2)
TS = torch.linspace(0.0, 2.0, 5, dtype=DTYPE)


def kepler(t, state, mass):
    """A planet around the origin; `mass` is the sun's."""
    q, p = state
    return p, -mass * q / q.norm(dim=-1, keepdim=True) ** 3


def driven(t, state, rate):
    """A pendulum whose frame and mass change with the time."""
    q, p = state
    return p * (1 + 0.3 * torch.sin(t)), -rate * torch.sin(q) + torch.cos(2 * t)


def energy(state):
    q, p = state
    return p.square().sum(-1) / 2 - 1 / q.norm(dim=-1)


def momentum(state):
    q, p = state
    return q[..., 0] * p[..., 1] - q[..., 1] * p[..., 0]


def drift(solver, dt, ts):
    energies = energy(solve(kepler, START, ts, 1.0, solver=solver, controller=Fixed(dt), max_steps=10**5).ys)
    return (energies - energies[0]).abs()


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("problem", [kepler, driven])
def test_order_of_convergence(method, problem):
    due = solve(problem, START, TS, tensor(1.0), controller=PID(1e-12, 1e-14)).ys
    ends, inside = [], []
    for dt in (0.02, 0.01):
        q, p = solve(problem, START, TS, tensor(1.0), solver=method, controller=Fixed(dt * 1.01)).ys
        errors = (q - due[0]).norm(dim=-1) + (p - due[1]).norm(dim=-1)
        ends.append(float(errors[-1]))
        inside.append(float(errors.max()))
    assert method.order - 0.2 < math.log2(ends[0] / ends[1]) < method.order + 0.5
    assert math.log2(inside[0] / inside[1]) > method.order - 0.6


@pytest.mark.parametrize(
    ("method", "bound"), [(SemiImplicitEuler(), 0.2), (Verlet(), 4e-3), (Yoshida4(), 2e-3)], ids=repr
)
def test_energy_comes_back_again_and_again(method, bound):
    """Fifteen years: the last is no worse than the first, while the classical method of fourth order loses energy."""
    year = 2 * math.pi / (2 * (1 - 1.2**2 / 2)) ** 1.5
    ts = torch.linspace(0.0, 15 * year, 601, dtype=DTYPE)
    found = drift(method, 0.15, ts)
    assert found.max() < bound
    assert found[-40:].max() < 1.1 * found[:41].max()


def test_the_classical_method_drifts():
    """The canary."""
    ts = torch.linspace(0.0, 220.0, 601, dtype=DTYPE)
    found = drift(RK4(), 0.15, ts)
    assert found[-20:].max() > 5 * found[:41].max()


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_angular_momentum_is_kept_to_rounding(method):
    ts = torch.arange(0.0, 20.0, 0.5, dtype=DTYPE)
    state = solve(kepler, START, (0.0, 20.0), 1.0, solver=method, controller=Fixed(0.1)).ys
    assert (momentum(state) - 1.2).abs().max() < 1e-13
    classical = solve(kepler, START, ts, 1.0, solver=RK4(), controller=Fixed(0.1)).ys
    assert (momentum(classical) - 1.2).abs().max() > 1e-7


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_the_volume_of_the_phase_space_is_kept(method):
    options = {"solver": method, "controller": Fixed(0.2)}
    flow = lambda y: torch.cat(solve(driven, y.chunk(2), (0.0, 1.0), 1.0, **options).ys, -1)[-1]
    jacobian = torch.autograd.functional.jacobian(flow, tensor(0.7, 0.4))
    assert math.isclose(float(torch.linalg.det(jacobian)), 1.0, abs_tol=1e-13)


@pytest.mark.parametrize("method", [Verlet(), Yoshida4()], ids=repr)
def test_back_by_the_same_way(method):
    """Reversed momenta, and reversed time, lead to where it began."""
    options = {"solver": method, "controller": Fixed(0.1)}
    q, p = (x[-1] for x in solve(kepler, START, (0.0, 5.0), 1.0, **options).ys)
    back = solve(kepler, (q, -p), (0.0, 5.0), 1.0, **options).ys
    assert torch.allclose(back[0][-1], START[0], atol=1e-12)
    assert torch.allclose(back[1][-1], -START[1], atol=1e-12)
    again = solve(kepler, (q, p), (5.0, 0.0), 1.0, **options).ys
    assert torch.allclose(again[0][-1], START[0], atol=1e-12)
    euler = solve(kepler, START, (0.0, 5.0), 1.0, solver=SemiImplicitEuler(), controller=Fixed(0.1)).ys
    q, p = (x[-1] for x in euler)
    back = solve(kepler, (q, p), (5.0, 0.0), 1.0, solver=SemiImplicitEuler(), controller=Fixed(0.1)).ys
    assert not torch.allclose(back[0][-1], START[0], atol=1e-3)  # which is not reversible


def loss(rate, q, p, method, dt=0.4, **options):
    ys = solve(driven, (q, p), TS, rate, solver=method, controller=Fixed(dt), **options).ys
    return sum((x**2).sum() for x in ys)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_finite_differences_once_and_twice(method):
    inputs = [tensor(1.3).requires_grad_(), tensor(0.7).requires_grad_(), tensor(0.2).requires_grad_()]
    assert gradcheck(lambda *x: loss(*x, method), inputs)
    assert gradgradcheck(lambda *x: loss(*x, method), inputs)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_torch_func(method):
    f = lambda rate: loss(rate, tensor(0.7), tensor(0.2), method)
    rate = tensor(1.3).requires_grad_()
    due = torch.autograd.grad(f(rate), rate)[0]
    assert torch.allclose(grad(f)(tensor(1.3)), due, rtol=1e-11)
    assert torch.allclose(jvp(f, (tensor(1.3),), (tensor(1.0),))[1], due[0], rtol=1e-11)
    rates = tensor(1.1, 1.3)[:, None]
    assert torch.allclose(vmap(grad(f))(rates), torch.stack([grad(f)(r) for r in rates]), rtol=1e-10)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_a_batch_is_its_samples(method):
    mass = tensor(1.0, 2.0)[:, None]
    q, p = (x.expand(2, 2) for x in START)
    options = {"solver": method, "controller": Fixed(0.1)}
    whole = solve(kepler, [q, p], TS, per_sample(mass), batched=True, **options)
    for i in range(2):
        alone = solve(kepler, [q[i], p[i]], TS, mass[i], **options)
        assert all(torch.allclose(a[:, i], b, rtol=1e-12) for a, b in zip(whole.ys, alone.ys, strict=True))
        assert whole.stats.evaluations[i] == alone.stats.evaluations


def test_a_pair_of_trees():
    """Two springs side by side are two springs, as one tensor or as trees."""
    springs = lambda t, state, args: (dict(state[1]), {name: -x for name, x in state[0].items()})
    start = {"a": tensor(1.0), "b": tensor(0.5)}, {"a": tensor(0.0), "b": tensor(-1.0)}
    options = {"solver": Yoshida4(), "controller": Fixed(0.25)}
    q, p = solve(springs, start, TS, **options).ys
    alone = solve(lambda t, y, args: (y[1], -y[0]), (tensor(1.0, 0.5), tensor(0.0, -1.0)), TS, **options).ys
    assert torch.equal(torch.cat((q["a"], q["b"]), 1), alone[0])
    assert torch.equal(torch.cat((p["a"], p["b"]), 1), alone[1])


@pytest.mark.parametrize("adjoint", [Forward(), Backsolve(solver=Tsit5(), controller=PID(1e-10, 1e-12))], ids=repr)
def test_other_adjoints(adjoint):
    """Forward sensitivities are those of the same numbers; the adjoint equation's gradient is the exact solution's."""
    rate = tensor(1.3).requires_grad_()
    due = [torch.autograd.grad(loss(rate, tensor(0.7), tensor(0.2), Yoshida4(), dt), rate)[0] for dt in (0.4, 0.02)]
    dt, due = (0.4, due[0]) if isinstance(adjoint, Forward) else (0.02, due[1])
    found = torch.autograd.grad(loss(rate, tensor(0.7), tensor(0.2), Yoshida4(), dt, adjoint=adjoint), rate)[0]
    assert torch.allclose(found, due, rtol=1e-11 if isinstance(adjoint, Forward) else 1e-6)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_float32_stays_float32(method):
    q, p = solve(kepler, [x.float() for x in START], (0.0, 1.0), 1.0, solver=method, controller=Fixed(0.1)).ys
    assert q.dtype == p.dtype == torch.float32


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_what_is_refused(method):
    options = {"solver": method, "controller": Fixed(0.1)}
    pair = torch.ones(2), torch.ones(2)
    for state in (torch.ones(4), (torch.ones(2), torch.ones(3)), (*pair, *pair), {"q": pair[0]}, (pair[0], pair)):
        with pytest.raises(ValueError, match=r"takes a state \(q, p\)"):
            solve(lambda t, y, args: y, state, (0.0, 1.0), **options)
    with pytest.raises(ValueError, match="Fixed"):
        solve(kepler, START, (0.0, 1.0), 1.0, solver=method)
    with pytest.raises(TypeError, match="solves ordinary equations"):
        solve(SDE(kepler, lambda t, y, args: y), START, (0.0, 1.0), 1.0, **options)
    with pytest.raises(ValueError, match=r"states and cotangents in one tensor.*pass Backsolve\(solver=") as refused:
        loss(tensor(1.3).requires_grad_(), tensor(0.7), tensor(0.2), method, adjoint=Backsolve())
    assert "takes a state (q, p)" in str(refused.value.__cause__)


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize(
    ("part", "f"),
    [
        ("second", lambda t, y, args: (y[1], -y[0] - 1e-7 * y[1])),
        ("second", lambda t, y, args: (y[1], 1e4 - 0.1 * y[1].abs() * y[1])),
        ("second", lambda t, y, args: (1e6 * y[1], -y[0] - 1e-7 * y[1])),
        ("first", lambda t, y, args: (y[1] * (1 + y[0]), -y[0])),
        ("first", lambda t, y, args: (y[1] * (y[0] - y[0].flip(-1)), -y[0])),
    ],
)
def test_systems_that_are_not_separable_are_refused(method, part, f):
    """Friction, weak and beside large numbers, and masses that depend on the place; also of one sample alone."""
    options = {"solver": method, "controller": Fixed(0.1)}
    start = tensor(1.0, 0.0), tensor(0.0, 0.0)
    with pytest.raises(ValueError, match=f"the {part} part .* choose another"):
        solve(f, start, (0.0, 1.0), **options)
    of_one = lambda t, y, which: tuple(
        torch.where(which, a, b) for a, b in zip(f(t, y, None), (y[1], -y[0]), strict=True)
    )
    which = per_sample(torch.tensor([[False], [True]]))
    with pytest.raises(ValueError, match=f"the {part} part .* choose another"):
        solve(of_one, [x.expand(2, 2) for x in start], (0.0, 1.0), which, batched=True, **options)
    alone = vmap(lambda which: solve(of_one, start, (0.0, 1.0), which, **options).ys[0])
    with pytest.raises(ValueError, match=f"the {part} part .* choose another"):
        alone(torch.tensor([False, True]))
