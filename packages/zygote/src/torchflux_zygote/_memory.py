"""Where arrays live: two arrays share memory exactly if their `home` is the same.

The cotangent of an array that is changed in place belongs to its memory, not to one of the objects that
look at it. So it is one flat buffer for each piece of memory, and what a view contributes is added through
the same view of that buffer.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["arrays_in", "home", "is_array", "keeper", "shared", "view_like", "zeros_for"]


def is_array(x: object) -> bool:
    """Whether `x` is a tensor or a NumPy array.

    >>> is_array(torch.ones(2)), is_array(np.ones(2)), is_array(1.0)
    (True, True, False)
    """
    return type(x) is Tensor or isinstance(x, (np.ndarray, Tensor))


def root(x: np.ndarray) -> np.ndarray:
    while isinstance(base := getattr(x.base, "base", None) if _is_dummy(x.base) else x.base, np.ndarray):
        x = base
    return x


def _is_dummy(base: object) -> bool:
    """Whether a base only stands for an array, as it does behind `as_strided`."""
    return type(base).__name__ == "DummyArray"


def home(x: Any) -> int:
    """The address of the memory that a tensor or an array looks at.

    >>> x = np.arange(6.0)
    >>> home(x[2:]) == home(x.reshape(2, 3).T), home(x) == home(x.copy())
    (True, False)
    """
    if isinstance(x, Tensor):
        return x.untyped_storage().data_ptr() or id(x)
    return np.lib.array_utils.byte_bounds(root(x))[0]


def keeper(x: Any) -> Any:
    """An object that keeps the memory of `x` alive."""
    return x.untyped_storage() if isinstance(x, Tensor) else root(x)


def shared(x: Any) -> bool:
    """Whether the memory of an array belongs to something else than an array (a tensor, a file, bytes)."""
    return isinstance(x, np.ndarray) and root(x).base is not None


def zeros_for(x: Any) -> Any:
    """A flat buffer of zeros for all of the memory that `x` looks at."""
    if isinstance(x, Tensor):
        size = x.untyped_storage().nbytes() // x.element_size()
        return torch.zeros(size, dtype=x.dtype, device=x.device)
    low, high = np.lib.array_utils.byte_bounds(root(x))
    return np.zeros((high - low) // x.itemsize, dtype=x.dtype)


def view_like(buffer: Any, x: Any) -> Any:
    """The view of `buffer` that `x` is of its own memory.

    >>> x = np.arange(6.0).reshape(2, 3)
    >>> view_like(np.arange(6.0) * 10, x[:, 1:].T)
    array([[10., 40.],
           [20., 50.]])
    """
    if buffer.dtype != x.dtype:
        raise NotImplementedError(f"memory changed in place is looked at as {buffer.dtype} and as {x.dtype}")
    if isinstance(x, Tensor):
        return torch.as_strided(buffer, x.shape, x.stride(), x.storage_offset())
    address, low = x.__array_interface__["data"][0], home(x)
    start = buffer[(address - low) // x.itemsize :]
    return np.lib.stride_tricks.as_strided(start, x.shape, x.strides)


def arrays_in(x: Any) -> Iterator[Any]:
    """The arrays of a value: itself, or those of a tuple."""
    if isinstance(x, Tensor | np.ndarray):
        yield x
    elif isinstance(x, tuple):
        for part in x:
            yield from arrays_in(part)
