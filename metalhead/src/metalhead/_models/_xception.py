"""Xception (Chollet 2016)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from torchflux import BatchNorm, Chain, Dropout, MaxPool, identity, treelike

from .._layers import conv, globalmean, linear, numbered, relu
from .._model import Model, Plan
from .._registry import register

__all__ = ["xception"]


def separable(nin: int, nout: int) -> Chain:
    """A 3 × 3 convolution of each channel by itself, and a 1 × 1 convolution of all."""
    return Chain(conv1=conv(3, nin, nin, groups=nin), pointwise=conv(1, nin, nout))


@treelike
class Block:
    """Separable convolutions, each with a norm behind it and relu before it, and a shortcut.

    Arguments:
        channels: before, between and after the convolutions.
        stride: of the pooling that ends the block, where it isn't 1.
        activated: whether there is a relu before the first convolution too.

    x: (batch, channels[0], height, width) → (batch, channels[-1], height / stride, width / stride)
    """

    def __init__(self, channels: Sequence[int], stride: int = 1, activated: bool = True) -> None:
        nin, nout = channels[0], channels[-1]
        self.skip = conv(1, nin, nout, stride=stride) if stride > 1 or nin != nout else identity
        self.skipbn = BatchNorm(nout) if stride > 1 or nin != nout else identity
        layers: list[Any] = [torch.relu] if activated else []  # not in place: the shortcut sees its argument too
        for i, (a, b) in enumerate(pairwise(channels), 2):
            last = i == len(channels)
            layers += [separable(a, b), *((BatchNorm(b),) if last else (BatchNorm(b, relu), None))]
        self.rep = numbered(*layers, *((MaxPool((3, 3), stride=stride, pad=1),) if stride > 1 else ()))

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the block."""
        return self.rep(x) + self.skipbn(self.skip(x))


def xception(middle: int = 8, *, nclasses: int = 1000, inchannels: int = 3, dropout: float = 0.5) -> Model:
    """Xception.

    Arguments:
        middle: how many blocks the middle flow has.

    >>> import torch
    >>> xception(1, nclasses=10)(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 10])
    """
    entry = {"block1": Block((64, 128, 128), 2, activated=False), "block2": Block((128, 256, 256), 2)}
    entry |= {"block3": Block((256, 728, 728), 2)}
    flow = {f"block{i}": Block((728,) * 4) for i in range(4, 4 + middle)}
    last = {f"block{4 + middle}": Block((728, 728, 1024), 2)}
    return Model(
        Plan("bn4", "fc", linear, inchannels, 299),
        conv1=conv(3, inchannels, 32, stride=2, pad=0),
        bn1=BatchNorm(32, relu),
        conv2=conv(3, 32, 64, pad=0),
        bn2=BatchNorm(64, relu),
        **(entry | flow | last),
        conv3=separable(1024, 1536),
        bn3=BatchNorm(1536, relu),
        conv4=separable(1536, 2048),
        bn4=BatchNorm(2048, relu),
        avgpool=globalmean,
        dropout=Dropout(dropout),
        fc=linear(2048, nclasses),
    )


register("xception", xception, 22_855_952, "Chollet (2016), arXiv 1610.02357")
