"""Functions that call themselves inside of `try`: what they raise comes out of the inner call and is caught outside."""

import math

import numpy as np
import pytest
from native_check import Mismatch, check, native, operation, plain
from test_native_errors import raises

from torchflux_zygote._native._entries import Caught, Refused
from torchflux_zygote._native._tries import Trying

A = np.array([0.7, -1.2, 2.3, 0.4])
B = np.array([0.7, 1.2, 2.3, 0.4])


class Failed(Exception):
    """Of our own."""


def climbing(x, n):
    """Raised below, caught here, raised again as another one; `finally` on every way out."""
    if n == 0:
        return x
    if x > 3.0:
        raise ValueError("big")
    try:
        y = climbing(x * 1.5, n - 1)
    except ValueError:
        y = 2.0 * x
        if n == 3:
            raise KeyError from None
    except KeyError:
        y = 5.0 * x * x
    finally:
        x = x + 0.25
    return y * x


@pytest.mark.parametrize(("x", "n"), [(0.3, 3), (1.0, 4), (1.5, 4), (2.2, 2), (1.7, 5)])
def test_what_is_raised_below_is_caught(x, n):
    check(lambda x: climbing(x, n), x)


def test_what_nothing_catches_leaves_the_function():
    raises(KeyError, lambda x: climbing(x, 3), 2.2)
    raises(ValueError, lambda x: climbing(x, 3), 3.2, match="big")


def digging(a, k):
    """What was stored before a raise stays stored."""
    a[k] = a[k] * 2.0
    if a[k] < -1.0:
        raise Failed("negative")
    try:
        return a[k] * digging(a, k + 1)
    except IndexError:
        return a[0]
    finally:
        a[0] += 1.0


def dug(a, k):
    b = a * 1.0
    try:
        s = digging(b, k)
    except Failed:
        s = b.sum()
    return s * b[0] + b @ b


@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize("a", [A, B], ids=["raises", "returns"])
def test_stores_before_a_raise(a, k):
    check(dug, a, k)


def rooted(x, n):
    """Of Python's own numbers, which raise where that is caught."""
    if n == 0:
        return math.sqrt(x)
    return 1.0 / (n - 3.0 + 0.0 * x) + rooted(x - 0.3, n - 1)


def guarded(x, n):
    try:
        return rooted(x, n)
    except ValueError:
        return x * x
    except ZeroDivisionError:
        return -x


def half_guarded(x, n):
    try:
        return rooted(x, n)
    except ValueError:
        return x * x


@pytest.mark.parametrize("n", [0, 2, 3, 4])
def test_numbers_raise_as_the_handlers_around_say(n):
    """Each of n takes another way: a value, the root of a negative number, a division by zero and one before it."""
    check(guarded, 0.7, n)


def test_a_division_by_zero_that_nothing_catches_is_infinite():
    assert native(half_guarded)(2.7, 4) == math.inf
    check(half_guarded, 0.7, 2)


def bottomless(a, n):
    """Only the end of the array ends it."""
    try:
        return a[n] * bottomless(a, n + 1) + a[0]
    except IndexError:
        return a[0]


def bottom(x, n):
    try:
        if n == 0:
            raise ValueError
        return bottom(x * x, n - 1) + x
    except ValueError:
        return x


def test_handlers_that_end_it():
    check(lambda a: bottomless(a * 1.0, 0), A)
    check(lambda x: bottom(x, 3), 0.8, compiled=True)


def cleaning(a, n):
    """Always raises in the end."""
    try:
        if n == 0:
            raise ValueError("bottom")
        a[n] = a[n] * 2.0
        cleaning(a, n - 1)
    finally:
        a[n] += 1.0


def test_a_function_that_always_raises():
    def f(a, n):
        b = a * a
        try:
            cleaning(b, n)
        except ValueError:
            b[3] *= b[0]
        return b @ b

    check(f, A, 2)
    raises(ValueError, lambda a: cleaning(a, 2), A, match="bottom")


