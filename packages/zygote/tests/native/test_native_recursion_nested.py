"""Nested functions that call themselves: what they capture is given to them; and functions that call each other."""

import math

import numpy as np
import pytest
from native_check import Mismatch, check, native

from torchflux_zygote._native import _together
from torchflux_zygote._native._entries import Refused
from torchflux_zygote._native._given import Given

A = np.array([0.7, -1.2, 2.3, 0.4])


def captured_numbers(x, n):
    c = x * 0.5

    def rec(y, k):
        if k == 0:
            return y
        return math.sin(rec(y * c, k - 1)) + x

    return rec(x, n) * rec(c, 2)


def a_lambda(x):
    power = lambda n: 1.0 if n == 0 else x * power(n - 1)
    return power(3) + power(5)


def captured_array(a):
    """Stored into by every call."""
    b = a * 1.0

    def rec(k):
        if k == 0:
            return b[0]
        b[k] = b[k] * rec(k - 1)
        return b[k]

    s = rec(3)
    return s * b[1] + b @ b


def two_of_them(a, x):
    """Each calls itself and the other one, which is defined later, and both store."""
    b = a * 1.0

    def even(k):
        if k >= len(b):
            return x
        b[k] *= 2.0
        return b[k] * odd(k + 1) + even(k + 2)

    def odd(k):
        if k >= len(b):
            return 1.0
        b[k] += x
        return odd(k + 1) + even(k + 1)

    return even(0) * b[2]


def repeated(f, n, y):
    return y if n == 0 else repeated(f, n - 1, f(y))


def functions_as_arguments(x):
    twice = lambda f: lambda t: f(f(t))

    def fold(f, n, y):
        if n == 0:
            return y
        return fold(f, n - 1, f(y) * x)

    first = fold(lambda t: math.sin(t) + x, 3, x) + fold(twice(lambda t: t * x), 2, 0.5)
    return first * repeated(lambda t: t * x + 1.0, 4, x)


def defaults(x, n):
    """As they were when the function was defined, by place and by keyword, and an exception through it all."""

    def walk(y, k, scale=x * 2.0, *, shift=0.1):
        if k == 0:
            return y * scale
        try:
            if y > 1.5:
                raise ValueError
            return walk(y * 1.3 + shift, k - 1, shift=shift * 2.0) * scale
        except ValueError:
            return y

    x = 5.0
    return walk(x * 0.1, n)


def bound_later(x, n):
    def f(k):
        return c if k == 0 else f(k - 1) * x + (d if n > 2 else 0.5)

    c = x * 2.0
    if n > 2:
        d = x * x
    s = f(3)
    for i in range(2):
        c = c * x + i
        s += f(2)
    return s


def in_one_that_calls_itself(x, n):
    def inner(y):
        if n == 0:
            return y
        return in_one_that_calls_itself(y * x, n - 1) + other(y, 2)

    def other(y, k):
        return y * n if k == 0 else other(y * x, k - 1)

    return inner(x * 2.0)


