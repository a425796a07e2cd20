"""Standard stiff problems against published reference solutions.

Source of problems and values: Mazzia & Magherini (2008), Test Set for Initial Value Problem Solvers, release 2.4, whose
solutions were computed with RADAU and RADAU5 in quadruple precision; Hairer & Wanner (1996), Solving Ordinary
Differential Equations II, IV.10.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from diffeq_problems import DTYPE, tensor, van_der_pol
from scipy.integrate import solve_ivp

from torchflux_diffeq import PID, Fixed, ImplicitEuler, Rodas5P, Rosenbrock23, Status, Tsit5, per_sample, solve


def robertson(t, y, rates):
    """An autocatalytic reaction; the rates differ by nine powers of ten. Robertson (1966)."""
    a, b, c = y.unbind(-1)
    slow, fast, middle = rates
    first, third = slow * a - middle * b * c, fast * b * b
    return torch.stack((-first, first - third, third), -1)


def hires(t, y, args):
    """The high irradiance response of a plant's growth to light. Schäfer (1975)."""
    a, b, c, d, e, f, g, h = y.unbind(-1)
    bound = 280.0 * f * h
    return torch.stack(
        (
            -1.71 * a + 0.43 * b + 8.32 * c + 0.0007,
            1.71 * a - 8.75 * b,
            -10.03 * c + 0.43 * d + 0.035 * e,
            8.32 * b + 1.71 * c - 1.12 * d,
            -1.745 * e + 0.43 * f + 0.43 * g,
            -bound + 0.69 * d + 1.71 * e - 0.43 * f + 0.69 * g,
            bound - 1.81 * g,
            -bound + 1.81 * g,
        ),
        -1,
    )


def oregonator(t, y, args):
    """The Belousov-Zhabotinskii reaction. Field & Noyes (1974)."""
    a, b, c = y.unbind(-1)
    return torch.stack((77.27 * (b + a * (1 - 8.375e-6 * a - b)), (c - (1 + a) * b) / 77.27, 0.161 * (a - c)), -1)


class Problem(NamedTuple):
    f: Any
    start: torch.Tensor
    t: float
    end: torch.Tensor
    args: Any = None


RATES = (0.04, 3e7, 1e4)
PROBLEMS = {
    "Robertson": Problem(
        robertson,
        tensor(1.0, 0.0, 0.0),
        1e11,
        tensor(0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050),
        RATES,
    ),
    "van der Pol": Problem(
        van_der_pol, tensor(2.0, 0.0), 2000.0, tensor(0.1706167732170469e1, -0.8928097010248125e-3), 1000.0
    ),
    "HIRES": Problem(
        hires,
        tensor(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057),
        321.8122,
        tensor(
            0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2,
            0.2386356198831331e-2, 0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2,
        ),
    ),
    "Oregonator": Problem(
        oregonator,
        tensor(1.0, 2.0, 3.0),
        360.0,
        tensor(0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3),
    ),
}  # fmt: skip


def error(problem, solver, rtol, **options):
    """The largest error at the end, relative to the number."""
    controller = PID(rtol, rtol * 1e-8)
    solution = solve(
        problem.f, problem.start, (0.0, problem.t), problem.args,
        solver=solver, controller=controller, max_steps=20_000, **options,
    )  # fmt: skip
    return float(((solution.ys[-1] - problem.end) / problem.end).abs().max())


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize(
    ("solver", "rtol", "bound"), [(Rodas5P(), 1e-5, 2e-5), (Rosenbrock23(), 3e-4, 6e-2)], ids=lambda x: f"{x}"
)
def test_published_solutions(name, solver, rtol, bound):
    assert error(PROBLEMS[name], solver, rtol) < bound


def test_eulers_method_backward():
    assert error(PROBLEMS["Robertson"], ImplicitEuler(), 3e-3) < 1e-1


def test_a_wrong_problem_is_noticed():
    """The canary: a coefficient that is off by 1 in 10,000."""
    wrong = PROBLEMS["HIRES"]._replace(f=lambda t, y, args: hires(t, y, args) * (1 + 1e-4))
    assert error(wrong, Rodas5P(), 1e-5) > 100 * 2e-5


