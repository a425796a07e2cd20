"""The solution to twelve digits, by the method of particular solutions: the equation exactly, the boundary by a fit.

u = p + Σ a_k Im ζ^k + Re Σ b_cm (1 - ζ/c)^m log(1 - ζ/c), where ζ = z^(2/3) bends the three quarters of a plane around
the first corner into half a plane. p meets -Δp = 1; all else is harmonic, and zero on the two edges that meet in that
corner, as p is. The logarithms are those of the five other corners, c in the plane of ζ, and of their mirror images. On
the four other edges the sum is fitted to zero by least squares. What is left there bounds the error everywhere, by the
maximum principle.

Source: Fox, Henrici & Moler (1967), doi:10.1137/0704008.
"""

import cmath
import math

import torch
from corners import CORNERS, angle
from torch import Tensor

POWERS, LOGARITHMS = 100, 4
UPPER = [cmath.rect(2 ** (1 / 3), turn * math.pi / 6) for turn in (1, 3, 5)]
CONVEX = [1, *UPPER, -1]  # the corners (1, 0), (1, -1), (-1, -1), (-1, 1) and (0, 1) in the plane of ζ


def particular(x: Tensor, y: Tensor) -> Tensor:
    """-Δp = 1, and p = 0 on both edges of the first corner; (n,). It has r² log r: r² sin 2θ is 0 on both already."""
    r, turn = torch.hypot(x, y), angle(x, y)
    whirl = torch.xlogy(r**2, r) * torch.sin(2 * turn) + r**2 * turn * torch.cos(2 * turn)  # Im z² log z
    return -(r**2) * torch.sin(turn) ** 2 / 2 - whirl / (3 * math.pi)


def harmonic(x: Tensor, y: Tensor) -> Tensor:
    """The functions of the sum, zero on both edges of the first corner; (n, number)."""
    zeta = torch.polar(torch.hypot(x, y) ** (2 / 3), angle(x, y) * 2 / 3)
    columns = [((zeta / 2 ** (1 / 3)) ** k).imag for k in range(1, POWERS + 1)]
    for c in CONVEX:
        for m in range(2, 2 + LOGARITHMS):
            here, mirrored = vanishing_logarithm(zeta / c, m), vanishing_logarithm(zeta / c.conjugate(), m)
            columns += [(here + mirrored).imag, (here - mirrored).real][: 1 if c in (1, -1) else 2]
    return torch.stack(columns, 1)


def vanishing_logarithm(s: Tensor, m: int) -> Tensor:
    """(1 - s)^m log(1 - s), zero at s = 1."""
    gap = 1 - s
    return gap**m * torch.where(gap == 0, 0, torch.log(torch.where(gap == 0, 1, gap)))


def outer_edges(n: int) -> tuple[Tensor, Tensor]:
    """n points of each of the four edges that don't meet in the first corner, denser at their ends; x and y."""
    share = (1 - torch.cos(math.pi * torch.linspace(0, 1, n, dtype=torch.float64))) / 2
    ends = torch.tensor(CORNERS[1:]).double()
    points = ends[:-1, None] + share[:, None] * (ends[1:] - ends[:-1])[:, None]
    return points[..., 0].flatten(), points[..., 1].flatten()


class Reference:
    """The solution as a function of x and y, each (n,). `bound`: no value is further off, as seen on the boundary."""

    def __init__(self) -> None:
        x, y = outer_edges(301)
        functions = harmonic(x, y)
        scale = functions.norm(dim=0)
        found = torch.linalg.lstsq(functions / scale, -particular(x, y)[:, None], rcond=1e-14, driver="gelsd").solution
        self.coefficients = found[:, 0] / scale
        self.bound = self(*outer_edges(2000)).abs().max().item()

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return particular(x, y) + harmonic(x, y) @ self.coefficients

    @property
    def strength(self) -> float:
        """The factor of r^(2/3) sin(2θ/3) at the first corner."""
        x = torch.tensor([-1e-9], dtype=torch.float64)
        return (self(x, x) / torch.hypot(x, x) ** (2 / 3)).item()
