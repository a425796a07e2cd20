"""Where functions of the dense output change their signs within a step, for many samples at once, in NumPy arrays."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._controller import Numbers
from ._save import Indices

__all__ = ["NODES", "Crossings", "behind", "crossings"]

Value = Callable[[Indices, Indices, Numbers], Numbers]
"""`value(which, rows, θ)`: functions of samples at parts of their steps, shape (points,) each."""

EDGE = 1e-3
NODES = np.array([EDGE, *np.arange(1, 8) / 8, 1 - EDGE, 1.0])
"""The parts of a step at which functions are looked at; those at its edges show a pair of crossings beside the edge."""
GOLDEN = (3 - 5**0.5) / 2
NARROWINGS = 40
"""How often a bracket of a minimum is narrowed at most: by then rounding hides where in it the minimum is."""


def behind(eps: float) -> Numbers:
    """More nodes, for a zero at the start, to which the function may come back at once; 64 `eps` is the fourth."""
    return eps * 4.0 ** np.arange(np.ceil(np.log(EDGE / eps) / np.log(4.0)))


class Crossings(NamedTuple):
    """Changes of sign: of which row's which function, at which part of the step, and from which sign, (crossings,)."""

    rows: Indices
    which: Indices
    θ: Numbers
    sign: Numbers


def crossings(value: Value, θ: Numbers, g: Numbers, tolerance: Numbers) -> Crossings:
    """The changes of sign of `g` (rows, functions, nodes), which are the values at the nodes `θ`, in no order.

    A zero counts as a crossing where the function comes to it, not where it leaves it.

    Arguments:
        tolerance: to which parts of their steps they are wanted, shape (rows,).
    """
    sign = np.sign(g)
    rows, which, left = np.nonzero((sign[..., :-1] != 0) & (sign[..., :-1] != sign[..., 1:]))
    dips = _dips(value, θ, g)
    if not len(rows) and not dips:
        return Crossings(rows, which, np.zeros(0), np.zeros(0))
    brackets = [(rows, which, θ[left], θ[left + 1], g[rows, which, left], g[rows, which, left + 1]), *dips]
    rows, which, a, b, ga, gb = (np.concatenate(parts) for parts in zip(*brackets, strict=True))
    root = _roots(lambda at, x: value(which[at], rows[at], x), a, b, ga, gb, tolerance[rows])
    return Crossings(rows, which, root, np.sign(ga))


def _dips(value: Value, θ: Numbers, g: Numbers) -> list[tuple[NDArray, ...]]:
    """Brackets of pairs of crossings between two nodes: where the function comes close to zero, its extremum is behind.

    That is found by golden sections, which end where it is seen to stay away from zero.
    """
    size, sign = np.abs(g), np.sign(g)
    same = (sign[..., 1:-1] != 0) & (sign[..., :-2] == sign[..., 1:-1]) & (sign[..., 1:-1] == sign[..., 2:])
    rows, which, left = np.nonzero(same & (size[..., 1:-1] <= size[..., :-2]) & (size[..., 1:-1] <= size[..., 2:]))
    if not len(rows):
        return []
    a, x, b = θ[left], θ[left + 1], θ[left + 2]
    ga, gx, gb = (g[rows, which, left + i] for i in range(3))
    first, last, from_a, from_b, sign = a.copy(), b.copy(), ga.copy(), gb.copy(), np.sign(gx)
    going = np.arange(len(rows))
    for _ in range(NARROWINGS):
        flat = np.maximum(np.abs(ga[going]), np.abs(gb[going])) <= 1.01 * np.abs(gx[going])
        going = going[(np.sign(gx[going]) == sign[going]) & ~flat]
        if not len(going):
            break
        i = going
        right = b[i] - x[i] > x[i] - a[i]
        new = np.where(right, x[i] + GOLDEN * (b[i] - x[i]), x[i] - GOLDEN * (x[i] - a[i]))
        gn = value(which[i], rows[i], new)
        better = gn * sign[i] < gx[i] * sign[i]
        low = np.where(right, np.where(better, x[i], a[i]), np.where(better, a[i], new))
        high = np.where(right, np.where(better, b[i], new), np.where(better, x[i], b[i]))
        g_low = np.where(right, np.where(better, gx[i], ga[i]), np.where(better, ga[i], gn))
        g_high = np.where(right, np.where(better, gb[i], gn), np.where(better, gx[i], gb[i]))
        a[i], b[i], ga[i], gb[i] = low, high, g_low, g_high
        x[i], gx[i] = np.where(better, new, x[i]), np.where(better, gn, gx[i])
    found = np.flatnonzero(np.sign(gx) != sign)
    back = found[gx[found] != 0]
    return [
        (rows[found], which[found], first[found], x[found], from_a[found], gx[found]),
        (rows[back], which[back], x[back], last[back], gx[back], from_b[back]),
    ]


def _roots(
    value: Callable[[Indices, Numbers], Numbers], a: Numbers, b: Numbers, ga: Numbers, gb: Numbers, tolerance: Numbers
) -> Numbers:
    """The roots in brackets `(a, b]`, to a tolerance: superlinear, and never more steps than one above bisection's.

    Source: Oliveira & Takahashi (2020), An enhancement of the bisection method average performance preserving minmax
    optimality, doi:10.1145/3423597.
    """
    a, b, ga, gb = a.copy(), b.copy(), ga.copy(), gb.copy()
    width = b - a
    most = np.ceil(np.log2(np.maximum(width / (2 * tolerance), 1.0))) + 1
    rounds = 0
    going = np.flatnonzero((gb != 0) & (width > 2 * tolerance))
    while len(going):
        i = going
        half, slack = (a[i] + b[i]) / 2, tolerance[i] * 2.0 ** (most[i] - rounds) - (b[i] - a[i]) / 2
        secant = (gb[i] * a[i] - ga[i] * b[i]) / (gb[i] - ga[i])
        side = np.sign(half - secant)
        shift = 0.2 / width[i] * (b[i] - a[i]) ** 2
        x = np.where(shift <= np.abs(half - secant), secant + side * shift, half)
        x = np.where(np.abs(x - half) <= slack, x, half - side * slack)
        gx = value(i, x)
        before = np.sign(gx) == np.sign(ga[i])
        a[i], ga[i] = np.where(before, x, a[i]), np.where(before, gx, ga[i])
        b[i], gb[i] = np.where(before, b[i], x), np.where(before, gb[i], gx)
        going = i[(gb[i] != 0) & (b[i] - a[i] > 2 * tolerance[i])]
        rounds += 1
    return np.where(np.abs(ga) < np.abs(gb), a, b)
