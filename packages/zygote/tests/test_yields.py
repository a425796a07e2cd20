"""Generators: each construct against differences, in both modes and twice; what is changed between steps; refusals."""

import contextlib
import itertools
import math

import numpy as np
import pytest
import torch

from torchflux_zygote import Refused, checkpointed, gradient, hessian, jacobian, pullback, pushforward
from torchflux_zygote._yields import Yields

from .derivatives import check

# The ways of consuming.


def powers(x, n=3):
    y = 1.0
    for i in range(n):
        y = y * x
        if i % 2:
            yield y
        else:
            yield math.sin(y)


def doubling(x):
    while True:
        yield x
        x = 1.5 * x


def looped(x):
    total = 0.0
    for v in powers(x):
        total = total * x + v
    return total


def used_up(x):
    a, b, c = powers(x)
    d = [*powers(x), *powers(x, 2)]
    return sum(powers(x)) * a + max(powers(x)) * b + list(powers(x, n=4))[-1] + c * math.hypot(*powers(x)) + d[4]


def endless(x):
    """Early `break`, and going on with the rest."""
    steps, total = doubling(x), 0.0
    for v in steps:
        total += v * v
        if total > 4.0:
            break
    return (
        total * next(steps)
        + sum(itertools.islice(steps, 1, 3))
        + sum(itertools.takewhile(lambda v: v < 5, doubling(x)))
    )


def stepped(x):
    steps = powers(x)
    total = next(steps) * steps.__next__() + next(steps, x) + 3 * next(steps, x * x) + next(steps, 2.0)
    try:
        next(steps)
    except StopIteration:
        total *= x
    return total


def in_turns(x):
    """Two generators, and iterators over them."""
    total = 0.0
    for i, (a, b) in enumerate(zip(doubling(x), powers(x, 4), strict=False)):
        total += a * b * i
    pairs = itertools.chain(map(math.exp, powers(x)), filter(lambda v: v > 1, powers(2 * x)))
    return total + sum(itertools.accumulate(pairs)) + any(v > 9 for v in powers(x)) + all(powers(x))


# What is inside of them.


def branching(x):
    def f(xs):
        for i, x in enumerate(xs):
            if i == 3:
                return
            while x > 1.0:
                x = 0.5 * x
                yield x
            else:
                yield x * x

    return sum(v * i for i, v in enumerate(f([x, 2.5 * x, 7 * x, x])))


def delegating(x):
    def inner(x, n):
        for i in range(n):
            yield x * i
        return x**n

    def outer(x):
        first = yield from inner(x, 2)
        second = yield from inner(first, 3)
        yield from [first, second]
        yield from Items(second)
        return first * second

    def kept(x):
        result = yield from outer(x)
        yield result

    return sum(v * (i + 1) for i, v in enumerate(kept(x)))


class Items:
    def __init__(self, x):
        self.x, self.steps = x, 0

    def __iter__(self):
        self.steps += 1
        for i in range(2):
            yield self.x * i
            self.x = self.x * self.x

    def shared(self, ys):
        self.source = (self.x * y for y in ys)
        return self


def of_objects(x):
    """A method with `yield`, generators in attributes, lists and dicts."""
    items = Items(x)
    total = sum(items) + sum(items) * items.x
    held = {"steps": items.shared([1.0, x])}["steps"]
    several = [doubling(x), doubling(x * x)]
    return total * next(held.source) + next(held.source) * sum([next(several[i % 2]) for i in range(3)])


def tree(x):
    def walk(node):
        if isinstance(node, list):
            for part in node:
                yield from walk(part)
        else:
            yield node * x

    return sum(v * i for i, v in enumerate(walk([x, [2.0, [x * x, 3.0]], x])))


def expressions(x):
    """Generator expressions look names up when they need them, but the first iterable when they are made."""
    factor, xs = 2.0, [x, 2 * x]
    products = (factor * a * b for a in xs if a > 0 for b in range(3))
    factor, xs = x, [3.0]
    return next(products) + next(products) * sum(products) + next((v for v in powers(x) if v > 50), x)


