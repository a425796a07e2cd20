"""Functions that call themselves and store into their arguments."""

import os
import subprocess
import sys

import numpy as np
import pytest
from native_check import check, native

from torchflux_zygote._native._entries import Refused

A = np.array([0.7, -1.2, 2.3, 0.4])
EIGHT = np.array([0.7, -1.2, 2.3, 0.4, 1.9, -0.6, 0.1, 1.4])
M = np.array([[1.2, -0.4, 0.3], [0.5, 1.7, -0.2], [-0.1, 0.6, 2.1]])


def fold(a, k):
    if k == 0:
        return a[0]
    a[k] = a[k] * fold(a, k - 1)
    return a[k]


def butterflies(a, n):
    """Halves, each by itself, and then put together."""
    if n == 1:
        return
    butterflies(a[: n // 2], n // 2)
    butterflies(a[n // 2 :], n // 2)
    for i in range(n // 2):
        x, y = a[i], a[i + n // 2]
        a[i] = x + y
        a[i + n // 2] = (x - y) * x


def eliminate(m, b, k):
    """One column after the other; two arrays that are stored into."""
    n = len(b)
    if k == n:
        return 1.0
    for i in range(k + 1, n):
        f = m[i, k] / m[k, k]
        m[i] -= f * m[k]
        b[i] -= f * b[k]
    return m[k, k] * eliminate(m, b, k + 1)


def even(a, k):
    if k >= len(a):
        return 0.0
    a[k] *= 2.0
    return a[k] + odd(a, k + 1)


def odd(a, k):
    if k >= len(a):
        return 1.0
    a[k] = a[k] * a[k - 1]
    return a[k] * even(a, k + 1)


def test_a_function_that_calls_itself_and_stores_into_its_argument():
    def f(a):
        b = a * 1.0
        return fold(b, 3) * b[2] + b @ b

    check(f, A, compiled=True)

    def g(a):
        s = fold(a, 2)
        return s * a.sum()

    check(g, A)
    a = A.copy()
    value = native(g)(a)
    b = A.copy()
    assert value == pytest.approx(g(b))
    np.testing.assert_allclose(a, b)
    check(fold, A, 3)


def test_views_that_are_passed_on():
    def f(a):
        b = a * 1.0
        butterflies(b, 8)
        return b @ (b * a)

    check(f, EIGHT)
    check(lambda a: (butterflies(a, 4), a * a)[1], A)


def test_two_arrays_and_mutual_recursion():
    def f(m, b):
        c, d = m * 1.0, b * 1.0
        return eliminate(c, d, 0) * d[2] + (c * c).sum()

    check(f, M, A[:3])

    def g(a):
        b = a * 0.5
        return even(b, 0) + b @ b

    check(g, A)


def half(a, k):
    """Stores into a new array or into the one it was given."""
    if k == 0:
        return a.sum()
    if k % 2:
        a = a * 0.5
    a[0] += 1.0
    return half(a, k - 1) * a[0]


def test_what_may_be_the_argument_is_refused():
    with pytest.raises(Refused, match=r"what may be an argument of half|may or may not"):
        native(lambda a: half(a * 1.0, 3)).source(A)


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


def test_two_functions_that_call_themselves_and_each_other_are_refused():
    """Numba compiles one of them before there is the other."""
    with pytest.raises(Refused, match="first and second, which call themselves and each other; make them one function"):
        native(lambda a: first(a, 3)).source(A)


PROGRAM = """
import numpy as np
from torchflux_zygote import native

def halves(a, n):
    if n == 0:
        return a * 1.0
    return halves(a * 0.5, n - 1) + 1.0

f = native(lambda a: halves(a, 3).sum())
print(f(np.ones(3)), f.gradient(np.ones(3)))
"""


def test_a_function_that_calls_itself_in_a_second_process(tmp_path):
    """Numba can't load the code of such a function again, and ends the process."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    env = os.environ | {"TORCHFLUX_CACHE": str(tmp_path)}
    texts = [
        subprocess.run([sys.executable, str(file)], env=env, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert texts[0] == texts[1] == "9.375 (array([0.125, 0.125, 0.125]),)\n"
