"""Generators: what is yielded, sent, thrown and returned is what the original yields, receives, catches and returns."""

import inspect

import pytest

from torchflux_syntax import deviation, load, quote, read, show, structure, yields


def counting(n, step=1):
    total = 0
    while True:
        got = yield n
        total += got or 0
        n += step
        if n > 4:
            return total


def delegating(xs):
    first = yield from xs
    second = yield from counting(2)
    return [first, second, (yield)]


def guarded(x):
    try:
        x = x + (yield x)
    except KeyError as error:
        yield str(error)
    finally:
        yield "done"
    return x


def order(x):
    return [(yield x), x := x + 1, (yield x), x]


def expressions(xs):
    doubled = (2 * x for x in xs)
    pairs = ((x, y) for x in doubled if x > 2 for y in range(x) if y % 2)
    return next(pairs), list(pairs), next(doubled, "over")


def late(xs):
    """The first iterable is asked for its iterator now, all else is looked up when it is needed."""
    factor = 1
    products = (factor * x for x in xs)
    factor = 10
    xs = [5]
    return list(products)


def never(x):
    return x
    yield x


def nested(x):
    def inner():
        nonlocal x
        x = yield x

    def empty():
        return x
        yield

    return [*inner(), *empty(), (lambda: (yield x))().send(None), x]


@pytest.mark.parametrize(
    ("f", "calls"),
    [
        (counting, [(1,), (3, 2), (9,)]),
        (delegating, [([1, 2],), ([],), ((),)]),
        (guarded, [(1,)]),
        (order, [(1,)]),
        (expressions, [([1, 2, 3],)]),
        (late, [([1, 2],)]),
        (never, [(1,)]),
        (nested, [(1,)]),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_the_same(f, calls, same):
    same(f, *calls)


def test_an_iterator_is_asked_for_when_the_expression_is_made(same):
    def f(x):
        return (y for y in x)

    with pytest.raises(TypeError, match="not iterable"):
        load(read(f))(1)


@pytest.mark.parametrize("f", [counting, delegating, never, nested])
def test_a_generator_is_one_in_both_forms(f):
    generator = inspect.isgeneratorfunction(f)
    assert yields(read(f)) == yields(structure(read(f))) == generator
    assert inspect.isgeneratorfunction(load(structure(read(f)))) == generator


def test_the_forms_are_checked():
    assert deviation(quote("x = yield y\nyield y\nx = yield from y")) is None
    assert deviation(quote("x = yield y + 1")) == "line 1: x = (yield (y + 1))"
    assert deviation(quote("f((yield))")) == "line 1: f((yield))"


def test_it_reads_well():
    assert show(structure(read(counting))) == COUNTING


COUNTING = """\
def counting(n, step=1):
    total = 0
    while True:
        got = (yield n)
        t1 = got
        if t1:
            pass
        else:
            t1 = 0
        total += t1
        n += step
        t2 = n > 4
        going = not t2
        if going:
            pass
        else:
            break
    return total"""
