"""Dropout, and normalisation over a batch, a sample, a group or an instance.

Whether a layer trains is `nn.Module`'s own `training` (`model.train()`, `model.eval()`). Channels are
dimension 1.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from .._activations import identity
from .._init import ones, zeros
from .._outputsize import sized
from .._treelike import treelike
from .._walk import fmap, rebuild
from ._basic import Activation, sizes_and_activation

# fmt: off
__all__ = [
    "AlphaDropout", "BatchNorm", "Dropout", "GroupNorm", "InstanceNorm", "LayerNorm", "WeightNorm",
    "remove_weight_norms",
]
# fmt: on


@dataclass(eq=False, repr=False)
class _Dropout:
    """What both kinds of dropout have in common."""

    p: float
    dims: int | tuple[int, ...] | None = None
    active: bool | None = None
    generator: torch.Generator | None = None
    training: ClassVar[bool]  # nn.Module's

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"{type(self).__name__} takes a probability, 0 <= p <= 1; got {self.p}")

    def on(self) -> bool:
        """Whether anything is dropped."""
        return self.training if self.active is None else self.active

    def kept(self, x: Tensor) -> Tensor:
        """A mask that is True with probability 1 - p, drawn along `dims` and shared along the others."""
        dims = (self.dims,) if isinstance(self.dims, int) else range(x.ndim) if self.dims is None else self.dims
        varies = {d % x.ndim for d in dims}
        shape = [n if d in varies else 1 for d, n in enumerate(x.shape)]
        return torch.rand(shape, device=x.device, generator=self.generator) >= self.p


@treelike
class Dropout(_Dropout):
    """Sets each element to zero with probability `p` while training, and divides the others by 1 - p.

    Arguments:
        p: the probability, from 0 to 1.
        dims: the dimensions along which the mask varies, all unless said otherwise; it is shared along the
            others. `dims=(0, 1)` drops whole channels of each sample.
        active: whether it drops; while training, unless said otherwise.
        generator: what the mask is drawn from (not under `torch.compile`); PyTorch's own, unless given.

    x: any shape → the same

    >>> import torch
    >>> x = torch.ones(2, 3, 4)
    >>> Dropout(0.5).eval()(x) is x
    True
    >>> mask = Dropout(0.5, dims=(0, 1), generator=torch.Generator().manual_seed(0))(x)
    >>> mask[..., 0].tolist(), bool((mask == mask[..., :1]).all())
    ([[0.0, 2.0, 0.0], [0.0, 0.0, 2.0]], True)

    Source: Srivastava et al. (2014), JMLR 15, 1929-1958.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        if not self.on():
            return x
        if self.dims is None and self.generator is None:
            return F.dropout(x, self.p)
        return x * (self.kept(x).to(x.dtype) * (1 / (1 - self.p) if self.p < 1 else 0.0))


@treelike
class AlphaDropout(_Dropout):
    """Dropout for `selu` networks: keeps the mean 0 and variance 1 of its input.

    Sets elements to α' = -λα, where `selu` saturates, and then scales and shifts everything. Arguments are
    those of `Dropout`.

    x: any shape → the same

    >>> import torch
    >>> y = AlphaDropout(0.5, generator=torch.Generator().manual_seed(0))(torch.randn(10_000))
    >>> abs(y.mean().item()) < 0.1 and abs(y.std().item() - 1) < 0.1
    True

    Source: Klambauer et al. (2017), arXiv 1706.02515.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        if not self.on():
            return x
        scale = ((1 - self.p) * (1 + self.p * _SATURATED**2)) ** -0.5 if self.p < 1 else 0.0
        return torch.where(self.kept(x), x, _SATURATED) * scale - scale * _SATURATED * self.p


_SATURATED = -1.7580993408473766  # selu(-∞) = -λα


def _affine(shape: tuple[int, ...], affine: bool) -> tuple[Tensor | None, Tensor | None]:
    return (ones(*shape), zeros(*shape)) if affine else (None, None)


@sized(axis=-1)
@treelike
class LayerNorm:
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
        self.size, activation = sizes_and_activation("LayerNorm", size)
        self.weight, self.bias = _affine(self.size, affine)
        self.activation, self.eps = activation, eps

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return self.activation(F.layer_norm(x, self.size, self.weight, self.bias, self.eps))


@sized(axis=1)
@treelike
class GroupNorm:
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

    def __init__(
        self, channels: int, groups: int, activation: Activation = identity, *, affine: bool = True, eps: float = 1e-5
    ) -> None:
        if channels % groups:
            raise ValueError(f"GroupNorm divides the channels into equal groups; {groups=} and {channels=}")
        self.weight, self.bias = _affine((channels,), affine)
        self.activation, self.groups, self.eps = activation, groups, eps

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return self.activation(F.group_norm(x, self.groups, self.weight, self.bias, self.eps))


@dataclass(repr=False, eq=False)
class _RunningNorm:
    """Normalisation of each channel, with running statistics for use outside of training."""

    channels: int
    activation: Activation = field(default_factory=lambda: identity)  # a default here would hide a module
    _: KW_ONLY
    affine: bool = True
    track_stats: bool = True
    eps: float = 1e-5
    momentum: float = 0.1
    training: ClassVar[bool]  # nn.Module's
    normalise: ClassVar[Callable[..., Tensor]]
    pooled: ClassVar[tuple[int, ...]]  # the dimensions that statistics are of, besides the spatial ones

    def __post_init__(self) -> None:
        self.weight, self.bias = _affine((self.channels,), self.affine)
        self.running_mean = zeros(self.channels) if self.track_stats else None
        self.running_var = ones(self.channels) if self.track_stats else None
        self.num_batches_tracked: Any = torch.tensor(0) if self.track_stats else None

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer; in training, moves the running statistics."""
        if x.ndim < 2 or x.shape[1] != self.channels:
            shape, given = f"(batch, {self.channels}, ...)", tuple(x.shape)
            raise ValueError(f"this {type(self).__name__} takes {shape}, and was given {given}")
        moves = self.training and self.track_stats
        inside = moves and torch._C._are_functorch_transforms_active()
        mean, var = (None, None) if inside else (self.running_mean, self.running_var)
        own = self.training or not self.track_stats
        y = self.normalise(x, mean, var, self.weight, self.bias, own, self.momentum, self.eps)
        if inside:
            dims = (*self.pooled, *range(2, x.ndim))
            _move((self.running_mean, self.running_var), self.num_batches_tracked, x, dims, self.momentum)
        elif moves:
            self.num_batches_tracked.add_(1)
        return self.activation(y.to(x.dtype))  # under vmap, half precision comes out as float32


