"""Problems in CVXPY's language with closed forms: the layer's arguments, the form, and typical parameters."""

import cvxpy as cp
import numpy as np
import torch

WIDE = torch.float64


def knapsack():
    """An LP: the most valuable filling of a knapsack, with the price of its size; Dantzig (1957)."""
    x, value, size = cp.Variable(4), cp.Parameter(4), cp.Parameter()
    weight = np.array([1.0, 2.0, 1.5, 1.0])
    fits = weight @ x <= size
    problem = cp.Problem(cp.Maximize(value @ x), [fits, x >= 0, x <= 1])

    def form(value, size):
        w = torch.from_numpy(weight)
        order = (value / w).argsort(descending=True)
        before = w[order].cumsum(0) - w[order]
        x = ((size - before) / w[order]).clamp(0, 1)
        critical = int(((x > 0) & (x < 1)).nonzero()[0, 0])
        return x[order.argsort()], value[order[critical]] / w[order[critical]]

    return (problem, [value, size], [x, *fits.dual_variables]), form, ([3.0, 4.0, 3.5, 1.0], 3.2)


def simplex():
    """A QP: the nearest point of the simplex, by sorting; Held, Wolfe & Crowder (1974), doi:10.1007/BF01580223."""
    x, v = cp.Variable(4), cp.Parameter(4)
    whole = cp.sum(x) == 1
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - v) / 2), [x >= 0, whole])

    def form(v):
        u = v.sort(descending=True).values
        excess = (u.cumsum(0) - 1) / torch.arange(1, len(v) + 1, dtype=v.dtype)
        level = excess[u > excess][-1]
        return (v - level).clamp(min=0), level

    return (problem, [v], [x, *whole.dual_variables]), form, ([0.3, 0.9, -0.5, 0.4],)


def ball():
    """An SOCP: the nearest point of a ball, with the force of its boundary."""
    x, v, radius = cp.Variable(3), cp.Parameter(3), cp.Parameter(nonneg=True)
    inside = cp.norm(x) <= radius
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - v)), [inside])

    def form(v, radius):
        return v * radius / v.norm(), 2 * (v.norm() - radius)

    return (problem, [v, radius], [x, *inside.dual_variables]), form, ([1.0, -2.0, 0.5], 0.7)


def positive_part():
    """An SDP: the nearest positive semidefinite matrix, and twice what had to be added; Higham (1988)."""
    X, S = cp.Variable((3, 3), symmetric=True), cp.Parameter((3, 3), symmetric=True)
    semidefinite = X >> 0
    problem = cp.Problem(cp.Minimize(cp.sum_squares(X - S)), [semidefinite])

    def form(S):
        values, U = torch.linalg.eigh((S + S.mT) / 2)
        return U * values.clamp(min=0) @ U.mT, U * (-2 * values).clamp(min=0) @ U.mT

    return (
        (problem, [S], [X, *semidefinite.dual_variables]),
        form,
        ([[1.0, 0.5, -1.0], [0.5, -0.8, 0.3], [-1.0, 0.3, 0.4]],),
    )


def least_eigenvalue():
    """Another SDP: the least eigenvalue, and as the dual the projector on its eigenvector."""
    t, S = cp.Variable(), cp.Parameter((3, 3), symmetric=True)
    below = S - t * np.eye(3) >> 0
    problem = cp.Problem(cp.Maximize(t), [below])

    def form(S):
        values, U = torch.linalg.eigh((S + S.mT) / 2)
        return values[0], torch.outer(U[:, 0], U[:, 0])

    return (problem, [S], [t, *below.dual_variables]), form, ([[1.0, 0.5, -1.0], [0.5, -0.8, 0.3], [-1.0, 0.3, 0.4]],)


def softmax():
    """With exponential cones: the distribution of the largest gain and entropy, and as the dual its value."""
    x, gain, heat = cp.Variable(4), cp.Parameter(4), cp.Parameter(nonneg=True)
    whole = cp.sum(x) == 1
    problem = cp.Problem(cp.Maximize(gain @ x + heat * cp.sum(cp.entr(x))), [whole])

    def form(gain, heat):
        return (gain / heat).softmax(0), heat * (gain / heat).logsumexp(0) - heat

    return (problem, [gain, heat], [x, *whole.dual_variables]), form, ([0.3, 0.9, -0.5, 0.4], 0.8)


def cobb_douglas():
    """With a power cone: what a consumer buys; the exponent is the share of the budget. And the price of the budget."""
    x, utility, price, budget = cp.Variable(2), cp.Variable(), cp.Parameter(2), cp.Parameter()
    affordable = price @ x <= budget
    reached = cp.PowCone3D(x[0], x[1], utility, 0.3)
    problem = cp.Problem(cp.Maximize(utility), [affordable, reached])
    share = torch.tensor([0.3, 0.7], dtype=WIDE)

    def form(price, budget):
        x = share * budget / price
        utility = (x**share).prod()
        return x, utility, utility / budget

    return (problem, [price, budget], [x, utility, *affordable.dual_variables]), form, ([2.0, 0.5], 3.0)


CLOSED = (knapsack, simplex, ball, positive_part, least_eigenvalue, softmax, cobb_douglas)


def tensors(arguments):
    """Leaves in float64."""
    return [torch.tensor(v, dtype=WIDE, requires_grad=True) for v in arguments]
