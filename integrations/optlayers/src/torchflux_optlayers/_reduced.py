"""The linear system of a program whose active constraints are known: equations in those rows, no force in the others.

    [Q  C'] [x]   [r]
    [C  0 ] [λ] = [t]     in the active rows; λ = 0 in the others

Its solution is the program's, for r = -p and t = d; all derivatives are solutions of it too. Where it is singular, as
active rows depend on each other, the proximal method of multipliers finds the solution nearest to where it starts.

Source: Rockafellar (1976), doi:10.1287/moor.1.2.97.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ._constants import DELTA, RHO, ROUNDING, ROUNDS, SLOW, SMALL
from ._minimal_residuals import descended

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
    system = _System(low, Q, C, active)
    force, before = force * active, torch.full_like(x[:, 0], torch.inf)
    for i in range(ROUNDS):
        above, below, error = system.residual(r, t, x, force)
        going = (error > SMALL) & (error < (before if i < 3 else SLOW * before))
        if not going.any():
            break
        before = torch.where(going, error, 0.0)  # whoever is done doesn't go on with the others
        step, more = system.correction(above, below)
        x, force = torch.where(going[:, None], x + step, x), torch.where(going[:, None], force + more, force)
    slow = error > ROUNDING
    return system.descended(r, t, x, force, slow) if slow.any() else (x, force, error)


class _System(NamedTuple):
    """Reduced systems with their factors."""

    low: Tensor
    Q: Tensor
    C: Tensor
    active: Tensor

    def image(self, x: Tensor, force: Tensor) -> tuple[Tensor, Tensor]:
        """The matrix times a vector."""
        return inner(self.Q, x) + inner(self.C.mT, force), inner(self.C, x) * self.active

    def residual(self, r: Tensor, t: Tensor, x: Tensor, force: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What a point leaves of the right-hand side, and how large that is in relation to the numbers in it, (B,)."""
        pulls = inner(self.Q, x), inner(self.C.mT, force)
        above, below = r - pulls[0] - pulls[1], (t - inner(self.C, x)) * self.active
        size = 1 + torch.cat((r, t * self.active, *pulls), 1).abs().amax(1)
        return above, below, torch.cat((above, below), 1).abs().amax(1) / size

    def correction(self, above: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
        """The solution for a residual, up to the proximal terms."""
        step = torch.cholesky_solve((above + inner(self.C.mT, below / DELTA))[..., None], self.low)[..., 0]
        return step, (inner(self.C, step) - below) / DELTA * self.active

    def descended(self, r: Tensor, t: Tensor, x: Tensor, force: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where refinement is slow, minimal residuals."""
        n = x.shape[1]
        split = lambda z: (z[:, :n], z[:, n:])
        z = descended(
            torch.cat((x, force), 1),
            which,
            lambda z: torch.cat(self.residual(r, t, *split(z))[:2], 1),
            lambda z: torch.cat(self.image(*split(z)), 1),
            lambda z: torch.cat(self.correction(*split(z)), 1),
        )
        x, force = split(z)
        return x, force, self.residual(r, t, x, force)[2]
