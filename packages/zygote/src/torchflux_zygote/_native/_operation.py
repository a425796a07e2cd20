"""A program as an operation of its own, with its derivatives, and over batches."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np

from ._checkpoint import checkpointed
from ._compile import compiled
from ._emit import source
from ._emit_calls import calls_itself
from ._forward import forward, gradient
from ._ir import Array, Program, Type
from ._reverse import reverse
from ._stack_end import bounded

__all__ = ["Batched", "Mode", "Operation", "apart", "checked_mode"]

Mode = Literal["auto", "forward", "reverse"]
"""How a gradient is computed: a sweep for every number of the inputs, one for every result, or as there are fewer."""

FEW = 8
"""Up to so many numbers forward mode is the faster one for a gradient."""
WORTH_THREADS = 3e-4
"""Seconds of work from which on a batch is shared out to threads."""


def apart(values: list[Any]) -> list[Any]:
    """The values with arrays of their own, which a program may store into."""
    return [x.copy() if isinstance(x, np.ndarray) else x for x in values]


def checked_mode(mode: str) -> Mode:
    """A mode, if it is one."""
    for known in get_args(Mode):
        if mode == known:
            found: Mode = known
            return found
    raise ValueError(f"mode={mode!r}: choose {', '.join(get_args(Mode))}")


class Operation:
    """A compiled program: numbers and arrays in, a tuple of numbers and arrays out."""

    def __init__(
        self, program: Program, checkpoint: int | None = None, given: int | None = None, mode: Mode = "auto"
    ) -> None:
        self.program, self.checkpoint, self.mode = program, checkpoint, mode
        self.params: list[Type] = [p.type for p in program.params]
        self.results: list[Type] = [r.type for r in program.block.results]
        self.wrt = [k for k, p in enumerate(program.params[:given]) if p.floats]  # not those that are captured
        self.floats = [k for k, r in enumerate(program.block.results) if r.floats]
        self.changes = bool(program.effects)  # arrays of the caller

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The machine code."""
        code = compiled(source(self.program), self.program.name)
        return bounded(code) if calls_itself(self.program) else code

    def __call__(self, values: list[Any]) -> tuple[Any, ...]:
        found = self.function(*values)
        return found if isinstance(found, tuple) else (found,)

    @cached_property
    def reverse(self) -> Operation:
        """Inputs and a cotangent for every float result, to the results and the gradient for every float input."""
        return self.derived(reverse(checkpointed(self.program, self.checkpoint), self.wrt))

    def derived(self, program: Program) -> Operation:
        """The operation of a program that takes the same arguments, and more."""
        program.solid = self.program.solid
        return Operation(program)

    def forward(self, width: int) -> Operation:
        """Inputs and `width` tangents for each float input, to the results and as many for each float result."""
        if width not in self.pushed:
            self.pushed[width] = self.derived(forward(self.program, self.wrt, width))
        return self.pushed[width]

    def value_and_gradient(self, values: list[Any], mode: Mode | None = None) -> tuple[Any, dict[int, Any]]:
        """Of one float result: its value, and the gradient for every float input, by number."""
        if not self.wrt:
            return self(values)[0], {}
        sweep = self.sweep(self.mode if mode is None else mode)
        if sweep is None and any(np.size(values[k]) for k in self.wrt):
            return self.swept_forward(values)
        code, seeds = sweep or (self.reverse.function, (1.0,))
        value, *grads = code(*values, *seeds)
        return value, dict(zip(self.wrt, grads, strict=True))

    def sweep(self, mode: Mode) -> tuple[Callable[..., Any], tuple[float, ...]] | None:
        """The machine code for one float result and its gradient, and its seeds; `None` where that takes more."""
        numbers = not any(isinstance(self.params[k], Array) for k in self.wrt)
        if not self.wrt or (mode == "forward" and not numbers):
            return None
        if numbers and (mode == "forward" or (mode == "auto" and len(self.wrt) <= FEW)):
            return self.slopes.function, ()
        return self.reverse.function, (1.0,)

    def swept_forward(self, values: list[Any]) -> tuple[Any, dict[int, Any]]:
        """The same in forward mode where inputs are arrays: one sweep for every number in them."""
        from ._derivatives import jacobian_blocks

        (value,) = self(apart(values))
        blocks = jacobian_blocks(self, values, "forward")
        return value, {k: block if np.ndim(values[k]) else float(block) for k, block in blocks.items()}

    @cached_property
    def one_float(self) -> bool:
        """Whether it returns one float and no more."""
        return len(self.results) == 1 and self.floats == [0] and not isinstance(self.results[0], Array)

    @cached_property
    def slopes(self) -> Operation:
        """The value of one float result, and its derivative by every float input, all numbers: in forward mode."""
        return self.derived(gradient(self.program, self.wrt))

    @cached_property
    def pushed(self) -> dict[int, Operation]:
        """Forward mode by width."""
        return {}

    def batched(self, which: tuple[bool, ...]) -> Batched:
        """The operation over a leading axis of some inputs."""
        if which not in self.batches:
            self.batches[which] = Batched(self, which)
        return self.batches[which]

    @cached_property
    def batches(self) -> dict[tuple[bool, ...], Batched]:
        """By which inputs have the axis."""
        return {}

    @cached_property
    def looped(self) -> dict[tuple[bool, ...], Callable[..., Any]]:
        """Compiled loops over a batch, by which inputs have the leading axis."""
        return {}


