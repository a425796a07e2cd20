"""Batches of programs in compiled code: equilibrated, solved, and their reduced systems solved."""

import math

import numpy as np

from torchflux_optlayers._constants import INDEFINITE, PASSES, SHORT, SINGULAR
from torchflux_optlayers._native_algebra import assemble, cholesky, dot, finite, jit, largest, refine
from torchflux_optlayers._native_interior import search

SOLVED, NOT_CONVEX, NOT_FINITE, MAX_ITERATIONS = 0, 3, 4, 5


@jit
def power_of_two(x):  # type: ignore[no-untyped-def]
    """The nearest to a positive number."""
    return 2.0 ** np.rint(math.log2(x))


@jit
def symmetric(Q, out):  # type: ignore[no-untyped-def]
    """Writes the symmetric part."""
    for j in range(Q.shape[0]):
        for i in range(j + 1):
            out[j, i] = (Q[j, i] + Q[i, j]) / 2.0
            out[i, j] = out[j, i]


@jit
def equilibrate(Q, p, C, d, scales, vn, vk):  # type: ignore[no-untyped-def]
    """Writes the scales of columns, rows and the cost, as `_scaling` has them."""
    n, k = C.shape[1], C.shape[0]
    columns, rows, top_n, top_k = scales[:n], scales[n : n + k], vn[0], vk[0]
    scales[:] = 1.0
    for _ in range(PASSES):
        top_k[:] = 0.0
        for j in range(n):
            top_n[j] = 0.0
            for i in range(n):
                top_n[j] = max(top_n[j], abs(Q[j, i]) * columns[i])
            top_n[j] *= columns[j]
        for i in range(k):
            for j in range(n):
                size = abs(C[i, j]) * rows[i] * columns[j]
                top_n[j], top_k[i] = max(top_n[j], size), max(top_k[i], size)
        for j in range(n):
            columns[j] /= math.sqrt(top_n[j]) if top_n[j] > 0.0 else 1.0
        for i in range(k):
            rows[i] /= math.sqrt(top_k[i]) if top_k[i] > 0.0 else 1.0
    for i in range(k):
        size = 0.0
        for j in range(n):
            size = max(size, abs(C[i, j]) * columns[j])
        rows[i] = 1.0 / size if size > 0.0 else 1.0
    curve, slope, logs, bounds = 0.0, 0.0, 0.0, 0
    for j in range(n):
        slope = max(slope, columns[j] * abs(p[j]))
        for i in range(n):
            curve = max(curve, columns[i] * abs(Q[j, i]) * columns[j])
    for i in range(k):
        if d[i] != 0.0:
            logs += math.log(rows[i] * abs(d[i]))
            bounds += 1
    way = slope / curve if curve > 0.0 and slope > 0.0 else 0.0
    length = max(math.exp(logs / bounds), SHORT * way) if bounds else way if way > 0.0 else 1.0
    cost = max(curve, slope / length)
    length, cost = power_of_two(length), power_of_two(1.0 / cost) if cost > 0.0 else 1.0
    for j in range(n):
        columns[j] = power_of_two(columns[j]) * length
    for i in range(k):
        rows[i] = power_of_two(rows[i]) / length
    scales[n + k] = cost / (length * length)


@jit
def scale(Q, p, C, d, scales, Q_, p_, C_, d_):  # type: ignore[no-untyped-def]
    """Writes the program in the scaled variables."""
    n, k = C.shape[1], C.shape[0]
    cost = scales[n + k]
    for j in range(n):
        p_[j] = cost * scales[j] * p[j]
        for i in range(n):
            Q_[j, i] = cost * scales[j] * Q[j, i] * scales[i]
    for i in range(k):
        d_[i] = scales[n + i] * d[i]
        for j in range(n):
            C_[i, j] = scales[n + i] * C[i, j] * scales[j]


@jit
def violations(Q, p, C, d, equal, x, force, out):  # type: ignore[no-untyped-def]
    """Writes the largest violations of the primal and the dual conditions."""
    primal, dual = 0.0, 0.0
    for i in range(C.shape[0]):
        ahead = dot(C[i], x) - d[i]
        size = abs(ahead) if equal[i] else ahead
        primal = size if size > primal or math.isnan(size) else primal
    for j in range(p.shape[0]):
        total = p[j] + dot(Q[j], x)
        for i in range(C.shape[0]):
            total += C[i, j] * force[i]
        dual = abs(total) if abs(total) > dual or math.isnan(total) else dual
    out[0], out[1] = primal, dual


