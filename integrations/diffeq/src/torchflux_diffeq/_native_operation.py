"""A native solution as an operation of PyTorch, in threads where that is worth while."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._native_args import Leaf
from ._native_program import NativeProgram
from ._native_sweep import BLOCK

__all__ = ["Job", "solved"]

WORTH_THREADS = 3e-4
"""Seconds of work from which on the samples are shared out to threads."""

Array = NDArray[Any]


@dataclass
class Job:
    """One solution: its program, what goes in, and the numbers that come out beside the states.

    Arguments:
        y0: the first states, shape (samples, n); `times` the times, as the program goes through them.
        shape: of the saved states and of those at the end.
        counts: for each sample its status, steps, rejected steps, first row on its tape, and saved times.
        last: the time that each sample has come to.
        tapes: of each part of the samples, with the first of its blocks.
        again: `again(job, y0, params)` are the saved states and those at the end as PyTorch computes them, along the
            same steps.
    """

    program: NativeProgram
    leaves: list[Leaf]
    times: Array
    options: Array
    max_steps: int
    samples: int
    n: int
    shape: tuple[tuple[int, ...], tuple[int, ...]]
    again: Callable[..., tuple[Tensor, Tensor]]
    y0: Array = field(init=False)
    given: list[Array] = field(init=False)
    counts: Array = field(init=False)
    last: Array = field(init=False)
    tapes: list[tuple[int, int, Array]] = field(default_factory=list)

    def march(self, y0: Tensor, params: tuple[Tensor, ...], keep: bool) -> tuple[Array, Array]:
        """The saved states and those at the end; `keep` writes the tapes for the way back."""
        self.y0 = _array(y0).reshape(self.samples, self.n)
        self.given = [*map(_given, params, self.leaves), *self.program.code.inputs]
        dtype = self.y0.dtype
        ys = np.empty((len(self.times), self.samples, self.n), dtype)
        ends = np.empty((self.samples, self.n), dtype)
        self.last, self.counts = np.empty(self.samples), np.zeros((self.samples, 5), np.int64)
        run, out = self.program.march, (ys, ends, self.last, self.counts)

        def part(start: int, stop: int) -> None:
            first, last = start * BLOCK, min(stop * BLOCK, self.samples)
            tape = run(first, last, self.y0, self.times, *self.given, self.options, self.max_steps, keep, *out)
            self.tapes.append((start, stop, tape))

        _share_out(part, -(-self.samples // BLOCK))
        return ys, ends

    def sweep(self, ys_bar: Tensor | None, ends_bar: Tensor | None) -> tuple[Array, list[Array]]:
        """The cotangents of the first states and of the arguments."""
        shape = (len(self.times), self.samples, self.n)
        dtype = self.y0.dtype
        saved = np.zeros(shape, dtype) if ys_bar is None else _array(ys_bar).reshape(shape)
        ends = np.zeros(shape[1:], dtype) if ends_bar is None else _array(ends_bar).reshape(shape[1:])
        begin = np.empty(shape[1:], dtype)
        blocks = -(-self.samples // BLOCK)
        sums = [
            np.zeros((self.samples if leaf.own else blocks, *x.shape[leaf.own :]), dtype)
            for x, leaf in zip(self.given, self.leaves, strict=False)
            if leaf.floats
        ]
        run = self.program.sweep
        tapes = {start: (stop, tape) for start, stop, tape in self.tapes}

        def part(start: int, stop: int) -> None:
            run(start, stop, self.y0, self.times, *self.given, tapes[start][1], self.counts, saved, ends, begin, *sums)

        _in_parts(part, [(start, stop) for start, (stop, _) in tapes.items()])
        found = iter(sums)
        return begin, [next(found) if leaf.floats else None for leaf in self.leaves]  # type: ignore[misc]

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
        ys, ends = job.march(y0, params, True)
        return torch.from_numpy(ys.reshape(job.shape[0])), torch.from_numpy(ends.reshape(job.shape[1]))

    @staticmethod
    def backward(ctx: Any, ys: Tensor | None, ends: Tensor | None) -> Any:
        """Their cotangents: by one sweep, or, where they will be differentiated themselves, by PyTorch."""
        y0, *params = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, *_taped(ctx, y0, params, ys, ends)
        begin, sums = ctx.job.sweep(ys, ends)
        grads: list[Any] = [None, torch.from_numpy(begin).view(y0.shape)]
        for x, leaf, total in zip(params, ctx.job.leaves, sums, strict=True):
            whole = total if total is None or leaf.own else total.sum(0) if len(total) > 1 else total[0]
            grads.append(None if whole is None else _like(whole, x, leaf))
        return tuple(grads)


def solved(job: Job, y0: Tensor, params: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The saved states and those at the end, with a gradient if it is asked for."""
    if torch.is_grad_enabled() and (y0.requires_grad or any(x.requires_grad for x in params)):
        found: tuple[Tensor, Tensor] = _Solved.apply(job, y0, *params)
        return found
    ys, ends = job.march(y0, tuple(params), False)
    return torch.from_numpy(ys.reshape(job.shape[0])), torch.from_numpy(ends.reshape(job.shape[1]))


def _taped(ctx: Any, y0: Tensor, params: list[Tensor], ys: Tensor | None, ends: Tensor | None) -> list[Any]:
    """The cotangents with a tape of their own, of the same steps made by PyTorch."""
    y0, *params = (x.view_as(x) for x in (y0, *params))  # whose hooks are called where the gradient arrives
    found = ctx.job.again(ctx.job, y0, params)
    pairs = [(x, g) for x, g in zip(found, (ys, ends), strict=True) if g is not None]
    wanted = ctx.needs_input_grad[1:]
    inputs = [x for x, needed in zip((y0, *params), wanted, strict=True) if needed]
    outputs, seeds = [x for x, _ in pairs], [g for _, g in pairs]
    grads = iter(torch.autograd.grad(outputs, inputs, seeds, create_graph=True, allow_unused=True))
    return [next(grads) if needed else None for needed in wanted]


def _array(x: Tensor) -> Array:
    """A tensor's numbers, in a row."""
    x = x.detach()
    return (x if x.is_contiguous() and not x.is_neg() else x.resolve_neg().contiguous()).numpy()


def _given(x: Tensor, leaf: Leaf) -> Array:
    """An argument as programs take it."""
    numbers = _array(x)
    if leaf.turned:
        return np.ascontiguousarray(numbers.T)
    return numbers if leaf.ndim else numbers.reshape(*numbers.shape, 1)


def _like(grad: Array, x: Tensor, leaf: Leaf) -> Tensor:
    """The gradient of an argument, in its shape."""
    if leaf.turned:
        return torch.from_numpy(np.ascontiguousarray(grad.T))
    return torch.from_numpy(grad) if leaf.ndim else torch.from_numpy(grad).view(x.shape)


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
    _in_parts(run, list(pairwise(cuts)))


def _in_parts(run: Callable[[int, int], None], parts: list[tuple[int, int]]) -> None:
    """Runs several parts, each in a thread of its own."""
    if len(parts) == 1:
        run(*parts[0])
        return
    with ThreadPoolExecutor(len(parts)) as pool:
        for done in [pool.submit(run, *part) for part in parts]:
            done.result()
