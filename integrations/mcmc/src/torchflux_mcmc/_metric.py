"""The kinetic energy: `p·M⁻¹p / 2` with an inverse mass matrix that is best the target's covariance."""

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

__all__ = ["Dense", "Diagonal", "Metric", "metric"]


class Metric(ABC):
    """An inverse mass matrix, one for all chains or one for each."""

    axes: ClassVar[int]
    """How many `matrix` has for one chain."""
    root: Tensor

    @property
    @abstractmethod
    def matrix(self) -> Tensor:
        """The inverse mass matrix, or its diagonal; if there is one for each chain, with their axis in front."""

    @property
    def each(self) -> bool:
        """Whether there is one for each chain."""
        return self.matrix.dim() > self.axes

    def of(self, chains: Tensor) -> Self:
        """That of some chains."""
        if not self.each:
            return self
        some = copy.copy(self)
        vars(some).update({name: x[chains] for name, x in vars(self).items()})
        return some

    @abstractmethod
    def velocity(self, p: Tensor) -> Tensor:
        """`M⁻¹p` for momenta (chains, ..., n)."""

    @abstractmethod
    def momentum(self, z: Tensor) -> Tensor:
        """A momentum with the covariance `M` of standard normal numbers (chains, n)."""

    @abstractmethod
    def displacement(self, z: Tensor) -> Tensor:
        """A vector with the covariance `M⁻¹` of standard normal numbers (chains, n)."""

    def kinetic(self, p: Tensor) -> Tensor:
        """`p·M⁻¹p / 2`, shape (chains,)."""
        return (p * self.velocity(p)).sum(-1) / 2


class Diagonal(Metric):
    """A diagonal inverse mass matrix.

    Arguments:
        variance: its diagonal, shape (n,), or (chains, n).

    Raises:
        ValueError: it isn't positive.
    """

    axes = 1

    def __init__(self, variance: Tensor) -> None:
        self.variance, self.root = variance, variance.rsqrt()
        if not (variance > 0).all():
            raise ValueError(f"the diagonal of an inverse mass matrix has to be positive: {variance}")

    @property
    def matrix(self) -> Tensor:
        """The diagonal."""
        return self.variance

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


class Dense(Metric):
    """A dense inverse mass matrix.

    Arguments:
        covariance: symmetric and positive definite, shape (n, n), or (chains, n, n).

    Raises:
        ValueError: it isn't.
    """

    axes = 2

    def __init__(self, covariance: Tensor) -> None:
        self.covariance = covariance
        self.root, wrong = torch.linalg.cholesky_ex(covariance)
        if wrong.any():
            raise ValueError(f"the inverse mass matrix is not positive definite: {covariance}")
        deviation = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        allowed = 1e-4 * deviation[..., None] * deviation[..., None, :]
        if not ((covariance - covariance.mT).abs() <= allowed).all():  # Cholesky reads one half of it
            raise ValueError(f"the inverse mass matrix is not symmetric: {covariance}")

    @property
    def matrix(self) -> Tensor:
        """The covariance."""
        return self.covariance

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


def metric(given: Any, like: Tensor, name: str = "inverse_mass_matrix") -> Metric:
    """The metric that a user meant for rows (chains, n): `None` is the unit matrix, a vector its diagonal.

    Raises:
        ValueError: it isn't symmetric and positive definite, or for other chains or other positions.
    """
    chains, n = like.shape
    if given is None:
        return Diagonal(like.new_ones(n))
    if isinstance(given, Metric):
        one = (n,) * given.axes
        if tuple(given.matrix.shape) not in (one, (chains, *one)):
            shape = tuple(given.matrix.shape)
            raise ValueError(f"{name} has the shape {shape}; the position takes {one}, or {(chains, *one)}")
        same = given.matrix.dtype == like.dtype and given.matrix.device == like.device
        return given if same else type(given)(given.matrix.to(like))  # type: ignore[call-arg]
    x = torch.as_tensor(given, dtype=like.dtype, device=like.device).detach()
    if tuple(x.shape) not in ((n,), (n, n)):
        raise ValueError(f"{name} has the shape {tuple(x.shape)}; the position takes ({n},) or ({n}, {n})")
    return Diagonal(x) if x.dim() == 1 else Dense(x)
