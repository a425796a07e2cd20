"""An axis of `torch.func.vmap` is more of the batch."""

from typing import Any

from torch import Tensor

__all__ = ["apart", "in_front"]


def in_front(info: Any, dims: tuple[Any, ...], tensors: tuple[Any, ...]) -> list[Any]:
    """Tensors with vmap's axis and the batch as one axis."""
    out: list[Any] = []
    for x, dim in zip(tensors, dims, strict=True):
        if x is None:
            out.append(None)
            continue
        moved = x.movedim(dim, 0) if dim is not None else x.expand(info.batch_size, *x.shape)
        out.append(moved.flatten(0, 1))
    return out


def apart(info: Any, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """With the two axes apart again."""
    return tuple(x.view(info.batch_size, len(x) // info.batch_size, *x.shape[1:]) for x in tensors)
