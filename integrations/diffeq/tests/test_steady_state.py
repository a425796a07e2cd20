"""Steady states: closed forms, finite differences, and what is refused."""

import pytest
import torch
from diffeq_problems import DTYPE, tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.gradcheck import GradcheckError
from torch.func import hessian, jacfwd, vmap

from torchflux_diffeq import PID, Implicit, SolveError, Status, per_sample, solve, steady_state
from torchflux_diffeq import _implicit as module

TIGHT = {"controller": PID(1e-9, 1e-11), "adjoint": Implicit(1e-9, 1e-11)}
KRYLOV = {**TIGHT, "adjoint": Implicit(1e-9, 1e-11, largest=1)}
SEED = torch.Generator().manual_seed(0)
W = 0.5 * torch.randn(2, 2, dtype=DTYPE, generator=SEED)
B = torch.randn(2, dtype=DTYPE, generator=SEED)
START = torch.zeros(2, dtype=DTYPE)


def hopfield(t, y, args):
    """A contraction: every start leads to the same state."""
    w, b = args
    return torch.tanh(y @ w.T + b) - y


def rest(w, b, y0=START, **options):
    return steady_state(hopfield, y0, (w, b), **{**TIGHT, **options}).y


def needing(*xs):
    return [x.clone().requires_grad_() for x in xs]


def hidden(monkeypatch):
    """What `f` uses can't be proved to be known."""
    monkeypatch.setattr(module, "replaceable", lambda *args: None)


@pytest.mark.parametrize("options", [TIGHT, KRYLOV], ids=["dense", "krylov"])
@pytest.mark.parametrize("batched", [False, True])
def test_finite_differences(options, batched):
    y0 = torch.stack([START, START + 1, START - 2]) if batched else START
    assert gradcheck(lambda w, b: rest(w, b, y0, batched=batched, **options), needing(W, B))


def test_second_derivatives():
    assert gradgradcheck(rest, needing(W, B), atol=1e-4)
    w, b = needing(W, B)
    (g,) = torch.autograd.grad(rest(w, b).square().sum(), b)
    assert not g.requires_grad
    with pytest.raises(NotImplementedError, match="largest"):
        torch.autograd.grad(rest(w, b, **KRYLOV).sum(), b, create_graph=True)


def test_the_square_root():
    a = needing(tensor(2.0, 9.0))[0]
    y = steady_state(lambda t, y, a: a - y * y, torch.ones(2, dtype=DTYPE), a, **TIGHT).y
    first = torch.autograd.grad(y.sum(), a, create_graph=True)[0]
    second = torch.autograd.grad(first.sum(), a)[0]
    assert torch.allclose(y, a.sqrt())
    assert torch.allclose(first, 0.5 / a.sqrt())
    assert torch.allclose(second, -0.25 * a**-1.5)


@pytest.mark.parametrize("shown", [True, False])
def test_transforms(shown, monkeypatch):
    due = torch.autograd.functional.jacobian(lambda b: rest(W, b), B)
    twice = torch.autograd.functional.hessian(lambda b: rest(W, b).square().sum(), B)
    if not shown:
        hidden(monkeypatch)  # then the eager gradient is Newton's too
        assert torch.allclose(torch.autograd.functional.jacobian(lambda b: rest(W, b), B), due, rtol=1e-7)
        assert gradgradcheck(rest, needing(W, B), atol=1e-4)
    loose = {"controller": PID(1e-5, 1e-7), "adjoint": Implicit(1e-4, 1e-4)}  # Newton's steps do the rest
    assert torch.allclose(jacfwd(lambda b: rest(W, b, **loose))(B), due, rtol=1e-7)
    assert torch.allclose(hessian(lambda b: rest(W, b, **loose).square().sum())(B), twice, rtol=1e-3)
    bs = torch.stack([B, 2 * B])
    assert torch.allclose(vmap(lambda b: rest(W, b))(bs), torch.stack([rest(W, b) for b in bs]), atol=1e-8)


def test_a_wrong_slope_is_noticed():
    """The canary: half a gradient doesn't pass."""
    f = lambda t, y, b: torch.tanh(y @ W.T + (b + b.detach()) / 2) - y
    with pytest.raises(GradcheckError):
        gradcheck(lambda b: steady_state(f, START, b, **TIGHT).y, needing(B))


