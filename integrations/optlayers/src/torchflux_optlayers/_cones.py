"""A product of cones K, the projection on its dual K*, and the derivative of that projection.

By Moreau's decomposition any v is `y - s` with y in K*, s in K and `y·s = 0`, where y is the projection of v on K*.
So a pair of multipliers and slacks that are complementary is one vector v without conditions.

Sources: Moreau (1965), doi:10.24033/bsmf.1625; the derivative for symmetric matrices: Malick & Sendov (2006),
doi:10.1007/s11228-005-0005-1.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ._curved_cones import Projection, exponential, power

__all__ = ["Cones", "matrix", "vector"]

Split = tuple[np.ndarray, np.ndarray]


class Cones(NamedTuple):
    """Sizes of the cones, in the order of their rows."""

    zero: int = 0
    """Rows of equations, for which K* is everything."""
    nonnegative: int = 0
    """Rows of inequalities."""
    second_order: tuple[int, ...] = ()
    """Dimensions of the cones {(t, x): |x| ≤ t}."""
    semidefinite: tuple[int, ...] = ()
    """Sizes of the matrices; their upper triangles lie there column by column, off the diagonal times √2."""
    exponential: int = 0
    """How many cones {(x, y, z): y > 0, y exp(x/y) ≤ z} there are."""
    power: tuple[float, ...] = ()
    """Exponents α of the cones {(x, y, z): x, y ≥ 0, x^α y^(1-α) ≥ |z|}."""

    @property
    def linear(self) -> int:
        """Rows of equations and inequalities."""
        return self.zero + self.nonnegative

    @property
    def polyhedral(self) -> bool:
        """Whether there are no others."""
        return not (self.second_order or self.semidefinite or self.exponential or self.power)

    def curved(self) -> list[tuple[int, Callable[[np.ndarray, float], Projection]]]:
        """The size of every other cone, and the projection on its dual."""
        second_order = [(k, _second_order) for k in self.second_order]
        semidefinite = [(n * (n + 1) // 2, _semidefinite) for n in self.semidefinite]
        duals: list[Any] = [exponential] * self.exponential + [partial(power, alpha=a) for a in self.power]
        return [*second_order, *semidefinite, *((3, partial(_dual, cone)) for cone in duals)]

    def split(self, v: np.ndarray, weak: float) -> tuple[Split, list[np.ndarray]]:
        """The multipliers y and slacks s of which v is the difference, and the derivative of y: the diagonal of its
        block for the linear cones, and one block for each of the others.

        Where v is in both cones or in none, up to `weak`, the derivative is that of the side without a force.
        """
        z, k = self.zero, self.linear
        y, slopes = v.copy(), [(v[:k] > weak).astype(np.float64)]
        y[z:k], slopes[0][:z] = v[z:k].clip(min=0), 1
        for size, project in self.curved():
            y[k : k + size], slope = project(v[k : k + size], weak)
            slopes.append(slope)
            k += size
        s = y - v
        s[:z] = 0
        return (y, s), slopes


def _dual(cone: Callable[[np.ndarray, float], Projection], v: np.ndarray, weak: float) -> Projection:
    """The projection on the dual of a cone."""
    point, slope = cone(-v, weak)
    return Projection(v + point, np.eye(3) - slope)


def _second_order(v: np.ndarray, weak: float) -> Projection:
    """The cone is its own dual."""
    t, x = v[0], v[1:]
    size, eye = float(np.linalg.norm(x)), np.eye(len(v))
    if t - size >= 0 and t + size > weak:
        return Projection(v, eye)
    if t + size <= weak:
        return Projection(np.zeros_like(v) if t + size <= 0 else _onto_boundary(t, x, size), 0 * eye)
    way, share = x / size, t / size
    slope = np.empty_like(eye)
    slope[0, 0], slope[0, 1:], slope[1:, 0] = 0.5, way / 2, way / 2
    slope[1:, 1:] = ((1 + share) * eye[1:, 1:] - share * np.outer(way, way)) / 2
    return Projection(_onto_boundary(t, x, size), slope)


def _onto_boundary(t: float, x: np.ndarray, size: float) -> np.ndarray:
    return (t + size) / 2 * np.array([1.0, *(x / size if size else x)])


def matrix(v: np.ndarray) -> np.ndarray:
    """The symmetric matrix whose upper triangle is v, off the diagonal times √2."""
    n = round(np.sqrt(2 * len(v) + 0.25) - 0.5)
    columns, rows = np.tril_indices(n)
    full = np.zeros((n, n))
    full[rows, columns] = full[columns, rows] = v / np.where(rows == columns, 1.0, np.sqrt(2))
    return full


def vector(full: np.ndarray) -> np.ndarray:
    """The upper triangles of symmetric matrices (*, n, n), off the diagonal times √2."""
    columns, rows = np.tril_indices(full.shape[-1])
    upper: np.ndarray = full[..., rows, columns] * np.where(rows == columns, 1.0, np.sqrt(2))
    return upper


def _semidefinite(v: np.ndarray, weak: float) -> Projection:
    """The cone is its own dual. In the basis of the products of eigenvectors the derivative is diagonal."""
    values, U = np.linalg.eigh(matrix(v))
    kept = values.clip(min=0)
    rows, columns = np.triu_indices(len(values))
    high, low = values[columns], values[rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where((high > weak) & (low <= weak), kept[columns] / (high - low.clip(max=0)), (high > weak) * 1.0)
    products = U.T[rows, :, None] * U.T[columns, None, :]
    basis = vector(products + products.mT) / np.where(rows == columns, 2.0, np.sqrt(2))[:, None]
    return Projection(vector(U * kept @ U.T), basis.T * share @ basis)
