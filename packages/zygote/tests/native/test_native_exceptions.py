"""try, except, else, finally, raise and with: what was done before stays done, and exceptions go where they should."""

import contextlib
import math

import numpy as np
import pytest
import torch
from native_check import Mismatch, check, native
from test_native_errors import raises

from torchflux_zygote._native import _tries
from torchflux_zygote._native._entries import Refused

A = np.array([0.7, -1.2, 2.3, 0.4])
M = np.array([[1.2, -0.4, 0.3], [0.5, 1.7, -0.2]])


class Failed(Exception):
    """Of our own."""


class Worse(Failed):
    """A kind of it."""


def raised_and_checked(x, n):
    try:
        y = x * 2.0
        if n > 2:
            raise ValueError("big")
        y = y + 1.0 / (n - 1.0)
        z = y * x
    except ValueError:
        z = x * y
    except ZeroDivisionError:
        z = y + 7.0
    return z * y


def stores_stay(a, n):
    s, b = 0.0, a * 1.0
    try:
        for i in range(n):
            b[i] = s + b[i] * b[i + 1]
            s += b[i]
    except IndexError:
        s *= 3.0
    finally:
        s += b[0]
    return s + b @ b


def nested(x, n):
    s = x
    try:
        try:
            if n == 0:
                raise ValueError
            if n == 1:
                raise KeyError
            if n == 2:
                raise IndexError
            s *= 2.0
        except ValueError:
            s += x * x
            if x > 0.5:
                raise ArithmeticError from None
        except KeyError:
            s -= x
        else:
            s = s * s
            if n == 4:
                raise IndexError
        finally:
            s *= 1.5
        s += 1.0
    except LookupError:
        s = math.sin(s)
    except (ArithmeticError, TypeError):
        s = math.cos(s)
    return s * x


def raised_again(x, n):
    s = x
    try:
        try:
            if n == 0:
                raise ValueError("a")
            if n == 1:
                raise IndexError("b")
            s = s * s
        except (ValueError, IndexError) as error:
            s += 2.0 * x
            if n == 0:
                raise
            raise error
    except ValueError:
        s *= 5.0
    except IndexError:
        s *= 7.0
    return s


def jumps(x, n):
    """return, break and continue through finally."""
    s = x
    for i in range(6):
        try:
            if i == n:
                continue
            if i == n + 2:
                break
            if n == 9 and i == 1:
                return s * 10.0
            s = s * x + i
        finally:
            s += 0.25 * x
    else:
        s += 100.0
    return s


def in_while(a, n):
    s, i = 0.0, 0
    while i < 9:
        try:
            i += 1
            if a[i] < 0.0:
                continue
            s += a[i] * a[i]
            if i == n:
                raise StopIteration
        except IndexError:
            s *= 2.0
            break
        except StopIteration:
            s += a[0]
    return s


def head_that_raises(a, x):
    """The loop's condition itself raises."""
    i, s = 0, 1.0
    try:
        while a[i] < 5.0:
            s = s * x + a[i]
            i += 1
    except IndexError:
        s += i
    return s * s


def checked(y, k):
    if y > 2.0:
        raise OverflowError("too large")
    if k == 3:
        raise Worse("three")
    return y * k


def from_calls(x, n):
    s = x
    try:
        for k in range(n):
            s = checked(s, k + 1) + checked(x, 1)
            s = math.sqrt(s - 0.5)
    except OverflowError:
        return s * 2.0
    except Failed:
        s = s + checked(x, 2)
    except ValueError:
        s = -s
    return s


def closures_and_early_returns(x, n):
    def half(y):
        if y < 0.2:
            raise ZeroDivisionError
        if y < 0.4:
            return y
        return 0.5 * y

    def tried(y):
        try:
            for _ in range(n):
                y = half(y)
            return y * y
        except ArithmeticError:
            return -y

    return tried(x) + tried(x * 2.0) * x


def domains(x, y):
    s = 0.0
    for k in range(6):
        try:
            if k == 0:
                s += math.sqrt(x)
            elif k == 1:
                s += math.log(y)
            elif k == 2:
                s += x / y
            elif k == 3:
                s += math.exp(1e6 * (x - 0.5))
            elif k == 4:
                s += y**-2
            else:
                s += math.asin(x + y)
        except (ValueError, ZeroDivisionError):
            s += 10.0 * x
        except OverflowError:
            s += 100.0 * x + k
    return s


def shapes(a, b):
    try:
        c = a + b
        s = c @ c
    except ValueError:
        s = a.sum() * b.sum()
    try:
        a[:2] = b
        s += a @ a
    except ValueError:
        s *= 2.0
    return s


