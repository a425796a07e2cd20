"""Where a native program's slope comes from: a function that is `@native`, or a chain of layers."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchflux import fmap

from ._field import PerSample
from ._native_args import Leaf, NotNative, flattened, rebuilt
from ._native_chain import Lowered, autonomous, lowered
from ._native_chain_text import chain_leaves, chain_slope
from ._native_replay import OnTensors
from ._native_slope import FEW, SlopeCode, native_slope

__all__ = ["DTYPES", "NativeSource", "is_native", "of_chain", "of_function"]

DTYPES: dict[torch.dtype, Any] = {torch.float64: np.float64, torch.float32: np.float32}
LARGEST = 2**17
"""The weights up to which a chain is native by itself: beyond, PyTorch's matrix products win."""
Slopes = Callable[[Any, Tensor, Tensor], Tensor]


def is_native(f: Any) -> bool:
    """Whether a slope is a `@native` function."""
    return hasattr(getattr(f, "__native__", None), "specialised")


class NativeSource:
    """A slope: what its code depends on, and the tensors that it takes.

    Arguments:
        owner: whose programs are kept, as long as it is there, by `key`.
        leaves, params: the kinds of the tensors, and the tensors.
        code: makes the code, for time that runs forward or backward.
        on_tensors: the slope as PyTorch computes it with other tensors: of some samples, at (rows,) and (rows, n).
    """

    __slots__ = ("code", "key", "leaves", "on_tensors", "owner", "params")

    def __init__(
        self,
        owner: Any,
        key: Any,
        leaves: list[Leaf],
        params: list[Tensor],
        code: Callable[[bool], SlopeCode],
        on_tensors: Callable[[list[Tensor]], Slopes],
    ) -> None:
        self.owner, self.key, self.leaves, self.params = owner, key, leaves, params
        self.code, self.on_tensors = code, on_tensors


def of_function(f: Any, y0: Tensor, args: Any, batched: bool) -> NativeSource:
    """A `@native` function with its arguments."""
    leaves: list[Leaf] = []
    params: list[Tensor] = []
    dtype, whole = y0.dtype, y0.dim() == batched
    form = flattened(args, dtype, params, leaves)
    n, samples, native = 1 if whole else y0.shape[-1], len(y0) if batched else 1, f.__native__
    if any(leaf.own and len(x) != samples for leaf, x in zip(leaves, params, strict=True)):
        raise NotNative("what per_sample marks in args has another number of samples than y0")

    def on_tensors(params: list[Tensor]) -> Slopes:
        again = rebuilt(form, leaves, params)
        call = OnTensors(f, again, True)
        pick = lambda rows: fmap(
            lambda x: x.value[rows] if isinstance(x, PerSample) else x, again, leaf=_is_leaf, ties=False
        )
        return lambda rows, t, y: call(t, y if not whole else y[:, 0], pick(rows)).reshape(y.shape)

    code = lambda backward: native_slope(native, n, whole, DTYPES[dtype], form, leaves, backward)
    return NativeSource(native, (whole, form, tuple(leaves)), leaves, params, code, on_tensors)


def _is_leaf(x: Any) -> bool:
    return not isinstance(x, tuple | list)


def of_chain(f: autonomous, y0: Tensor, batched: bool, any_size: bool = True) -> NativeSource:
    """A chain of layers, whose parameters are arguments; of `any_size`, or only where that is worth while."""
    if y0.dim() == batched or y0.shape[-1] > FEW:
        raise NotNative(f"the state has the shape {tuple(y0.shape[batched:])}, not one axis of up to {FEW} numbers")
    if find_spec("torchflux_zygote") is None:
        raise NotNative("torchflux_zygote, which makes machine code, is not installed")
    chain, n, dtype = lowered(f.model), y0.shape[-1], y0.dtype
    chain.check(n, dtype)
    weights, biases = chain.weights, tuple([layer.bias is not None for layer in chain.affine])
    if not any_size and sum(x.numel() for x in weights) > LARGEST:
        raise NotNative(f"the chain has more than {LARGEST} weights: PyTorch is faster")
    code = lambda backward: chain_slope(chain, n, DTYPES[dtype], backward)
    return NativeSource(f.model, chain.key, chain_leaves(biases, dtype), weights, code, _by_torch(chain))


def _by_torch(chain: Lowered) -> Callable[[list[Tensor]], Slopes]:
    return lambda params: lambda rows, t, y: chain.on(params, y)
