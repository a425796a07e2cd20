"""SciPy's and torchdiffeq's solvers: their numbers, and gradients against tight discrete ones."""

import sys

import numpy as np
import pytest
import scipy.integrate
import torch
from diffeq_problems import DTYPE, RATES, lotka_volterra, tensor, van_der_pol
from torch.autograd import gradcheck, gradgradcheck
from torchdiffeq import odeint

from torchflux_diffeq import (
    PID,
    Backsolve,
    Bosh3,
    Discrete,
    Dopri5,
    Dopri8,
    Fixed,
    SciPy,
    SolveError,
    Status,
    TorchDiffEq,
    Tsit5,
    per_sample,
    solve,
)

SCIPY = ["RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA"]
CONTINUOUS = SCIPY[2:]
TS = torch.linspace(0.0, 1.5, 4, dtype=DTYPE)
Y = tensor(1.0, 0.8)
P = tensor(*RATES)
WEIGHTS = tensor(1.0, -2.0)


def loss(solver, y0, p, ts=TS, controller=None, batched=False, f=lotka_volterra, **options):
    controller = controller or PID(1e-7, 1e-9)
    ys = solve(f, y0, ts, p, solver=solver, controller=controller, batched=batched, **options).ys
    return (ys[1:].square() * WEIGHTS).sum()


def needing(*xs):
    return [x.clone().requires_grad_() for x in xs]


@pytest.mark.parametrize("method", SCIPY)
def test_scipys_numbers(method):
    f = lambda t, y: lotka_volterra(t, torch.as_tensor(y), RATES).numpy()
    due = scipy.integrate.solve_ivp(f, (0.0, 1.5), Y.numpy(), method, TS.numpy(), rtol=1e-6, atol=1e-9)
    found = solve(lotka_volterra, Y, TS, RATES, solver=SciPy(method))
    jacobian_is_exact = method not in ("RK23", "RK45", "DOP853")
    assert np.allclose(found.ys, due.y.T, rtol=1e-5 if jacobian_is_exact else 1e-12)
    if method in ("RK23", "RK45"):
        assert found.stats.evaluations == due.nfev


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("method", SCIPY)
def test_scipys_gradients(method, backward):
    wrt = needing(Y, P, TS.flip(0) if backward else TS)
    due = torch.autograd.grad(loss(Tsit5(), *wrt, controller=PID(1e-10, 1e-12)), wrt)
    found = torch.autograd.grad(loss(SciPy(method), *wrt), wrt)
    for a, b in zip(found, due, strict=True):
        assert torch.allclose(a, b, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["dopri8", "dopri5", "bosh3"])
def test_torchdiffeqs_gradients(method):
    wrt = needing(Y, P, TS)
    ys = odeint(lambda t, y: lotka_volterra(t, y, wrt[1]), wrt[0], wrt[2], rtol=1e-7, atol=1e-9, method=method)
    due = torch.autograd.grad((ys[1:].square() * WEIGHTS).sum(), wrt)
    found = torch.autograd.grad(loss(TorchDiffEq(method), *wrt), wrt)
    for a, b in zip(found, due, strict=True):
        assert torch.allclose(a, b, rtol=1e-10)


def test_a_wrong_slope_is_noticed():
    """The canary: without a hundredth of the rates' gradient, the tolerance above is not met."""
    wrong = lambda t, y, p: lotka_volterra(t, y, 0.99 * p + 0.01 * p.detach())
    y0, p = needing(Y, P)
    due = torch.autograd.grad(loss(Tsit5(), y0, p), p)[0]
    found = torch.autograd.grad(loss(SciPy("Radau"), y0, p, f=wrong), p)[0]
    assert not torch.allclose(found, due, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["RK23", "RK45"])
def test_the_discrete_ones_are_differentiable_twice_to_rounding(method):
    """At tolerances so coarse that the continuous adjoint is far off."""
    f = lambda y0, p: loss(SciPy(method), y0, p, TS[:2], PID(1e-1, 1e-1), dt0=0.5)
    assert gradcheck(f, needing(Y, P))
    assert gradgradcheck(f, needing(Y, P), atol=1e-4)