class Batched:
    """An operation over the leading axis of some inputs, shared out to threads (the compiled code holds no lock)."""

    def __init__(self, inner: Operation | Batched, which: tuple[bool, ...]) -> None:
        self.inner, self.which = inner, which
        self.params: list[Type] = [_stacked(p) if b else p for p, b in zip(inner.params, which, strict=True)]
        self.results: list[Type] = [_stacked(r) for r in inner.results]
        self.wrt: list[int] = inner.wrt
        self.floats: list[int] = inner.floats
        self.changes: bool = inner.changes

    @cached_property
    def reverse(self) -> Batched:
        """Gradients for inputs without the axis come out one for each element of the batch."""
        return self.inner.reverse.batched((*self.which, *(True for _ in self.floats)))

    def forward(self, width: int) -> Batched:
        """Tangents have the axis of their inputs."""
        return self.inner.forward(width).batched(
            (*self.which, *(self.which[k] for k in self.wrt for _ in range(width)))
        )

    def batched(self, which: tuple[bool, ...]) -> Batched:
        """Over a further axis."""
        return Batched(self, which)

    def __call__(self, values: list[Any]) -> tuple[Any, ...]:
        n = next(len(x) for x, batched in zip(values, self.which, strict=True) if batched)
        if n == 0:
            raise ValueError("an empty batch: the shapes of the results are not known; leave it out")
        rows = [x if batched else [x] * n for x, batched in zip(values, self.which, strict=True)]

        def at(i: int) -> tuple[Any, ...]:
            given = [_scalar(row[i]) for row in rows]
            return self.inner(apart(given) if self.changes else given)

        start = time.perf_counter()
        first = at(0)
        seconds = time.perf_counter() - start
        outs = [
            np.empty((n, *np.shape(x)), getattr(x, "dtype", None) or _dtype(t))
            for x, t in zip(first, self.inner.results, strict=True)
        ]

        def one_by_one(a: int, b: int) -> None:
            for i in range(a, b):
                for out, x in zip(outs, at(i), strict=True):
                    out[i] = x

        for out, x in zip(outs, first, strict=True):
            out[0] = x
        run = self._compiled(outs, values) if isinstance(self.inner, Operation) else one_by_one
        share_out(run, 1, n, seconds * n)
        return tuple(outs)

    def _compiled(self, outs: list[Any], values: list[Any]) -> Callable[[int, int], None]:
        """The loop over the batch as machine code."""
        inner = self.inner
        assert isinstance(inner, Operation)
        if self.which not in inner.looped:
            code = compiled(_loop_source(inner, self.which), f"{inner.program.name}_batch")
            inner.looped[self.which] = bounded(code) if calls_itself(inner.program) else code
        loop = inner.looped[self.which]
        return lambda a, b: loop(a, b, *outs, *values)


def _loop_source(inner: Operation, which: tuple[bool, ...]) -> str:
    """A compiled function, and a loop that calls it for a part of a batch."""
    name = inner.program.name
    outs = [f"out_{k}" for k in range(len(inner.results))]
    args = [f"x_{k}" for k in range(len(inner.params))]
    given = [f"{a}[i]" if b else a for a, b in zip(args, which, strict=True)]
    if inner.changes:
        given = [f"{a}.copy()" if isinstance(t, Array) else a for a, t in zip(given, inner.params, strict=True)]
    limit = ["limit"] if calls_itself(inner.program) else []
    call = f"{name}({', '.join([*given, *limit])})"
    params = ["start", "stop", *outs, *args, *limit]
    lines = [f"def {name}_batch({', '.join(params)}):", "    for i in range(start, stop):"]
    if len(outs) == 1:
        lines.append(f"        out_0[i] = {call}")
    else:
        lines.append(f"        found = {call}")
        lines += [f"        out_{k}[i] = found[{k}]" for k in range(len(outs))]
    decorator = '@numba.njit(nogil=True, cache=True, error_model="numpy")\n'
    return source(inner.program) + "\n" + decorator + "\n".join(lines) + "\n"


def share_out(run: Callable[[int, int], None], start: int, stop: int, seconds: float) -> None:
    """Runs a loop's range, in threads if that is worth while."""
    import torch

    threads = min(torch.get_num_threads(), os.cpu_count() or 1, stop - start)
    if threads < 2 or seconds < WORTH_THREADS:
        if stop > start:
            run(start, stop)
        return
    cuts = [start + (stop - start) * k // threads for k in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(run, a, b) for a, b in pairwise(cuts)]:
            done.result()


def _stacked(t: Type) -> Type:
    """The type with a leading axis."""
    return Array(t.dtype, t.ndim + 1) if isinstance(t, Array) else Array(t, 1)


def _dtype(t: Type) -> Any:
    """NumPy's type of the numbers."""
    kind = t.dtype if isinstance(t, Array) else t
    return np.dtype({"float64": "float64", "float32": "float32", "int64": "int64", "bool_": "bool"}[str(kind)])


def _scalar(x: Any) -> Any:
    """A number of Python, if it is one of NumPy."""
    return x.item() if isinstance(x, np.generic) else x
