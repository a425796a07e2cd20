"""Dense layers and their like: a struct and a call."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from .._activations import identity
from .._init import glorot_uniform, zeros
from .._outputsize import sized
from .._treelike import treelike

__all__ = ["Dense"]

Activation = Callable[[Tensor], Tensor]
Init = Callable[..., Tensor]


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

    weight: Tensor
    bias: Tensor | None
    activation: Activation

    def __init__(
        self, nin: int, nout: int, activation: Activation = identity, *, bias: bool = True, init: Init = glorot_uniform
    ) -> None:
        self.weight = init(nout, nin)
        self.bias = zeros(nout) if bias else None
        self.activation = activation

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return self.activation(F.linear(x, self.weight, self.bias))
