"""BFGS with its whole matrix: minima that are known, the curvature it learns, rounds, checkpoints, and its refusals."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from torchflux_physics import BFGS, scipy_lbfgs


class Point(nn.Module):
    """Numbers that train."""

    def __init__(self, *numbers: float, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(numbers, dtype=dtype))


def rosenbrock(point: Point) -> Callable[[], Tensor]:
    x = point.x
    return lambda: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


HESSIAN = torch.tensor([[4.0, 1.0, 0.0], [1.0, 300.0, -2.0], [0.0, -2.0, 0.02]], dtype=torch.float64)


def test_finds_the_minimum_of_rosenbrocks_function() -> None:
    point = Point(-1.2, 1.0, -1.2, 1.0)
    found = BFGS(point)(rosenbrock(point), 200)
    assert (point.x - 1).abs().max() < 1e-7
    assert found.loss == pytest.approx(rosenbrock(point)().item(), abs=1e-20)
    assert found.evaluations < 200


def test_learns_the_inverse_of_the_second_derivatives() -> None:
    point = Point(1.0, -1.0, 5.0)
    polish = BFGS(point)
    polish(lambda: point.x @ HESSIAN @ point.x / 2, 40)
    assert torch.allclose(polish.inverse, HESSIAN.inverse(), rtol=1e-3, atol=1e-4)
    assert torch.allclose(polish.inverse, polish.inverse.T, rtol=1e-9)


def test_ill_conditioned_it_takes_fewer_evaluations_than_short_memory() -> None:
    scales = torch.logspace(-4, 4, 40, dtype=torch.float64)
    ends = []
    for minimise in (lambda p, loss: BFGS(p)(loss, 300), lambda p, loss: scipy_lbfgs(loss, p, 300, history=5)):
        point = Point(*[1.0] * 40)
        ends.append(minimise(point, lambda p=point: (scales * (p.x**2 + p.x**4)).sum()).loss)
    assert ends[0] < 1e-3 * ends[1]


def test_two_calls_go_on_as_one_and_a_checkpoint_too() -> None:
    whole, parts, later = (Point(-1.2, 1.0, 0.5) for _ in range(3))
    BFGS(whole)(rosenbrock(whole), 20)
    polish = BFGS(parts)
    polish(rosenbrock(parts), 8)
    later.load_state_dict(parts.state_dict())
    again = BFGS(later)
    again.load_state_dict(polish.state_dict())
    polish(rosenbrock(parts), 12)
    again(rosenbrock(later), 12)
    assert torch.equal(parts.x, whole.x)
    assert torch.equal(later.x, whole.x)


def test_ends_where_the_slope_is_zero() -> None:
    point = Point(1.0, 2.0)
    found = BFGS(point)(lambda: point.x.square().sum(), 100)
    assert found.message == "the slope is zero"
    assert found.iterations < 40
    assert point.x.abs().max() < 1e-150


def test_ends_where_the_loss_falls_no_further() -> None:
    point = Point(1.0, 2.0)
    wrong = lambda: 2 * point.x.square().sum().detach() - point.x.square().sum()  # its slope has the wrong sign
    found = BFGS(point)(wrong, 100)
    assert found.message == "the loss falls no further"
    assert point.x.tolist() == [1, 2]


def test_stops_when_told_and_says_the_loss_of_each_iteration() -> None:
    point, losses = Point(-1.2, 1.0), []

    def seen(iteration: int, loss: float) -> None:
        losses.append(loss)
        if iteration == 5:
            raise StopIteration

    found = BFGS(point)(rosenbrock(point), 100, seen=seen)
    assert found.message == "stopped by the caller"
    assert len(losses) == found.iterations == 5
    assert losses == sorted(losses, reverse=True)


def test_keeps_float32_and_refuses_nan() -> None:
    point = Point(3.0, -2.0, dtype=torch.float32)
    BFGS(point)(lambda: (point.x - 1).square().sum(), 20)
    assert point.x.dtype is torch.float32
    assert (point.x - 1).abs().max() < 1e-3
    with pytest.raises(FloatingPointError, match="nan"):
        BFGS(point)(lambda: (point.x * float("nan")).sum())


@pytest.mark.parametrize("beyond", [math.inf, math.nan])
def test_a_step_too_far_is_shortened(beyond: float) -> None:
    """x² - log(x) / 100 has its minimum at √0.005; the first step, of length one, leads below zero."""
    point, far = Point(0.9), []

    def loss() -> Tensor:
        x = point.x[0]
        far.append(x.item() <= 0)
        return x * beyond if far[-1] else x**2 - torch.log(x) / 100

    BFGS(point)(loss, 50)
    assert any(far)
    assert point.x.item() == pytest.approx(math.sqrt(0.005), rel=1e-6)
