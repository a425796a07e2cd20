"""The methods: order conditions, orders of convergence, dense output, and SciPy's and torchdiffeq's numbers."""

import itertools
import math

import numpy as np
import pytest
import torch
from diffeq_problems import DTYPE, RATES, lotka_volterra, tensor, turned, turning
from rooted_trees import defect
from scipy.integrate import solve_ivp
from torchdiffeq import odeint

from torchflux_diffeq import PID, RK4, Bosh3, Dopri5, Euler, Fixed, Heun, Midpoint, Tsit5, solve

METHODS = [Euler(), Midpoint(), Heun(), Bosh3(), RK4(), Dopri5(), Tsit5()]
ADAPTIVE = [method for method in METHODS if method.estimates]


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_order_conditions(method):
    table = method.tableau
    assert np.allclose(table.a.sum(1), table.c, atol=1e-14)
    assert np.allclose(table.dense.sum(1), table.a[-1], atol=1e-13)
    assert max(defect(order, table.a[-1], table.a) for order in range(1, method.order + 1)) < 1e-13
    assert defect(method.order + 1, table.a[-1], table.a) > 1e-5
    assert table.error is None or abs(table.error.sum()) < 1e-15


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_order_of_convergence(method):
    errors = []
    for steps in (20, 40, 80):
        y = solve(turning, tensor(1.0, 0.0), (0.0, 2.0), solver=method, controller=Fixed(2.0 / steps)).ys[-1]
        errors.append(float((y - turned(tensor(2.0)[0])).norm()))
    order = math.log2(errors[1] / errors[2])
    assert method.order - 0.2 < order < method.order + 1.2


def test_a_wrong_weight_is_found_by_the_order():
    class Wrong(Tsit5):
        tableau = Tsit5.tableau.__class__(
            5, Tsit5.tableau.a + 1e-3 * np.tri(7, k=-1), Tsit5.tableau.c, None, Tsit5.tableau.dense
        )

    end = lambda dt: solve(turning, tensor(1.0, 0.0), (0.0, 2.0), solver=Wrong(), controller=Fixed(dt)).ys[-1]
    y = [end(0.05), end(0.025)]
    errors = [float((x - turned(tensor(2.0)[0])).norm()) for x in y]
    assert math.log2(errors[0] / errors[1]) < 1.5


@pytest.mark.parametrize(("method", "order"), [(Tsit5(), 4), (Dopri5(), 4), (Bosh3(), 3), (RK4(), 3)], ids=repr)
def test_order_of_the_dense_output(method, order):
    ts = torch.linspace(0.0, 2.0, 37, dtype=DTYPE)
    errors = []
    for dt in (0.1, 0.05):
        ys = solve(turning, tensor(1.0, 0.0), ts, solver=method, controller=Fixed(dt)).ys
        errors.append(float((ys - turned(ts)).norm(dim=-1).max()))
    assert math.log2(errors[0] / errors[1]) > order - 0.4


@pytest.mark.parametrize("method", ADAPTIVE, ids=repr)
@pytest.mark.parametrize("backward", [False, True])
def test_the_error_is_within_the_tolerance(method, backward):
    ts = torch.linspace(0.0, 4.0, 9, dtype=DTYPE)
    start = tensor(1.0, 0.0)
    if backward:
        ts, start = ts.flip(0), turned(ts[-1])
    solution = solve(turning, start, ts, solver=method, controller=PID(rtol=1e-6, atol=1e-8), max_steps=20_000)
    error = (solution.ys - turned(ts)).norm(dim=-1).max()
    assert error < 2e-4
    assert solution.stats.steps == solution.stats.accepted + solution.stats.rejected


def test_tighter_tolerances_give_smaller_errors():
    errors = []
    for rtol in (1e-4, 1e-6, 1e-8, 1e-10):
        y = solve(turning, tensor(1.0, 0.0), (0.0, 4.0), controller=PID(rtol, rtol * 1e-3)).ys[-1]
        errors.append(float((y - turned(tensor(4.0)[0])).norm()))
    assert all(b < a / 20 for a, b in itertools.pairwise(errors))


def test_scipys_reference():
    ts = np.linspace(0.0, 10.0, 50)
    f = lambda t, y: lotka_volterra(t, torch.as_tensor(y), RATES).numpy()
    due = solve_ivp(f, (0.0, 10.0), [1.0, 1.0], "DOP853", ts, rtol=1e-12, atol=1e-13).y.T
    ys = solve(lotka_volterra, tensor(1.0, 1.0), torch.as_tensor(ts), RATES, controller=PID(1e-10, 1e-12)).ys
    assert np.abs(ys.numpy() - due).max() < 1e-7


def test_torchdiffeqs_numbers_at_fixed_steps():
    ts = torch.linspace(0.0, 3.0, 31, dtype=DTYPE)
    y0 = tensor(1.0, 1.0)
    f = lambda t, y: lotka_volterra(t, y, RATES)
    for method, name in ((Euler(), "euler"), (Midpoint(), "midpoint"), (Heun(), "heun2")):
        due = odeint(f, y0, ts, method=name)
        ys = solve(lotka_volterra, y0, ts, RATES, solver=method, controller=Fixed(0.1)).ys
        assert torch.allclose(ys, due, rtol=1e-12)
