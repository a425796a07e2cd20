"""Rules for the attributes of numbers and arrays: `x.T`, `x.real` and the like, as functions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._attributes import ATTRIBUTES, OF_TENSORS
from ._kinds import conj, fit
from ._registry import constant, rule

__all__ = ["transposed"]

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]


def attribute(name: str, *functions: Any) -> Callable[[Any], Any]:
    """Registers the rule of a function as that of an attribute, too."""

    def register(f: Any) -> Any:
        def read(x: Any) -> Any:
            return getattr(x, name)

        read.__name__ = read.__qualname__ = name
        rule(read, *functions)(f)
        ATTRIBUTES[name], OF_TENSORS[name] = read, f
        return f

    return register


@attribute("T")
def transposed(x: Any) -> Pulled:
    return x.T, lambda ȳ: (ȳ.T,)


@attribute("mT")
def _matrix_transposed(x: Any) -> Pulled:
    return x.mT, lambda ȳ: (ȳ.mT,)


@attribute("H")
def _adjoint(x: Any) -> Pulled:
    return x.H, lambda ȳ: (conj(ȳ.T),)


@attribute("mH")
def _matrix_adjoint(x: Any) -> Pulled:
    return x.mH, lambda ȳ: (conj(ȳ.mT),)


@attribute("real", np.real, torch.real)
def _real(x: Any) -> Pulled:
    return x.real, lambda ȳ: (fit(ȳ, x),)


@attribute("imag", np.imag, torch.imag)
def _imag(x: Any) -> Pulled:
    return x.imag, lambda ȳ: (fit(ȳ * 1j, x) if _is_complex(x) else None,)


def _is_complex(x: Any) -> bool:
    return x.is_complex() if isinstance(x, Tensor) else np.iscomplexobj(x)


@rule(float.conjugate, complex.conjugate, np.conj, np.ndarray.conjugate, np.ndarray.conj, torch.conj, Tensor.conj)
def _conjugate(x: Any) -> Pulled:
    return conj(x), lambda ȳ: (conj(ȳ),)


@rule(torch.angle, Tensor.angle)
def _angle(x: Any) -> Pulled:
    y = torch.angle(x)
    if not _is_complex(x):
        return y, lambda ȳ: (None,)
    size = (x * conj(x)).real
    return y, lambda ȳ: (fit(ȳ * 1j * x / size, x),)


def _data(x: Tensor) -> Tensor:
    """`x.data`: a constant."""
    return x.data


def _grad(x: Tensor) -> Any:
    """`x.grad`: a constant."""
    return x.grad


constant(_data, _grad)
ATTRIBUTES["data"], ATTRIBUTES["grad"] = _data, _grad
