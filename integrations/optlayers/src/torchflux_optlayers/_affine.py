"""The sparse affine map from a problem's parameters to the numbers of its standard form, in PyTorch."""

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ._canonical import Canonical

__all__ = ["Affine", "dense_places"]


class Affine:
    """`Mθ + c` for batches of θ, in float64; M's entries are gathered and added, which every transform knows.

    Arguments:
        numbers: M and c side by side.
        places: where each row is in the result, and how long that is; elsewhere there are zeros.
    """

    def __init__(self, numbers: sparse.csr_array, places: tuple[np.ndarray, int] | None = None) -> None:
        rows, self.size = places if places is not None else (np.arange(numbers.shape[0]), int(numbers.shape[0]))
        entries = numbers.tocoo()
        last = numbers.shape[1] - 1
        linear = entries.col < last
        constant = np.zeros(self.size)
        constant[rows[entries.row[~linear]]] = entries.data[~linear]
        self.constant = torch.from_numpy(constant)
        self.rows = torch.from_numpy(rows[entries.row[linear]].astype(np.int64))
        self.columns = torch.from_numpy(entries.col[linear].astype(np.int64))
        self.weights = torch.from_numpy(entries.data[linear])

    def __call__(self, theta: Tensor) -> Tensor:
        """Shape (B, size), for shape (B, *)."""
        rows, columns, weights, constant = (
            v.to(theta.device) for v in (self.rows, self.columns, self.weights, self.constant)
        )
        start = constant.expand(len(theta), self.size)
        return start.index_add(1, rows, theta.index_select(1, columns) * weights)


def dense_places(form: Canonical) -> tuple[np.ndarray, int]:
    """Where the numbers of a standard form are among those of (P, q, A, b, d) with full matrices, row by row."""
    n, m = form.n, form.m
    blocks = (
        (form.P[0] * n + form.P[1], n * n),
        (np.arange(n), n),
        (form.A[0] * n + form.A[1], m * n),
        (np.arange(m + 1), m + 1),
    )
    starts = np.cumsum([0, *(size for _, size in blocks)])
    return np.concatenate([rows + start for (rows, _), start in zip(blocks, starts[:-1], strict=True)]), int(starts[-1])
