"""Convolutions and pooling, in one, two or three dimensions.

Layouts are PyTorch's: (batch, channels, *spatial), and what is called convolution is cross-correlation (Flux's
`CrossCor`; Flux's `Conv` flips the kernel).
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .._treelike import treelike
from ._basic import Affine, Size, layer, options_of

__all__ = ["Conv", "ConvTranspose", "DepthwiseConv", "MaxPool", "MeanPool", "SamePad"]
__all__ += ["AdaptiveMaxPool", "AdaptiveMeanPool", "GlobalMaxPool", "GlobalMeanPool"]


class SamePad:
    """As `pad` of a convolution or pooling: ceil(size / stride) results per dimension, whatever the kernel.

    A window of extent e = dilation (k - 1) + 1 is padded by e - 1 in all; where that is odd, by one more at
    the end, as `padding="same"` of PyTorch has it (Flux: at the beginning, of kernels that it flips).

    >>> import torch
    >>> from torchflux.layers import Conv
    >>> Conv((4, 3), 1, 8, pad=SamePad(), stride=2)(torch.zeros(1, 1, 9, 8)).shape
    torch.Size([1, 8, 5, 4])

    Source: Flux.jl's `SamePad`.
    """


Kernel = tuple[int, ...]
Pad = Size | SamePad


def _split(pad: Pad, kernel: Kernel, dilation: Size = 1) -> tuple[Size, Kernel]:
    """A padding as PyTorch's kernels take it and, where the sides of a dimension differ, as `F.pad` takes it."""
    n = len(kernel)
    if isinstance(pad, SamePad):
        dilations = (dilation,) * n if isinstance(dilation, int) else dilation
        overlaps = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
        pad = tuple(side for overlap in overlaps for side in (overlap // 2, (overlap + 1) // 2))
    if isinstance(pad, int) or len(pad) != 2 * n:
        return pad, ()
    last_first = tuple(side for d in reversed(range(n)) for side in pad[2 * d : 2 * d + 2])
    return (pad[::2], ()) if pad[::2] == pad[1::2] else (0, last_first)


class _Convolution(Affine):
    """What a convolution and its transpose have in common: parameters, and how the kernel slides."""

    def _slide(self, kernel: Kernel, *, stride: Size = 1, pad: Pad = 0, dilation: Size = 1, **others: Any) -> Any:
        self.stride, self.dilation, (self.padding, self.uneven) = stride, dilation, _split(pad, kernel, dilation)
        return others

    @options_of(_slide, Affine.__init__)
    def __init__(self, kernel: Kernel, nin: int, nout: int, *activation: Any, groups: int = 1, **options: Any) -> None:
        self.groups, others = groups, self._slide(kernel, **options)
        Affine.__init__(self, (nin // groups, *kernel), nout, *activation, **others)


@layer(axis=1)
class Conv(_Convolution):
    """A convolution: σ(w ⋆ x + b).

    Arguments:
        kernel: the size of the kernel in each spatial dimension; its length, 1 to 3, is their number.
        nin: channels of the input; `...` leaves it to `autosize`.
        nout: channels of the result.
        activation: σ, any function of a tensor.
        stride: one, or one per dimension; so is dilation.
        pad: one, one per dimension, before and after each dimension (2n of them), or `SamePad()`.
        groups: into how many separate convolutions the channels are divided.
        init: makes the weight, of shape (nout, nin / groups, *kernel).

    x: (batch, nin, *spatial) → (batch, nout, *spatial'), where spatial' =
    (spatial + padding - dilation (kernel - 1) - 1) // stride + 1.

    >>> import torch
    >>> Conv((5, 5), 3, 7, torch.relu, stride=2)(torch.zeros(1, 3, 101, 101)).shape
    torch.Size([1, 7, 49, 49])

    Source: LeCun et al. (1989), doi:10.1162/neco.1989.1.4.541.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        x = F.pad(x, self.uneven) if self.uneven else x
        conv = getattr(F, f"conv{self.weight.ndim - 2}d")
        return self.activation(conv(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups))


@layer(axis=1)
class ConvTranspose(_Convolution):
    """The transpose of the convolution that `Conv(kernel, nout, nin, ...)` is: σ(wᵀ ⋆ x + b).

    Arguments are those of `Conv`, and
        outpad: how much longer than the shortest the result is, since Conv makes one size of several.

    x: (batch, nin, *spatial) → (batch, nout, *spatial'), where spatial' =
    (spatial - 1) stride - padding + dilation (kernel - 1) + 1 + outpad; with `SamePad()` and
    outpad = stride - 1 it is stride * spatial.

    >>> import torch
    >>> ConvTranspose((5, 5), 3, 7, torch.relu, stride=2)(torch.zeros(1, 3, 50, 50)).shape
    torch.Size([1, 7, 103, 103])

    Source: Zeiler et al. (2010), doi:10.1109/CVPR.2010.5539957.
    """

    @options_of(_Convolution.__init__)
    def __init__(self, kernel: Kernel, nin: int, nout: int, *activation: Any, outpad: Size = 0, **options: Any) -> None:
        _Convolution.__init__(self, kernel, nout, nin, *activation, **options)
        self.outpad, self.bias = outpad, None if self.bias is None else self.bias.new_zeros(nout)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        conv = getattr(F, f"conv_transpose{self.weight.ndim - 2}d")
        y = conv(x, self.weight, self.bias, self.stride, self.padding, self.outpad, self.groups, self.dilation)
        return self.activation(F.pad(y, [-n for n in self.uneven]) if self.uneven else y)


@options_of(_Convolution._slide, Affine.__init__)
def DepthwiseConv(kernel: Kernel, nin: int, nout: int, *activation: Any, **options: Any) -> Conv:
    """A convolution of each channel by itself: `Conv` with groups = nin.

    x: (batch, nin, *spatial) → (batch, nout, *spatial'); nout is a multiple of nin.

    >>> DepthwiseConv((3, 3), 4, 8).weight.shape
    torch.Size([8, 1, 3, 3])

    Source: Chollet (2017), arXiv 1610.02357.
    """
    return Conv(kernel, nin, nout, *activation, groups=nin, **options)


class _Pool:
    """What pooling by PyTorch's `reduce` is, where an uneven padding is made of `filler`."""

    def __init__(self, window: Kernel, *, pad: Pad = 0, stride: Size | None = None) -> None:
        self.window, self.stride, (self.padding, self.uneven) = window, stride or window, _split(pad, window)

    def __call__(self: Any, x: Tensor) -> Tensor:
        """Applies the layer."""
        x = F.pad(x, self.uneven, value=self.filler) if self.uneven else x
        return getattr(F, f"{self.reduce}{len(self.window)}d")(x, self.window, self.stride, self.padding)


@treelike
class MaxPool(_Pool):
    """The maximum over each window; padding never wins.

    Arguments:
        window: its size in each spatial dimension (1 to 3 of them).
        pad: one, one per dimension, before and after each dimension (2n of them), or `SamePad()`.
        stride: from window to window; the window's size, unless said otherwise.

    x: (batch, channels, *spatial) → (batch, channels, *spatial'), where spatial' =
    (spatial + padding - window) // stride + 1.

    >>> import torch
    >>> MaxPool((2, 2))(torch.arange(16.0).reshape(1, 1, 4, 4)).flatten().tolist()
    [5.0, 7.0, 13.0, 15.0]

    Source: Ranzato et al. (2007), doi:10.1109/CVPR.2007.383157.
    """

    reduce, filler = "max_pool", float("-inf")


@treelike
class MeanPool(_Pool):
    """The mean over each window; padding counts as zeros.

    Arguments are those of `MaxPool`.

    x: (batch, channels, *spatial) → (batch, channels, *spatial')

    >>> import torch
    >>> MeanPool((2, 2))(torch.arange(16.0).reshape(1, 1, 4, 4)).flatten().tolist()
    [2.5, 4.5, 10.5, 12.5]

    Source: LeCun et al. (1989), doi:10.1162/neco.1989.1.4.541.
    """

    reduce, filler = "avg_pool", 0.0


@treelike
class AdaptiveMaxPool:
    """The maximum over windows that are chosen to make a result of size `out`.

    x: (batch, channels, *spatial) → (batch, channels, *out)

    >>> import torch
    >>> AdaptiveMaxPool((25, 25))(torch.zeros(1, 3, 100, 100)).shape
    torch.Size([1, 3, 25, 25])

    Source: He et al. (2014), arXiv 1406.4729.
    """

    out: Size

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return getattr(F, f"adaptive_max_pool{x.ndim - 2}d")(x, self.out)


@treelike
class AdaptiveMeanPool:
    """The mean over windows that are chosen to make a result of size `out`.

    x: (batch, channels, *spatial) → (batch, channels, *out)

    >>> import torch
    >>> AdaptiveMeanPool((25, 25))(torch.zeros(1, 3, 100, 100)).shape
    torch.Size([1, 3, 25, 25])

    Source: He et al. (2014), arXiv 1406.4729.
    """

    out: Size

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return getattr(F, f"adaptive_avg_pool{x.ndim - 2}d")(x, self.out)


def GlobalMaxPool() -> AdaptiveMaxPool:
    """The maximum over all of each channel.

    x: (batch, channels, *spatial) → (batch, channels, 1, ..., 1)

    >>> import torch
    >>> GlobalMaxPool()(torch.zeros(1, 3, 10, 10)).shape
    torch.Size([1, 3, 1, 1])

    Source: Oquab et al. (2015), doi:10.1109/CVPR.2015.7298668.
    """
    return AdaptiveMaxPool(1)


def GlobalMeanPool() -> AdaptiveMeanPool:
    """The mean over all of each channel.

    x: (batch, channels, *spatial) → (batch, channels, 1, ..., 1)

    >>> import torch
    >>> GlobalMeanPool()(torch.zeros(1, 3, 10, 10)).shape
    torch.Size([1, 3, 1, 1])

    Source: Lin, Chen and Yan (2013), arXiv 1312.4400.
    """
    return AdaptiveMeanPool(1)