def suppressed(a, n):
    s = a[0]
    with contextlib.suppress(IndexError, ZeroDivisionError):
        s *= a[n]
        s += 3 // (n - 1)
        s *= 3.0
    with contextlib.nullcontext(a[1]) as t, np.errstate(divide="ignore"):
        s += t
    return s


def asserts(x, n):
    try:
        assert n > 1, "more"
        x = x * x
        assert n > 2
        x = math.sin(x)
    except AssertionError:
        x = x * 3.0
    return x


def unbound_and_none(x, n):
    found = None
    try:
        if n > 1:
            found = x
            y = x * 2.0
        s = y * found
    except UnboundLocalError:
        s = x
    except TypeError:
        s = x * x
    return s


def arrays_made_in_a_try(a, n):
    try:
        b = a[:n] * 2.0
        c = b.copy()
        c[2] = b[1]
        b = np.zeros(3) + c[0]
    except IndexError:
        c = a * 3.0
    return b.sum() * c.sum()


def unrolled(x, n):
    s = 0.0
    try:
        for f in (math.sin, math.sqrt, math.cos):
            for w in (x, x - n):
                s = s * 0.5 + f(w)
    except ValueError:
        s += 1.5
    return s


def swallowed_in_a_loop(a, n):
    """Each trip starts anew."""
    total, bad = 0.0, 0
    for i in range(n):
        try:
            v = a[i]
            if v < 0.0:
                raise Failed
            total += math.log(v) * total + v
        except Failed:
            bad += 1
            total *= 0.5
        except IndexError:
            bad += 10
        else:
            total += 0.125 * v
    return total * bad


def finally_overrides(x, n):
    s = x
    try:
        try:
            if n > 0:
                raise ValueError
            s *= 2.0
        finally:
            s += 1.0
            if n > 1:
                raise KeyError
    except KeyError:
        s *= 3.0
    except ValueError:
        s *= 5.0
    return s


COUNTS = [
    raised_and_checked,
    nested,
    raised_again,
    jumps,
    from_calls,
    closures_and_early_returns,
    asserts,
    unbound_and_none,
]
COUNTS += [unrolled, finally_overrides]
ARRAYS = [stores_stay, in_while, suppressed, arrays_made_in_a_try, swallowed_in_a_loop]


def sine_or_nothing(x):
    with contextlib.suppress(Exception):
        x *= math.sin(x)
    return x


def caught_in_an_else(a, n):
    y = a[0]
    try:
        y += a[n]
    except LookupError:
        pass
    else:
        y *= sine_or_nothing(0.3) + sine_or_nothing(y)
    finally:
        y += 1.0
    return y


@pytest.mark.parametrize("n", [0, 3, 4])
def test_what_is_caught_in_an_else_is_over(n):
    check(caught_in_an_else, A, n)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 9])
@pytest.mark.parametrize("f", COUNTS)
def test_numbers(f, n):
    check(f, 0.7, n)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7])
@pytest.mark.parametrize("f", ARRAYS)
def test_arrays(f, n):
    check(f, A, n)


@pytest.mark.parametrize(("x", "y"), [(0.3, 0.5), (-0.3, 0.5), (0.9, -0.5), (0.9, 0.4), (-0.9, -0.4), (0.4, 0.0)])
def test_domains(x, y):
    expected, found = domains(x, y), native(domains)
    assert found(x, y) == pytest.approx(expected, rel=1e-14)
    if y:
        check(domains, x, y)


def test_more():
    check(head_that_raises, A, 0.7)
    check(shapes, A, np.array([0.5, 1.5]))
    check(shapes, A, np.array([0.5, 1.5, -1.0, 0.2]))
    check(shapes, A, np.array([0.5]))
    check(shapes, A, np.array([0.5, 0.1, 0.2]))

    def quotients(a, b):
        s = 0.0
        for i in range(len(a)):
            try:
                s += a[0] / float(b[i]) * float(a[i]) / float(b[i] * 2.0)
            except ZeroDivisionError:
                s += a[i] * a[i]
        return s

    with pytest.raises(Refused, match="float"):
        native(quotients).source(A, A)

    def overlapping(a):
        try:
            a[1:] = a[:-1]
            a[[1, 2]] = a[:2]
        except (ValueError, IndexError):
            a[0] = 0.0
        return a @ a * a[1]

    check(overlapping, A)

    def masked(a, y):
        a = a * 1.0
        try:
            a[a > 0.5] *= y
            a[[0, 1]] = a[1:]
        except ValueError:
            y -= 0.2
        return a @ a * y

    check(masked, A, 0.3)

    def whole(a, b):
        s = 0.0
        for i in range(len(a)):
            try:
                s += float(a[0]) / float(b[i])
            except ZeroDivisionError:
                s += a[i] * a[i]
        return s

    b = np.array([0.5, 0.0, 1.0, 0.0])
    value, (da, db) = native(whole).withgradient(A, b)
    assert value == pytest.approx(whole(A, b))
    np.testing.assert_allclose(da, [3.0, 2 * A[1], 0.0, 2 * A[3]])
    np.testing.assert_allclose(db, [-A[0] / 0.25, 0.0, -A[0], 0.0])


