"""Small matrices in compiled code: plain loops, in the order of memory; slices that are written to would cost more."""

import math
from typing import Any

import numba
import numpy as np

from torchflux_optlayers._constants import DELTA, GAIN, MORE, NOTHING, RHO, ROUNDING, ROUNDS, SLOW, SMALL

REGROUPED = {"contract", "reassoc", "nsz", "arcp"}
"""Sums may be; NaN and inf stay what they are."""
numba_njit: Any = numba.njit  # its type doesn't know all options
jit = numba_njit(nogil=True, cache=True, error_model="numpy", no_cfunc_wrapper=True, fastmath=REGROUPED)


@jit
def dot(a, b):  # type: ignore[no-untyped-def]
    """Of two vectors."""
    total = 0.0
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@jit
def add(out, factor, v):  # type: ignore[no-untyped-def]
    """Adds a multiple of a vector."""
    for i in range(out.shape[0]):
        out[i] += factor * v[i]


@jit
def largest(v):  # type: ignore[no-untyped-def]
    """The largest absolute value; NaN if there is one."""
    top, total = 0.0, 0.0
    for i in range(v.shape[0]):
        size = abs(v[i])
        total += size
        top = size if size > top else top
    return total if math.isnan(total) else top


@jit
def times(matrix, v, out):  # type: ignore[no-untyped-def]
    """Writes `matrix @ v`."""
    for i in range(matrix.shape[0]):
        out[i] = dot(matrix[i], v)


@jit
def pull(C, force, out):  # type: ignore[no-untyped-def]
    """Writes `C' force`."""
    out[:] = 0.0
    for r in range(C.shape[0]):
        if force[r] != 0.0:
            for j in range(C.shape[1]):
                out[j] += force[r] * C[r, j]


@jit
def cholesky(low):  # type: ignore[no-untyped-def]
    """Factorises in place what is in the lower triangle; says whether it is positive definite."""
    n = low.shape[0]
    for j in range(n):
        pivot = low[j, j] - dot(low[j, :j], low[j, :j])
        if not pivot > 0.0:
            return False
        root = math.sqrt(pivot)
        low[j, j] = root
        for i in range(j + 1, n):
            low[i, j] = (low[i, j] - dot(low[i, :j], low[j, :j])) / root
            low[j, i] = 0.0
    return True


@jit
def back(low, v):  # type: ignore[no-untyped-def]
    """Solves `low low' x = v` in place."""
    n = low.shape[0]
    for i in range(n):
        v[i] = (v[i] - dot(low[i, :i], v[:i])) / low[i, i]
    for i in range(n - 1, -1, -1):
        v[i] /= low[i, i]
        for j in range(i):
            v[j] -= v[i] * low[i, j]


@jit
def assemble(Q, C, weight, low, rho):  # type: ignore[no-untyped-def]
    """Writes the lower triangle of `Q + rho I + C' diag(weight) C`; returns the largest of its diagonal."""
    top = 0.0
    for i in range(Q.shape[0]):
        for j in range(i + 1):
            low[i, j] = Q[i, j]
        low[i, i] += rho
        for r in range(C.shape[0]):
            factor = weight[r] * C[r, i]
            if factor != 0.0:
                for j in range(i + 1):
                    low[i, j] += factor * C[r, j]
        top = max(top, low[i, i])
    return top


@jit
def factorise(Q, C, weight, low):  # type: ignore[no-untyped-def]
    """Writes the factor of `Q + ρI + C' diag(weight) C`; rounding is paid for with a larger ρ."""
    top = assemble(Q, C, weight, low, RHO)
    if not cholesky(low):
        assemble(Q, C, weight, low, RHO + 1e-6 + 1e-12 * top)
        cholesky(low)


