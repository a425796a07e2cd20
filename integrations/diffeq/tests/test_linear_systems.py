"""The methods that solve linear systems: order, stiff accuracy, dense output, and gradients through the Jacobian."""

import itertools
import math

import numpy as np
import pytest
import torch
from diffeq_problems import DTYPE, RATES, lotka_volterra, tensor, turned, turning, van_der_pol
from rooted_trees import defect
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jvp, vmap

from torchflux_diffeq import (
    PID,
    Discrete,
    Fixed,
    ImplicitEuler,
    Rodas5P,
    Rosenbrock23,
    SolveError,
    Status,
    per_sample,
    solve,
)
from torchflux_diffeq import _jacobian as jacobians
from torchflux_diffeq import _newton as newton
from torchflux_diffeq import _replay as replays
from torchflux_diffeq import _rosenbrock as rosenbrock

METHODS = [ImplicitEuler(), Rosenbrock23(), Rodas5P()]
TS = torch.linspace(0.0, 1.0, 4, dtype=DTYPE)
P = tensor(*RATES)
Y = tensor(1.0, 0.8)


def forced(t, y, p):
    """Predators and prey, and the season: nothing of the Jacobians or the time's derivative is constant."""
    return lotka_volterra(t, y, p) * (1 + 0.3 * torch.sin(2 * t)) + 0.1 * torch.cos(t)


def prothero_robinson(t, y, rate):
    """The solution is cos(t), whatever the rate. Prothero & Robinson (1974)."""
    return -rate * (y - torch.cos(t)) - torch.sin(t)


def loss(p, y0, ts=TS, **options):
    return (solve(forced, y0, ts, p, **options).ys[1:] ** 2).sum()


def needing(*xs):
    return [x.clone().requires_grad_() for x in xs]


def orders(errors):
    return [math.log2(a / b) for a, b in itertools.pairwise(errors)]


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_order_of_convergence(method):
    ts = torch.linspace(0.0, 1.0, 14, dtype=DTYPE)
    ends, inside = [], []
    for steps in (20, 40, 80):
        ys = solve(turning, tensor(1.0, 0.0), ts, solver=method, controller=Fixed(1.0 / steps)).ys
        ends.append(float((ys[-1] - turned(ts[-1])).norm()))
        inside.append(float((ys - turned(ts)).norm(dim=-1).max()))
    assert method.order - 0.2 < orders(ends)[-1] < method.order + 1.0
    assert orders(inside)[-1] > min(method.order, 4) - 0.3


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_order_with_a_nonlinear_slope_that_depends_on_the_time(method):
    due = solve(forced, Y, (0.0, 1.0), P, controller=PID(1e-12, 1e-14)).ys[-1]
    errors = []
    for steps in (8, 16, 32):
        y = solve(forced, Y, (0.0, 1.0), P, solver=method, controller=Fixed(1.0 / steps)).ys[-1]
        errors.append(float((y - due).norm()))
    assert method.order - 0.3 < orders(errors)[-1] < method.order + 1.0


def test_a_wrong_jacobian_is_found_by_the_order(monkeypatch):
    """The canary: 1 in 100 off, and the order is lost. (Rosenbrock23's isn't: it keeps it with any Jacobian.)"""
    right = rosenbrock.linearized
    monkeypatch.setattr(rosenbrock, "linearized", lambda *args: tuple(1.01 * x for x in right(*args)))
    due = solve(forced, Y, (0.0, 1.0), P, controller=PID(1e-12, 1e-14)).ys[-1]
    errors = []
    for steps in (16, 32):
        y = solve(forced, Y, (0.0, 1.0), P, solver=Rodas5P(), controller=Fixed(1.0 / steps)).ys[-1]
        errors.append(float((y - due).norm()))
    assert orders(errors)[0] < 4.0


