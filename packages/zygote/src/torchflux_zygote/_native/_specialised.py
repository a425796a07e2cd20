"""A native function for arguments of given types: its program, and what is compiled from it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ._bounds import hoisted
from ._counted import counted
from ._derivatives import pull
from ._elements import elements_known
from ._entries import Static
from ._ir import Array, Program, Scalar, Type, Value
from ._operation import Mode, Operation, apart
from ._read import Reader
from ._rewrite import tidy
from ._together import together
from ._torch import as_tensor, plain

if TYPE_CHECKING:
    from ._native import Native

__all__ = ["Specialised"]


def _zero_or(x: Any, type: Type) -> Any:
    """A cotangent for the compiled code; None stands for zero."""
    if x is None and isinstance(type, Array):
        raise TypeError("a cotangent of None for an array: give zeros of its shape")
    return 0.0 if x is None else plain(x) if isinstance(type, Array) else float(x)


class Specialised:
    """A function for arguments of given types: its program, and what is compiled from it."""

    def __init__(self, native: Native, key: tuple[Any, ...]) -> None:
        self.name = native.function.__name__
        self.reader = Reader(native.bounds)
        self.params: list[Value] = []
        self.tensors = False
        self.given_tensors: dict[int, bool] = {}
        names = list(native.signature.parameters)
        self.layouts: list[Any] = []
        self.solid: set[Value] = set()
        entries = []
        for k, part in enumerate(key):
            entry, layout = self._entry(part, names[k] if k < len(names) else "args")
            entries.append(entry)
            self.layouts.append(layout)
        given = len(self.params)
        program, self.form = self.reader.program(native.function, entries, self.params)
        self.constants = [x for _, x in self.reader.constants]
        self.params += [self.reader.firsts[ref] for ref, _ in self.reader.constants]
        self.solid |= {self.reader.firsts[ref] for ref, x in self.reader.constants if 1 not in np.shape(x)}
        program.params, program.solid = self.params, frozenset(self.solid)
        self.program = tidy(elements_known(hoisted(counted(tidy(together(program))))))
        self.wrt = [k for k, p in enumerate(self.params[:given]) if p.floats]
        self.operation = Operation(self.program, native.checkpoint, given, native.mode)
        self.calls: dict[Mode, Callable[[list[Any]], tuple[Any, tuple[Any, ...]]] | None] = {}
        self.one = self.form in ("scalar", "array") and self.count == 1 and not self.tensors
        if self.tensors:
            self.pure("a torch operation")

    def _entry(self, key: Any, name: str) -> tuple[Any, Any]:
        """What the reader sees of an argument, and how its gradient is laid out."""
        if isinstance(key, Static):
            return key, None
        if isinstance(key, tuple):
            parts = [self._entry(part, f"{name}_{k}") for k, part in enumerate(key)]
            return tuple(p for p, _ in parts), tuple(layout for _, layout in parts)
        value = Value(key.type, name)
        self.tensors |= key.tensor
        if value.is_array and not key.thin:
            self.solid.add(value)
        self.params.append(value)
        place = len(self.params) - 1 if value.floats else None
        self.given_tensors[len(self.params) - 1] = key.tensor
        return (self.reader.argument(value) if value.is_array else value), place

    def layout(self, grads: dict[int, Any]) -> tuple[Any, ...]:
        """Gradients by parameter, in the form of the arguments."""

        def lay(layout: Any) -> Any:
            if isinstance(layout, tuple):
                parts = tuple(lay(part) for part in layout)
                return parts if any(part is not None for part in parts) else None
            return None if layout is None else grads[layout]

        return tuple(lay(layout) for layout in self.layouts)

    def pulled(
        self, operation: Operation, flat: list[Any], first: int = 0
    ) -> tuple[Any, Callable[[Any], dict[int, Any]]]:
        """An operation's results from `first` on, and the way back from their cotangent to the parameters."""
        given = len(self.params) - len(self.constants)
        values = apart([plain(x) for x in (*flat[:given], *self.constants, *flat[given:])])  # the way back comes later
        results = list(operation(values))
        wrapped = [self.as_given(x, t) for x, t in zip(results, operation.results, strict=True)]

        def back(cotangent: Any) -> dict[int, Any]:
            seeds = [
                0.0 if isinstance(t, Scalar) else np.zeros_like(x)
                for x, t in zip(results, operation.results, strict=True)
            ]
            for k, seed in zip(range(first, len(results)), self.spread(cotangent), strict=False):
                if seed is not None:
                    seeds[k] = plain(seed)
            found = pull(operation, values, [seeds[k] for k in operation.floats])
            return {k: self.as_given(g, operation.params[k], k) for k, g in found.items()}

        return self.formed(wrapped[first : first + self.count] if first else wrapped), back

    def spread(self, cotangent: Any) -> list[Any]:
        """The parts of a cotangent in the form of the result."""
        flat: list[Any] = []

        def collect(form: Any, x: Any) -> None:
            if isinstance(form, tuple):
                for k, part in enumerate(form):
                    collect(part, None if x is None else x[k])
            elif not isinstance(form, Static):
                flat.append(x)

        collect(self.form, cotangent)
        return flat

    @property
    def count(self) -> int:
        """How many numbers and arrays the function returns."""
        return len(self.operation.results)

    def as_given(self, x: Any, t: Type, k: int | None = None) -> Any:
        """A result as a tensor, where the arguments (or the argument `k`) are tensors."""
        tensors = self.tensors if k is None else self.tensors and self.given_tensors.get(k, False)
        return as_tensor(x, t) if tensors else x

    def inputs(self, flat: list[Any]) -> list[Any]:
        """What the derivatives take: numbers and arrays, captured ones too. They leave the arguments as they are."""
        values = [*(plain(x) for x in flat), *self.constants]
        if self.program.effects:
            arrays = [x for x in values if isinstance(x, np.ndarray)]
            if any(np.shares_memory(x, y) for x, y in combinations(arrays, 2)):
                raise ValueError(
                    f"{self.name} stores into an argument, and two of its arrays share memory, through which "
                    "derivatives don't see: pass a copy of one"
                )
        return self.unchanged(values)

    def unchanged(self, values: list[Any]) -> list[Any]:
        """The values; copies of the arrays, if the program stores into some."""
        return apart(values) if self.program.effects else values

    def cotangents(self, given: Any) -> list[Any]:
        """The cotangents of the float results, from one in the form of the result."""
        flat: list[Any] = []

        def collect(form: Any, x: Any) -> None:
            if isinstance(form, tuple):
                for part, y in zip(form, x, strict=True):
                    collect(part, y)
            elif not isinstance(form, Static):
                flat.append(x)

        collect(self.form, given)
        types = self.operation.results
        return [_zero_or(x, types[k]) for k, x in enumerate(flat) if k in self.operation.floats]

    def tangents(self, given: tuple[Any, ...]) -> dict[int, Any]:
        """Tangents by parameter, from those in the form of the arguments."""
        found: dict[int, Any] = {}

        def collect(layout: Any, x: Any) -> None:
            if isinstance(layout, tuple):
                for k, part in enumerate(layout):
                    collect(part, None if x is None else x[k])
            elif layout is not None and x is not None:
                found[layout] = (
                    float(x) if not isinstance(self.operation.params[layout], Array) else np.asarray(plain(x))
                )

        if len(given) != len(self.layouts):
            raise TypeError(f"{len(given)} tangents for the {len(self.layouts)} arguments of {self.name}")
        for layout, x in zip(self.layouts, given, strict=True):
            collect(layout, x)
        return found

    def pure(self, what: str) -> None:
        """Refuses what stores into an argument."""
        if self.program.effects:
            raise TypeError(
                f"{self.name} stores into an argument, which {what} can't do: copy it first (`u = u.copy()`)"
            )

    def scalar(self, what: str) -> None:
        """Refuses what isn't the function of one number."""
        results = self.program.block.results
        if self.form != "scalar" or not results[0].floats:
            raise TypeError(f"{what} of {self.name}: it must return one float; use jacobian or pullback for more")

    def program_of(self, mode: str) -> Program:
        """The program of a mode."""
        operation = self.operation
        modes = {
            "value": lambda: operation,
            "reverse": lambda: operation.reverse,
            "forward": lambda: operation.forward(max(len(self.wrt), 1)),
        }
        return modes[mode]().program

    def value(self, flat: list[Any]) -> Any:
        """The value, in the form that the function returns."""
        return self.formed(list(self.operation([*(map(plain, flat) if self.tensors else flat), *self.constants])))

    def formed(self, results: list[Any]) -> Any:
        """Results in the form that the function returns."""
        following = iter(results)

        def form(x: Any) -> Any:
            if isinstance(x, tuple):
                return tuple(form(part) for part in x)
            return x.value if isinstance(x, Static) else next(following)

        return form(self.form)

    def direct(self, mode: Mode) -> Callable[[list[Any]], tuple[Any, tuple[Any, ...]]] | None:
        """The value and gradients of numbers and arrays as one call of machine code; `None` where it takes more."""
        if mode not in self.calls:
            self.calls[mode] = self._direct(mode)
        return self.calls[mode]

    def _direct(self, mode: Mode) -> Callable[[list[Any]], tuple[Any, tuple[Any, ...]]] | None:
        nested = any(isinstance(layout, tuple) for layout in self.layouts)
        if nested or self.tensors or self.program.effects or not self.operation.one_float:
            return None
        sweep = self.operation.sweep(mode)
        if sweep is None:
            return None
        code, last = sweep[0], [*self.constants, *sweep[1]]
        if self.layouts == self.operation.wrt:  # a float or an array of them, every one
            return lambda flat: ((found := code(*flat, *last))[0], found[1:])
        places = [None if k is None else 1 + self.operation.wrt.index(k) for k in self.layouts]

        def call(flat: list[Any]) -> tuple[Any, tuple[Any, ...]]:
            found = code(*flat, *last)
            return found[0], tuple([None if k is None else found[k] for k in places])

        return call

    def value_and_gradient(self, flat: list[Any], mode: Mode | None = None) -> tuple[Any, dict[int, Any]]:
        """The value and the gradient for every float parameter."""
        return self.operation.value_and_gradient(self.inputs(flat), mode)
