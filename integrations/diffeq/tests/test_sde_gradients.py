"""Gradients of stochastic equations, along a path: against finite differences, closed forms, in every transform."""

import pytest
import torch
from diffeq_problems import DTYPE, tensor
from sde_problems import grown, ones, tree
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jvp, vmap

from torchflux import gradient
from torchflux_diffeq import (
    SDE,
    Discrete,
    EulerMaruyama,
    Fixed,
    Milstein,
    StochasticHeun,
    StratonovichMilstein,
    per_sample,
    solve,
)
from torchflux_diffeq import _replay as replays

SOLVERS = [EulerMaruyama(), Milstein(), StratonovichMilstein(), StochasticHeun()]
TS = (0.0, 0.43, 1.0)
Y = tensor(0.6, 1.1)
P, Q = tensor(0.9, 0.4), tensor(0.5, 0.8)


def needing(*xs):
    return [x.clone().requires_grad_() for x in xs]


def ends(y0, p, q, solver=SOLVERS[0], noise="diagonal", ts=TS, **options):
    """States of an equation whose drift uses `p`, which is an argument, and whose diffusion uses `q`, which is not."""

    def diffusion(t, y, args):
        g = torch.sin(q * y + t[..., None])
        return torch.stack((g, 0.3 * y * q[0], g * 0 + 0.2), -1) if noise == "general" else g

    sde = SDE(lambda t, y, p: -p * y**2, diffusion, noise, solver.calculus)
    options = {"controller": Fixed(0.125), "generator": tree(levels=20), **options}
    return solve(sde, y0, ts, p, solver=solver, **options).ys


CASES = [(solver, noise) for solver in SOLVERS for noise in solver.noises]


@pytest.mark.parametrize(("solver", "noise"), CASES, ids=str)
def test_finite_differences(solver, noise):
    f = lambda y0, p, q: ends(y0, p, q, solver, noise)
    assert gradcheck(f, needing(Y, P, Q))


@pytest.mark.parametrize(
    ("solver", "noise"), [*zip(SOLVERS, ("general", "scalar", "diagonal", "general"), strict=True)]
)
def test_finite_differences_of_the_gradient(solver, noise):
    f = lambda y0, p, q: ends(y0, p, q, solver, noise, controller=Fixed(0.25))
    assert gradgradcheck(f, needing(Y, P, Q), atol=1e-4)


def test_another_path_has_another_gradient():
    """The canary: finite differences along a path that is drawn anew don't agree."""
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(RuntimeError, match=r"not reentrant|Jacobian mismatch"):
        gradcheck(lambda y0: ends(y0, P, Q, generator=generator), needing(Y))


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_closed_form(solver):
    """Of geometric Brownian motion, by its rates."""
    y0, a, b = ones(200), *needing(tensor(0.8)[0], tensor(0.6)[0])
    w = tree()([1.0], 200)[0]
    sde = SDE(lambda t, y, args: a * y, lambda t, y, args: b * y, calculus=solver.calculus)
    y = solve(sde, y0, (0.0, 1.0), solver=solver, controller=Fixed(2.0**-8), batched=True, generator=tree()).ys[-1]
    found = torch.autograd.grad(y.mean(), (a, b))
    y = grown(y0, 1.0, w, solver.calculus)
    due = (y.mean(), (y * (w - (0.6 if solver.calculus == "ito" else 0.0))).mean())
    assert torch.allclose(torch.stack(found), torch.stack(due), rtol=0.02, atol=0.03)


def test_what_only_the_diffusion_uses():
    for q, found in ((needing(Q)[0], True), (Q, False)):
        y = ends(Y, P, q)
        assert y.requires_grad == found
    q = needing(Q)[0]
    late = SDE(lambda t, y, args: -y, lambda t, y, args: y if t < 0.5 else q * y)
    f = lambda q: solve(late, Y, TS, controller=Fixed(0.125), generator=tree(levels=20)).ys
    found = torch.autograd.grad(f(q)[-1].sum(), q)[0]
    shift = torch.zeros_like(Q)
    shift[0] = 1e-6
    with torch.no_grad():
        q += shift
        above = f(q)[-1].sum()
        q -= 2 * shift
        assert torch.allclose(found[0], (above - f(q)[-1].sum()) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("adjoint", [Discrete("tape"), Discrete(replay=True)], ids=str)
def test_checkpoints_give_the_same_gradient(adjoint, monkeypatch):
    y0, p, q = needing(Y, P, Q)
    due = torch.autograd.grad(ends(y0, p, q, controller=Fixed(0.002)).sum(), (y0, p, q))
    monkeypatch.setattr(replays, "STRETCH", 8)
    found = torch.autograd.grad(ends(y0, p, q, controller=Fixed(0.002), adjoint=adjoint).sum(), (y0, p, q))
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(found, due, strict=True))


