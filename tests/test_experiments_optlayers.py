"""The experiments with programs as layers: a short version of each, and what stands behind their numbers."""

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from torchflux_lab import find

pytest.importorskip("matplotlib")
Short = Callable[..., dict[str, Any]]
FOLDER = Path(__file__).parent.parent / "experiments"


@pytest.fixture
def sudoku() -> Iterator[Any]:
    with find("sudoku", FOLDER).loaded():
        yield sys.modules["sudoku"]


@pytest.fixture
def mpc() -> Iterator[Any]:
    with find("mpc", FOLDER).loaded():
        yield sys.modules["mpc"]


@pytest.fixture
def portfolio() -> Iterator[Any]:
    with find("portfolio", FOLDER).loaded():
        yield sys.modules["portfolio"]


def test_sudoku(short: Short) -> None:
    results = short("sudoku", "seeds=1", "puzzles=200", "tests=10", "steps=40", "every=40", "epochs=1")
    assert results["true rules"]["held out"] == results["equations by algebra"]["held out"] == [1.0]
    assert min(results["rules known"][0]) > 0.68  # 40 equations by chance know 0.625 of them


def test_sudokus_boards(sudoku: Any) -> None:
    """288 grids and 2 kinds of them are published (Felgenhauer & Jarvis); 40 of the 64 rules are independent."""
    boards = sys.modules["boards"]
    assert len(boards.LIST) == 288
    assert boards.IS_LARGER.sum() == 192
    other = next(grid for grid in boards.LIST if grid not in boards.LARGER)
    assert len(boards.kind(other)) == 96
    assert not boards.kind(other) & boards.LARGER
    rules = sudoku.true_rules()
    assert torch.linalg.matrix_rank(rules) == 40
    assert (rules @ boards.BOARDS.T == 1).all()
    assert sudoku.known(rules.T @ rules) == pytest.approx([1.0] * 4)


def test_sudokus_clues_determine_the_grid_and_none_can_be_spared(sudoku: Any) -> None:
    boards, rng = sys.modules["boards"], torch.Generator().manual_seed(0)
    for grid in boards.GRIDS[::60]:
        kept = boards.clues(grid, rng)
        solutions = lambda cells, grid=grid: (boards.GRIDS[:, cells] == grid[cells]).all(1).sum()
        assert solutions(kept) == 1
        for cell in kept.nonzero()[:, 0]:
            assert solutions(kept & (torch.arange(16) != cell)) > 1


def test_mpc(short: Short) -> None:
    settings = ("seeds=1", "shown=1", "tests=3", "seconds=1.5", "steps=5", "network_steps=100", "noise=0.01")
    results = short("mpc", *settings)
    learned, network = (results["control"][f"{name}, 1 shown, wall at 0.6 m"] for name in ("costs", "network"))
    assert abs(learned["cost"][0] - 1) < 0.1 < abs(network["cost"][0] - 1)
    assert learned["runs beyond the wall"] == [0.0]
    assert results["systems"]["warm"] < results["systems"]["cold"]


def test_mpcs_cart_keeps_its_energy(mpc: Any) -> None:
    """Without force: of the cart and of a thin rod, 4/3 m l² about its foot. With a wrong g it is not kept."""
    cart = sys.modules["cart"]

    def energy(state: torch.Tensor, gravity: float = cart.GRAVITY) -> torch.Tensor:
        _, v, θ, ω = state
        l, m = cart.LENGTH, cart.POLE
        moving = (cart.CART + m) * v**2 / 2 + m * l * v * ω * θ.cos() + 2 / 3 * m * l**2 * ω**2
        return moving + m * gravity * l * θ.cos()

    state = start = torch.tensor([0.0, 0.3, 0.4, -0.2]).double()
    for _ in range(20):
        state = mpc.step(state, torch.tensor(0.0).double())
    assert energy(state).item() == pytest.approx(energy(start).item(), abs=1e-4)
    assert abs(energy(state, 9.9) - energy(start, 9.9)) > 1e-3


