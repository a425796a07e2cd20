"""Projections on the exponential and the power cone, and their derivatives.

Both have a boundary that is smooth and curved in one direction. A point w outside is `p + λg`: its projection p, and a
normal g of the boundary there. With the unit vectors â along p and ĉ = â × ĝ, the derivative of the projection is

    â â' + ĉ ĉ' / (1 + λ ĉ'Hĉ)

where H is the curvature of the boundary at p. Each projection is the root of a monotone function of one number.

Sources: Friberg (2023), "Projection onto the exponential cone: a univariate root-finding problem",
doi:10.1080/10556788.2021.2022147; Hien (2015), "Differential properties of Euclidean projection onto power cone",
doi:10.1007/s00186-015-0514-0.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

__all__ = ["Projection", "exponential", "power"]

LOGIT = 300.0
"""How far apart the parts of |z| may be that the power cone's projection keeps and loses."""


class Projection(NamedTuple):
    """A point, and the derivative of the projection there, shapes (3,) and (3, 3)."""

    point: np.ndarray
    slope: np.ndarray


def exponential(w: np.ndarray, weak: float) -> Projection:
    """On the closure of {y > 0, y exp(x/y) ≤ z}; up to a force of `weak` a point counts as inside."""
    x, y, z = w.tolist()
    if (y > 0 and x <= y * 700 and y * math.exp(x / y) <= z) or (y == 0 and x <= 0 and z >= 0):
        return Projection(w, np.eye(3))
    if _in_dual_of_exponential(-w):
        return Projection(np.zeros(3), np.zeros((3, 3)))
    if x <= 0 and y <= 0:
        return Projection(np.array([x, 0.0, max(z, 0.0)]), np.diag([1.0, 0.0, float(z > 0)]))
    ratio = _ratio(x, y, z)
    up, curve = math.exp(-abs(ratio)), 1 - ratio + ratio**2
    if ratio > 0:  # exp(ratio) may overflow: all is divided by it
        force = bending = (x - y * ratio) / curve
        along, normal, height = np.array([ratio * up, up, 1.0]), np.array([1.0, 1 - ratio, -up]), z + force * up
        size = height * up
    else:
        height = size = (y - x * (1 - ratio)) / curve
        along, normal, force = np.array([ratio, 1.0, up]), np.array([up, (1 - ratio) * up, -1.0]), size * up - z
        bending = force * up
    point = height * along
    if force * math.hypot(*normal) <= weak:
        return Projection(point, np.eye(3))
    return Projection(point, _slope(along, normal, bending, np.array([1.0, -ratio, 0.0]), size))


def _in_dual_of_exponential(v: np.ndarray) -> bool:
    """Whether u < 0 and -u exp(v/u) ≤ e w, or u = 0 and v, w ≥ 0."""
    x, y, z = v.tolist()
    return (x == 0 and y >= 0 and z >= 0) or (x < 0 and y / x <= 700 and -x * math.exp(y / x - 1) <= z)


def _ratio(x: float, y: float, z: float) -> float:
    """x/y of the projection on the curved part of the exponential cone's boundary, which is along (ρ, 1, exp ρ).

    Of w = μ (ρ, 1, exp ρ) + λ (exp ρ, (1 - ρ) exp ρ, -1) the first two coordinates give μ and λ as functions of ρ; the
    interval is where both are positive, and the third coordinate is monotone in it.
    """
    low = 1 - y / x if x > 0 else None
    high = x / y if y > 0 else None

    def ahead(ratio: float) -> float:
        """How far z is from its place, with a factor that keeps it finite."""
        up, curve = math.exp(-abs(ratio)), 1 - ratio + ratio**2
        pull, size = (x - y * ratio) / curve, (y - x * (1 - ratio)) / curve
        return size - pull * up**2 - z * up if ratio > 0 else size * up**2 - pull - z * up

    if low is None:
        assert high is not None
        low = _beyond(high, lambda r: ahead(r) > 0, -1.0)
    if high is None:
        high = _beyond(low, lambda r: ahead(r) < 0, 1.0)
    return _root(ahead, low, high)


