"""What the compiled no-U-turn sampler does between two evaluations: as `_nuts`, in memory that is used again.

An end of a trajectory is four rows: position `Q`, momentum `P`, gradient `G` and velocity `V = M⁻¹P`. A metric is two
arrays: the inverse mass matrix, one row if it is diagonal, and its root, from which momenta are drawn. The number `n`
of coordinates is handed over, as the generated program knows it: so these loops are unrolled there.
"""

import math

import numpy as np

from ._native_random import jit, normals

__all__ = [
    "G", "P", "Q", "V", "begin", "clear", "copy", "drift", "energy_of", "kick", "refresh", "rooted", "turned_inside",
    "turns", "velocity", "weight",
]  # fmt: skip

Q, P, G, V = 0, 1, 2, 3

LARGEST = math.exp(500.0)
"""Of the weight that a leaf has in relation to the tree's first: a larger one has a chance of e^-500."""


@jit
def copy(n, x, y):  # type: ignore[no-untyped-def]
    """`x[:] = y`, of which Numba would also compile what to say where it doesn't fit: for seconds."""
    for i in range(n):
        x[i] = y[i]


@jit
def clear(n, x):  # type: ignore[no-untyped-def]
    """`x[:] = 0`."""
    for i in range(n):
        x[i] = 0


@jit
def velocity(n, matrix, end):  # type: ignore[no-untyped-def]
    """`V = M⁻¹P`."""
    if matrix.shape[0] == 1:
        for i in range(n):
            end[V, i] = matrix[0, i] * end[P, i]
        return
    for i in range(n):
        total = matrix[i, 0] * end[P, 0]
        for j in range(1, n):
            total += matrix[i, j] * end[P, j]
        end[V, i] = total


@jit
def rooted(n, matrix, root):  # type: ignore[no-untyped-def]
    """The root of a metric: `M^½` of a diagonal one, otherwise the Cholesky factor of `M⁻¹`."""
    if matrix.shape[0] == 1:
        for i in range(n):
            root[0, i] = 1.0 / math.sqrt(matrix[0, i])
        return
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= root[i, k] * root[j, k]
            root[i, j] = math.sqrt(total) if i == j else total / root[j, j]


@jit
def refresh(n, random, root, end):  # type: ignore[no-untyped-def]
    """A momentum `P` with the covariance `M`: normal numbers times `M^½`, or `L⁻ᵀ` of them, as `M⁻¹ = L Lᵀ`."""
    normals(random, end[P])
    if root.shape[0] == 1:
        for i in range(n):
            end[P, i] *= root[0, i]
        return
    for i in range(n - 1, -1, -1):
        total = end[P, i]
        for j in range(i + 1, n):
            total -= root[j, i] * end[P, j]
        end[P, i] = total / root[i, i]


@jit
def drift(n, end, step, matrix):  # type: ignore[no-untyped-def]
    """The first half of a leapfrog step: half a kick, and the new position."""
    if matrix.shape[0] == 1:
        for i in range(n):
            end[P, i] += step / 2 * end[G, i]
            end[Q, i] += step * matrix[0, i] * end[P, i]
        return
    for i in range(n):
        end[P, i] += step / 2 * end[G, i]
    velocity(n, matrix, end)
    for i in range(n):
        end[Q, i] += step * end[V, i]


@jit
def kick(n, end, step, matrix, gradient):  # type: ignore[no-untyped-def]
    """The other half: half a kick with the new gradient, which is kept."""
    for i in range(n):
        end[G, i] = gradient[i]
        end[P, i] += step / 2 * end[G, i]
    velocity(n, matrix, end)


@jit
def energy_of(n, end, value):  # type: ignore[no-untyped-def]
    """The energy of an end where the log density is `value`; NaN counts as inf, and so does -inf, a pole."""
    kinetic = 0.0
    for i in range(n):
        kinetic += np.float64(end[P, i]) * end[V, i]
    energy = kinetic / 2 - value
    return energy if energy > -math.inf else math.inf


@jit
def begin(n, random, at, matrix, root, end):  # type: ignore[no-untyped-def]
    """A new momentum for an end at the position and gradient `at`."""
    copy(n, end[Q], at[0])
    copy(n, end[G], at[1])
    refresh(n, random, root, end)
    velocity(n, matrix, end)


@jit
def weight(gain):  # type: ignore[no-untyped-def]
    """How often a leaf is drawn, in relation to the tree's first: `exp(-gain)`."""
    return min(math.exp(-gain), LARGEST)


@jit
def turns(n, first, last, total):  # type: ignore[no-untyped-def]
    """Whether a trajectory comes back, between two ends whose momenta and those between add up to `total`.

    At either end it moves against that sum; half of the ends' momenta don't count, as in a trapezoidal sum.
    """
    before, after = 0.0, 0.0
    for i in range(n):
        between = total[i] - (first[P, i] + last[P, i]) / 2
        before += first[V, i] * between
        after += last[V, i] * between
    return before <= 0.0 or after <= 0.0


@jit
def turned_inside(n, leaf, end, total, kept):  # type: ignore[no-untyped-def]
    """Whether a part of the subtree that its new `leaf` (a number) ends has made a U-turn.

    Arguments:
        end: the new leaf's.
        total: of the subtree's momenta.
        kept: (2, depth, n); for leaves that begin parts the velocity, and what `total` has before their middle.
    """
    for i in range(n):
        total[i] += end[P, i]
    top, bits = 0, leaf >> 1
    while bits:
        top += bits & 1
        bits >>= 1
    if leaf % 2 == 0:
        for i in range(n):
            kept[0, top, i] = end[V, i]
            kept[1, top, i] = total[i] - end[P, i] / 2
        return False
    level, bits = top, leaf
    while bits & 1:
        before, after = 0.0, 0.0
        for i in range(n):
            between = total[i] - end[P, i] / 2 - kept[1, level, i]
            before += kept[0, level, i] * between
            after += end[V, i] * between
        if before <= 0.0 or after <= 0.0:
            return True
        level -= 1
        bits >>= 1
    return False
