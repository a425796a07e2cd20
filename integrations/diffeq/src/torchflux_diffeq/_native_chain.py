"""Chains of dense layers as slopes of native programs, whose weights are arguments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchflux import Chain, Dense

from ._native_activations import Activation, activation
from ._native_args import NotNative

__all__ = ["autonomous"]


class Affine(tuple[Tensor, Tensor | None]):
    """A dense layer's weight (nout, nin), and its bias (nout,) or `None`."""

    __slots__ = ()

    @property
    def weight(self) -> Tensor:
        """Shape (nout, nin)."""
        return self[0]

    @property
    def bias(self) -> Tensor | None:
        """Shape (nout,)."""
        return self[1]


@dataclass(frozen=True)
class Each:
    """A function of each number: one of the table, or one that is read from its source."""

    function: Any
    known: Activation | None


@dataclass
class Lowered:
    """A chain as dense layers and functions of each number, as it is now."""

    layers: list[Affine | Each]

    @cached_property
    def key(self) -> Any:
        """What generated code depends on, but for the number of the states."""
        return tuple([(layer.bias is not None,) if isinstance(layer, Affine) else layer for layer in self.layers])

    @cached_property
    def affine(self) -> list[Affine]:
        """The dense layers."""
        return [layer for layer in self.layers if isinstance(layer, Affine)]

    @cached_property
    def weights(self) -> list[Tensor]:
        """Weights and biases, layer by layer."""
        return [x for layer in self.affine for x in layer if x is not None]

    def on(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """The chain by PyTorch, with other weights."""
        following = iter(weights)
        for layer in self.layers:
            if isinstance(layer, Affine):
                x = F.linear(x, next(following), None if layer.bias is None else next(following))
            else:
                x = layer.function(x)
        return x

    def check(self, n: int, dtype: torch.dtype) -> None:
        """Refuses what isn't the slope of a state of `n` numbers."""
        size = n
        for weight, _ in self.affine:
            if weight.shape[1] != size:
                raise NotNative(f"a layer takes {weight.shape[1]} numbers and gets {size}")
            size = weight.shape[0]
        if size != n:
            raise NotNative(f"the chain gives {size} numbers for a state of {n}")
        for x in self.weights:
            if x.dtype is not dtype or not x.is_cpu:
                raise NotNative(f"the state is {dtype} on the CPU, a weight is {x.dtype} on {x.device}")
            if type(x) not in (Tensor, nn.Parameter) or x.layout != torch.strided:
                raise NotNative(f"a weight is a {type(x).__name__} of layout {x.layout}, not a plain tensor")
        if torch.is_autocast_enabled("cpu"):
            raise NotNative("autocast is on, which changes what layers compute")


class autonomous:
    """The slope `dy/dt = model(y)`, which depends on neither the time nor `args`.

    Where `model` is a chain of dense layers and functions of each number, and small, `solve` makes machine code of it;
    the gradient reaches its parameters.

    Arguments:
        model: a `Chain`, an `nn.Sequential`, or any callable.

    >>> from torchflux import Chain, Dense
    >>> from torchflux_diffeq import solve
    >>> slope = autonomous(Chain(lambda y: y**3, Dense(2, 16, torch.tanh), Dense(16, 2)))
    >>> solve(slope, torch.ones(5, 2), (0.0, 1.0), batched=True).ys.shape
    torch.Size([2, 5, 2])
    """

    def __init__(self, model: Callable[[Any], Any]) -> None:
        self.model = model

    def __repr__(self) -> str:
        return f"autonomous({self.model!r})"

    def __call__(self, t: Tensor, y: Any, args: Any = None) -> Any:
        """The slope."""
        return self.model(y)


GLOBAL_HOOKS = ("_forward", "_forward_pre", "_backward", "_backward_pre")


def lowered(model: Any) -> Lowered:
    """A chain as dense layers and functions of each number.

    Raises:
        NotNative: a layer is none of these; the message names it.
    """
    if any(vars(nn.modules.module)[f"_global{name}_hooks"] for name in GLOBAL_HOOKS):
        raise NotNative("all modules have a hook")
    layers: list[Affine | Each] = []
    _collect(model, layers)
    return Lowered(layers)


def _check_plain(layer: nn.Module) -> None:
    """Refuses a module that computes something else than its class says."""
    own = vars(layer)
    if own["_forward_hooks"] or own["_forward_pre_hooks"] or own["_backward_hooks"] or own["_backward_pre_hooks"]:
        raise NotNative(f"{type(layer).__name__} has hooks")
    if "forward" in own:
        raise NotNative(f"{type(layer).__name__} has a forward of its own")


def _collect(layer: Any, layers: list[Affine | Each]) -> None:
    """The layers of a layer."""
    kind = type(layer)
    if isinstance(layer, nn.Module):
        _check_plain(layer)
    if kind is Chain or kind is nn.Sequential:
        for part in layer.values() if kind is Chain else layer:
            _collect(part, layers)
    elif kind is Dense or kind is nn.Linear:
        layers.append(Affine((layer.weight, layer.bias)))
        if kind is Dense:
            _collect(layer.activation, layers)
    elif (known := activation(layer)) is not None:
        if known.value != "x":
            layers.append(Each(layer, known))
    elif hasattr(layer, "__code__"):
        layers.append(Each(layer, None))
    else:
        raise NotNative(f"{layer!r} is no dense layer, and no activation or function that is known")
