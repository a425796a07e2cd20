"""Inception v3 (Szegedy et al. 2015)."""

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from torchflux import BatchNorm, Chain, Dense, Dropout, MeanPool, treelike

from .._init import truncated
from .._layers import Branches, concat, conv, globalmean, relu, uniform_bias
from .._model import Model, Plan
from .._registry import register

__all__ = ["inception_v3"]


def maxpool(x: Tensor) -> Tensor:
    """The maximum of 3 × 3 pixels, at every other one."""
    return F.max_pool2d(x, 3, 2)


def meanpool(x: Tensor) -> Tensor:
    """The mean of 3 × 3 pixels, around each."""
    return F.avg_pool2d(x, 3, 1, 1)


def linear(nin: int, nout: int, std: float = 0.1) -> Dense:
    """A linear map with weights from N(0, std²)."""
    return uniform_bias(Dense(nin, nout, init=partial(truncated, std=std)))


def block(kernel: Any, nin: int, nout: int, stride: int = 1, pad: Any = None, std: float = 0.1) -> Chain:
    """A convolution, its norm and relu."""
    weights = partial(truncated, std=std)
    convolution = conv(kernel, nin, nout, stride=stride, pad=pad, init=weights)
    return Chain(conv=convolution, bn=BatchNorm(nout, relu, eps=1e-3))


def mixed_5(nin: int, pooled: int) -> Branches:
    """Figure 5: 5 × 5 convolutions become two of 3 × 3."""
    return Branches(
        branch1x1=(block(1, nin, 64),),
        branch5x5=(block(1, nin, 48), block(5, 48, 64)),
        branch3x3dbl=(block(1, nin, 64), block(3, 64, 96), block(3, 96, 96)),
        branch_pool=(meanpool, block(1, nin, pooled)),
    )


def mixed_6a(nin: int) -> Branches:
    """Figure 10: half the resolution by convolution and pooling side by side."""
    return Branches(
        branch3x3=(block(3, nin, 384, 2, 0),),
        branch3x3dbl=(block(1, nin, 64), block(3, 64, 96), block(3, 96, 96, 2, 0)),
        pool=(maxpool,),
    )


def mixed_6(n: int) -> Branches:
    """Figure 6: 7 × 7 convolutions become 1 × 7 and 7 × 1."""
    wide, high = (1, 7), (7, 1)
    return Branches(
        branch1x1=(block(1, 768, 192),),
        branch7x7=(block(1, 768, n), block(wide, n, n), block(high, n, 192)),
        branch7x7dbl=(block(1, 768, n), block(high, n, n), block(wide, n, n), block(high, n, n), block(wide, n, 192)),
        branch_pool=(meanpool, block(1, 768, 192)),
    )


def mixed_7a(nin: int) -> Branches:
    """Half the resolution once more."""
    return Branches(
        branch3x3=(block(1, nin, 192), block(3, 192, 320, 2, 0)),
        branch7x7x3=(block(1, nin, 192), block((1, 7), 192, 192), block((7, 1), 192, 192), block(3, 192, 192, 2, 0)),
        pool=(maxpool,),
    )


@treelike
class Mixed7:
    """Figure 7: branches that end in a fork of 1 × 3 and 3 × 1.

    x: (batch, nin, height, width) → (batch, 2048, height, width)
    """

    def __init__(self, nin: int) -> None:
        self.branch1x1 = block(1, nin, 320)
        self.branch3x3_1 = block(1, nin, 384)
        self.branch3x3_2a, self.branch3x3_2b = block((1, 3), 384, 384), block((3, 1), 384, 384)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = block(1, nin, 448), block(3, 448, 384)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = block((1, 3), 384, 384), block((3, 1), 384, 384)
        self.branch_pool = block(1, nin, 192)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the block."""
        y, z = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        forks = (self.branch3x3_2a(y), self.branch3x3_2b(y), self.branch3x3dbl_3a(z), self.branch3x3dbl_3b(z))
        return concat(self.branch1x1(x), *forks, self.branch_pool(meanpool(x)))


def inception_v3(*, nclasses: int = 1000, inchannels: int = 3, auxiliaries: bool = True, dropout: float = 0.5) -> Model:
    """Inception v3, for images of at least 75 × 75; while training it gives (y, y of the auxiliary head).

    >>> import torch
    >>> inception_v3(nclasses=10).eval()(torch.zeros(1, 3, 75, 75)).shape
    torch.Size([1, 10])
    """
    model = Model(
        Plan("Mixed_7c", "fc", linear, inchannels, 299),
        Conv2d_1a_3x3=block(3, inchannels, 32, 2, 0),
        Conv2d_2a_3x3=block(3, 32, 32, pad=0),
        Conv2d_2b_3x3=block(3, 32, 64),
        maxpool1=maxpool,
        Conv2d_3b_1x1=block(1, 64, 80),
        Conv2d_4a_3x3=block(3, 80, 192, pad=0),
        maxpool2=maxpool,
        Mixed_5b=mixed_5(192, 32),
        Mixed_5c=mixed_5(256, 64),
        Mixed_5d=mixed_5(288, 64),
        Mixed_6a=mixed_6a(288),
        Mixed_6b=mixed_6(128),
        Mixed_6c=mixed_6(160),
        Mixed_6d=mixed_6(160),
        Mixed_6e=mixed_6(192),
        Mixed_7a=mixed_7a(768),
        Mixed_7b=Mixed7(1280),
        Mixed_7c=Mixed7(2048),
        avgpool=globalmean,
        dropout=Dropout(dropout),
        fc=linear(2048, nclasses),
    )
    if auxiliaries:
        pool = MeanPool((5, 5), stride=3)
        layers = {"conv0": block(1, 768, 128), "conv1": block(5, 128, 768, pad=0, std=0.01)}
        head = Chain(pool=pool, **layers, avgpool=globalmean, fc=linear(768, nclasses, std=0.001))
        model.add_auxiliary("AuxLogits", "Mixed_6e", head, "fc")
    return model


register("inception_v3", inception_v3, 27_161_264, "Szegedy et al. (2015), arXiv 1512.00567")
