"""The vision transformer (Dosovitskiy et al. 2020); tiny and small from Touvron et al. (2020)."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchflux import Chain, Dropout, LayerNorm, gelu, treelike, zeros

from .._init import fan_in, glorot, normal, truncated, uniform
from .._layers import conv, dense, tokens
from .._model import Model, Plan
from .._registry import register

__all__ = ["SelfAttention", "vit"]

norm = partial(LayerNorm, eps=1e-6)


@treelike
class SelfAttention:
    """Each token takes from all tokens: softmax(q kᵀ / √d) v for each head, between linear maps.

    x: (batch, tokens, n) → the same

    >>> SelfAttention(8, 2)(torch.zeros(1, 5, 8)).shape
    torch.Size([1, 5, 8])

    Source: Vaswani et al. (2017), arXiv 1706.03762.
    """

    def __init__(self, n: int, nheads: int, dropout: float = 0.0) -> None:
        self.in_proj_weight, self.in_proj_bias = glorot(3 * n, n), zeros(3 * n)
        self.out_proj = dense(uniform)(n, n)
        self.nheads, self.dropout = nheads, dropout

    def __call__(self: Any, x: Tensor) -> Tensor:
        """Applies the layer."""
        # (batch, tokens, 3 n) → (3, batch, heads, tokens, n / heads)
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias).unflatten(-1, (3, self.nheads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        return self.out_proj(y.transpose(1, 2).flatten(2))


@treelike
class Block:
    """x + attention(norm(x)), then x + mlp(norm(x)).

    x: (batch, tokens, n) → the same
    """

    def __init__(self, n: int, nheads: int, hidden: int, dropout: float) -> None:
        self.ln_1, self.self_attention, self.dropout = norm(n), SelfAttention(n, nheads, dropout), Dropout(dropout)
        self.ln_2 = norm(n)
        self.mlp = Chain(linear(n, hidden), gelu, Dropout(dropout), linear(hidden, n), Dropout(dropout))

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the block."""
        x = x + self.dropout(self.self_attention(self.ln_1(x)))
        return x + self.mlp(self.ln_2(x))


def linear(nin: int, nout: int) -> Any:
    """A linear map of the blocks, whose bias begins just off zero."""
    layer = dense(glorot)(nin, nout)
    with torch.no_grad():
        layer.bias.normal_(0, 1e-6)
    return layer


class Encoder(Chain):
    """Adds the embedding of each position, and applies the blocks and a norm."""

    def __init__(self, positions: int, n: int, dropout: float, blocks: Chain) -> None:
        super().__init__(dropout=Dropout(dropout), layers=blocks, ln=norm(n))
        self.pos_embedding = nn.Parameter(normal(1, positions, n, std=0.02))
        self._fields = ("positioned", *self._fields)

    @property
    def positioned(self) -> Any:
        """Adds the embedding; as a function of the parameter, so that a slice holds nothing else."""
        return partial(add_positions, self.pos_embedding)


def add_positions(embedding: Tensor, x: Tensor) -> Tensor:
    """x: (batch, positions, n) plus (1, positions, n)."""
    return x + embedding


def prepend(token: Tensor, x: Tensor) -> Tensor:
    """x: (batch, tokens, n) behind a token of its own."""
    return torch.cat([token.expand(x.shape[0], -1, -1), x], 1)


def first(x: Tensor) -> Tensor:
    """The first token: (batch, tokens, n) → (batch, n)."""
    return x[:, 0]


class ViT(Model):
    """A model with a parameter of its own, the class token; it stands in the chain as `classed`."""

    def __init__(self, n: int, plan: Plan, **parts: Any) -> None:
        super().__init__(plan, **parts)
        self.class_token = nn.Parameter(torch.zeros(1, 1, n))
        self._fields = (*self._fields[:2], "classed", *self._fields[2:])

    @property
    def classed(self) -> Any:
        """Puts the class token in front."""
        return partial(prepend, self.class_token)


def vit(
    n: int,
    depth: int,
    nheads: int,
    patch: int,
    *,
    imsize: int = 224,
    dropout: float = 0.0,
    nclasses: int = 1000,
    inchannels: int = 3,
) -> Model:
    """A transformer over patches of the image, from whose class token a linear map makes the classes.

    Arguments:
        n: size of a token.
        depth, nheads: how many blocks, and heads in each.
        patch: side of a patch, in pixels; it divides `imsize`, the side of the images.

    >>> vit(8, 1, 2, 4, imsize=8, nclasses=10)(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 10])
    """
    if imsize % patch:
        raise ValueError(f"imsize={imsize} can't be cut into patches of {patch}: give a multiple of {patch}")
    std = fan_in(n, inchannels, patch, patch) ** -0.5
    blocks = {f"encoder_layer_{i}": Block(n, nheads, 4 * n, dropout) for i in range(depth)}
    make = dense(zeros)
    return ViT(
        n,
        Plan("encoder", "heads.head", make, inchannels, imsize),
        conv_proj=conv(patch, inchannels, n, stride=patch, pad=0, bias=True, init=partial(truncated, std=std)),
        tokens=partial(tokens, imsize // patch),
        encoder=Encoder((imsize // patch) ** 2 + 1, n, dropout, Chain(**blocks)),
        first=first,
        heads=Chain(head=make(n, nclasses)),
    )


SOURCE, DEIT = "Dosovitskiy et al. (2020), arXiv 2010.11929", "Touvron et al. (2020), arXiv 2012.12877"
register("vit_ti_16", partial(vit, 192, 12, 3, 16), 5.7, DEIT)
register("vit_s_16", partial(vit, 384, 12, 6, 16), 22.1, DEIT)
register("vit_b_16", partial(vit, 768, 12, 12, 16), 86_567_656, SOURCE)
register("vit_b_32", partial(vit, 768, 12, 12, 32), 88_224_232, SOURCE)
register("vit_l_16", partial(vit, 1024, 24, 16, 16), 304_326_632, SOURCE)
register("vit_l_32", partial(vit, 1024, 24, 16, 32), 306_535_400, SOURCE)
register("vit_h_14", partial(vit, 1280, 32, 16, 14), 632_045_800, SOURCE)
