"""What a parameter of CVXPY's is declared to be, and whether tensors are that."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Declared", "declared", "flattened", "is_plain"]


class Declared(NamedTuple):
    """A parameter's name, shape, and the properties that CVXPY's rules have relied on."""

    name: str
    shape: tuple[int, ...]
    properties: dict[str, Any]
    """For each, what is to be known to check it."""

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
        lead = value.shape[: value.dim() - len(self.shape)]
        for word, known in self.properties.items():
            has = CHECKS[word](value.detach(), known).reshape(*lead, -1).all(-1)
            good = has | ~torch.isfinite(value).reshape(*lead, -1).all(-1)  # what isn't finite gets a status
            if not good.all():
                which = f" at {(~good).nonzero().squeeze(-1).tolist()[:10]}" if lead else ""
                raise ValueError(
                    f"{self.name} was declared with {word}, which doesn't hold{which}: nor does what CVXPY concluded"
                )


def declared(parameter: Any) -> Declared:
    """What is known of a `cvxpy.Parameter`."""
    given = {name: value for name, value in parameter.attributes.items() if value is not None and value is not False}
    known = {name: value for name, value in given.items() if name in CHECKS}
    if "diag" in known:
        known["diag"] = torch.eye(*parameter.shape, dtype=torch.bool)
    if "sparsity" in known:
        known["sparsity"] = torch.zeros(parameter.shape, dtype=torch.bool)
        known["sparsity"][parameter.sparse_idx] = True
    if "bounds" in known:
        known["bounds"] = tuple(torch.tensor(np.broadcast_to(v, parameter.shape)) for v in parameter.bounds)
    return Declared(parameter.name(), tuple(parameter.shape), known)


def flattened(known: tuple[Declared, ...], values: tuple[Any, ...]) -> tuple[Tensor, tuple[int, ...], Tensor]:
    """The parameters as one matrix (B, *) in float64, the shape of the batch, and a tensor with the dtype wanted.

    Raises:
        TypeError, ValueError: the values don't fit, or aren't as declared.
    """
    if len(values) != len(known):
        raise ValueError(f"{len(values)} tensors for {len(known)} parameters: {', '.join(p.name for p in known)}")
    leads = [p.lead(value) for p, value in zip(known, values, strict=True)]
    like = values[0] if values else torch.empty(0)
    for p, value in zip(known, values, strict=True):
        if value.dtype != like.dtype or value.device != like.device:
            first = f"{known[0].name} {like.dtype} on {like.device}"
            raise TypeError(f"{p.name} is {value.dtype} on {value.device}, {first}: they have to agree")
        if is_plain(value):
            p.require(value)
    try:
        batch = tuple(torch.broadcast_shapes(*leads)) if leads else ()
    except RuntimeError:
        shapes = ", ".join(f"{p.name} {tuple(v.shape)}" for p, v in zip(known, values, strict=True))
        raise ValueError(f"the leading axes can't be broadcast: {shapes}") from None
    size = math.prod(batch)
    wide = [
        value.to(torch.float64).expand((*batch, *p.shape)).reshape(size, math.prod(p.shape))
        for p, value in zip(known, values, strict=True)
    ]
    return torch.cat(wide, 1) if wide else like.new_empty(size, 0, dtype=torch.float64), batch, like


def is_plain(x: Tensor) -> bool:
    """Whether a tensor has numbers that can be read here and now."""
    if torch.compiler.is_compiling():
        return False
    return type(x) in (Tensor, torch.nn.Parameter) and not torch._C._functorch.is_functorch_wrapped_tensor(x)


def _least(v: Tensor) -> Tensor:
    """Whether the least eigenvalue is 0 or more, to rounding; shape (*, 1, 1)."""
    whole = v.nan_to_num(0.0, 0.0, 0.0)
    values = torch.linalg.eigvalsh((whole + whole.mT) / 2)
    rounding = 10 * v.shape[-1] * torch.finfo(v.dtype).eps * values.abs().amax(-1)
    return (values[..., 0] >= -rounding)[..., None, None]


CHECKS: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "nonneg": lambda v, _: v >= 0,
    "pos": lambda v, _: v >= 0,
    "nonpos": lambda v, _: v <= 0,
    "neg": lambda v, _: v <= 0,
    "integer": lambda v, _: v == v.round(),
    "boolean": lambda v, _: (v == 0) | (v == 1),
    "bounds": lambda v, ends: (v >= ends[0].to(v)) & (v <= ends[1].to(v)),
    "diag": lambda v, inside: (v == 0) | inside.to(v.device),
    "sparsity": lambda v, inside: (v == 0) | inside.to(v.device),
    "PSD": lambda v, _: _least(v),
    "NSD": lambda v, _: _least(-v),
}
"""Whether each entry of a parameter is as declared; of symmetric ones the symmetric part counts, so all are."""