@pytest.mark.parametrize("solver", [SciPy("Radau"), SciPy("RK45"), TorchDiffEq("dopri5")], ids=repr)
def test_a_batch_is_its_samples(solver):
    y0, mu = needing(torch.stack([Y, 1.5 * Y]), tensor(1.0, 3.0))
    whole = loss(solver, y0, per_sample(mu), batched=True, f=van_der_pol)
    found = torch.autograd.grad(whole, (y0, mu))
    alone = [loss(solver, y0[i], mu[i], f=van_der_pol) for i in range(2)]
    due = torch.autograd.grad(sum(alone), (y0, mu))
    assert torch.allclose(whole, sum(alone))
    assert all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(found, due, strict=True))


@pytest.mark.parametrize("solver", [SciPy("BDF"), SciPy("DOP853"), TorchDiffEq("dopri5")], ids=repr)
def test_trees_closures_and_hidden_parameters(solver):
    torch.manual_seed(0)
    net = torch.nn.Linear(2, 2, dtype=DTYPE)
    y0 = {"x": needing(Y)[0], "n": torch.zeros((), dtype=DTYPE)}
    f = lambda t, y, args: {"x": torch.tanh(net(y["x"])), "n": y["x"].sum()}
    found = []
    for each in (solver, Tsit5()):
        ys = solve(f, y0, TS, solver=each, controller=PID(1e-8, 1e-10)).ys
        found.append(torch.autograd.grad(ys["n"].square().sum(), [y0["x"], *net.parameters()]))
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("method", ["Radau", "BDF", "LSODA"])
def test_stiff_gradients(method):
    """The Prothero-Robinson problem: its solution is cos t, whatever the rate, behind a layer of 1/rate."""
    rate, y0 = needing(tensor(1e4)[0], tensor(1.0))
    phase = needing(tensor(0.3)[0])[0]
    f = lambda t, y, args: -rate * (y - torch.cos(t + phase)) - torch.sin(t + phase)
    solution = solve(f, y0, (0.0, 1.0, 2.0), solver=SciPy(method), controller=PID(1e-7, 1e-9))
    assert torch.allclose(solution.ys[1:, 0], torch.cos(tensor(1.0, 2.0) + phase), atol=1e-5)
    of_phase, of_y0 = torch.autograd.grad(solution.ys[-1].sum(), (phase, y0))
    assert torch.allclose(of_phase, -torch.sin(2.0 + phase), atol=1e-4)
    assert of_y0.abs() < 1e-6
    assert solution.stats.evaluations < 2000


@pytest.mark.parametrize("method", CONTINUOUS)
def test_second_derivatives_of_the_continuous_ones_are_refused(method):
    y0, p = needing(Y, P)
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        torch.autograd.grad(loss(SciPy(method), y0, p), p, create_graph=True)


def test_torchdiffeqs_numbers():
    f = lambda t, y: lotka_volterra(t, y, RATES)
    for method, controller, given in (
        ("dopri8", PID(1e-7, 1e-9), {"rtol": 1e-7, "atol": 1e-9}),
        ("rk4", Fixed(0.05), {"options": {"step_size": 0.05}}),
        ("implicit_adams", Fixed(0.05), {"options": {"step_size": 0.05}}),
    ):
        ys = solve(lotka_volterra, Y, TS, RATES, solver=TorchDiffEq(method), controller=controller).ys
        assert torch.equal(ys, odeint(f, Y, TS, method=method, **given))
    y0, p = needing(Y, P)
    f = lambda y0, p: loss(TorchDiffEq("rk4"), y0, p, TS[:2], Fixed(0.25))
    assert gradcheck(f, (y0, p))
    assert gradgradcheck(f, (y0, p), atol=1e-4)


