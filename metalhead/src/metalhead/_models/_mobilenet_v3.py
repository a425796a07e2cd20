"""MobileNet v3, large and small (Howard et al. 2019)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torchflux import Chain, Dropout, hardsigmoid, hardswish, identity

from .._init import normal
from .._layers import SqueezeExcite, conv_norm, dense, globalmean, relu, scaled, skip_if
from .._model import Model, Plan
from .._registry import register

__all__ = ["mobilenet_v3"]

linear = dense(normal)
Row = tuple[int, int, int, int, int, int]

# Tables 1 and 2: kernel, expanded channels, channels, squeeze-and-excitation, hardswish, stride.
# fmt: off
LARGE = (
    (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2), (5, 120, 40, 1, 0, 1),
    (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
    (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1), (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1),
    (5, 960, 160, 1, 1, 1),
)
SMALL = (
    (3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2), (5, 240, 40, 1, 1, 1),
    (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1), (5, 288, 96, 1, 1, 2), (5, 576, 96, 1, 1, 1),
    (5, 576, 96, 1, 1, 1),
)
# fmt: on


def inverted_residual(
    nin: int, kernel: int, n: int, nout: int, gated: bool, activation: Any, stride: int, block: Any
) -> Chain:
    """Widen, convolve each channel by itself, gate, narrow; see Figure 4."""
    widen = (block(1, nin, n, activation),) if n != nin else ()
    gate = (SqueezeExcite(n, scaled(n // 4), gate=hardsigmoid),) if gated else ()
    depthwise = block(kernel, n, n, activation, stride=stride, groups=n)
    layers = Chain(*widen, depthwise, *gate, block(1, n, nout, identity))
    return skip_if(stride == 1 and nin == nout, block=layers)


def mobilenet_v3(
    rows: Sequence[Row],
    last: int,
    width: float = 1.0,
    *,
    eps: float = 1e-3,
    nclasses: int = 1000,
    inchannels: int = 3,
    dropout: float = 0.2,
) -> Model:
    """MobileNet v3.

    Arguments:
        rows: kernel, expanded channels, channels, whether gated, whether with hardswish, and stride of each block.
        last: size of the layer before the last.
        width: multiplies the numbers of channels.
        eps: of the batch norms; most of timm's weights were trained with 1e-5.
    """
    nin, block = scaled(16 * width), partial(conv_norm, eps=eps, momentum=0.01)
    layers = [block(3, inchannels, nin, hardswish, stride=2)]
    for kernel, expanded, channels, gated, hard, stride in rows:
        n, nout = scaled(expanded * width), scaled(channels * width)
        layers.append(inverted_residual(nin, kernel, n, nout, bool(gated), hardswish if hard else relu, stride, block))
        nin = nout
    hidden = scaled(last * width)
    return Model(
        Plan("features", "classifier.3", linear, inchannels),
        features=Chain(*layers, block(1, nin, 6 * nin, hardswish)),
        avgpool=globalmean,
        classifier=Chain(linear(6 * nin, hidden), hardswish, Dropout(dropout), linear(hidden, nclasses)),
    )


SOURCE = "Howard et al. (2019), arXiv 1905.02244"
register("mobilenet_v3_large", partial(mobilenet_v3, LARGE, 1280), 5_483_032, SOURCE)
register("mobilenet_v3_small", partial(mobilenet_v3, SMALL, 1024), 2_542_856, SOURCE)