@pytest.mark.parametrize(("solver", "noise"), CASES, ids=str)
def test_torch_func(solver, noise):
    f = lambda q: ends(Y, P, q, solver, noise).square().sum()
    q = needing(Q)[0]
    due = torch.autograd.grad(f(q), q)[0]
    assert torch.allclose(grad(f)(Q), due, rtol=1e-10)
    assert torch.allclose(jacfwd(f)(Q), due, rtol=1e-10)
    v = tensor(0.3, -0.2)
    assert torch.allclose(jvp(f, (Q,), (v,))[1], due @ v, rtol=1e-10)
    assert torch.allclose(gradient(f, Q)[0], due, rtol=1e-10)


def test_second_derivatives_in_torch_func():
    for solver in SOLVERS:
        f = lambda q, solver=solver: ends(Y, P, q, solver, controller=Fixed(0.25)).square().sum()
        assert torch.allclose(hessian(f)(Q), torch.autograd.functional.hessian(f, Q), rtol=1e-8)


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_the_lanes_of_a_vmap_share_the_path(solver):
    qs = Q * torch.linspace(0.8, 1.2, 3, dtype=DTYPE)[:, None]
    f = lambda q: ends(Y, P, q, solver)
    assert torch.allclose(vmap(f)(qs), torch.stack([f(q) for q in qs]), rtol=1e-12)
    g = grad(lambda q: f(q).sum())
    assert torch.allclose(vmap(g)(qs), torch.stack([g(q) for q in qs]), rtol=1e-12)


def test_vmap_says_how_generators_are_used():
    qs = Q * torch.linspace(0.8, 1.2, 3, dtype=DTYPE)[:, None]
    generator = torch.Generator()
    f = lambda q: ends(Y, P, q, generator=generator)
    with pytest.raises(RuntimeError, match="random"):
        vmap(f)(qs)
    with pytest.raises(ValueError, match="share a path"):
        vmap(f, randomness="different")(qs)
    generator.manual_seed(3)
    found = vmap(f, randomness="same")(qs)
    for i in range(3):
        generator.manual_seed(3)
        assert torch.allclose(found[i], f(qs[i]), rtol=1e-12)


def test_times_are_refused_in_torch_func():
    with pytest.raises(ValueError, match="no derivative by the time"):
        grad(lambda ts: ends(Y, P, Q, ts=ts).sum())(tensor(*TS))
    with pytest.raises(ValueError, match="no derivative by the time"):
        jvp(lambda end: ends(Y, P, Q, ts=(0.0, end)), (tensor(1.0)[0],), (tensor(1.0)[0],))
    f = lambda q: ends(Y, P, q, ts=tensor(*TS)).sum()  # times that are made inside, but constant
    assert torch.allclose(grad(f)(Q), grad(lambda q: ends(Y, P, q).sum())(Q))


def test_batches():
    ys, ps = (x * torch.linspace(0.5, 1.5, 4, dtype=DTYPE)[:, None] for x in (Y, P))
    y0, p, q = needing(ys, ps, Q)
    found = torch.autograd.grad(ends(y0, per_sample(p), q, batched=True, ts=(0.0, 1.0))[-1].square().sum(), (y0, p, q))
    w = tree(levels=20)(torch.arange(9) / 8, 4, 2)
    y = y0
    for k in range(8):
        y = y - p * y**2 / 8 + torch.sin(q * y + k / 8) * (w[k + 1] - w[k])
    due = torch.autograd.grad(y.square().sum(), (y0, p, q))
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(found, due, strict=True))


def test_float32_stays_float32_and_has_the_path_of_the_same_times():
    """The times of the steps are rounded in float32, the noise isn't."""
    options = {"controller": Fixed(0.01), "ts": (0.0, 0.205, 1.0)}
    q = Q.float().requires_grad_()
    ys = ends(Y.float(), P.float(), q, **options)
    exact = needing(Q)[0]
    due = ends(Y, P, exact, **options)
    assert ys.dtype == torch.float32
    assert torch.allclose(ys.double(), due, rtol=1e-4)
    found = torch.autograd.grad(ys.sum(), q)[0]
    assert torch.allclose(found.double(), torch.autograd.grad(due.sum(), exact)[0], rtol=1e-3)
