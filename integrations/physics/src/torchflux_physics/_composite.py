"""Functions of many elements or of two arguments, by their pushforwards or by the operations that they consist of."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._elementwise import forms, in_place
from ._jet import RULES, Jet, chained, pushed, value_of
from ._linear import mapped, where, whole

__all__: list[str] = []

LARGEST_WHOLE = 64


def power(x: Any, exponent: Any) -> Any:
    """x ** n by its slope n x ** (n - 1), which ends for whole n; c ** x; x ** y."""
    if not isinstance(exponent, Jet):
        if not isinstance(exponent, Tensor) and exponent in (0, 1):
            return torch.ones_like(x.value) if exponent == 0 else mapped(Tensor.clone, x)
        return chained(x.value**exponent, x, lambda x, _: exponent * x ** (exponent - 1))
    if not isinstance(x, Jet):
        log = torch.as_tensor(x, dtype=exponent.dtype, device=exponent.device).log()
        return chained(x**exponent.value, exponent, lambda _, y: y * log)
    return pushed(
        x.value**exponent.value,
        [x, exponent],
        lambda y, moved: _total((exponent * x ** (exponent - 1), moved[0]), (y * torch.log(x), moved[1])),
    )


def _total(*terms: tuple[Any, Any]) -> Any:
    """The sum of slope times tangent over the arguments that move."""
    products = [slope * tangent for slope, tangent in terms if tangent is not None]
    return products[0] if len(products) == 1 else products[0] + products[1]


def atan2(a: Any, b: Any) -> Any:
    square = a * a + b * b
    push = lambda _, moved: _total((b / square, moved[0]), (-a / square, moved[1]))
    return pushed(torch.atan2(value_of(a), value_of(b)), [a, b], push)


def hypot(a: Any, b: Any) -> Any:
    return torch.sqrt(a * a + b * b)


def softmax(x: Any, dim: int, *_: Any, **__: Any) -> Jet:
    push = lambda y, moved: y * (moved[0] - (y * moved[0]).sum(dim, keepdim=True))
    return pushed(torch.softmax(x.value, dim), [whole(x)], push)


def log_softmax(x: Any, dim: int, *_: Any, **__: Any) -> Jet:
    push = lambda y, moved: moved[0] - (torch.exp(y) * moved[0]).sum(dim, keepdim=True)
    return pushed(torch.log_softmax(x.value, dim), [whole(x)], push)


def logsumexp(x: Jet, dim: Any, keepdim: bool = False) -> Jet:
    weights = lambda y: torch.exp(x - (y if keepdim else y.unsqueeze(dim)))
    push = lambda y, moved: (weights(y) * moved[0]).sum(dim, keepdim=keepdim)
    return pushed(torch.logsumexp(x.value, dim, keepdim), [whole(x)], push)


def softmin(x: Jet, dim: int, *_: Any, **__: Any) -> Jet:
    return softmax(-x, dim)


def glu(x: Jet, dim: int = -1) -> Any:
    a, b = x.chunk(2, dim)
    return a * torch.sigmoid(b)


def log_cosh_like(x: Jet) -> Any:
    return x - torch.tanh(x)


def variance(x: Jet, dim: Any = None, *, correction: int = 1, keepdim: bool = False, unbiased: bool = True) -> Any:
    """Of the elements along `dim` (all of them, where it is None)."""
    dims = tuple(range(x.dim())) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    count = 1
    for d in dims:
        count *= x.shape[d]
    off = x - x.mean(dims, keepdim=True)
    return (off * off).sum(dims, keepdim=keepdim) / (count - (correction if unbiased else 0))


def deviation(x: Jet, *args: Any, **kwargs: Any) -> Any:
    return torch.sqrt(variance(x, *args, **kwargs))


def vector_norm(x: Jet, ord: Any = 2, dim: Any = None, keepdim: bool = False, *_: Any, **__: Any) -> Any:
    if ord not in (2, 2.0, None, "fro"):
        raise TypeError(f"a norm of order {ord} isn't known to jets; the Euclidean one is")
    dims = tuple(range(x.dim())) if dim is None else dim
    return torch.sqrt((x * x).sum(dims, keepdim=keepdim))


def normalize(x: Jet, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Any:
    norm = vector_norm(x, p, dim, keepdim=True)
    return x / where(norm.value > eps, norm, eps)


def layer_norm(x: Jet, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return _scaled(_normal(x, tuple(range(-len(shape), 0)), eps), weight, bias)


def group_norm(x: Jet, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    n, channels = x.shape[:2]
    grouped = x.reshape(n, groups, -1)
    return _scaled(_normal(grouped, (-1,), eps).reshape(x.shape), *_columns((weight, bias), channels, x.dim()))


def batch_norm(
    x: Jet,
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Any:
    if training or mean is None:
        raise TypeError(
            "batch normalisation in training mixes the points of a batch, so there is no derivative at one of them: "
            "use LayerNorm, or model.eval()."
        )
    mean, scale = _columns((mean, torch.rsqrt(var + eps)), x.shape[1], x.dim())
    return _scaled((x - mean) * scale, *_columns((weight, bias), x.shape[1], x.dim()))


def _normal(x: Any, dims: tuple[int, ...], eps: float) -> Any:
    off = x - x.mean(dims, keepdim=True)
    return off * torch.rsqrt((off * off).mean(dims, keepdim=True) + eps)


def _scaled(x: Any, weight: Any, bias: Any) -> Any:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _columns(xs: tuple[Any, ...], channels: int, dims: int) -> tuple[Any, ...]:
    """Numbers for each channel, laid along dimension 1."""
    return tuple(None if x is None else x.reshape(channels, *[1] * (dims - 2)) for x in xs)


def dropout(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """The value and its derivatives lose the same elements."""
    if not training or p == 0:
        return x
    multiply = lambda x: x * F.dropout(torch.ones_like(x.value), p)
    return in_place(multiply)(x) if inplace else multiply(x)


def attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: Any = None,
    enable_gqa: bool = False,
) -> Any:
    if enable_gqa:
        raise TypeError("grouped queries aren't known to jets; repeat the keys and values")
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        scores = where(attn_mask, scores, float("-inf")) if attn_mask.dtype == torch.bool else scores + attn_mask
    weights = torch.softmax(scores, -1)
    return (dropout(weights, dropout_p) if dropout_p else weights) @ value


def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    return where(mask, value, x)


def pad(x: Jet, amounts: Any, mode: str = "constant", value: Any = None) -> Any:
    """Padding moves like the rest, but for a constant, which doesn't move."""
    padded = mapped(lambda v: F.pad(v, amounts, mode), x)
    if not value:
        return padded
    return padded + F.pad(torch.zeros_like(x.value), amounts, mode, value)


def prelu(x: Jet, weight: Any) -> Any:
    weight = weight if weight.numel() == 1 or x.dim() == 1 else weight.reshape(-1, *[1] * (x.dim() - 2))
    return where(x > 0, x, x * weight)


COMPOSITE: dict[str, Callable[..., Any]] = {
    "pow": power, "__pow__": power, "float_power": power, "__rpow__": lambda x, base: power(base, x), "atan2": atan2,
    "arctan2": atan2, "hypot": hypot, "softmax": softmax, "log_softmax": log_softmax, "logsumexp": logsumexp,
    "softmin": softmin, "glu": glu, "tanhshrink": log_cosh_like, "var": variance, "std": deviation,
    "vector_norm": vector_norm, "norm": vector_norm, "normalize": normalize, "layer_norm": layer_norm,
    "group_norm": group_norm, "batch_norm": batch_norm, "dropout": dropout, "scaled_dot_product_attention": attention,
    "masked_fill": masked_fill, "pad": pad, "prelu": prelu,
}  # fmt: skip


def _register() -> None:
    for name, apply in COMPOSITE.items():
        for func in forms(name):
            RULES[func] = apply


_register()
