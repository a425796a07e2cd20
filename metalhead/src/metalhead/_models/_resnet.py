"""ResNet (He et al. 2015), and what it became: wide (Zagoruyko and Komodakis 2016), ResNeXt (Xie et al. 2016), with
squeeze-and-excitation (Hu et al. 2017)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from torchflux import BatchNorm, Chain, MaxPool, identity, treelike

from .._layers import SqueezeExcite, conv, globalmean, linear, relu
from .._model import Model, Plan
from .._registry import register

__all__ = ["Basic", "Bottleneck", "resnet", "squeeze_excite"]


Gate = Callable[[int], Any]


def ungated(n: int) -> Any:
    """No gate."""
    return identity


@treelike
class Basic:
    """relu(se(f(x)) + shortcut(x)) with two 3 × 3 convolutions in f.

    x: (batch, nin, height, width) → (batch, n, height / stride, width / stride)
    """

    expansion = 1

    def __init__(self, nin: int, n: int, stride: int = 1, *, gate: Gate = ungated) -> None:
        self.conv1, self.bn1 = conv(3, nin, n, stride=stride), BatchNorm(n, relu)
        self.conv2, self.bn2 = conv(3, n, n), BatchNorm(n)
        self.se = gate(n)
        self.downsample = shortcut(nin, n, stride)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the block."""
        y = self.se(self.bn2(self.conv2(self.bn1(self.conv1(x)))))
        y += self.downsample(x)
        return relu(y)


@treelike
class Bottleneck:
    """relu(se(f(x)) + shortcut(x)) with a 3 × 3 convolution between two 1 × 1 in f; the stride is in the 3 × 3.

    Arguments:
        groups, width: of the 3 × 3, which has `groups` groups of `width` channels for each 64 of n.

    x: (batch, nin, height, width) → (batch, 4 n, height / stride, width / stride)
    """

    expansion = 4

    def __init__(
        self, nin: int, n: int, stride: int = 1, *, groups: int = 1, width: int = 64, gate: Gate = ungated
    ) -> None:
        inner, nout = n * width // 64 * groups, 4 * n
        self.conv1, self.bn1 = conv(1, nin, inner), BatchNorm(inner, relu)
        self.conv2, self.bn2 = conv(3, inner, inner, stride=stride, groups=groups), BatchNorm(inner, relu)
        self.conv3, self.bn3 = conv(1, inner, nout), BatchNorm(nout)
        self.se = gate(nout)
        self.downsample = shortcut(nin, nout, stride)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the block."""
        y = self.se(self.bn3(self.conv3(self.bn2(self.conv2(self.bn1(self.conv1(x)))))))
        y += self.downsample(x)
        return relu(y)


def shortcut(nin: int, nout: int, stride: int) -> Any:
    """The identity, or where the shapes differ a 1 × 1 convolution with a norm (option B of the paper)."""
    if nin == nout and stride == 1:
        return identity
    return Chain(conv(1, nin, nout, stride=stride), BatchNorm(nout))


def resnet(
    block: Callable[..., Any], repeats: Sequence[int], *, nclasses: int = 1000, inchannels: int = 3, **options: Any
) -> Model:
    """A residual network: a stem, stages of blocks that halve the resolution, a mean and a linear map.

    Arguments:
        block: `block(nin, n, stride, **options)`, with an `expansion`: it gives n * expansion channels.
        repeats: how many blocks each stage has; the stages have n = 64, 128, ...
        options: of the block.

    >>> import torch
    >>> resnet(Basic, (1, 1), nclasses=10)(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 10])
    """
    stages: dict[str, Any] = {}
    nin = 64
    for i, repeat in enumerate(repeats):
        n = 64 * 2**i
        strides = [1 if i == 0 else 2] + [1] * (repeat - 1)
        nout = n * block.expansion  # type: ignore[attr-defined]
        inputs = [nin] + [nout] * (repeat - 1)
        stages[f"layer{i + 1}"] = Chain(*(block(m, n, s, **options) for m, s in zip(inputs, strides, strict=True)))
        nin = nout
    return Model(
        Plan(f"layer{len(repeats)}", "fc", linear, inchannels),
        conv1=conv(7, inchannels, 64, stride=2),
        bn1=BatchNorm(64, relu),
        maxpool=MaxPool((3, 3), stride=2, pad=1),
        **stages,
        avgpool=globalmean,
        fc=linear(nin, nclasses),
    )


def squeeze_excite(n: int) -> SqueezeExcite:
    """Squeeze-and-excitation with a sixteenth of the channels, at least 8, in the middle."""
    return SqueezeExcite(n, max(8, n // 16))


HE = "He et al. (2015), arXiv 1512.03385"
WIDE = "Zagoruyko and Komodakis (2016), arXiv 1605.07146"
XIE = "Xie et al. (2016), arXiv 1611.05431"
HU = "Hu et al. (2017), arXiv 1709.01507"
R18, R34 = partial(resnet, Basic, (2, 2, 2, 2)), partial(resnet, Basic, (3, 4, 6, 3))
R50, R101 = partial(resnet, Bottleneck, (3, 4, 6, 3)), partial(resnet, Bottleneck, (3, 4, 23, 3))
R152 = partial(resnet, Bottleneck, (3, 8, 36, 3))
register("resnet18", R18, 11_689_512, HE)
register("resnet34", R34, 21_797_672, HE)
register("resnet50", R50, 25_557_032, HE)
register("resnet101", R101, 44_549_160, HE)
register("resnet152", R152, 60_192_808, HE)
register("wide_resnet50_2", partial(R50, width=128), 68_883_240, WIDE)
register("wide_resnet101_2", partial(R101, width=128), 126_886_696, WIDE)
register("resnext50_32x4d", partial(R50, groups=32, width=4), 25_028_904, XIE)
register("resnext101_32x4d", partial(R101, groups=32, width=4), 44.18, XIE)
register("resnext101_32x8d", partial(R101, groups=32, width=8), 88_791_336, XIE)
register("resnext101_64x4d", partial(R101, groups=64, width=4), 83_455_272, XIE)
register("seresnet18", partial(R18, gate=squeeze_excite), 11.78, HU)
register("seresnet34", partial(R34, gate=squeeze_excite), 21.96, HU)
register("seresnet50", partial(R50, gate=squeeze_excite), 28.09, HU)
register("seresnet101", partial(R101, gate=squeeze_excite), 49.33, HU)
register("seresnet152", partial(R152, gate=squeeze_excite), 66.82, HU)
register("seresnext50_32x4d", partial(R50, groups=32, width=4, gate=squeeze_excite), 27.56, HU)
register("seresnext101_32x4d", partial(R101, groups=32, width=4, gate=squeeze_excite), 48.96, HU)
register("seresnext101_32x8d", partial(R101, groups=32, width=8, gate=squeeze_excite), 93.57, HU)
register("seresnext101_64x4d", partial(R101, groups=64, width=4, gate=squeeze_excite), 88.23, HU)
