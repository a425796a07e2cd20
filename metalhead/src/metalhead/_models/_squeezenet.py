"""SqueezeNet 1.0 and 1.1 (Iandola et al. 2016)."""

from functools import partial
from typing import Any

from torch import Tensor

from torchflux import Dropout, treelike

from .._init import he_uniform, normal
from .._layers import ceilpool, concat, conv, globalmean, numbered, relu
from .._model import Model, Plan
from .._registry import register

__all__ = ["Fire", "squeezenet"]


@treelike
class Fire:
    """Squeezes the channels, then expands them by 1 × 1 and 3 × 3 convolutions side by side.

    x: (batch, nin, height, width) → (batch, 2 expanded, height, width)
    """

    def __init__(self, nin: int, squeezed: int, expanded: int) -> None:
        self.squeeze = conv(1, nin, squeezed, relu, bias=True, init=he_uniform)
        self.expand1x1 = conv(1, squeezed, expanded, relu, bias=True, init=he_uniform)
        self.expand3x3 = conv(3, squeezed, expanded, relu, bias=True, init=he_uniform)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the block."""
        x = self.squeeze(x)
        return concat(self.expand1x1(x), self.expand3x3(x))


def head(nin: int, nout: int) -> Any:
    """The last layer: a 1 × 1 convolution."""
    return conv(1, nin, nout, relu, bias=True, init=normal)


def squeezenet(
    stem: tuple[int, int], pools: tuple[int, ...], *, nclasses: int = 1000, inchannels: int = 3, dropout: float = 0.5
) -> Model:
    """A stem, eight `Fire` blocks, and a 1 × 1 convolution whose mean gives the classes.

    Arguments:
        stem: kernel and channels of the first convolution.
        pools: before which of the blocks there is pooling.
    """
    kernel, nin = stem
    layers: list[Any] = [conv(kernel, inchannels, nin, relu, stride=2, pad=0, bias=True, init=he_uniform), None]
    for i, (squeezed, expanded) in enumerate((s, 4 * s) for s in (16, 16, 32, 32, 48, 48, 64, 64)):
        layers += [ceilpool(3, 2)] if i in pools else []
        layers.append(Fire(nin, squeezed, expanded))
        nin = 2 * expanded
    return Model(
        Plan("features", "classifier.1", head, inchannels),
        features=numbered(*layers),
        classifier=numbered(Dropout(dropout), head(nin, nclasses)),
        avgpool=globalmean,
    )


SOURCE = "Iandola et al. (2016), arXiv 1602.07360"
register("squeezenet1_0", partial(squeezenet, (7, 96), (0, 3, 7)), 1_248_424, SOURCE)
register("squeezenet1_1", partial(squeezenet, (3, 64), (0, 2, 4)), 1_235_496, SOURCE)
