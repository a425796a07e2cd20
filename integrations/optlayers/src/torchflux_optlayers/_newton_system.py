"""The linear system of Newton's method for a program over cones, which is that of its derivatives too.

    [P   A'D ] [dx]
    [A  D - I] [dv]

D is the derivative of the projection on the dual cone, and symmetric. The solution is checked by its residual; where
the system is singular, it is the shortest of those that come nearest.
"""

import warnings
from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg, sparse
from scipy.sparse import linalg as sparse_linalg

__all__ = ["NewtonSystem"]

DENSE = 400
"""Unknowns up to which the matrix isn't treated as a sparse one."""
ROUNDS, SMALL = 3, 1e-14
"""How often a solution is refined at most, and the relative residual that is enough."""
SINGULAR = 1e-12
"""The reciprocal condition number below which a system counts as singular."""
ACCURATE = 1e-9
"""The relative residual up to which a factor's solution is taken without a second opinion."""


class NewtonSystem:
    """The system at a point, for any number of right-hand sides."""

    def __init__(self, P: sparse.csc_array, A: sparse.csc_array, slope: sparse.csc_array) -> None:
        eye = sparse.eye_array(slope.shape[0])
        self.matrix = sparse.csc_array(sparse.block_array([[P, A.T @ slope], [A, slope - eye]], format="csc"))

    @cached_property
    def _dense(self) -> np.ndarray:
        return self.matrix.toarray()

    @cached_property
    def _factor(self) -> Any:
        """What solves the system and its transpose, or nothing, where it is singular."""
        if self.matrix.shape[0] <= DENSE:
            with warnings.catch_warnings(action="ignore", category=linalg.LinAlgWarning):
                factor = linalg.lu_factor(self._dense, check_finite=False)
            (condition,) = linalg.get_lapack_funcs(("gecon",), (factor[0],))
            reciprocal, _ = condition(factor[0], abs(self._dense).sum(0).max(initial=0.0))
            solve = lambda r, transposed: linalg.lu_solve(factor, r, trans=int(transposed), check_finite=False)
            return solve if reciprocal > SINGULAR else None
        try:
            found = sparse_linalg.splu(self.matrix)
        except RuntimeError:  # exactly singular
            return None
        back = lambda r: found.solve(r, "T")
        inverse = sparse_linalg.LinearOperator(self.matrix.shape, found.solve, back, dtype=np.float64)
        reciprocal = 1 / (sparse_linalg.norm(self.matrix, 1) * sparse_linalg.onenormest(inverse))
        return (lambda r, transposed: found.solve(r, "NT"[transposed])) if reciprocal > SINGULAR else None

    def solve(self, r: np.ndarray, transposed: bool = False) -> tuple[np.ndarray, float]:
        """The solution of the system, or of its transpose, and its residual in relation to r."""
        size = abs(r).max(initial=0.0)
        if not size:
            return np.zeros_like(r), 0.0
        matrix = self.matrix.T if transposed else self.matrix
        if self._factor is None:
            return self._nearest(r, transposed, size)
        z = np.zeros_like(r)
        left, error = r, np.inf
        for _ in range(ROUNDS):
            ahead = z + self._factor(left, transposed)
            left = r - matrix @ ahead
            now = abs(left).max() / size
            if not now < error:
                break
            z, error = ahead, now
            if error <= SMALL:
                break
        if error <= ACCURATE:
            return z, float(error)
        return min((z, float(error)), self._nearest(r, transposed, size), key=lambda pair: pair[1])

    def _nearest(self, r: np.ndarray, transposed: bool, size: float) -> tuple[np.ndarray, float]:
        """The shortest of the vectors that come nearest to solving it."""
        matrix = self.matrix.T if transposed else self.matrix
        if len(r) <= DENSE:
            z = linalg.lstsq(self._dense.T if transposed else self._dense, r, cond=SINGULAR, check_finite=False)[0]
        else:
            z = sparse_linalg.lsmr(matrix, r, atol=SMALL, btol=SMALL, conlim=0, maxiter=10 * len(r))[0]
        return z, float(abs(r - matrix @ z).max() / size)
