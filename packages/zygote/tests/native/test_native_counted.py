"""`while` loops that count become `for` loops, and those that don't stay as they are."""

import itertools

import numpy as np
import pytest
from native_check import Mismatch, check, native, operation

from torchflux_zygote._native import _counted
from torchflux_zygote._native._emit import source

A = np.array([0.7, -1.2, 0.3, 0.4, 0.9])
LOOP = """
def f(a, start, bound):
    i, s = start, 1.0
    while {comparison}:
        s = s * 0.5 + a[0] * i
        {count}
    return s * a[1] + i * a[2]
"""


def made(text, folder):
    """A function that is typed in a file."""
    path = folder / f"case{len(list(folder.glob('case*')))}.py"
    path.write_text(text)
    space = {}
    exec(compile(text, str(path), "exec"), space)
    return space["f"]


def text_of(f, *args):
    return source(operation(f, *args)[0].program)


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("bound_first", [False, True])
def test_every_way_to_count(up, bound_first, tmp_path):
    words, steps = (("<", "<="), (1, 2, 3)) if up else ((">", ">="), (1, 2, 3))
    mirrored = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
    for word, step in itertools.product(words, steps):
        comparison = f"bound {mirrored[word]} i" if bound_first else f"i {word} bound"
        f = made(LOOP.format(comparison=comparison, count=f"i {'+' if up else '-'}= {step}"), tmp_path)
        for start, bound in ((0, 4), (4, 0), (2, 2), (-3, 2), (2, -3), (0, 1), (1, 0)):
            assert "while" not in text_of(f, A, start, bound)
            check(f, A, start, bound)


def to_the_end_of_an_array(a, b):
    i, s = 0, 0.0
    while i < len(a) - 1:
        s += a[i] * b[i + 1]
        i += 1
    return s


def that_stores(a, b):
    u, i = a.copy(), 1
    while i <= len(a) - 2:
        u[i] = u[i - 1] * b[i] + u[i + 1]
        i = 1 + i
    return u


def into_the_callers(a, b):
    i = 0
    while i < len(a):
        a[i] *= b[i]
        i += 1
    return a.sum() + i


def two_at_once(a, b):
    i, j, s = 0, len(a) - 1, 0.0
    while i < len(a):
        s += a[i] * b[j]
        i, j = i + 1, j - 1
    return s * j


def within_another(a, b):
    i, s = 0, 0.0
    while i < len(a):
        j = i
        while j >= 0:
            s += a[i] * b[j] * s + a[j]
            j -= 1
        i += 2
    return s + i


def no_trip_at_all(a, b):
    i = 7
    while i < len(a):
        a = a * 2.0
        i += 1
    return a * b


def that_leaves_what_never_changes(a, b):
    i, s, r = 0, 0.0, a[0]
    while i < 3:
        s += r
        i += 1
    return s * r + b[0]


COUNT = [
    to_the_end_of_an_array, that_stores, into_the_callers, two_at_once, within_another, no_trip_at_all,
    that_leaves_what_never_changes,
]  # fmt: skip


@pytest.mark.parametrize("f", COUNT)
def test_loops_that_count(f):
    assert "while" not in text_of(f, A, A[::-1].copy())
    check(f, A, A[::-1].copy(), compiled=True)


def whose_bound_moves(a, n):
    i, s = 0, 0.0
    while i < n:
        s += a[i] * i
        i += 1
        n -= 1
    return s


def whose_counter_jumps(a, n):
    i, s = 0, 0.0
    while i < n:
        s += a[i] * i
        i += 1 if s < 0.5 else 2
    return s


def that_counts_twice(a, n):
    i, s = 0, 0.0
    while i < n:
        i += 1
        s += a[i]
        i += 1
    return s


def that_breaks(a, n):
    i, s = 0, 0.0
    while i < n:
        if a[i] < 0.0:
            break
        s += a[i] * a[i]
        i += 1
    return s + i


def with_another_condition(a, n):
    i, s = 0, 1.0
    while i < n and s > 0.0:
        s += a[i] * s
        i += 1
    return s + i


def of_floats(a, n):
    t, s = 0.0, 1.0
    while t < n:
        s += a[0] * t
        t += 0.5
    return s


def that_multiplies(a, n):
    i, s = 1, 1.0
    while i < n:
        s += a[0] * i
        i *= 2
    return s


def that_restarts_its_counter(a, n):
    i, s = 0, 0.0
    while i < n:
        j = i
        i = j + 1 if s > 1e9 else i + 1
        s += a[j]
    return s


DONT = [
    whose_bound_moves, whose_counter_jumps, that_breaks, with_another_condition, of_floats, that_multiplies,
    that_restarts_its_counter,
]  # fmt: skip


@pytest.mark.parametrize("f", DONT)
def test_loops_that_do_not_count(f):
    assert "while" in text_of(f, A, 4)
    check(f, A, 4)


def test_a_loop_that_counts_twice_in_a_trip():
    check(that_counts_twice, A, 4)


def test_an_index_out_of_bounds_is_found():
    def beyond(a, n):
        i, s = 0, 0.0
        while i <= n:
            s += a[i]
            i += 1
        return s

    assert native(beyond)(A, 4) == pytest.approx(A.sum())
    with pytest.raises(IndexError, match="out of bounds"):
        native(beyond)(A, 5)


def test_canary_a_loop_that_stops_one_too_early(monkeypatch):
    monkeypatch.setattr(_counted, "_stop", lambda name, bound: ([], bound))
    with pytest.raises(Mismatch):
        check(within_another, A, A[::-1].copy())


def test_canary_a_counter_that_is_left_where_it_began(monkeypatch):
    after = _counted._after

    def left(loop, k, *rest):
        items, results = after(loop, k, *rest)
        items[-1].args = (loop.inits[k], loop.inits[k])
        return items, results

    monkeypatch.setattr(_counted, "_after", left)
    with pytest.raises(Mismatch):
        check(within_another, A, A[::-1].copy())
