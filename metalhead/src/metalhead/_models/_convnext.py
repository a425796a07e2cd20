"""ConvNeXt (Liu et al. 2022)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchflux import Chain, Conv, LayerNorm, flatten, gelu, treelike

from .._init import truncated
from .._layers import Block as Whole
from .._layers import ChannelNorm, channels_first, channels_last, conv, dense, globalmean, stochastic_depth
from .._model import Model, Plan
from .._registry import register

__all__ = ["convnext"]

linear = dense(truncated)
convolution = partial(conv, bias=True, init=truncated)


def patches(size: int, nin: int, nout: int) -> Conv:
    """A convolution that cuts an image into patches without overlap."""
    return convolution(size, nin, nout, stride=size, pad=0)


@treelike
class Block:
    """x + γ f(x), where f is a 7 × 7 convolution of each channel by itself, a layer norm, and two linear maps.

    x: (batch, n, height, width) → the same
    """

    def __init__(self, n: int, drop: float, scale: float = 1e-6) -> None:
        depthwise = convolution(7, n, n, groups=n)
        mlp = (linear(n, 4 * n), gelu, linear(4 * n, n))
        self.block = Chain(depthwise, channels_last, LayerNorm(n, eps=1e-6), *mlp, channels_first)
        self.layer_scale = torch.full((n, 1, 1), scale)
        self.drop = stochastic_depth(drop)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the block."""
        return x + self.drop(self.layer_scale * self.block(x))


def convnext(
    channels: Sequence[int], repeats: Sequence[int], *, drop_path: float, nclasses: int = 1000, inchannels: int = 3
) -> Model:
    """Patches of 4 × 4, and stages of blocks with a halving of the resolution between them.

    Arguments:
        channels, repeats: of each stage.
        drop_path: stochastic depth of the last block; it rises linearly from 0.
    """
    stem = Chain(patches(4, inchannels, channels[0]), ChannelNorm(channels[0]))
    drops = iter(torch.linspace(0, drop_path, sum(repeats), device="cpu").tolist())
    layers: list[Any] = [stem]
    for i, (n, repeat) in enumerate(zip(channels, repeats, strict=True)):
        layers += [Whole(ChannelNorm(channels[i - 1]), patches(2, channels[i - 1], n))] if i else []
        layers.append(Chain(*(Block(n, next(drops)) for _ in range(repeat))))
    return Model(
        Plan("features", "classifier.2", linear, inchannels),
        features=Chain(*layers),
        avgpool=partial(globalmean, keepdim=True),
        classifier=Chain(ChannelNorm(channels[-1]), flatten, linear(channels[-1], nclasses)),
    )


SOURCE = "Liu et al. (2022), arXiv 2201.03545"
TINY, DEEP = (3, 3, 9, 3), (3, 3, 27, 3)
register("convnext_tiny", partial(convnext, (96, 192, 384, 768), TINY, drop_path=0.1), 28_589_128, SOURCE)
register("convnext_small", partial(convnext, (96, 192, 384, 768), DEEP, drop_path=0.4), 50_223_688, SOURCE)
register("convnext_base", partial(convnext, (128, 256, 512, 1024), DEEP, drop_path=0.5), 88_591_464, SOURCE)
register("convnext_large", partial(convnext, (192, 384, 768, 1536), DEEP, drop_path=0.5), 197_767_336, SOURCE)
