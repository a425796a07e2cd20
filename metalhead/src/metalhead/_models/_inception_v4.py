"""Inception v4 (Szegedy et al. 2016)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from torchflux import BatchNorm, Chain, Dropout, MaxPool, Parallel, treelike

from .._init import uniform
from .._layers import concat, conv, globalmean, linear, relu
from .._model import Model, Plan
from .._registry import register

__all__ = ["inception_v4"]

WIDE, HIGH = (1, 7), (7, 1)


def block(kernel: Any, nin: int, nout: int, stride: int = 1, pad: Any = None) -> Chain:
    """A convolution, its norm and relu."""
    convolution = conv(kernel, nin, nout, stride=stride, pad=pad, init=uniform)
    return Chain(conv=convolution, bn=BatchNorm(nout, relu, eps=1e-3))


def halved() -> MaxPool:
    """Pooling to half the resolution."""
    return MaxPool((3, 3), stride=2)


def meanpool(x: Tensor) -> Tensor:
    """The mean of the 3 × 3 pixels around each, as far as there are any."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def branches(*layers: Any) -> Parallel:
    """Layers side by side on one input."""
    return Parallel(concat, **{f"branch{i}": layer for i, layer in enumerate(layers)})


def mixed_4a() -> Parallel:
    """The second half of the stem, Figure 3."""
    square = Chain(block(1, 160, 64), block(3, 64, 96, pad=0))
    return branches(square, Chain(block(1, 160, 64), block(WIDE, 64, 64), block(HIGH, 64, 64), block(3, 64, 96, pad=0)))


def inception_a() -> Parallel:
    """Figure 4."""
    return branches(
        block(1, 384, 96),
        Chain(block(1, 384, 64), block(3, 64, 96)),
        Chain(block(1, 384, 64), block(3, 64, 96), block(3, 96, 96)),
        Chain(meanpool, block(1, 384, 96)),
    )


def reduction_a() -> Parallel:
    """Figure 7."""
    deep = Chain(block(1, 384, 192), block(3, 192, 224), block(3, 224, 256, 2, 0))
    return branches(block(3, 384, 384, 2, 0), deep, halved())


def inception_b() -> Parallel:
    """Figure 5."""
    deep = (block(HIGH, 192, 192), block(WIDE, 192, 224), block(HIGH, 224, 224), block(WIDE, 224, 256))
    return branches(
        block(1, 1024, 384),
        Chain(block(1, 1024, 192), block(WIDE, 192, 224), block(HIGH, 224, 256)),
        Chain(block(1, 1024, 192), *deep),
        Chain(meanpool, block(1, 1024, 128)),
    )


def reduction_b() -> Parallel:
    """Figure 8."""
    deep = Chain(block(1, 1024, 256), block(WIDE, 256, 256), block(HIGH, 256, 320), block(3, 320, 320, 2, 0))
    return branches(Chain(block(1, 1024, 192), block(3, 192, 192, 2, 0)), deep, halved())


@treelike
class InceptionC:
    """Figure 6: branches that end in a fork of 1 × 3 and 3 × 1.

    x: (batch, 1536, height, width) → the same
    """

    def __init__(self) -> None:
        wide, high = (1, 3), (3, 1)
        self.branch0, self.branch1_0 = block(1, 1536, 256), block(1, 1536, 384)
        self.branch1_1a, self.branch1_1b = block(wide, 384, 256), block(high, 384, 256)
        self.branch2_0, self.branch2_1, self.branch2_2 = (
            block(1, 1536, 384),
            block(high, 384, 448),
            block(wide, 448, 512),
        )
        self.branch2_3a, self.branch2_3b = block(wide, 512, 256), block(high, 512, 256)
        self.branch3 = Chain(meanpool, block(1, 1536, 256))

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the block."""
        y, z = self.branch1_0(x), self.branch2_2(self.branch2_1(self.branch2_0(x)))
        forks = (self.branch1_1a(y), self.branch1_1b(y), self.branch2_3a(z), self.branch2_3b(z))
        return concat(self.branch0(x), *forks, self.branch3(x))


def inception_v4(
    repeats: tuple[int, int, int] = (4, 7, 3), *, nclasses: int = 1000, inchannels: int = 3, dropout: float = 0.2
) -> Model:
    """Inception v4, for images of at least 75 × 75.

    Arguments:
        repeats: how many blocks of the three kinds there are.

    >>> import torch
    >>> inception_v4((1, 1, 1), nclasses=10).eval()(torch.zeros(1, 3, 75, 75)).shape
    torch.Size([1, 10])
    """
    a, b, c = repeats
    features = Chain(
        *(block(3, inchannels, 32, 2, 0), block(3, 32, 32, pad=0), block(3, 32, 64)),
        *(Parallel(concat, maxpool=halved(), conv=block(3, 64, 96, 2, 0)), mixed_4a()),
        Parallel(concat, conv=block(3, 192, 192, 2, 0), maxpool=halved()),
        *(inception_a() for _ in range(a)),
        reduction_a(),
        *(inception_b() for _ in range(b)),
        reduction_b(),
        *(InceptionC() for _ in range(c)),
    )
    return Model(
        Plan("features", "last_linear", linear, inchannels, 299),
        features=features,
        avgpool=globalmean,
        dropout=Dropout(dropout),
        last_linear=linear(1536, nclasses),
    )


register("inception_v4", inception_v4, 42.68, "Szegedy et al. (2016), arXiv 1602.07261")
