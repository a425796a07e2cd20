"""AlexNet, the one-column version (Krizhevsky 2014)."""

from functools import partial

from torchflux import AdaptiveMeanPool, Conv, Dropout, MaxPool, flatten

from .._init import uniform
from .._layers import conv, linear, numbered, relu, uniform_bias
from .._model import Model, Plan
from .._registry import register

__all__ = ["alexnet"]


def alexnet(*, hidden: int = 4096, nclasses: int = 1000, inchannels: int = 3, dropout: float = 0.5) -> Model:
    """AlexNet.

    Arguments:
        hidden: sizes of the two layers before the last.

    >>> import torch
    >>> alexnet(hidden=32, nclasses=10)(torch.zeros(1, 3, 224, 224)).shape
    torch.Size([1, 10])
    """
    pool = partial(MaxPool, (3, 3), stride=2)
    features = numbered(
        *(_conv(11, inchannels, 64, stride=4, pad=2), None, pool()),
        *(_conv(5, 64, 192), None, pool()),
        *(_conv(3, 192, 384), None),
        *(_conv(3, 384, 256), None),
        *(_conv(3, 256, 256), None, pool()),
    )
    classifier = numbered(
        *(Dropout(dropout), linear(256 * 36, hidden, relu), None),
        *(Dropout(dropout), linear(hidden, hidden, relu), None),
        linear(hidden, nclasses),
    )
    return Model(
        Plan("features", "classifier.6", linear, inchannels),
        features=features,
        avgpool=AdaptiveMeanPool((6, 6)),
        flatten=flatten,
        classifier=classifier,
    )


def _conv(kernel: int, nin: int, nout: int, stride: int = 1, pad: int | None = None) -> Conv:
    return uniform_bias(conv(kernel, nin, nout, relu, stride=stride, pad=pad, bias=True, init=uniform))


register("alexnet", alexnet, 61_100_840, "Krizhevsky (2014), arXiv 1404.5997")