@jit
def leftover(Q, C, active, r, t, x, force, base, vn, vk):  # type: ignore[no-untyped-def]
    """Writes the residual of a reduced system, (vn[0], vk[0]); returns it in relation to the numbers in it."""
    above, curve, force_pull, below = vn[0], vn[1], vn[2], vk[0]
    times(Q, x, curve)
    pull(C, force, force_pull)
    size = 1.0 + max(base, largest(curve), largest(force_pull))
    for i in range(x.shape[0]):
        above[i] = r[i] - curve[i] - force_pull[i]
    for i in range(t.shape[0]):
        below[i] = t[i] - dot(C[i], x) if active[i] else 0.0
    error = largest(above)
    return max(error, largest(below)) / size


@jit
def corrected(low, C, active, above, below, dx, df):  # type: ignore[no-untyped-def]
    """Writes the correction (dx, df) for a residual, up to the proximal terms."""
    n = above.shape[0]
    for j in range(n):
        dx[j] = above[j]
    for i in range(below.shape[0]):
        if active[i]:
            for j in range(n):
                dx[j] += below[i] / DELTA * C[i, j]
    back(low, dx)
    for i in range(below.shape[0]):
        df[i] = (dot(C[i], dx) - below[i]) / DELTA if active[i] else 0.0


@jit
def refine(low, Q, C, active, r, t, x, force, vn, vk):  # type: ignore[no-untyped-def]
    """Moves (x, force) to the solution of a reduced system near it; returns the relative residual.

    `vn` (3, n) and `vk` (2, k) are room to work.
    """
    k, before, error = C.shape[0], math.inf, math.inf
    base = largest(r)
    for i in range(k):
        if active[i]:
            base = max(base, abs(t[i]))
        else:
            force[i] = 0.0
    for round in range(ROUNDS):
        error = leftover(Q, C, active, r, t, x, force, base, vn, vk)
        if not error > SMALL:
            break
        if error > SLOW * before if round > 2 else error >= before:
            return descend(low, Q, C, active, r, t, x, force, base, error, vn, vk) if error > ROUNDING else error
        before = error
        corrected(low, C, active, vn[0], vk[0], vn[1], vk[1])
        add(x, 1.0, vn[1])
        add(force, 1.0, vk[1])
    return error


@jit
def descend(low, Q, C, active, r, t, x, force, base, error, vn, vk):  # type: ignore[no-untyped-def]
    """Goes on with `refine` by minimal residuals, as `_minimal_residuals` does."""
    n, k = C.shape[1], C.shape[0]
    ways, images = np.empty((MORE, n + k)), np.empty((MORE, n + k))
    above, below = vn[0], vk[0]
    for round in range(MORE):
        way, image = ways[round], images[round]
        corrected(low, C, active, above, below, way[:n], way[n:])
        size = math.sqrt(dot(above, above) + dot(below, below))
        pull(C, way[n:], image[:n])
        for i in range(n):
            image[i] += dot(Q[i], way[:n])
        for i in range(k):
            image[n + i] = dot(C[i], way[:n]) if active[i] else 0.0
        for i in range(round):
            share = dot(image, images[i])
            add(image, -share, images[i])
            add(way, -share, ways[i])
        length = math.sqrt(dot(image, image))
        if not length > NOTHING * size:
            break
        for i in range(n + k):
            way[i] /= length
            image[i] /= length
        share = dot(image[:n], above) + dot(image[n:], below)
        if not share * share > GAIN * size * size:
            break
        add(x, share, way[:n])
        add(force, share, way[n:])
        error = leftover(Q, C, active, r, t, x, force, base, vn, vk)
        if not error > SMALL:
            break
    return error


@jit
def row_weights(active, out):  # type: ignore[no-untyped-def]
    """Writes the rows' weights in the factor of a reduced system."""
    for i in range(active.shape[0]):
        out[i] = 1.0 / DELTA if active[i] else 0.0


@jit
def finite(v):  # type: ignore[no-untyped-def]
    """Whether all numbers are."""
    good = True
    for x in np.nditer(v):
        good &= math.isfinite(x.item())
    return good
