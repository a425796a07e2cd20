"""Which way of running a model is the fastest here: layout in memory, compiled or not."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Fastest", "Mode", "fastest"]


@dataclass(frozen=True)
class Mode:
    """A way of running a model."""

    channels_last: bool
    compiled: bool

    def __str__(self) -> str:
        return f"{'compiled' if self.compiled else 'eager'}, channels {'last' if self.channels_last else 'first'}"

    def apply(self, model: nn.Module) -> Callable[..., Any]:
        """The model as it runs in this mode; its parameters are laid out for it, in place."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        call = model.to(memory_format=layout)  # type: ignore[call-overload]
        call = torch.compile(call) if self.compiled else call
        return lambda *xs: call(*(x.contiguous(memory_format=layout) if x.ndim == 4 else x for x in xs))


@dataclass(frozen=True)
class Fastest:
    """A model in its fastest mode, and what each mode took: calls like the model."""

    mode: Mode
    seconds: dict[Mode, float]
    model: nn.Module
    call: Callable[..., Any]

    def __call__(self, *inputs: Tensor) -> Any:
        """Applies the model."""
        return self.call(*inputs)


def fastest(model: nn.Module, *inputs: Tensor, compile: bool = True, rounds: int = 5) -> Fastest:
    """Tries the ways of running a model on these inputs and gives it in the fastest one.

    What is measured are copies: a model in training is run forward and backward, one that isn't forward. The model
    itself keeps its numbers and running statistics; only its layout in memory changes.

    Arguments:
        inputs: as large as those that it will get.
        compile: whether to try `torch.compile` too, which takes a while.
        rounds: how often each mode is measured, after a warm-up, in turn; the shortest time counts.

    >>> from metalhead import create_model
    >>> quick = fastest(create_model("squeezenet1_1").eval(), torch.randn(1, 3, 64, 64), compile=False)
    >>> quick(torch.randn(1, 3, 64, 64)).shape, len(quick.seconds)
    (torch.Size([1, 1000]), 2)
    """
    modes = [Mode(*flags) for flags in product((False, True), (False, True) if compile else (False,))]
    with torch.random.fork_rng():
        runs = {mode: _measured(mode.apply(copy.deepcopy(model)), inputs, model.training) for mode in modes}
        for run in runs.values():
            run()
        seconds = {mode: float("inf") for mode in modes}
        for _ in range(rounds):
            seconds = {mode: min(seconds[mode], run()) for mode, run in runs.items()}
    best = min(modes, key=lambda mode: seconds[mode])
    return Fastest(best, seconds, model, best.apply(model))


def _measured(call: Callable[..., Any], inputs: tuple[Tensor, ...], training: bool) -> Callable[[], float]:
    """What runs a model once and gives the seconds that it took."""

    def run() -> float:
        _finish(inputs)
        start = time.perf_counter()
        with torch.inference_mode(not training):
            y = call(*inputs)
        if training:
            sum(part.sum() for part in (y if isinstance(y, tuple | list) else [y])).backward()
        _finish(inputs)
        return time.perf_counter() - start

    return run


def _finish(inputs: tuple[Tensor, ...]) -> None:
    """Waits for what a GPU still has to do."""
    if any(x.is_cuda for x in inputs):
        torch.cuda.synchronize()
