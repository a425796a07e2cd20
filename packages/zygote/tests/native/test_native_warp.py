"""What NVIDIA Warp's reverse mode gets wrong without saying so, each case named by its thread. Here it is right."""

import math

import numpy as np
import pytest
from native_check import check, native, operation, plain

X = np.array([0.7, -1.2, 2.3, 0.4])
Y = np.array([1.5, 0.3, -0.8, 1.1])


def gradient(f, *args):
    """The gradient by reverse mode."""
    op, values, _ = operation(f, *args)
    return plain(op.reverse)([*values, 1.0])[1:]


def test_warp_1694_variable_used_after_a_dynamic_loop():
    """#1694: the adjoint of a variable from before the loop, used after it, was silently zero (27 times less)."""

    def f(x, w, n):
        scale = x * x
        total = 0.0
        for i in range(n):
            total = total + w * scale * i
        return total * scale + scale

    check(f, 1.3, 0.7, 5, torch_twin=True)
    x, w, c = 1.3, 0.7, 0 + 1 + 2 + 3 + 4
    dx, dw = gradient(f, x, w, 5)
    assert dx == pytest.approx(4 * w * c * x**3 + 2 * x, rel=1e-12)
    assert dw == pytest.approx(c * x**4, rel=1e-12)


def test_warp_1694_in_a_while_loop():
    """#1694 once more, with a loop whose length depends on the data."""

    def f(x, limit):
        before = math.sin(x)
        y = x
        while y < limit:
            y = y * 1.5 + before
        return y * before

    check(f, 0.4, 8.0, torch_twin=True)


@pytest.mark.parametrize(("n", "m"), [(3, 4), (1, 1), (0, 4), (4, 0)])
def test_warp_1293_nested_dynamic_loops(n, m):
    """#1293: nested dynamic loops gave twice the gradient."""

    def f(x, n, m):
        total = 0.0
        for i in range(n):
            for j in range(m):
                total += x * x * (i + j)
        return total

    check(f, 1.7, n, m, torch_twin=n * m > 0)
    assert gradient(f, 1.7, n, m)[0] == pytest.approx(2 * 1.7 * sum(i + j for i in range(n) for j in range(m)))


def test_warp_1293_nested_loops_over_arrays():
    """#1293 with a row sum in the inner loop."""

    def f(m):
        total = 0.0
        for i in range(m.shape[0]):
            row = 0.0
            for j in range(m.shape[1]):
                row += m[i, j] * m[i, j]
            total += row * row
        return total

    check(f, np.outer(X, Y), torch_twin=True)


def test_warp_1294_reads_and_writes_of_one_array():
    """#1294: an array that is read and written in a loop had a wrong gradient."""

    def f(a, n):
        for i in range(1, n):
            a[i] = a[i] + a[i - 1] * a[i - 1]
        return a[n - 1]

    check(f, X, 4, torch_twin=True)


def test_warp_947_the_same_array_twice():
    """#947 ("same limitations as Taichi?"): a value is read, overwritten and read again."""

    def f(a):
        first = a[0] * a[0]
        a[0] = math.sin(a[0])
        second = a[0] * first
        a[0] = second * a[0]
        return first + a[0] * a[1]

    check(f, X, torch_twin=True)


def test_warp_1350_backward_sees_the_contents_of_then():
    """#1350: the backward pass used an array's present contents and not those at the time of the read."""

    def f(a, b):
        s = 0.0
        for i in range(len(a)):
            s += a[i] * a[i] * b[i]
        for i in range(len(a)):
            a[i] = 0.0
            b[i] = 1e9
        return s

    check(f, X, Y, second=False, torch_twin=True)
    grads = gradient(f, X, Y)
    np.testing.assert_allclose(grads[0], 2 * X * Y, rtol=1e-12)
    np.testing.assert_allclose(grads[1], X * X, rtol=1e-12)


def test_warp_174_state_carried_through_a_loop():
    """#174: a loop that isn't a plain accumulation (each trip's value depends on the last one's)."""

    def f(x, v, k, n):
        for _ in range(n):
            v = v - 0.1 * k * math.sin(x)
            x = x + 0.1 * v
        return x * v

    check(f, 0.4, 0.9, 2.0, 12, torch_twin=True)


def test_warp_1754_the_documented_example():
    """#1754 and its manual's example of a dynamic loop, whose gradient Warp gives as inf or zero."""

    def f(x, n):
        y = x
        for _ in range(n):
            y = y * x
        return y

    check(f, 2.0, 5, torch_twin=True)
    assert gradient(f, 2.0, 5) == (6 * 2.0**5,)
    assert native(f).gradient(2.0, 5) == (6 * 2.0**5, None)


def test_warp_multiplication_in_place():
    """`*=` and `/=` on elements: Warp warns at debug level and is wrong."""

    def f(a, b):
        for i in range(len(a)):
            a[i] *= b[i]
            a[i] /= b[i] * b[i] + 1.0
            a[i] *= a[i]
        return a.sum()

    check(f, X, Y, torch_twin=True)


def test_warp_accumulation_into_what_is_read():
    """`+=` and `-=` on elements that are read in the same trip."""

    def f(a, b):
        for i in range(len(a) - 1):
            a[i + 1] += a[i] * b[i]
            b[i] -= a[i + 1] * b[i + 1]
        return a @ b

    check(f, X, Y, torch_twin=True)


def test_warp_an_element_assigned_twice():
    """A component may be assigned once in Warp."""

    def f(x):
        v = np.zeros(3)
        v[0] = x
        v[1] = v[0] * x
        v[0] = v[1] * v[0]
        v[1] = v[0] + v[1]
        return v[0] * v[1]

    check(f, 1.3, torch_twin=True)
