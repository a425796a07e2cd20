"""VGG (Simonyan and Zisserman 2014), with and without batch norm."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torchflux import AdaptiveMeanPool, BatchNorm, Dropout, MaxPool, flatten

from .._init import normal
from .._layers import conv, dense, numbered, relu
from .._model import Model, Plan
from .._registry import register

__all__ = ["vgg"]

linear = dense(normal)


def vgg(
    repeats: Sequence[int],
    *,
    batchnorm: bool = False,
    hidden: int = 4096,
    nclasses: int = 1000,
    inchannels: int = 3,
    dropout: float = 0.5,
) -> Model:
    """Stages of 3 × 3 convolutions with 64, 128, 256, 512, 512 channels, each ended by pooling, and three linear maps.

    Arguments:
        repeats: how many convolutions each stage has.
        batchnorm: whether a norm follows each of them.
        hidden: sizes of the two layers before the last.

    >>> import torch
    >>> vgg((1, 1), hidden=32, nclasses=10)(torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 10])
    """
    layers: list[Any] = []
    nin = inchannels
    for nout, repeat in zip((64, 128, 256, 512, 512), repeats, strict=False):
        for _ in range(repeat):
            activation = () if batchnorm else (relu,)
            norm = (BatchNorm(nout, relu),) if batchnorm else ()
            layers += [conv(3, nin, nout, *activation, bias=True), *norm, None]
            nin = nout
        layers.append(MaxPool((2, 2)))
    return Model(
        Plan("features", "classifier.6", linear, inchannels),
        features=numbered(*layers),
        avgpool=AdaptiveMeanPool((7, 7)),
        flatten=flatten,
        classifier=numbered(
            *(linear(nin * 49, hidden, relu), None, Dropout(dropout)),
            *(linear(hidden, hidden, relu), None, Dropout(dropout)),
            linear(hidden, nclasses),
        ),
    )


SOURCE = "Simonyan and Zisserman (2014), arXiv 1409.1556"

# fmt: off
for _depth, _repeats, _n, _n_bn in (
    (11, (1, 1, 2, 2, 2), 132_863_336, 132_868_840),
    (13, (2, 2, 2, 2, 2), 133_047_848, 133_053_736),
    (16, (2, 2, 3, 3, 3), 138_357_544, 138_365_992),
    (19, (2, 2, 4, 4, 4), 143_667_240, 143_678_248),
):
    register(f"vgg{_depth}", partial(vgg, _repeats), _n, SOURCE)
    register(f"vgg{_depth}_bn", partial(vgg, _repeats, batchnorm=True), _n_bn, SOURCE)
# fmt: on
