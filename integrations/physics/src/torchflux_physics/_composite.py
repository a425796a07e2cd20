"""Functions of many elements or of two arguments, by their pushforwards or by the operations that they consist of."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._elementwise import forms, in_place, squared, warn_of_pieces
from ._jet import RULES, Jet, chained, pushed, value_of
from ._linear import mapped, where, whole
from ._multi_index import Index

__all__: list[str] = []

LARGEST_WHOLE = 64


def power(x: Any, exponent: Any) -> Any:
    """x ** n by its slope n x ** (n - 1), which ends for whole n; c ** x; x ** y."""
    if not isinstance(exponent, Jet):
        if not isinstance(exponent, Tensor) and exponent in (0, 1):
            return torch.ones_like(x.value) if exponent == 0 else mapped(Tensor.clone, x)
        return chained(x.value**exponent, x, lambda x, _: exponent * x ** _one_less(exponent))
    if not isinstance(x, Jet):
        log = torch.as_tensor(x, dtype=exponent.dtype, device=exponent.device).log()
        return chained(x**exponent.value, exponent, lambda _, y: y * log)
    return pushed(
        x.value**exponent.value,
        [x, exponent],
        lambda y, moved: _total((exponent * x ** (exponent - 1), moved[0]), (y * torch.log(x), moved[1])),
    )


def _one_less(exponent: Any) -> Any:
    """n - 1, where 0 remains: 0 x⁻¹ is nothing at x = 0 too."""
    return torch.where(exponent == 0, exponent, exponent - 1) if isinstance(exponent, Tensor) else exponent - 1


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


def softmax(x: Any, dim: int, *options: Any, **named: Any) -> Jet:
    x = _converted(x, options, named)
    push = lambda y, moved: y * (moved[0] - (y * moved[0]).sum(dim, keepdim=True))
    return pushed(torch.softmax(x.value, dim), [whole(x)], push)


def _converted(x: Any, options: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """An argument in the dtype that is among the options."""
    found = [each for each in (*options, *named.values()) if isinstance(each, torch.dtype)]
    return x.to(found[0]) if found else x


def log_softmax(x: Any, dim: int, *options: Any, **named: Any) -> Jet:
    x = _converted(x, options, named)
    push = lambda y, moved: moved[0] - (torch.exp(y) * moved[0]).sum(dim, keepdim=True)
    return pushed(torch.log_softmax(x.value, dim), [whole(x)], push)


def logsumexp(x: Jet, dim: Any, keepdim: bool = False) -> Any:
    if not keepdim:
        return logsumexp(x, dim, keepdim=True).squeeze(dim)
    push = lambda y, moved: (torch.exp(x - y) * moved[0]).sum(dim, keepdim=True)
    return pushed(torch.logsumexp(x.value, dim, keepdim), [whole(x)], push)


def softmin(x: Jet, dim: int, *options: Any, **named: Any) -> Jet:
    return softmax(-x, dim, *options, **named)


def glu(x: Jet, dim: int = -1) -> Any:
    a, b = x.chunk(2, dim)
    return a * torch.sigmoid(b)


def log_cosh_like(x: Jet) -> Any:
    return x - torch.tanh(x)


def variance(x: Jet, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None) -> Any:
    """Of the elements along `dim` (all of them, where it is None)."""
    if isinstance(dim, bool):  # var(x, unbiased)
        dim, unbiased = None, dim
    dims = tuple(range(x.dim())) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    count = 1
    for d in dims:
        count *= x.shape[d]
    off = x - x.mean(dims, keepdim=True)
    return squared(off).sum(dims, keepdim=keepdim) / (count - (int(unbiased) if correction is None else correction))


def deviation(x: Jet, *args: Any, **kwargs: Any) -> Any:
    return torch.sqrt(variance(x, *args, **kwargs))


def vector_norm(
    x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, out: None = None, dtype: Any = None
) -> Any:
    """(Σ |x|ᵖ) ** (1/p) of all elements along the dimensions."""
    x = x if dtype is None else x.to(dtype)
    dims = tuple(range(x.dim())) if dim is None else dim
    if ord == 2:
        return torch.sqrt(squared(x).sum(dims, keepdim=keepdim))
    if not isinstance(ord, int | float) or not 0 < ord < float("inf"):
        raise TypeError(f"a norm of order {ord} isn't known to jets; those of vectors with a positive order are")
    total = (torch.abs(x) ** ord).sum(dims, keepdim=keepdim)
    return total if ord == 1 else total ** (1 / ord)


def norm(x: Jet, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: None = None, dtype: Any = None) -> Any:
    """That of torch.norm, which sees a vector in every tensor."""
    return vector_norm(x, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


def linalg_norm(x: Jet, ord: Any = None, dim: Any = None, keepdim: bool = False, **others: Any) -> Any:
    """That of torch.linalg.norm, which sees a matrix in two dimensions, where an order is given."""
    pair = x.dim() == 2 if dim is None else not isinstance(dim, int) and len(dim) == 2
    if ord not in (None, "fro") and pair:
        raise TypeError(f"a matrix norm of order {ord} isn't known to jets; the Frobenius norm is")
    return vector_norm(x, 2 if ord in ("fro", None) else ord, dim, keepdim, **others)


def matrix_norm(x: Jet, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, **others: Any) -> Any:
    return linalg_norm(x, ord, dim, keepdim, **others)


def normalize(x: Jet, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Any:
    norm = vector_norm(x, p, dim, keepdim=True)
    return x / where(norm.value > eps, norm, eps)


def layer_norm(x: Jet, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return _scaled(_normal(x, tuple(range(-len(shape), 0)), eps), weight, bias)


def group_norm(x: Jet, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    n, channels = x.shape[:2]
    grouped = x.reshape(n, groups, -1)
    return _scaled(_normal(grouped, (-1,), eps).reshape(x.shape), *_columns((weight, bias), channels, x.dim()))


def rms_norm(x: Jet, shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    mean = (x * x).mean(tuple(range(-len(shape), 0)), keepdim=True)
    return _scaled(x * torch.rsqrt(mean + (torch.finfo(x.dtype).eps if eps is None else eps)), weight, None)


def instance_norm(
    x: Jet,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    if running_mean is not None:
        raise TypeError("instance normalisation that tracks its statistics can't follow derivatives: use model.eval()")
    dims = tuple(range(2, x.dim()))
    return _scaled(_normal(x, dims, eps), *_columns((weight, bias), x.shape[1], x.dim()))


def batch_norm(
    x: Jet,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Any:
    if training or running_mean is None:
        raise TypeError(
            "batch normalisation in training mixes the points of a batch, so there is no derivative at one of them: "
            "use LayerNorm, or model.eval()."
        )
    mean, scale = _columns((running_mean, torch.rsqrt(running_var + eps)), x.shape[1], x.dim())
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
    out = where(x > 0, x, x * weight)
    derive = out.derive

    def warning(y: Jet, index: Index) -> Tensor | None:
        if len(index) > 1:
            warn_of_pieces("prelu", len(index))
        return derive(y, index)

    return Jet(out.value, warning, out.evaluation)


COMPOSITE: dict[str, Callable[..., Any]] = {
    "pow": power, "__pow__": power, "float_power": power, "__rpow__": lambda x, base: power(base, x), "atan2": atan2,
    "arctan2": atan2, "hypot": hypot, "softmax": softmax, "log_softmax": log_softmax, "logsumexp": logsumexp,
    "softmin": softmin, "glu": glu, "tanhshrink": log_cosh_like, "var": variance, "std": deviation,
    "vector_norm": vector_norm, "norm": norm, "matrix_norm": matrix_norm, "normalize": normalize,
    "layer_norm": layer_norm, "rms_norm": rms_norm, "instance_norm": instance_norm, "group_norm": group_norm,
    "batch_norm": batch_norm, "dropout": dropout, "scaled_dot_product_attention": attention,
    "masked_fill": masked_fill, "pad": pad, "prelu": prelu,
}  # fmt: skip


def _register() -> None:
    for name, apply in COMPOSITE.items():
        for func in forms(name):
            RULES[func] = apply
    RULES[torch.linalg.norm] = linalg_norm


_register()
