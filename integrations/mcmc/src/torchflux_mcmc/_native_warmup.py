"""What a chain learns in warm-up, in compiled code: as `_adaptation`, of one chain."""

import math

from ._native_random import jit
from ._native_tree import clear, rooted

__all__ = ["average", "forget", "learn", "restart", "take"]

TARGET, CENTRE, COUNT, ERROR, AVERAGE = 0, 1, 2, 3, 4
"""The places in `averaging`: the acceptance rate that is wanted, and the state of dual averaging."""


@jit
def restart(averaging, size):  # type: ignore[no-untyped-def]
    """Begins dual averaging from a step size."""
    averaging[CENTRE] = math.log(10 * size)
    averaging[COUNT] = averaging[ERROR] = averaging[AVERAGE] = 0.0


@jit
def average(averaging, rate):  # type: ignore[no-untyped-def]
    """The next step size, for the acceptance rate of the last transition."""
    averaging[COUNT] += 1
    k = averaging[COUNT]
    share = 1 / (k + 10)
    averaging[ERROR] = (1 - share) * averaging[ERROR] + share * (averaging[TARGET] - rate)
    logarithm = averaging[CENTRE] - math.sqrt(k) / 0.05 * averaging[ERROR]
    weight = k**-0.75
    averaging[AVERAGE] = weight * logarithm + (1 - weight) * averaging[AVERAGE]
    return math.exp(logarithm)


@jit
def learn(count, q, moments, before):  # type: ignore[no-untyped-def]
    """One more draw of a window: its `count`-th (Welford, 1962).

    Arguments:
        moments: the mean, and below it the sums of squares: a row, or n of them for all products.
        before: room for n numbers.
    """
    n = q.shape[0]
    for i in range(n):
        before[i] = q[i] - moments[0, i]
        moments[0, i] += before[i] / count
    if moments.shape[0] == 2:
        for i in range(n):
            moments[1, i] += before[i] * (q[i] - moments[0, i])
        return
    for i in range(n):
        for j in range(n):
            moments[1 + i, j] += before[i] * (q[j] - moments[0, j])


@jit
def take(count, moments, matrix, root):  # type: ignore[no-untyped-def]
    """The metric of a window's draws, shrunk towards a small unit matrix; the next window begins."""
    rows, n = matrix.shape
    share, small = count / (count + 5.0) / (count - 1.0), 1e-3 * 5.0 / (count + 5.0)
    for i in range(rows):
        for j in range(n):
            unit = small if i == j or rows == 1 else 0.0
            matrix[i, j] = share * moments[1 + i, j] + unit
    rooted(matrix, root)
    forget(moments)


@jit
def forget(moments):  # type: ignore[no-untyped-def]
    """Begins a window."""
    for row in range(moments.shape[0]):
        clear(moments[row])
