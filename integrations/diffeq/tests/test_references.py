"""Published reference solutions: the non-stiff DETEST problems."""

import pytest
from detest import PROBLEMS

from torchflux_diffeq import PID, Bosh3, Dopri5, Tsit5, solve

METHODS = {Tsit5(): 1e-10, Dopri5(): 1e-10, Bosh3(): 1e-6}


def error(problem, method, tolerance):
    """The largest error at the end, relative to 1 or the number."""
    solution = solve(
        problem.f, problem.start, (0.0, 20.0), solver=method, controller=PID(tolerance, tolerance), max_steps=10**5
    )
    y = solution.ys[-1][: len(problem.end)]
    return float(((y - problem.end).abs() / problem.end.abs().clamp(min=1.0)).max())


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_detest(name, method):
    tolerance = METHODS[method]
    assert error(PROBLEMS[name], method, tolerance) < 1000 * tolerance


def test_a_wrong_problem_is_noticed():
    """The canary: a coefficient that is off by a millionth."""
    wrong = PROBLEMS["B5"]._replace(f=lambda t, y, args: PROBLEMS["B5"].f(t, y, args) * (1 + 1e-6))
    assert error(wrong, Tsit5(), 1e-10) > 1000 * 1e-10