def _beyond(start: float, going: Callable[[float], bool], step: float) -> float:
    """The first point on the way, in steps twice as long each time, at which the function has changed its sign."""
    while going(start + step):
        step *= 2
    return start + step


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    """Where f changes its sign, to rounding; an end where it doesn't between them, as only rounding makes it so."""
    ends = f(low), f(high)
    if not (ends[0] < 0 < ends[1] or ends[1] < 0 < ends[0]):
        return low if abs(ends[0]) <= abs(ends[1]) else high
    return float(brentq(f, low, high, xtol=1e-300, rtol=4 * np.finfo(np.float64).eps))


def _slope(along: np.ndarray, normal: np.ndarray, force: float, bend: np.ndarray, size: float) -> np.ndarray:
    """The derivative, where the force times the curvature is `force bend bend' / size`."""
    across = _cross(along, normal)
    curved = size / (size + force * (bend @ across) ** 2 / (across @ across))
    return np.outer(along, along / (along @ along)) + np.outer(across, curved / (across @ across) * across)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """NumPy's takes ten times as long."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def power(w: np.ndarray, weak: float, alpha: float) -> Projection:
    """On {x, y ≥ 0, x^α y^(1-α) ≥ |z|}; up to a force of `weak` a point counts as inside."""
    x, y, z = w
    shares = np.array([alpha, 1 - alpha])
    positive, size = w[:2].clip(min=0), abs(z)
    if (positive**shares).prod() >= size and x >= 0 and y >= 0:
        return Projection(w, np.eye(3))
    if x <= 0 and y <= 0 and ((-w[:2] / shares) ** shares).prod() >= size:
        return Projection(np.zeros(3), np.zeros((3, 3)))
    if size == 0:
        return Projection(np.array([*positive, 0.0]), _flat(x, y, shares))
    kept, force, sides = (size * v for v in _split(w[:2] / size, shares))
    point = np.array([*sides, np.sign(z) * kept])
    normal = np.array([*(-shares * kept / sides), np.sign(z)])
    if force * math.hypot(*normal) <= weak:
        return Projection(point, np.eye(3))
    bend = np.array([1 / sides[0], -1 / sides[1], 0.0])
    return Projection(point, _slope(point, normal, force * shares.prod() * kept, bend, 1.0))


def _split(w: np.ndarray, shares: np.ndarray) -> tuple[float, float, np.ndarray]:
    """|z|, what it lacks to 1, and x and y, of the projection of (x, y, 1) on the power cone's curved part."""

    def split(logit: float) -> tuple[float, float, np.ndarray]:
        """x and y are the positive roots of `x² - w x = α kept (1 - kept)`."""
        kept, lost = 1 / (1 + np.exp(-logit)), 1 / (1 + np.exp(logit))
        product = shares * kept * lost
        root = np.hypot(w, 2 * np.sqrt(product))
        return kept, lost, np.where(w > 0, (w + root) / 2, 2 * product / (root + abs(w)))

    def ahead(logit: float) -> float:
        kept, _, sides = split(logit)
        return float(shares @ np.log(sides) - np.log(kept))

    return split(_root(ahead, -LOGIT, LOGIT))


def _flat(x: float, y: float, shares: np.ndarray) -> np.ndarray:
    """The derivative where z is 0 and x or y is negative, the other positive: z is kept if the positive one's share is
    the larger, lost if it is the smaller."""
    up, down = (0, 1) if x > 0 else (1, 0)
    ratio = max(x, y) / -min(x, y)
    kept = ratio / (2 + ratio) if shares[up] == shares[down] else float(shares[up] > shares[down])
    return np.diag([float(x > 0), float(y > 0), kept])
