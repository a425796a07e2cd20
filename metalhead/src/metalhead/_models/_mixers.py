"""Networks of patches without attention: MLP-Mixer (Tolstikhin et al. 2021), ResMLP (Touvron et al. 2021) and gMLP
(Liu et al. 2021)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchflux import Chain, Dropout, LayerNorm, gelu, treelike, zeros

from .._init import fan_in, glorot, normal, truncated
from .._layers import conv, dense, tokens
from .._model import Model, Plan
from .._registry import register

__all__ = ["Affine", "GatedBlock", "MixerBlock", "ResMLPBlock", "mixer"]

norm = partial(LayerNorm, eps=1e-6)


def mlp(n: int, hidden: int) -> Chain:
    """Two linear maps over the last dimension with gelu in between."""
    return Chain(fc1=linear(n, hidden), act=gelu, fc2=linear(hidden, n))


def linear(nin: int, nout: int) -> Any:
    """A linear map whose bias begins just off zero."""
    layer: Any = dense(glorot)(nin, nout)
    with torch.no_grad():
        layer.bias.normal_(0, 1e-6)
    return layer


@treelike
class MixerBlock:
    """x + mix(norm(x)) over the tokens, then over the channels.

    x: (batch, tokens, n) → the same
    """

    def __init__(self, ntokens: int, n: int) -> None:
        self.norm1, self.mlp_tokens = norm(n), mlp(ntokens, n // 2)
        self.norm2, self.mlp_channels = norm(n), mlp(n, 4 * n)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the block."""
        x = x + self.mlp_tokens(self.norm1(x).mT).mT
        return x + self.mlp_channels(self.norm2(x))


@treelike
class Affine:
    """α x + β, in the place of a norm.

    x: (..., n) → the same
    """

    def __init__(self, n: int) -> None:
        self.alpha, self.beta = torch.ones(1, 1, n), torch.zeros(1, 1, n)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the map."""
        return torch.addcmul(self.beta, self.alpha, x)


@treelike
class ResMLPBlock:
    """x + γ mix(affine(x)) over the tokens by one linear map, then over the channels by two.

    x: (batch, tokens, n) → the same
    """

    def __init__(self, ntokens: int, n: int, scale: float = 1e-4) -> None:
        self.ls1, self.ls2 = torch.full((n,), scale), torch.full((n,), scale)
        self.norm1, self.linear_tokens = Affine(n), dense(glorot)(ntokens, ntokens)
        self.norm2, self.mlp_channels = Affine(n), mlp(n, 4 * n)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the block."""
        x = x + self.ls1 * self.linear_tokens(self.norm1(x).mT).mT
        return x + self.ls2 * self.mlp_channels(self.norm2(x))


@treelike
class SpatialGate:
    """One half of the channels, times a linear map over the tokens of the other half.

    x: (batch, tokens, n) → (batch, tokens, n / 2)
    """

    def __init__(self, ntokens: int, n: int) -> None:
        self.norm, self.proj = LayerNorm(n // 2), dense(partial(normal, std=1e-6))(ntokens, ntokens)
        with torch.no_grad():
            self.proj.bias.fill_(1)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the gate."""
        u, v = x.chunk(2, -1)
        return u * self.proj(self.norm(v).mT).mT


@treelike
class GatedBlock:
    """x + narrow(gate(widen(norm(x)))).

    x: (batch, tokens, n) → the same
    """

    def __init__(self, ntokens: int, n: int) -> None:
        gate = SpatialGate(ntokens, 6 * n)
        self.norm = norm(n)
        self.mlp_channels = Chain(fc1=linear(n, 6 * n), act=gelu, gate=gate, fc2=linear(3 * n, n))

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the block."""
        return x + self.mlp_channels(self.norm(x))


def mixer(
    block: Callable[[int, int], Any],
    n: int,
    depth: int,
    patch: int,
    *,
    last: Callable[[int], Any] = norm,
    imsize: int = 224,
    nclasses: int = 1000,
    inchannels: int = 3,
    dropout: float = 0.0,
) -> Model:
    """Patches of the image as tokens, blocks that mix them, a norm and the mean.

    Arguments:
        block: `block(ntokens, n)`.
        n, depth: size of a token, and how many blocks there are.
        patch: side of a patch, in pixels; it divides `imsize`, the side of the images.
        last: the norm behind the blocks.

    >>> import torch
    >>> mixer(MixerBlock, 8, 2, 4, imsize=16, nclasses=10)(torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 10])
    """
    if imsize % patch:
        raise ValueError(f"imsize={imsize} can't be cut into patches of {patch}: give a multiple of {patch}")
    lecun = partial(truncated, std=fan_in(n, inchannels, patch, patch) ** -0.5)
    make = dense(zeros)
    return Model(
        Plan("norm", "head", make, inchannels, imsize),
        stem=Chain(proj=conv(patch, inchannels, n, stride=patch, pad=0, bias=True, init=lecun)),
        tokens=partial(tokens, imsize // patch),
        blocks=Chain(*(block((imsize // patch) ** 2, n) for _ in range(depth))),
        norm=last(n),
        mean=partial(torch.mean, dim=1),
        dropout=Dropout(dropout),
        head=make(n, nclasses),
    )


def resmlp(scale: float, *sizes: int) -> Any:
    """A builder of a ResMLP whose residual branches begin with the factor `scale`."""
    return partial(mixer, partial(ResMLPBlock, scale=scale), *sizes, last=Affine)


# The paper counts Mixer without its head.
MIXER, RESMLP = "Tolstikhin et al. (2021), arXiv 2105.01601", "Touvron et al. (2021), arXiv 2105.03404"
GMLP = "Liu et al. (2021), arXiv 2105.08050"
register("mixer_s32", partial(mixer, MixerBlock, 512, 8, 32), 19.0, MIXER)
register("mixer_s16", partial(mixer, MixerBlock, 512, 8, 16), 18.0, MIXER)
register("mixer_b32", partial(mixer, MixerBlock, 768, 12, 32), 60.0, MIXER)
register("mixer_b16", partial(mixer, MixerBlock, 768, 12, 16), 59.0, MIXER)
register("mixer_l32", partial(mixer, MixerBlock, 1024, 24, 32), 206.0, MIXER)
register("mixer_l16", partial(mixer, MixerBlock, 1024, 24, 16), 207.0, MIXER)
register("resmlp_12", resmlp(1e-4, 384, 12, 16), 15.4, RESMLP)
register("resmlp_24", resmlp(1e-5, 384, 24, 16), 30.0, RESMLP)
register("resmlp_36", resmlp(1e-6, 384, 36, 16), 44.7, RESMLP)
register("resmlp_big_24", resmlp(1e-6, 768, 24, 8), 129.1, RESMLP)
register("gmlp_ti16", partial(mixer, GatedBlock, 128, 30, 16), 5.9, GMLP)
register("gmlp_s16", partial(mixer, GatedBlock, 256, 30, 16), 19.5, GMLP)
register("gmlp_b16", partial(mixer, GatedBlock, 512, 30, 16), 73.4, GMLP)
