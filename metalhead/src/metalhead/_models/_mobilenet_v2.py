"""MobileNet v2 (Sandler et al. 2018)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch.nn.functional as F

from torchflux import BatchNorm, Chain, Dropout

from .._init import normal
from .._layers import conv, conv_norm, dense, globalmean, scaled, skip_if
from .._model import Model, Plan
from .._registry import register

__all__ = ["mobilenet_v2"]

linear = dense(normal)
relu6: Any = partial(F.relu6, inplace=True)

Stage = tuple[int, int, int, int]

# Table 2: expansion, channels, repeats, stride of the first.
STAGES: tuple[Stage, ...] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def inverted_residual(nin: int, nout: int, stride: int, expansion: int) -> Chain:
    """1 × 1 convolution to many channels, 3 × 3 of each by itself, 1 × 1 to few, without activation."""
    n = nin * expansion
    widen = (conv_norm(1, nin, n, relu6),) if expansion > 1 else ()
    depthwise = conv_norm(3, n, n, relu6, stride=stride, groups=n)
    layers = Chain(*widen, depthwise, conv(1, n, nout), BatchNorm(nout))
    return skip_if(stride == 1 and nin == nout, conv=layers)


def mobilenet_v2(
    width: float = 1.0,
    stages: Sequence[Stage] = STAGES,
    *,
    nclasses: int = 1000,
    inchannels: int = 3,
    dropout: float = 0.2,
) -> Model:
    """MobileNet v2.

    Arguments:
        width: multiplies the numbers of channels.
        stages: rows as in `STAGES`.

    >>> import torch
    >>> mobilenet_v2(0.25, nclasses=10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    nin, last = scaled(32 * width), scaled(1280 * max(1.0, width))
    layers = [conv_norm(3, inchannels, nin, relu6, stride=2)]
    for expansion, channels, repeats, stride in stages:
        for i in range(repeats):
            nout = scaled(channels * width)
            layers.append(inverted_residual(nin, nout, stride if i == 0 else 1, expansion))
            nin = nout
    return Model(
        Plan("features", "classifier.1", linear, inchannels),
        features=Chain(*layers, conv_norm(1, nin, last, relu6)),
        avgpool=globalmean,
        classifier=Chain(Dropout(dropout), linear(last, nclasses)),
    )


register("mobilenet_v2", mobilenet_v2, 3_504_872, "Sandler et al. (2018), arXiv 1801.04381")
