"""Rules for arrays made of numbers, of lists and of other arrays."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ._cotangent import Refusal, value
from ._elements import elements
from ._forward_arrays import note_view
from ._forward_rules import spread
from ._forward_torch import applied
from ._kinds import carries, fit
from ._pull import pull_function
from ._push import some
from ._refuse import Refused, describe
from ._registry import NONES, PULL, PUSH, arrive, constant, finish, pushes, raw, rule
from ._run import STATE
from ._streams import pairs_of

__all__: list[str] = []

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]
Array = np.ndarray


def _array(f: Any, object: Any, dtype: Any = None, **options: Any) -> Pulled:
    """`f(object, dtype)`: a new array, or of an array that fits the same one."""
    count = 1 + len(options)
    if isinstance(object, list | tuple | deque) and not _plain(object):
        if options:
            raise Refused(f"{describe(f)} with these options", "leave them out, and apply them by separate functions")
        return _array_of(object, dtype)
    y = f(object, dtype=dtype, **options)
    return y, partial(finish, lambda ȳ: (fit(ȳ, object), *NONES[count]), (object, dtype, *options.values()), y)


def _pull_array(f: Any, object: Any, *args: Any, **kwargs: Any) -> Pulled:
    y, back = _array(f, object, *args, **kwargs)
    count = 1 + len(args) + len(kwargs)
    return y, lambda ȳ: (back(ȳ)[0], *NONES[count - 1])


for _f in (np.array, np.asarray, np.asanyarray):
    PULL[_f] = partial(_pull_array, _f)


def _plain(x: Any) -> bool:
    return all(
        type(part) is int or isinstance(part, str | bool) or (isinstance(part, list | tuple | deque) and _plain(part))
        for part in x
    )


def _array_of(parts: Any, dtype: Any) -> Pulled:
    values, give = elements(parts)
    pairs = [_array_of(p, dtype) if isinstance(p, list | tuple | deque) else (p, None) for p in values]
    y = np.array([x for x, _ in pairs], dtype=dtype)

    def back(ȳ: Any) -> tuple[Any, ...]:
        if isinstance(ȳ, Refusal):
            return give([ȳ] * len(values)), None
        ȳ = _collected(y, ȳ)
        bars = (
            [None] * len(pairs)
            if ȳ is None
            else [arrive(x, fit(ȳ[i], x)) if b is None else b(ȳ[i])[0] for i, (x, b) in enumerate(pairs)]
        )
        return give(bars), None

    return y, back


def _collected(y: Any, ȳ: Any) -> Any:
    sweep = STATE.sweep
    return value(sweep.collect(y, (), ȳ) if sweep.marks else ȳ)


def _push_array(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(f, args, names)
    note_view(push, y, args[0], dots[0])
    if isinstance(args[0], list | tuple | deque):
        values, parts = pairs_of(push, args[0], dots[0])
        rows = [push(np.array, (values[i],), (parts[i],))[1] for i in range(len(values))]
        if not some(rows):
            return y, None
        return y, np.stack(
            [np.zeros_like(y[i]) if rows[i] is None else spread(rows[i], y[i]) for i in range(len(rows))]
        )
    return y, None if dots[0] is None else spread(dots[0], y)


for _f in (np.array, np.asarray, np.asanyarray):
    PUSH[_f] = partial(_push_array, _f)


@rule(np.full, np.full_like)
def _full(shape: Any, fill_value: Any, dtype: Any = None) -> Pulled:
    y = np.full_like(shape, fill_value, dtype) if isinstance(shape, Array) else np.full(shape, fill_value, dtype)
    return y, lambda ȳ: (None, fit(ȳ, fill_value))


@pushes(np.full, np.full_like)
def _push_full(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(np.full_like if "a" in names or isinstance(args[0], Array) else np.full, args, names)
    spots = [*("shape", "fill_value", "dtype")[: len(args) - len(names)], *names]
    dot = dots[spots.index("fill_value")]
    return y, None if dot is None or not carries(y) else spread(dot, y)


# Several arrays.


def of_lists(f: Any, arrays: Any, *args: Any, **options: Any) -> Any:
    """`f(arrays, ...)` where some of these are lists."""
    return f([np.array(x) if isinstance(x, list | tuple | deque) else x for x in arrays], *args, **options)


def has_lists(arrays: Any) -> bool:
    return isinstance(arrays, list | tuple) and any(isinstance(x, list | tuple | deque) for x in arrays)


constant(has_lists)


def _pull_joined(f: Any, known: Any, arrays: Any, *args: Any, **options: Any) -> Pulled:
    if not has_lists(arrays):
        return known(arrays, *args, **options)
    y, back = pull_function(of_lists, (f, arrays, *args), options)
    return y, lambda ȳ: back(ȳ)[1:]


@raw(np.concatenate)
def _concatenate(arrays: Any, axis: Any = 0) -> Pulled:
    parts, give = elements(arrays)
    y = np.concatenate(parts, axis)
    if axis is None:
        cuts = np.cumsum([np.size(part) for part in parts])[:-1]
        shapes = [np.shape(part) for part in parts]
        return y, _several(
            parts, give, y, lambda ȳ: [b.reshape(n) for b, n in zip(np.split(ȳ, cuts), shapes, strict=True)]
        )
    cuts = np.cumsum([part.shape[axis] for part in parts])[:-1]
    return y, _several(parts, give, y, lambda ȳ: np.split(ȳ, cuts, axis))


@raw(np.stack)
def _stack(arrays: Any, axis: int = 0) -> Pulled:
    parts, give = elements(arrays)
    y = np.stack(parts, axis)
    return y, _several(parts, give, y, lambda ȳ: list(np.moveaxis(ȳ, axis, 0)))


def _several(parts: list[Any], give: Any, y: Any, split: Any) -> Any:
    def back(ȳ: Any) -> tuple[Any, ...]:
        def split_bars(bar: Any) -> tuple[Any, ...]:
            return tuple(fit(b, p) for b, p in zip(split(bar), parts, strict=True))

        return give(finish(split_bars, tuple(parts), y, ȳ)), *NONES[1]

    return back


def _push_several(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    if has_lists(args[0]):
        return push(of_lists, (f, *args), (None, *dots), names)
    values, parts = pairs_of(push, args[0], dots[0])
    y = applied(f, (values, *args[1:]), names)
    if not some(parts):
        return y, None
    full = [np.zeros_like(values[i]) if parts[i] is None else spread(parts[i], values[i]) for i in range(len(values))]
    return y, applied(f, (full, *args[1:]), names)


for _g in (np.concatenate, np.stack):
    PULL[_g], PUSH[_g] = partial(_pull_joined, _g, PULL[_g]), partial(_push_several, _g)


@rule(np.where)
def _where(condition: Any, x: Any = None, y: Any = None) -> Pulled:
    if x is None:
        return np.where(condition), lambda ȳ: (None, None, None)
    result = np.where(condition, x, y)
    return result, lambda ȳ: (None, fit(np.where(condition, ȳ, 0), x), fit(np.where(condition, 0, ȳ), y))


@pushes(np.where)
def _push_where(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = np.where(*args)
    if len(args) < 3 or (dots[1] is None and dots[2] is None):
        return y, None
    a = 0.0 if dots[1] is None else dots[1]
    b = 0.0 if dots[2] is None else dots[2]
    return y, np.where(args[0], a, b)


@rule(np.linspace)
def _linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, **options: Any) -> Pulled:
    y = np.linspace(start, stop, num, endpoint, **options)

    def back(ȳ: Any) -> tuple[Any, ...]:
        part = _share(num, endpoint, options).reshape((-1,) + (1,) * (np.ndim(ȳ) - 1))
        return fit((ȳ * (1 - part)).sum(0), start), fit((ȳ * part).sum(0), stop)

    return y, back


def _share(num: int, endpoint: bool, options: Any) -> Any:
    """How much of the last number there is in each entry of `linspace`."""
    if options:
        raise Refused("np.linspace with these options", "leave them out")
    return np.linspace(0.0, 1.0, num, endpoint)


@pushes(np.linspace)
def _push_linspace(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(np.linspace, args, names)
    if not some(dots):
        return y, None
    if len(names) > 0 and names != ("num",):
        raise bad_options()
    share = np.reshape(np.linspace(0.0, 1.0, len(y), *args[3:]), (-1,) + (1,) * (np.ndim(y) - 1))
    a = 0.0 if dots[0] is None else dots[0]
    b = 0.0 if dots[1] is None else dots[1]
    return y, a * (1 - share) + b * share


def bad_options() -> Refused:
    return Refused("forward mode of np.linspace with these options", "leave them out")


constant(bad_options)
