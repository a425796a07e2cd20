"""Activation functions whose result follows the type of the argument.

This is the rule of the paper's Listing 1, `leakyrelu(x, a = oftype(x/1, 0.01))`, for all of them:

| argument | result |
|---|---|
| `Tensor` of a floating dtype | the same dtype; float16 and bfloat16 too |
| `Tensor` of integers or booleans | `torch.get_default_dtype()` |
| Python number | Python `float`, computed in float64 |
| NumPy array or scalar | NumPy, the same floating dtype; integers and booleans give float64 |

Anything else, a list say, is a `TypeError`. The functions act element by element, on any shape; the four at
the end (`softmax`, `logsoftmax`, `logsumexp`, `glu`) act along one dimension, the last unless told otherwise.
Each hands a tensor straight to PyTorch, so it works under autograd, `torch.func` and `torch.compile`, and is
twice differentiable.

A NaN stays a NaN, and at infinity the value is the limit, with one exception: `swish`, `hardswish` and the
three of `gelu` compute -inf * 0 = NaN at -inf as Flux does (and `gelu` at +inf too), where a guard would cost a
second kernel and a second saved array. The first derivative is finite at every |x| below the square root of the
dtype's largest number.
"""

import math
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# fmt: off
__all__ = ["celu", "elu", "gelu", "gelu_sigmoid", "gelu_tanh", "glu", "hardsigmoid", "hardswish", "hardtanh",
    "identity", "leakyrelu", "lisht", "logcosh", "logsigmoid", "logsoftmax", "logsumexp", "mish", "relu", "relu6",
    "rrelu", "selu", "sigmoid", "softmax", "softplus", "softshrink", "softsign", "swish", "tanh", "tanhshrink", "trelu"]
# fmt: on

T = TypeVar("T", Tensor, np.ndarray, float)


def _like(f: Any, x: Any, *args: Any) -> Any:
    """`f(x / 1, *args)` for a tensor function `f`, the result in the type of `x` (see the module's table)."""
    if isinstance(x, Tensor):
        return f(x if x.is_floating_point() else x / 1, *args)
    if isinstance(x, np.ndarray | np.generic):
        return f(torch.as_tensor(np.true_divide(x, 1)), *args).numpy()[()]
    if isinstance(x, int | float):
        return f(torch.tensor(x, dtype=torch.float64), *args).item()
    raise TypeError(f"activations take a Tensor, an array or a number, not a {type(x).__name__}; use torch.as_tensor")


def identity(x: Any) -> Any:
    """The argument itself, whatever it is: no activation, or (as `agg`) no reduction.

    >>> identity(3)
    3
    """
    return x


def sigmoid(x: T) -> T:
    """1 / (1 + exp(-x)).

    >>> sigmoid(0)
    0.5
    """
    return _like(torch.sigmoid, x)


def hardsigmoid(x: T) -> T:
    """max(0, min(1, (x + 3) / 6)), the piecewise linear sigmoid.

    >>> hardsigmoid(1.5)
    0.75

    Howard et al., Searching for MobileNetV3, 2019, arXiv:1905.02244.
    """
    # Not F.hardsigmoid: PyTorch has no second derivative for it.
    return _like(lambda x: F.relu6(x + 3) / 6, x)


def logsigmoid(x: T) -> T:
    """log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|)), which neither underflows nor overflows.

    >>> logsigmoid(-1000)
    -1000.0
    """
    return _like(F.logsigmoid, x)


def hardtanh(x: T) -> T:
    """max(-1, min(1, x)).

    >>> hardtanh(torch.tensor([-2.0, 0.5]))
    tensor([-1.0000,  0.5000])

    Collobert, Large scale machine learning, PhD thesis, Paris 6, 2004.
    """
    return _like(F.hardtanh, x)


def relu(x: T) -> T:
    """max(0, x).

    >>> relu(torch.tensor([-1, 2]))
    tensor([0., 2.])

    Nair and Hinton, Rectified linear units improve restricted Boltzmann machines, ICML 2010.
    """
    return _like(torch.relu, x)


def leakyrelu(x: T, a: float = 0.01) -> T:
    """max(a x, x), for a slope a < 1.

    >>> leakyrelu(-1)
    -0.01

    Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic models, ICML 2013.
    """
    return _like(F.leaky_relu, x, a)