def conversation(x):
    """`send`, both ways."""

    def averages():
        total, count = 0.0, 0
        average = x
        while True:
            value = yield average
            if value is None:
                return total * average
            total, count = total + value, count + 1
            average = total / count

    steps = averages()
    y = next(steps) * steps.send(x * x) + steps.send(3.0) * steps.send(math.sin(x))
    try:
        steps.send(None)
    except StopIteration as stop:
        y += stop.value
    return y


def interrupted(x):
    """`throw` and `close`, and exceptions that come out."""

    def steps(x):
        while x < 20:
            try:
                yield x
                x = 2 * x
            except KeyError as error:
                x = x + error.args[0]
            finally:
                x = 1.1 * x
        raise ValueError(x * x)

    a = steps(x)
    total = next(a) + a.throw(KeyError(x * x)) * next(a)
    a.close()
    try:
        for v in steps(2 * x):
            total += v
    except ValueError as error:
        total *= error.args[0]
    try:
        total += sum(steps(3 * x))
    except ValueError as error:
        total += error.args[0]
    return total


def managed(x):
    log = []

    @contextlib.contextmanager
    def scaled(y):
        log.append(y * y)
        yield 3 * y
        log.append(math.sin(y))

    with scaled(x) as y:
        z = y * log[0]
    return z * log[0] * log[1]


# What is changed between two steps, by both.


def shared_list(x):
    xs = [x, 2.0 * x]

    def steps():
        xs[0] = xs[0] * xs[1]
        yield xs[0]
        xs.append(xs[0] * x)
        yield xs[-1]
        xs[0], xs[1] = 0.5 * xs[1], xs[2]

    total = 1.0
    for v in steps():
        total = total * v + xs[0]
        xs[0] = xs[0] + v * v
    return total * xs[0] + xs[1] * len(xs)


def rebound(x):
    """A variable that both assign; the end of the generator comes between the last trip and what follows."""
    total = x

    def steps():
        nonlocal total
        while total < 3.0:
            total = total * x
            yield total
        total = total * total

    for v in steps():
        total += 0.5 * v
    return total


def left_early(x):
    """What an abandoned generator would have done hasn't happened."""
    kept = [x]

    def steps():
        for i in range(5):
            kept[0] = kept[0] * x
            yield kept[0]
            kept[0] = kept[0] + i

    for v in steps():
        if v > 2.0:
            break
    return kept[0] ** 2


def arrays(x):
    """Arrays and tensors that are changed in place while the generator waits."""
    a, t = np.array([1.0, 2.0]) * x, torch.tensor([3.0, 4.0], dtype=torch.float64) * x

    def steps():
        a[0] = a[1] * x
        yield a
        t.mul_(t[0].item() * x)
        yield t
        a[:] = 1.0

    total = 0.0
    for v in steps():
        total += float(v.sum()) * a[0] * t[1].item()
        a[1] += total
    return total * a[1]


class Counter:
    """An iterator of its own, that changes itself in `__iter__` and before it ends."""

    def __init__(self, x):
        self.x = x

    def __iter__(self):
        self.y, self.n = self.x * self.x, 0
        return self

    def __next__(self):
        self.y, self.n = self.y * self.x, self.n + 1
        if self.n > 2:
            raise StopIteration
        return self.y


def iterators(x):
    a, b = Counter(x), Counter(2 * x)
    total = sum(a) * a.y
    for v in b:
        total += v * b.y
    rest = list(filter(lambda v: v > 1, Counter(x)))
    zipped = [u * v for u, v in zip(a, [1.0, x, 3.0, x], strict=False)]
    return total * b.y * a.y + sum(rest) * zipped[-1] + next(a, x * x)


# More of the same, to first order.


def captured(x):
    """A parameter that an inner function captures, and a default that is changed."""

    def steps(x, kept=[1.0]):  # noqa: B006
        square = lambda: x * x
        yield square()
        x = 3 * x
        yield square()
        kept.append(x)
        kept[0] *= x
        yield kept[0]
        kept.pop()
        kept[0] = 1.0

    return sum(v * (i + 1) for i, v in enumerate(steps(x)))


