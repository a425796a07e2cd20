"""The Swin transformer (Liu et al. 2021)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchflux import Chain, LayerNorm, gelu, treelike

from .._init import truncated, uniform
from .._layers import (
    ChannelNorm,
    channels_first,
    channels_last,
    conv,
    dense,
    globalmean,
    numbered,
    stochastic_depth,
    uniform_bias,
)
from .._model import Model, Plan
from .._registry import register

__all__ = ["swin"]

linear = dense(truncated)


@treelike
class WindowAttention:
    """Self-attention inside of windows that don't overlap; they may be shifted, and go around the edges.

    x: (batch, height, width, n) → the same
    """

    def __init__(self, n: int, nheads: int, window: int, shift: int) -> None:
        self.relative_position_bias_table = truncated((2 * window - 1) ** 2, nheads)
        self.relative_position_index = relative_positions(window)
        self.qkv, self.proj = linear(n, 3 * n), linear(n, n)
        self.nheads, self.window, self.shift = nheads, window, shift

    def __call__(self: Any, x: Tensor) -> Tensor:
        """Applies the layer."""
        height, width, w = x.shape[1], x.shape[2], self.window
        x = F.pad(x, (0, 0, 0, -width % w, 0, -height % w))
        sizes = x.shape[1:3]
        shifts = [self.shift if size > w else 0 for size in sizes]  # one window has nothing to shift to
        x = x.roll([-s for s in shifts], (1, 2))
        # (batch, rows, w, columns, w, n) → (batch, windows, w * w, n)
        x = x.unflatten(2, (-1, w)).unflatten(1, (-1, w)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        x = self.attend(x, masked(sizes, shifts, w, x) if any(shifts) else None)
        x = x.unflatten(2, (w, w)).unflatten(1, (-1, sizes[1] // w)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return x.roll(shifts, (1, 2))[:, :height, :width]

    def attend(self: Any, x: Tensor, mask: Tensor | None) -> Tensor:
        """softmax(q kᵀ / √d + bias + mask) v in each window, (batch, windows, places, n)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.nheads, -1)).permute(3, 0, 1, 4, 2, 5)
        places = x.shape[2]
        bias = self.relative_position_bias_table[self.relative_position_index].view(places, places, -1).permute(2, 0, 1)
        scores = (q * q.shape[-1] ** -0.5) @ k.mT + bias  # (batch, windows, heads, places, places)
        weights = (scores if mask is None else scores + mask).softmax(-1)
        return self.proj((weights @ v).transpose(2, 3).flatten(3))


def relative_positions(window: int) -> Tensor:
    """For each pair of places of a window, the row of the table for their displacement."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    dy, dx = ((c.flatten()[:, None] - c.flatten()) + window - 1 for c in (y, x))
    return (dy * (2 * window - 1) + dx).flatten()


def masked(sizes: Sequence[int], shifts: Sequence[int], w: int, like: Tensor) -> Tensor:
    """-100 for places of a window that only the shift around the edges has brought together: (windows, 1, w², w²)."""
    rows, columns = (_parts(size, shift, w, like.device) for size, shift in zip(sizes, shifts, strict=True))
    regions = rows[:, None] * 3 + columns  # (height, width)
    regions = regions.unflatten(1, (-1, w)).unflatten(0, (-1, w)).transpose(1, 2).flatten(2, 3).flatten(0, 1)
    apart = regions[:, None, :, None] != regions[:, None, None, :]
    return torch.where(apart, like.new_tensor(-100.0), like.new_tensor(0.0))


def _parts(size: int, shift: int, w: int, device: torch.device) -> Tensor:
    """Which of the three parts that a shift makes of a side each place is in; without a shift there is one."""
    place = torch.arange(size, device=device)
    return (place >= size - w).long() + (place >= size - shift) if shift else torch.zeros_like(place)


@treelike
class Block:
    """x + attention(norm(x)), then x + mlp(norm(x)).

    x: (batch, n, height, width) → the same
    """

    def __init__(self, n: int, nheads: int, window: int, shift: int, drop: float) -> None:
        self.norm1, self.attn = LayerNorm(n), WindowAttention(n, nheads, window, shift)
        self.drop = stochastic_depth(drop)
        self.norm2, self.mlp = LayerNorm(n), Chain(linear(n, 4 * n), gelu, _dropout, linear(4 * n, n))

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the block."""
        x = channels_last(x)
        x = x + self.drop(self.attn(self.norm1(x)))
        return channels_first(x + self.drop(self.mlp(self.norm2(x))))


def _dropout(x: Tensor) -> Tensor:
    """Where the published weights count a dropout, which none of the models has."""
    return x


@treelike
class PatchMerging:
    """Each 2 × 2 pixels become one, with twice the channels.

    x: (batch, n, height, width) → (batch, 2 n, height / 2, width / 2)
    """

    def __init__(self, n: int) -> None:
        self.reduction, self.norm = linear(4 * n, 2 * n, bias=False), LayerNorm(4 * n)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        x = F.pad(channels_last(x), (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
        quarters = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return channels_first(self.reduction(self.norm(torch.cat(quarters, -1))))


def swin(
    n: int,
    repeats: Sequence[int],
    nheads: Sequence[int],
    *,
    window: int = 7,
    drop_path: float = 0.1,
    nclasses: int = 1000,
    inchannels: int = 3,
) -> Model:
    """Patches of 4 × 4, and stages of blocks, every other one with shifted windows, with merged patches in between.

    Arguments:
        n: channels of the first stage; each next one has twice as many.
        repeats, nheads: of each stage.
        drop_path: stochastic depth of the last block; it rises linearly from 0.
    """
    stem = uniform_bias(conv(4, inchannels, n, stride=4, pad=0, bias=True, init=uniform))
    layers: list[Any] = [numbered(stem, None, ChannelNorm(n, eps=1e-5))]
    drops = iter(torch.linspace(0, drop_path, sum(repeats), device="cpu").tolist())
    for i, (repeat, heads) in enumerate(zip(repeats, nheads, strict=True)):
        layers += [PatchMerging(n * 2 ** (i - 1))] if i else []
        shifts = [0 if j % 2 == 0 else window // 2 for j in range(repeat)]
        layers.append(Chain(*(Block(n * 2**i, heads, window, shift, next(drops)) for shift in shifts)))
    last = n * 2 ** (len(repeats) - 1)
    return Model(
        Plan("features", "head", linear, inchannels),
        features=Chain(*layers),
        norm=ChannelNorm(last, eps=1e-5),
        avgpool=globalmean,
        head=linear(last, nclasses),
    )


SOURCE = "Liu et al. (2021), arXiv 2103.14030"
register("swin_t", partial(swin, 96, (2, 2, 6, 2), (3, 6, 12, 24), drop_path=0.2), 28_288_354, SOURCE)
register("swin_s", partial(swin, 96, (2, 2, 18, 2), (3, 6, 12, 24), drop_path=0.3), 49_606_258, SOURCE)
register("swin_b", partial(swin, 128, (2, 2, 18, 2), (4, 8, 16, 32), drop_path=0.5), 87_768_224, SOURCE)
