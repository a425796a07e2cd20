"""What the code for an argument depends on: its kind, of which there is one object each, found by identity."""

from typing import Any

import numpy as np
import torch

from ._entries import Static
from ._ir import BOOL, F32, F64, INT, WEAK, Array, Scalar, Type

__all__ = ["DTYPES", "Kind", "kind_of"]

DTYPES: dict[str, Scalar] = {"float64": F64, "float32": F32, "int64": INT, "bool": BOOL}


class Kind:
    """The type of a number, array or tensor; a `thin` array has an axis of length one, which may be broadcast."""

    __slots__ = ("tensor", "thin", "type")

    def __init__(self, type: Type, tensor: bool = False, thin: bool = False) -> None:
        self.type, self.tensor, self.thin = type, tensor, thin


FLOAT, TRUTH, WHOLE = Kind(WEAK), Kind(BOOL), Kind(INT)
KNOWN: dict[Any, Kind] = {}


def kind_of(x: Any, flat: list[Any]) -> Any:
    """The kind of an argument, a tuple of kinds, or a constant; its numbers and arrays are collected."""
    kind = type(x)
    if kind is float:
        flat.append(x)
        return FLOAT
    if kind is np.ndarray:
        flat.append(x)
        key = (x.dtype, x.ndim, 1 in x.shape)
        found = KNOWN.get(key)
        return _enter(key, str(x.dtype), "array") if found is None else found
    if kind is int:
        if not -(2**63) <= x < 2**63:
            raise TypeError(f"native integers have 64 bits; {x} has more: pass a float")
        flat.append(x)
        return WHOLE
    if kind is bool:
        flat.append(x)
        return TRUTH
    if kind is tuple or isinstance(x, tuple):
        return tuple([kind_of(part, flat) for part in x])
    return _kind_of_others(x, flat)


def _kind_of_others(x: Any, flat: list[Any]) -> Any:
    """The kind of what isn't one of Python's numbers, an array or a tuple."""
    if isinstance(x, torch.Tensor):
        flat.append(x)
        key = (x.dtype, x.ndim, x.ndim > 0 and 1 in x.shape)
        found = KNOWN.get(key)
        return _enter(key, str(x.dtype).removeprefix("torch."), "tensor") if found is None else found
    if isinstance(x, torch.SymInt | torch.SymFloat | torch.SymBool):
        return kind_of({torch.SymInt: int, torch.SymFloat: float, torch.SymBool: bool}[type(x)](x), flat)
    if isinstance(x, np.generic):
        flat.append(x.item())
        found = KNOWN.get((type(x), 0, False))
        return _enter((type(x), 0, False), str(x.dtype), "number") if found is None else found
    if x is None or isinstance(x, str) or callable(x):
        return Static(x)
    raise TypeError(
        f"native functions take floats, ints, bools, arrays, tensors and tuples of them, not {type(x).__name__} ({x!r})"
    )


def _enter(key: tuple[Any, int, bool], dtype: str, what: str) -> Kind:
    """The kind of an array, tensor or NumPy's number, or an error that says which there are."""
    if dtype not in DTYPES:
        raise TypeError(f"native functions take {what}s of {', '.join(DTYPES)}, not {dtype}; convert it")
    _, ndim, thin = key
    whole: Type = Array(DTYPES[dtype], ndim) if ndim else DTYPES[dtype]
    return KNOWN.setdefault(key, Kind(whole, what == "tensor", thin))
