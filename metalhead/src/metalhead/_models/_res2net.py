"""Res2Net and Res2NeXt (Gao et al. 2019): residual blocks that see several scales."""

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from torchflux import BatchNorm, identity, treelike

from .._layers import concat, conv, relu
from .._registry import register
from ._resnet import Gate, resnet, shortcut, ungated

__all__ = ["Bottle2neck"]


@treelike
class Bottle2neck:
    """A bottleneck whose 3 × 3 convolution is a row of smaller ones, each on its share and what the last one gave.

    Arguments:
        scale: into how many shares the channels are divided; the last one is left as it is.
        groups, width: of each convolution, as in `Bottleneck`.

    x: (batch, nin, height, width) → (batch, 4 n, height / stride, width / stride)
    """

    expansion = 4

    def __init__(
        self,
        nin: int,
        n: int,
        stride: int = 1,
        *,
        scale: int = 4,
        groups: int = 1,
        width: int = 26,
        gate: Gate = ungated,
    ) -> None:
        share, nout = n * width // 64 * groups, 4 * n
        self.conv1, self.bn1 = conv(1, nin, share * scale), BatchNorm(share * scale, relu)
        self.convs = [conv(3, share, share, stride=stride, groups=groups) for _ in range(scale - 1)]
        self.bns = [BatchNorm(share, relu) for _ in range(scale - 1)]
        self.conv3, self.bn3 = conv(1, share * scale, nout), BatchNorm(nout)
        self.se, self.downsample = gate(nout), shortcut(nin, nout, stride)
        # The first block of a stage has no row: each convolution sees its share alone, and the last share is pooled.
        self.row = self.downsample is identity
        self.pool = identity if self.row else partial(F.avg_pool2d, kernel_size=3, stride=stride, padding=1)

    def __call__(self: Any, x: Tensor) -> Tensor:
        """Applies the block."""
        *shares, last = self.bn1(self.conv1(x)).chunk(len(self.convs) + 1, 1)
        results: list[Tensor] = []
        for share, convolution, norm in zip(shares, self.convs.values(), self.bns.values(), strict=True):
            results.append(norm(convolution(share + results[-1] if self.row and results else share)))
        y = self.se(self.bn3(self.conv3(concat(*results, self.pool(last)))))
        y += self.downsample(x)
        return relu(y)


SOURCE = "Gao et al. (2019), arXiv 1904.01169"
R50, R101 = partial(resnet, Bottle2neck, (3, 4, 6, 3)), partial(resnet, Bottle2neck, (3, 4, 23, 3))
register("res2net50_26w_4s", R50, 25.70, SOURCE)
register("res2net50_48w_2s", partial(R50, width=48, scale=2), 25.29, SOURCE)
register("res2net50_14w_8s", partial(R50, width=14, scale=8), 25.06, SOURCE)
register("res2net50_26w_6s", partial(R50, scale=6), 37.05, SOURCE)
register("res2net50_26w_8s", partial(R50, scale=8), 48.40, SOURCE)
register("res2net101_26w_4s", R101, 45.21, SOURCE)
register("res2next50", partial(R50, width=4, groups=8), 24.67, SOURCE)