@pytest.mark.parametrize("solver", [*map(SciPy, SCIPY), TorchDiffEq("dopri5")], ids=repr)
def test_failures_have_a_status(solver):
    blow_up = lambda t, y, args: y * y  # y = 1 / (1 / y0 - t)
    y0 = tensor(-1.0, 1.0)[:, None].requires_grad_()
    options = {"solver": solver, "batched": True, "max_steps": 1000}
    with pytest.raises(SolveError, match=r"samples 1: stopped at t = "):
        solve(blow_up, y0, (0.0, 0.5, 3.0), **options)
    solution = solve(blow_up, y0, (0.0, 0.5, 3.0), throw=False, **options)
    assert solution.status[0] == Status.SUCCESS
    assert solution.status[1] in (Status.STALLED, Status.NOT_FINITE, Status.MAX_STEPS)
    assert abs(solution.t[1] - 1.0) < 0.2
    assert solution.ys[-1, 1].isnan().all()
    g = torch.autograd.grad(solution.ys[-1, 0].sum(), y0)[0]
    assert torch.allclose(g[0], tensor(1 / 16.0), rtol=1e-2)
    short = solve(lotka_volterra, Y, (0.0, 10.0), RATES, solver=solver, max_steps=3, throw=False)
    assert short.status == Status.MAX_STEPS
    assert "max_steps" in short.message


@pytest.mark.parametrize("solver", [SciPy("RK45"), SciPy("LSODA"), TorchDiffEq("dopri5")], ids=repr)
def test_float32_stays_float32_and_no_tape_where_none_is_asked_for(solver):
    p = needing(P.float())[0]
    ys = solve(lotka_volterra, Y.float(), TS, p, solver=solver).ys
    assert ys.dtype == torch.autograd.grad(ys.sum(), p)[0].dtype == torch.float32
    assert not solve(lotka_volterra, Y.float(), TS, P.float(), solver=solver).ys.requires_grad
    with torch.no_grad():
        assert not solve(lotka_volterra, Y.float(), TS, p, solver=solver).ys.requires_grad


@pytest.mark.parametrize(
    ("name", "due"),
    [
        ("tsit5", Tsit5()),
        ("dopri5", Dopri5()),
        ("RK45", Dopri5()),
        ("RK23", Bosh3()),
        ("dopri8", Dopri8()),
        ("DOP853", Dopri8()),
        ("Radau", SciPy("Radau")),
        ("lsoda", SciPy("LSODA")),
        ("implicit_adams", TorchDiffEq("implicit_adams")),
    ],
)
def test_names(name, due):
    controller = PID() if due.estimates else Fixed(0.02)
    ys = solve(lotka_volterra, Y, TS, RATES, solver=name, controller=controller).ys
    assert torch.equal(ys, solve(lotka_volterra, Y, TS, RATES, solver=due, controller=controller).ys)


def test_refusals(monkeypatch):
    run = lambda solver, **options: solve(lotka_volterra, Y, TS, RATES, **{"solver": solver, **options})
    with pytest.raises(ValueError, match=r"solver='rk5': it is one of .*bdf.*dopri5.*implicit_adams.*tsit5"):
        run("rk5")
    for part in ("_inner", "explicitrungekutta"):
        with pytest.raises(ValueError, match=f"solver='{part}'"):
            run(part)
    with pytest.raises(ValueError, match="one of RK23"):
        SciPy("RK44")
    with pytest.raises(ValueError, match="one of dopri8"):
        TorchDiffEq("RK44")
    with pytest.raises(TypeError, match="gradient of its own"):
        run(SciPy("BDF"), adjoint=Discrete())
    ys = solve(lotka_volterra, needing(Y)[0], TS, RATES, adjoint=Backsolve(solver=SciPy("BDF"))).ys
    with pytest.raises(TypeError, match="makes its steps by itself"):
        ys.sum().backward()
    with pytest.raises(ValueError, match=r"takes PID\(rtol, atol, dtmax=\)"):
        run(SciPy("BDF"), controller=PID(safety=0.5))
    with pytest.raises(ValueError, match=r"takes PID\(rtol, atol, dtmax=\)"):
        run(SciPy("BDF"), controller=Fixed(0.1))
    with pytest.raises(ValueError, match="pass controller=Fixed"):
        run(TorchDiffEq("rk4"))
    with pytest.raises(TypeError, match="complex"):
        solve(lambda t, y, args: y, torch.ones(1, dtype=torch.complex128), (0.0, 1.0), solver=SciPy("BDF"))
    with pytest.raises(NotImplementedError, match="one of this package's solvers"):
        torch.func.grad(lambda y0: loss(SciPy("BDF"), y0, P))(Y)
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(ImportError, match='pip install "torchdiffeq'):
        run(TorchDiffEq("dopri5"))
