"""Where the numbers of programs of one form are in their matrices."""

import copy
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from ._canonical import Canonical
from ._cones import Cones

__all__ = ["DENSE", "Conic", "Layout", "Matrix"]

Matrix = Any
"""An array, or a sparse one."""

DENSE = 400
"""Unknowns up to which no matrix is treated as a sparse one."""


class Conic(NamedTuple):
    """The program to minimise ½ x·Px + q·x subject to Ax + s = b and s in K."""

    P: Matrix
    q: np.ndarray
    A: Matrix
    b: np.ndarray
    cones: Cones
    columns: tuple[sparse.csc_array, sparse.csc_array]
    """P's upper triangle, and A, as Clarabel takes them."""

    @property
    def numbers(self) -> tuple[np.ndarray, ...]:
        """All that there are."""
        return self.columns[0].data, self.q, self.columns[1].data, self.b


class Layout:
    """Makes programs of the entries of their matrices."""

    def __init__(self, form: Canonical) -> None:
        self.n, self.m, self.cones, self.P, self.A = form.n, form.m, form.cones, form.P, form.A
        self.fixed_curvature = form.fixed_curvature
        self.is_dense = form.n + form.m <= DENSE
        self.upper = form.P[0] <= form.P[1]
        above = form.P[0][self.upper], form.P[1][self.upper]
        self.triangle, self.whole, self.rows = (
            _template(places, shape)
            for places, shape in ((above, (form.n, form.n)), (form.P, (form.n, form.n)), (form.A, (form.m, form.n)))
        )

    def program(self, P: np.ndarray, q: np.ndarray, A: np.ndarray, b: np.ndarray) -> Conic:
        """One program from its numbers."""
        columns = _filled(self.triangle, P[self.upper]), _filled(self.rows, A)
        if not self.is_dense:
            return Conic(_filled(self.whole, P), q, columns[1], b, self.cones, columns)
        full_P, full_A = np.zeros((self.n, self.n)), np.zeros((self.m, self.n))
        full_P[self.P], full_A[self.A] = P, A
        return Conic(full_P, q, full_A, b, self.cones, columns)


def _template(places: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]) -> sparse.csc_array:
    """A sparse matrix with entries in these places, which are in the order of columns."""
    rows, columns = places
    starts = np.searchsorted(columns, np.arange(shape[1] + 1))
    return sparse.csc_array((np.zeros(len(rows)), rows, starts), shape=shape)


def _filled(template: sparse.csc_array, values: np.ndarray) -> sparse.csc_array:
    """A matrix of that structure, which SciPy needn't check again."""
    matrix = copy.copy(template)
    matrix.data = values
    return matrix
