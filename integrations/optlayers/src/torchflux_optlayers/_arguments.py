"""The arguments of a quadratic program as one batch: shapes checked, missing blocks filled in, shared ones repeated."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Arguments", "arguments"]


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
        TypeError: an argument isn't a tensor of floats, or they differ in dtype or device.
        ValueError: the shapes don't fit.
    """
    given = {"Q": Q, "p": p, "G": G, "h": h, "A": A, "b": b}
    _require_floats(given)
    for left, right in (("G", "h"), ("A", "b")):
        if (given[left] is None) != (given[right] is None):
            raise ValueError(
                f"{left} and {right} belong together: {'the first' if given[left] is None else 'the second'} is None"
            )
    n = p.shape[-1] if p.dim() else 0
    if not n:
        raise ValueError(f"p has shape {tuple(p.shape)}: it is (*, n), with at least one variable")
    m, e = (0 if v is None else v.shape[-1] if v.dim() else -1 for v in (h, b))
    wanted = {"Q": (n, n), "p": (n,), "G": (m, n), "h": (m,), "A": (e, n), "b": (e,)}
    for name, v in given.items():
        if v is not None and tuple(v.shape[-len(wanted[name]) :]) != wanted[name]:
            raise ValueError(f"{name} has shape {tuple(v.shape)}: it is (*, {', '.join(map(str, wanted[name]))})")
    leads = {tuple(v.shape[: v.dim() - len(wanted[name])]) for name, v in given.items() if v is not None} - {()} or {()}
    try:
        batch = leads.pop() if len(leads) == 1 else torch.broadcast_shapes(*leads)
    except RuntimeError:
        shapes = ", ".join(f"{k} {tuple(v.shape)}" for k, v in given.items() if v is not None)
        raise ValueError(f"the leading axes can't be broadcast: {shapes}") from None
    return _together(given, wanted, tuple(batch), m)


def _require_floats(given: dict[str, Tensor | None]) -> None:
    first = given["p"]
    for name, v in given.items():
        if v is None and name not in ("Q", "p"):
            continue
        if not isinstance(v, Tensor) or v.dtype not in (torch.float32, torch.float64):
            what = v.dtype if isinstance(v, Tensor) else type(v).__name__
            raise TypeError(f"{name} is {what}: pass a tensor of float32 or float64")
        assert first is not None
        if v.dtype != first.dtype or v.device != first.device:
            raise TypeError(f"{name} is {v.dtype} on {v.device}, p {first.dtype} on {first.device}: they have to agree")


def _together(
    given: dict[str, Tensor | None], wanted: dict[str, tuple[int, ...]], batch: tuple[int, ...], m: int
) -> Arguments:
    """The blocks as one, each element of the batch with its own."""

    def block(name: str) -> Tensor | None:
        v = given[name]
        if v is None or (len(batch) == 1 and v.dim() == 1 + len(wanted[name])):
            return v if v is None or v.shape[0] == batch[0] else v.expand(*batch, *wanted[name])
        return v.expand(*batch, *wanted[name]).reshape(math.prod(batch), *wanted[name])

    Q, p = block("Q"), block("p")
    assert Q is not None
    assert p is not None
    C, d = _stacked(Q[:, :0], block("G"), block("A")), _stacked(p[:, :0], block("h"), block("b"))
    equal = torch.zeros_like(d, dtype=torch.bool)
    if m < d.shape[1]:
        equal[:, m:] = True
    return Arguments(Q, p, C, d, equal, batch, m)


def _stacked(nothing: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
    """Blocks of rows below each other."""
    blocks = [v for v in (first, second) if v is not None]
    return torch.cat(blocks, 1) if len(blocks) > 1 else blocks[0] if blocks else nothing
