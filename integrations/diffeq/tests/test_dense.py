"""Dense output: the solution and its derivative at any time, their gradients, and the steps themselves."""

import pytest
import torch
from diffeq_problems import DTYPE, RATES, lotka_volterra, tensor, turned, turning
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, jacfwd, jvp, vmap

from torchflux_diffeq import (
    PID,
    RK4,
    Bosh3,
    Callback,
    Dopri5,
    Euler,
    Event,
    Fixed,
    Heun,
    Midpoint,
    SaveAt,
    Tsit5,
    solve,
)  # fmt: skip

DENSE = SaveAt(dense=True)
TS = torch.linspace(0.0, 3.0, 31, dtype=DTYPE)
P = tensor(*RATES)
Y = tensor(1.0, 0.8)
METHODS = [Euler(), Midpoint(), Heun(), Bosh3(), RK4(), Dopri5(), Tsit5()]


def needing(*xs):
    return [x.clone().requires_grad_() for x in xs]


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("backward", [False, True])
def test_it_is_what_is_saved(method, backward):
    ts = TS.flip(0) if backward else TS
    saved = solve(turning, tensor(1.0, 0.0), ts, solver=method, controller=Fixed(0.07))
    solution = solve(turning, tensor(1.0, 0.0), ts[[0, -1]], solver=method, controller=Fixed(0.07), saveat=DENSE)
    assert torch.allclose(solution.evaluate(ts[1:-1]), saved.ys[1:-1], rtol=1e-14)
    assert torch.allclose(solution.evaluate(ts), saved.ys, rtol=1e-13)
    assert torch.allclose(solution.evaluate(ts.view(1, 31)[:, 3:5]), saved.ys[None, 3:5], rtol=1e-13)
    assert torch.allclose(solution.evaluate(float(ts[7])), saved.ys[7], rtol=1e-13)


@pytest.mark.parametrize("method", [Bosh3(), Tsit5(), Dopri5()], ids=repr)
def test_derivatives(method):
    solution = solve(turning, turned(TS[-1]), (3.0, 0.0), solver=method, controller=PID(1e-7, 1e-9), saveat=DENSE)
    assert torch.allclose(solution.evaluate(TS), turned(TS), atol=1e-5)
    assert torch.allclose(solution.derivative(TS), turning(TS[:, None], turned(TS), None), atol=3e-4)
    t = tensor(0.3, 1.7, 2.9).requires_grad_()
    y = solution.evaluate(t)
    slopes = torch.stack([torch.autograd.grad(y[:, i].sum(), t, retain_graph=True)[0] for i in range(2)], -1)
    assert torch.allclose(solution.derivative(t), slopes, rtol=1e-12)


def test_finite_differences_once_and_twice():
    def found(p, t):
        solution = solve(lotka_volterra, Y, (0.0, 1.5), p, controller=Fixed(0.3), saveat=DENSE)
        return torch.stack((solution.evaluate(t), solution.derivative(t)))

    given = needing(P, tensor(0.5, 1.234))
    assert gradcheck(found, given)
    assert gradgradcheck(found, given, atol=1e-4)


def test_a_wrong_time_is_noticed():
    """The canary: without the gradient by the time, the check fails."""
    solution = solve(lotka_volterra, Y, (0.0, 3.0), P, controller=Fixed(0.3), saveat=DENSE)
    t = needing(tensor(0.5))[0]
    assert gradcheck(solution.evaluate, (t,))
    assert not gradcheck(lambda t: solution.evaluate(t.detach()) + 0 * t, (t,), raise_exception=False)


def test_the_gradient_is_that_of_saved_states():
    torch.manual_seed(0)  # with some weights the populations explode
    y0, p = needing(Y, P)
    net = torch.nn.Linear(2, 2, dtype=DTYPE)
    f = lambda t, y, args: lotka_volterra(t, y, p) + 0.1 * net(y)
    wrt = [y0, p, *net.parameters()]
    saved = solve(f, y0, TS).ys
    dense = solve(f, y0, TS[[0, -1]], saveat=DENSE).evaluate(TS)
    for a, b in zip(*(torch.autograd.grad(y.square().sum(), wrt) for y in (saved, dense)), strict=True):
        assert torch.allclose(a, b, rtol=1e-9)


def test_torch_func():
    times = tensor(0.4, 1.1)

    def f(p, t=times):
        return solve(lotka_volterra, Y, (0.0, 3.0), p, controller=Fixed(0.1), saveat=DENSE).evaluate(t).sum()

    p = needing(P)[0]
    due = torch.autograd.grad(f(p), p)[0]
    v = tensor(0.3, -0.2, 0.5, 0.1)
    assert torch.allclose(grad(f)(P), due, rtol=1e-10)
    assert torch.allclose(jacfwd(f)(P), due, rtol=1e-10)
    assert torch.allclose(jvp(f, (P,), (v,))[1], due @ v, rtol=1e-10)
    many = P * tensor(0.9, 1.0, 1.1)[:, None]
    assert torch.allclose(vmap(f)(many), torch.stack([f(p) for p in many]), rtol=1e-8)
    assert torch.allclose(grad(f, argnums=1)(P, times), solve_slopes(times), rtol=1e-10)
    solution = solve(lotka_volterra, Y, (0.0, 3.0), P, saveat=DENSE)
    with pytest.raises(ValueError, match="lanes of a vmap"):
        vmap(solution.evaluate)(times)


