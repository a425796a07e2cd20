"""The choice of the fastest way: all ways give the same, and what doesn't is refused."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import torchflux as tf
import torchflux_physics._fastest as way
from torchflux_physics import Dirichlet, Interval, Neumann, Problem, fastest, perceptron, residuals
from torchflux_physics._reverse import by_reverse

DOMAIN = Interval("x", 0, 1) * Interval("t", 0, 1)
POINTS = DOMAIN.sample(9, generator=torch.Generator().manual_seed(0)).points


def network(nout: int = 1) -> Any:
    torch.manual_seed(0)
    return perceptron(2, 8, 2, nout).double()


def burgers(**options: Any) -> tuple[Problem, Any]:
    k = nn.Parameter(torch.tensor(0.1, dtype=torch.float64))
    ends = {"ends": Neumann("u", 0.5, on=DOMAIN.boundary), "start": Dirichlet("u", 0.0, on=DOMAIN.start)}
    problem = Problem(DOMAIN, {"pde": lambda u, k: u.t + u * u.x - k * u.xx}, ends, params={"k": k}, **options)
    counts, rng = {"pde": 12, "ends": 5, "start": 4}, torch.Generator().manual_seed(0)
    return problem, problem.sample(counts, generator=rng, dtype=torch.float64)


EQUATIONS = {
    "mixed": (lambda u: u.xxt + u * u.tt - u.x, lambda: network()),
    "fields": (lambda u, v: (u.xx + v.t, u * v.x), lambda: {"u v": network(2)}),
    "vectors": (lambda w: w[0].x + w[1].tt, lambda: {"w": network(2)}),
    "two models": (lambda u, f: u.xx - f, lambda: {"u": network(), "f": network()}),
    "elsewhere": (lambda u, x, t: u(x, 2 * t).t - u.x, lambda: network()),
    "complex": (lambda u: 1j * u.t + u.xx, lambda: lambda p: torch.exp(1j * p[:, 0] * p[:, 1] ** 2)),
    "still": (lambda u: u.x + u.t, lambda: lambda p: 0 * p[:, 1] + 3),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_reverse_mode_gives_the_derivatives_of_jets(name: str) -> None:
    equation, models = EQUATIONS[name]
    found, jets = (residuals(equation, m, POINTS) for m in (by_reverse(models()), models()))
    for key, value in jets.items():
        torch.testing.assert_close(found[key], value, rtol=1e-11, atol=1e-12)


def test_gradients_reach_points_that_are_trained() -> None:
    points = POINTS.clone().requires_grad_()
    equation = lambda u: u.xx + u.t**2
    slopes = [
        torch.autograd.grad(residuals(equation, m, points)["residual"].sum(), points)[0]
        for m in (network(), by_reverse(network()))
    ]
    torch.testing.assert_close(*slopes, rtol=1e-11, atol=1e-12)


def test_the_least_time_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, batch = burgers(weights={"ends": 3.0})
    ticks = iter([0.0, 3.0, 10.0, 11.5])  # seconds for calls of the first way, and of the second
    monkeypatch.setattr(way, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    monkeypatch.setattr(way, "ROUNDS", 1)
    chosen = fastest(problem, network(), batch, evaluations=1)
    assert chosen.seconds == {"jets": 1.0, "reverse mode": 0.5}
    assert chosen.name == "reverse mode"
    assert (
        str(chosen) == "reverse mode (jets 1e+03 ms, reverse mode 5e+02 ms; compiled: not tried for so few evaluations)"
    )
    for name, loss in problem(network(), batch).items():
        torch.testing.assert_close(chosen(network(), batch)[name], loss)


def test_compilation_is_tried_where_it_may_pay() -> None:
    problem, batch = burgers()
    many = fastest(problem, network(), batch, 10**8, backend="aot_eager")
    assert set(many.seconds) == {"jets", "reverse mode", "compiled"}
    broken = fastest(problem, network(), batch, 10**8, backend="nonsense")
    assert "nonsense" in broken.left_out["compiled"]
    assert broken.name in ("jets", "reverse mode")


def test_what_differs_is_refused() -> None:
    problem, batch = burgers()
    torch.manual_seed(0)
    random = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1)).double()
    with pytest.raises(ValueError, match=r"random \(dropout\)"):
        fastest(problem, random, batch)

    def mixing(p: Any) -> Any:  # each value depends on all points
        return tf.tanh(p[:, 0] - p[:, 0].mean()) * p[:, 1]

    with pytest.raises(ValueError, match="depend on others"):
        fastest(problem, mixing, batch)


def test_losses_must_be_finite_first() -> None:
    problem = Problem(DOMAIN, lambda u, x: u.t + torch.log(x - 0.5))
    batch = problem.sample({"equation": 20}, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with pytest.raises(FloatingPointError, match="the residual equation isn't finite at"):
        fastest(problem, network(), batch)


def test_nothing_to_train() -> None:
    _, batch = burgers()
    chosen = fastest(Problem(DOMAIN, lambda u: u.t - u.xx), lambda p: torch.sin(p[:, 0]), {"equation": batch["pde"]})
    assert math.isfinite(min(chosen.seconds.values()))
