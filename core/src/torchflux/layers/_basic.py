"""Dense layers, tables of vectors, and what only moves numbers around: a struct and a call."""

from collections.abc import Callable, Sequence
from inspect import Signature, signature
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._activations import identity
from .._init import glorot_uniform, ones, randn, zeros
from .._outputsize import sized
from .._treelike import treelike

__all__ = ["Bilinear", "Dense", "Embedding", "EmbeddingBag", "PixelShuffle", "Scale", "Upsample", "flatten"]

Activation = Callable[[Tensor], Tensor]
Init = Callable[..., Tensor]
Size = int | tuple[int, ...]  # one for all dimensions, or one for each


def options_of(*functions: Any) -> Callable[[Any], Any]:
    """Shows in the signature of a function the keywords of those that its `**options` go to."""

    def wrap(f: Any) -> Any:
        keywords = [p for g in functions for p in signature(g).parameters.values() if p.kind is p.KEYWORD_ONLY]
        shown = {p.name: p for p in (*keywords, *signature(f).parameters.values()) if p.kind is not p.VAR_KEYWORD}
        f.__signature__ = Signature(sorted(shown.values(), key=lambda p: p.kind))
        return f

    return wrap


def layer(axis: int, **options: Any) -> Callable[[Any], Any]:
    """`@treelike`, of a class that reads a size given as `...` off its input's dimension `axis`."""
    return lambda cls: sized(axis)(treelike(cls, **options))


class Affine:
    """What layers with a weight, of shape (nout, *nin), a bias and an activation have in common."""

    def __init__(
        self, nin: Size, nout: int, activation: Activation = identity, *, bias: bool = True, init: Init = glorot_uniform
    ) -> None:
        self.weight = init(nout, *(nin if isinstance(nin, tuple | list) else (nin,)))
        self.bias, self.activation = zeros(nout) if bias else None, activation