def ping(x, n):
    if n <= 0:
        raise KeyError("end")
    try:
        return pong(x * 0.9, n - 1) + ping(x, n - 2)
    except KeyError:
        return x * n


def pong(x, n):
    if n == 2:
        raise IndexError
    try:
        return ping(x + 0.1, n - 1) * pong(x, n - 3)
    except (KeyError, IndexError):
        if n == 4:
            raise
        return x


def rally(x, n):
    try:
        return ping(x, n)
    except LookupError:
        return -x


@pytest.mark.parametrize("n", [0, 1, 3, 5, 6])
def test_two_functions_that_raise_for_each_other(n):
    check(rally, 0.7, n)


def pair(x, n):
    """Numbers and arrays come back, or an exception does."""
    if n == 0:
        return x, np.array([x, 1.0])
    try:
        if x > 2.0:
            raise ValueError
        y, b = pair(x * 1.4, n - 1)
        b[0] += y
        return y * x, b
    except ValueError:
        return x, np.array([x, x])


@pytest.mark.parametrize("n", [2, 4])
def test_arrays_that_come_back_or_do_not(n):
    check(lambda x: pair(x, n)[0] * pair(x, n)[1].sum(), 0.9)


def again(x, n):
    """Bare and named raises, out of handlers."""
    try:
        if n == 0:
            raise ValueError("deep")
        if n == 5:
            raise KeyError
        return again(x, n - 1)
    except ValueError as error:
        x = x * 2.0
        if n > 0:
            raise
        raise IndexError from error


def test_handlers_that_raise():
    def f(x, n):
        try:
            return again(x, n)
        except IndexError:
            return 3.0 * x
        except KeyError:
            return 5.0 * x * x

    for n in (0, 3, 5):
        check(f, 0.9, n)
        raises(KeyError if n == 5 else IndexError, again, 0.9, n)


def test_calls_in_loops():
    def f(x, n):
        s = 0.0
        for i in range(n):
            try:
                s += rooted(x - 0.2 * i, i)
            except (ValueError, ZeroDivisionError):
                s = s * 2.0 + x
        while s < 3.0:
            try:
                s += guarded(s, 1) + rooted(x - s, 1)
            except ValueError:
                s += 1.0
        return s

    check(f, 0.7, 3)


def test_machine_code():
    op, values, _ = operation(dug, A, 1)
    for x, y in zip(op.reverse([*values, 1.0]), plain(op.reverse)([*values, 1.0]), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12)


def test_an_exception_that_gets_lost_is_noticed(monkeypatch):
    """A canary: the caller goes on as if nothing had been raised in the call."""
    hand_on = Trying.hand_on

    def lost(self, error: Caught, sure: bool) -> None:
        if error.code.name != "raised":
            hand_on(self, error, sure)

    monkeypatch.setattr(Trying, "hand_on", lost)
    with pytest.raises(Mismatch):
        check(lambda x: climbing(x, 4), 1.5)


def sinking(x, n):
    if n == 0:
        raise Failed("x")
    return sinking(x, n - 1) if x > 0.0 else x


def test_an_exception_of_our_own_that_leaves_is_refused():
    def f(x):
        try:
            return sinking(x, 2)
        except ValueError:
            return x

    with pytest.raises(Refused, match="a Failed that nothing here catches; raise a built-in exception"):
        native(f).source(0.5)
    with pytest.raises(Refused, match="raise a built-in exception"):
        native(lambda x: sinking(x, 2)).source(0.5)


def checking(x, n):
    """Only to see whether it raises."""
    if n == 0:
        if x < 0.0:
            raise ValueError("negative")
        return 0.0
    return checking(x - 1.0, n - 1)


def test_a_call_that_is_made_for_what_it_raises():
    """Was left out once, as nobody reads what it returns."""

    def f(x):
        checking(x, 2)
        return x * x

    check(f, 2.5)
    raises(ValueError, f, 1.0, match="negative")
    with pytest.raises(ValueError, match="negative"):
        native(f).gradient(1.0, mode="reverse")
    with pytest.raises(ValueError, match="negative"):
        native(f).gradient(1.0, mode="forward")
