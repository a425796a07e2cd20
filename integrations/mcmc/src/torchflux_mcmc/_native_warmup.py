"""What a chain learns in warm-up, in compiled code: as `_adaptation`, of one chain."""

import math

from ._native_random import jit
from ._native_tree import clear, rooted

__all__ = ["add", "average", "learn", "restart", "take"]

TARGET, CENTRE, COUNT, ERROR, AVERAGE, WINDOW, DRAWS = range(7)
"""The places in a chain's `state`: the acceptance rate that is wanted (0: it doesn't learn), those of dual averaging,
and the window that it is in, with the draws there."""


@jit
def restart(state, size):  # type: ignore[no-untyped-def]
    """Begins dual averaging from a step size."""
    state[CENTRE] = math.log(10 * size)  # -inf if there is no size
    state[COUNT] = state[ERROR] = state[AVERAGE] = 0.0


@jit
def average(state, rate):  # type: ignore[no-untyped-def]
    """The next step size, for the acceptance rate of the last transition."""
    state[COUNT] += 1
    k = state[COUNT]
    share = 1 / (k + 10)
    state[ERROR] = (1 - share) * state[ERROR] + share * (state[TARGET] - rate)
    logarithm = state[CENTRE] - math.sqrt(k) / 0.05 * state[ERROR]
    weight = k**-0.75
    state[AVERAGE] = weight * logarithm + (1 - weight) * state[AVERAGE]
    return math.exp(logarithm)


@jit
def learn(k, windows, state, q, moments, before, matrix, root):  # type: ignore[no-untyped-def]
    """The `k`-th draw may be in a window; if it is the last one there, `matrix` and `root` are learnt."""
    window = int(state[WINDOW])
    if window == windows.shape[0] or k < windows[window, 0]:
        return False
    state[DRAWS] += 1
    add(state[DRAWS], q, moments, before)
    if k + 1 < windows[window, 1]:
        return False
    take(state[DRAWS], moments, matrix, root)
    state[WINDOW], state[DRAWS] = window + 1, 0
    return True


@jit
def add(count, q, moments, before):  # type: ignore[no-untyped-def]
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
    rooted(n, matrix, root)
    for row in range(moments.shape[0]):
        clear(n, moments[row])
