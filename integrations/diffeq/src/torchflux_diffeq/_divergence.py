"""The trace of a slope's Jacobian, sample by sample: exact, or estimated without bias."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._lanes import differentiable, transformed

__all__ = ["Divergence", "ExactTrace", "Hutchinson", "Trace"]


class Divergence(NamedTuple):
    """A slope (B, ...), the trace of its Jacobian (B,), and the sum of the Jacobian's squares (B,)."""

    slope: Tensor
    trace: Tensor
    squares: Tensor


class Trace(ABC):
    """How the trace of a Jacobian is found, from products of vectors with it."""

    @abstractmethod
    def draw(self, like: Tensor, generator: torch.Generator | None) -> Tensor | None:
        """The noise of one solution, shaped like the state (B, ...)."""

    @abstractmethod
    def __call__(self, f: Callable[[Tensor], Tensor], y: Tensor, noise: Any) -> Divergence:
        """The slopes `f(y)` of samples (B, ...), and their divergence."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ExactTrace(Trace):
    """The trace itself, by as many products as a state has numbers.

    >>> f = lambda y: torch.stack((y[:, 0] ** 2, y[:, 0] * y[:, 1]), 1)
    >>> ExactTrace()(f, torch.tensor([[2.0, 5.0]]), None)
    Divergence(slope=tensor([[ 4., 10.]]), trace=tensor([6.]), squares=tensor([45.]))
    """

    def draw(self, like: Tensor, generator: torch.Generator | None) -> None:
        """Nothing: no chance is involved."""

    def __call__(self, f: Callable[[Tensor], Tensor], y: Tensor, noise: Any) -> Divergence:
        """The slopes and their divergence, from the Jacobian's rows."""
        slope, pull = pullback(f, y)
        basis = torch.eye(y.shape[1:].numel(), dtype=y.dtype, device=y.device).view(-1, 1, *y.shape[1:])
        rows = torch.stack([pull(unit.expand_as(y)).flatten(1) for unit in basis], 1)
        return Divergence(slope, rows.diagonal(dim1=1, dim2=2).sum(-1), rows.square().sum((1, 2)))


class Hutchinson(Trace):
    """An unbiased estimate by a single product: `εᵀ J ε`, of noise ε that stays the same throughout a solution.

    Arguments:
        noise: "rademacher" (signs, which have the least variance) or "gaussian".

    Source: Hutchinson (1990), doi:10.1080/03610919008812866; Grathwohl et al. (2018), arXiv:1810.01367.
    """

    def __init__(self, noise: str = "rademacher") -> None:
        if noise not in ("rademacher", "gaussian"):
            raise ValueError(f"Hutchinson(noise={noise!r}): it is 'rademacher' or 'gaussian'")
        self.noise = noise

    def __repr__(self) -> str:
        return f"Hutchinson({self.noise!r})"

    def draw(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """The noise of each sample."""
        if generator is None:
            raise ValueError("Hutchinson's estimate takes noise: pass generator=torch.Generator().manual_seed(...)")
        options: Any = {"generator": generator, "dtype": like.dtype, "device": like.device}
        if self.noise == "gaussian":
            return torch.randn(like.shape, **options)
        return torch.randint(0, 2, like.shape, **options) * 2 - 1

    def __call__(self, f: Callable[[Tensor], Tensor], y: Tensor, noise: Tensor) -> Divergence:
        """The slopes, and what the noise says of their divergence."""
        slope, pull = pullback(f, y)
        product = pull(noise).flatten(1)
        return Divergence(slope, (product * noise.flatten(1)).sum(1), product.square().sum(1))


def pullback(f: Callable[[Tensor], Tensor], y: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """`f(y)`, and what multiplies cotangents with its Jacobian; with a tape where one is asked for.

    That is `torch.func.vjp`. Most calls don't need its levels of transforms, which cost half as much again.
    """
    taped = torch.is_grad_enabled()
    if transformed() or (taped and not y.requires_grad):  # whose tape would lead to a copy of y
        value, pull, *_ = torch.func.vjp(f, y)
        return value, lambda v: pull(v)[0]
    with differentiable():
        x = y if taped else (y.clone() if y.is_inference() else y.detach()).requires_grad_()
        value = f(x)

    def product(v: Tensor) -> Tensor:
        if not value.requires_grad:
            return torch.zeros_like(y)
        return torch.autograd.grad(value, x, v, retain_graph=True, create_graph=taped, materialize_grads=True)[0]

    return value if taped else value.detach(), product
