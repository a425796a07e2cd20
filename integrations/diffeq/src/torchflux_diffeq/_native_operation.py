"""A native solution as an operation of PyTorch, in threads where that is worth while."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._native_args import Leaf
from ._native_program import NativeProgram
from ._native_replay import retraced
from ._native_source import NativeSource
from ._native_sweep import BLOCK

__all__ = ["Job", "solved"]

WORTH_THREADS = 3e-4
"""Seconds of work from which on the samples are shared out to threads."""

Array = NDArray[Any]
_REQUIRES = attrgetter("requires_grad")


@dataclass(slots=True)
class Job:
    """One solution: its program, what goes in, and the numbers that come out beside the states.

    Arguments:
        times: as the program goes through them: those of the user times `sign`.
        samples, n: the shape of the first states `y0`, as the program takes them.
        counts: for each sample its status, steps, rejected steps, first row on its tape, and saved times.
        last: the time that each sample has come to.
        tapes: of each part of the samples, with the first of its blocks.
    """

    program: NativeProgram
    source: NativeSource
    times: Array
    sign: int
    options: Array
    max_steps: int
    samples: int
    n: int
    y0: Array = field(init=False)
    given: list[Array] = field(init=False)
    counts: Array = field(init=False)
    last: Array = field(init=False)
    tapes: list[tuple[int, int, Array]] = field(init=False)

    def march(self, y0: Tensor, params: Sequence[Tensor], keep: bool) -> tuple[Tensor, Tensor]:
        """The saved states and those at the end; `keep` writes the tapes for the way back."""
        samples, n, times = self.samples, self.n, self.times
        self.y0 = first = _array(y0).reshape(samples, n)
        captured = map(np.copy, self.program.code.inputs)  # the way back needs them, whatever becomes of them
        self.given = given = [*map(_given, params, self.source.leaves), *captured]
        ys, ends = np.empty((len(times), samples, n), first.dtype), np.empty((samples, n), first.dtype)
        self.last, self.counts = np.empty(samples), np.zeros((samples, 5), np.int64)
        self.tapes = tapes = []
        run, setting, out = self.program.march, (self.options, self.max_steps, keep), (ys, ends, self.last, self.counts)

        def part(start: int, stop: int) -> None:
            tape = run(start * BLOCK, min(stop * BLOCK, samples), first, times, *given, *setting, *out)
            tapes.append((start, stop, tape))

        _share_out(part, -(-samples // BLOCK))
        return torch.from_numpy(ys.reshape(len(times), *y0.shape)), torch.from_numpy(ends.reshape(y0.shape))

    def sweep(self, ys_bar: Tensor | None, ends_bar: Tensor | None) -> tuple[Array, list[Array | None]]:
        """The cotangents of the first states and of the arguments, those of what is shared block by block."""
        shape, dtype = (len(self.times), self.samples, self.n), self.y0.dtype
        saved = np.zeros(shape, dtype) if ys_bar is None else _array(ys_bar).reshape(shape)
        ends = np.zeros(shape[1:], dtype) if ends_bar is None else _array(ends_bar).reshape(shape[1:])
        begin, blocks = np.empty(shape[1:], dtype), -(-self.samples // BLOCK)
        found = [
            np.zeros((self.samples if leaf.own else blocks, *x.shape[leaf.own :]), dtype) if leaf.floats else None
            for x, leaf in zip(self.given, self.source.leaves, strict=False)
        ]
        run, out = self.program.sweep, (self.counts, saved, ends, begin, *[x for x in found if x is not None])
        parts = [partial(run, i, j, self.y0, self.times, *self.given, tape, *out) for i, j, tape in self.tapes]
        _in_threads(parts)
        return begin, found

    def again(self, y0: Tensor, params: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The saved states and those at the end, along the same steps, by PyTorch and differentiable."""
        by_torch, sign = self.source.on_tensors(params), self.sign
        slope: Any = lambda rows, t, y: sign * by_torch(rows, sign * t, y)
        begins, ends = ([torch.as_tensor(x, dtype=y0.dtype) for x in steps] for steps in self.accepted())
        y, times = y0.reshape(self.samples, self.n), torch.from_numpy(self.times)
        ys, end = retraced(self.program.tableau, slope, y, times, begins, ends)
        return ys.reshape(len(times), *y0.shape), end.reshape(y0.shape)

    @property
    def status(self) -> Array:
        """How each sample ended."""
        return self.counts[:, 0]

    @property
    def steps(self) -> Array:
        """How many steps each sample tried."""
        return self.counts[:, 1]

    @property
    def t(self) -> Array:
        """How far each sample came."""
        return self.last

    def accepted(self) -> tuple[list[Array], list[Array]]:
        """When each sample's accepted steps begin and end."""
        begins: list[Array] = []
        for start, stop, tape in sorted(self.tapes, key=lambda part: part[0]):
            for s in range(start * BLOCK, min(stop * BLOCK, self.samples)):
                first, made = self.counts[s, 3], self.counts[s, 1] - self.counts[s, 2]
                begins.append(tape[first : first + made, 0])
        return begins, [np.append(t[1:], self.last[s])[: len(t)] for s, t in enumerate(begins)]


