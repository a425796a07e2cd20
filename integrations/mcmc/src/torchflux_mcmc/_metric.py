"""The kinetic energy: `p·M⁻¹p / 2` with an inverse mass matrix that is best the target's covariance."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

__all__ = ["Dense", "Diagonal", "Metric", "metric"]


class Metric(ABC):
    """An inverse mass matrix, one for all chains or one for each."""

    @abstractmethod
    def velocity(self, p: Tensor) -> Tensor:
        """`M⁻¹p` for momenta (chains, ..., n)."""

    @abstractmethod
    def momentum(self, z: Tensor) -> Tensor:
        """A momentum with the covariance `M` of standard normal numbers (chains, n)."""

    @abstractmethod
    def displacement(self, z: Tensor) -> Tensor:
        """A vector with the covariance `M⁻¹` of standard normal numbers (chains, n)."""

    @abstractmethod
    def of(self, chains: Tensor) -> "Metric":
        """That of some chains."""

    def kinetic(self, p: Tensor) -> Tensor:
        """`p·M⁻¹p / 2`, shape (chains,)."""
        return (p * self.velocity(p)).sum(-1) / 2


class Diagonal(Metric):
    """A diagonal inverse mass matrix.

    Arguments:
        variance: its diagonal, shape (n,), or (chains, n).
    """

    def __init__(self, variance: Tensor) -> None:
        self.variance, self.each = variance, variance.dim() == 2
        self.root = variance.rsqrt()

    def __repr__(self) -> str:
        return f"Diagonal({self.variance})"

    def velocity(self, p: Tensor) -> Tensor:
        """`M⁻¹p` for momenta (chains, ..., n)."""
        between = p.dim() - 2 if self.each else 0
        return p * self.variance.view(*self.variance.shape[:-1], *[1] * between, -1)

    def momentum(self, z: Tensor) -> Tensor:
        """A momentum of standard normal numbers (chains, n)."""
        return z * self.root

    def displacement(self, z: Tensor) -> Tensor:
        """A vector with the covariance `M⁻¹` of standard normal numbers (chains, n)."""
        return z / self.root

    def of(self, chains: Tensor) -> "Diagonal":
        """That of some chains."""
        return Diagonal(self.variance[chains]) if self.each else self


class Dense(Metric):
    """A dense inverse mass matrix.

    Arguments:
        covariance: symmetric and positive definite, shape (n, n), or (chains, n, n).
    """

    def __init__(self, covariance: Tensor) -> None:
        self.covariance, self.each = covariance, covariance.dim() == 3
        self.root, wrong = torch.linalg.cholesky_ex(covariance)
        if wrong.any():
            raise ValueError(f"the inverse mass matrix is not positive definite: {covariance}")

    def __repr__(self) -> str:
        return f"Dense({self.covariance})"

    def velocity(self, p: Tensor) -> Tensor:
        """`M⁻¹p` for momenta (chains, ..., n)."""
        between = p.dim() - 2 if self.each else 0
        matrix = self.covariance.view(*self.covariance.shape[:-2], *[1] * between, *self.covariance.shape[-2:])
        return (matrix @ p[..., None])[..., 0]

    def momentum(self, z: Tensor) -> Tensor:
        """A momentum of standard normal numbers (chains, n): `M = (L Lᵀ)⁻¹`, so that it is `L⁻ᵀ z`."""
        return torch.linalg.solve_triangular(self.root.mT, z[..., None], upper=True)[..., 0]

    def displacement(self, z: Tensor) -> Tensor:
        """A vector with the covariance `M⁻¹` of standard normal numbers (chains, n)."""
        return (self.root @ z[..., None])[..., 0]

    def of(self, chains: Tensor) -> "Dense":
        """That of some chains."""
        return Dense(self.covariance[chains]) if self.each else self


def metric(given: Any, n: int, like: Tensor) -> Metric:
    """The metric that a user meant: `None` is the unit matrix, a vector its diagonal, a matrix a dense one."""
    if isinstance(given, Metric):
        return given
    if given is None:
        return Diagonal(like.new_ones(n))
    x = torch.as_tensor(given, dtype=like.dtype, device=like.device)
    if tuple(x.shape) not in ((n,), (n, n)):
        raise ValueError(f"inverse_mass_matrix has the shape {tuple(x.shape)}; the position takes ({n},) or ({n}, {n})")
    if x.dim() == 1 and not (x > 0).all():
        raise ValueError(f"inverse_mass_matrix has to be positive: {x}")
    return Diagonal(x) if x.dim() == 1 else Dense(x)
