"""Activation functions for generated code: straight-line arithmetic, which the compiler turns into vectors.

The exponential splits off a power of two, whose exponent it writes into the bits of a number, and sums the rest's power
series; tanh near zero is a rational function (float64) or a polynomial (float32). Their errors are below 3 units in the
last place. What isn't made of them is computed by `math`, number by number.

Source: Moshier (1989), Methods and Programs for Mathematical Functions (Cephes: tanh.c, tanhf.c, exp.c).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import torchflux

__all__ = ["Activation", "activation", "exponential_text"]


@dataclass(frozen=True)
class Activation:
    """A function of a number as generated code has it.

    Arguments:
        value: an expression in `x`.
        slope: the derivative, an expression in `x` and the value `v`.
        array: the value as an expression of NumPy.
    """

    value: str
    slope: str
    array: str


_SIGMOID = "0.5 * (1.0 + np.tanh(0.5 * x))"
_TANH = Activation("fast_tanh(x)", "T(1.0) - v * v", "np.tanh(x)")
_LOGISTIC = Activation("fast_sigmoid(x)", "v * (T(1.0) - v)", _SIGMOID)
_RELU = Activation("T(0.0) if x <= T(0.0) else x", "T(1.0) if x > T(0.0) else T(0.0)", "np.where(x > 0.0, x, 0.0)")
_SWISH = Activation(
    "x * fast_sigmoid(x)", "fast_sigmoid(x) * (T(1.0) + x * (T(1.0) - fast_sigmoid(x)))", f"x * ({_SIGMOID})"
)
_SOFTSIGN = Activation("x / (T(1.0) + abs(x))", "T(1.0) / (T(1.0) + abs(x)) ** 2", "x / (1.0 + np.abs(x))")
_SIN = Activation("T(math.sin(x))", "T(math.cos(x))", "np.sin(x)")
_COS = Activation("T(math.cos(x))", "-T(math.sin(x))", "np.cos(x)")
_IDENTITY = Activation("x", "T(1.0)", "x")


def _leaky(a: float) -> Activation:
    """A slope of `a` for negative numbers."""
    return Activation(
        f"x if x > T(0.0) else T({a!r}) * x", f"T(1.0) if x > T(0.0) else T({a!r})", f"np.where(x > 0.0, x, {a!r} * x)"
    )


def _elu(a: float) -> Activation:
    """An exponential that goes to `-a`."""
    return Activation(
        f"x if x > T(0.0) else T({a!r} * math.expm1(x))",
        f"T(1.0) if x > T(0.0) else v + T({a!r})",
        f"np.where(x > 0.0, x, {a!r} * np.expm1(np.minimum(x, 0.0)))",
    )


def _softplus(threshold: float) -> Activation:
    """log(1 + exp(x)), and x above a threshold, as PyTorch has it."""
    return Activation(
        f"x if x > T({threshold!r}) else T(math.log1p(math.exp(x)))",
        f"T(1.0) if x > T({threshold!r}) else fast_sigmoid(x)",
        f"np.where(x > {threshold!r}, x, np.log1p(np.exp(np.minimum(x, {threshold!r}))))",
    )


_KNOWN: dict[Any, Activation] = {
    **dict.fromkeys((torch.tanh, F.tanh, torchflux.tanh), _TANH),
    **dict.fromkeys((torch.sigmoid, F.sigmoid, torchflux.sigmoid), _LOGISTIC),
    **dict.fromkeys((torch.relu, F.relu, torchflux.relu), _RELU),
    **dict.fromkeys((F.silu, torchflux.swish), _SWISH),
    **dict.fromkeys((F.softsign,), _SOFTSIGN),
    **dict.fromkeys((F.leaky_relu, torchflux.leakyrelu), _leaky(0.01)),
    **dict.fromkeys((F.elu, torchflux.elu), _elu(1.0)),
    F.softplus: _softplus(20.0),
    torchflux.softplus: _softplus(40.0),
    torchflux.identity: _IDENTITY,
    torch.sin: _SIN,
    torch.cos: _COS,
}
_MODULES: dict[Any, Any] = {
    nn.Tanh: lambda m: _TANH,
    nn.Sigmoid: lambda m: _LOGISTIC,
    nn.ReLU: lambda m: _RELU,
    nn.SiLU: lambda m: _SWISH,
    nn.Softsign: lambda m: _SOFTSIGN,
    nn.Identity: lambda m: _IDENTITY,
    nn.LeakyReLU: lambda m: _leaky(float(m.negative_slope)),
    nn.ELU: lambda m: _elu(float(m.alpha)),
    nn.Softplus: lambda m: _softplus(float(m.threshold)) if m.beta == 1 else None,
}


def activation(f: Any) -> Activation | None:
    """A function or layer of PyTorch or torchflux, if it is one of the table."""
    of_module = _MODULES.get(type(f))
    if of_module is not None:
        found: Activation | None = of_module(f)
        return found
    try:
        return _KNOWN.get(f)
    except TypeError:  # what has no hash isn't one of them
        return None


_DOUBLE = {
    "bits": "np.int64", "mantissa": 52, "bias": 1023, "high": 0.693145751953125, "low": 1.42860682030941723212e-6,
    "terms": 12, "most": 20.0, "reach": 700.0,
    "near": (
        "p = (T(-0.964399179425052238628) * z + T(-99.2877231001918586564)) * z + T(-1614.68768441708447952)",
        "q = ((z + T(112.811678491632931402)) * z + T(2235.48839060100448583)) * z + T(4844.06305325125486048)",
    ),
}  # fmt: skip
_SINGLE = {
    "bits": "np.int32", "mantissa": 23, "bias": 127, "high": 0.693359375, "low": -2.12194440e-4,
    "terms": 7, "most": 10.0, "reach": 87.0,
    "near": (
        "p = ((T(-5.70498872745e-3) * z + T(2.06390887954e-2)) * z + T(-5.37397155531e-2)) * z + T(1.33314422036e-1)",
        "p, q = p * z + T(-3.33332819422e-1), T(1.0)",
    ),
}  # fmt: skip

FUNCTIONS = '''
{jit}
def fast_exp(x):
    """exp(x) for |x| up to {reach!r}: 2 to the power of `n`, times the exponential of what is left of `x`."""
    shifted = x * T({log2e!r}) + T({magic!r})
    n = shifted - T({magic!r})
    r = (x - n * T({high!r})) - n * T({low!r})
    p = T({last!r})
{series}
    exponent = (T(shifted).view({bits}) + {bits}({bias})) << {bits}({mantissa})
    return p * {bits}(exponent).view(T)

{jit}
def fast_tanh(x):
    """tanh(x): near zero a series in x, and (e - 1) / (e + 1) with e = exp(2 |x|) elsewhere."""
    a = abs(x)
    a = T({most!r}) if a > T({most!r}) else a
    e, z = fast_exp(a + a), x * x
{near}
    over = x * (q + z * p) if a < T(0.625) else math.copysign(e - T(1.0), x)
    return over / (q if a < T(0.625) else e + T(1.0))

{jit}
def fast_sigmoid(x):
    """1 / (1 + exp(-x))."""
    a = abs(x)
    e = fast_exp(-(T({reach!r}) if a > T({reach!r}) else a))
    return (T(1.0) if x >= T(0.0) else e) / (T(1.0) + e)
'''


def exponential_text(double: bool, jit: str) -> str:
    """The functions that the table's expressions call, of numbers `T`."""
    c: dict[str, Any] = dict(_DOUBLE if double else _SINGLE)
    series = [f"    p = p * r + T({1 / math.factorial(k)!r})" for k in range(c["terms"] - 1, -1, -1)]
    near = "\n".join(f"    {line}" for line in c.pop("near"))
    magic = 1.5 * 2.0 ** c["mantissa"]
    last = 1 / math.factorial(c["terms"])
    return FUNCTIONS.format(
        **c, jit=jit, log2e=math.log2(math.e), magic=magic, last=last, series="\n".join(series), near=near
    )
