"""`@native`: a Python function over numbers and arrays, compiled, with its derivatives."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ._derivatives import hessian_blocks, hessian_product, jacobian_blocks, pull, push
from ._emit import source
from ._in_graph import in_graph
from ._kinds import kind_of
from ._operation import Mode, apart, checked_mode
from ._specialised import Specialised
from ._torch import call, plain

__all__ = ["Native", "native"]


def native(
    f: Callable[..., Any] | None = None, *, bounds: bool = True, checkpoint: int | None = None, mode: Mode = "auto"
) -> Any:
    """Compiles a function over floats, ints, bools, tuples and arrays, with its derivatives, through Numba.

    Called with floats and arrays the function returns floats and arrays; called with tensors it is a torch operation.
    Control flow, mutation of arrays and calls of other functions written in Python are all compiled; what isn't
    supported is refused with its place when the function is first called.

    Arguments:
        bounds: whether indices are checked (`IndexError`); without, an index out of bounds is undefined.
        checkpoint: trades time for memory in long loops: reverse mode keeps only what is carried over every so many
            trips (0: the square root of all of them, of a `for`), and runs the stretch between again.
        mode: how `gradient`, `withgradient` and `jacobian` are computed, which may be given another one: "forward" (a
            sweep for every number of the inputs), "reverse" (one for every number returned), or "auto": of numbers,
            up to eight of them, a gradient is computed forward, and otherwise in reverse; a Jacobian as takes fewer
            sweeps.

    Division of a float by zero gives inf or NaN, as with arrays; of an int, `ZeroDivisionError`. Integers are 64 bits
    wide and wrap around. A function of `math` outside of its domain gives NaN.

    >>> import math
    >>> @native
    ... def power(x, n):
    ...     y = 1.0
    ...     for _ in range(n):
    ...         y = y * x
    ...     return y
    >>> power(2.0, 3), power.gradient(2.0, 3)
    (8.0, (12.0, None))
    """
    if f is None:
        return functools.partial(native, bounds=bounds, checkpoint=checkpoint, mode=checked_mode(mode))
    return Native(f, bounds, checkpoint, checked_mode(mode))


class Native:
    """A compiled function. Its derivatives are its methods."""

    def __init__(self, f: Callable[..., Any], bounds: bool, checkpoint: int | None = None, mode: Mode = "auto") -> None:
        functools.update_wrapper(self, f)
        self.__native__ = self  # for the transforms of ordinary Python to find
        self.function, self.bounds, self.checkpoint, self.mode = f, bounds, checkpoint, mode
        self.known: dict[Any, Specialised] = {}
        self.opaque = in_graph(lambda *args, **kwargs: self.call(args, kwargs))
        self.signature = inspect.signature(f)
        self.plain = all(
            p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
            for p in self.signature.parameters.values()
        )

    def __repr__(self) -> str:
        return f"native({self.function!r})"

    def __reduce__(self) -> str:
        return str(self.function.__qualname__)  # a copy is the same one, as of functions, and it is pickled by its name

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else functools.partial(self, owner)

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments by position, defaults filled in."""
        if self.plain and not kwargs and len(args) == len(self.signature.parameters):
            return args
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise TypeError(f"{self.function.__name__}: native functions take no keyword-only arguments")
        return bound.args

    def specialised(self, args: tuple[Any, ...]) -> tuple[Specialised, list[Any]]:
        """The code for arguments of these types, and the numbers and arrays in them."""
        flat: list[Any] = []
        key = tuple([kind_of(arg, flat) for arg in args])
        found = self.known.get((key, self.function.__code__))
        if found is None or not found.reader.reads.unchanged():
            found = self.known[key, self.function.__code__] = Specialised(self, key)
        return found, flat

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_dynamo_compiling():
            return self.opaque(*args, **kwargs)
        return self.call(args, kwargs)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The value: of numbers and arrays, or as a torch operation."""
        special, flat = self.specialised(self.arguments(args, kwargs))
        if special.one:
            return special.operation.function(*flat, *special.constants)
        if special.tensors:
            return special.formed(list(call(special.operation, [*flat, *special.constants])))
        return special.value(flat)

    def withgradient(self, *args: Any, mode: Mode | None = None) -> tuple[Any, tuple[Any, ...]]:
        """The value and one gradient for every argument (`None` where there are no floats)."""
        special, flat = self.specialised(args)
        chosen = self.mode if mode is None else checked_mode(mode)
        direct = special.direct(chosen)
        if direct is not None:
            return direct(flat)
        special.scalar("gradient")
        value, grads = special.value_and_gradient(flat, chosen)
        return value, special.layout(grads)

    def _chosen(self, mode: str | None) -> Mode:
        """The mode that a call asked for, or the function's own."""
        return self.mode if mode is None else checked_mode(mode)

    def gradient(self, *args: Any, mode: Mode | None = None) -> tuple[Any, ...]:
        """One gradient for every argument (`None` where there are no floats); `mode` as of `native`."""
        return self.withgradient(*args, mode=mode)[1]

    def pull(self, *args: Any, **kwargs: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
        """The value, and the function from its cotangent to those of the arguments as given: one larger program."""
        special, flat = self.specialised(self.arguments(args, kwargs))
        special.pure("a part of a larger differentiated program")
        names = list(self.signature.parameters)
        places = [*range(len(args)), *(names.index(name) for name in kwargs)]
        value, back = special.pulled(special.operation, flat)

        def given(cotangent: Any) -> tuple[Any, ...]:
            grads = special.layout(back(cotangent))
            return tuple(grads[k] for k in places)

        return value, given

    @functools.cached_property
    def tangent(self) -> Tangent:
        """Its pushforward as a function of arguments and tangents, with derivatives of its own."""
        return Tangent(self)

    def pullback(self, *args: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
        """The value, and the function from a cotangent in its form to one gradient for every argument."""
        special, flat = self.specialised(args)
        values = apart(special.inputs(flat))  # as they are now: the way back comes later
        value = special.formed(list(special.operation(special.inputs(flat))))

        def back(cotangent: Any) -> tuple[Any, ...]:
            return special.layout(pull(special.operation, special.unchanged(values), special.cotangents(cotangent)))

        return value, back

    def pushforward(self, *args: Any) -> Callable[..., Any]:
        """The function from a tangent for every argument (`None`: zero) to the tangent of the value."""
        special, flat = self.specialised(args)
        values = apart(special.inputs(flat))

        def forward(*tangents: Any) -> Any:
            found = push(special.operation, special.unchanged(values), special.tangents(tangents))
            return special.formed([found.get(k, 0) for k in range(len(special.operation.results))])

        return forward

    def jacobian(self, *args: Any, mode: Mode | None = None) -> tuple[Any, ...]:
        """The derivative of the one result, number or array: for every argument, its shape followed by theirs."""
        special, flat = self.specialised(args)
        if special.form not in ("scalar", "array") or not special.operation.floats:
            raise TypeError(f"jacobian of {special.name}: it must return one float or array of floats")
        return special.layout(jacobian_blocks(special.operation, special.inputs(flat), self._chosen(mode)))

    def hessian(self, *args: Any) -> Any:
        """The second derivatives of the one float returned; of one argument, its Hessian itself.

        For every pair of arguments, the first's shape followed by the second's.
        """
        special, flat = self.specialised(args)
        special.scalar("hessian")
        blocks = hessian_blocks(special.operation, special.inputs(flat))
        rows = special.layout({k: special.layout(row) for k, row in blocks.items()})
        return rows[0][0] if len(args) == 1 else rows

    def hvp(self, args: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, ...]:
        """The product of the Hessian with a tangent for every argument (`None`: zero)."""
        special, flat = self.specialised(args)
        special.scalar("hvp")
        return special.layout(hessian_product(special.operation, special.inputs(flat), special.tangents(tangents)))

    def source(self, *args: Any, mode: str = "value") -> str:
        """The generated Python for arguments of these types: of the value, of "reverse" or of "forward" mode."""
        special, _ = self.specialised(args)
        if mode not in ("value", "reverse", "forward"):
            raise ValueError(f"mode={mode!r}: choose value, reverse or forward")
        return source(special.program_of(mode))


class Tangent:
    """The tangent of a native function's value, as a function of its arguments and their tangents."""

    def __init__(self, native: Native) -> None:
        self.native = native
        self.__native__ = self

    def __call__(self, args: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
        return self.pull(args, tangents)[0]

    def pull(self, args: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
        """The tangent, and the function from its cotangent to those of arguments and tangents."""
        special, flat = self.native.specialised(args)
        special.pure("a part of a larger differentiated program")
        operation = special.operation
        given = special.tangents(tangents)
        pushes = [given[k] if k in given else _zero_like(plain(flat[k])) for k in operation.wrt]
        value, back = special.pulled(operation.forward(1), [*flat, *pushes], special.count)
        places = range(len(special.params), len(special.params) + len(pushes))

        def both(cotangent: Any) -> tuple[Any, ...]:
            grads = back(cotangent)
            return special.layout(grads), special.layout(
                {k: grads[n] for k, n in zip(operation.wrt, places, strict=True)}
            )

        return value, both


def _zero_like(x: Any) -> Any:
    """Zero in the form of a value."""
    return np.zeros_like(x) if isinstance(x, np.ndarray) else 0.0
