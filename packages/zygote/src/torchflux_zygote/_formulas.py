"""The formulas of the operators: what flows to a and to b, for y = a · b on numbers and arrays."""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._cotangent import Thunk
from ._kinds import NUMBERS, carries, conj, fit, ratio

__all__ = ["BINARY", "REAL", "add_formula", "matmul_formula", "mul_formula", "pow_growth", "pow_slope", "sub_formula"]

REAL = {float, int, bool}


def add_formula(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return fit(ȳ, a), fit(ȳ, b)


def sub_formula(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return fit(ȳ, a), fit(-ȳ, b) if carries(b) else None


def mul_formula(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return fit(ȳ * conj(b), a) if carries(a) else None, fit(ȳ * conj(a), b) if carries(b) else None


def _truediv(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    ā = ratio(ȳ, conj(b))
    return fit(ā, a), fit(-ā * conj(y), b) if carries(b) else None


def _mod(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return fit(ȳ, a), fit(-ȳ * (a // b), b) if carries(b) else None


def _pow(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    ā = fit(ȳ * conj(pow_slope(a, b)), a) if carries(a) else None
    return ā, fit(ȳ * conj(pow_growth(a, b, y)), b) if carries(b) else None


def pow_slope(a: Any, b: Any) -> Any:
    """∂aᵇ/∂a = b aᵇ⁻¹; zero for b = 0, also at a = 0."""
    if type(b) in REAL:
        return 0.0 if b == 0 else 2 * a if b == 2 else b * power(a, b - 1)
    where = torch.where if isinstance(b, Tensor) or isinstance(a, Tensor) else np.where
    b = torch.as_tensor(b) if isinstance(a, Tensor) else b
    return where(b == 0, 0.0 * b, b * power(a, b - 1))


def power(a: Any, b: Any) -> Any:
    """`a ** b` with 0 ** -1 = inf, as arrays have it."""
    try:
        return a**b
    except ZeroDivisionError:
        return math.inf


def pow_growth(a: Any, b: Any, y: Any) -> Any:
    """∂aᵇ/∂b = aᵇ log a; zero at a = 0 (for b ≥ 0), as PyTorch has it."""
    if type(a) in NUMBERS and type(y) in NUMBERS:
        if a == 0:
            return 0.0
        if isinstance(a, complex) or isinstance(y, complex):
            import cmath

            return y * cmath.log(a)
        return y * math.log(a) if a > 0 else math.nan
    if isinstance(y, Tensor):
        a = torch.as_tensor(a, dtype=y.dtype)
        return torch.where(a == 0, torch.zeros_like(y), y * torch.log(a))
    a = np.asarray(a)
    return np.where(a == 0, 0.0 * y, y * np.log(np.where(a == 0, 1.0, a).astype(np.asarray(y).dtype)))


def matmul_formula(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return Thunk(lambda: _left(a, b, ȳ)), Thunk(lambda: _right(a, b, ȳ))


def _left(a: Any, b: Any, ȳ: Any) -> Any:
    """ā = ȳ bᴴ of y = a @ b."""
    if a.ndim == 1 and b.ndim == 1:
        return fit(ȳ * conj(b), a)
    if b.ndim == 1:
        return fit(ȳ[..., None] * conj(b), a)
    if a.ndim == 1:
        return fit((conj(b) @ ȳ[..., None])[..., 0], a)
    return fit(ȳ @ conj(b).mT, a)


def _right(a: Any, b: Any, ȳ: Any) -> Any:
    """b̄ = aᴴ ȳ of y = a @ b."""
    if a.ndim == 1 and b.ndim == 1:
        return fit(ȳ * conj(a), b)
    if a.ndim == 1:
        return fit(conj(a)[:, None] * ȳ[..., None, :], b)
    if b.ndim == 1:
        return fit((conj(a).swapaxes(-1, -2) @ ȳ[..., None])[..., 0], b)
    return fit(conj(a).mT @ ȳ, b)


def _none(a: Any, b: Any, y: Any, ȳ: Any) -> tuple[Any, Any]:
    return None, None


BINARY: dict[Any, tuple[Any, Callable[..., tuple[Any, Any]]]] = {
    operator.add: ("add", add_formula),
    operator.sub: ("sub", sub_formula),
    operator.mul: ("mul", mul_formula),
    operator.truediv: ("truediv", _truediv),
    operator.floordiv: ("floordiv", _none),
    operator.mod: ("mod", _mod),
    operator.pow: ("pow", _pow),
    operator.matmul: ("matmul", matmul_formula),
    operator.and_: ("and", _none),
    operator.or_: ("or", _none),
    operator.xor: ("xor", _none),
    operator.lshift: ("lshift", _none),
    operator.rshift: ("rshift", _none),
}
"""By operator: the name of its method, and the formula of its cotangents."""
