"""Dense layers and their like: a struct and a call."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._activations import identity
from .._init import glorot_uniform, ones, randn, zeros
from .._outputsize import sized
from .._treelike import treelike

__all__ = ["Bilinear", "Dense", "Embedding", "EmbeddingBag", "Scale", "flatten"]

Activation = Callable[[Tensor], Tensor]
Init = Callable[..., Tensor]
Pair = tuple[int, int]


@sized(axis=-1)
@treelike
class Dense:
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

    def __init__(
        self, nin: int, nout: int, activation: Activation = identity, *, bias: bool = True, init: Init = glorot_uniform
    ) -> None:
        self.weight = init(nout, nin)
        self.bias = zeros(nout) if bias else None
        self.activation = activation

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return self.activation(F.linear(x, self.weight, self.bias))


@sized(axis=-1)
@treelike
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
        shape, self.activation = sizes_and_activation("Scale", size)
        self.weight = init(*shape)
        self.bias = zeros(*shape) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return self.activation(self.weight * x if self.bias is None else torch.addcmul(self.bias, self.weight, x))


def sizes_and_activation(name: str, args: tuple[Any, ...]) -> tuple[tuple[int, ...], Activation]:
    """Parts `(3, 4, relu)` into `(3, 4)` and `relu`."""
    sizes, activation = (args[:-1], args[-1]) if args and callable(args[-1]) else (args, identity)
    if not sizes or not all(isinstance(n, int) for n in sizes):
        raise ValueError(f"{name} takes sizes and then, perhaps, an activation, as in {name}(3, 4, relu); got {args}")
    return sizes, activation


@treelike
class Bilinear:
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

    def __init__(
        self, nin: Pair, nout: int, activation: Activation = identity, *, bias: bool = True, init: Init = glorot_uniform
    ) -> None:
        self.weight = init(nout, *nin)
        self.bias = zeros(nout) if bias else None
        self.activation = activation

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
        padding_idx: the index whose row is zero and gets no gradient.

    x: (...) of an integer dtype → (..., nout); or one-hot (bool or floating) (..., nin) → (..., nout), where a
    mixture gives the mixture of the rows.

    >>> import torch
    >>> words = Embedding(10, 4, padding_idx=0)
    >>> words(torch.tensor([[0, 3, 9]])).shape
    torch.Size([1, 3, 4])
    >>> words(torch.tensor(0)).tolist()
    [0.0, 0.0, 0.0, 0.0]

    Source: Flux.jl's `Embedding`; Bengio et al. (2003), A neural probabilistic language model, JMLR 3.
    """

    def __init__(self, nin: int, nout: int, *, init: Init = randn, padding_idx: int | None = None) -> None:
        self.weight = init(nin, nout)
        self.padding_idx = padding_idx
        if padding_idx is not None:
            self.weight.data[padding_idx] = 0

    def __call__(self, x: Tensor) -> Tensor:
        """Looks the indices up, or multiplies one-hot vectors with the table."""
        if not (x.is_floating_point() or x.dtype is torch.bool):
            return F.embedding(x, self.weight, self.padding_idx)
        x = x.to(self.weight.dtype, copy=self.padding_idx is not None)
        if self.padding_idx is not None:
            x[..., self.padding_idx] = 0
        return x @ self.weight


@treelike
class EmbeddingBag:
    """The mean, sum or maximum of the vectors of a bag of indices.

    Arguments:
        nin: number of indices, 0 to nin - 1.
        nout: size of the vectors.
        reduction: "mean", "sum" or "max".
        init: makes the table, of shape (nin, nout).

    x: (batch, n) of an integer dtype → (batch, nout); (n,), one bag → (nout,); a list of `batch` bags, each a
    list or tensor of indices → (batch, nout); (total,) with offsets (batch,), where each bag begins →
    (batch, nout). An empty bag gives zeros. The fused kernel has no second derivative; inside `torch.func`
    transforms a (batch, n) is looked up and reduced without it.

    >>> import torch
    >>> bag = EmbeddingBag(10, 4, "sum", init=torch.ones)
    >>> bag([[1, 2, 3], [7]])[:, 0].tolist()
    [3.0, 1.0]
    >>> bag(torch.tensor([1, 2, 3, 7]), torch.tensor([0, 3]))[:, 0].tolist()
    [3.0, 1.0]

    Source: Flux.jl's `EmbeddingBag`; `torch.nn.EmbeddingBag`.
    """

    def __init__(self, nin: int, nout: int, reduction: str = "mean", *, init: Init = randn) -> None:
        if reduction not in _REDUCTIONS:
            raise ValueError(f"EmbeddingBag reduces by one of {', '.join(_REDUCTIONS)}; got {reduction!r}")
        self.weight = init(nin, nout)
        self.reduction = reduction

    def __call__(self, x: Tensor | Sequence[Any], offsets: Tensor | None = None) -> Tensor:
        """Looks the indices of every bag up and reduces each bag to one vector."""
        if not isinstance(x, Tensor):
            bags = [torch.as_tensor(bag, dtype=torch.long, device=self.weight.device) for bag in x]
            starts = torch.tensor([0, *map(len, bags)][:-1], device=self.weight.device)
            x, offsets = torch.cat(bags), starts.cumsum(0)
        elif offsets is None and torch._C._are_functorch_transforms_active():  # vmap has no rule for the kernel
            return _REDUCTIONS[self.reduction](F.embedding(x, self.weight), -2)
        elif offsets is None and x.ndim == 1:
            return F.embedding_bag(x[None], self.weight, mode=self.reduction)[0]
        return F.embedding_bag(x, self.weight, offsets, mode=self.reduction)


_REDUCTIONS: dict[str, Callable[[Tensor, int], Tensor]] = {"mean": torch.mean, "sum": torch.sum, "max": torch.amax}


def flatten(x: Tensor) -> Tensor:
    """`x` with all dimensions but the first, the batch, made into one.

    x: (batch, ...) → (batch, n)

    >>> flatten(torch.zeros(2, 3, 4)).shape
    torch.Size([2, 12])
    """
    return torch.flatten(x, 1)