def test_mpcs_program_is_the_cost_of_the_linear_forecast(mpc: Any) -> None:
    """Differences between two plans' costs, by going ahead step by step."""
    cart = sys.modules["cart"]
    state, rng = torch.tensor([[0.1, -0.3, 0.1, 0.2]]).double(), torch.Generator().manual_seed(0)
    Q, p, G, h = mpc.EXPERT.program(state, 0.6)
    A, B = torch.func.jacfwd(cart.step, (0, 1))(torch.zeros(4).double(), torch.tensor(0.0).double())

    def ahead(forces: torch.Tensor) -> torch.Tensor:
        states = [state[0]]
        for force in forces:
            states.append(A @ states[-1] + B * force)
        return torch.stack(states[1:])

    plans = torch.randn(2, cart.HORIZON + 1, generator=rng, dtype=torch.float64)
    plans[:, -1] = 0
    cost = lambda u: (ahead(u[:-1]).square() @ mpc.COSTS).sum() / 2 + 0.05 * u.square().sum()
    programs = [(u @ Q @ u / 2 + p[0] @ u).item() for u in plans]
    assert programs[0] - programs[1] == pytest.approx((cost(plans[0]) - cost(plans[1])).item(), rel=1e-9)
    beyond = (ahead(plans[0, :-1])[:, 0] - 0.6 + cart.MARGIN).max()
    assert (G @ plans[0] - h[0])[2 * cart.HORIZON : 3 * cart.HORIZON].max().item() == pytest.approx(beyond.item())


def test_mpcs_first_force_has_the_slope_of_differences(mpc: Any) -> None:
    state = torch.tensor([[0.4, 0.5, 0.1, 0.2], [-0.5, -0.1, 0.2, -0.4]]).double()
    first = lambda logarithms: mpc.Controller(logarithms)(state, 0.6)[0]
    at, small = mpc.TRUTH.log(), 1e-5 * torch.eye(5).double()
    slope = torch.func.jacfwd(first)(at)  # (2, 5)
    differences = torch.stack([(first(at + e) - first(at - e)) / 2e-5 for e in small], 1)
    assert torch.allclose(slope, differences, rtol=1e-4, atol=1e-5)
    assert slope.abs().max() > 0.1


def test_portfolio(short: Short) -> None:
    results = short("portfolio", "first=2021", "again=2", "steps=5", "resamples=100")
    for row in results["test"].values():
        assert 0 < row["deviation"] < 0.5
    for row in results["end to end, less"].values():
        assert row["utility"]["low"] < row["utility"]["high"]
    ours, tuned = (results["learned"][name]["2021"] for name in ("end to end", "tuned"))
    assert ours[0] != tuned[0]  # the coefficients of "tuned" are the regression's


def test_portfolio_knows_the_past_only(portfolio: Any) -> None:
    market = sys.modules["market"]
    i, t = 100, market.MOMENTS[100]
    assert torch.equal(market.KNOWN[i], market.features(market.WEEKS[:t][-52:, :-1]))
    assert torch.equal(market.SPREAD[i], market.covariance(market.WEEKS[:t][-104:, :-1]))
    week = market.WEEKS[t : t + 4, 0]
    assert market.NEXT[i, 0].item() == pytest.approx(math.prod((1 + week).tolist()) - 1)


def test_portfolios_weights_obey_and_its_utility_has_the_slope_of_differences(portfolio: Any) -> None:
    p, periods = portfolio.Parameters(), torch.arange(40, 52)[:, None]
    policy = portfolio.predict(torch.arange(100), p)
    returns, weights, traded, _ = portfolio.invest(policy, periods, p)
    assert torch.allclose(weights.sum(-1), torch.ones(1).double())
    assert -1e-9 < weights.min() < weights.max() < p.limit + 1e-9
    assert torch.allclose(returns[0, 0], weights[0, 0] @ portfolio.NEXT[40, :-1] - p.cost * traded[0, 0])
    value = lambda *weights: portfolio.utility(portfolio.invest(portfolio.Policy(*weights), periods, p)[0], p).mean()
    slopes = torch.func.grad(value, (0, 1, 2))(*policy.weights)
    for k, step in ((0, torch.tensor([0, 1e-5, 0, 0]).double()), (1, torch.tensor(1e-5)), (2, torch.tensor(1e-5))):
        there, back = ([w + s * step if j == k else w for j, w in enumerate(policy.weights)] for s in (1, -1))
        due = (value(*there) - value(*back)) / 2e-5
        assert (slopes[k][1] if k == 0 else slopes[k]).item() == pytest.approx(due.item(), rel=1e-3)


def test_portfolios_intervals_hold_the_difference(portfolio: Any) -> None:
    p, rng = portfolio.Parameters(), torch.Generator().manual_seed(0)
    score = lambda returns: portfolio.yearly(returns, p)
    x = 0.04 * torch.randn(200, generator=rng, dtype=torch.float64)
    for shift in (0.0, 0.01):
        found = portfolio.compared(score, x + shift, x, 13, 500, 0)["utility"]
        assert found["difference"] == pytest.approx(13 * (shift - 2.5 * (2 * shift * x.mean() + shift**2).item()))
        assert found["low"] <= found["difference"] <= found["high"]
        assert (found["low"] > 0) is (shift > 0)
