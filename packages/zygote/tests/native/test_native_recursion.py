"""Functions that call themselves: what they store into, and what they keep for the way back."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from native_check import Mismatch, check, native, operation, plain

from torchflux_zygote._native import _apart
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


# What a call keeps for the way back.


def chain(x, n):
    if n <= 0:
        return x
    return math.sin(chain(x * 0.999, n - 1)) * x + 0.5


def looped(x, n):
    """Calls in a loop, of which each runs a loop whose trips aren't known."""
    if n <= 0:
        return x
    s, t = 0.0, x
    while t < 1.5 and s < 5.0:
        t = 0.5 * t * t + 0.7 + 0.1 * x
        s += t * x
    for i in range(n):
        s += math.sin(looped(x * 0.5 + 0.1 * i, n - 1)) * (x + s)
    return s * t


def both(x, a, n):
    """Two calls, the second of what the first has left; numbers and arrays come and go."""
    if n == 0:
        return x * a[0], a * x
    y, b = both(x * 0.7, a * 0.5 + x, n - 1)
    c = b * y
    for k in range(len(a)):
        c[k] = c[k] * c[k - 1] + a[k]
    z, d = both(y, c, n - 1)
    return z * y + c.sum(), d * c


def inner(x, n):
    if n == 0:
        return math.exp(0.1 * x)
    return inner(x, n - 1) * math.sin(x * n)


def outer(x, n):
    """A function that calls itself and, in a loop, another one that does."""
    if n == 0:
        return x
    s = 0.0
    for i in range(n):
        s += inner(x + i, n)
    return outer(s, n - 1) * s


def mixed(x, a, n):
    """What is kept are floats, ints and bools."""
    if n == 0:
        return x
    flag = x * a[n] > 0.1
    k = int(n + 2 * x) % 3
    y = mixed(x * a[k], a, n - 1) * x
    if flag:
        y = y * y * a[k]
    return y + x


def matrix(m, n):
    if n == 0:
        return m.sum()
    return matrix(np.sin(m) * m.T, n - 1) * m[0, 1] + m[n % 2, 0]


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (lambda x: chain(x, 5), (0.6,)),
        (lambda x: looped(x, 3), (0.4,)),
        (lambda x, a: both(x, a, 2), (0.6, A[:3])),
        (lambda x: outer(x, 3) + inner(x, 2), (0.6,)),
        (lambda x, a: mixed(x, a, 3), (0.9, A)),
        (lambda m: matrix(m, 3), (np.array([[0.3, 0.5], [1.2, -0.7]]),)),
    ],
    ids=["chain", "looped", "both", "outer", "mixed", "matrix"],
)
def test_a_call_keeps_what_its_way_back_needs(f, args):
    check(f, *args, rtol=1e-6)


def test_calls_in_loops_and_branches():
    def f(x):
        s = 0.0
        for i in range(3):
            if i != 1:
                s += looped(x + i, 2)
        t = x
        while t < 30.0:
            t = t * 2.0 + inner(t, 2)
        return s * t

    def g(x):
        s = 0.0
        for i in range(3):
            s += inner(x * i, 2)
        return s

    check(f, 0.3, rtol=1e-6)
    check(g, 0.3)


def test_a_call_keeps_what_its_way_back_needs_in_machine_code():
    op, values, _ = operation(lambda x, a: both(x, a, 2)[0] + mixed(x, a, 3), 0.6, A[:4])
    for x, y in zip(op.reverse([*values, 1.0]), plain(op.reverse)([*values, 1.0]), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12)


def test_the_stacks_of_float32():
    op, values, _ = operation(lambda a: mixed(a[0], a, 3), A.astype(np.float32))
    found, grads = plain(op.reverse)([*values, 1.0])
    assert grads.dtype == np.float32
    assert found == pytest.approx(mixed(A[0], A, 3), rel=1e-5)
    np.testing.assert_allclose(grads, native(lambda a: mixed(a[0], a, 3)).gradient(A)[0], rtol=1e-4)


def test_calls_in_a_loop_with_checkpoints():
    def f(x):
        s = x
        for _ in range(7):
            s = s + inner(x + s, 3) * s
        return s

    slope = native(f).gradient(0.3, mode="forward")
    assert native(f, checkpoint=2).gradient(0.3, mode="reverse") == pytest.approx(slope)


def test_a_frame_that_is_not_taken_off_is_noticed(monkeypatch):
    """A canary: the frame stays on the stack, and the call below finds it in the place of its own."""
    pop = _apart.pop

    def stays(w, stacks, kept):
        pop(w, stacks, kept)
        return stacks

    monkeypatch.setattr(_apart, "pop", stays)
    with pytest.raises(Mismatch):
        check(lambda x: chain(x, 5), 0.6)


def calls(f, *values):
    """How many calls of functions the reverse sweep makes."""
    op, given, _ = operation(f, *values)
    code, count = plain(op.reverse), [0]

    def note(frame, event, arg):
        count[0] += event == "call"

    sys.setprofile(note)
    try:
        code([*given, 1.0])
    finally:
        sys.setprofile(None)
    return count[0]


def again(x, n):
    """Runs a chain at every level."""
    return x if n <= 0 else again(x, n - 1) * chain(x, n)


def attempted(x, n):
    try:
        return x if n <= 0 else math.sin(attempted(x * 0.999, n - 1)) * x + 0.5
    except ValueError:
        return 0.0


def there(x, n):
    return x if n <= 0 else (there(x, n - 1) if n % 3 else back(x, n - 1)) * x


def back(x, n):
    return x if n <= 0 else math.sin(back(x, n - 1) if n % 4 else there(x, n - 1)) + 0.5


@pytest.mark.parametrize(
    ("f", "linear"),
    [(chain, True), (fold, True), (attempted, True), (there, True), (again, False)],
    ids=["chain", "fold", "attempted", "there and back", "again"],
)
def test_the_way_back_of_a_chain_takes_as_many_calls_as_the_way_there(f, linear):
    x = np.full(300, 0.9) if f is fold else 0.9
    few, many = (calls(lambda x, n: f(x, n) * 1.0, x, n) for n in (50, 200))
    assert (many < 4.5 * few) is linear
