"""Cotangents: how they add up, and those that wait with being computed.

A cotangent is `None` (nothing flows), a number, an array, or a tuple of cotangents. On its way it may be
*pending*: one entry of a tuple or of an array, or a product that perhaps nobody asks for. Entries are added
in place, into a buffer that belongs to one variable, so that reading an array in a loop costs O(1) a step.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Entry", "Pending", "Refusal", "Scatter", "Thunk", "accum", "scatter", "settled", "value"]


class Pending:
    """A cotangent that isn't a value yet."""

    __slots__ = ()

    def value(self) -> Any:
        raise NotImplementedError


class Thunk(Pending):
    """A cotangent that is computed when it is first needed."""

    __slots__ = ("compute", "result")

    def __init__(self, compute: Callable[[], Any]) -> None:
        self.compute: Any = compute
        self.result: Any = None

    def value(self) -> Any:
        if self.compute is not None:
            self.result, self.compute = self.compute(), None
        return self.result


class Refusal(Pending):
    """The cotangent of a number that a function takes as a constant: no one may ask for it.

    Whether the number depends on what is differentiated isn't known where it is used. So its cotangent goes the way
    of any other: it is dropped where the number is a constant, and raises its error where it comes to an argument.
    What is computed from it is it again.
    """

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error

    def value(self) -> Any:
        raise self.error

    def _itself(self, *_: Any) -> "Refusal":
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __neg__ = _itself


class Entry(Pending):
    """The cotangent of a tuple of `length` of which only the entry at `index` was used."""

    __slots__ = ("bar", "index", "length")

    def __init__(self, length: int, index: int, bar: Any) -> None:
        self.length, self.index, self.bar = length, index, bar

    def value(self) -> Any:
        return Slots(self).value()


class Slots(Pending):
    """The cotangent of a tuple, added up in place."""

    __slots__ = ("bars",)

    def __init__(self, first: Any) -> None:
        self.bars: list[Any] = [None] * first.length if isinstance(first, Entry) else list(first)
        if isinstance(first, Entry):
            self.bars[first.index] = first.bar

    def add(self, other: Any) -> "Slots":
        if isinstance(other, Entry):
            self.bars[other.index] = accum(self.bars[other.index], other.bar)
        else:
            self.bars = [accum(a, b) for a, b in zip(self.bars, value(other), strict=True)]
        return self

    def value(self) -> Any:
        return tuple(self.bars)


class Scatter(Pending):
    """The cotangent of an array like `like` of which only `like[index]` was used."""

    __slots__ = ("bar", "index", "like")

    def __init__(self, like: Any, index: Any, bar: Any) -> None:
        self.like, self.index, self.bar = like, index, bar

    def value(self) -> Any:
        return Buffer(self).array


class Buffer(Pending):
    """The cotangent of an array, added up in place."""

    __slots__ = ("array",)

    def __init__(self, first: Scatter) -> None:
        self.array = torch.zeros_like(first.like) if isinstance(first.like, Tensor) else np.zeros_like(first.like)
        scatter(self.array, first.index, first.bar)

    def add(self, other: Any) -> "Buffer":
        if isinstance(other, Scatter):
            scatter(self.array, other.index, other.bar)
        else:
            self.array += value(other)
        return self

    def value(self) -> Any:
        return self.array


def scatter(array: Any, index: Any, bar: Any) -> None:
    """`array[index] += bar`, where an element may be named several times."""
    if is_basic(index):
        array[index] += bar
    elif isinstance(array, Tensor):
        index = index if isinstance(index, tuple) else (index,)
        spots = torch.arange(array.numel(), device=array.device).reshape(array.shape)[index].reshape(-1)
        bars = torch.as_tensor(bar, dtype=array.dtype, device=array.device)
        bars = bars.reshape(-1) if bars.numel() == len(spots) else bars.expand(len(spots))
        total = torch.zeros(array.numel(), dtype=array.dtype, device=array.device).index_add_(0, spots, bars)
        array += total.reshape(array.shape)
    else:
        np.add.at(array, index, bar)


def is_basic(index: Any) -> bool:
    """Whether an index is made of integers, slices, ... and None only, so that no element is named twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(type(i) in _BASIC or isinstance(i, np.integer) for i in parts)


_BASIC = {int, slice, type(None), type(...)}


def value(bar: Any) -> Any:
    """The cotangent itself, where it is pending.

    >>> value(accum(Entry(3, 0, 1.0), Entry(3, 2, 5.0)))
    (1.0, None, 5.0)
    """
    return bar.value() if isinstance(bar, Pending) else bar


def settled(bar: Any) -> Any:
    """The cotangent, computed now if it looks at arrays, which may hold something else later in the sweep."""
    looks = type(bar) is Thunk or (type(bar) is Scatter and not is_basic(bar.index))
    return bar.value() if looks else bar


def accum(a: Any, b: Any) -> Any:
    """The sum of two cotangents of the same variable.

    >>> accum(None, 1.0), accum(1.0, 2.0), accum((1.0, None), (None, None))
    (1.0, 3.0, (1.0, None))
    """
    if a is None:
        return b
    if b is None:
        return a
    if type(a) is float:
        return a + b
    if isinstance(a, Pending) or isinstance(b, Pending):
        return _accum_pending(a, b)
    if isinstance(a, tuple):
        return tuple(accum(x, y) for x, y in zip(a, b, strict=True))
    return a + b


def _accum_pending(a: Any, b: Any) -> Any:
    if isinstance(a, Refusal) or isinstance(b, Refusal):
        return a if isinstance(a, Refusal) else b
    if isinstance(b, Slots | Buffer):
        a, b = b, a
    if isinstance(a, Slots | Buffer):
        return a.add(b)
    if isinstance(b, Entry | Scatter):
        a, b = b, a
    if isinstance(a, Entry):
        return Slots(a).add(b)
    if isinstance(a, Scatter):
        return Buffer(a).add(b)
    return accum(value(a), value(b))
