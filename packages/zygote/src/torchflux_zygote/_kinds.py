"""What carries a gradient, and how a cotangent is made to fit what it is the cotangent of."""

import _thread
import collections
import datetime
import logging
import math
import random
import re
import types
from enum import Enum
from io import IOBase
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ._cotangent import Refusal

__all__ = ["SEQUENCES", "carries", "conj", "fit", "inert", "is_numeric", "is_parameter", "ratio"]

SEQUENCES = (list, collections.deque)
"""What has a list of cotangents as its shadow."""
NUMBERS = {float, int, bool, complex}
NUMERIC = {*NUMBERS, Tensor, nn.Parameter, np.ndarray, np.float64}
_FLOATING, _ARRAYS = (float, complex, np.inexact), (Tensor, np.ndarray, np.generic)
_INERT = (
    int, str, bytes, bool, type(None), type(...), type(NotImplemented), range, slice, types.ModuleType, np.dtype,
    torch.dtype, torch.device, torch.layout, torch.Generator, np.random.Generator, np.random.RandomState, random.Random,
    Enum, IOBase, PurePath, re.Pattern, re.Match, datetime.date, datetime.timedelta, logging.Logger, _thread.LockType,
    _thread.RLock, torch.enable_grad,
)  # fmt: skip


def carries(x: Any) -> bool:
    """Whether `x` is a number or an array of numbers that have derivatives: not of integers or booleans.

    >>> carries(1.0), carries(1), carries(torch.arange(3)), carries(np.ones(3, np.float32))
    (True, False, False, True)
    """
    kind = type(x)
    if kind is float:
        return True
    if kind is Tensor or isinstance(x, Tensor):  # asking a tensor's class what it is takes long
        return x.is_floating_point() or x.is_complex()
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "fc"
    return isinstance(x, _FLOATING)


def is_parameter(x: object) -> bool:
    return issubclass(type(x), nn.Parameter)


def is_numeric(x: object) -> bool:
    """Whether `x` is a number or an array."""
    return type(x) in NUMERIC or isinstance(x, _ARRAYS)


def inert(x: object) -> bool:
    """Whether nothing that has a derivative can be reached from `x`.

    >>> inert(("relu", 3, None)), inert([1]), inert(2.0)
    (True, False, False)
    """
    if isinstance(x, tuple | frozenset):
        return all(inert(part) for part in x)
    if isinstance(x, Tensor | np.ndarray | np.generic):
        return not carries(x) and not (isinstance(x, np.ndarray) and x.dtype.kind == "O")
    return isinstance(x, _INERT)


def conj(x: Any) -> Any:
    """The complex conjugate; real numbers stay as they are."""
    if type(x) is float:
        return x
    if type(x) is Tensor or isinstance(x, Tensor):
        return x.conj() if x.is_complex() else x
    return x.conjugate() if isinstance(x, complex | np.complexfloating | np.ndarray) else x


def ratio(a: Any, b: Any) -> Any:
    """`a / b` by IEEE 754: a division by zero gives an infinity or NaN, as with arrays.

    >>> ratio(-1.0, 0.0), ratio(0.0, 0.0)
    (-inf, nan)
    """
    try:
        return a / b
    except ZeroDivisionError:
        if isinstance(a, complex) or isinstance(b, complex) or a == 0 or a != a:
            return math.nan
        return math.copysign(math.inf, a) * math.copysign(1.0, b)


def fit(bar: Any, x: Any) -> Any:
    """A cotangent made to fit `x`: summed over what was broadcast, real for a real `x`, of its dtype.

    >>> fit(torch.ones(2, 3), torch.zeros(3)), fit(np.ones(4), 2.0), fit(1.0, 3)
    (tensor([2., 2., 2.]), 4.0, None)
    """
    kind = type(x)
    if kind is float and type(bar) is float:
        return bar
    if kind is Tensor and type(bar) is Tensor and bar.shape == x.shape and bar.dtype == x.dtype:
        return bar if x.is_floating_point() or x.is_complex() else None
    if bar is None or not carries(x):
        return None
    if isinstance(bar, Refusal):
        return bar
    if isinstance(x, Tensor):
        return _fit_tensor(bar, x)
    if isinstance(x, np.ndarray):
        return _fit_array(np.asarray(_as_numpy(bar)), x)
    total = bar.sum().item() if isinstance(bar, Tensor) else np.sum(bar)
    if isinstance(x, np.generic):
        return x.dtype.type(total if isinstance(x, np.complexfloating) else total.real)
    return complex(total) if isinstance(x, complex) else float(total.real)


def _as_numpy(bar: Any) -> Any:
    return bar.numpy(force=True) if isinstance(bar, Tensor) else bar


def _fit_tensor(bar: Any, x: Tensor) -> Any:
    if not isinstance(bar, Tensor):
        bar = torch.as_tensor(bar, dtype=None if isinstance(bar, np.ndarray) else x.dtype, device=x.device)
    if bar.is_complex() and not x.is_complex():
        bar = bar.real
    if bar.shape != x.shape:
        bar = bar.sum_to_size(x.shape) if bar.numel() >= x.numel() and bar.ndim >= x.ndim else bar.expand(x.shape)
    return bar if bar.dtype == x.dtype else bar.to(x.dtype)


def _fit_array(bar: Any, x: Any) -> Any:
    if bar.dtype.kind == "c" and x.dtype.kind != "c":
        bar = bar.real
    if bar.ndim > x.ndim:
        bar = bar.sum(axis=tuple(range(bar.ndim - x.ndim)))
    if bar.shape != x.shape:
        stretched = tuple(i for i, (m, n) in enumerate(zip(bar.shape, x.shape, strict=False)) if n == 1 and m != 1)
        bar = np.broadcast_to(bar.sum(axis=stretched, keepdims=True), x.shape)
    return np.asarray(bar, dtype=x.dtype)
