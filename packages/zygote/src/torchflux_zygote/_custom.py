"""One's own rules: `adjoint`, and functions that carry a rule already."""

import functools
from collections.abc import Callable
from typing import Any

from ._kinds import carries
from ._memory import is_array
from ._refuse import describe
from ._registry import PULL, PUSH, finish, positional

__all__ = ["adjoint", "custom_rule"]

Function = Callable[..., Any]


def adjoint(rule: Function | None = None, *, of: Any = None, pushforward: Function | None = None) -> Any:
    """Gives a function a derivative of your own: decorate one that returns `(y, pullback)`.

    `pullback(ȳ)` takes the cotangent of the result and returns one for each argument, `None` where nothing
    flows; with one argument, the cotangent itself will do. It is differentiated in turn for second
    derivatives, so it is written in the same Python as everything else.

    Args:
        rule: the function.
        of: someone else's function which this is the rule of, a C function for example. Without it, the
            decorated function stands for itself: it returns `y`.
        pushforward: `pushforward(args, tangents) -> tangent of y`, both tuples, `None` for a tangent that
            is zero; needed only where it should be faster than the transpose of the pullback.

    Raises:
        TypeError: (when called) the rule returns no pair, or the pullback the wrong number of cotangents.
        ValueError: (when called) a cotangent isn't shaped like its argument.

    >>> from torchflux_zygote import gradient
    >>> @adjoint
    ... def clip_gradient(x):
    ...     return x, lambda ȳ: min(max(ȳ, -1.0), 1.0)
    >>> gradient(lambda x: 5 * clip_gradient(x), 2.0)
    (1.0,)

    Source: Zygote.jl's `@adjoint`; Innes (2018), arXiv 1810.07951.
    """
    if rule is None:
        return lambda rule: adjoint(rule, of=of, pushforward=pushforward)
    if of is not None:
        PULL[of] = functools.partial(_pull_custom, rule)
        PUSH[of] = functools.partial(_push_of, rule, pushforward)
        return rule

    @functools.wraps(rule)
    def ruled(*args: Any, **kwargs: Any) -> Any:
        return _run(rule, args, kwargs)[0]

    ruled.__adjoint__ = rule  # type: ignore[attr-defined]
    ruled.__pushforward__ = pushforward  # type: ignore[attr-defined]
    return ruled


def custom_rule(f: Any) -> Function | None:
    """The pull of a function that carries a rule, ours or another package's, or a compiled derivative."""
    native = getattr(f, "__native__", None)
    if native is not None and hasattr(native, "pull"):
        return native.pull
    rule = carried(f)
    return None if rule is None else functools.partial(_pull_custom, rule)


def carried(f: Any) -> Any:
    """The rule in the attribute `__adjoint__`, unless it was only copied there by `functools.wraps`."""
    rule = getattr(f, "__adjoint__", None)
    copied = rule is not None and getattr(getattr(f, "__wrapped__", None), "__adjoint__", None) is rule
    return None if copied else rule


def _run(rule: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    pair = rule(*args, **kwargs)
    if not (isinstance(pair, tuple) and len(pair) == 2 and callable(pair[1])):
        raise TypeError(f"{describe(rule)} must return (y, pullback), pullback a function; it returned {pair!r}")
    return pair


def _pull_custom(rule: Function, *args: Any, **kwargs: Any) -> tuple[Any, Function]:
    y, pullback = _run(rule, args, kwargs)
    names = positional(rule)
    order = [*range(len(args)), *(names.index(name) if name in names else None for name in kwargs)]
    given = (*args, *kwargs.values())

    def back(ȳ: Any) -> tuple[Any, ...]:
        bars = pullback(ȳ)
        count = 1 + max((i for i in order if i is not None), default=-1)
        bars = bars if isinstance(bars, tuple) and (count != 1 or len(bars) == 1) else (bars,)
        if len(bars) < count or len(bars) > max(len(names), count):
            raise TypeError(
                f"the pullback of {describe(rule)} returned {len(bars)} cotangents for {count} arguments; "
                "it must return a tuple with one for each, None where there is none"
            )
        return tuple(_checked(rule, x, None if i is None else bars[i]) for i, x in zip(order, given, strict=True))

    return y, functools.partial(finish, back, given, y)


def _checked(rule: Function, x: Any, bar: Any) -> Any:
    if bar is None or not carries(x):
        return bar if isinstance(x, tuple) else None
    expected = tuple(x.shape) if is_array(x) else ()
    if tuple(getattr(bar, "shape", ())) != expected:
        raise ValueError(
            f"the pullback of {describe(rule)} returned shape {tuple(getattr(bar, 'shape', ()))} "
            f"for an argument of shape {expected} (sum over what was broadcast)"
        )
    return bar.item() if isinstance(x, float) and is_array(bar) else bar


def _push_of(rule: Function, pushforward: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    from ._push import push_custom

    return push_custom(rule, pushforward, push, args, dots, names)
