"""MNASNet B1 (Tan et al. 2018)."""

from collections.abc import Sequence
from functools import partial

from torchflux import BatchNorm, Chain, Dropout

from .._init import uniform_out
from .._layers import conv, dense, globalmean, numbered, relu, scaled, skip_if
from .._model import Model, Plan
from .._registry import register

__all__ = ["mnasnet"]

# Kaiming's uniform distribution for sigmoid, whose gain is 1: U(±√(3 / fan_out)).
linear = dense(partial(uniform_out, gain=3**0.5))
MOMENTUM = 1 - 0.9997  # TensorFlow's decay

Stage = tuple[int, int, int, int, int]

# Figure 7: kernel, expansion, channels, repeats, stride of the first.
STAGES: tuple[Stage, ...] = (
    (3, 3, 24, 3, 2),
    (5, 3, 40, 3, 2),
    (5, 6, 80, 3, 2),
    (3, 6, 96, 2, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)


def layers(kernel: int, nin: int, nout: int, stride: int = 1, groups: int = 1, activated: bool = True) -> tuple:
    """A convolution, its norm, and the place of its activation."""
    norm = BatchNorm(nout, relu, momentum=MOMENTUM) if activated else BatchNorm(nout, momentum=MOMENTUM)
    return conv(kernel, nin, nout, stride=stride, groups=groups), norm, *((None,) if activated else ())


def inverted_residual(kernel: int, nin: int, nout: int, stride: int, expansion: int) -> Chain:
    """1 × 1 convolution to many channels, one of each channel by itself, 1 × 1 to few, without activation."""
    n = nin * expansion
    chain = numbered(*layers(1, nin, n), *layers(kernel, n, n, stride, n), *layers(1, n, nout, activated=False))
    return skip_if(stride == 1 and nin == nout, layers=chain)


def mnasnet(
    width: float = 1.0,
    stages: Sequence[Stage] = STAGES,
    *,
    nclasses: int = 1000,
    inchannels: int = 3,
    dropout: float = 0.2,
) -> Model:
    """MNASNet.

    Arguments:
        width: multiplies the numbers of channels.
        stages: rows as in `STAGES`.

    >>> import torch
    >>> mnasnet(0.25, nclasses=10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    stem, nin = scaled(32 * width), scaled(16 * width)
    first = (*layers(3, inchannels, stem, 2), *layers(3, stem, stem, 1, stem), *layers(1, stem, nin, activated=False))
    parts = []
    for kernel, expansion, channels, repeats, stride in stages:
        nout = scaled(channels * width)
        blocks = [inverted_residual(kernel, nin, nout, stride, expansion)]
        blocks += [inverted_residual(kernel, nout, nout, 1, expansion) for _ in range(repeats - 1)]
        parts.append(Chain(*blocks))
        nin = nout
    model = Model(
        Plan("layers", "classifier.1", linear, inchannels),
        layers=numbered(*first, *parts, *layers(1, nin, 1280)),
        avgpool=globalmean,
        classifier=Chain(Dropout(dropout), linear(1280, nclasses)),
    )
    model._version = 2  # torchvision's version 1 had another stem; the number is in the state_dict's metadata
    return model


SOURCE = "Tan et al. (2018), arXiv 1807.11626"
for _name, _width, _n in (
    ("0_5", 0.5, 2_218_512),
    ("0_75", 0.75, 3_170_208),
    ("1_0", 1.0, 4_383_312),
    ("1_3", 1.3, 6_282_256),
):
    register(f"mnasnet{_name}", partial(mnasnet, _width), _n, SOURCE)
