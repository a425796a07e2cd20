"""Sources of heat as random Fourier series, and their solutions of the heat equation."""

import math

import torch
from torch import Tensor

D = 0.01
WAVES = torch.arange(41).double()


def draw_sources(n: int, length: float, rng: torch.Generator) -> Tensor:
    """Coefficients (n, 2, 41) of cos kπx and sin kπx: a Gaussian process of variance 1 with the period 2.

    For lengths up to 0.4 its covariance at a distance d < 1/2 is exp(-d²/2 length²) to 1e-3.
    """
    power = torch.exp(-((WAVES * math.pi * length) ** 2) / 2)
    power[0] /= 2
    return torch.randn(n, 2, len(WAVES), generator=rng).double() * (power / power.sum()).sqrt()


def source(coefficients: Tensor, x: Tensor) -> Tensor:
    """f (n, B) at the places x (n,), of B sources."""
    phases = math.pi * x[:, None] * WAVES.to(x)
    return torch.cat([phases.cos(), phases.sin()], 1) @ coefficients.to(x).flatten(1).T


def exact(coefficients: Tensor, x: Tensor, t: Tensor, terms: int = 1000) -> Tensor:
    """u (m, n, B) at the places x (m,) and times t (n,): each sine of the source relaxes by itself."""
    n = torch.arange(1, terms + 1).double()
    k, odd = WAVES[:, None], (n + WAVES[:, None]) % 2
    of_cosines = 4 / math.pi * odd * n / torch.where(odd > 0, n**2 - k**2, 1)
    sines = coefficients[:, 0] @ of_cosines + coefficients[:, 1] @ (n == k).double()  # (B, terms)
    rate = D * (math.pi * n) ** 2
    growth = (1 - torch.exp(-rate * t[:, None])) / rate
    return torch.einsum("mk,nk,bk->mnb", torch.sin(math.pi * x[:, None] * n), growth, sines)