@pytest.mark.parametrize(
    ("method", "bound"), [(ImplicitEuler(), 3e-2), (Rosenbrock23(), 1e-3), (Rodas5P(), 1e-7)], ids=repr
)
@pytest.mark.parametrize("rate", [1e1, 1e3, 1e6])
def test_prothero_and_robinsons_problem(method, bound, rate):
    """Steps that are long beside the time scale 1 / rate: no growth, and an error that doesn't know of the rate."""
    for steps in (20, 40):
        y = solve(prothero_robinson, tensor(1.0), (0.0, 2.0), rate, solver=method, controller=Fixed(2.0 / steps)).ys[-1]
        assert abs(float(y) - math.cos(2.0)) < bound * (20 / steps) ** min(method.order, 3)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_what_is_stiff_dies_out(method):
    """L-stability: a component a million times faster than the step is gone after a few."""
    y = solve(lambda t, y, args: -1e7 * y, tensor(1.0), (0.0, 1.0), solver=method, controller=Fixed(0.1)).ys[-1]
    assert abs(float(y)) < 1e-8


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("backward", [False, True])
def test_the_error_is_within_the_tolerance(method, backward):
    ts, start = torch.linspace(0.0, 2.0, 9, dtype=DTYPE), tensor(1.0, 0.0)
    if backward:
        ts, start = ts.flip(0), turned(ts[-1])
    tolerance = 1e-3 if method.order == 1 else 1e-6
    solution = solve(turning, start, ts, solver=method, controller=PID(tolerance, tolerance), max_steps=20_000)
    assert (solution.ys - turned(ts)).norm(dim=-1).max() < 500 * tolerance


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_finite_differences_once_and_twice(method):
    f = lambda p, y0: loss(p, y0, solver=method, controller=Fixed(0.5))
    assert gradcheck(f, needing(P, Y))
    assert gradgradcheck(f, needing(P, Y), atol=1e-4)