def relu6(x: T) -> T:
    """max(0, min(6, x)).

    >>> relu6(7)
    6.0

    Krizhevsky, Convolutional deep belief networks on CIFAR-10, 2010.
    """
    return _like(F.relu6, x)


def rrelu(x: T, lo: float = 1 / 8, hi: float = 1 / 3, training: bool = False) -> T:
    """max(a x, x), where a is (lo + hi) / 2, or while training one draw from U(lo, hi) per element.

    Flux's always draws. The draws come from PyTorch's global generator.

    >>> rrelu(-1, 0.25, 0.75)
    -0.5

    Xu et al., Empirical evaluation of rectified activations in convolutional network, 2015, arXiv:1505.00853.
    """
    # Not torch.rrelu: it has no rule for vmap.
    if not training:
        return leakyrelu(x, (lo + hi) / 2)
    return _like(lambda x: torch.where(x > 0, x, x * torch.empty_like(x).uniform_(lo, hi)), x)


def elu(x: T, alpha: float = 1.0) -> T:
    """x if x > 0, else alpha (exp(x) - 1).

    >>> elu(-1000, alpha=2)
    -2.0

    Clevert, Unterthiner and Hochreiter, Fast and accurate deep network learning by exponential linear units,
    2015, arXiv:1511.07289.
    """
    return _like(F.elu, x, alpha)


def gelu(x: T) -> T:
    """x Phi(x), with Phi the distribution function of the standard normal; the exact form, by erf.

    >>> gelu(1)
    0.8413447460685...

    Hendrycks and Gimpel, Gaussian error linear units, 2016, arXiv:1606.08415.
    """
    return _like(F.gelu, x)


def gelu_tanh(x: T) -> T:
    """x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), the usual approximation of `gelu`.

    >>> gelu_tanh(1)
    0.8411919906082...

    Hendrycks and Gimpel, 2016, arXiv:1606.08415.
    """
    return _like(lambda x: F.gelu(x, approximate="tanh"), x)


def gelu_sigmoid(x: T) -> T:
    """x sigmoid(1.702 x), the cheap approximation of `gelu`.

    >>> gelu_sigmoid(1)
    0.8457957659328...

    Hendrycks and Gimpel, 2016, arXiv:1606.08415 (Flux gives this name to `gelu_tanh` in another form).
    """
    return _like(lambda x: x * torch.sigmoid(1.702 * x), x)


def swish(x: T) -> T:
    """x sigmoid(x), also called SiLU.

    >>> swish(1)
    0.7310585786300...

    Ramachandran, Zoph and Le, Searching for activation functions, 2017, arXiv:1710.05941.
    """
    return _like(F.silu, x)


def hardswish(x: T) -> T:
    """x hardsigmoid(x).

    >>> hardswish(3)
    3.0

    Howard et al., Searching for MobileNetV3, 2019, arXiv:1905.02244.
    """
    return _like(F.hardswish, x)


def selu(x: T) -> T:
    """lambda (x if x > 0, else alpha (exp(x) - 1)), lambda = 1.0507..., alpha = 1.6732...

    >>> selu(1)
    1.0507009873554...

    Klambauer et al., Self-normalizing neural networks, 2017, arXiv:1706.02515.
    """
    return _like(torch.selu, x)


def celu(x: T, alpha: float = 1.0) -> T:
    """x if x > 0, else alpha (exp(x / alpha) - 1): an `elu` with a continuous derivative for every alpha.

    >>> celu(-1000, alpha=2)
    -2.0

    Barron, Continuously differentiable exponential linear units, 2017, arXiv:1704.07483.
    """
    return _like(torch.celu, x, alpha)


def softplus(x: T) -> T:
    """log(1 + exp(x)).

    >>> softplus(0)
    0.6931471805599...

    Dugas et al., Incorporating second-order functional knowledge for better option pricing, NIPS 2000.
    """
    # PyTorch returns x above a threshold; its own, 20, is 2e-9 off in float64.
    return _like(F.softplus, x, 1, 40)


def softsign(x: T) -> T:
    """x / (1 + |x|).

    >>> softsign(-1)
    -0.5

    Turian, Bergstra and Bengio, Quadratic features and deep architectures for chunking, NAACL 2009.
    """
    return _like(lambda x: F.softsign(x.nan_to_num(math.nan)), x)  # finite, because inf / inf is NaN


