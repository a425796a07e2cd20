"""Published reference solutions: the non-stiff DETEST problems."""

import math

import pytest
import torch
from detest import NOT_SMOOTH, PROBLEMS, pushed, vector

from torchflux_diffeq import PID, Bosh3, Callback, Dopri5, Dopri8, Rodas5P, Tsit5, solve

METHODS = {Tsit5(): 1e-10, Dopri5(): 1e-10, Dopri8(): 1e-10, Bosh3(): 1e-6, Rodas5P(): 1e-7}
ORBITS = {"D2", "D3", "D4", "D5"}  # long for a method with Jacobians, and not stiff
CASES = [
    (name, method) for method in METHODS for name in PROBLEMS if not (name in ORBITS and isinstance(method, Rodas5P))
]
BOUND = {"F5": 5000}
"""By how much an error may exceed the tolerance where it isn't 1000: at infinite derivatives."""


def solved(problem, method, tolerance, ts=(0.0, 20.0), **options):
    controller = PID(tolerance, tolerance, **options)
    return solve(problem.f, problem.start, ts, solver=method, controller=controller, max_steps=10**5)


def missed(y, end):
    """The largest error, relative to 1 or the number."""
    return float(((y[: len(end)] - end).abs() / end.abs().clamp(min=1.0)).max())


@pytest.mark.parametrize(("name", "method"), CASES, ids=str)
def test_detest(name, method):
    problem, tolerance = PROBLEMS[name], METHODS[method]
    y = solved(problem, method, tolerance).ys[-1]
    assert missed(y, problem.end) < BOUND.get(name, 1000) * tolerance


@pytest.mark.parametrize("name", NOT_SMOOTH)
@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_slopes_that_are_not_smooth(name, method):
    """Steps end where the slope jumps, and are short enough for F4, which has a bump."""
    problem, tolerance = NOT_SMOOTH[name], max(METHODS[method], 1e-8)
    y = solved(problem, method, tolerance, jump_ts=problem.jumps, dtmax=0.5).ys[-1]
    assert missed(y, problem.end) < BOUND.get(name, 1000) * tolerance


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_the_bump_of_f4(method):
    """Its integral is elementary. The end says nothing of it; without a longest step, some methods step across."""
    tolerance = max(METHODS[method], 1e-8)
    ys = solved(NOT_SMOOTH["F4"], method, tolerance, (0.0, 5.0, 10.0, 20.0), jump_ts=(10.0,), dtmax=0.5).ys
    assert missed(ys[1], vector(1 - 10 / 21 + 1 - 101.0**-15)) < 10 * tolerance
    assert missed(ys[2], vector(1 / 21)) < 10 * tolerance


@pytest.mark.parametrize("name", ["F1", "F2", "F3"])
def test_known_jumps_save_steps(name):
    problem = NOT_SMOOTH[name]
    steps = [solved(problem, Tsit5(), 1e-8, jump_ts=jumps).stats.steps for jumps in (problem.jumps, None)]
    assert steps[0] < 0.7 * steps[1]


def test_f1_with_a_force_that_an_event_reverses():
    f = lambda t, y, args: torch.cat((pushed(t, y, y[2]), torch.zeros_like(y[2:])))
    whole = Callback(lambda t, y, args: torch.sin(math.pi * t), lambda t, y, args: y * vector(1.0, 1.0, -1.0))
    start, tolerance = vector(0.0, 0.0, 1.0), 1e-8
    solution = solve(f, start, (0.0, 20.0), controller=PID(tolerance, tolerance), callbacks=whole)
    assert missed(solution.ys[-1], NOT_SMOOTH["F1"].end) < 1000 * tolerance
    assert torch.allclose(solution.t_events[0], torch.arange(1.0, 20.0, dtype=torch.float64), atol=1e-12)


def test_wrong_problems_are_noticed():
    """The canaries: a coefficient that is off by a millionth, and a jump that comes a thousandth late."""
    b5, f2 = PROBLEMS["B5"], NOT_SMOOTH["F2"]
    faster = b5._replace(f=lambda t, y, args: b5.f(t, y, args) * (1 + 1e-6))
    assert missed(solved(faster, Tsit5(), 1e-10).ys[-1], b5.end) > 1000 * 1e-10
    late = f2._replace(f=lambda t, y, args: f2.f(t - 1e-3, y, args))
    assert missed(solved(late, Tsit5(), 1e-8).ys[-1], f2.end) > 1000 * 1e-8
