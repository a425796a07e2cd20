"""Inception-ResNet v2 (Szegedy et al. 2016)."""

from functools import partial
from typing import Any

from torch import Tensor

from torchflux import Chain, Dropout, identity, treelike

from .._init import uniform
from .._layers import concat, conv, globalmean, linear, relu, uniform_bias
from .._model import Model, Plan
from .._registry import register
from ._inception_v4 import block, branches, halved, meanpool

__all__ = ["inception_resnet_v2"]


@treelike
class Block:
    """σ(x + s w ⋆ (branches side by side)), where w makes as many channels as x has.

    x: (batch, n, height, width) → the same
    """

    def __init__(self, n: int, inner: int, scale: float, *layers: Any, activation: Any = relu) -> None:
        for i, layer in enumerate(layers):
            setattr(self, f"branch{i}", layer)
        self.conv2d = uniform_bias(conv(1, inner, n, bias=True, init=uniform))
        self.scale, self.names, self.activation = scale, [f"branch{i}" for i in range(len(layers))], activation

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the block."""
        y = self.conv2d(concat(*(getattr(self, name)(x) for name in self.names)))
        return self.activation(y * self.scale + x)


def block35() -> Block:
    """Figure 16, at 35 × 35 pixels."""
    deep = Chain(block(1, 320, 32), block(3, 32, 48), block(3, 48, 64))
    return Block(320, 128, 0.17, block(1, 320, 32), Chain(block(1, 320, 32), block(3, 32, 32)), deep)


def block17() -> Block:
    """Figure 17, at 17 × 17 pixels."""
    deep = Chain(block(1, 1088, 128), block((1, 7), 128, 160), block((7, 1), 160, 192))
    return Block(1088, 384, 0.1, block(1, 1088, 192), deep)


def block8(scale: float = 0.2, activation: Any = relu) -> Block:
    """Figure 19, at 8 × 8 pixels."""
    deep = Chain(block(1, 2080, 192), block((1, 3), 192, 224), block((3, 1), 224, 256))
    return Block(2080, 448, scale, block(1, 2080, 192), deep, activation=activation)


def inception_resnet_v2(
    repeats: tuple[int, int, int] = (10, 20, 9), *, nclasses: int = 1000, inchannels: int = 3, dropout: float = 0.2
) -> Model:
    """Inception-ResNet v2, for images of at least 75 × 75.

    Arguments:
        repeats: how many residual blocks of the three kinds there are.

    >>> import torch
    >>> inception_resnet_v2((1, 1, 1), nclasses=10).eval()(torch.zeros(1, 3, 75, 75)).shape
    torch.Size([1, 10])
    """
    a, b, c = repeats
    reduce = partial(block, 3, stride=2, pad=0)
    return Model(
        Plan("conv2d_7b", "classif", linear, inchannels, 299),
        conv2d_1a=reduce(inchannels, 32),
        conv2d_2a=block(3, 32, 32, pad=0),
        conv2d_2b=block(3, 32, 64),
        maxpool_3a=halved(),
        conv2d_3b=block(1, 64, 80),
        conv2d_4a=block(3, 80, 192, pad=0),
        maxpool_5a=halved(),
        mixed_5b=branches(
            block(1, 192, 96),
            Chain(block(1, 192, 48), block(5, 48, 64)),
            Chain(block(1, 192, 64), block(3, 64, 96), block(3, 96, 96)),
            Chain(meanpool, block(1, 192, 64)),
        ),
        repeat=Chain(*(block35() for _ in range(a))),
        mixed_6a=branches(reduce(320, 384), Chain(block(1, 320, 256), block(3, 256, 256), reduce(256, 384)), halved()),
        repeat_1=Chain(*(block17() for _ in range(b))),
        mixed_7a=branches(
            Chain(block(1, 1088, 256), reduce(256, 384)),
            Chain(block(1, 1088, 256), reduce(256, 288)),
            Chain(block(1, 1088, 256), block(3, 256, 288), reduce(288, 320)),
            halved(),
        ),
        repeat_2=Chain(*(block8() for _ in range(c))),
        block8=block8(1.0, identity),
        conv2d_7b=block(1, 2080, 1536),
        avgpool=globalmean,
        dropout=Dropout(dropout),
        classif=linear(1536, nclasses),
    )


register("inception_resnet_v2", inception_resnet_v2, 55.84, "Szegedy et al. (2016), arXiv 1602.07261")
