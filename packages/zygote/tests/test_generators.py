"""Generator expressions that are used up at once, and iterators that step; generators are refused with their place."""

import itertools
import math

import pytest

from torchflux_syntax import Unsupported
from torchflux_zygote import gradient, pushforward

from .derivatives import check


def summed(x):
    return sum(x * i for i in range(4)) * math.prod(x + i for i in range(3)) + math.fsum(
        math.sin(x * i) for i in (1, 2)
    )


def listed(x):
    a, b = (x * i for i in (1, 2))
    c = list(x**i for i in range(4))  # noqa: C400
    d = tuple(math.exp(v) for v in c if v < 0.7)
    e = dict((i, v) for i, v in enumerate(c))  # noqa: C402
    return a * b * c[3] + sum(d) + sorted((v * v for v in c), reverse=True)[0] + e[2]


def extremes(x):
    return max(x * i for i in range(3)) * min((x - i for i in range(3)), default=0.0) * any(v > 0 for v in (x, -x))


def nested(x):
    return sum(sum(x**i * j for j in range(i)) for i in range(4)) + math.hypot(*(x * i for i in range(3)))


class Powers:
    """An endless iterator, whose state is its own."""

    def __init__(self, x):
        self.x, self.value = x, 1.0

    def __iter__(self):
        return self

    def __next__(self):
        self.value = self.value * self.x
        return self.value


def stepped(x):
    """What a generator would do: endless, and in turns with another one."""
    a, b, total = Powers(x), Powers(2 * x), 0.0
    for v in a:
        total += v * next(b)
        if total > 3.0:
            break
    return total + sum(itertools.islice(a, 3))


@pytest.mark.parametrize("f", [summed, listed, extremes, nested, stepped])
def test_used_up_at_once(f):
    check(f, 0.8)


def endless(x):
    while True:
        yield x
        x = x * x


def delegated(x):
    yield from endless(x)


class Items:
    def __init__(self, x):
        self.x = x

    def __iter__(self):
        yield self.x


REFUSED = {
    "a generator in sum": (lambda x: sum(endless(x)), r"`yield` .* append to a list and return it, or, if it is endl"),
    "next": (lambda x: next(endless(x)), r"`yield` .* step it in the loop that uses it"),
    "zip": (lambda x: math.prod(next(zip(endless(x), endless(x), strict=False))), "`yield`"),
    "yield from": (lambda x: next(delegated(x)), r"`yield from` .* extend a list and return it"),
    "a method": (lambda x: sum(Items(x)), "`yield`"),
    "a kept expression": (lambda x: next(x * i for i in (1, 2)), "a generator expression .* write a list compr"),
    "an expression in zip": (
        lambda x: sum(a for a, _ in zip((x * i for i in (1, 2)), (3, 4), strict=True)),
        "a generator expr",
    ),
}


@pytest.mark.parametrize(("f", "message"), REFUSED.values(), ids=REFUSED)
def test_generators_are_refused_with_their_place(f, message):
    for way in (gradient, pushforward):
        with pytest.raises(Unsupported, match=rf"test_generators\.py:\d+:\d+: {message}"):
            (way(f, 0.8) if way is gradient else way(f, 0.8)(1.0))
