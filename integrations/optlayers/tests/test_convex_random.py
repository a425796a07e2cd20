"""Random problems over every cone: their values are CVXPY's, and their gradients those of differences."""

import cvxpy as cp
import numpy as np
import pytest
import torch
from convex_programs import WIDE

from torchflux_optlayers import ConvexLayer


def symmetric(rng, n):
    root = rng.normal(size=(n, n))
    return root + root.T


def second_order(rng):
    x, cost, center = cp.Variable(5), cp.Parameter(5), cp.Parameter(3)
    constraints = [cp.norm(x) <= 2, cp.norm(rng.normal(size=(3, 5)) @ x - center) <= 1.5, cp.norm1(x) <= 3]
    return cp.Minimize(cost @ x), constraints, [cost, center], x, (rng.normal(size=5), 0.3 * rng.normal(size=3))


def robust_portfolio(rng):
    x, mean, root = cp.Variable(4), cp.Parameter(4), cp.Parameter((3, 4))
    objective = cp.Maximize(mean @ x - 0.7 * cp.norm(root @ x))
    return objective, [cp.sum(x) == 1, x >= 0], [mean, root], x, (rng.normal(size=4), rng.normal(size=(3, 4)))


def maximum_cut(rng):
    X, weights = cp.Variable((5, 5), PSD=True), cp.Parameter((5, 5), symmetric=True)
    return cp.Minimize(cp.trace(weights @ X)), [cp.diag(X) == 1], [weights], X, (symmetric(rng, 5),)


def low_rank(rng):
    X, M = cp.Variable((3, 4)), cp.Parameter((3, 4))
    return cp.Minimize(cp.sum_squares(X - M) / 2 + 0.8 * cp.normNuc(X)), [], [M], X, (rng.normal(size=(3, 4)),)


def sparse_inverse(rng):
    X, S = cp.Variable((3, 3), PSD=True), cp.Parameter((3, 3), PSD=True)
    root = rng.normal(size=(3, 5))
    objective = cp.Maximize(cp.log_det(X) - cp.trace(S @ X) - 0.1 * cp.norm1(X))
    return objective, [], [S], X, (root @ root.T / 5 + 0.3 * np.eye(3),)


def entropy(rng):
    x, gain = cp.Variable(5), cp.Parameter(5)
    constraints = [cp.sum(x) == 1, x <= 0.4, x @ np.arange(5) >= 1.5]
    return cp.Maximize(cp.sum(cp.entr(x)) + gain @ x), constraints, [gain], x, (2 * rng.normal(size=5),)


def powers(rng):
    x, t, price, budget = cp.Variable(3), cp.Variable(3), cp.Parameter(3, nonneg=True), cp.Parameter()
    constraints = [*(cp.PowCone3D(x[i], 1, t[i], 0.2 + 0.2 * i) for i in range(3)), price @ x <= budget]
    objective = cp.Maximize(cp.sum(t) - 0.01 * cp.sum_squares(x))
    return objective, constraints, [price, budget], x, (rng.uniform(0.5, 2, size=3), np.array(2.0))


def linear(rng):
    x, cost, bound = cp.Variable(5), cp.Parameter(5), cp.Parameter(4)
    constraints = [rng.normal(size=(4, 5)) @ x <= bound, cp.abs(x) <= 1]
    return cp.Minimize(cost @ x), constraints, [cost, bound], x, (rng.normal(size=5), rng.uniform(0.1, 1, size=4))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "draw", [second_order, robust_portfolio, maximum_cut, low_rank, sparse_inverse, entropy, powers, linear]
)
def test_values_and_slopes(draw, seed):
    rng = np.random.default_rng(seed)
    objective, constraints, parameters, variable, values = draw(rng)
    problem = cp.Problem(objective, constraints)
    layer = ConvexLayer(problem, parameters, [variable], on_failure="raise")
    args = [torch.tensor(v, dtype=WIDE, requires_grad=True) for v in values]
    solution = layer.solve(*args)
    for parameter, value in zip(parameters, values, strict=True):
        parameter.value = value
    problem.solve(solver=cp.CLARABEL)
    assert solution.objective.item() == pytest.approx(problem.value, rel=1e-6, abs=1e-6)
    assert max(solution.primal_residual, solution.dual_residual) < 1e-10
    weight = torch.tensor(rng.normal(size=variable.shape))
    ways = [
        torch.tensor(symmetric(rng, len(v)) if v.shape in [(3, 3), (5, 5)] else rng.normal(size=v.shape))
        for v in values
    ]
    grads = torch.autograd.grad((solution.values[0] * weight).sum(), args)
    slope = sum((g * w).sum() for g, w in zip(grads, ways, strict=True))
    above, below = (layer(*(v + s * w for v, w in zip(args, ways, strict=True)))[0] for s in (1e-5, -1e-5))
    difference = ((above - below) * weight).sum() / 2e-5
    torch.testing.assert_close(slope, difference, rtol=1e-5, atol=1e-6)
    assert solution.gradient_residual < 1e-10
