"""Forward rules of reductions, iterators and `partial`. All Python."""

import functools
import itertools
import math
import operator
from typing import Any

from ._ordering import by_key, chosen, chosen_by
from ._registry import PUSH, constant, pushes
from ._streams import (
    ChainStream,
    EnumerateStream,
    FilterStream,
    MapStream,
    SliceStream,
    YieldStream,
    ZipStream,
    each_pair,
    pairs_of,
    steps_of,
)
from ._yields import delegated, returned, thrown

__all__: list[str] = []


@pushes(sum)
def _sum(push: Any, args: Any, dots: Any, names: Any) -> Any:
    values, parts = pairs_of(push, args[0], dots[0])
    total, total_dot = (args[1], dots[1]) if len(args) > 1 else (0, None)
    for i in range(len(values)):
        total, total_dot = push(operator.add, (total, values[i]), (total_dot, parts[i]))
    return total, total_dot


@pushes(math.fsum)
def _fsum(push: Any, args: Any, dots: Any, names: Any) -> Any:
    values, parts = pairs_of(push, args[0], dots[0])
    return math.fsum(values), math.fsum([p for p in parts if p is not None])


@pushes(math.hypot)
def _hypot(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = math.hypot(*args)
    parts = [args[i] / y * dots[i] for i in range(len(args)) if dots[i] is not None and y != 0]
    return y, sum(parts) if len(parts) > 0 else None


@pushes(math.pow)
def _math_pow(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return push(operator.pow, args, dots)


def _extreme(which: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    count = len(args) - len(names)
    options = {names[i]: args[count + i] for i in range(len(names))}
    if by_key(options):
        one = count == 1
        return push(
            chosen_by,
            (which, args[0] if one else tuple(args[:count]), *args[count:]),
            (None, dots[0] if one else tuple(dots[:count]), *dots[count:]),
            names,
        )
    if count > 1:
        values, parts = list(args[:count]), list(dots[:count])
    else:
        values, parts = pairs_of(push, args[0], dots[0])
    if len(values) == 0 and "default" in options:
        return options["default"], dots[count + names.index("default")]
    at = chosen(which, values, options.get("key"))
    return values[at], parts[at]


PUSH[max], PUSH[min] = functools.partial(_extreme, max), functools.partial(_extreme, min)


def _streams(push: Any, xs: Any, dots: Any) -> list[Any]:
    return [each_pair(push, xs[i], dots[i]) for i in range(len(xs))]


@pushes(zip)
def _zip(push: Any, args: Any, dots: Any, names: Any) -> Any:
    count = len(args) - len(names)
    return ZipStream(push, _streams(push, args[:count], dots), *args[count:]), None


@pushes(enumerate)
def _enumerate(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return EnumerateStream(push, each_pair(push, args[0], dots[0]), args[1] if len(args) > 1 else 0), None


@pushes(map)
def _map(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return MapStream(push, args[0], ZipStream(push, _streams(push, args[1:], dots[1:]))), None


@pushes(filter)
def _filter(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return FilterStream(push, args[0], each_pair(push, args[1], dots[1])), None


@pushes(iter)
def _iter(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return each_pair(push, args[0], dots[0]), None


@pushes(next)
def _next(push: Any, args: Any, dots: Any, names: Any) -> Any:
    stream = steps_of(push, args[0])
    if len(args) == 1:
        return next(stream)
    try:
        pair = next(stream)
    except StopIteration:
        pair = args[1], dots[1]
    return pair


@pushes(YieldStream.send)
def _send(push: Any, args: Any, dots: Any, names: Any) -> Any:
    steps, x = args
    if steps.delegates and x is not None:
        raise delegated("send")
    return steps.send(None if x is None else (x, dots[1]))


@pushes(YieldStream.throw)
def _throw(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if args[0].delegates:
        raise delegated("throw")
    return args[0].throw(thrown(*args[1:]))


@pushes(YieldStream.close)
def _close(push: Any, args: Any, dots: Any, names: Any) -> Any:
    args[0].close()
    return None, None


@pushes(returned)
def _returned(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return args[0].returned if isinstance(args[0], YieldStream) else (None, None)


constant(delegated, thrown)


@pushes(itertools.chain)
def _chain(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return ChainStream(push, _streams(push, args, dots)), None


@pushes(itertools.islice)
def _islice(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return SliceStream(push, each_pair(push, args[0], dots[0]), args[1:]), None


@pushes(functools.partial)
def _partial(push: Any, args: Any, dots: Any, names: Any) -> Any:
    count = len(args) - len(names)
    options = {names[i]: args[count + i] for i in range(len(names))}
    y = functools.partial(*args[:count], **options)
    inner, given = args[0], tuple(dots[1:count])
    if isinstance(inner, functools.partial):
        given = (*(push.field(inner, "args") or (None,) * len(inner.args)), *given)
        for name in inner.keywords:
            push.give(y.keywords, name, push.field(inner.keywords, name))
    push.give(y, "args", given)
    for i in range(len(names)):
        push.give(y.keywords, names[i], dots[count + i])
    return y, None
