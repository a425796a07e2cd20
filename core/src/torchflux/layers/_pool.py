"""Pooling: the maximum or mean over windows of the spatial dimensions of (batch, channels, *spatial)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .._treelike import treelike
from ._padding import Pad, Sizes, each, spatial, split_padding

__all__ = ["AdaptiveMaxPool", "AdaptiveMeanPool", "GlobalMaxPool", "GlobalMeanPool", "MaxPool", "MeanPool"]

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_ADAPTIVE_MAX: Any = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
_ADAPTIVE_MEAN: Any = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


class _Window:
    """What both kinds of pooling have in common."""

    def __init__(self, window: Sizes, *, pad: Pad = 0, stride: int | Sizes | None = None) -> None:
        self.window = spatial(window, f"the window of {type(self).__name__}")
        self.stride = self.window if stride is None else each(stride, len(window))
        self.padding, self.uneven = split_padding(pad, [k - 1 for k in self.window])  # as in _conv.py


@treelike
class MaxPool(_Window):
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

    __init__ = _Window.__init__

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        if self.uneven:
            x = F.pad(x, self.uneven, value=float("-inf"))
        return _MAX[len(self.window)](x, self.window, self.stride, self.padding)


@treelike
class MeanPool(_Window):
    """The mean over each window; padding counts as zeros.

    Arguments are those of `MaxPool`.

    x: (batch, channels, *spatial) → (batch, channels, *spatial')

    >>> import torch
    >>> MeanPool((2, 2))(torch.arange(16.0).reshape(1, 1, 4, 4)).flatten().tolist()
    [2.5, 4.5, 10.5, 12.5]

    Source: LeCun et al. (1989), doi:10.1162/neco.1989.1.4.541.
    """

    __init__ = _Window.__init__

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        if self.uneven:
            x = F.pad(x, self.uneven)
        return _MEAN[len(self.window)](x, self.window, self.stride, self.padding)


@treelike
class AdaptiveMaxPool:
    """The maximum over windows that are chosen to make a result of size `out`.

    x: (batch, channels, *spatial) → (batch, channels, *out)

    >>> import torch
    >>> AdaptiveMaxPool((25, 25))(torch.zeros(1, 3, 100, 100)).shape
    torch.Size([1, 3, 25, 25])

    Source: He et al. (2014), arXiv 1406.4729.
    """

    out: Sizes

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return _ADAPTIVE_MAX[len(self.out)](x, self.out)


@treelike
class AdaptiveMeanPool:
    """The mean over windows that are chosen to make a result of size `out`.

    x: (batch, channels, *spatial) → (batch, channels, *out)

    >>> import torch
    >>> AdaptiveMeanPool((25, 25))(torch.zeros(1, 3, 100, 100)).shape
    torch.Size([1, 3, 25, 25])

    Source: He et al. (2014), arXiv 1406.4729.
    """

    out: Sizes

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return _ADAPTIVE_MEAN[len(self.out)](x, self.out)


@treelike
class GlobalMaxPool:
    """The maximum over all of each channel.

    x: (batch, channels, *spatial) → (batch, channels, 1, ..., 1)

    >>> import torch
    >>> GlobalMaxPool()(torch.zeros(1, 3, 10, 10)).shape
    torch.Size([1, 3, 1, 1])

    Source: Oquab et al. (2015), doi:10.1109/CVPR.2015.7298668.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return _ADAPTIVE_MAX[x.ndim - 2](x, 1)


@treelike
class GlobalMeanPool:
    """The mean over all of each channel.

    x: (batch, channels, *spatial) → (batch, channels, 1, ..., 1)

    >>> import torch
    >>> GlobalMeanPool()(torch.zeros(1, 3, 10, 10)).shape
    torch.Size([1, 3, 1, 1])

    Source: Lin, Chen and Yan (2013), arXiv 1312.4400.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return x.mean(tuple(range(2, x.ndim)), keepdim=True)
