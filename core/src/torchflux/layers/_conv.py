"""Convolutions in one, two or three dimensions.

Layouts are PyTorch's: (batch, channels, *spatial), and what is called convolution is cross-correlation (Flux's
`CrossCor`; Flux's `Conv` flips the kernel).
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .._activations import identity
from .._init import glorot_uniform, zeros
from .._outputsize import Lazy, sized
from .._treelike import treelike
from ._basic import Activation, Init
from ._padding import Pad, SamePad, Sizes, each, spatial, split_padding

__all__ = ["Conv", "ConvTranspose", "DepthwiseConv"]

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class _Convolution:
    """What a convolution and its transpose have in common."""

    def __init__(
        self,
        kernel: Sizes,
        nin: int,
        nout: int,
        activation: Activation = identity,
        *,
        stride: int | Sizes = 1,
        pad: Pad = 0,
        dilation: int | Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        init: Init = glorot_uniform,
    ) -> None:
        n = len(spatial(kernel, f"the kernel of {type(self).__name__}"))
        if nin % groups or nout % groups:
            raise ValueError(f"groups={groups} must divide the channels in and out; they are {nin} and {nout}")
        self.weight = init(nout, nin // groups, *kernel)
        self.bias = zeros(nout) if bias else None
        self.activation, self.groups = activation, groups
        self.stride, self.dilation = each(stride, n), each(dilation, n)
        overlap = [d * (k - 1) for k, d in zip(kernel, self.dilation, strict=False)]
        self.padding, self.uneven = split_padding(pad, overlap)  # uneven: what `padding` can't express, or ()


@sized(axis=1)
@treelike
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

    __init__ = _Convolution.__init__

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        if self.uneven:
            x = F.pad(x, self.uneven)
        convolve = _CONV[len(self.stride)]
        y = convolve(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return self.activation(y)


@sized(axis=1)
@treelike
class ConvTranspose(_Convolution):
    """The transpose of the convolution that `Conv(kernel, nout, nin, ...)` is: σ(wᵀ ⋆ x + b).

    Arguments are those of `Conv`, and
        outpad: how much longer than the shortest the result is, since Conv makes one size of several.

    x: (batch, nin, *spatial) → (batch, nout, *spatial'), where spatial' =
    (spatial - 1) stride - padding + dilation (kernel - 1) + 1 + outpad, and with `SamePad()` stride * spatial.

    >>> import torch
    >>> ConvTranspose((5, 5), 3, 7, torch.relu, stride=2)(torch.zeros(1, 3, 50, 50)).shape
    torch.Size([1, 7, 103, 103])

    Source: Zeiler et al. (2010), doi:10.1109/CVPR.2010.5539957.
    """

    def __init__(
        self, kernel: Sizes, nin: int, nout: int, *activation: Any, outpad: Any = 0, bias: bool = True, **options: Any
    ) -> None:
        _Convolution.__init__(self, kernel, nout, nin, *activation, bias=False, **options)
        self.bias = zeros(nout) if bias else None
        self.uneven = tuple(-n for n in self.uneven)
        if isinstance(options.get("pad"), SamePad):
            outpad = tuple(s - 1 for s in self.stride)
        self.outpad = each(outpad, len(kernel))

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        convolve = _CONV_TRANSPOSE[len(self.stride)]
        y = convolve(x, self.weight, self.bias, self.stride, self.padding, self.outpad, self.groups, self.dilation)
        return self.activation(F.pad(y, self.uneven) if self.uneven else y)


def DepthwiseConv(kernel: Sizes, nin: Any, nout: int, *activation: Any, **options: Any) -> Any:
    """A convolution of each channel by itself: `Conv` with groups = nin.

    x: (batch, nin, *spatial) → (batch, nout, *spatial'); nout is a multiple of nin.

    >>> DepthwiseConv((3, 3), 4, 8).weight.shape
    torch.Size([8, 1, 3, 3])

    Source: Chollet (2017), arXiv 1610.02357.
    """
    if nin is ...:
        return Lazy(DepthwiseConv, (kernel, nin, nout, *activation), options, 1)
    return Conv(kernel, nin, nout, *activation, groups=nin, **options)
