"""Methods that a user writes: a class with an order and a step."""

import math

import torch
from diffeq_problems import DTYPE, tensor, turned, turning
from torch.autograd import gradcheck, gradgradcheck

from torchflux_diffeq import PID, Fixed, Heun, Solver, Step, solve

TS = torch.linspace(0.0, 2.0, 7, dtype=DTYPE)


class Trapezoidal(Solver):
    """Heun's method, as one would write it down."""

    order = 2
    estimates = True

    def step(self, slope, t, dt, y, k, error=False):
        h = dt[:, None]
        mean = (k + slope(t + dt, y + h * k)) / 2
        end = y + h * mean
        return Step(end, slope(t + dt, end), h * (mean - k))


def test_it_is_heuns():
    for options in ({"controller": Fixed(0.1)}, {"controller": PID(1e-5, 1e-7)}):
        mine, due = (solve(turning, tensor(1.0, 0.0), TS, solver=x, **options) for x in (Trapezoidal(), Heun()))
        assert torch.allclose(mine.ys, due.ys, rtol=1e-10, atol=1e-13)
        assert mine.stats == due.stats


def test_its_dense_output_is_of_third_order():
    ts = torch.linspace(0.0, 2.0, 37, dtype=DTYPE)
    exact = lambda t, y, args: turned(t).roll(1) * tensor(-(1 + t), 1 + t)  # the slopes don't depend on the state
    errors = []
    for dt in (0.1, 0.05):
        ys = solve(exact, tensor(1.0, 0.0), ts, solver=Fourth(), controller=Fixed(dt)).ys
        errors.append(float((ys - turned(ts)).norm(dim=-1).max()))
    assert 3.6 < math.log2(errors[0] / errors[1]) < 4.4


class Fourth(Solver):
    """Simpson's rule."""

    order = 4

    def step(self, slope, t, dt, y, k, error=False):
        end = slope(t + dt, y)
        return Step(y + dt[:, None] / 6 * (k + 4 * slope(t + dt / 2, y) + end), end)


def test_its_gradients():
    wave = lambda t, y, args: torch.sin(y) * y.sum()
    f = lambda y0: solve(wave, y0, TS, solver=Trapezoidal(), controller=Fixed(0.4)).ys
    y0 = tensor(0.3, 0.5).requires_grad_()
    assert gradcheck(f, (y0,))
    assert gradgradcheck(f, (y0,))
