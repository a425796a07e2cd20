"""`collections.deque`: both ends, maxlen, changes in place, aliases, as arguments and results, and what is refused."""

import copy
import itertools
import math
from collections import defaultdict, deque

import numpy as np
import pytest
import torch

from torchflux_zygote import Refused, checkpointed, gradient, hessian, pullback, pushforward

from .derivatives import check


def both_ends(x):
    d = deque()
    d.append(x)
    d.appendleft(2.0 * x)
    d.append(x * x)
    d.appendleft(math.sin(x))
    return d.pop() * d.popleft() + d[0] * d[-1]


def window(x):
    """A sliding window: what falls out at the other end is lost."""
    d = deque([1.0, x], maxlen=3)
    total = 0.0
    for i in range(6):
        d.append(x * sum(d) / (i + 1))
        total += d[0] * d[-1]
    d.appendleft(x**3)
    return total + sum(d)


def breadth_first(x):
    """A queue that grows while it is worked off."""
    waiting, total = deque([(x, 0)]), 0.0
    while waiting:
        value, depth = waiting.popleft()
        total += value * value
        if depth < 3:
            waiting.append((value * 0.5, depth + 1))
            waiting.append((math.sin(value), depth + 1))
    return total


def turned(x):
    d = deque([x, 2 * x, x * x, 5.0])
    d.rotate(1)
    first = d[0] * d[1]
    d.rotate(-2)
    d.rotate()
    d.rotate(9)
    d.reverse()
    return sum((i + 1) * v for i, v in enumerate(d)) * first


def extended(x):
    d = deque([x], 5)
    d.extend([2 * x, x * x])
    d.extendleft((3 * x, x**3))
    d += [x * 7]
    d.extend(d)
    return sum(v * (i + 1) for i, v in enumerate(d))


def extended_by_an_array(x):
    d = deque(x, maxlen=3)
    d.extend(x * x)
    d.extendleft(x[:2])
    return d[0] * d[1] * d[2]


def entries(x):
    d = deque([x, 2.0, x * x, x, 4.0 * x])
    d[1] = d[0] * d[-1]
    d[-2] *= x
    del d[0]
    d.insert(1, x**3)
    d.insert(-1, 2 * x)
    d.insert(100, x)
    d.remove(d[2])
    return sum(v * (i + 1) for i, v in enumerate(d)) * len(d)


def cleared(x):
    d = deque([x, x])
    y = d[0] * d[1]
    d.clear()
    d.append(y * x)
    return d.pop() + len(d)


def aliased(x):
    d = deque([x, 2 * x])
    same, held = d, {"d": d}
    e = d.copy()
    same.append(x * x)
    held["d"][0] = 3 * x
    e[1] = e[1] * x
    return sum(d) * sum(e) + d[2] * e[0] * (d is same)


def nested(x):
    d = deque([[x], deque([x * x])])
    inner = d[0]
    inner.append(3 * x)
    d[1].appendleft(inner[0])
    d.rotate()
    return d[0][0] * d[1][1] + sum(d[0])


def iterated(x):
    d = deque([x, 2 * x, x * x])
    a, *rest = d
    b = max(d) * min(d) + math.fsum(reversed(d))
    pairs = sum(u * v for u, v in zip(d, itertools.islice(d, 1, None), strict=False))
    return a * rest[1] + b + pairs + sum(sorted(d)) + sum(map(math.exp, d)) + math.hypot(*d) + list(d)[1] + tuple(d)[2]


def copies(x):
    d = deque([x, [x * x]], maxlen=2)
    a, b = copy.copy(d), copy.deepcopy(d)
    a[1].append(2 * x)
    b[1].append(5.0)
    b.append(x**3)
    return d[1][1] * a[0] * b[1] * b[0][0] * (b.maxlen or 0)


def grouped(x):
    groups = defaultdict(deque)
    for i in range(4):
        groups[i % 2].appendleft(x**i)
    return groups[0][0] * groups[1][1] + groups[1].popleft()


def nothing_fits(x):
    d = deque([x], maxlen=0)
    d.append(x)
    d.appendleft(x)
    d.extend([x])
    return x * x + len(d)


def given_up(x):
    """What an exception interrupts is undone as far as it got."""
    d = deque([x], maxlen=2)
    try:
        d.append(2 * x)
        d.append(x * x)
        d.rotate(1)
        d.insert(0, x)
    except IndexError:
        d[0] = d[0] * d[1]
    return d[0] + 3 * d[1]


def in_checkpoint(x):
    def part(y):
        d = deque([y], maxlen=2)
        for _ in range(4):
            d.append(d[-1] * y + d[0])
        return d[0] * d[1]

    return checkpointed(part, x) * x