def test_in_machine_code():
    for f, args in [(nested, (0.7, 0)), (stores_stay, (A, 9)), (from_calls, (0.7, 5)), (domains, (0.9, -0.5))]:
        check(f, *args, compiled=True)


def test_as_a_torch_operation():
    f = native(stores_stay)
    a = torch.tensor(A, requires_grad=True)
    for n in (2, 9):
        assert torch.autograd.gradcheck(lambda a, n=n: f(a, n), (a,))
        assert torch.autograd.gradgradcheck(lambda a, n=n: f(a, n), (a,))
    rows = torch.stack((a.detach(), -a.detach()))
    found = torch.func.vmap(lambda a: f(a, 9))(rows)
    torch.testing.assert_close(found, torch.stack([f(row, 9) for row in rows]))
    torch.testing.assert_close(
        torch.func.vmap(torch.func.grad(lambda a: f(a, 9)))(rows),
        torch.stack([torch.func.grad(lambda a: f(a, 9))(row) for row in rows]),
    )


def test_a_branch_of_two_values_that_is_computed_again():
    """In the reverse of forward mode; one of the values comes from something that is computed again as well."""

    def f(x, n, a):
        try:
            p = abs(x)
            q = a[n % 4]
            t = 1.0 - 2.0 * p
            x /= p if -0.8 < p < 1.1 and n % 2 == 1 else t
        except ZeroDivisionError:
            pass
        except LookupError:
            a[-2] *= x
            q = 0.0
        return a[-4] * x + q

    for n in (0, 1):
        check(f, 0.3, n, A)


def test_names_of_a_try_in_its_else():
    """What the body bound is bound in `else`: a view is stored through."""

    def f(m, n):
        s = 0.0
        try:
            row = m[n]
        except IndexError:
            s = 1.0
        else:
            row[0] *= 2.0
            if n == 1:
                raise KeyError
        return (m * m).sum() + s

    for n in (0, 2):
        check(f, M, n)
    raises(KeyError, f, M, 1)


# What isn't caught.


