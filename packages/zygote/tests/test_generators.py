"""Generator expressions that are used up at once, and iterators that step."""

import itertools
import math

import pytest
import torch

from torchflux_zygote import Refused, gradient, pushforward

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
    """What a generator does: endless, and in turns with another one."""
    a, b, total = Powers(x), Powers(2 * x), 0.0
    for v in a:
        total += v * next(b)
        if total > 3.0:
            break
    return total + sum(itertools.islice(a, 3))


@pytest.mark.parametrize("f", [summed, listed, extremes, nested, stepped])
def test_used_up_at_once(f):
    check(f, 0.8)


# Iterators that functions look at, or change lists by.


def large(x):
    return x > 5


def looked_at(x):
    """What `any` and `all` see are elements, in forward mode too."""
    total = x if any(map(large, [x])) else 2 * x
    return total + (x if all(map(large, [x])) else x * x)


def stored(x):
    xs = [0.0]
    xs.extend(iter([x, 2 * x]))
    xs += map(math.sin, [x])
    xs[0:1] = filter(None, [x, 0.0, x * x])
    return sum(xs) * xs[0] * xs[1] * len(set(map(round, xs)))


def rows(x):
    """The rows of a tensor are views of it."""
    m, total = torch.arange(6.0, dtype=torch.float64).reshape(2, 3) * x, 0.0
    for row in m:
        row.mul_(x)
        total += row.sum().item()
    return total * m[0, 1].item()


@pytest.mark.parametrize("f", [looked_at, stored, rows])
def test_of_iterators(f):
    check(f, 0.8)


def test_an_iterator_that_is_searched():
    def f(x):
        return x if x in map(abs, [x]) else 3 * x

    assert pushforward(f, 0.8)(1.0) == 1.0
    with pytest.raises(Refused, match="an iterator given to a function that isn't transformed"):
        gradient(f, 0.8)


def test_a_decorated_function():
    def f(x):
        def scaled(f):
            return lambda v: 3 * f(v)

        @scaled
        def square(v):
            return v * v * x

        return square(x)

    check(f, 0.8)
