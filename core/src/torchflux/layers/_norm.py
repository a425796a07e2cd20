"""Dropout, and normalisation over a batch, a sample, a group or an instance.

Whether a layer trains is `nn.Module`'s own `training` (`model.train()`, `model.eval()`). Channels are
dimension 1.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._activations import identity
from .._init import ones, zeros
from .._treelike import treelike
from .._walk import rebuild
from ._basic import Activation, Size, layer, options_of, sizes_and_activation

__all__ = ["AlphaDropout", "BatchNorm", "Dropout", "GroupNorm", "InstanceNorm", "LayerNorm", "WeightNorm"]


class Dropout(nn.Dropout):
    """Sets each element to zero with probability `p` while training, and divides the others by 1 - p.

    Arguments:
        p: the probability.
        dims: the dimensions, one or several, along which elements are drawn one by one; along the others they share
            their fate: `dims=(0, 1)` drops whole channels of (batch, channels, *spatial). All, unless said otherwise.

    x: any shape → the same

    >>> import torch
    >>> x = torch.ones(2, 3, 4)
    >>> Dropout(0.5)(x).unique()
    tensor([0., 2.])
    >>> Dropout(0.5).eval()(x).unique()
    tensor([1.])
    >>> [row.unique().numel() for row in Dropout(0.5, dims=0)(x)]
    [1, 1]

    Source: Srivastava et al. (2014), JMLR 15, 1929-1958; Flux.jl's `Dropout`.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False, *, dims: Size | None = None) -> None:
        super().__init__(p, inplace)
        self.dims = (dims,) if isinstance(dims, int) else dims

    def forward(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        if self.dims is None:
            return super().forward(x)
        own = {range(x.ndim)[d] for d in self.dims}
        return x * super().forward(x.new_ones([n if d in own else 1 for d, n in enumerate(x.shape)]))


class AlphaDropout(nn.AlphaDropout):
    """Dropout for `selu` networks: keeps the mean 0 and variance 1 of its input.

    Sets elements to α' = -λα, where `selu` saturates, with probability `p` while training, and then scales and
    shifts everything.

    x: any shape → the same

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> y = AlphaDropout(0.5)(torch.randn(10_000))
    >>> abs(y.mean().item()) < 0.1 and abs(y.std().item() - 1) < 0.1
    True

    Source: Klambauer et al. (2017), arXiv 1706.02515.
    """


class _Norm:
    """What normalisations end with: σ(γ x̂ + β)."""

    def __init__(self, size: Any, activation: Activation = identity, *, affine: bool = True, eps: float = 1e-5) -> None:
        self.weight, self.bias = ones(*size) if affine else None, zeros(*size) if affine else None
        self.activation, self.eps = activation, eps


@layer(axis=-1)
class LayerNorm(_Norm):
    """Normalises the last dimensions of each sample to mean 0 and variance 1, then scales and shifts: σ(γ x̂ + β).

    Arguments:
        size: one int for each dimension that is normalised, the last ones of the input; a callable in the last
            place is the activation.
        affine: whether there are γ (`weight`) and β (`bias`), of shape `size`.
        eps: added to the variance.

    x: (..., *size) → (..., *size)

    >>> import torch
    >>> LayerNorm(3)(torch.tensor([[1.0, 2.0, 3.0]])).detach().round(decimals=3)
    tensor([[-1.2250,  0.0000,  1.2250]])

    Source: Ba, Kiros and Hinton (2016), arXiv 1607.06450.
    """

    def __init__(self, *size: int | Activation, affine: bool = True, eps: float = 1e-5) -> None:
        self.size, activation = sizes_and_activation(*size)
        _Norm.__init__(self, self.size, activation, affine=affine, eps=eps)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return self.activation(F.layer_norm(x, self.size, self.weight, self.bias, self.eps))


@layer(axis=1)
class GroupNorm(_Norm):
    """Normalises each group of channels of each sample to mean 0 and variance 1: σ(γ x̂ + β).

    Arguments:
        channels: of the input; `...` leaves it to `autosize`.
        groups: into how many the channels are divided.
        affine: whether there are γ (`weight`) and β (`bias`), of shape (channels,).
        eps: added to the variance.

    x: (batch, channels, *spatial) → the same

    >>> import torch
    >>> GroupNorm(6, 3)(torch.randn(2, 6, 4, 4)).shape
    torch.Size([2, 6, 4, 4])

    Source: Wu and He (2018), arXiv 1803.08494.
    """

    @options_of(_Norm.__init__)
    def __init__(self, channels: int, groups: int, activation: Activation = identity, **options: Any) -> None:
        self.channels, self.groups = channels, groups
        _Norm.__init__(self, (channels,), activation, **options)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        if x.ndim < 2 or x.shape[1] != self.channels:
            raise ValueError(f"this layer takes (batch, {self.channels}, ...), and was given {tuple(x.shape)}")
        return self.activation(F.group_norm(x, self.groups, self.weight, self.bias, self.eps))


@torch.library.custom_op("torchflux::write", mutates_args=("buffer",))
def _write(buffer: Tensor, value: Tensor) -> None:
    """buffer ← value, as an operation that `torch.func` transforms let through to the tensors themselves."""
    buffer.copy_(value)


@_write.register_vmap
def _write_lanes(info: Any, in_dims: Any, buffer: Tensor, value: Tensor) -> tuple[None, None]:
    """A buffer that all lanes share becomes the mean of what each lane alone would make of it."""
    lanes = value.movedim(in_dims[1], 0)
    _write(buffer, lanes.mean(0)) if in_dims[0] is None else _write(buffer.movedim(in_dims[0], 0), lanes)
    return None, None


TRAINABLE = ("weight", "bias", "activation")


class _Tracking(_Norm):
    """What normalisations with running statistics have in common; samples along `together` share theirs."""

    @options_of(_Norm.__init__)
    def __init__(self, channels: int, activation: Activation = identity, *, momentum: float = 0.1, **options: Any):
        _Norm.__init__(self, (channels,), activation, **options)
        self.running_mean, self.running_var, self.num_batches_tracked = zeros(channels), ones(channels), torch.tensor(0)
        self.momentum = momentum

    def __call__(self: Any, x: Tensor) -> Tensor:
        """Applies the layer; in training, moves the running statistics."""
        inside = self.training and torch._C._are_functorch_transforms_active()
        mean, var = (None, None) if inside else (self.running_mean, self.running_var)
        y = self.normalise(x, mean, var, self.weight, self.bias, self.training, self.momentum, self.eps)
        if inside:
            self._move(x)
        elif self.training:
            self.num_batches_tracked.add_(1)
        return self.activation(y.to(x.dtype))  # under vmap, half precision comes out as float32

    def _move(self: Any, x: Tensor) -> None:
        """Moves the running statistics inside of `torch.func` transforms."""
        dims = (*self.together, *range(2, x.ndim))
        values = torch.var_mean(x.detach().to(self.running_var.dtype), dims, keepdim=True)
        for buffer, value in zip((self.running_var, self.running_mean), values, strict=True):
            _write(buffer, buffer.lerp(value.mean(0).reshape(buffer.shape), self.momentum))
        _write(self.num_batches_tracked, self.num_batches_tracked + 1)


@layer(axis=1, trainable=TRAINABLE)
class BatchNorm(_Tracking):
    """Normalises each channel over the batch to mean 0 and variance 1, then scales and shifts: σ(γ x̂ + β).

    In training, mean and variance are the batch's own, and the running statistics move towards them:
    running ← (1 - momentum) running + momentum batch's, the variance without bias. Outside of training the
    running statistics are used. It trains inside `torch.func` transforms too. There, in a `vmap` whose lanes
    share the layer (one sample each, say), each lane normalises by itself, and the running statistics become
    the mean of what each lane alone would make of them; with stacked buffers (an ensemble) each lane keeps
    its own.

    Arguments:
        channels: of the input; `...` leaves it to `autosize`.
        activation: σ, any function of a tensor.
        affine: whether there are γ (`weight`) and β (`bias`), of shape (channels,).
        eps: added to the variance.
        momentum: the share of the batch in the running statistics.

    x: (batch, channels, *spatial) → the same. Half-precision input goes with float32 parameters.

    Raises:
        ValueError: another number of channels, or, in training, only one value per channel.

    >>> import torch
    >>> layer = BatchNorm(3)
    >>> y = layer(torch.randn(8, 3, 4, 4) + 5)
    >>> bool(y.mean().abs() < 1e-5), layer.num_batches_tracked
    (True, tensor(1))

    Source: Ioffe and Szegedy (2015), arXiv 1502.03167.
    """

    normalise, together = staticmethod(F.batch_norm), (0,)


@layer(axis=1, trainable=TRAINABLE)
class TrackedInstanceNorm(_Tracking):
    """An `InstanceNorm` with running statistics."""

    normalise, together = staticmethod(F.instance_norm), ()


@options_of(BatchNorm)
def InstanceNorm(
    channels: int, activation: Activation = identity, *, affine: bool = False, track_stats: bool = False, **options: Any
) -> Any:
    """Normalises each channel of each sample over space to mean 0 and variance 1: σ(γ x̂ + β).

    A `GroupNorm` of single channels, but for the running statistics.

    Arguments:
        channels: of the input; `...` leaves it to `autosize`.
        activation: σ, any function of a tensor.
        affine: whether there are γ (`weight`) and β (`bias`); there aren't, unless asked for.
        track_stats: whether, in training, running statistics move towards the mean over the samples of each sample's
            mean and variance (as in `BatchNorm`), to be used outside of training.
        eps: added to the variance.
        momentum: the share of the batch in the running statistics; only with `track_stats`.

    x: (batch, channels, *spatial) → the same

    >>> import torch
    >>> InstanceNorm(3)(torch.randn(2, 3, 8, 8)).shape
    torch.Size([2, 3, 8, 8])

    Source: Ulyanov, Vedaldi and Lempitsky (2016), arXiv 1607.08022.
    """
    if track_stats:
        return TrackedInstanceNorm(channels, activation, affine=affine, **options)
    return GroupNorm(channels, channels, activation, affine=affine, **options)


@treelike
class WeightNorm:
    """A layer with one of its parameters as w = g v / ‖v‖: length and direction train separately.

    Arguments:
        layer: any module; it is copied, and the copy loses the parameter.
        which: the parameter's name.
        dim: the dimension along which there is one length for each index.

    Calls like the layer.

    >>> import torch
    >>> from torchflux.layers import Dense
    >>> layer = WeightNorm(Dense(3, 2))
    >>> [(name, tuple(p.shape)) for name, p in layer.named_parameters()]
    [('g', (2, 1)), ('v', (2, 3)), ('layer.bias', (2,))]

    Source: Salimans and Kingma (2016), arXiv 1602.07868.
    """

    def __init__(self, layer: nn.Module, which: str = "weight", dim: int = 0) -> None:
        weight = getattr(layer, which).detach()
        self.which, self.others = which, tuple(d for d in range(weight.ndim) if d != dim % weight.ndim)
        self.g, self.v = torch.linalg.vector_norm(weight, dim=self.others, keepdim=True), weight.clone()
        self.layer = rebuild(layer, {which: None})

    def __call__(self, *inputs: Any) -> Any:
        """Applies a copy of the layer that has the weight g v / ‖v‖."""
        # Not torch._weight_norm, whose second derivative is wrong, and which vmap has no rule for.
        weight = self.v * (self.g / torch.linalg.vector_norm(self.v, dim=self.others, keepdim=True))
        return rebuild(self.layer, {self.which: weight})(*inputs)  # functional_call would write into the layer