def solve_slopes(times):
    solution = solve(lotka_volterra, Y, (0.0, 3.0), P, controller=Fixed(0.1), saveat=DENSE)
    return solution.derivative(times).sum(-1)


def test_a_batch():
    y0 = Y * torch.linspace(0.5, 2.0, 4, dtype=DTYPE)[:, None]
    y0, p = needing(y0, P)
    whole = solve(lotka_volterra, y0, (0.0, 3.0), p, batched=True, saveat=SaveAt(dense=True, steps=True))
    assert whole.evaluate(1.5).shape == (4, 2)
    assert whole.derivative(TS).shape == (31, 4, 2)
    own = torch.rand(5, 4, dtype=DTYPE, generator=torch.Generator().manual_seed(0)) * 3
    for i in range(4):
        alone = solve(lotka_volterra, y0[i], (0.0, 3.0), p, saveat=SaveAt(dense=True, steps=True))
        assert torch.allclose(whole.evaluate(TS)[:, i], alone.evaluate(TS), rtol=1e-11)
        assert torch.allclose(whole.evaluate(own)[:, i], alone.evaluate(own[:, i]), rtol=1e-11)
        made = whole.stats.accepted[i] + 1
        assert torch.allclose(whole.steps.ts[:made, i], alone.steps.ts, rtol=1e-12)
        assert torch.allclose(whole.steps.ys[:made, i], alone.steps.ys, rtol=1e-11)
        assert whole.steps.ts[made:, i].isnan().all()
        pair = (whole.evaluate(own)[:, i], alone.evaluate(own[:, i]))
        a, b = (torch.autograd.grad(y.sum(), (y0, p), retain_graph=True) for y in pair)
        assert all(torch.allclose(x, y, rtol=1e-8, atol=1e-10) for x, y in zip(a, b, strict=True))
    with pytest.raises(ValueError, match=r"not \(\), \(times,\) or \(times, 4\)"):
        whole.evaluate(own.T)


@pytest.mark.parametrize("gradient", [False, True])
def test_steps(gradient):
    y0 = Y.clone().requires_grad_(gradient)
    solution = solve(lotka_volterra, y0, TS, P, saveat=SaveAt(steps=True))
    steps = solution.steps
    assert len(steps.ts) == solution.stats.accepted + 1
    assert (steps.ts[0], steps.ts[-1]) == (0.0, 3.0)
    assert torch.equal(steps.ys[0], y0)
    assert torch.allclose(steps.ys[-1], solution.ys[-1], rtol=1e-13)
    assert steps.ys.requires_grad == gradient
    with pytest.raises(ValueError, match=r"pass saveat=SaveAt\(dense=True\)"):
        solution.evaluate(1.0)


def test_events_and_changes():
    """The state before a change at its time; NaN behind the end of a sample."""
    double = Callback((1.0,), lambda t, y, args: 2 * y)
    ends = Event(lambda t, y, args: y[..., 0] - 7.5)
    y0 = tensor(1.0, 0.1)[:, None].requires_grad_()
    f = lambda t, y, args: y
    options = {"callbacks": double, "events": ends, "controller": PID(1e-10, 1e-12)}
    solution = solve(f, y0, (0.0, 2.0), batched=True, saveat=SaveAt(dense=True, steps=True), **options)
    e = torch.tensor(1.0, dtype=DTYPE).exp()
    for t, due in ((1.0, e), (1.0 + 1e-9, 2 * e), (1.8, 2 * tensor(1.8).exp()[0])):
        assert torch.allclose(solution.evaluate(t)[1], 0.1 * due, rtol=1e-7)
    assert torch.allclose(solution.t, torch.stack((1 + (7.5 / (2 * e)).log(), tensor(2.0)[0])))
    assert solution.evaluate(2.0)[0].isnan()
    assert torch.allclose(solution.evaluate(solution.t.detach()[None])[0, 0], tensor(7.5))
    last = solution.stats.accepted[0]
    assert torch.allclose(solution.steps.ts[last, 0], solution.t[0])
    assert torch.allclose(solution.steps.ys[last, 0], tensor(7.5))
    assert torch.allclose(torch.autograd.grad(solution.steps.ts[last, 0], y0)[0], tensor(-1.0, 0.0)[:, None], atol=1e-7)


def test_trees_and_float32():
    f = lambda t, y, args: {"x": y["v"], "v": -y["x"]}
    solution = solve(f, {"x": torch.ones(2), "v": torch.zeros(2)}, (0.0, 1.0), saveat=DENSE)
    assert solution.evaluate(TS[:4])["x"].shape == (4, 2)
    assert solution.derivative(0.5)["v"].dtype == torch.float32


@pytest.mark.parametrize("t", [-1e-9, 3.0 + 1e-9, float("nan"), torch.tensor([0.5, 4.0])])
def test_outside_is_refused(t):
    solution = solve(lotka_volterra, Y, (0.0, 3.0), P, saveat=DENSE)
    with pytest.raises(ValueError, match="outside of the interval from 0 to 3"):
        solution.evaluate(t)
