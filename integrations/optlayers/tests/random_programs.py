"""Random programs of which is known what they are, and the conditions of a solution, written down independently."""

import numpy as np
import torch

KINDS = ("strictly convex", "degenerate", "infeasible", "unbounded", "badly scaled")
N, M, E = 6, 10, 1
"""Variables, inequalities and equations."""


def program(kind, seed):
    """Arrays Q, p, G, h, A, b of one program; what is said of its kind is true of it."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    root, p, G, A = rng.normal(size=(N, N)), rng.normal(size=N), rng.normal(size=(M, N)), rng.normal(size=(E, N))
    inside = rng.normal(size=N)
    Q, h, b = root @ root.T / N + 0.1 * np.eye(N), G @ inside + rng.uniform(size=M), A @ inside
    if kind == "degenerate":  # many rows meet in one point, some are there twice, and Q has rank 2
        Q, h = root[:, :2] @ root[:, :2].T, G @ inside
        G[5], h[5] = 2 * G[4], 2 * h[4]
        p = -Q @ inside - G.T @ np.where(rng.uniform(size=M) < 0.5, 0, rng.uniform(size=M)) - A.T @ rng.normal(size=E)
    if kind == "infeasible":  # a sum of rows with positive weights says 0 ≤ -0.1
        weights = rng.uniform(size=M - 1) * (rng.uniform(size=M - 1) < 0.5)
        weights[0] = 1
        G[-1], h[-1] = -weights @ G[:-1], -weights @ h[:-1] - 0.1
    if kind == "unbounded":  # along a ray the constraints hold and the cost falls
        ray = rng.normal(size=N)
        ray /= np.linalg.norm(ray)
        off = np.eye(N) - np.outer(ray, ray)
        Q, A, G = off @ Q @ off, A @ off, G - np.outer(np.maximum(G @ ray, 0), ray)
        b, h, p = A @ inside, G @ inside + 1, p - (p @ ray + 1) * ray
    if kind == "badly scaled":
        columns, rows = 10.0 ** rng.uniform(-3, 3, N), 10.0 ** rng.uniform(-3, 3, M)
        Q, p, A = 1e4 * columns[:, None] * Q * columns, 1e4 * columns * p, A * columns
        G, h = rows[:, None] * G * columns, rows * h
    return Q, p, G, h, A, b


def batch(kind, size, dtype=torch.float64):
    """The first programs of a kind as tensors."""
    columns = zip(*(program(kind, seed) for seed in range(size)), strict=True)
    return [torch.tensor(np.stack(column), dtype=dtype) for column in columns]


def cost(Q, p, x):
    """½ x·Qx + p·x."""
    return torch.einsum("bi,bij,bj->b", x, Q, x) / 2 + (p * x).sum(-1)


def violation(Q, p, G, h, A, b, x, z, y):
    """The largest violation of the conditions of Karush, Kuhn and Tucker of each program, relative to its terms."""

    def mv(matrix, v):
        return torch.einsum("bij,bj->bi", matrix, v)

    def largest(*vectors):
        return torch.cat([torch.zeros_like(p[:, :1]), *(v.abs() for v in vectors)], -1).amax(-1)

    def relative(residual, *terms):
        return largest(residual) / (1 + largest(*terms))

    pulls = mv(Q, x), mv(G.mT, z), mv(A.mT, y)
    slack = h - mv(G, x)
    found = relative(sum(pulls) + p, *pulls), relative(slack.clamp(max=0), h), relative(mv(A, x) - b, b)
    signs = relative(z.clamp(max=0), z), relative(z * slack, cost(Q, p, x)[:, None])
    return torch.stack((*found, *signs)).amax(0)
