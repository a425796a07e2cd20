"""What users get wrong: each is an error, or a warning, that says what it was."""

import math
from typing import Any

import pytest
import torch

from torchflux_physics import (
    BFGS,
    Cloud,
    Data,
    Dirichlet,
    Disk,
    Interval,
    Points,
    Problem,
    check_losses,
    perceptron,
    refined,
    residuals,
)

DOMAIN = Interval("x", 0, 1) * Interval("t", 0, 2)
ENDS = {"ends": Dirichlet("u", 0.0, on=DOMAIN.boundary)}


def network(activation: Any = torch.tanh) -> Any:
    torch.manual_seed(0)
    return perceptron(2, 8, 2, activation=activation)


def test_a_residual_that_is_a_vector() -> None:
    with pytest.raises(ValueError, match=r"the residual 'residual' is of shape \(2,\) at a point; it must be a number"):
        residuals(lambda u: torch.stack([u.x, u.t]), network(), torch.rand(3, 2))


def test_a_residual_that_is_not_a_number() -> None:
    problem = Problem(DOMAIN, {"pde": lambda u, x: u.t + torch.sqrt(x - 0.5)})
    batch = {"pde": Points(torch.tensor([[0.75, 0.0], [0.25, 1.0]]))}
    model = network()
    with pytest.raises(
        FloatingPointError, match=r"the residual pde isn't finite at 1 of 2 points, the first at x = 0.25"
    ):
        check_losses(problem, model, batch, problem(model, batch))
    with pytest.raises(FloatingPointError, match="the loss is nan at evaluation 1"):
        BFGS(model)(lambda: problem.total(problem(model, batch)))


@pytest.mark.parametrize("activation", [torch.relu, torch.nn.functional.leaky_relu])
def test_a_second_derivative_through_relu(activation: Any) -> None:
    with pytest.warns(UserWarning, match=f"of order 2 is taken through {activation.__name__}, .* straight pieces"):
        residuals(lambda u: u.t - u.xx, network(activation), torch.rand(3, 2))


def test_a_first_derivative_through_relu_is_no_fault() -> None:
    residuals(lambda u: u.t - u.x, network(torch.relu), torch.rand(3, 2))  # warnings are errors here


def test_a_condition_without_points() -> None:
    problem = Problem(DOMAIN, {"pde": lambda u: u.t - u.xx}, ENDS)
    with pytest.raises(ValueError, match="ends would have no points, so no part in the loss"):
        problem.sample({"pde": 5, "ends": 0})
    batch = problem.sample({"pde": 5, "ends": 2})
    with pytest.raises(ValueError, match="ends has no points in this batch; a mean over none would be NaN"):
        problem(network(), {**batch, "ends": batch["ends"][:0]})


def test_a_point_outside_the_domain() -> None:
    points = torch.tensor([[0.5, 0.5], [0.5, 2.5]])
    with pytest.raises(ValueError, match=r"1 of 2 points lie outside, the first \(row 1\) at x = 0.5, t = 2.5"):
        DOMAIN.check(points)
    seen = Data("u", torch.zeros(2), at=Cloud(points, ("x", "t")))
    with pytest.raises(ValueError, match="the points of seen belong into the domain: 1 of 2 points lie outside"):
        Problem(DOMAIN, {"pde": lambda u: u.t}, {"seen": seen})
    edge = Interval("x", 0, 0.99)
    rounded = torch.tensor([[0.99], [0.0]])  # in float32, which is more than 0.99
    assert rounded.double().max() > 0.99
    assert edge.check(rounded) is rounded
    ring = Disk("xy", (0, 0), 2) - Disk("xy", (0, 0), 1)
    ring.check(torch.tensor([[math.sqrt(2), math.sqrt(2)], [1.0, 0.0]]))
    with pytest.raises(ValueError, match=r"at x = 0\.999, y = 0"):
        ring.check(torch.tensor([[0.999, 0.0]]))


def test_points_with_the_coordinates_in_another_order() -> None:
    seen = Data("u", torch.zeros(1), at=Cloud(torch.tensor([[1.5, 0.5]]), ("t", "x")))
    with pytest.raises(ValueError, match="the points of seen have the coordinates t, x; those of the domain are x, t"):
        Problem(DOMAIN, {"pde": lambda u: u.t}, {"seen": seen})


def test_weights_that_are_misspelt() -> None:
    equations = {"pde": lambda u: u.t - u.xx}
    with pytest.raises(ValueError, match="weights for end, which no term is called: there are pde, ends"):
        Problem(DOMAIN, equations, ENDS, weights={"end": 100.0})
    with pytest.raises(ValueError, match="weights for 0, 1, which no term is called"):
        Problem(DOMAIN, equations, ENDS, weights={"0": 1.0, "1": 100.0})  # by position


def test_a_name_that_nothing_has() -> None:
    with pytest.raises(TypeError, match=r"takes v, which nothing is named\. Known are the fields u"):
        residuals(lambda u, v: u.t - v, network(), torch.rand(3, 2))


def test_a_weight_of_a_part_that_there_is_not() -> None:
    problem = Problem(DOMAIN, {"pde": lambda u: {"a": u.t, "b": u.x}}, ENDS, weights={"pde.c": 10.0})
    batch = problem.sample({"pde": 5, "ends": 2})
    with pytest.raises(
        ValueError, match=r"weights for pde\.c, which no loss is called: there are pde\.a, pde\.b, ends"
    ):
        problem.total(problem(network(), batch))


def test_what_has_no_names() -> None:
    with pytest.raises(TypeError, match="conditions are a dict by name"):
        Problem(DOMAIN, lambda u: u.t, [ENDS["ends"]])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="weights are a dict by name"):
        Problem(DOMAIN, lambda u: u.t, ENDS, weights=[1.0, 100.0])  # type: ignore[arg-type]


def test_the_boundary_of_another_domain() -> None:
    other = (Interval("x", 0, 2) * Interval("t", 0, 2)).boundary
    with pytest.raises(ValueError, match=r"the points of ends belong into the domain: .* lie outside"):
        Problem(DOMAIN, lambda u: u.t, {"ends": Dirichlet("u", 0.0, on=other)})


def test_more_refined_points_than_candidates() -> None:
    problem = Problem(DOMAIN, {"pde": lambda u: u.t})
    with pytest.raises(ValueError, match="50 points can't be chosen of 20 candidates"):
        refined(problem, network(), "pde", problem.sample({"pde": 5})["pde"], 50, candidates=20)