def arrays(x):
    a = np.array(deque([x, 2 * x]))
    return a @ np.array([deque([x, 1.0]), deque([x * x, x])]).sum(0) + np.concatenate(deque([a, a * a])) @ np.arange(4)


def tensors(x):
    a = torch.tensor(deque([x, 2 * x]), dtype=torch.float64)
    return (a * torch.as_tensor(deque([deque([x]), deque([x * x])]), dtype=torch.float64)).sum().item()


@pytest.mark.parametrize(
    "f",
    [
        both_ends, window, breadth_first, turned, extended, entries, cleared, aliased, nested, iterated, copies,
        grouped, nothing_fits, given_up, in_checkpoint, arrays, tensors,
    ],
)  # fmt: skip
def test_deques(f):
    check(f, 0.8)


def test_of_arrays():
    check(extended_by_an_array, np.array([0.7, -1.2, 2.3]))


def test_as_an_argument_and_as_a_result():
    """Laid out as a list; after the sweep the deque is as the function left it."""
    d = deque([2.0, 3.0, 5.0], maxlen=3)

    def f(d):
        d.append(d[0] * d[1])
        d.rotate()
        return d[0] * d[1] * d[2]

    assert gradient(f, d) == ([3.0 * 3.0 * 5.0, 2.0 * 2 * 3.0 * 5.0, 2.0 * 3.0 * 3.0],)
    assert d == deque([6.0, 3.0, 5.0], maxlen=3)

    def g(d):
        return deque([d[1] * d[1], d[0]])

    assert pullback(g, deque([2.0, 3.0]))[1]([10.0, 100.0]) == ([100.0, 60.0],)
    assert pushforward(lambda d: d[0] * d[1], deque([2.0, 3.0]))([1.0, 10.0]) == 23.0
    assert hessian(lambda d: d[0] * d[0] * d[1], deque([2.0, 3.0])) == [[6.0, 4.0], [4.0, 0.0]]


def test_changes_while_it_is_iterated_over_raise_as_in_python():
    def f(x):
        d = deque([x, x])
        for v in d:
            d.append(v)
        return d[0]

    for way in (f, lambda x: gradient(f, x), lambda x: pushforward(f, x)(1.0)):
        with pytest.raises(RuntimeError, match="mutated"):
            way(1.0)


ERRORS = {
    "of an empty one": (lambda x: deque().pop() + x, IndexError),
    "from the left": (lambda x: deque().popleft() + x, IndexError),
    "an index": (lambda x: deque([x])[3], IndexError),
    "setting": (lambda x: operator_set(deque([x]), 3, x), IndexError),
    "a slice": (lambda x: deque([x])[0:1], TypeError),
    "setting a slice": (lambda x: operator_set(deque([x]), slice(0, 1), [x]), TypeError),
    "a full one": (lambda x: deque([x], maxlen=1).insert(0, x), IndexError),
    "a negative length": (lambda x: deque([x], maxlen=-1), ValueError),
    "what isn't there": (lambda x: deque([x]).remove(7.0), ValueError),
}


def operator_set(d, i, v):
    d[i] = v
    return d[0]


@pytest.mark.parametrize(("f", "error"), ERRORS.values(), ids=ERRORS)
def test_errors_are_those_of_python(f, error):
    for way in (f, lambda x: gradient(f, x), lambda x: pushforward(f, x)(1.0)):
        with pytest.raises(error):
            way(1.0)


class Window(deque):
    def last(self):
        return self[-1]


@pytest.mark.parametrize(
    ("f", "what"),
    [
        (lambda x: (deque([x]) + deque([x]))[0], "add of .*deque"),
        (lambda x: (deque([x]) * 2)[0], "mul of .*deque"),
        (lambda x: np.sum(deque([x, x])), "deque"),
        (lambda x: torch.asarray(deque([x])).sum(), "a deque given to a torch function"),
        (lambda x: torch.DoubleTensor(deque([x])).sum(), "making a torch.DoubleTensor"),
        (lambda x: copy.copy(Window([x])).last(), "Window"),
    ],
)
def test_refusals(f, what):
    for way in (lambda: gradient(f, 1.0), lambda: pushforward(f, 1.0)(1.0)):
        with pytest.raises(Refused, match=what):
            way()


def test_a_long_queue_takes_as_long_for_every_element():
    """The steps of a sweep are counted, not timed: both ends take one each."""
    grads = gradient(lambda x: sum(drained(deque([x] * 20_000))), 1.0)
    assert grads == (20_000.0,)


def drained(d):
    found = []
    while d:
        found.append(d.popleft())
    return found