def test_what_is_not_caught_is_raised():
    def other(x, n):
        try:
            if n == 0:
                raise IndexError("zero")
            x = x * (7 // (n - 1))
        except IndexError:
            raise ValueError("again") from None
        except KeyError:
            x = 0.0
        return x

    raises(ValueError, other, 0.7, 0, match="again")
    raises(ZeroDivisionError, other, 0.7, 1, match=r"exceptions.py:\d+:\d+: integer division")
    check(other, 0.7, 3)

    def again(a, n):
        try:
            return a[n]
        except LookupError:
            if n > 10:
                raise
            return a[0]

    raises(IndexError, again, A, 11, match=r"exceptions.py:\d+:\d+: index out")
    with pytest.raises(IndexError, match=r"exceptions.py:\d+:\d+: index out"):
        native(again)(A, 11)
    check(again, A, 5)


def test_finally_before_what_is_not_caught():
    """What `finally` stores into an argument is seen behind the exception."""

    def f(a, n):
        try:
            a[0] = a[n]
        finally:
            a[1] = 100.0
        return a.sum()

    a = A.copy()
    with pytest.raises(IndexError, match="index out"):
        native(f)(a, 9)
    assert a.tolist() == [A[0], 100.0, *A[2:]]
    check(f, A, 2)


def test_a_raise_in_finally_and_in_else_goes_on():
    def f(x, n):
        try:
            x *= 2.0
        except ValueError:
            x = 0.0
        else:
            if n == 1:
                raise ValueError("else")
        finally:
            if n == 2:
                raise KeyError("finally")
        return x

    raises(ValueError, f, 0.5, 1, match="else")
    raises(KeyError, f, 0.5, 2, match="finally")
    check(f, 0.5, 0)


# What is refused.


def test_refusals():
    def own(x):
        if x > 0.0:
            raise Failed("x")
        return x

    def manager(x):
        with open("f"):
            return x

    def number(x):
        try:
            return x
        except x:
            return 0.0

    def element(a):
        try:
            return 1.0 / a[0]
        except ZeroDivisionError:
            return 0.0

    def use(x):
        try:
            raise ValueError("x")
        except ValueError as error:
            return x * error

    def solve(m):
        try:
            return np.linalg.solve(m, m[0])[0]
        except np.linalg.LinAlgError:
            return m[0, 0]

    for f, x, words in [
        (own, 0.5, "built-in"),
        (manager, 0.5, "open"),
        (number, 0.5, "classes of exceptions"),
        (element, A, "test for zero"),
        (use, 0.5, "exception"),
        (solve, M[:, :2], "outside of the try"),
    ]:
        with pytest.raises(Refused, match=rf"exceptions.py:\d+:\d+: native code: .*{words}"):
            native(f).source(x)


def tower(x, n):
    return x if n == 0 else tower(x * 0.5, n - 1) * x


def test_calls_of_functions_that_call_themselves():
    """Before a `try` and behind it, in its handlers and its `else`; of what may raise, test_native_recursion_tried."""

    def f(x, n):
        y = tower(x, 3)
        try:
            z = x / n
        except ZeroDivisionError:
            z = tower(x + 1.0, 2)
        else:
            z = z * tower(x, 2)
        return tower(y * z, 1)

    check(f, 0.7, 0)
    check(f, 0.7, 2)

    def last(x):
        try:
            y = tower(x, 3)
        finally:
            x = 2.0 * x
        return y * x

    check(last, 0.5)


def bound_in_some_handlers(x, n):
    try:
        if n > 0:
            raise ValueError
        y = x * x
    except ValueError:
        if n > 1:
            y = 2.0 * x
    return y


def unbound_in_a_handler(x, n):
    try:
        try:
            if n > 0:
                raise ValueError
            y = x * x
        except KeyError:
            y = x
        finally:
            x += 1.0
        z = y
    except ValueError:
        z = y * 2.0
    return z


def bound_after_a_raise_in_a_loop(x, n):
    for i in range(4):
        try:
            if i < n:
                raise ValueError
            y = x * i
        except ValueError:
            x = x * 2.0
        if i == 2:
            x = x + y
    return x + y


def test_names_that_a_raise_leaves_unbound():
    """They are checked where nothing else says that they are bound, and not where no exception does."""
    for f, good, bad in (
        (bound_in_some_handlers, (0, 2), (1,)),
        (unbound_in_a_handler, (0,), (1,)),
        (bound_after_a_raise_in_a_loop, (0, 1, 2), (3, 4)),
    ):
        for n in good:
            check(f, 0.7, n)
        for n in bad:
            raises(UnboundLocalError, f, 0.7, n)
    assert "UnboundLocalError" not in native(lambda x: caught_or(x, 2.0)).source(0.5)


def caught_or(x, y):
    try:
        if x > y:
            raise ValueError
        z = x * y
    except ValueError:
        z = y
    return z


def product(pair):
    if len(pair) != 2:
        raise ValueError("two numbers")
    return pair[0] * pair[1]


def test_a_call_that_is_sure_to_raise():
    """The tuple's length is known while the program is read, and so is that nothing follows."""

    def branched(x, n):
        if n > 3:
            y = product((x, x, x))
        else:
            y = product((x, x))
        return y * 2.0

    def caught(x):
        try:
            y = product((x, x, x))
        except ValueError:
            y = x * 3.0
        return y

    check(branched, 2.0, 1)
    check(caught, 2.0)
    raises(ValueError, lambda x: product((x, x, x)), 2.0)
    raises(ValueError, branched, 2.0, 5)


def test_a_try_without_anything_to_catch_costs_nothing():
    def f(x, n):
        try:
            for i in range(n):
                x = math.sin(x) * i
        except KeyError:
            x = 0.0
        return x

    text = native(f).source(0.5, 3)
    assert "if" not in text


def test_canary_a_handler_that_is_not_chosen(monkeypatch):
    """The comparison sees a handler left out."""
    check(raised_and_checked, 0.7, 3, second=False)
    right = _tries.Trying.handler
    monkeypatch.setattr(_tries.Trying, "handler", lambda self, error, name, body: right(self, error, name, body[:0]))
    with pytest.raises((Mismatch, UnboundLocalError)):
        check(raised_and_checked, 0.7, 3, second=False)
