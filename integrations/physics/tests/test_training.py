"""Helpers of a training loop, and networks: against closed forms, and that a problem is solved by them."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchflux as tf
from torchflux_physics import (
    Dirichlet,
    Factorised,
    FourierFeatures,
    Interval,
    ModifiedMLP,
    PeriodicFeatures,
    Points,
    Problem,
    causal_loss,
    check_losses,
    gradient_balance,
    lbfgs,
    ntk_balance,
    perceptron,
    refined,
    relative_error,
    residuals,
    scipy_lbfgs,
    siren,
)

LINE = Interval("x", 0, 1)
POISSON = Problem(
    LINE,
    {"pde": lambda u, x: u.xx + math.pi**2 * torch.sin(math.pi * x)},
    {"ends": Dirichlet("u", 0.0, on=LINE.boundary)},
)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def poisson() -> tuple[Any, Any]:
    torch.manual_seed(0)
    batch = POISSON.sample({"pde": 32, "ends": 8}, generator=seeded(), method="sobol", dtype=torch.float64)
    return perceptron(1, 12, 2).double(), batch


NETWORKS = {
    "perceptron": lambda: perceptron(2, 8, 2),
    "fourier": lambda: tf.Chain(FourierFeatures(2, 8, generator=seeded()), perceptron(8, 8, 1)),
    "siren": lambda: siren(2, 8, 2, omega=3.0),
    "modified": lambda: ModifiedMLP(2, 8, 2),
    "factorised": lambda: Factorised.every(perceptron(2, 8, 2), generator=seeded()),
    "periodic": lambda: tf.Chain(PeriodicFeatures(0, 2.0, 2), perceptron(5, 8, 1)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_all_derivatives(name: str) -> None:
    torch.manual_seed(0)
    model, points = NETWORKS[name]().double(), torch.rand(5, 2, dtype=torch.float64, generator=seeded())
    found = residuals(lambda u: u.xxt + u * u.x, model, points)["residual"]

    def by_hand(p: Tensor) -> Tensor:
        u = lambda x, t: model(torch.stack([x, t])[None])[0, 0]
        slope = torch.func.grad(u)
        third = torch.func.grad(torch.func.grad(slope), 1)
        return third(p[0], p[1]) + u(p[0], p[1]) * slope(p[0], p[1])

    torch.testing.assert_close(found, torch.stack([by_hand(p) for p in points]), rtol=1e-9, atol=1e-9)


def test_what_networks_promise() -> None:
    torch.manual_seed(0)
    plain = perceptron(2, 8, 2)
    points = torch.rand(5, 2, generator=seeded())
    torch.testing.assert_close(Factorised.every(plain, generator=seeded())(points), plain(points))
    around = NETWORKS["periodic"]()
    torch.testing.assert_close(around(points + torch.tensor([2.0, 0.0])), around(points))
    assert FourierFeatures(2, 8, generator=seeded())(points).square().sum(1) == pytest.approx(torch.full((5,), 4.0))
    with pytest.raises(ValueError, match="7 is odd"):
        FourierFeatures(2, 7)
    first = siren(1, 200, 2, omega=30.0)
    hidden = first[1].linear.weight
    assert hidden.abs().max().item() <= math.sqrt(6 / 200) / 30


@pytest.mark.parametrize("polish", [lbfgs, scipy_lbfgs])
def test_quasi_newton_solves_a_problem(polish: Any) -> None:
    model, batch = poisson()
    seen: list[float] = []
    found = polish(lambda: POISSON.total(POISSON(model, batch)), model, 300, seen=lambda k, loss: seen.append(loss))
    x = torch.linspace(0, 1, 50, dtype=torch.float64)[:, None]
    assert relative_error(model(x), torch.sin(math.pi * x)) < 1e-3
    assert POISSON.total(POISSON(model, batch)).item() == pytest.approx(found.loss)
    assert seen[0] > found.loss
    assert found.evaluations >= found.iterations / 2


@pytest.mark.parametrize("polish", [lbfgs, scipy_lbfgs])
def test_quasi_newton_stops_when_told_and_keeps_the_best(polish: Any) -> None:
    def stop(iteration: int, loss: float) -> None:
        raise StopIteration

    model, batch = poisson()
    assert polish(lambda: POISSON.total(POISSON(model, batch)), model, 100, seen=stop).iterations <= 20
    weights = [p.detach().clone() for p in model.parameters()]
    calls = iter([1.0, math.nan])
    with pytest.raises(FloatingPointError, match="nan at evaluation 2; the best was"):
        polish(lambda: POISSON.total(POISSON(model, batch)) * next(calls), model, 100)
    for before, after in zip(weights, model.parameters(), strict=True):
        assert torch.equal(before, after)


def test_gradients_of_one_size() -> None:
    model, batch = poisson()
    losses = POISSON(model, batch)
    weights = gradient_balance(losses, model)
    slopes = {
        name: torch.autograd.grad(weights[name] * loss, list(model.parameters()), retain_graph=True, allow_unused=True)
        for name, loss in losses.items()
    }
    norms = [torch.cat([g.flatten() for g in each if g is not None]).norm() for each in slopes.values()]
    assert norms[0].item() == pytest.approx(norms[1].item())


def test_weights_by_the_tangent_kernel() -> None:
    # u = a x + b: ∂u/∂(a, b) = (x, 1), so the kernel's diagonal is x² + 1 at the ends and 1 for u.x.
    model = nn.Linear(1, 1).double()
    problem = Problem(LINE, {"slope": lambda u: u.x}, {"ends": Dirichlet("u", 0.0, on=LINE.boundary)})
    batch = {"slope": Points(torch.rand(4, 1).double()), "ends": Points(torch.tensor([[0.0], [1.0]]).double())}
    assert ntk_balance(problem, model, batch) == pytest.approx({"slope": 2.5, "ends": 2.5 / 1.5})


def test_causal_weights() -> None:
    t = torch.linspace(0, 1, 400, dtype=torch.float64)
    late = 10.0 * (t > 0.5).double()
    loss, weights = causal_loss(late, t, tolerance=1.0, chunks=4)
    torch.testing.assert_close(weights, torch.tensor([1.0, 1, 1, math.exp(-100)], dtype=torch.float64))
    assert loss.item() == pytest.approx(25, rel=0.02)
    even, weights = causal_loss(torch.ones_like(t), t, tolerance=0.0)
    assert even.item() == pytest.approx(1)
    assert (weights == 1).all()
    assert causal_loss(torch.ones(3), torch.zeros(3))[0].isfinite()


def test_points_are_added_where_the_residual_is_large() -> None:
    batch = POISSON.sample({"pde": 10, "ends": 2}, generator=seeded())
    steep = lambda p: torch.sigmoid(60 * (p[:, 0] - 0.8))
    more = refined(POISSON, steep, "pde", batch["pde"], 200, power=2.0, generator=seeded())
    assert len(more) == 210
    assert torch.equal(more.points[:10], batch["pde"].points)
    near = ((more.points[10:, 0] - 0.8).abs() < 0.1).float().mean()
    assert near > 0.5
    flat = refined(POISSON, steep, "pde", batch["pde"], 200, power=0.0, generator=seeded())
    assert ((flat.points[10:, 0] - 0.8).abs() < 0.1).float().mean() < 0.35
    assert refined(POISSON, steep, "ends", batch["ends"], 3, generator=seeded()).data["normal"].shape == (5, 1)
    with pytest.raises(ValueError, match="no term is called"):
        refined(POISSON, steep, "pd", batch["pde"], 3)


def test_a_loss_that_is_not_finite_is_named() -> None:
    problem = Problem(
        LINE, {"pde": lambda u, x: torch.log(x - 0.5) + u}, {"ends": Dirichlet("u", 0.0, on=LINE.boundary)}
    )
    points = Points(torch.tensor([[0.75], [0.25], [0.9]]))
    batch = {"pde": points, "ends": Points(torch.tensor([[0.0]]))}
    model = perceptron(1, 4, 1)
    losses = problem(model, batch)
    with pytest.raises(FloatingPointError, match=r"pde isn't finite at 1 of 3 points, the first at x = 0\.25"):
        check_losses(problem, model, batch, losses)
    check_losses(problem, model, batch, {"ends": losses["ends"]})
    huge = {"ends": torch.tensor(math.inf)}
    with pytest.raises(FloatingPointError, match="too large to be squared"):
        check_losses(problem, model, batch, huge)


def test_errors() -> None:
    assert relative_error(torch.tensor([1.1]), torch.tensor([1.0])) == pytest.approx(0.1, rel=1e-5)
    with pytest.raises(ValueError, match="can't be compared"):
        relative_error(torch.zeros(3, 1), torch.zeros(3))
