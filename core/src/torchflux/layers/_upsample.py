"""Making images larger."""

import torch.nn.functional as F
from torch import Tensor

from .._treelike import treelike

__all__ = ["PixelShuffle", "Upsample"]


@treelike
class Upsample:
    """Interpolates the spatial dimensions.

    Arguments:
        mode: "nearest", or for 1, 2, 3 spatial dimensions "linear", "bilinear" (or "bicubic"), "trilinear".
        scale: how many times larger, one number or one per dimension; or
        size: of the result, one number or one per dimension.
        align_corners: whether the corner pixels' centres, rather than their corners, stay in place. Off as in
            PyTorch; Flux has it on.

    x: (batch, channels, *spatial) → (batch, channels, *spatial')

    >>> import torch
    >>> Upsample("bilinear", scale=2)(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 3, 16, 16])

    Source: Flux.jl's `Upsample`.
    """

    mode: str = "nearest"
    scale: float | tuple[float, ...] | None = None
    size: int | tuple[int, ...] | None = None
    align_corners: bool = False

    def __post_init__(self) -> None:
        if (self.scale is None) == (self.size is None):
            raise ValueError(f"Upsample takes one of scale and size; got scale={self.scale}, size={self.size}")

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        align = None if self.mode == "nearest" else self.align_corners
        return F.interpolate(x, self.size, self.scale, self.mode, align)


@treelike
class PixelShuffle:
    """Trades channels for pixels: each r × r block of the result comes from r² channels at one place.

    x: (batch, channels * r², height, width) → (batch, channels, r * height, r * width);
    (batch, channels * r, length) → (batch, channels, r * length)

    >>> import torch
    >>> PixelShuffle(2)(torch.arange(4.0).reshape(1, 4, 1, 1))
    tensor([[[[0., 1.],
              [2., 3.]]]])

    Source: Shi et al. (2016), arXiv 1609.05158.
    """

    r: int

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        if x.ndim == 3:
            return x.unflatten(1, (-1, self.r)).transpose(2, 3).flatten(2)
        return F.pixel_shuffle(x, self.r)
