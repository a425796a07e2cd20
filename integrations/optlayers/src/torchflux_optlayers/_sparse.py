"""Sparse matrices whose entries have gradients, and their factors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.linalg import splu
from torch import Tensor

from ._corrections import Correction
from ._lanes import numbers
from ._linear_solvers import LinearSolver
from ._outcome import which

__all__ = ["Sparse"]

Function = Callable[[Tensor], Tensor]


class Sparse:
    """A square sparse matrix, or a batch of them in the same places, whose entries are a tensor.

    Arguments:
        pattern: SciPy's sparse matrix or array, whose places count, in the order of its `tocoo()`.
        values: the entries, shape (*, entries), of float32 or float64; those of the pattern, unless given. Entries in
            the same place add up.

    >>> pattern = scipy.sparse.csr_array([[2.0, 0.0], [1.0, 4.0]])
    >>> Sparse(pattern).values
    tensor([2., 1., 4.], dtype=torch.float64)
    """

    def __init__(self, pattern: Any, values: Tensor | None = None) -> None:
        if not scipy.sparse.issparse(pattern) or pattern.shape[0] != pattern.shape[1]:
            raise TypeError(f"Sparse: the pattern is {type(pattern).__name__}; pass a square sparse matrix of SciPy's")
        found = pattern.tocoo()
        self.n, self.values = pattern.shape[0], torch.as_tensor(found.data) if values is None else values
        self.places = found.row.astype(np.int64), found.col.astype(np.int64)
        self.rows, self.columns = map(torch.as_tensor, self.places)
        if self.values.shape[-1:] != self.rows.shape or self.values.dtype not in (torch.float32, torch.float64):
            given = f"{tuple(self.values.shape)} {self.values.dtype}"
            raise ValueError(f"Sparse: the values are {given}; pass {len(self.rows)} of float32 or float64")

    @property
    def count(self) -> int:
        """How many matrices there are."""
        return self.values.shape[:-1].numel()

    @classmethod
    def of(cls, matrix: Tensor) -> "Sparse":
        """That of a sparse tensor of PyTorch's, to whose entries gradients flow."""
        found = (matrix if matrix.layout == torch.sparse_coo else matrix.to_sparse_coo()).coalesce()
        rows, columns = found.indices().numpy(force=True)
        ones = np.ones(len(rows))
        return cls(scipy.sparse.coo_array((ones, (rows, columns)), shape=tuple(matrix.shape)), found.values())

    def times(self, x: Tensor, values: Tensor) -> Tensor:
        """The products of matrices with other values, shape (B, entries) or (1, entries), with vectors (B, n)."""
        rows, columns = self.rows.to(x.device), self.columns.to(x.device)
        return torch.zeros_like(x).index_add(-1, rows, values * x[..., columns])

    def factored(self) -> "Factors":
        """Its factors.

        Raises:
            ValueError: a matrix has no inverse.
        """
        values = numbers(self.values, "Sparse").reshape(self.count, len(self.rows))
        found = [_factored(scipy.sparse.csc_array((v, self.places), shape=(self.n, self.n))) for v in values]
        bad = torch.tensor([x is None for x in found])
        if bad.any():
            raise ValueError(f"linear_solve: the matrix has no inverse{which(bad)}, or is not finite: no solution")
        return Factors(tuple(found))


def _factored(matrix: Any) -> Any:
    """SciPy's factors, or `None`."""
    if not np.isfinite(matrix.data).all():
        return None
    scale = abs(matrix).max(axis=1).toarray().ravel()
    try:
        found = splu(matrix)
    except RuntimeError:  # exactly singular
        return None
    diagonal = np.abs(found.U.diagonal())
    eps = np.finfo(np.float64).eps
    return found if len(diagonal) == 0 or diagonal.min() > 10 * eps * len(diagonal) * scale.min() else None


@dataclass(frozen=True)
class Factors(LinearSolver):
    """Factors of matrices, one for each row, or one for all."""

    parts: tuple[Any, ...]

    def solve(self, b: Tensor, kind: str = "N") -> Tensor:
        """The solutions for right sides (B, n); with the kind "T", of the transposed matrix."""
        given = numbers(b, "Sparse")
        parts = self.parts * len(given) if len(self.parts) == 1 else self.parts
        found = [part.solve(np.ascontiguousarray(row), kind) for part, row in zip(parts, given, strict=True)]
        return torch.as_tensor(np.stack(found) if found else given).to(b)

    def both(self) -> tuple[Function, Function]:
        """What solves the systems, and the transposed ones."""
        return self.solve, lambda b: self.solve(b, "T")

    def correction(self, equations: Function, z: Tensor, failed: Tensor, throw: bool) -> Function:
        """By the factors."""
        return lambda r: Correction.apply(r, *self.both())
