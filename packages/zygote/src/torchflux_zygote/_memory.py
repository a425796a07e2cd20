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

__all__ = ["add_through", "arrays_in", "home", "is_array", "keeper", "shared", "view_like", "zeros_for"]


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


def view_like(buffer: Any, x: Any, any_dtype: bool = False) -> Any:
    """The view of `buffer` that `x` is of its own memory.

    >>> x = np.arange(6.0).reshape(2, 3)
    >>> view_like(np.arange(6.0) * 10, x[:, 1:].T)
    array([[10., 40.],
           [20., 50.]])
    """
    if buffer.dtype != x.dtype and not any_dtype:
        raise NotImplementedError(f"memory changed in place is looked at as {buffer.dtype} and as {x.dtype}")
    if isinstance(x, Tensor):
        return torch.as_strided(buffer, x.shape, x.stride(), x.storage_offset())
    address, low = x.__array_interface__["data"][0], home(x)
    start = buffer[(address - low) // x.itemsize :]
    strides = [s // x.itemsize * buffer.itemsize for s in x.strides]
    return np.lib.stride_tricks.as_strided(start, x.shape, strides)


def arrays_in(x: Any) -> Iterator[Any]:
    """The arrays of a value: itself, or those of a tuple."""
    if isinstance(x, Tensor | np.ndarray):
        yield x
    elif isinstance(x, tuple):
        for part in x:
            yield from arrays_in(part)


def add_through(buffer: Any, x: Any, bar: Any) -> None:
    """Adds `bar` to the view of `buffer` that `x` is of its own memory, also where elements of x are the same one.

    >>> x, buffer = np.broadcast_to(np.zeros(2), (3, 2)), np.zeros(2)
    >>> add_through(buffer, x, np.ones((3, 2)))
    >>> buffer
    array([3., 3.])
    """
    view = view_like(buffer, x)
    if not overlaps(x):
        view += bar
    elif isinstance(x, Tensor):
        spots = view_like(torch.arange(len(buffer), device=x.device), x, any_dtype=True).reshape(-1)
        bars = torch.as_tensor(bar, dtype=x.dtype, device=x.device).expand(x.shape)
        buffer.index_add_(0, spots, bars.reshape(-1))
    else:
        spots = view_like(np.arange(len(buffer)), x, any_dtype=True)
        np.add.at(buffer, spots.reshape(-1), np.broadcast_to(bar, x.shape).reshape(-1))


def overlaps(x: Any) -> bool:
    """Whether several elements of x may be the same one in memory, as in what `expand` and `broadcast_to` return."""
    strides = x.stride() if isinstance(x, Tensor) else [abs(s) // x.itemsize for s in x.strides]
    reach = 0
    for stride, size in sorted(zip(strides, x.shape, strict=True)):
        if size > 1 and stride <= reach:
            return True
        reach += (size - 1) * stride
    return False