def test_small_and_large_matrices_have_the_same_derivatives(monkeypatch):
    """A large one is factored once for all right sides, a small one for each."""
    J = needing(torch.randn(2, 3, 3, dtype=DTYPE, generator=torch.Generator().manual_seed(0)))[0]
    dt, b = needing(tensor(0.3, 0.7), torch.ones(2, 3, dtype=DTYPE))
    inputs, results = (J, dt, b), []

    def solved(J, dt, b):
        solve = jacobians.factored(J, dt)
        return solve(b + solve(b))

    for small in (64, 2):
        monkeypatch.setattr(jacobians, "SMALL", small)
        x = solved(*inputs)
        first = torch.autograd.grad(x.square().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        raw = tuple(x.detach() for x in inputs)
        results.append((x, *first, *second, *jvp(solved, raw, raw), vmap(lambda s: solved(s * J, dt, b))(dt)))
    due = torch.eye(3, dtype=DTYPE) / dt[:, None, None] - J
    assert torch.allclose(results[0][0], torch.linalg.solve(due, b + torch.linalg.solve(due, b)), rtol=1e-12)
    assert all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_third_derivatives(method):
    f = lambda p: loss(p, Y, solver=method, controller=Fixed(0.5))
    second = lambda p: torch.autograd.functional.hessian(f, p, create_graph=True)
    v = tensor(0.3, -0.2, 0.5, 0.1)
    p = needing(P)[0]
    found = torch.autograd.grad(v @ second(p) @ v, p)[0] @ v
    difference = (v @ (second(P + 1e-4 * v) - second(P - 1e-4 * v)) @ v) / 2e-4
    assert torch.allclose(found, difference, rtol=1e-5)


def test_too_few_iterations_with_a_tape_are_noticed(monkeypatch):
    """The canary for the implicit function theorem: with one iteration, second derivatives are wrong."""
    f = lambda p: loss(p, Y, solver=ImplicitEuler(), controller=Fixed(0.5))
    due = torch.autograd.functional.hessian(f, P)
    monkeypatch.setattr(newton, "DERIVATIVES", 2)
    assert torch.allclose(torch.autograd.functional.hessian(f, P), due)
    monkeypatch.setattr(newton, "DERIVATIVES", 1)
    assert not torch.allclose(torch.autograd.functional.hessian(f, P), due, rtol=1e-2)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_the_gradient_of_adaptive_steps_is_the_solutions(method):
    tolerance, close = {1: (1e-4, 5e-2), 2: (1e-6, 1e-3), 5: (1e-9, 1e-6)}[method.order]
    p, y0 = needing(P, Y)
    options = {"solver": method, "controller": PID(tolerance, tolerance), "max_steps": 20_000}
    found = torch.autograd.grad(loss(p, y0, **options), (p, y0))
    due = torch.autograd.grad(loss(p, y0, controller=PID(1e-12, 1e-12)), (p, y0))
    assert all((a - b).norm() < close * b.norm() for a, b in zip(found, due, strict=True))


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_checkpoints_give_the_same_gradient(method, monkeypatch):
    monkeypatch.setattr(replays, "STRETCH", 4)
    p, y0 = needing(P, Y)
    gradients = [
        torch.autograd.grad(loss(p, y0, solver=method, controller=Fixed(0.07), adjoint=Discrete(memory)), (p, y0))
        for memory in ("tape", "checkpoints")
    ]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


class Backward(torch.autograd.Function):
    """A sine that has no derivative forward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sin(x)

    @staticmethod
    def backward(ctx, g):
        return g * torch.cos(ctx.saved_tensors[0])


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_an_operation_without_a_derivative_forward(method):
    p = needing(tensor(0.7))[0]
    ends = [
        solve(lambda t, y, p, sine=sine: -sine(p * y), Y, (0.0, 1.0), p, solver=method, controller=Fixed(0.2)).ys[-1]
        for sine in (torch.sin, Backward.apply)
    ]
    assert torch.allclose(*ends, rtol=1e-12)
    assert torch.allclose(*(torch.autograd.grad(y.sum(), p)[0] for y in ends), rtol=1e-12)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_times_and_what_f_closes_over(method):
    """One step, so that no end of a step is a constant."""
    ts, weight = needing(TS, tensor(0.7))
    f = lambda ts, w: solve(lambda t, y, args: -w * y * t, Y, ts, solver=method, controller=Fixed(9.0)).ys
    assert gradcheck(f, (ts, weight))


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_torch_func(method):
    f = lambda p: loss(p, Y, solver=method, controller=Fixed(0.5))
    p = needing(P)[0]
    due = torch.autograd.grad(f(p), p)[0]
    v = tensor(0.3, -0.2, 0.5, 0.1)
    assert torch.allclose(grad(f)(P), due, rtol=1e-9)
    assert torch.allclose(jacfwd(f)(P), due, rtol=1e-9)
    assert torch.allclose(jvp(f, (P,), (v,))[1], due @ v, rtol=1e-9)
    with torch.no_grad():
        assert torch.allclose(jvp(f, (P,), (v,))[1], due @ v, rtol=1e-9)
    with torch.autograd.forward_ad.dual_level():
        tangent = torch.autograd.forward_ad.unpack_dual(f(torch.autograd.forward_ad.make_dual(P, v))).tangent
    assert torch.allclose(tangent, due @ v, rtol=1e-9)
    assert torch.allclose(hessian(f)(P), torch.autograd.functional.hessian(f, P), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_vmap(method):
    ps = P * torch.linspace(0.8, 1.2, 3, dtype=DTYPE)[:, None]
    f = lambda p: solve(forced, Y, TS, p, solver=method, controller=Fixed(0.25)).ys
    assert torch.allclose(vmap(f)(ps), torch.stack([f(p) for p in ps]), rtol=1e-9)
    slope = grad(lambda p: f(p).sum())
    assert torch.allclose(vmap(slope)(ps), torch.stack([slope(p) for p in ps]), rtol=1e-8)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_a_batch_is_its_samples(method):
    ys, mu = tensor(2.0, 0.0).expand(3, 2), tensor(1.0, 30.0, 5.0)
    y0, rates = needing(ys, mu)
    options = {"solver": method, "controller": PID(1e-4, 1e-4), "max_steps": 20_000}
    ts = (0.0, 1.0, 3.0)
    whole = solve(van_der_pol, y0, ts, per_sample(rates), batched=True, **options)
    found = torch.autograd.grad((whole.ys[1:] ** 2).sum(), (y0, rates))
    for i in range(3):
        y, rate = needing(ys[i], mu[i])
        alone = solve(van_der_pol, y, ts, rate, **options)
        assert torch.allclose(whole.ys[:, i], alone.ys, rtol=1e-8)
        assert (whole.stats.steps[i], whole.stats.rejected[i]) == (alone.stats.steps, alone.stats.rejected)
        due = torch.autograd.grad((alone.ys[1:] ** 2).sum(), (y, rate))
        assert torch.allclose(found[0][i], due[0], rtol=1e-6)
        assert torch.allclose(found[1][i], due[1], rtol=1e-6)
    assert len(set(whole.stats.steps.tolist())) == 3


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_what_it_costs_is_counted(method):
    rows = []

    def f(t, y, mu):
        rows.append(len(y))
        return van_der_pol(t, y, mu)

    mu = tensor(1.0, 20.0)
    y0 = tensor(2.0, 0.0).expand(2, 2)
    stats = solve(f, y0, (0.0, 0.5, 1.0), per_sample(mu), solver=method, controller=PID(1e-3, 1e-3), batched=True).stats
    assert stats.evaluations.sum() == sum(rows)
    if method.order > 1:
        assert torch.equal(stats.jacobians, stats.steps)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_states_of_many_numbers_and_of_one(method):
    n = 30
    A = -torch.diag(torch.logspace(0, 4, n, dtype=DTYPE))
    ones, options = torch.ones(n, dtype=DTYPE), {"solver": method, "controller": Fixed(0.02)}
    found = solve(lambda t, y, args: y @ A, ones, (0.0, 1.0), **options).ys
    assert torch.allclose(found[-1], A.diagonal().exp(), atol=1e-2)
    decay = lambda t, y, args: -y
    alone = solve(decay, tensor(1.0), (0.0, 1.0), **options).ys[-1]
    number = solve(decay, tensor(1.0)[0], (0.0, 1.0), **options).ys[-1]
    assert torch.allclose(alone[0], number)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_float32_stays_float32(method):
    p = P.float().requires_grad_()
    ys = solve(forced, Y.float(), TS, p, solver=method).ys
    assert ys.dtype == torch.float32
    assert torch.autograd.grad(ys.sum(), p)[0].dtype == torch.float32


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_a_slope_without_the_state(method):
    ys = solve(lambda t, y, args: torch.cos(t) + 0 * y.detach(), tensor(0.0), (0.0, 1.0), solver=method).ys
    assert torch.allclose(ys[-1], torch.sin(tensor(1.0)), atol=1e-3)
    ys = solve(lambda t, y, args: torch.ones(1, dtype=DTYPE), tensor(0.0), (0.0, 1.0), solver=method).ys
    assert torch.allclose(ys[-1], tensor(1.0))


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_what_is_refused(method):
    with pytest.raises(TypeError, match="can't be differentiated"):
        solve(lambda t, y, args: -y.detach(), tensor(1.0), (0.0, 1.0), solver=method)
    with pytest.raises(TypeError, match="view_as_real"):
        solve(lambda t, y, args: 1j * y, torch.ones(1, dtype=torch.complex128), (0.0, 1.0), solver=method)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_a_singular_matrix_is_a_rejected_step(method):
    """`f' = 1 / h`, or beyond where `f` is defined, at the first step, of the second sample."""
    γ = {1: 1.0, 2: Rosenbrock23.d, 5: Rodas5P.tableau.γ}[method.order]
    rate = tensor(-1.0, 1 / (0.5 * γ))[:, None]
    y0 = torch.ones(2, 1, dtype=DTYPE)
    options = {"solver": method, "dt0": 0.5, "controller": PID(1e-4, 1e-6), "batched": True, "max_steps": 20_000}
    solution = solve(lambda t, y, r: r * y, y0, (0.0, 0.5), per_sample(rate), **options)
    assert solution.stats.rejected[1] > 0
    assert torch.allclose(solution.ys[-1], (0.5 * rate).exp(), rtol=1e-1)
    root = solve(lambda t, y, args: -torch.sqrt(y), y0, (0.0, 1.9), **{**options, "dt0": 1.9})
    assert torch.allclose(root.ys[-1], torch.full_like(y0, 0.05**2), atol=1e-2)


def test_newtons_failure_with_fixed_steps_is_a_status():
    f = lambda t, y, args: y * y + 1  # y = 10 (y^2 + 1) has no solution
    with pytest.raises(SolveError, match="implicit"):
        solve(f, tensor(0.0), (0.0, 10.0), solver=ImplicitEuler(), controller=Fixed(10.0))
    solution = solve(f, tensor(0.0), (0.0, 10.0), solver=ImplicitEuler(), controller=Fixed(10.0), throw=False)
    assert solution.status is Status.NOT_FINITE


def test_order_conditions():
    """In the usual variables, `Γ = (I / γ - C)⁻¹`, `α = a Γ`, and `b = m Γ` with `m` the last stage and its `u`."""
    table = Rodas5P.tableau
    Γ = np.linalg.inv(np.eye(8) / table.γ - table.C)
    α = table.a @ Γ
    b, embedded = (table.a[-1] + np.eye(8)[-1]) @ Γ, table.a[-1] @ Γ
    assert np.allclose(α.sum(1), table.c, atol=1e-12)
    assert np.allclose(Γ.sum(1), table.d, atol=1e-12)
    assert max(defect(order, b, α, α + Γ) for order in range(1, 6)) < 1e-11
    assert max(defect(order, embedded, α, α + Γ) for order in range(1, 5)) < 1e-11
    assert min(defect(6, b, α, α + Γ), defect(5, embedded, α, α + Γ)) > 1e-5