def test_tighter_tolerances_give_smaller_errors():
    errors = [error(PROBLEMS["HIRES"], Rodas5P(), rtol) for rtol in (1e-3, 1e-5, 1e-7)]
    assert errors[1] < errors[0] / 10
    assert errors[2] < min(errors[1] / 10, 1e-7)


def test_it_takes_a_stiff_method():
    """An explicit one is at its limit of stability, whatever the tolerance."""
    problem = PROBLEMS["van der Pol"]
    options = {"controller": PID(1e-4, 1e-6), "max_steps": 1000}
    explicit = solve(problem.f, problem.start, (0.0, 60.0), problem.args, solver=Tsit5(), throw=False, **options)
    assert explicit.status is Status.MAX_STEPS
    assert "a stiff problem" in explicit.message
    assert explicit.t < 10.0
    stats = solve(problem.f, problem.start, (0.0, 60.0), problem.args, solver=Rodas5P(), **options).stats
    assert stats.steps < 40


def test_the_gradient_of_a_stiff_solution():
    """By the logarithms of the rates, against differences of SciPy's solutions."""

    def by_scipy(logs):
        slow, fast, middle = np.exp(logs)
        f = lambda t, y: [
            -slow * y[0] + middle * y[1] * y[2],
            slow * y[0] - middle * y[1] * y[2] - fast * y[1] ** 2,
            fast * y[1] ** 2,
        ]
        return solve_ivp(f, (0.0, 40.0), [1.0, 0.0, 0.0], "Radau", rtol=1e-9, atol=1e-15).y[:, -1]

    logs = torch.tensor(RATES, dtype=DTYPE).log().requires_grad_()
    y = solve(
        robertson, PROBLEMS["Robertson"].start, (0.0, 40.0), logs.exp(), solver=Rodas5P(), controller=PID(1e-7, 1e-13)
    ).ys[-1]
    raw, shifts = logs.detach().numpy(), 1e-3 * np.eye(3)
    due = np.stack([(by_scipy(raw + shift) - by_scipy(raw - shift)) / 2e-3 for shift in shifts], 1)
    found = torch.stack([torch.autograd.grad(number, logs, retain_graph=True)[0] for number in y])
    assert np.allclose(found, due, rtol=1e-5)


def test_each_sample_has_steps_of_its_own():
    """Easy and stiff oscillators in one batch: each takes what it takes alone."""
    mu = tensor(1.0, 1000.0)
    options = {"solver": Rodas5P(), "controller": PID(1e-5, 1e-7), "max_steps": 20_000}
    whole = solve(van_der_pol, tensor(2.0, 0.0).expand(2, 2), (0.0, 30.0), per_sample(mu), batched=True, **options)
    alone = [solve(van_der_pol, tensor(2.0, 0.0), (0.0, 30.0), float(m), **options).stats for m in mu]
    assert whole.stats.steps.tolist() == [x.steps for x in alone]
    assert whole.stats.evaluations.tolist() == [x.evaluations for x in alone]
    assert alone[1].steps < alone[0].steps / 5


@pytest.mark.parametrize("solver", [Rodas5P(), Rosenbrock23()], ids=repr)
def test_a_jump_leaves_the_derivative_by_the_time(solver):
    """A step at a jump that isn't any is the same step, where the slope depends on the time; so is its gradient."""
    f = lambda t, y, rate: -rate * y + torch.cos(5.0 * t)
    rate = tensor(3.0).requires_grad_()
    found = [
        solve(f, torch.ones(1, dtype=DTYPE), (0.0, 1.0), rate, solver=solver, controller=Fixed(0.1, jump_ts=jumps)).ys
        for jumps in (None, [0.5])
    ]
    assert torch.allclose(*found, rtol=1e-12)
    assert torch.allclose(*[torch.autograd.grad(ys.sum(), rate)[0] for ys in found], rtol=1e-10)
