"""What the models are made of beyond the core's layers: a convolution with its norm, gates, residuals, patches."""

import itertools
import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchflux import BatchNorm, Chain, Conv, Dense, Dropout, Group, identity, sigmoid, treelike

from ._init import he_normal_out, uniform

__all__ = ["Block", "Branches", "Residual", "SqueezeExcite"]

Activation = Any
Init = Any

# Where it follows a convolution or a norm, whose result is nobody else's, relu works in place.
relu: Any = torch.relu_
globalmean: Any = partial(torch.mean, dim=(2, 3))
"""(batch, channels, height, width) → (batch, channels)."""


def conv(
    kernel: int | tuple[int, int],
    nin: int,
    nout: int,
    *activation: Activation,
    stride: int = 1,
    pad: int | tuple[int, int] | None = None,
    groups: int = 1,
    bias: bool = False,
    init: Init = he_normal_out,
) -> Conv:
    """A convolution of images; unless told otherwise it keeps their size, and has no bias since a norm follows."""
    sizes = (kernel, kernel) if isinstance(kernel, int) else kernel
    pads = pad if pad is not None else (sizes[0] // 2, sizes[1] // 2)
    return Conv(sizes, nin, nout, *activation, stride=stride, pad=pads, groups=groups, bias=bias, init=init)


def conv_norm(
    kernel: int | tuple[int, int],
    nin: int,
    nout: int,
    activation: Activation = relu,
    *,
    eps: float = 1e-5,
    momentum: float = 0.1,
    **options: Any,
) -> Chain:
    """A convolution, its batch norm and the activation."""
    norm = BatchNorm(nout, activation, eps=eps, momentum=momentum)
    return Chain(conv(kernel, nin, nout, **options), norm)


def uniform_bias(layer: Any) -> Any:
    """`layer` with PyTorch's default bias, U(±1 / √fan_in)."""
    bound = 1 / math.sqrt(layer.weight[0].numel())
    with torch.no_grad():
        layer.bias.uniform_(-bound, bound)
    return layer


def linear(nin: int, nout: int, *activation: Activation) -> Dense:
    """A fully connected layer that begins as PyTorch's do."""
    return uniform_bias(Dense(nin, nout, *activation, init=uniform))


def dense(init: Init) -> Any:
    """A maker of fully connected layers, `make(nin, nout)`, whose weights begin as `init` says, and biases as 0."""
    return partial(Dense, init=init)


def concat(*maps: Tensor) -> Tensor:
    """Maps side by side, along the channels."""
    return torch.cat(maps, 1)


def ceilpool(window: int, stride: int) -> Any:
    """Max pooling whose last window may stand over the edge."""
    return partial(torch.max_pool2d, kernel_size=window, stride=stride, ceil_mode=True)


def numbered(*layers: Any) -> Chain:
    """A chain that numbers its layers and leaves out those that are `None`, but not their number.

    The weights of the world count activations as layers; here a convolution has its activation inside.

    >>> numbered(torch.sin, None, torch.cos).keys()
    ('0', '2')
    """
    return Chain(**{str(i): layer for i, layer in enumerate(layers) if layer is not None})


class Branches(Group):
    """Chains side by side on one input, their results concatenated along the channels.

    The layers of a branch are called `name_1`, `name_2`, ...; one that is the only one with parameters just `name`.

    >>> Branches(a=(torch.sin, torch.cos), b=(torch.exp,))(torch.zeros(1, 2, 3, 3)).shape
    torch.Size([1, 4, 3, 3])

    Source: Szegedy et al. (2014), arXiv 1409.4842.
    """

    def __init__(self, **branches: tuple[Any, ...]) -> None:
        parts: dict[str, Any] = {}
        routes: list[list[Any]] = []
        for name, layers in branches.items():
            numbers = itertools.count(1)
            alone = sum(isinstance(layer, Group) for layer in layers) < 2
            names = [
                layer if not isinstance(layer, Group) else name if alone else f"{name}_{next(numbers)}"
                for layer in layers
            ]
            parts |= {key: layer for key, layer in zip(names, layers, strict=True) if isinstance(key, str)}
            routes.append(names)
        super().__init__(**parts)
        self._routes = routes

    def forward(self, x: Tensor) -> Tensor:
        """Applies all branches."""
        results = []
        for route in self._routes:
            y = x
            for layer in route:
                y = getattr(self, layer)(y) if isinstance(layer, str) else layer(y)
            results.append(y)
        return concat(*results)


class Block(Chain):
    """A chain that is one layer of the model that it is a part of, however it is sliced.

    >>> Block(torch.sin, torch.cos)(torch.zeros(2))
    tensor([1., 1.])
    """

    def forward(self, x: Any, *more: Any) -> Any:
        """Applies the layers."""
        return super().forward(x, *more)


class Residual(Chain):
    """A chain whose result is added to its input: x + f(x).

    >>> Residual(torch.sin)(torch.zeros(2))
    tensor([0., 0.])

    Source: He et al. (2015), arXiv 1512.03385.
    """

    def forward(self, x: Any, *more: Any) -> Any:
        """Applies the layers and adds the input."""
        return x + super().forward(x, *more)


def skip_if(same: bool, **parts: Any) -> Chain:
    """A residual where input and result have the same shape, a plain block elsewhere."""
    return (Residual if same else Block)(**parts)


def stochastic_depth(p: float) -> Any:
    """What ends a residual's chain: drops the whole branch of a sample with probability `p` while training.

    Source: Huang et al. (2016), arXiv 1603.09382.
    """
    return Dropout(p, dims=0) if p else identity


@treelike
class SqueezeExcite:
    """Scales each channel by a gate that sees all of them: x σ(W₂ δ(W₁ mean x)).

    Arguments:
        channels: of the input.
        squeezed: how many are left between the two maps.
        activation: δ.
        gate: σ.

    x: (batch, channels, height, width) → the same

    >>> SqueezeExcite(8, 2)(torch.zeros(1, 8, 4, 4)).shape
    torch.Size([1, 8, 4, 4])

    Source: Hu et al. (2017), arXiv 1709.01507.
    """

    def __init__(self, channels: int, squeezed: int, activation: Activation = relu, gate: Activation = sigmoid) -> None:
        self.fc1 = conv(1, channels, squeezed, activation, bias=True)
        self.fc2 = conv(1, squeezed, channels, gate, bias=True)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the gate."""
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)))


def channels_last(x: Tensor) -> Tensor:
    """(batch, channels, height, width) → (batch, height, width, channels)."""
    return x.permute(0, 2, 3, 1)


def channels_first(x: Tensor) -> Tensor:
    """(batch, height, width, channels) → (batch, channels, height, width)."""
    return x.permute(0, 3, 1, 2)


@treelike
class ChannelNorm:
    """A layer norm over the channels of each pixel.

    x: (batch, channels, height, width) → the same

    >>> ChannelNorm(8)(torch.zeros(1, 8, 4, 4)).shape
    torch.Size([1, 8, 4, 4])
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        self.weight, self.bias, self.eps = torch.ones(channels), torch.zeros(channels), eps

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the norm."""
        return channels_first(F.layer_norm(channels_last(x), self.weight.shape, self.weight, self.bias, self.eps))


def tokens(side: int, x: Tensor) -> Tensor:
    """The places of an image as a sequence: (batch, channels, side, side) → (batch, side², channels).

    No other shape is taken, for what comes behind has learned where each place lies.
    """
    if x.shape[2:] != (side, side):
        found = " × ".join(map(str, x.shape[2:]))
        raise ValueError(f"{found} patches, not {side} × {side}; make the model with the images' size as imsize")
    return x.flatten(2).mT


def scaled(n: float, divisor: int = 8) -> int:
    """`n` rounded to a multiple of `divisor`, at most a tenth below it (Sandler et al. 2018, the reference code)."""
    rounded = max(divisor, int(n + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * n else rounded
