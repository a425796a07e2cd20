"""The public functions inside of a derivative, in Python that can be transformed; `pushforward` and `hessian`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from ._gradient import one_like, stack, unit
from ._kinds import SEQUENCES, carries
from ._layout import PathDict, trainables
from ._memory import is_array
from ._nested import START, along, collected, seeds, vjp
from ._place import placed
from ._push import Forward
from ._registry import SUBSTITUTES, constant

__all__ = ["directional", "hessian", "pushforward"]


def gradient_again(f: Any, *args: Any) -> Any:
    """`gradient` inside a derivative."""
    return vjp(f, args, START)


def withgradient_again(f: Any, *args: Any) -> Any:
    """`withgradient` inside a derivative."""
    return f(*args), vjp(f, args, START)


def pullback_again(f: Any, *args: Any) -> Any:
    """`pullback` inside a derivative."""
    y = f(*args)

    def back(ȳ: Any) -> Any:
        return vjp(f, args, ȳ)

    return y, back


def jacobian_again(f: Any, *args: Any) -> Any:
    """`jacobian` inside a derivative."""
    y = f(*args)
    if not is_array(y):
        return vjp(f, args, one_like(y))
    rows = [vjp(f, args, unit(y, i)) for i in range(size_of(y))]
    return tuple([stack([row[k] for row in rows], y, args[k]) for k in range(len(args))])


def size_of(y: Any) -> int:
    return y.numel() if isinstance(y, Tensor) else y.size


constant(one_like, unit, size_of)


def pushforward(f: Callable[..., Any], *args: Any) -> Callable[..., Any]:
    """The function from tangents of the arguments to the tangent of `f(*args)`: forward mode.

    A tangent is laid out like what it belongs to; `None` is zero.

    >>> pushforward(lambda x, y: x * y, 3.0, 4.0)(1.0, 0.5)
    5.5

    Source: Zygote.jl's `pushforward`; Wengert (1964), doi:10.1145/355586.364791.
    """

    again = pushforward_again(f, *args)

    def tangent(*directions: Any) -> Any:
        with placed():
            return again(*directions)

    return tangent


def pushforward_again(f: Any, *args: Any) -> Any:
    """`pushforward` inside a derivative."""

    def tangent(*directions: Any) -> Any:
        push = Forward()
        dots = tuple([seeds(push, args[i], directions[i]) for i in range(len(args))])
        y, dot = push(f, args, dots)
        return collected(push, y, dot)

    return tangent


SUBSTITUTES[pushforward] = pushforward_again


def directional(f: Any, x: Any, v: Any) -> Any:
    """The gradient by x of the derivative of `f(x)` in the direction v: a Hessian-vector product."""
    return vjp(partial(along_one, f, v), (x,), START)[0]


def along_one(f: Any, v: Any, x: Any) -> Any:
    return along(f, (x,), (v,), START)


def hessian(f: Callable[..., Any], x: Any) -> Any:
    """The second derivatives of the scalar `f(x)`; for a tree, the tree of the trees of its parts.

    Reverse over forward mode, one sweep for each number in x.

    >>> import torch
    >>> hessian(lambda x: x[0] ** 2 * x[1], torch.tensor([1.0, 2.0]))
    tensor([[4., 2.],
            [2., 0.]])
    >>> hessian(lambda x: x**3, 2.0)
    12.0
    """
    return _rows(f, x, x, lambda unit: unit)


def _rows(f: Any, x: Any, part: Any, whole: Any) -> Any:
    """The rows of a Hessian that belong to a part of x; `whole(v)` is the direction in x that moves it by v."""
    if carries(part):
        if not is_array(part):
            row = directional(f, x, whole(one_like(part)))
            return zero_filled(row, x)
        rows = [zero_filled(directional(f, x, whole(unit(part, i))), x) for i in range(size_of(part))]
        return stack(rows, part, x)
    if isinstance(part, nn.Module):
        named = trainables(part)
        return PathDict({path: _rows(f, x, p, partial(_only, whole, named, path)) for path, p in named.items()})
    if isinstance(part, dict):
        return {key: _rows(f, x, p, partial(_only, whole, part, key)) for key, p in part.items()}
    if isinstance(part, tuple | list):
        rows = [_rows(f, x, p, partial(_only_at, whole, part, i)) for i, p in enumerate(part)]
        return type(part)(*rows) if hasattr(part, "_fields") else type(part)(rows)
    if isinstance(part, SEQUENCES):
        return [_rows(f, x, p, partial(_only_at, whole, part, i)) for i, p in enumerate(part)]
    return None


def _only(whole: Any, parts: Any, key: Any, v: Any) -> Any:
    return whole({k: v if k == key else None for k in parts})


def _only_at(whole: Any, parts: Any, i: int, v: Any) -> Any:
    return whole([v if k == i else None for k in range(len(parts))])


def zero_filled(row: Any, x: Any) -> Any:
    """A row of a Hessian with zeros for what doesn't move: None stays where x isn't a number."""
    if carries(x):
        return x * 0 if row is None else row
    if isinstance(row, tuple | list):
        parts = [zero_filled(r, p) for r, p in zip(row, x, strict=True)]
        return type(row)(*parts) if hasattr(row, "_fields") else type(row)(parts)
    if isinstance(row, dict):
        named = trainables(x) if isinstance(x, nn.Module) else x
        return type(row)({key: zero_filled(r, named[key]) for key, r in row.items()})
    return row


def hessian_again(f: Any, x: Any) -> Any:
    """`hessian` inside a derivative, of a number or an array."""
    if not is_array(x):
        return directional(f, x, one_like(x))
    return stack([directional(f, x, unit(x, i)) for i in range(size_of(x))], x, x)


def register(**functions: Any) -> None:
    """Registers the public functions' transformable forms."""
    again = {"gradient": gradient_again, "withgradient": withgradient_again, "pullback": pullback_again}
    again |= {"jacobian": jacobian_again, "hessian": hessian_again}
    for name, f in functions.items():
        SUBSTITUTES[f] = again[name]
