"""The linear system of Newton's method for a program over cones, which is that of its derivatives too.

    [P   A'D ] [dx]
    [A  D - I] [dv]

D is the derivative of the projection on the dual cone, and symmetric. The solution is checked by its residual; where
the system is singular, it is the shortest of those that come nearest.
"""

import warnings
from collections.abc import Callable
from functools import cached_property

import numpy as np
from scipy import linalg, sparse
from scipy.sparse import linalg as sparse_linalg

from ._layout import Matrix

__all__ = ["NewtonSystem", "block_diagonal"]

ROUNDS, SMALL = 3, 1e-14
"""How often a solution is refined at most, and the relative residual that is enough."""
SINGULAR = 1e-12
"""The reciprocal condition number below which a system counts as singular."""
ACCURATE = 1e-9
"""The relative residual up to which a factor's solution is taken without a second opinion."""


Solve = Callable[[np.ndarray, bool], np.ndarray]
"""The solution for a right-hand side, of the transposed system or not."""


def block_diagonal(blocks: list[np.ndarray], dense: bool) -> Matrix:
    """The matrix with these blocks, of which a vector stands for a diagonal one."""
    if not dense:
        return sparse.block_diag([sparse.diags_array(b) if b.ndim == 1 else b for b in blocks], format="csc")
    full, k = np.zeros((sum(map(len, blocks)),) * 2), 0
    for b in blocks:
        full[k : k + len(b), k : k + len(b)] = np.diag(b) if b.ndim == 1 else b
        k += len(b)
    return full


class NewtonSystem:
    """The system at a point, for any number of right-hand sides."""

    def __init__(self, P: Matrix, A: Matrix, slope: Matrix) -> None:
        self.is_dense = isinstance(A, np.ndarray)
        if self.is_dense:
            self.matrix: Matrix = np.block([[P, A.T @ slope], [A, slope - np.eye(len(A))]])
        else:
            eye = sparse.eye_array(A.shape[0])
            self.matrix = sparse.csc_array(sparse.block_array([[P, A.T @ slope], [A, slope - eye]], format="csc"))

    @cached_property
    def _factor(self) -> Solve | None:
        """What solves the system and its transpose, or nothing, where it is singular."""
        return self._dense_factor() if self.is_dense else self._sparse_factor()

    def _dense_factor(self) -> Solve | None:
        with warnings.catch_warnings(action="ignore", category=linalg.LinAlgWarning):
            factor = linalg.lu_factor(self.matrix, check_finite=False)
        reciprocal, _ = linalg.lapack.dgecon(factor[0], abs(self.matrix).sum(0).max(initial=0.0))
        if reciprocal <= SINGULAR:
            return None
        return lambda r, transposed: linalg.lu_solve(factor, r, trans=int(transposed), check_finite=False)

    def _sparse_factor(self) -> Solve | None:
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
        if self.is_dense:
            z = linalg.lstsq(matrix, r, cond=SINGULAR, check_finite=False)[0]
        else:
            z = sparse_linalg.lsmr(matrix, r, atol=SMALL, btol=SMALL, conlim=0, maxiter=10 * len(r))[0]
        return z, float(abs(r - matrix @ z).max() / size)
