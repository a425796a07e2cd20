"""The method of eighth order: order conditions, SciPy's numbers, dense output, and gradients."""

import math

import numpy as np
import pytest
import torch
from diffeq_problems import DTYPE, RATES, lotka_volterra, tensor, turned, turning
from rooted_trees import defect
from scipy.integrate import DOP853
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, jvp, vmap

from torchflux_diffeq import PID, Dopri8, Fixed, Tsit5, per_sample, solve

TS = torch.linspace(0.0, 2.0, 6, dtype=DTYPE)
P, Y = tensor(*RATES), tensor(1.0, 0.8)


def ends(dt, ts=(0.0, 2.0)):
    return solve(turning, tensor(1.0, 0.0), ts, solver=Dopri8(), controller=Fixed(dt)).ys


def test_order_conditions():
    table = Dopri8.inner.tableau
    assert np.allclose(table.a.sum(1), table.c, atol=1e-14)
    assert max(defect(order, table.a[-1], table.a) for order in range(1, 9)) < 1e-13
    assert defect(9, table.a[-1], table.a) > 1e-7
    assert np.allclose(Dopri8.weights.sum(1)[:13], table.a[-1], atol=1e-12)
    assert np.allclose(Dopri8.weights.sum(1)[13:], 0.0, atol=1e-12)


def test_order_of_convergence():
    errors = [float((ends(dt)[-1] - turned(tensor(2.0)[0])).norm()) for dt in (0.2, 0.1)]
    assert 7.7 < math.log2(errors[0] / errors[1]) < 9.5


def test_order_of_the_dense_output():
    ts = torch.linspace(0.0, 2.0, 37, dtype=DTYPE)
    errors = [float((ends(dt, ts) - turned(ts)).norm(dim=-1).max()) for dt in (0.2, 0.1)]
    assert math.log2(errors[0] / errors[1]) > 6.8


def test_scipys_step():
    f = lambda t, y: lotka_volterra(t, torch.as_tensor(y), RATES).numpy()
    due = DOP853(f, 0.0, Y.numpy(), 1.0, first_step=0.3, rtol=1.0, atol=1.0)
    due.step()
    ts = torch.linspace(0.0, 0.3, 7, dtype=DTYPE)
    found = solve(lotka_volterra, Y, ts, RATES, solver=Dopri8(), controller=Fixed(0.3)).ys
    assert np.allclose(found[-1], due.y, rtol=1e-14)
    assert np.allclose(found, due.dense_output()(ts.numpy()).T, rtol=1e-13)
    slope = lambda t, y: lotka_volterra(t, y, RATES)
    t, h = tensor(0.0), tensor(0.3)
    error = Dopri8().step(slope, t, h, Y[None], slope(t, Y[None]), True).error
    assert np.allclose(error[0], due._estimate_error(due.K, 0.3), rtol=1e-6)


def test_it_needs_fewer_slopes_where_much_is_asked():
    ts = (0.0, 10.0)
    due = solve(lotka_volterra, Y, ts, RATES, controller=PID(1e-13, 1e-14), solver=Dopri8()).ys[-1]
    cost = {}
    for solver in (Tsit5(), Dopri8()):
        solution = solve(lotka_volterra, Y, ts, RATES, controller=PID(1e-10, 1e-12), solver=solver)
        assert torch.allclose(solution.ys[-1], due, rtol=1e-8)
        cost[solver.order] = solution.stats.evaluations
    assert cost[8] < 0.6 * cost[5]


def test_the_slopes_for_the_dense_output_are_computed_where_it_is_wanted():
    cost = [
        solve(turning, Y, ts, solver=Dopri8(), controller=Fixed(0.5)).stats.evaluations
        for ts in ((0.0, 2.0), (0.0, 0.1, 0.2, 2.0))
    ]
    assert cost == [1 + 4 * 12, 1 + 4 * 12 + 3]


def loss(p, y0=Y):
    return (solve(lotka_volterra, y0, TS, p, solver=Dopri8(), controller=Fixed(1.0)).ys[1:] ** 2).sum()


def test_gradients():
    p, y0 = P.clone().requires_grad_(), Y.clone().requires_grad_()
    assert gradcheck(loss, (p, y0))
    assert gradgradcheck(loss, (p, y0), atol=1e-4)
    due = torch.autograd.grad(loss(p), p)[0]
    v = tensor(0.3, -0.2, 0.5, 0.1)
    assert torch.allclose(grad(loss)(P), due, rtol=1e-10)
    assert torch.allclose(jvp(loss, (P,), (v,))[1], due @ v, rtol=1e-10)
    ps = torch.stack([P, 1.1 * P])
    assert torch.allclose(vmap(grad(loss))(ps), torch.stack([grad(loss)(x) for x in ps]), rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, DTYPE])
def test_a_batch_is_its_samples(dtype):
    rates = (P * tensor(0.9, 1.2)[:, None]).to(dtype)
    f = lambda t, y, p: lotka_volterra(t, y, p.T)
    y0 = Y.to(dtype).expand(2, 2)
    whole = solve(f, y0, TS, per_sample(rates), solver=Dopri8(), batched=True)
    assert whole.ys.dtype == dtype
    for i in range(2):
        alone = solve(lotka_volterra, y0[i], TS, rates[i], solver=Dopri8())
        assert torch.allclose(whole.ys[:, i], alone.ys, rtol=1e-10 if dtype == DTYPE else 1e-4)
        assert whole.stats.steps[i] == alone.stats.steps


def test_complex_states():
    ys = solve(lambda t, y, args: 1j * y, torch.ones(1, dtype=torch.complex128), TS, solver=Dopri8()).ys
    assert torch.allclose(ys[:, 0], torch.exp(1j * TS), atol=1e-5)
