"""DenseNet (Huang et al. 2016)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torchflux import BatchNorm, Chain, Dropout, MaxPool, MeanPool, identity

from .._init import he_normal, uniform
from .._layers import Block, concat, conv, dense, globalmean, relu
from .._model import Model, Plan
from .._registry import register

__all__ = ["densenet"]

linear = dense(uniform)


class DenseLayer(Chain):
    """A chain whose result stands beside its input: x → (x, f(x))."""

    def forward(self, x: Any, *more: Any) -> Any:
        """Applies the layers and puts their result behind the input's channels."""
        return concat(x, super().forward(x, *more))


def denselayer(nin: int, growth: int, dropout: float) -> DenseLayer:
    """norm, relu, 1 × 1 convolution to 4 growth channels; norm, relu, 3 × 3 convolution to `growth`."""
    return DenseLayer(
        norm1=BatchNorm(nin, relu),
        conv1=conv(1, nin, 4 * growth, init=he_normal),
        norm2=BatchNorm(4 * growth, relu),
        conv2=conv(3, 4 * growth, growth, init=he_normal),
        dropout=Dropout(dropout) if dropout else identity,
    )


def densenet(
    repeats: Sequence[int],
    growth: int = 32,
    stem: int = 64,
    *,
    nclasses: int = 1000,
    inchannels: int = 3,
    dropout: float = 0.0,
) -> Model:
    """Dense blocks, in which each layer sees all before it, with transitions that halve channels and resolution.

    Arguments:
        repeats: how many layers each block has.
        growth: how many channels each layer adds.
        stem: channels of the first convolution.

    >>> import torch
    >>> densenet((2, 2), growth=8, nclasses=10)(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 10])
    """
    parts: dict[str, Any] = {
        "conv0": conv(7, inchannels, stem, stride=2, init=he_normal),
        "norm0": BatchNorm(stem, relu),
        "pool0": MaxPool((3, 3), stride=2, pad=1),
    }
    n = stem
    for i, repeat in enumerate(repeats, 1):
        layers = {f"denselayer{j + 1}": denselayer(n + j * growth, growth, dropout) for j in range(repeat)}
        parts[f"denseblock{i}"] = Chain(**layers)
        n += repeat * growth
        if i < len(repeats):
            norm, half = BatchNorm(n, relu), conv(1, n, n // 2, init=he_normal)
            parts[f"transition{i}"] = Block(norm=norm, conv=half, pool=MeanPool((2, 2)))
            n //= 2
    features = Chain(**parts, norm5=BatchNorm(n, relu))
    return Model(
        Plan("features", "classifier", linear, inchannels),
        features=features,
        avgpool=globalmean,
        classifier=linear(n, nclasses),
    )


SOURCE = "Huang et al. (2016), arXiv 1608.06993"
register("densenet121", partial(densenet, (6, 12, 24, 16)), 7_978_856, SOURCE)
register("densenet161", partial(densenet, (6, 12, 36, 24), 48, 96), 28_681_000, SOURCE)
register("densenet169", partial(densenet, (6, 12, 32, 32)), 14_149_480, SOURCE)
register("densenet201", partial(densenet, (6, 12, 48, 32)), 20_013_928, SOURCE)
