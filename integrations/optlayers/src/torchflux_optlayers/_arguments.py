"""The arguments of a quadratic program as one batch: shapes checked, missing blocks filled in, shared ones repeated."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Arguments", "arguments", "batch_of"]

AXES = {"Q": "nn", "p": "n", "G": "mn", "h": "m", "A": "en", "b": "e"}


class Arguments(NamedTuple):
    """A batch of B programs; the m inequalities come first among the rows."""

    Q: Tensor
    p: Tensor
    C: Tensor
    d: Tensor
    equal: Tensor
    batch: tuple[int, ...]
    m: int


def arguments(
    Q: Tensor, p: Tensor, G: Tensor | None, h: Tensor | None, A: Tensor | None, b: Tensor | None
) -> Arguments:
    """Those of `solve_qp`, checked.

    Raises:
        TypeError: an argument isn't a dense tensor of floats, or they differ in dtype or device.
        ValueError: the shapes don't fit.
    """
    given = {"Q": Q, "p": p, "G": G, "h": h, "A": A, "b": b}
    for left, right in (("G", "h"), ("A", "b")):
        if (given[left] is None) != (given[right] is None):
            missing = left if given[left] is None else right
            raise ValueError(f"{left} and {right} belong together: {missing} is None")
    present: dict[str, Any] = {name: v for name, v in given.items() if v is not None or name in "Qp"}
    batch = batch_of(present, AXES)

    def block(name: str) -> Tensor | None:
        v, size = given[name], len(AXES[name])
        if v is None or (v.shape[:-size] == batch and len(batch) == 1):
            return v
        return v.expand(*batch, *v.shape[-size:]).reshape(math.prod(batch), *v.shape[-size:])

    one, line = block("Q"), block("p")
    assert one is not None
    assert line is not None
    C, d = _stacked(one[:, :0], block("G"), block("A")), _stacked(line[:, :0], block("h"), block("b"))
    equal, m = torch.zeros_like(d, dtype=torch.bool), 0 if h is None else h.shape[-1]
    if m < d.shape[1]:
        equal[:, m:] = True
    return Arguments(one, line, C, d, equal, batch, m)


def batch_of(given: dict[str, Tensor], axes: dict[str, str]) -> tuple[int, ...]:
    """The batch's shape of blocks whose last axes have these letters; the vectors say how long the axes are.

    Raises:
        TypeError, ValueError: as `arguments`.
    """
    _require_floats(given)
    sizes = {axes[name]: v.shape[-1] if v.dim() else 1 for name, v in given.items() if len(axes[name]) == 1}
    if not sizes["n"]:
        raise ValueError("there are no variables: n is at least 1")
    leads = set()
    for name, v in given.items():
        letters, shape = axes[name], tuple(v.shape)
        if shape[-len(letters) :] != tuple([sizes[a] for a in letters]):
            lengths = ", ".join(f"{a} = {sizes[a]}" for a in sorted(set(letters)))
            raise ValueError(f"{name} has shape {shape}: it is (*, {', '.join(letters)}) with {lengths}")
        leads.add(shape[: -len(letters)])
    leads = leads - {()} or {()}
    try:
        return leads.pop() if len(leads) == 1 else tuple(torch.broadcast_shapes(*leads))
    except RuntimeError:
        shapes = ", ".join(f"{k} {tuple(v.shape)}" for k, v in given.items())
        raise ValueError(f"the leading axes can't be broadcast: {shapes}") from None


def _require_floats(given: dict[str, Tensor]) -> None:
    first, *_ = given.values()
    for name, v in given.items():
        if not isinstance(v, Tensor) or v.dtype not in (torch.float32, torch.float64) or v.layout != torch.strided:
            what = f"{v.dtype}, {v.layout}" if isinstance(v, Tensor) else type(v).__name__
            raise TypeError(f"{name} is {what}: pass a dense tensor of float32 or float64")
        if v.dtype != first.dtype or v.device != first.device:
            here, there = f"{v.dtype} on {v.device}", f"{first.dtype} on {first.device}"
            raise TypeError(f"{name} is {here}, {next(iter(given))} {there}: they have to agree")


def _stacked(nothing: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
    """Blocks of rows below each other."""
    blocks = [v for v in (first, second) if v is not None]
    return torch.cat(blocks, 1) if len(blocks) > 1 else blocks[0] if blocks else nothing
