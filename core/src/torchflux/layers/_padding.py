"""How far a sliding window reaches over the edges of its input."""

from collections.abc import Sequence

__all__ = ["SamePad"]


class SamePad:
    """As `pad` of a convolution or pooling: ceil(size / stride) results per dimension, whatever the kernel.

    A window of extent e = dilation (k - 1) + 1 is padded by e - 1 in all; where that is odd, by one more at
    the end, as `padding="same"` of PyTorch has it (Flux: at the beginning, of kernels that it flips). A
    `ConvTranspose` makes stride * size results.

    >>> import torch
    >>> from torchflux.layers import Conv
    >>> Conv((4, 3), 1, 8, pad=SamePad(), stride=2)(torch.zeros(1, 1, 9, 8)).shape
    torch.Size([1, 8, 5, 4])

    Source: Flux.jl's `SamePad`.
    """


Pad = int | Sequence[int] | SamePad
Sizes = tuple[int, ...]


def spatial(sizes: Sizes, name: str) -> Sizes:
    """The sizes of a window, if they are 1 to 3 numbers."""
    if not isinstance(sizes, Sequence) or not 1 <= len(sizes) <= 3:
        raise ValueError(f"{name} takes a tuple of 1 to 3 sizes, one for each spatial dimension; got {sizes!r}")
    return tuple(sizes)


def each(value: int | Sequence[int], n: int) -> Sizes:
    """`value` for each of `n` dimensions (of a wrong number of them PyTorch complains)."""
    return (value,) * n if isinstance(value, int) else tuple(value)


def split_padding(pad: Pad, same: Sequence[int]) -> tuple[Sizes, Sizes]:
    """What of a padding is even on both sides, per dimension, and the rest, as `F.pad` takes it (`()` if none).

    Arguments:
        pad: one for all, one per dimension, or before and after each dimension.
        same: what `SamePad()` adds to each dimension, both sides together.
    """
    if isinstance(pad, SamePad):
        sides = [(total // 2, total - total // 2) for total in same]
    elif isinstance(pad, Sequence) and len(pad) == 2 * len(same):
        sides = list(zip(pad[::2], pad[1::2], strict=True))
    else:
        return each(pad, len(same)), ()
    rest = tuple(p - min(side) for side in reversed(sides) for p in side)
    return tuple(min(side) for side in sides), rest if any(rest) else ()
