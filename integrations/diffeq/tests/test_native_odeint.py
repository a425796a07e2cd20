"""Solutions inside of native functions: those of `solve`, to rounding, and their derivatives in every mode."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from torchflux_diffeq import PID, RK4, Bosh3, Tsit5, _native_odeint, native_odeint, solve

native = pytest.importorskip("torchflux_zygote").native

TS, RATES, BEGIN = np.linspace(0.0, 10.0, 23), (1.4, 1.05, 2.9, 1.1), (1.3, 0.9)
SOLVERS = [Bosh3(), Tsit5()]
FIXED = RK4()


def lotka_volterra(t, y, p):
    x, z = y
    return p[0] * x - p[1] * x * z, -p[2] * z + p[3] * x * z


@native
def as_native(t, y, p):
    return p[0] * y[0] - p[1] * y[0] * y[1], -p[2] * y[1] + p[3] * y[0] * y[1]


@native
def loss(p, y0):
    return np.sum(native_odeint(lotka_volterra, y0, TS, p) ** 2)


def by_solve(solver, route):
    """The states, and the gradient of their squares' sum by rates and first states."""
    p, y0 = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (RATES, BEGIN))
    found = solve(as_native, y0, torch.tensor(TS), p, solver=solver, controller=PID(1e-6, 1e-9), route=route)
    return found.ys.detach().numpy(), [x.numpy() for x in torch.autograd.grad(found.ys.square().sum(), (p, y0))]


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_the_steps_and_gradients_are_those_of_solve(solver):
    squares = native(lambda p, y0: np.sum(native_odeint(lotka_volterra, y0, TS, p, solver=solver) ** 2))
    in_python = native_odeint(lotka_volterra, BEGIN, TS, RATES, solver=solver)
    states, gradients = by_solve(solver, "native")
    np.testing.assert_allclose(in_python, states, rtol=1e-11)
    assert squares(RATES, BEGIN) == pytest.approx(np.sum(states**2), rel=1e-11)
    for mode in ("forward", "reverse"):
        for ours, theirs in zip(squares.gradient(RATES, BEGIN, mode=mode), gradients, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_the_solution_is_the_true_one():
    true = solve_ivp(lambda t, y: lotka_volterra(t, y, RATES), (0, 10), BEGIN, "DOP853", TS, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(native_odeint(lotka_volterra, BEGIN, TS, RATES), true.y.T, rtol=1e-4)


def test_second_derivatives():
    """Of the last value of y' = -r y², which is 1 / (1 + r t)."""
    ts = np.array([0.0, 2.0])

    @native
    def last(rate):
        return native_odeint(lambda t, y, rate: (-rate * y[0] ** 2,), (1.0,), ts, rate, rtol=1e-9)[1, 0]

    assert last(0.7) == pytest.approx(1 / 2.4, rel=1e-7)
    assert last.gradient(0.7)[0] == pytest.approx(-2.0 / 2.4**2, rel=1e-7)
    assert last.hessian(0.7) == pytest.approx(8.0 / 2.4**3, rel=1e-6)


def test_backwards_in_time_it_comes_back():
    there = native_odeint(lotka_volterra, BEGIN, TS, RATES, rtol=1e-9)
    back = native_odeint(lotka_volterra, tuple(there[-1]), TS[::-1].copy(), RATES, rtol=1e-9)
    np.testing.assert_allclose(back[::-1], there, rtol=1e-5)


def test_the_gradient_by_the_times():
    @native
    def last(ts, rate):
        return native_odeint(lambda t, y, rate: (rate * y[0] + math.cos(t),), (1.0,), ts, rate, rtol=1e-9)[-1, 0]

    def exact(begin, end, rate=-0.7):  # of y' = r y + cos t
        forced = lambda t: (math.sin(t) - rate * math.cos(t)) / (1 + rate**2)
        return math.exp(rate * (end - begin)) * (1.0 - forced(begin)) + forced(end)

    ts, h = np.array([0.3, 0.9, 2.0]), 1e-6
    assert last(ts, -0.7) == pytest.approx(exact(0.3, 2.0), rel=1e-8)
    by_times, _ = last.gradient(ts, -0.7, mode="reverse")
    by_end = (exact(0.3, 2.0 + h) - exact(0.3, 2.0 - h)) / (2 * h)
    by_begin = (exact(0.3 + h, 2.0) - exact(0.3 - h, 2.0)) / (2 * h)
    np.testing.assert_allclose(by_times, [by_begin, 0.0, by_end], rtol=1e-6, atol=1e-9)


def test_a_batch_is_a_loop_over_it():
    starts = np.random.default_rng(0).uniform(0.5, 2.0, (3, 2))

    @native
    def total(starts, p):
        found = 0.0
        for s in range(starts.shape[0]):
            found += np.sum(native_odeint(lotka_volterra, (starts[s, 0], starts[s, 1]), TS, p) ** 2)
        return found

    rows, slopes = total.gradient(starts, RATES)
    each = [loss.gradient(RATES, tuple(start)) for start in starts]
    np.testing.assert_allclose(rows, [y0 for _, y0 in each], rtol=1e-9)
    np.testing.assert_allclose(slopes, np.sum([p for p, _ in each], 0), rtol=1e-9)


@pytest.mark.parametrize("compiled", [False, True])
def test_failures_say_what_to_do(compiled):
    def failing(words, f=lotka_volterra, ts=TS, most=4096):
        run = lambda ts, p: np.sum(native_odeint(f, (1.0, 1.0), ts, p, max_steps=most))
        with pytest.raises((RuntimeError, ValueError), match=words):
            (native(run) if compiled else run)(ts, RATES)

    failing("have to increase, or decrease", ts=np.array([0.0, 1.0, 1.0]))
    failing("have to increase, or decrease", ts=np.array([0.0, 2.0, 1.0]))
    failing("have to increase, or decrease", ts=np.array([0.0, np.nan, 1.0]))
    failing("more than max_steps steps", most=5)
    failing("time stands still", f=lambda t, y, p: (y[0] * y[0] * 1e3, y[1]))
    failing("time stands still", f=lambda t, y, p: (y[0] + math.nan * t, y[1]))


def test_a_solver_that_does_not_estimate_its_error_is_refused():
    for run in (lambda f: f, native):
        with pytest.raises(ValueError, match="no estimate of its error"):
            run(lambda p: native_odeint(lotka_volterra, BEGIN, TS, p, solver=FIXED))(RATES)


def test_a_slope_of_another_length_is_refused():
    with pytest.raises(ValueError, match="another number of slopes"):
        native_odeint(lambda t, y, p: (y[0],), (1.0, 1.0), TS)


def test_canary_lengths_of_steps_that_are_differentiated(monkeypatch):
    """They would give other numbers: a step that is longer by its own error's derivative."""
    import torchflux_zygote

    monkeypatch.setattr(torchflux_zygote, "ignore", lambda x: x)
    other = native(lambda p, y0: np.sum(native_odeint(lotka_volterra, y0, TS, p) ** 2))
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(other.gradient(RATES, BEGIN)[0], by_solve(Tsit5(), "native")[1][0], rtol=1e-8)


def test_canary_other_steps(monkeypatch):
    factor = _native_odeint._factor
    monkeypatch.setattr(_native_odeint, "_factor", lambda error, order: 0.99 * factor(error, order))
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(
            native_odeint(lotka_volterra, BEGIN, TS, RATES), by_solve(Tsit5(), "native")[0], rtol=1e-11
        )