class _Write(Function):
    """buffer ← value, as an operation that `torch.func` transforms let through to the tensors themselves.

    A buffer that all lanes of a `vmap` share becomes the mean of what each lane alone would make of it; one
    that each lane has its own of is written lane by lane.
    """

    @staticmethod
    def forward(buffer: Tensor, value: Tensor) -> Tensor:
        return buffer.copy_(value).new_empty(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], buffer: Tensor, value: Tensor) -> tuple[Tensor, None]:
        lanes = value if in_dims[1] is None else value.movedim(in_dims[1], 0)
        if in_dims[0] is None:
            return _Write.apply(buffer, lanes.mean(0)), None
        return _Write.apply(buffer.movedim(in_dims[0], 0), lanes), None


@torch.compiler.allow_in_graph  # Dynamo must not look inside: see _adjoint.py
def _move(running: tuple[Tensor, Tensor], count: Tensor, x: Tensor, dims: tuple[int, ...], momentum: float) -> None:
    """Moves the running mean and variance inside of `torch.func` transforms."""
    var, mean = torch.var_mean(x.detach().to(running[0].dtype), dims)
    for buffer, value in zip(running, (mean, var), strict=True):
        _Write.apply(buffer, buffer.lerp(value.reshape(-1, x.shape[1]).mean(0), momentum))
    _Write.apply(count, count + 1)


@sized(axis=1)
@treelike(trainable=("weight", "bias", "activation"))
class BatchNorm(_RunningNorm):
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
        track_stats: whether there are running statistics; without, the batch's own are always used.
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

    normalise = staticmethod(F.batch_norm)
    pooled = (0,)


@sized(axis=1)
@treelike(trainable=("weight", "bias", "activation"))
class InstanceNorm(_RunningNorm):
    """Normalises each channel of each sample over space to mean 0 and variance 1: σ(γ x̂ + β).

    Arguments are those of `BatchNorm`, of which `affine` and `track_stats` are off, unless said otherwise.

    x: (batch, channels, *spatial) → the same

    >>> import torch
    >>> InstanceNorm(3)(torch.randn(2, 3, 8, 8)).shape
    torch.Size([2, 3, 8, 8])

    Source: Ulyanov, Vedaldi and Lempitsky (2016), arXiv 1607.08022.
    """

    affine: bool = False
    track_stats: bool = False
    normalise = staticmethod(F.instance_norm)
    pooled = ()


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
        weight = layer._parameters.get(which)
        if weight is None:
            raise ValueError(f"{type(layer).__name__} has no parameter {which!r}; it has {[*layer._parameters]}")
        self.which, self.others = which, tuple(d for d in range(weight.ndim) if d != dim % weight.ndim)
        self.g = torch.linalg.vector_norm(weight.detach(), dim=self.others, keepdim=True)
        self.v = weight.detach().clone()
        self.layer = rebuild(layer, {})
        self.layer._parameters[which] = None

    def weight(self) -> Tensor:
        """g v / ‖v‖."""
        # Not torch._weight_norm, whose second derivative is wrong, and which vmap has no rule for.
        return self.v * (self.g / torch.linalg.vector_norm(self.v, dim=self.others, keepdim=True))

    def __call__(self, *inputs: Any) -> Any:
        """Applies a copy of the layer that has the weight."""
        layer = self.layer
        twin = object.__new__(type(layer))
        twin.__dict__.update(layer.__dict__, _parameters={**layer._parameters, self.which: self.weight()})
        return twin(*inputs)

    def plain(self) -> nn.Module:
        """The layer, with the weight as a parameter."""
        layer = rebuild(self.layer, {})
        layer._parameters[self.which] = nn.Parameter(self.weight().detach())
        return layer


def remove_weight_norms(model: Any) -> Any:
    """A copy of a model with every `WeightNorm` replaced by the layer that it stands for.

    >>> import torch
    >>> from torchflux.layers import Dense
    >>> list(remove_weight_norms(WeightNorm(Dense(3, 2))).state_dict())
    ['weight', 'bias']
    """
    return fmap(WeightNorm.plain, model, leaf=lambda part: isinstance(part, WeightNorm))
