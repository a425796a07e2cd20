"""MobileNet v1 (Howard et al. 2017)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch.nn.functional as F

from torchflux import BatchNorm, Chain, Dropout

from .._init import uniform_out
from .._layers import conv, dense, globalmean, scaled
from .._model import Model, Plan
from .._registry import register

__all__ = ["mobilenet_v1"]

linear = dense(uniform_out)
relu6: Any = partial(F.relu6, inplace=True)

# Table 1: channels, repeats, stride of the first.
STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))


def separable(nin: int, nout: int, stride: int) -> Chain:
    """A 3 × 3 convolution of each channel by itself, and a 1 × 1 convolution of all."""
    return Chain(
        conv_dw=conv(3, nin, nin, stride=stride, groups=nin),
        bn1=BatchNorm(nin, relu6),
        conv_pw=conv(1, nin, nout),
        bn2=BatchNorm(nout, relu6),
    )


def mobilenet_v1(
    width: float = 1.0,
    stages: Sequence[tuple[int, int, int]] = STAGES,
    *,
    nclasses: int = 1000,
    inchannels: int = 3,
    dropout: float = 0.0,
) -> Model:
    """MobileNet v1.

    Arguments:
        width: multiplies the numbers of channels.
        stages: rows as in `STAGES`.

    >>> import torch
    >>> mobilenet_v1(0.25, nclasses=10)(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 10])
    """
    stem = nin = scaled(32 * width)
    parts = []
    for channels, repeats, stride in stages:
        nout = scaled(channels * width)
        blocks = [separable(nin, nout, stride), *(separable(nout, nout, 1) for _ in range(repeats - 1))]
        parts.append(Chain(*blocks))
        nin = nout
    return Model(
        Plan("blocks", "classifier", linear, inchannels),
        conv_stem=conv(3, inchannels, stem, stride=2),
        bn1=BatchNorm(stem, relu6),
        blocks=Chain(*parts),
        avgpool=globalmean,
        dropout=Dropout(dropout),
        classifier=linear(nin, nclasses),
    )


register("mobilenet_v1", mobilenet_v1, 4.2, "Howard et al. (2017), arXiv 1704.04861")
