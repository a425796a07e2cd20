"""Gradients of ordinary Python functions, by source transformation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._kinds import carries, fit
from ._layout import layout, seed
from ._memory import is_array
from ._place import placed
from ._pull import pull
from ._run import STATE, Run, Sweep

__all__ = ["gradient", "jacobian", "pullback", "withgradient"]

Function = Callable[..., Any]


def gradient(f: Function, *args: Any) -> tuple[Any, ...]:
    """The gradient of the scalar `f(*args)`: one per argument, shaped like the argument.

    Floats give floats, tensors tensors, arrays arrays, a module a dict by parameter path, an object a dict
    by attribute; tuples, lists, dicts and dataclasses are kept. `None` stands where nothing flows: for what
    isn't a floating-point number or doesn't reach the result. Nested calls give higher derivatives.

    Raises:
        Refused: the program has something in it that can't be differentiated.
        Unsupported: its source has.
        TypeError: `f` doesn't return a number.
        ValueError: the result isn't one real number.

    >>> gradient(lambda x: 3 * x**2 + 2 * x + 1, 5.0)
    (32.0,)
    >>> def total(w, xs):
    ...     y = 0.0
    ...     for x in xs["a"]:
    ...         y += w * x
    ...     return y
    >>> gradient(total, 2.0, {"a": [1.0, 3.0], "name": "n"})
    (4.0, {'a': [2.0, 2.0], 'name': None})

    Source: Zygote.jl's `gradient`; Innes (2018), arXiv 1810.07951; the complex convention is PyTorch's.
    """
    return withgradient(f, *args)[1]


def withgradient(f: Function, *args: Any) -> tuple[Any, tuple[Any, ...]]:
    """The value and the gradients; where `f` returns `(loss, *aux)`, the value is all of it.

    >>> withgradient(lambda x: x**2, 3.0)
    (9.0, (6.0,))
    >>> withgradient(lambda x: (x**2, 2 * x), 3.0)
    ((9.0, 6.0), (6.0,))
    """
    y, sweep = run(f, args)
    several = isinstance(y, tuple) and len(y) > 0 and not is_array(y)
    one = ones(y[0] if several else y)
    return y, sweep((one, *[None] * (len(y) - 1)) if several else one)


def pullback(f: Function, *args: Any) -> tuple[Any, Function]:
    """The value `y = f(*args)` and a function from ȳ to the gradients, which may be called many times.

    >>> y, back = pullback(lambda a, b: (a * b, a + b), 2.0, 3.0)
    >>> y, back((1.0, 0.0)), back((0.0, 1.0))
    ((6.0, 5.0), (3.0, 2.0), (1.0, 1.0))
    """
    return run(f, args)


def jacobian(f: Function, *args: Any) -> tuple[Any, ...]:
    """The Jacobian of a function with a number or an array as its result: one per argument, laid out like it.

    Each has the shape of the result followed by the shape of the argument. One sweep for each number of the
    result.

    >>> jacobian(lambda x: x**2, torch.tensor([1.0, 2.0]))[0]
    tensor([[2., 0.],
            [0., 4.]])
    """
    y, sweep = run(f, args)
    if not carries(y):
        raise TypeError(f"a Jacobian is of a number or an array; the function returned {y!r}")
    if not is_array(y):
        return sweep(one_like(y))
    rows = [sweep(unit(y, i)) for i in range(y.size if isinstance(y, np.ndarray) else y.numel())]
    return (
        tuple(stack(list(parts), y, arg) for parts, arg in zip(zip(*rows, strict=True), args, strict=True))
        if rows
        else ()
    )


def unit(y: Any, i: int) -> Any:
    """Zeros like y with a one at the flat index i."""
    e = torch.zeros_like(y) if isinstance(y, Tensor) else np.zeros_like(y)
    e.reshape(-1)[i] = 1
    return e


def stack(rows: list[Any], y: Any, x: Any) -> Any:
    """The rows of a Jacobian, each laid out like x, as one."""
    full: list[Any]
    if carries(x):
        if all(row is None for row in rows):
            return None
        if isinstance(y, Tensor):
            full = [torch.zeros_like(torch.as_tensor(x)) if row is None else torch.as_tensor(row) for row in rows]
            return torch.stack(full).reshape(*y.shape, *full[0].shape)
        full = [np.zeros_like(x) if row is None else np.asarray(row) for row in rows]
        return np.stack(full).reshape(*y.shape, *full[0].shape)
    if all(row is None for row in rows):
        return None
    first = rows[0]
    if isinstance(first, dict):
        parts = {key: stack([row[key] for row in rows], y, _part(x, key)) for key in first}
        return type(first)(parts)
    if isinstance(first, list | tuple):
        columns = [stack(list(c), y, part) for c, part in zip(zip(*rows, strict=True), x, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else type(first)(columns)
    raise TypeError(f"the Jacobian by a {type(x).__name__} has no layout; pass its numbers")


def _part(x: Any, key: Any) -> Any:
    if isinstance(x, dict):
        return x[key]
    if isinstance(x, torch.nn.Module):
        return x.get_parameter(key)
    return getattr(x, key)


def run(f: Function, args: tuple[Any, ...]) -> tuple[Any, Function]:
    """`y = f(*args)`, and the function from ȳ to gradients laid out like the arguments."""
    check_tape(args)
    this = Run()
    with placed(), this:
        y, back = pull(f, *args)

    def sweep(ȳ: Any) -> tuple[Any, ...]:
        def seeded(bar: Any) -> tuple[Any, ...]:
            sweep: Sweep = STATE.sweep
            bars = back(seed(y, fit(bar, y) if carries(y) else bar, sweep))
            return tuple(layout(x, b, sweep) for x, b in zip(args, bars, strict=True))

        with placed():
            return this.sweep(seeded, ȳ)

    return y, sweep


def ones(y: Any) -> Any:
    """The cotangent to start a gradient from.

    Raises:
        TypeError, ValueError: y isn't one real number.
    """
    if isinstance(y, int) and not isinstance(y, bool):
        return None
    if not (carries(y) or is_array(y)):
        raise TypeError(f"a gradient needs a number to start from; the function returned {y!r}")
    if isinstance(y, complex | np.complexfloating):
        raise ValueError(f"a gradient is of one real number, not {y!r}: take its abs, real or imag")
    if is_array(y) and not ((y.size if isinstance(y, np.ndarray) else y.numel()) == 1 and _is_real(y)):
        hint = "reduce it (mean, sum, abs), or use jacobian or pullback"
        raise ValueError(f"a gradient is of one real number, not {y.dtype} of shape {tuple(y.shape)}: {hint}")
    return one_like(y)


def _is_real(y: Any) -> bool:
    return y.is_floating_point() if isinstance(y, Tensor) else y.dtype.kind == "f"


def one_like(y: Any) -> Any:
    if isinstance(y, Tensor):
        return torch.ones_like(y)
    return np.ones_like(y) if isinstance(y, np.ndarray | np.generic) else type(y)(1)


def check_tape(args: tuple[Any, ...]) -> None:
    """Refuses tensors that PyTorch's tape records: its gradients would end here silently."""
    for x in args:
        if isinstance(x, Tensor) and x.grad_fn is not None and torch.is_grad_enabled():
            raise TypeError(
                "an argument is on PyTorch's tape, and the gradient of this result wouldn't reach it; "
                "use torchflux.gradient there, or pass x.detach()"
            )
