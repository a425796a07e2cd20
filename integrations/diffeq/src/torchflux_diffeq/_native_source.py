"""Where a native program's slope comes from: a function that is `@native`, or a chain of layers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchflux import fmap

from ._field import PerSample
from ._native_args import Leaf, NotNative, form_of, kinds, rebuilt
from ._native_chain import autonomous, lowered
from ._native_chain_text import chain_leaves, chain_slope
from ._native_replay import OnTensors
from ._native_slope import FEW, SlopeCode, native_slope

__all__ = ["DTYPES", "NativeSource", "OfChain", "OfFunction", "is_native"]

DTYPES: dict[torch.dtype, Any] = {torch.float64: np.float64, torch.float32: np.float32}
LARGEST = 2**17
"""The weights up to which a chain is native by itself: beyond, PyTorch's matrix products win."""
Slopes = Callable[[Any, Tensor, Tensor], Tensor]


def is_native(f: Any) -> bool:
    """Whether a slope is a `@native` function."""
    return hasattr(getattr(f, "__native__", None), "specialised")


class NativeSource(ABC):
    """A slope: what its code depends on, and the tensors that it takes.

    Arguments:
        owner: whose programs are kept, as long as it is there, by `key`.
        leaves, params: the kinds of the tensors, and the tensors.
        n: the size of the state.
    """

    __slots__ = ("dtype", "key", "leaves", "n", "owner", "params")
    owner: Any
    key: Any
    leaves: Sequence[Leaf]
    params: list[Tensor]
    n: int
    dtype: torch.dtype

    @abstractmethod
    def code(self, backward: bool) -> SlopeCode:
        """Its code, for time that runs forward or backward."""

    @abstractmethod
    def on_tensors(self, params: list[Tensor]) -> Slopes:
        """The slope as PyTorch computes it with other tensors: of some samples, at (rows,) and (rows, n)."""


class OfFunction(NativeSource):
    """A `@native` function with its arguments."""

    __slots__ = ("f", "form", "whole")

    def __init__(self, f: Any, y0: Tensor, args: Any, batched: bool) -> None:
        self.f, self.owner, self.dtype, self.params = f, f.__native__, y0.dtype, []
        self.form = form = form_of(kinds(args, self.params, y0.dtype), y0.dtype)
        self.whole = whole = y0.dim() == batched
        self.n, self.leaves, self.key = 1 if whole else y0.shape[-1], form.leaves, (whole, form)
        if form.own:
            if not batched:
                raise NotNative("args holds what per_sample marks, and without batched=True there are no samples")
            if any(leaf.own and x.shape[:1] != y0.shape[:1] for leaf, x in zip(form.leaves, self.params, strict=True)):
                raise NotNative("what per_sample marks in args has another number of samples than y0")

    def code(self, backward: bool) -> SlopeCode:
        """The function's."""
        form = self.form
        return native_slope(self.owner, self.n, self.whole, DTYPES[self.dtype], form.tree, form.leaves, backward)

    def on_tensors(self, params: list[Tensor]) -> Slopes:
        """The function, called by PyTorch."""
        again, whole = rebuilt(self.form.tree, self.leaves, params), self.whole
        call = OnTensors(self.f, again, True)
        pick = lambda rows: fmap(
            lambda x: x.value[rows] if isinstance(x, PerSample) else x, again, leaf=_is_leaf, ties=False
        )
        return lambda rows, t, y: call(t, y if not whole else y[:, 0], pick(rows)).reshape(y.shape)


def _is_leaf(x: Any) -> bool:
    return not isinstance(x, tuple | list)


class OfChain(NativeSource):
    """A chain of layers, whose parameters are arguments; of `any_size`, or only where that is worth while."""

    __slots__ = ("chain",)

    def __init__(self, f: autonomous, y0: Tensor, batched: bool, any_size: bool = True) -> None:
        if y0.dim() == batched or y0.shape[-1] > FEW:
            raise NotNative(f"the state has the shape {tuple(y0.shape[batched:])}, not one axis of up to {FEW} numbers")
        if not _compiles():
            raise NotNative("torchflux_zygote, which makes machine code, is not installed")
        self.chain, self.n, self.dtype = lowered(f.model), y0.shape[-1], y0.dtype
        self.chain.check(self.n, self.dtype)
        self.owner, self.key, self.params = f.model, self.chain.key, self.chain.weights
        self.leaves = chain_leaves(tuple([layer.bias is not None for layer in self.chain.affine]), self.dtype)
        if not any_size and sum(x.numel() for x in self.params) > LARGEST:
            raise NotNative(f"the chain has more than {LARGEST} weights: PyTorch is faster")

    def code(self, backward: bool) -> SlopeCode:
        """The chain's."""
        return chain_slope(self.chain, self.n, DTYPES[self.dtype], backward)

    def on_tensors(self, params: list[Tensor]) -> Slopes:
        """The chain, called by PyTorch."""
        return lambda rows, t, y: self.chain.on(params, y)


@cache
def _compiles() -> bool:
    """Whether there is what makes machine code."""
    return find_spec("torchflux_zygote") is not None