class Scaling:
    def __init__(self, x):
        self.x, self.y = x, x

    def __enter__(self):
        self.y = self.y * self.x
        return self

    def __exit__(self, *error):
        self.y = self.y + self.x
        return False


def inside_with(x):
    scaling = Scaling(x)

    def steps():
        with scaling as s:
            yield s.y
            s.y = s.y * s.y
            yield s.y * x
        yield scaling.y

    return sum(v * scaling.y for v in steps()) * scaling.y


def inside_try(x):
    xs = [x, x]

    def steps():
        try:
            xs[0] = xs[0] * x
            yield xs[0]
            xs.append(xs[5])
        except IndexError:
            xs[1] = xs[0] * xs[1]
            yield xs[1]
        finally:
            xs[0] = math.sin(xs[1])

    total = 0.0
    for v in steps():
        xs[0] += v
        total += xs[0] * xs[1]
    return total * xs[0]


def swapped(x):
    """The consumer changes the list that the generator walks over."""

    def steps(zs):
        for k in range(len(zs)):
            zs[k] *= x
            yield zs

    total, zs = 0.0, [x, 2 * x, x * x]
    for ys in steps(zs):
        ys[0], ys[-1] = 0.5 * ys[-1], ys[0] * x
        total += sum(ys)
    return total


def nested_loops(x):
    seen, best = [], 0.0

    def steps():
        for k in range(4):
            seen.append(k * x)
            yield len(seen) * x

    for v in steps():
        for w in steps():
            if w > 3:
                break
            seen.append(w * v)
        if len(seen) > 8:
            break
        best = v
    return sum(seen) * best


def until_the_end(x):
    """`send` in a `try` that the end of the generator leaves, and what it shares with its consumer."""
    xs = []

    def steps():
        while len(xs) < 4:
            y = yield len(xs) * x
            xs.append(y * x)

    conversation = steps()
    total = next(conversation)
    with contextlib.suppress(StopIteration):
        while True:
            total += conversation.send(total + x)
    return total + sum(xs)


def from_one_to_another(x):
    """An exception that comes out of a delegate that was half used up, and one that is raised in answer."""

    def inner():
        yield x
        yield x * x
        raise ValueError(x**3)

    def outer(steps):
        try:
            yield from steps
        except ValueError as error:
            yield error.args[0]
            raise KeyError(x * error.args[0]) from error

    steps = inner()
    total = next(steps)
    try:
        for v in outer(steps):
            total *= v
    except KeyError as error:
        total += error.args[0]
    return total


def closures(x):
    def steps():
        nonlocal x
        for i in range(3):
            x = 1.1 * x
            yield lambda: x * i  # noqa: B023 - they share both

    several = list(steps())
    return sum(f() for f in several) * x


FIRST_ORDER = [captured, inside_with, inside_try, swapped, nested_loops, until_the_end, from_one_to_another, closures]


@pytest.mark.parametrize("f", FIRST_ORDER)
def test_to_first_order(f):
    check(f, 1.2, second=False)


PROGRAMS = [
    looped,
    used_up,
    endless,
    stepped,
    in_turns,
    branching,
    delegating,
    of_objects,
    tree,
    expressions,
    conversation,
]
PROGRAMS += [interrupted, managed, shared_list, rebound, left_early, arrays, iterators]


@pytest.mark.parametrize("f", PROGRAMS)
def test_against_differences(f):
    check(f, 1.2)


@pytest.mark.parametrize("f", [looped, endless, conversation, shared_list])
def test_a_wrong_answer_is_found(f, monkeypatch):
    """The generator gets half of what flowed to it."""
    right = Yields.answer
    monkeypatch.setattr(Yields, "answer", lambda self, n, bar: right(self, n, None if bar is None else 0.5 * bar))
    with pytest.raises(AssertionError):
        check(f, 1.2, second=False)


def test_a_change_that_is_not_undone_is_found(monkeypatch):
    """An iterator whose last call is forgotten."""
    monkeypatch.setattr("torchflux_zygote._cursors.left", lambda error: lambda _: None)
    monkeypatch.setattr("torchflux_zygote._elements.left", lambda error: lambda _: None)
    with pytest.raises(AssertionError):
        check(iterators, 1.2, second=False)


