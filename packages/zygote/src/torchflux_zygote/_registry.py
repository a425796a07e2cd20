"""The rules: what is known about functions that aren't transformed.

A rule takes the function's arguments and returns `(y, back)`, where `back(ȳ)` gives a tuple with one
cotangent for each of the first positional arguments; those that it leaves out get none. `back` is only
called with a cotangent that is there and isn't pending.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from ._cotangent import Pending, Refusal, settled
from ._kinds import carries, is_parameter
from ._run import STATE

__all__ = [
    "FORWARD_LIBRARIES",
    "NONES",
    "PULL",
    "PUSH",
    "SUBSTITUTES",
    "constant",
    "finish",
    "none",
    "pushes",
    "raw",
    "rule",
    "substitute",
]

Function = Callable[..., Any]

PULL: dict[Any, Function] = {}
"""By function: `f(*args, **kwargs) -> (y, back)`, where `back` is ready to be called by generated code."""
PUSH: dict[Any, Function] = {}
"""By function: `f(push, args, dots, names) -> (y, y_dot)`; ordinary Python that can be transformed."""
SUBSTITUTES: dict[Any, Function] = {}
"""By function: the same in Python that can be transformed."""

FORWARD_LIBRARIES: dict[str, Function] = {}
"""By package: what gives the forward rules of its functions."""

NONES: tuple[tuple[None, ...], ...] = tuple((None,) * n for n in range(64))


def none(count: int) -> Function:
    """The back of a call with `count` arguments through which nothing flows."""
    return _NOTHING[count] if count < 64 else lambda _: (None,) * count


_NOTHING = [lambda _, nones=nones: nones for nones in NONES]


def finish(back: Function, args: tuple[Any, ...], y: Any, ȳ: Any) -> tuple[Any, ...]:
    """What a rule's `back` gives for ȳ, where shadows take part: those of changed arrays and parameters."""
    sweep = STATE.sweep
    if sweep.marks:
        ȳ = sweep.collect(y, args, ȳ)
    if ȳ is None:
        return NONES[len(args)]
    if isinstance(ȳ, Pending):
        if isinstance(ȳ, Refusal):
            return tuple([sweep.arrive(x, ȳ) if isinstance(x, tuple) or carries(x) else None for x in args])
        ȳ = ȳ.value()
    bars = back(ȳ)
    if len(bars) != len(args):
        bars = bars[: len(args)] + NONES[max(len(args) - len(bars), 0)]
    if not sweep.marks:
        for x in args:  # not any(map(...)): every operation on tensors comes here
            if type(x) is not Tensor and is_parameter(x):
                break
        else:
            return bars
        return tuple(
            [bar if bar is None or type(x) is Tensor else arrive(x, bar) for x, bar in zip(args, bars, strict=True)]
        )
    bars = tuple(map(settled, bars))
    return tuple([arrive(x, bar) for x, bar in zip(args, bars, strict=True)])


def arrive(x: Any, bar: Any) -> Any:
    """`bar`, a cotangent of `x`, less what belongs into a shadow: that is added there."""
    if isinstance(x, tuple) and isinstance(bar, tuple):
        return tuple(arrive(part, b) for part, b in zip(x, bar, strict=True))
    return STATE.sweep.arrive(x, bar)


def rule(*functions: Any) -> Callable[[Function], Function]:
    """Registers a rule for functions of numbers, arrays and tuples."""

    def register(f: Function) -> Function:
        ready = with_finish(f)
        for function in functions:
            PULL[function] = ready
        return f

    return register


def with_finish(f: Function) -> Function:
    """The rule `f`, ready for generated code; keywords that name its parameters may carry gradients, too."""

    def pulled(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            return by_keyword(f, args, kwargs)
        y, back = f(*args)
        return y, partial(finish, back, args, y)

    return pulled


def by_keyword(f: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = positional(f)
    given = [name for name in names[len(args) :] if name in kwargs]
    if not given:
        y, back = f(*args, **kwargs)
        full: tuple[Any, ...] = args
    else:
        defaults = [inspect.signature(f).parameters[name].default for name in names]
        full = tuple(
            args[i] if i < len(args) else kwargs.get(name, defaults[i])
            for i, name in enumerate(names[: names.index(given[-1]) + 1])
        )
        y, back = f(*full, **{name: x for name, x in kwargs.items() if name not in names})
    spots = {name: i for i, name in enumerate(names[: len(full)])}

    def pull_back(ȳ: Any) -> tuple[Any, ...]:
        bars = finish(back, full, y, ȳ)
        return (*bars[: len(args)], *(bars[spots[name]] if name in spots else None for name in kwargs))

    return y, pull_back


def positional(f: Function) -> list[str]:
    """The names of the parameters that may be given by position."""
    parameters = inspect.signature(f).parameters.values()
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


def raw(*functions: Any) -> Callable[[Function], Function]:
    """Registers a rule that sees to shadows and absent cotangents itself.

    Its back gives a cotangent for each parameter that may be given by position, given or not.
    """

    def register(f: Function) -> Function:
        optional = any(p.default is not p.empty for p in inspect.signature(f).parameters.values())
        for function in functions:
            PULL[function] = partial(_arranged, f, positional(f)) if optional else f
        return f

    return register


def _arranged(f: Function, names: list[str], *args: Any, **kwargs: Any) -> Any:
    """A rule with optional parameters: its cotangents for those that are given."""
    y, back = f(*args, **kwargs)
    count = len(args)
    if not kwargs:
        return y, lambda ȳ: back(ȳ)[:count]

    def pull_back(ȳ: Any) -> tuple[Any, ...]:
        bars = back(ȳ)
        found = dict(zip(names, bars, strict=False))
        return (*bars[:count], *(found.get(name) for name in kwargs))

    return y, pull_back


def constant(*functions: Any) -> None:
    """Registers functions whose results have no derivatives, and that change nothing that has."""
    for function in functions:
        PULL[function] = partial(_constant, function)
        PUSH[function] = partial(_push_constant, function)


def _constant(f: Function, *args: Any, **kwargs: Any) -> Any:
    return f(*args, **kwargs), none(len(args) + len(kwargs))


def _push_constant(f: Function, push: Any, args: Any, dots: Any, names: Any) -> Any:
    count = len(args) - len(names)
    return f(*args[:count], **dict(zip(names, args[count:], strict=True))), None


def pushes(*functions: Any) -> Callable[[Function], Function]:
    """Registers a forward rule `f(push, args, dots, names)`."""

    def register(f: Function) -> Function:
        for function in functions:
            PUSH[function] = f
        return f

    return register


def substitute(*functions: Any) -> Callable[[Function], Function]:
    """Registers Python code to be transformed in place of a function that can't be."""

    def register(f: Function) -> Function:
        for function in functions:
            SUBSTITUTES[function] = f
        return f

    return register
