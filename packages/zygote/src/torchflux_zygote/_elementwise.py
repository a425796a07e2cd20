"""Functions of numbers, element by element: each with its derivatives, written once.

A formula takes the arguments, the result and the library (`math`, `numpy` or `torch`), and gives the
derivative by each argument. It is ordinary Python: the reverse rule multiplies a cotangent by it, the
forward rule a tangent, and both can be differentiated again.

Sources: Abramowitz & Stegun (1964), chapters 4, 6 and 7; ties and kinks as in PyTorch.
"""

import cmath
import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._kinds import carries, conj, fit, ratio
from ._registry import PULL, constant, finish

__all__ = ["FORMULAS", "LOGARITHMS"]

Formula = Callable[..., tuple[Any, ...]]

FORMULAS: dict[Any, tuple[Formula, Any]] = {}
"""By function: its formula and its library."""

TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


def elementwise(*names: str) -> Callable[[Formula], Formula]:
    """Registers a formula for all libraries' functions of these names."""

    def register(formula: Formula) -> Formula:
        arity = len(inspect.signature(formula).parameters) - 2
        for library in (math, cmath, np, torch, torch.special):
            for name in names:
                if callable(f := getattr(library, name, None)):
                    _register(f, formula, torch if library is torch.special else library, arity)
        for name in names:
            for f in (getattr(torch.Tensor, name, None), getattr(torch.nn.functional, name, None)):
                if f is not None:
                    _register(f, formula, torch, arity)
        return formula

    return register


def _register(f: Any, formula: Formula, library: Any, arity: int) -> None:
    FORMULAS[f] = (formula, library)
    PULL[f] = partial(_pull, f, formula, library, arity)


def _pull(f: Any, formula: Formula, library: Any, arity: int, *args: Any, **kwargs: Any) -> Any:
    if kwargs or len(args) != arity:
        return _general(f, arity, args, kwargs)
    y = f(*args)
    if arity == 1:
        return y, partial(finish, lambda ȳ: (fit(ȳ * conj(formula(*args, y, library)[0]), args[0]),), args, y)

    def back(ȳ: Any) -> tuple[Any, ...]:
        slopes = formula(*args, y, library)
        return tuple(fit(ȳ * conj(slope), x) if carries(x) else None for slope, x in zip(slopes, args, strict=True))

    return y, partial(finish, back, args, y)


def _general(f: Any, arity: int, args: Any, kwargs: Any) -> Any:
    """With options: PyTorch's own derivative; NumPy's `where=` and `out=` are refused."""
    from ._pull import LIBRARIES, library
    from ._refuse import Refused, describe

    if library(f) == "torch" or (isinstance(f, type(Tensor.add)) and not isinstance(f, np.ufunc)):
        return LIBRARIES["torch"](f, args, kwargs)
    if f in LOGARITHMS and len(args) == 2 and not kwargs:
        from ._pull import pull_function

        return pull_function(LOGARITHMS[f], args, kwargs)
    raise Refused(f"{describe(f)} with these options", "leave them out, and apply them by separate functions")


def log_to_base(x: Any, base: Any) -> Any:
    """`math.log(x, base)`."""
    return math.log(x) / math.log(base)


def complex_log_to_base(x: Any, base: Any) -> Any:
    """`cmath.log(x, base)`."""
    return cmath.log(x) / cmath.log(base)


LOGARITHMS: dict[Any, Any] = {math.log: log_to_base, cmath.log: complex_log_to_base}


@elementwise("sin")
def _sin(x: Any, y: Any, m: Any) -> Any:
    return (m.cos(x),)


@elementwise("cos")
def _cos(x: Any, y: Any, m: Any) -> Any:
    return (-m.sin(x),)


@elementwise("tan")
def _tan(x: Any, y: Any, m: Any) -> Any:
    return (1 + y * y,)


@elementwise("asin", "arcsin")
def _asin(x: Any, y: Any, m: Any) -> Any:
    return (ratio(1.0, m.sqrt(1 - x * x)),)


@elementwise("acos", "arccos")
def _acos(x: Any, y: Any, m: Any) -> Any:
    return (ratio(-1.0, m.sqrt(1 - x * x)),)


@elementwise("atan", "arctan")
def _atan(x: Any, y: Any, m: Any) -> Any:
    return (1 / (1 + x * x),)


@elementwise("sinh")
def _sinh(x: Any, y: Any, m: Any) -> Any:
    return (m.cosh(x),)


@elementwise("cosh")
def _cosh(x: Any, y: Any, m: Any) -> Any:
    return (m.sinh(x),)


@elementwise("tanh")
def _tanh(x: Any, y: Any, m: Any) -> Any:
    return (1 - y * y,)


@elementwise("asinh", "arcsinh")
def _asinh(x: Any, y: Any, m: Any) -> Any:
    return (1 / m.sqrt(1 + x * x),)


@elementwise("acosh", "arccosh")
def _acosh(x: Any, y: Any, m: Any) -> Any:
    return (ratio(1.0, m.sqrt(x * x - 1)),)


@elementwise("atanh", "arctanh")
def _atanh(x: Any, y: Any, m: Any) -> Any:
    return (1 / (1 - x * x),)


@elementwise("exp")
def _exp(x: Any, y: Any, m: Any) -> Any:
    return (y,)


@elementwise("exp2")
def _exp2(x: Any, y: Any, m: Any) -> Any:
    return (math.log(2.0) * y,)


@elementwise("expm1")
def _expm1(x: Any, y: Any, m: Any) -> Any:
    return (y + 1,)


@elementwise("log")
def _log(x: Any, y: Any, m: Any) -> Any:
    return (1 / x,)