@jit
def solve_some(  # type: ignore[no-untyped-def]
    first, stop, Q, p, C, d, equal, tol, limit, warm, x, force, status, count, residuals, active, low, scales
):
    """Solves the programs from `first` to `stop`; x and force hold the warm start."""
    k, n = C.shape[1], C.shape[2]
    vn, vk, none = np.empty((8, n)), np.empty((9, k)), np.zeros(k)
    S, Q_, p_, C_, d_ = np.empty((n, n)), np.empty((n, n)), np.empty(n), np.empty((k, n)), np.empty(k)
    for b in range(first, stop):
        symmetric(Q[b], S)
        Q_[:], p_[:], C_[:], d_[:] = S, p[b], C[b], d[b]
        for i in range(k):
            if d_[i] == math.inf and not equal[b, i]:  # no constraint: a row of zeros that is always satisfied
                C_[i], d_[i] = 0.0, 1.0
        good = finite(Q_) and finite(p_) and finite(C_) and finite(d_)
        if good:
            equilibrate(Q_, p_, C_, d_, scales[b], vn, vk)
            scale(Q_, p_, C_, d_, scales[b], Q_, p_, C_, d_)
            assemble(Q_, C_, none, low[b], INDEFINITE)
        if not (good and cholesky(low[b])):
            status[b], count[b] = NOT_CONVEX if good else NOT_FINITE, 0
            x[b], force[b], scales[b], active[b], low[b] = 0.0, 0.0, 1.0, equal[b], 0.0
            violations(S, p[b], C[b], d[b], equal[b], x[b], force[b], residuals[b])
            continue
        cost = scales[b, n + k]
        for j in range(n):
            x[b, j] /= scales[b, j]
        for i in range(k):
            force[b, i] *= cost / scales[b, n + i]
        status[b], count[b] = search(
            Q_, p_, C_, d_, equal[b], tol, limit, warm, x[b], force[b], active[b], low[b], vn, vk
        )
        for j in range(n):
            x[b, j] *= scales[b, j]
        for i in range(k):
            force[b, i] *= scales[b, n + i] / cost
        violations(S, p[b], C[b], d[b], equal[b], x[b], force[b], residuals[b])


@jit
def reduce_some(first, stop, Q, C, active, low, scales, status, r, t, u, v):  # type: ignore[no-untyped-def]
    """Solves the reduced systems from `first` to `stop`, as `_route.reduced_system` does."""
    k, n = C.shape[1], C.shape[2]
    vn, vk = np.empty((4, n)), np.empty((2, k))
    Q_, r_, C_, t_ = np.empty((n, n)), np.empty(n), np.empty((k, n)), np.empty(k)
    for b in range(first, stop):
        u[b], v[b] = 0.0, 0.0
        symmetric(Q[b], Q_)
        scale(Q_, r[b], C[b], t[b], scales[b], Q_, r_, C_, t_)
        for i in range(k):
            if not active[b, i]:
                t_[i] = 0.0
        top = largest(r_)
        top = max(largest(t_), top) if not math.isnan(top) else top
        if top == 0.0:
            continue
        if status[b] != SOLVED and status[b] != MAX_ITERATIONS:
            u[b], v[b] = math.nan, math.nan
            continue
        for j in range(n):
            r_[j] /= top
        for i in range(k):
            t_[i] /= top
        error = refine(low[b], Q_, C_, active[b], r_, t_, u[b], v[b], vn, vk)
        if not error <= SINGULAR:
            u[b], v[b] = math.nan, math.nan
            continue
        for j in range(n):
            u[b, j] *= top * scales[b, j]
        for i in range(k):
            v[b, i] *= top * scales[b, n + i] / scales[b, n + k]


@jit
def pull_some(  # type: ignore[no-untyped-def]
    first, stop, Q, C, active, low, scales, status, r, t, x, force, dQ, dp, dC, dd
):
    """Writes the gradients of the programs from `first` to `stop`, as `_operation` has them."""
    reduce_some(first, stop, Q, C, active, low, scales, status, r, t, dp, dd)
    for b in range(first, stop):
        for i in range(x.shape[1]):
            dp[b, i] = -dp[b, i]
        for i in range(x.shape[1]):
            for j in range(x.shape[1]):
                dQ[b, i, j] = (dp[b, i] * x[b, j] + dp[b, j] * x[b, i]) / 2.0
        for i in range(C.shape[1]):
            for j in range(x.shape[1]):
                dC[b, i, j] = force[b, i] * dp[b, j] - dd[b, i] * x[b, j]