def logcosh(x: T) -> T:
    """log(cosh(x)), which is x^2 / 2 near zero and |x| - log(2) far from it.

    >>> logcosh(-1000)
    999.30685281944...
    """
    return _like(_logcosh, x)


def _logcosh(x: Tensor) -> Tensor:
    # Far from zero sinh overflows; near it the other form cancels, and its second derivative is wrong at 0, where
    # PyTorch gives |x| the slope 0.
    near = torch.log1p(2 * torch.sinh(x.clamp(-1, 1) / 2).square())
    return torch.where(x.abs() < 1, near, x.abs() + F.softplus(-2 * x.abs(), 1, 40) - math.log(2))


def mish(x: T) -> T:
    """x tanh(softplus(x)).

    >>> mish(-5)
    -0.0335762377301...

    Misra, Mish: a self regularized non-monotonic activation function, 2019, arXiv:1908.08681.
    """
    # Not F.mish: its second derivative is NaN from x = 12 (float16) or 89 (float32) on. Below -800 mish is 0 in
    # every dtype, and -inf * 0 is NaN.
    return _like(lambda x: x.clamp(min=-800) * torch.tanh(F.softplus(x, 1, 40)), x)


def tanh(x: T) -> T:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)).

    >>> tanh(torch.tensor([0.0, 100.0]))
    tensor([0., 1.])
    """
    return _like(torch.tanh, x)


def tanhshrink(x: T) -> T:
    """x - tanh(x).

    >>> tanhshrink(-10)
    -9.0000000041223...
    """
    return _like(F.tanhshrink, x)


def softshrink(x: T, lam: float = 0.5) -> T:
    """x - lam above lam, x + lam below -lam, zero between.

    >>> softshrink(torch.tensor([-10.0, 0.2]))
    tensor([-9.5000,  0.0000])

    Donoho, De-noising by soft-thresholding, 1995, doi:10.1109/18.382009.
    """
    return _like(F.softshrink, x, lam)


def trelu(x: T, theta: float = 1.0) -> T:
    """x if x > theta, else zero.

    >>> trelu(torch.tensor([0.9, 1.1]))
    tensor([0.0000, 1.1000])

    Konda, Memisevic and Krueger, Zero-bias autoencoders and the benefits of co-adapting features, 2014,
    arXiv:1402.3337.
    """
    return _like(F.threshold, x, theta, 0)


def lisht(x: T) -> T:
    """x tanh(x).

    >>> lisht(-1000)
    1000.0

    Roy et al., LiSHT: non-parametric linearly scaled hyperbolic tangent activation function, 2019,
    arXiv:1901.05894.
    """
    return _like(lambda x: x * torch.tanh(x), x)


def softmax(x: T, dim: int = -1) -> T:
    """exp(x) / sum(exp(x)), the sum along `dim`; not affected by a constant added to x.

    >>> softmax(torch.tensor([[0.0, 0.0], [1000.0, 0.0]]))
    tensor([[0.5000, 0.5000],
            [1.0000, 0.0000]])
    """
    return _like(torch.softmax, x, dim)


def logsoftmax(x: T, dim: int = -1) -> T:
    """log(softmax(x)) = x - logsumexp(x) along `dim`, which does not underflow.

    >>> logsoftmax(torch.tensor([0.0, -1000.0]))
    tensor([    0., -1000.])
    """
    return _like(torch.log_softmax, x, dim)


def logsumexp(x: T, dim: int = -1, keepdim: bool = False) -> T:
    """log(sum(exp(x))) along `dim`, which is dropped unless `keepdim` (Flux keeps it).

    >>> logsumexp(torch.tensor([1000.0, 0.0]))
    tensor(1000.)
    """
    return _like(torch.logsumexp, x, dim, keepdim)


def glu(x: T, dim: int = -1) -> T:
    """a sigmoid(b), where a and b are the two halves of x along `dim`, whose size must be even.

    >>> glu(torch.tensor([2.0, 4.0, 0.0, 0.0]))
    tensor([1., 2.])

    Dauphin et al., Language modeling with gated convolutional networks, 2016, arXiv:1612.08083.
    """
    return _like(F.glu, x, dim)