def test_what_f_closes_over_and_what_y0_gets():
    net = torch.nn.Linear(2, 2, dtype=DTYPE)
    net.weight.data *= 0.3
    y0 = needing(START)[0]
    y = steady_state(lambda t, y, args: torch.tanh(net(y)) - y, y0, **TIGHT).y
    found = torch.autograd.grad(y.sum(), [y0, *net.parameters()], allow_unused=True)
    assert found[0] is None
    due = torch.autograd.grad(rest(net.weight, net.bias).sum(), [*net.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-7) for a, b in zip(found[1:], due, strict=True))


@pytest.mark.parametrize("options", [TIGHT, KRYLOV], ids=["dense", "krylov"])
def test_a_tensor_that_is_made_of_another_counts_once(options):
    """The state at rest is `b exp b`, and `f` uses both factors."""
    b = needing(B)[0]
    q = b.exp()
    y = steady_state(lambda t, y, args: b * q - y, START, **options).y
    assert torch.allclose(torch.autograd.grad(y.sum(), b)[0], (B + 1) * B.exp())


def test_a_batch_stops_sample_by_sample():
    rates = tensor(0.5, 5.0, 50.0)
    seen = []

    def f(t, y, rate):
        seen.append(len(y))
        return rate[:, None] * (1 - y)

    solution = steady_state(f, torch.zeros(3, 1, dtype=DTYPE), per_sample(rates), batched=True)
    assert torch.allclose(solution.y, torch.ones(3, 1, dtype=DTYPE), atol=1e-6)
    assert solution.t[0] > solution.t[1] > solution.t[2]
    assert seen[0] == 3
    assert min(seen) < 3


def test_one_that_oscillates_fails_alone():
    p = needing(tensor(1.0)[0])[0]

    def f(t, y, speed):
        x, v = y[:, 0], y[:, 1]
        damping = torch.stack((-x, -v), -1) + p
        turning = torch.stack((v, -x), -1) * p
        return torch.where(speed[:, None] > 0, turning, damping)

    y0 = tensor(1.0, 0.0).expand(2, 2)
    options = {"args": per_sample(tensor(0.0, 1.0)), "batched": True, "horizon": 100.0}
    with pytest.raises(SolveError, match=r"samples 1: stopped at t = 100, .*still changes"):
        steady_state(f, y0, **options)
    solution = steady_state(f, y0, throw=False, **options)
    assert solution.status.tolist() == [Status.SUCCESS, Status.NOT_STEADY]
    assert torch.autograd.grad(solution.ys[-1, 0].sum(), p)[0] == 2.0


def test_refusals(monkeypatch):
    rate = needing(tensor(1.0)[0])[0]
    conserving = lambda t, y, args: rate * torch.stack([y[1] - y[0], y[0] - y[1]])
    y = steady_state(conserving, tensor(1.0, 0.0)).y
    with pytest.raises(ValueError, match="conserved"):
        y.sum().backward()
    with pytest.raises(ValueError, match=r"pass ts=\(first, last\)"):
        solve(hopfield, START, (0.0, 1.0, 2.0), (W, B), adjoint=Implicit())
    with pytest.raises(TypeError, match="complex"):
        steady_state(lambda t, y, args: -y, torch.ones(1, dtype=torch.complex128))
    hidden(monkeypatch)
    with pytest.raises(ValueError, match="no operation shows"):
        rest(*needing(W, B), **KRYLOV)


def test_a_linear_system_that_gmres_cant_solve_is_said(monkeypatch):
    solved = lambda a, b, **options: (0 * b, 0)
    monkeypatch.setattr("torchflux_diffeq._linear.gmres", solved)
    w, b = needing(W, B)
    with pytest.raises(ValueError, match="residual of 1"):
        rest(w, b, **KRYLOV).sum().backward()


def test_float32_stays_float32():
    b = needing(B.float())[0]
    y = steady_state(hopfield, START.float(), (W.float(), b)).y
    assert y.dtype == torch.autograd.grad(y.sum(), b)[0].dtype == torch.float32