@layer(axis=-1)
class Dense(Affine):
    """A fully connected layer: σ(x Wᵀ + b), over the last dimension.

    Arguments:
        nin: size of the input's last dimension; `...` leaves it to `autosize`.
        nout: size of the result's last dimension.
        activation: σ, any function of a tensor.
        init: makes the weight, of shape (nout, nin).

    x: (..., nin) → (..., nout)

    >>> import torch
    >>> from torchflux import relu
    >>> Dense(4, 2, relu)(torch.zeros(8, 4)).shape
    torch.Size([8, 2])
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return self.activation(F.linear(x, self.weight, self.bias))


@layer(axis=-1)
class Scale:
    """An element-wise affine map: σ(w ⊙ x + b).

    Arguments:
        size: the shape of weight and bias, one int for each of the last dimensions of the input; a callable in
            the last place is the activation.
        init: makes the weight, of shape `size`.

    x: (..., *size) → (..., *size)

    >>> import torch
    >>> Scale(3, torch.relu)(torch.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.], grad_fn=<ReluBackward0>)

    Source: Flux.jl's `Scale`.
    """

    def __init__(self, *size: int | Activation, bias: bool = True, init: Init = ones) -> None:
        shape, self.activation = sizes_and_activation(*size)
        self.weight, self.bias = init(*shape), zeros(*shape) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return self.activation(self.weight * x if self.bias is None else torch.addcmul(self.bias, self.weight, x))


def sizes_and_activation(*args: Any) -> tuple[tuple[int, ...], Activation]:
    """Parts `3, 4, relu` into `(3, 4)` and `relu`."""
    return (args[:-1], args[-1]) if callable(args[-1]) else (args, identity)


@treelike
class Bilinear(Affine):
    """A layer that is linear in each of two inputs: yₖ = σ(x₁ᵀ Wₖ x₂ + bₖ).

    Arguments:
        nin: (in1, in2), the sizes of the inputs' last dimensions.
        nout: size of the result's last dimension.
        init: makes the weight, of shape (nout, in1, in2).

    x1: (..., in1), x2: (..., in2) → (..., nout). One input stands for both.

    >>> import torch
    >>> layer = Bilinear((5, 6), 7)
    >>> layer(torch.zeros(2, 5), torch.zeros(2, 6)).shape
    torch.Size([2, 7])

    Source: Flux.jl's `Bilinear`; `torch.nn.Bilinear`.
    """

    def __call__(self, x1: Tensor, x2: Tensor | None = None) -> Tensor:
        """Applies the layer to two inputs, or to one in both places."""
        # Not F.bilinear, which vmap has no rule for, and whose gradient takes several times as long.
        y = (torch.einsum("...i,kij->...kj", x1, self.weight) * (x1 if x2 is None else x2).unsqueeze(-2)).sum(-1)
        return self.activation(y if self.bias is None else y + self.bias)


@treelike
class Embedding:
    """A table of vectors: row i for index i.

    Arguments:
        nin: number of indices, 0 to nin - 1.
        nout: size of the vectors.
        init: makes the table, of shape (nin, nout).
        padding_idx: an index whose vector is zero and gets no gradient.

    x: (...) of an integer dtype → (..., nout); or one-hot (bool or floating) (..., nin) → (..., nout), where a
    mixture gives the mixture of the rows.

    >>> import torch
    >>> Embedding(10, 4)(torch.tensor([[0, 3, 9]])).shape
    torch.Size([1, 3, 4])

    Source: Flux.jl's `Embedding`; Bengio et al. (2003), A neural probabilistic language model, JMLR 3.
    """

    def __init__(self, nin: int, nout: int, *, init: Init = randn, padding_idx: int | None = None) -> None:
        keep = torch.arange(nin).unsqueeze(1) != (-1 if padding_idx is None else padding_idx)
        self.weight, self.padding_idx = init(nin, nout) * keep, padding_idx

    def __call__(self, x: Tensor) -> Tensor:
        """Looks the indices up, or multiplies one-hot vectors with the table."""
        one_hot = x.is_floating_point() or x.dtype is torch.bool
        return x.to(self.weight.dtype) @ self.weight if one_hot else F.embedding(x, self.weight, self.padding_idx)


@treelike
class EmbeddingBag:
    """The mean, sum or maximum of the vectors of a bag of indices.

    Arguments:
        nin: number of indices, 0 to nin - 1.
        nout: size of the vectors.
        reduction: "mean", "sum" or "max".
        init: makes the table, of shape (nin, nout).

    x: (batch, n) of an integer dtype → (batch, nout); a list of `batch` tensors (n,), one for each bag →
    (batch, nout); (total,) with offsets (batch,), where each bag begins → (batch, nout). An empty bag gives
    zeros. The fused kernel has no second derivative, and `torch.func.vmap` runs it lane by lane.

    >>> import torch
    >>> bag = EmbeddingBag(10, 4, "sum", init=torch.ones)
    >>> bag([torch.tensor([1, 2, 3]), torch.tensor([7])])[:, 0].tolist()
    [3.0, 1.0]
    >>> bag(torch.tensor([1, 2, 3, 7]), torch.tensor([0, 3]))[:, 0].tolist()
    [3.0, 1.0]

    Source: Flux.jl's `EmbeddingBag`; `torch.nn.EmbeddingBag`.
    """

    def __init__(self, nin: int, nout: int, reduction: str = "mean", *, init: Init = randn) -> None:
        self.weight, self.reduction = init(nin, nout), reduction

    def __call__(self, x: Tensor | Sequence[Tensor], offsets: Tensor | None = None) -> Tensor:
        """Looks the indices of every bag up and reduces each bag to one vector."""
        if not isinstance(x, Tensor):
            x, offsets = torch.cat(tuple(x)), torch.tensor([0, *map(len, x)][:-1], device=self.weight.device).cumsum(0)
        return F.embedding_bag(x, self.weight, offsets, mode=self.reduction)


def flatten(x: Tensor) -> Tensor:
    """`x` with all dimensions but the first, the batch, made into one.

    x: (batch, ...) → (batch, n)

    >>> flatten(torch.zeros(2, 3, 4)).shape
    torch.Size([2, 12])
    """
    return torch.flatten(x, 1)


class Upsample(nn.Upsample):
    """Interpolates the spatial dimensions.

    Arguments:
        mode: "nearest", or for 1, 2, 3 spatial dimensions "linear", "bilinear" (or "bicubic"), "trilinear".
        scale: how many times larger, one number or one per dimension; or
        size: of the result, one number or one per dimension.
        align_corners: whether the corner pixels' centres, rather than their corners, stay in place. Off as in
            PyTorch; Flux has it on.

    x: (batch, channels, *spatial) → (batch, channels, *spatial')

    >>> import torch
    >>> Upsample("bilinear", scale=2)(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 3, 16, 16])

    Source: Flux.jl's `Upsample`; `torch.nn.Upsample`.
    """

    def __init__(self, mode: str = "nearest", scale: Any = None, size: Any = None, align_corners: Any = None) -> None:
        super().__init__(size, scale, mode, align_corners)


class PixelShuffle(nn.PixelShuffle):
    """Trades channels for pixels: each r × r block of the result comes from r² channels at one place.

    x: (batch, channels * r², height, width) → (batch, channels, r * height, r * width)

    >>> import torch
    >>> PixelShuffle(2)(torch.arange(4.0).reshape(1, 4, 1, 1))
    tensor([[[[0., 1.],
              [2., 3.]]]])

    Source: Shi et al. (2016), arXiv 1609.05158.
    """
