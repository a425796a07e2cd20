"""EfficientNet b0 to b7 (Tan and Le 2019) and v2 (Tan and Le 2021)."""

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import Any

from torchflux import Chain, Dropout, identity, swish

from .._init import uniform_out
from .._layers import SqueezeExcite, conv_norm, dense, globalmean, scaled, skip_if, stochastic_depth
from .._model import Model, Plan
from .._registry import register

__all__ = ["efficientnet"]

linear = dense(uniform_out)


def mbconv(nin: int, nout: int, kernel: int, stride: int, expansion: int, drop: float, block: Any) -> Chain:
    """Widen, convolve each channel by itself, gate, narrow."""
    n = scaled(nin * expansion)
    widen = (block(1, nin, n, swish),) if n != nin else ()
    depthwise = block(kernel, n, n, swish, stride=stride, groups=n)
    gate = SqueezeExcite(n, max(1, nin // 4), swish)
    layers = Chain(*widen, depthwise, gate, block(1, n, nout, identity))
    same = stride == 1 and nin == nout
    return skip_if(same, block=layers, drop=stochastic_depth(drop if same else 0))


def fused(nin: int, nout: int, kernel: int, stride: int, expansion: int, drop: float, block: Any) -> Chain:
    """Widen by a full convolution and narrow; without expansion only the former."""
    n = scaled(nin * expansion)
    narrow = (block(1, n, nout, identity),) if n != nin else ()
    layers = Chain(block(kernel, nin, n if narrow else nout, swish, stride=stride), *narrow)
    same = stride == 1 and nin == nout
    return skip_if(same, block=layers, drop=stochastic_depth(drop if same else 0))


Stage = tuple[Callable[..., Chain], int, int, int, int, int]


def efficientnet(
    stages: Sequence[Stage],
    stem: int,
    last: int,
    *,
    dropout: float,
    imsize: int = 224,
    eps: float = 1e-5,
    momentum: float = 0.1,
    drop_path: float = 0.2,
    nclasses: int = 1000,
    inchannels: int = 3,
) -> Model:
    """A stem, stages of inverted residuals, and a 1 × 1 convolution.

    Arguments:
        stages: block (`mbconv` or `fused`), expansion, kernel, stride, channels and repeats of each.
        stem, last: channels of the first and the last convolution.
        eps, momentum: of the batch norms.
        drop_path: stochastic depth of what would be the block after the last; it rises linearly from 0.
    """
    block = partial(conv_norm, eps=eps, momentum=momentum)
    total, done, nin = sum(stage[-1] for stage in stages), 0, stem
    parts = [block(3, inchannels, stem, swish, stride=2)]
    for make, expansion, kernel, stride, nout, repeats in stages:
        blocks = []
        for i in range(repeats):
            blocks.append(make(nin, nout, kernel, 1 if i else stride, expansion, drop_path * done / total, block))
            nin, done = nout, done + 1
        parts.append(Chain(*blocks))
    return Model(
        Plan("features", "classifier.1", linear, inchannels, imsize),
        features=Chain(*parts, block(1, nin, last, swish)),
        avgpool=globalmean,
        classifier=Chain(Dropout(dropout), linear(last, nclasses)),
    )


# Table 1 of the first paper: expansion, kernel, stride, channels, repeats; b1 to b7 have more of the last two.
# fmt: off
B0 = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
      (6, 3, 1, 320, 1))
# fmt: on


def b(width: float, depth: float, **options: Any) -> Any:
    """A builder of the first paper's scaled networks."""
    stages = [(mbconv, e, k, s, scaled(n * width), ceil(r * depth)) for e, k, s, n, r in B0]
    return partial(efficientnet, stages, scaled(32 * width), 4 * scaled(320 * width), **options)


# Table 4 of the second paper.
# fmt: off
S = ((fused, 1, 3, 1, 24, 2), (fused, 4, 3, 2, 48, 4), (fused, 4, 3, 2, 64, 4), (mbconv, 4, 3, 2, 128, 6),
     (mbconv, 6, 3, 1, 160, 9), (mbconv, 6, 3, 2, 256, 15))
M = ((fused, 1, 3, 1, 24, 3), (fused, 4, 3, 2, 48, 5), (fused, 4, 3, 2, 80, 5), (mbconv, 4, 3, 2, 160, 7),
     (mbconv, 6, 3, 1, 176, 14), (mbconv, 6, 3, 2, 304, 18), (mbconv, 6, 3, 1, 512, 5))
L = ((fused, 1, 3, 1, 32, 4), (fused, 4, 3, 2, 64, 7), (fused, 4, 3, 2, 96, 7), (mbconv, 4, 3, 2, 192, 10),
     (mbconv, 6, 3, 1, 224, 19), (mbconv, 6, 3, 2, 384, 25), (mbconv, 6, 3, 1, 640, 7))
# fmt: on

LE, V2 = "Tan and Le (2019), arXiv 1905.11946", "Tan and Le (2021), arXiv 2104.00298"
TF = {"eps": 1e-3, "momentum": 0.01}  # as the published weights of b5 to b7 were trained
register("efficientnet_b0", b(1.0, 1.0, dropout=0.2), 5_288_548, LE)
register("efficientnet_b1", b(1.0, 1.1, dropout=0.2, imsize=240), 7_794_184, LE)
register("efficientnet_b2", b(1.1, 1.2, dropout=0.3, imsize=288), 9_109_994, LE)
register("efficientnet_b3", b(1.2, 1.4, dropout=0.3, imsize=300), 12_233_232, LE)
register("efficientnet_b4", b(1.4, 1.8, dropout=0.4, imsize=380), 19_341_616, LE)
register("efficientnet_b5", b(1.6, 2.2, dropout=0.4, imsize=456, **TF), 30_389_784, LE)
register("efficientnet_b6", b(1.8, 2.6, dropout=0.5, imsize=528, **TF), 43_040_704, LE)
register("efficientnet_b7", b(2.0, 3.1, dropout=0.5, imsize=600, **TF), 66_347_960, LE)
register("efficientnet_v2_s", partial(efficientnet, S, 24, 1280, dropout=0.2, imsize=384, eps=1e-3), 21_458_488, V2)
register("efficientnet_v2_m", partial(efficientnet, M, 24, 1280, dropout=0.3, imsize=480, eps=1e-3), 54_139_356, V2)
register("efficientnet_v2_l", partial(efficientnet, L, 32, 1280, dropout=0.4, imsize=480, eps=1e-3), 118_515_272, V2)
