"""Initialisers: functions from a shape to a fresh tensor.

Each has two forms. With a shape it returns the values; without, it returns an initialiser with the given
keywords filled in, so that a layer takes `init=glorot_uniform` or `init=kaiming_normal(gain=1.4)`:

>>> glorot_uniform(3, 4).shape
torch.Size([3, 4])
>>> heavy = glorot_uniform(gain=100.0)
>>> heavy(3, 4, dtype=torch.float64).dtype
torch.float64

All of them take `generator`, `dtype` and `device` too. With a generator nothing else is drawn from and no
global state moves; without one, PyTorch's global generator is used.

Shapes are PyTorch's, (out, in) for a dense layer and (out, in, *kernel) for a convolution: the reverse of
Flux's convolutions. The fans are in `nfan`.
"""

import math
from functools import partial, wraps
from typing import Any

import torch

# fmt: off
__all__ = ["glorot_normal", "glorot_uniform", "identity_init", "kaiming_normal", "kaiming_uniform", "lecun_normal",
    "nfan", "ones", "orthogonal", "rand", "randn", "sparse_init", "truncated_normal", "zeros"]
# fmt: on


def nfan(*shape: int) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight: for (out, in, *kernel), in * prod(kernel) and out * prod(kernel).

    A vector counts as an (n, 1) matrix, as in Flux.

    >>> nfan(20, 10), nfan(10, 2, 3, 3), nfan(5)
    ((10, 20), (18, 90), (1, 5))
    """
    fan_out, fan_in, *kernel = *shape, 1, 1
    return fan_in * math.prod(kernel), fan_out * math.prod(kernel)


def glorot_uniform(*shape: int, gain: float = 1.0, **options: Any) -> Any:
    """U(-b, b) with b = gain sqrt(6 / (fan_in + fan_out)), also called Xavier initialisation.

    >>> bool(glorot_uniform(20, 10).abs().max() <= (6 / 30) ** 0.5)
    True

    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS
    2010.
    """
    return gain * math.sqrt(6 / max(1, sum(nfan(*shape)))) * (2 * rand(*shape, **options) - 1)


def glorot_normal(*shape: int, gain: float = 1.0, **options: Any) -> Any:
    """N(0, s^2) with s = gain sqrt(2 / (fan_in + fan_out)).

    >>> round(glorot_normal(1000, 1000, generator=torch.Generator().manual_seed(0)).std().item(), 3)
    0.032

    Glorot and Bengio, 2010, as in `glorot_uniform`.
    """
    return gain * math.sqrt(2 / max(1, sum(nfan(*shape)))) * randn(*shape, **options)


def kaiming_uniform(*shape: int, gain: float = math.sqrt(2), **options: Any) -> Any:
    """U(-b, b) with b = gain sqrt(3 / fan_in), also called He initialisation; sqrt(2) is the gain for relu.

    >>> bool(kaiming_uniform(20, 10).abs().max() <= (6 / 10) ** 0.5)
    True

    He et al., Delving deep into rectifiers, 2015, arXiv:1502.01852.
    """
    return gain * math.sqrt(3 / max(1, nfan(*shape)[0])) * (2 * rand(*shape, **options) - 1)


def kaiming_normal(*shape: int, gain: float = math.sqrt(2), **options: Any) -> Any:
    """N(0, s^2) with s = gain / sqrt(fan_in).

    >>> round(kaiming_normal(1000, 1000, generator=torch.Generator().manual_seed(0)).std().item(), 3)
    0.045

    He et al., 2015, arXiv:1502.01852.
    """
    return gain / math.sqrt(max(1, nfan(*shape)[0])) * randn(*shape, **options)


def truncated_normal(*shape: int, mean: float = 0, std: float = 1, lo: float = -2, hi: float = 2, **kw: Any) -> Any:
    """N(mean, std^2) conditioned on lo <= x <= hi, so its own standard deviation is below `std`.

    >>> bool(truncated_normal(1000).abs().max() <= 2)
    True
    """
    if not (std > 0 and lo < hi):
        raise ValueError(f"truncated_normal needs std > 0 and lo < hi, given {std=}, {lo=}, {hi=}")
    return torch.nn.init.trunc_normal_(zeros(*shape, **kw), mean, std, lo, hi, kw.get("generator"))


def lecun_normal(*shape: int, gain: float = 1.0, **options: Any) -> Any:
    """A normal truncated at two standard deviations, with s = gain / sqrt(fan_in) *after* the truncation.

    This is Keras' and JAX's form. Flux truncates at -2 and 2 whatever the fan, in effect not at all; the
    standard deviation of the values is the same.

    >>> round(lecun_normal(1000, 1000, generator=torch.Generator().manual_seed(0)).std().item(), 3)
    0.032

    LeCun et al., Efficient BackProp, 1998, doi:10.1007/3-540-49430-8_2; Klambauer et al., 2017,
    arXiv:1706.02515.
    """
    # The number is the standard deviation of N(0, 1) truncated to [-2, 2], sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
    return gain / math.sqrt(max(1, nfan(*shape)[0])) / 0.8796256610342398 * truncated_normal(*shape, **options)


def orthogonal(*shape: int, gain: float = 1.0, **options: Any) -> Any:
    """gain Q, with Q uniform over the (out, in * prod(kernel)) matrices of orthonormal rows or columns.

    >>> w = orthogonal(3, 5)
    >>> torch.allclose(w @ w.T, torch.eye(3), atol=1e-6)
    True

    Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks, 2013, arXiv:1312.6120.
    """
    weight = zeros(*shape, **options)
    exact = weight.to(torch.promote_types(weight.dtype, torch.float32))  # there is no QR in half precision
    return torch.nn.init.orthogonal_(exact, gain, options.get("generator")).to(weight.dtype)


def sparse_init(*shape: int, sparsity: float, std: float = 0.01, **options: Any) -> Any:
    """N(0, std^2) with ceil(sparsity * out) entries of every column, chosen at random, set to zero.

    >>> (sparse_init(10, 3, sparsity=0.25) == 0).sum(0)
    tensor([3, 3, 3])

    Martens, Deep learning via Hessian-free optimization, ICML 2010.
    """
    if len(shape) != 2 or not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_init makes (out, in) matrices, 0 <= sparsity <= 1, given {shape}, {sparsity=}")
    # Not torch.nn.init.sparse_: it draws the places from the global generator.
    order = rand(*shape, **options | {"dtype": torch.float32}).argsort(0)
    return randn(*shape, **options).mul_(std).masked_fill_(order < math.ceil(sparsity * shape[0]), 0)


def identity_init(*shape: int, gain: float = 1.0, shift: int | tuple[int, ...] = 0, **options: Any) -> Any:
    """gain times the identity map of a layer: eye(out, in), for a convolution at the centre of the kernel.

    A vector (a bias) is zero. What does not fit, where `out` and `in` differ, is zero. An even kernel has its
    centre where `padding="same"` has it, at (k - 1) // 2. `shift` rolls the result along the first dimension,
    or one per dimension from the first on.

    >>> identity_init(2, 3, gain=5)
    tensor([[5., 0., 0.],
            [0., 5., 0.]])
    """
    weight = zeros(*shape, **options)
    if len(shape) > 1:
        torch.nn.init.eye_(weight[:, :, *((k - 1) // 2 for k in shape[2:])]).mul_(gain)
    return weight.roll(shift, 0) if isinstance(shift, int) else weight.roll(shift, tuple(range(len(shift))))


def zeros(*shape: int, generator: torch.Generator | None = None, **options: Any) -> Any:
    """All zeros; `generator` has no effect.

    >>> zeros(2)
    tensor([0., 0.])
    """
    return torch.zeros(shape, **options)


def ones(*shape: int, generator: torch.Generator | None = None, **options: Any) -> Any:
    """All ones; `generator` has no effect.

    >>> ones(2)
    tensor([1., 1.])
    """
    return torch.ones(shape, **options)


def rand(*shape: int, **options: Any) -> Any:
    """U(0, 1).

    >>> rand(2, 3).shape
    torch.Size([2, 3])
    """
    return torch.rand(shape, **options)


def randn(*shape: int, **options: Any) -> Any:
    """N(0, 1).

    >>> randn(2, 3).shape
    torch.Size([2, 3])
    """
    return torch.randn(shape, **options)


def _curried(init: Any) -> Any:
    @wraps(init)
    def initialiser(*shape: int, **options: Any) -> Any:
        return init(*shape, **options) if shape else partial(initialiser, **options)

    return initialiser


# Every initialiser above has two forms: see the module's docstring.
for name in set(__all__) - {"nfan"}:
    globals()[name] = _curried(globals()[name])
