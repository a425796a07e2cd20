"""ConvMixer (Trockman and Kolter 2022)."""

from functools import partial
from typing import Any

from torchflux import BatchNorm, Chain, Conv, Dropout, SamePad, gelu

from .._init import uniform
from .._layers import Block, Residual, conv, globalmean, linear, relu, uniform_bias
from .._model import Model, Plan
from .._registry import register

__all__ = ["convmixer"]


def convolution(kernel: int, nin: int, nout: int, **options: Any) -> Conv:
    """A convolution that begins as PyTorch's do."""
    return uniform_bias(conv(kernel, nin, nout, bias=True, init=uniform, **options))


def block(n: int, kernel: int, activation: Any) -> Block:
    """Figure 3; the depth-wise convolution pads as PyTorch's "same" does."""
    same = SamePad() if kernel % 2 == 0 else None
    depthwise = Residual(fn=Chain(convolution(kernel, n, n, groups=n, pad=same), activation, BatchNorm(n)))
    return Block(depthwise, convolution(1, n, n), activation, BatchNorm(n))


def convmixer(
    n: int,
    depth: int,
    kernel: int = 9,
    patch: int = 7,
    *,
    activation: Any = gelu,
    nclasses: int = 1000,
    inchannels: int = 3,
    dropout: float = 0.0,
) -> Model:
    """Patches that are mixed by convolutions.

    Arguments:
        n: channels of a patch.
        depth, kernel: how many blocks, and the size of their convolutions.
        patch: side of a patch, in pixels.
        activation: behind each convolution.

    >>> import torch
    >>> convmixer(8, 2, 3, 4, nclasses=10)(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 10])
    """
    return Model(
        Plan("blocks", "head", linear, inchannels),
        stem=Chain(convolution(patch, inchannels, n, stride=patch, pad=0), activation, BatchNorm(n)),
        blocks=Chain(*(block(n, kernel, activation) for _ in range(depth))),
        avgpool=globalmean,
        dropout=Dropout(dropout),
        head=linear(n, nclasses),
    )


SOURCE = "Trockman and Kolter (2022), arXiv 2201.09792"
# The paper's table 1: the published weights of ConvMixer-768/32 were trained with relu.
register("convmixer_768_32", partial(convmixer, 768, 32, 7, activation=relu), 21.1, SOURCE)
register("convmixer_1024_20_ks9_p14", partial(convmixer, 1024, 20, patch=14), 24.4, SOURCE)
register("convmixer_1536_20", partial(convmixer, 1536, 20), 51.6, SOURCE)
