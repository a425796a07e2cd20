"""Functions without a rule: what they take are constants, and a derivative by one of these is refused.

Whether a number depends on what is differentiated isn't known in reverse mode when the function is called. So it is
called, and the cotangents of its numbers are refusals (`_cotangent.Refusal`), which are raised only where one arrives
at an argument of the gradient. Forward mode knows, and refuses at once.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch

from ._cotangent import Refusal
from ._kinds import SEQUENCES, carries, inert, is_parameter
from ._parts import give_slots
from ._place import here
from ._refuse import Refused, describe
from ._run import STATE

__all__ = [
    "as_constants",
    "check_constants",
    "check_still",
    "no_rule",
    "plain_numbers",
    "refused_bars",
    "taken_as_constant",
]

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]


def no_rule(f: Any) -> Refused:
    """The refusal of a function that isn't written in Python."""
    short = getattr(f, "__qualname__", getattr(f, "__name__", "f"))
    return Refused(
        f"a call of {describe(f)}, which isn't written in Python and has no rule",
        f"give it one: `@adjoint(of={short})` over a function of its arguments that returns `(y, pullback)`; "
        f"or wrap the call in ignore(...) if nothing should flow through it",
    )


def taken_as_constant(f: Any, spot: int | str) -> Refused:
    """The refusal of a derivative by one argument of a function."""
    name = _named(f, spot)
    return Refused(
        f"{describe(f)} by {name}, which it takes as a constant,",
        "write what it does in other functions, or pass ignore(...) of the number if nothing should flow through it",
    )


def _named(f: Any, spot: int | str) -> str:
    """How an argument is called, for messages."""
    if isinstance(spot, str):
        return f"its argument {spot!r}"
    try:
        name = [*inspect.signature(f).parameters, *[None] * spot][spot]
    except (TypeError, ValueError):
        name = _in_schema(f, spot)
    return f"its argument {name!r}" if name else f"its argument {spot + 1}"


def _in_schema(f: Any, spot: int) -> str | None:
    """The name of a number among the arguments of a C function of PyTorch's."""
    packet: Any = getattr(torch.ops.aten, getattr(f, "__name__", "?"), None)
    for overload in packet.overloads() if packet is not None else ():
        arguments = getattr(packet, overload)._schema.arguments
        if spot < len(arguments) and any(word in str(arguments[spot].type) for word in ("float", "number")):
            return str(arguments[spot].name)
    return None


def plain_numbers(x: Any) -> bool:
    """Whether an argument is nothing but numbers and what has no derivatives: a C function can't change it.

    >>> plain_numbers(1.0), plain_numbers((2.0, "a")), plain_numbers([1.0])
    (True, True, False)
    """
    if isinstance(x, tuple):
        return all(plain_numbers(part) for part in x)
    return inert(x) or (carries(x) and not hasattr(x, "__setitem__"))


def as_constants(
    f: Any, args: tuple[Any, ...], kwargs: dict[str, Any], refused: Callable[[int | str], Refused] | None = None
) -> Pulled:
    """`f(*args, **kwargs)`, and a back that refuses derivatives by any of the arguments: `refused(which)`."""
    y, place = f(*args, **kwargs), here()
    given, passive = dict(enumerate(args)) | kwargs, carries(y)

    def back(ȳ: Any) -> tuple[Any, ...]:
        if ȳ is None and passive:
            return (None,) * len(given)
        return tuple([refused_bars(x, _error(f, spot, refused, place)) for spot, x in given.items()])

    return y, back


def _error(f: Any, spot: int | str, refused: Callable[[int | str], Refused] | None, place: str) -> Refused:
    error = no_rule(f) if refused is None else refused(spot)
    error.place = place
    return error


def refused_bars(x: Any, error: Exception) -> Any:
    """The cotangent of an argument by which there is no derivative."""
    if carries(x):
        return None if is_parameter(x) else Refusal(error)
    if isinstance(x, tuple):
        bars = tuple([refused_bars(part, error) for part in x])
        return bars if any(bar is not None for bar in bars) else None
    if type(x) in SEQUENCES:
        give_slots(x, [refused_bars(part, error) for part in x])
    if type(x) is dict:
        for key, part in x.items():
            STATE.sweep.give(x, key, refused_bars(part, error))
    return None


def check_still(f: Any, dots: Any) -> None:
    """Refuses tangents of what a function without a rule takes."""
    if any(dot is not None for dot in dots):
        raise no_rule(f)


def check_constants(f: Any, dots: Any) -> None:
    """Refuses tangents of what a function takes as a constant."""
    for spot, dot in enumerate(dots):
        if dot is not None:
            raise taken_as_constant(f, spot)
