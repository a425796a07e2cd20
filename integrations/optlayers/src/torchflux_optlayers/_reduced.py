"""The linear system of a program whose active constraints are known: equations in those rows, no force in the others.

    [Q  C'] [x]   [r]
    [C  0 ] [λ] = [t]     in the active rows; λ = 0 in the others

Its solution is the program's, for r = -p and t = d; all derivatives are solutions of it too. Where it is singular, as
active rows depend on each other, the proximal method of multipliers finds the solution nearest to where it starts.

Source: Rockafellar (1976), doi:10.1287/moor.1.2.97.
"""

import torch
from torch import Tensor

from ._constants import DELTA, RHO, ROUNDS, SMALL

__all__ = ["factor", "inner", "reduced", "weights"]


def inner(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrices (B, m, n) times vectors (B, n)."""
    return (matrix @ vector[..., None])[..., 0]


def factor(Q: Tensor, C: Tensor, weight: Tensor) -> Tensor:
    """The Cholesky factor of `Q + ρI + C' diag(weight) C`, shape (B, n, n); rounding is paid for with a larger ρ."""
    H = Q + C.mT @ (weight[..., None] * C)
    H.diagonal(dim1=1, dim2=2).add_(RHO)
    low, failed = torch.linalg.cholesky_ex(H)
    if failed.any():
        size = H.diagonal(dim1=1, dim2=2).amax(1) * torch.where(failed > 0, 1e-12, 0.0) + torch.where(
            failed > 0, 1e-6, 0.0
        )
        low = torch.linalg.cholesky_ex(H + size[:, None, None] * torch.eye(H.shape[1], dtype=H.dtype, device=H.device))[
            0
        ]
    return low


def weights(active: Tensor) -> Tensor:
    """The rows' weights in the factor of the reduced system."""
    return torch.where(active, 1 / DELTA, 0.0).to(torch.float64)


def reduced(
    low: Tensor, Q: Tensor, C: Tensor, active: Tensor, r: Tensor, t: Tensor, x: Tensor, force: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The solution near (x, force), and its residual in relation to the numbers in it, shape (B,)."""
    force, before = force * active, torch.full_like(x[:, 0], torch.inf)
    for _ in range(ROUNDS):
        pulls = inner(Q, x), inner(C.mT, force)
        above, below = r - pulls[0] - pulls[1], (t - inner(C, x)) * active
        size = 1 + torch.cat((r, t * active, *pulls), 1).abs().amax(1)
        error = torch.cat((above, below), 1).abs().amax(1) / size
        going = (error > SMALL) & (error < before)
        if not going.any():
            break
        before = torch.where(going, error, 0.0)  # whoever is done doesn't go on with the others
        step = torch.cholesky_solve((above + inner(C.mT, below / DELTA))[..., None], low)[..., 0]
        more = (inner(C, step) - below) / DELTA * active
        x, force = torch.where(going[:, None], x + step, x), torch.where(going[:, None], force + more, force)
    return x, force, error