def test_the_end_is_answered_in_its_place(monkeypatch):
    """Without `end`, a change after the last `yield` would be undone too late: it is refused, never wrong."""
    monkeypatch.setattr("torchflux_zygote._cursors.Walk.ended", lambda self, stop: None)
    with pytest.raises(Refused, match="a generator that a function without a rule has stepped"):
        gradient(shared_list, 1.2)


def test_many_sweeps_and_orders():
    def g(x):
        return torch.stack(list(itertools.islice(doubling(x.sum()), 3)))

    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    expected = torch.tensor([[1.0, 1.0], [1.5, 1.5], [2.25, 2.25]], dtype=torch.float64)
    assert torch.equal(jacobian(g, x)[0], expected)
    _, back = pullback(g, x)
    for i in range(3):
        assert torch.equal(back(torch.eye(3, dtype=torch.float64)[i])[0], expected[i])
    assert hessian(lambda x: sum(powers(x, 2)), 0.5) == pytest.approx(2.0 - math.sin(0.5))


def test_gradients_inside():
    def steps(x):
        while True:
            x = x - 0.1 * gradient(lambda y, x=x: y**4 - x * y, x)[0]
            yield x

    check(lambda x: sum(itertools.islice(steps(x), 2)), 1.2, second=False)
    check(lambda x: gradient(lambda y: sum(powers(y)) * x, x)[0], 1.2, second=False)


def test_what_is_printed_and_raised_comes_when_it_does(capsys):
    def steps(x):
        print("made")
        yield x
        print("over")

    def f(x):
        generator = steps(x)
        print("called")
        for v in generator:
            print("body")
            x = v * x
        return x

    def outcome(call):
        call()
        return capsys.readouterr().out

    expected = outcome(lambda: f(1.2))
    assert expected.split() == ["called", "made", "body", "over"]
    assert outcome(lambda: gradient(f, 1.2)) == outcome(lambda: pushforward(f, 1.2)(1.0)) == expected
    with pytest.raises(TypeError, match="missing 1 required"):
        gradient(lambda x: steps(), 1.2)


def recursion(x):
    def f():
        yield next(g)

    g = f()
    return next(g) * x


def test_errors_are_pythons_own():
    for f, error in {
        (recursion, ValueError),
        (lambda x: next(powers(x, 0)), StopIteration),
        (lambda x: powers(x).send(x), TypeError),
        (lambda x: list(powers("a")), TypeError),
    }:
        for way in (f, lambda x, f=f: gradient(f, x), lambda x, f=f: pushforward(f, x)(1.0)):
            with pytest.raises(error):
                way(1.2)


# Refusals.


def guarded(x):
    try:
        yield x
    finally:
        x = x * x


def given_up(x):
    for v in guarded(x):
        if v > 0:
            break
    return v


def crossing(x):
    steps = doubling(x)
    return checkpointed(lambda y: y * next(steps), x) * next(steps)


def crossing_gradient(x):
    steps = doubling(x)
    return gradient(lambda y: y * next(steps), x)[0] * x


def sent_on(x):
    def outer():
        yield from doubling(x)

    steps = outer()
    return next(steps) * steps.send(x)


def without_gradients(x):
    def steps():
        with torch.no_grad():
            yield x

    return sum(steps())


def given_to_c(x):
    return np.fromiter(powers(x), float).sum()


@pytest.mark.parametrize(
    ("f", "found"),
    [
        (given_up, r"given up inside of a `try` with `finally`.*close"),
        (crossing, "changed inside a nested gradient or checkpoint"),
        (sent_on, r"send\(...\) to a generator that has a `yield from`.*write the loop"),
        (without_gradients, r"`yield` under `torch.no_grad\(\)` .*leave the `with`"),
        (given_to_c, "fromiter|iterator"),
    ],
)
def test_refused(f, found):
    with pytest.raises((Refused, NotImplementedError, SyntaxError), match=found):
        gradient(f, 1.2)


def test_a_refusal_has_its_place():
    with pytest.raises(Refused, match=r"test_yields\.py:\d+:\d+: a generator that is given up"):
        gradient(given_up, 1.2)