class _Solved(torch.autograd.Function):
    """The states that a march finds, as a function of the first states and the arguments."""

    @staticmethod
    def forward(ctx: Any, job: Job, y0: Tensor, *params: Tensor) -> Any:
        """The saved states, and those at the end."""
        ctx.job = job
        ctx.save_for_backward(y0, *params)
        ctx.set_materialize_grads(False)
        return job.march(y0, params, True)

    @staticmethod
    def backward(ctx: Any, ys: Tensor | None, ends: Tensor | None) -> Any:
        """Their cotangents: by one sweep, or, where they will be differentiated themselves, by PyTorch."""
        y0, *params = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, *_taped(ctx, y0, params, ys, ends)
        begin, sums = ctx.job.sweep(ys, ends)
        _, first, *wanted = ctx.needs_input_grad
        grads = [None, torch.from_numpy(begin.reshape(y0.shape)) if first else None]
        for x, leaf, total, needed in zip(params, ctx.job.source.leaves, sums, wanted, strict=True):
            grads.append(_gradient(total, x, leaf) if needed else None)
        return tuple(grads)


def solved(job: Job, y0: Tensor) -> tuple[Tensor, Tensor]:
    """The saved states and those at the end, with a gradient if it is asked for."""
    params = job.source.params
    if torch.is_grad_enabled() and any(map(_REQUIRES, (y0, *params))):
        found: tuple[Tensor, Tensor] = _Solved.apply(job, y0, *params)
        return found
    return job.march(y0, params, False)


def _taped(ctx: Any, y0: Tensor, params: list[Tensor], ys: Tensor | None, ends: Tensor | None) -> list[Any]:
    """The cotangents with a tape of their own, of the same steps made by PyTorch."""
    y0, *params = (x.view_as(x) for x in (y0, *params))  # whose hooks are called where the gradient arrives
    found = ctx.job.again(y0, params)
    pairs = [(x, g) for x, g in zip(found, (ys, ends), strict=True) if g is not None]
    wanted = ctx.needs_input_grad[1:]
    inputs = [x for x, needed in zip((y0, *params), wanted, strict=True) if needed]
    outputs, seeds = [x for x, _ in pairs], [g for _, g in pairs]
    grads = iter(torch.autograd.grad(outputs, inputs, seeds, create_graph=True, allow_unused=True))
    return [next(grads) if needed else None for needed in wanted]


def _array(x: Tensor) -> Array:
    """A tensor's numbers, in a row."""
    if x.requires_grad:
        x = x.detach()
    return (x if x.is_contiguous() and not x.is_neg() else x.resolve_neg().contiguous()).numpy()


def _given(x: Tensor, leaf: Leaf) -> Array:
    """An argument as programs take it."""
    numbers = _array(x)
    if leaf.turned:
        return np.ascontiguousarray(numbers.T)
    return numbers if leaf.ndim else numbers.reshape(*numbers.shape, 1)


def _gradient(total: Array, x: Tensor, leaf: Leaf) -> Tensor:
    """The gradient of an argument, in its shape, from the cotangents of its samples or blocks."""
    if not leaf.own:
        total = total.sum(0) if len(total) > 1 else total[0]
    if leaf.turned:
        total = np.ascontiguousarray(total.T)
    return torch.from_numpy(total if leaf.ndim else total.reshape(x.shape))


def _share_out(run: Callable[[int, int], None], blocks: int) -> None:
    """Runs blocks of samples, in threads if the first one took long enough."""
    threads = min(torch.get_num_threads(), blocks - 1) if blocks > 2 else 1
    if threads < 2:
        run(0, blocks)
        return
    begun = time.perf_counter()
    run(0, 1)
    if (time.perf_counter() - begun) * blocks < WORTH_THREADS:
        run(1, blocks)
        return
    cuts = [1 + (blocks - 1) * k // threads for k in range(threads + 1)]
    _in_threads([partial(run, start, stop) for start, stop in pairwise(cuts)])


def _in_threads(parts: Sequence[Callable[[], Any]]) -> None:
    """Runs several parts, each in a thread of its own."""
    if len(parts) == 1:
        parts[0]()
        return
    with ThreadPoolExecutor(len(parts)) as pool:
        for done in [pool.submit(part) for part in parts]:
            done.result()
