"""Forward rules of reductions, iterators and `partial`. All Python."""

import functools
import itertools
import math
import operator
from typing import Any

from . import _builtins
from ._refuse import Refused
from ._registry import PUSH, constant, pushes
from ._streams import ChainStream, EnumerateStream, FilterStream, MapStream, SliceStream, ZipStream, each_pair, pairs_of
from ._unruled import check_still

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
    squares, dot = push(_builtins.squares, args, dots)
    return push(math.sqrt, (squares,), (dot,))


@pushes(math.pow)
def _math_pow(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return push(operator.pow, args, dots)


def _extreme(which: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    count = len(args) - len(names)
    options = {names[i]: args[count + i] for i in range(len(names))}
    if count > 1:
        values, parts = list(args[:count]), list(dots[:count])
    else:
        values, parts = pairs_of(push, args[0], dots[0])
    if len(values) == 0 and "default" in options:
        return options["default"], dots[count + names.index("default")]
    at = chosen(which, values, options.get("key"))
    return values[at], parts[at]


def chosen(which: Any, values: list[Any], key: Any) -> int:
    """The index of the least or greatest value."""
    keys = values if key is None else [key(x) for x in values]
    return which(range(len(values)), key=keys.__getitem__)


constant(chosen)
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
    stream = each_pair(push, args[0], dots[0])
    if len(args) == 1:
        return next(stream)
    try:
        pair = next(stream)
    except StopIteration:
        pair = args[1], dots[1]
    return pair


@pushes(itertools.chain)
def _chain(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return ChainStream(push, _streams(push, args, dots)), None


@pushes(itertools.islice)
def _islice(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return SliceStream(push, each_pair(push, args[0], dots[0]), args[1:]), None


@pushes(itertools.repeat)
def _repeat(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if len(args) < 2:
        raise endless_repeat()
    y = [args[0]] * args[1]
    push.fill(y, [dots[0]] * args[1])
    return y, None


def endless_repeat() -> Refused:
    return Refused("itertools.repeat without a number", "say how often, or use the value itself")


constant(endless_repeat)


@pushes(itertools.count)
def _count(push: Any, args: Any, dots: Any, names: Any) -> Any:
    check_still(itertools.count, dots)
    return count_from(*args), None


def count_from(*args: Any) -> Any:
    return itertools.count(*args)


constant(count_from)


@pushes(functools.partial)
def _partial(push: Any, args: Any, dots: Any, names: Any) -> Any:
    count = len(args) - len(names)
    options = {names[i]: args[count + i] for i in range(len(names))}
    y = functools.partial(*args[:count], **options)
    offset = len(y.args) - (count - 1)
    if isinstance(args[0], functools.partial):
        for i in range(offset):
            push.give(y, i, push.field(args[0], i))
        for name in args[0].keywords:
            push.give(y, name, push.field(args[0], name))
    for i in range(1, count):
        push.give(y, offset + i - 1, dots[i])
    for i in range(len(names)):
        push.give(y, names[i], dots[count + i])
    return y, None