def matrix_power(x):
    m = np.array([[x, 0.5], [1.0, x]])

    def power(k):
        if k == 0:
            return np.eye(2)
        h = power(k // 2)
        return h @ h if k % 2 == 0 else h @ h @ m

    return power(5).sum()


NESTED = [
    (captured_numbers, (0.7, 3)),
    (a_lambda, (0.7,)),
    (captured_array, (A,)),
    (two_of_them, (A, 0.3)),
    (functions_as_arguments, (0.7,)),
    (defaults, (0.6, 5)),
    (bound_later, (0.6, 1)),
    (bound_later, (0.6, 3)),
    (in_one_that_calls_itself, (0.6, 2)),
    (matrix_power, (0.6,)),
]


@pytest.mark.parametrize(("f", "args"), NESTED)
def test_nested_functions(f, args):
    check(f, *args, compiled=f is captured_numbers)


def test_a_captured_number_in_the_place_of_another_is_noticed(monkeypatch):
    """A canary: two captured numbers are given in the wrong order."""
    init = Given.__init__

    def swapped(self, reader, frame):
        init(self, reader, frame)
        self.values[-2:] = self.values[:-3:-1]

    monkeypatch.setattr(Given, "__init__", swapped)
    with pytest.raises(Mismatch):
        check(captured_numbers, 0.7, 3)


# Functions that call each other.


def first(a, n):
    if n <= 0:
        return a[0]
    a[n] *= 2.0
    return first(a, n - 1) + second(a, n - 1)


def second(a, n):
    if n <= 0:
        return 2.0 * a[1]
    a[0] += a[n]
    return second(a, n - 1) * a[2] + first(a, n - 2)


def up(x, n):
    if n <= 0:
        return x
    return up(x * 0.5, n - 1) + math.sin(down(x, np.array([1.0, 2.0]) * x, n - 1)[1].sum())


def down(x, a, n):
    if n <= 0:
        return x, a
    y, b = down(x, a * x, n - 1)
    return y * up(x + y, n - 2), b + y


def third(x, n):
    return x if n <= 0 else third(x * 0.9, n - 1) + fourth(x, n - 1)[0]


def fourth(x, n):
    return (x, x * x) if n <= 0 else (fifth(n - 1, x) * x, fourth(x, n - 1)[1])


def fifth(n, x):
    return x * 0.5 if n <= 0 else third(x, n - 1) * fifth(n - 1, x + 0.1)


def swapping(g, h, d):
    """Of float and int in turn."""
    if d <= 0:
        return h * 1.5
    return swapping(h, g, d - 1) * g


EACH_OTHER = [
    (lambda a: (lambda b: first(b, 3) * b[1])(a * 1.0), (A,)),
    (lambda x: up(x, 3) * down(x, np.array([x, 0.5]), 2)[0], (0.6,)),
    (lambda x: third(x, 4) + fifth(3, x), (0.6,)),
    (lambda x: swapping(x, 2, 3), (0.5,)),
]


@pytest.mark.parametrize(("f", "args"), EACH_OTHER, ids=["stores", "other arguments", "three", "other types"])
def test_functions_that_call_themselves_and_each_other(f, args):
    check(f, *args, compiled=f is EACH_OTHER[-1][0])


def test_they_become_one_in_machine_code():
    f = EACH_OTHER[0][0]
    assert native(f)(A) == pytest.approx(f(A))


def test_they_become_one():
    text = native(EACH_OTHER[0][0]).source(A)
    assert "def first_or_second(which, a, n, limit):" in text
    assert text.count("\ndef ") == 2


def test_the_wrong_one_is_noticed(monkeypatch):
    """A canary: a call says that it is of the other one."""
    call = _together._One.call

    def other(self, item):
        *items, made = call(self, item)
        made.args[0] = _together.literal(1 - made.args[0].const)
        return [*items, made]

    monkeypatch.setattr(_together._One, "call", other)
    with pytest.raises(Mismatch):
        check(EACH_OTHER[0][0], A)


# What went wrong silently, and what is refused.


def scaled(c):
    def rec(x, n):
        return x if n == 0 else c * rec(x, n - 1)

    return rec


DOUBLED, TRIPLED = scaled(2.0), scaled(3.0)


def test_two_functions_of_one_definition():
    """Both were the first one, once."""
    check(lambda x: DOUBLED(x, 3) + TRIPLED(x, 3), 1.5)


def rows(m, places, n):
    return m[places] * 2.0 if n == 0 else rows(m * 1.5, places, n - 1)


def test_a_list_stays_a_list():
    """As an index it isn't what a tuple is."""
    check(lambda m: rows(m, [0, 2], 2).sum() * rows(m, (0, 2), 2), np.arange(9.0).reshape(3, 3) + 0.5)


def test_defaults_are_taken_where_a_function_is_defined():
    """They were looked up by name where it was called, once."""

    def passed_on(f, c):
        return f(c * 0.5)

    def f(x):
        c = x

        def g(y, k=c, *, m=x * 3.0):
            return y * k + m

        c = 7.0
        return g(c) + passed_on(g, 2.0)

    check(f, 3.0)

    def leaves(x):
        s = 0.0
        for i in range(3):

            def g(y, k=i * x):
                return y * k

            s += g(x)
        return s * g(x)

    with pytest.raises(Refused, match="a function behind the branch or loop in which it was defined with defaults"):
        native(leaves).source(0.5)


def handed_back(a, n):
    return a if n == 0 else handed_back(a, n - 1)


def changed(a, n):
    if n == 0:
        return a
    b = changed(a, n - 1)
    b[0] = b[0] + 1.0
    return a


def stores_into_the_result(a):
    b = handed_back(a * 2.0, 3)
    c = handed_back(b, 2)
    b[0] = c[1] * 5.0
    return c @ c


def sifted(a, n):
    """Stores into what it was given, hands it on and stores into what comes back."""
    if n == 0:
        return a
    a[n] *= a[0]
    a = sifted(a, n - 1)
    a[n - 1] += a[n]
    return a


def sifting(a):
    b = a * 1.0
    c = sifted(b, 3)
    c[1] *= 3.0
    return b @ (b * a)


@pytest.mark.parametrize("f", [lambda a: changed(a * 1.0, 3) @ a, stores_into_the_result, sifting])
def test_an_argument_that_comes_back_is_itself(f):
    """It was a copy once."""
    check(f, A)


def tail_of(a, n):
    return a[1:] if n == 0 else tail_of(a, n - 1)


def copied_or_not(a, n):
    return a if n == 0 else copied_or_not(a * 2.0, n - 1)


def test_a_store_into_what_may_be_an_argument_is_refused():
    """What else such a function returns is a copy; in Python it may be the argument, or a part of it."""

    def part(a):
        b = tail_of(a, 2)
        b[0] = 5.0
        return b.sum() + a.sum()

    def depends(a, n):
        b = copied_or_not(a, n)
        b[0] = 5.0
        return b.sum() + a.sum()

    for f in (part, lambda a: depends(a, len(a))):
        with pytest.raises(Refused, match=r"a store into (an array that may or may not|what may be an argument)"):
            native(f).source(A)
    check(lambda a: depends(a, 2) * tail_of(a * 2.0, 3).sum(), A)


def growing(t, n):
    return t[0] if n == 0 else growing((t[0], t), n - 1)


def continued(n, k):
    return k(1.0) if n == 0 else continued(n - 1, lambda v: k(v) * 2.0)


def counting(x):
    c = x

    def f(k):
        nonlocal c
        c = c * x
        return c if k == 0 else f(k - 1)

    return f(3)


def endless(x):
    def f(y):
        return f(y * x)

    return f(x)


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda x: growing((x, x), 3), "growing, which calls itself with arguments of ever other kinds"),
        (lambda x: continued(3, lambda v: v * x), "continued, which calls itself with arguments of ever other kinds"),
        (counting, "nonlocal"),
        (endless, "f calls itself without end; give it a case that returns"),
    ],
    ids=["tuples", "functions", "nonlocal", "endless"],
)
def test_refusals(f, words):
    with pytest.raises(Refused, match=words):
        native(f).source(0.5)
