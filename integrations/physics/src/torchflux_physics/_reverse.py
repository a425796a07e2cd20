"""A model whose derivatives in the coordinates are taken by reverse mode, one inside another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._jet import Jet, component
from ._multi_index import Index

__all__: list[str] = []


@dataclass(frozen=True)
class Reverse:
    """A model of points (n, d), called as it is; `jet` is its result with derivatives by `torch.autograd.grad`.

    Each point's result must depend on that point alone: a column is summed over the points before it is differentiated.
    """

    model: Callable[[Any], Any]

    def __call__(self, x: Any) -> Any:
        return self.model(x)

    def jet(self, points: Tensor) -> Jet:
        """The model's result (n,) or (n, m) at points."""
        at = points if points.requires_grad else points.detach().requires_grad_()
        slopes: dict[Index, Tensor] = {}

        def derive(y: Jet, index: Index) -> Tensor:
            before = index[:-1]
            if before not in slopes:
                slopes[before] = _slopes(component(y, before), at)
            return slopes[before][..., index[-1]]

        return Jet(self.model(at), derive, [])


def _slopes(y: Tensor, at: Tensor) -> Tensor:
    """The derivatives of (n,) or (n, m) at points (n, d): (n, d) or (n, m, d)."""
    if y.dim() == 2:
        return torch.stack([_slopes(column, at) for column in y.unbind(1)], 1)
    if y.is_complex():
        return torch.complex(_slopes(y.real, at), _slopes(y.imag, at))
    if not y.requires_grad:
        return torch.zeros_like(at)
    (found,) = torch.autograd.grad(y.sum(), at, create_graph=True, allow_unused=True)
    return torch.zeros_like(at) if found is None else found


def by_reverse(models: Any) -> Any:
    """Models of fields, each with derivatives by reverse mode."""
    return {name: Reverse(model) for name, model in models.items()} if isinstance(models, Mapping) else Reverse(models)