@elementwise("log2")
def _log2(x: Any, y: Any, m: Any) -> Any:
    return (1 / (x * math.log(2.0)),)


@elementwise("log10")
def _log10(x: Any, y: Any, m: Any) -> Any:
    return (1 / (x * math.log(10.0)),)


@elementwise("log1p")
def _log1p(x: Any, y: Any, m: Any) -> Any:
    return (1 / (1 + x),)


@elementwise("sqrt")
def _sqrt(x: Any, y: Any, m: Any) -> Any:
    return (ratio(0.5, y),)


@elementwise("rsqrt")
def _rsqrt(x: Any, y: Any, m: Any) -> Any:
    return (-0.5 * y * y * y,)


@elementwise("cbrt")
def _cbrt(x: Any, y: Any, m: Any) -> Any:
    return (ratio(1 / 3, y * y),)


@elementwise("square")
def _square(x: Any, y: Any, m: Any) -> Any:
    return (2 * x,)


@elementwise("reciprocal")
def _reciprocal(x: Any, y: Any, m: Any) -> Any:
    return (-y * y,)


@elementwise("negative", "neg")
def _negative(x: Any, y: Any, m: Any) -> Any:
    return (-1.0,)


@elementwise("positive")
def _positive(x: Any, y: Any, m: Any) -> Any:
    return (1.0,)


@elementwise("erf")
def _erf(x: Any, y: Any, m: Any) -> Any:
    return (TWO_OVER_ROOT_PI * m.exp(-x * x),)


@elementwise("erfc")
def _erfc(x: Any, y: Any, m: Any) -> Any:
    return (-TWO_OVER_ROOT_PI * m.exp(-x * x),)


@elementwise("lgamma", "gammaln")
def _lgamma(x: Any, y: Any, m: Any) -> Any:
    return (digamma(x),)


@elementwise("gamma")
def _gamma(x: Any, y: Any, m: Any) -> Any:
    return (y * digamma(x),)


def digamma(x: Any) -> Any:
    """The logarithmic derivative of the gamma function, PyTorch's."""
    return torch.digamma(x) if isinstance(x, Tensor) else torch.digamma(torch.tensor(x, dtype=torch.float64)).item()


@elementwise("sigmoid", "expit")
def _sigmoid(x: Any, y: Any, m: Any) -> Any:
    return (y * (1 - y),)


@elementwise("degrees", "rad2deg")
def _degrees(x: Any, y: Any, m: Any) -> Any:
    return (180 / math.pi,)


@elementwise("radians", "deg2rad")
def _radians(x: Any, y: Any, m: Any) -> Any:
    return (math.pi / 180,)


@elementwise("fabs")
def _fabs(x: Any, y: Any, m: Any) -> Any:
    return (m.copysign(1.0, x) if m is math and x != 0 else 0.0 if m is math else m.sign(x),)


# Two arguments.


@elementwise("atan2", "arctan2")
def _atan2(a: Any, b: Any, y: Any, m: Any) -> Any:
    size = a * a + b * b
    return ratio(b, size), ratio(-a, size)


@elementwise("hypot")
def _hypot(a: Any, b: Any, y: Any, m: Any) -> Any:
    return ratio(a, y), ratio(b, y)


@elementwise("logaddexp")
def _logaddexp(a: Any, b: Any, y: Any, m: Any) -> Any:
    return m.exp(a - y), m.exp(b - y)


@elementwise("maximum", "fmax")
def _maximum(a: Any, b: Any, y: Any, m: Any) -> Any:
    return share(a > b, a == b), share(b > a, a == b)


@elementwise("minimum", "fmin")
def _minimum(a: Any, b: Any, y: Any, m: Any) -> Any:
    return share(a < b, a == b), share(b < a, a == b)


def share(wins: Any, ties: Any) -> Any:
    """1 where an argument wins, 1/2 where both are equal."""
    return 1.0 * wins + 0.5 * ties


@elementwise("fmod")
def _fmod(a: Any, b: Any, y: Any, m: Any) -> Any:
    return 1.0, -m.trunc(a / b)


@elementwise("copysign")
def _copysign(a: Any, b: Any, y: Any, m: Any) -> Any:
    return sign_of(y) * sign_of(a), 0.0


@elementwise("fma")
def _fma(a: Any, b: Any, c: Any, y: Any, m: Any) -> Any:
    return b, a, 1.0


def _remainder(a: Any, b: Any, y: Any, m: Any) -> Any:
    return 1.0, -round((a - y) / b)


def _ldexp(a: Any, i: Any, y: Any, m: Any) -> Any:
    return m.ldexp(1.0, i), 0.0


_register(math.remainder, _remainder, math, 2)  # NumPy's and PyTorch's are other functions: `%`
for _library in (math, np):
    _register(_library.ldexp, _ldexp, _library, 2)


def sign_of(x: Any) -> Any:
    """-1, 0 or 1."""
    return torch.sign(x) if isinstance(x, Tensor) else np.sign(x)


constant(
    *(math.floor, math.ceil, math.trunc, math.isnan, math.isinf, math.isfinite, math.isclose, math.gcd, math.lcm),
    *(math.factorial, math.comb, math.perm, math.isqrt),
    *(cmath.isnan, cmath.isinf, cmath.isfinite, cmath.isclose),
    *(np.floor, np.ceil, np.trunc, np.rint, np.isnan, np.isinf, np.isfinite, np.signbit),
    *(torch.floor, torch.ceil, torch.trunc, torch.round, torch.sign, torch.isnan, torch.isinf, torch.isfinite),
    *(Tensor.floor, Tensor.ceil, Tensor.trunc, Tensor.round, Tensor.sign, Tensor.isnan, Tensor.isinf, Tensor.isfinite),
    *(sign_of,),
)
