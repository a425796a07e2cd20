"""What a parameter of CVXPY's is declared to be, and whether tensors are that."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Declared", "declared"]

Check = Callable[[Tensor], Tensor]


class Declared(NamedTuple):
    """A parameter's name, shape, and the properties that CVXPY's rules have relied on."""

    name: str
    shape: tuple[int, ...]
    checks: dict[str, Check]
    """For each property, which elements of a batch (*, *shape) have it: shape (*)."""

    def lead(self, value: Any) -> tuple[int, ...]:
        """The axes of the batch of a value.

        Raises:
            TypeError: it isn't a tensor of floats.
            ValueError: its shape doesn't fit.
        """
        if not isinstance(value, Tensor) or value.dtype not in (torch.float32, torch.float64):
            what = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"{self.name} is {what}: pass a tensor of float32 or float64")
        axes = value.dim() - len(self.shape)
        if axes < 0 or tuple(value.shape[axes:]) != self.shape:
            raise ValueError(f"{self.name} has shape {tuple(value.shape)}: it is {('*', *self.shape)}")
        return tuple(value.shape[:axes])

    def require(self, value: Tensor) -> None:
        """Checks the properties.

        Raises:
            ValueError: an element doesn't have one.
        """
        for word, has in self.checks.items():
            good = has(value) | ~torch.isfinite(value).reshape(*value.shape[: value.dim() - len(self.shape)], -1).all(
                -1
            )
            if not good.all():
                which = f" at {(~good).nonzero().squeeze(-1).tolist()[:10]}" if good.dim() else ""
                raise ValueError(
                    f"{self.name} isn't {word}{which}, as it was declared: what CVXPY concluded doesn't hold"
                )


def declared(parameter: Any) -> Declared:
    """What is known of a `cvxpy.Parameter`."""
    given = {name: value for name, value in parameter.attributes.items() if value is not None and value is not False}
    axes, checks = len(parameter.shape), {}
    signs = {"nonneg": _nonnegative, "pos": _nonnegative, "nonpos": _nonpositive, "neg": _nonpositive}
    curved = {"PSD": 1.0, "NSD": -1.0}
    for name in given:
        if name in signs:
            checks[name] = _everywhere(signs[name], axes)
        elif name in curved:
            checks[name] = _semidefinite(curved[name])
        elif name == "diag":
            checks[name] = _zero_outside(np.eye(*parameter.shape, dtype=bool))
        elif name == "sparsity":
            pattern = np.zeros(parameter.shape, dtype=bool)
            pattern[parameter.sparse_idx] = True
            checks["sparse"] = _zero_outside(pattern)
        elif name == "bounds":
            low, high = (torch.as_tensor(np.broadcast_to(v, parameter.shape).copy()) for v in parameter.bounds)
            checks["within its bounds"] = _everywhere(_between(low, high), axes)
        elif name in ("integer", "boolean"):
            checks[name] = _everywhere(_whole if name == "integer" else _zero_or_one, axes)
    return Declared(parameter.name(), tuple(parameter.shape), checks)


def _everywhere(check: Check, axes: int) -> Check:
    """Whether all entries of an element pass."""
    return lambda v: check(v).reshape(*v.shape[: v.dim() - axes], -1).all(-1)


def _nonnegative(v: Tensor) -> Tensor:
    return v >= 0


def _nonpositive(v: Tensor) -> Tensor:
    return v <= 0


def _whole(v: Tensor) -> Tensor:
    return v == v.round()


def _zero_or_one(v: Tensor) -> Tensor:
    return (v == 0) | (v == 1)


def _between(low: Tensor, high: Tensor) -> Check:
    return lambda v: (v >= low.to(v)) & (v <= high.to(v))


def _zero_outside(pattern: np.ndarray) -> Check:
    outside = torch.from_numpy(~pattern)
    return lambda v: (v.masked_fill(~outside.to(v.device), 0) == 0).flatten(-outside.dim()).all(-1)


def _semidefinite(sign: float) -> Check:
    """To rounding."""

    def check(v: Tensor) -> Tensor:
        values = torch.linalg.eigvalsh(sign * (v.detach().nan_to_num(0, 0, 0) + v.detach().nan_to_num(0, 0, 0).mT) / 2)
        return values[..., 0] >= -10 * v.shape[-1] * torch.finfo(v.dtype).eps * values.abs().amax(-1)

    return check
