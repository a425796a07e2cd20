"""How the rows of a tape lie: as a grid where the trips are known, counted where they can be, growing otherwise."""

# ruff: noqa: B007 -- the functions are what is tested

import math
import re

import numpy as np
import pytest
from native_check import check, operation, plain

from torchflux_zygote._native._emit import source

A = np.array([0.7, -1.2, 0.3, 0.4, 0.9])


def text_of(f, *args):
    """The reverse program's text."""
    return source(operation(f, *args)[0].reverse.program)


def grid(a, steps):
    s = 1.0
    for _ in range(steps):
        for i in range(1, a.shape[0] - 1):
            s = math.sin(s * a[i]) + a[i + 1]
    return s


def grid_with_a_step(a, steps):
    s = 1.0
    for t in range(steps, 0, -1):
        for i in range(1, a.shape[0], 2):
            for j in range(2):
                s = math.sin(s * a[i]) + a[j] * t
    return s


def grid_of_two_types(a, steps):
    s = 1.0
    for t in range(steps):
        for i in range(a.shape[0]):
            if s > 0.1 * t:
                s = math.sin(s * a[i]) * s
            else:
                s = math.exp(s) + a[i]
    return s


def triangle(a, steps):
    s = 1.0
    for _ in range(steps):
        for i in range(a.shape[0]):
            for j in range(i + 1, a.shape[0]):
                s = math.sin(s * a[i]) + a[j]
    return s


def triangle_of_triangles(a, steps):
    s = 1.0
    for i in range(a.shape[0]):
        for _ in range(steps):
            for j in range(i):
                for k in range(j, i + 1, 2):
                    s = math.sin(s * a[i]) * a[j] + a[k]
    return s


def rows_of_arrays(a, steps):
    u = a.copy()
    for t in range(steps):
        for i in range(1, 3):
            u = np.sin(u * a[i]) * u
    return u.sum()


def behind_a_branch(a, steps):
    s = 1.0
    for t in range(steps):
        if s > 0.5:
            for i in range(a.shape[0]):
                s = math.sin(s * a[i]) + 0.3
        else:
            s = s * a[0] + 0.7
    return s


def trips_from_numbers(a, steps):
    s = 1.0
    for t in range(steps):
        for i in range(int(s) + 2):
            s = math.sin(s * a[i]) + a[t]
    return s


def leaves_early(a, steps):
    s = 1.0
    for t in range(steps):
        for i in range(a.shape[0]):
            s = math.sin(s * a[i]) + a[t]
            if s > 1.2:
                break
    return s


GRIDS = [grid, grid_with_a_step, grid_of_two_types, rows_of_arrays]
COUNTED = [triangle, triangle_of_triangles]
GROWING = [behind_a_branch, trips_from_numbers, leaves_early]


@pytest.mark.parametrize("f", GRIDS + COUNTED + GROWING)
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_gradients(f, steps):
    check(f, A, steps, second=steps == 3)


@pytest.mark.parametrize("f", GRIDS)
def test_known_trips_make_a_grid(f):
    assert not re.search(r"\b(top|row|rows)(_\d+)?\b", text_of(f, A, 3))


def test_a_grid_has_a_dimension_for_every_loop():
    text = text_of(grid, A, 3)
    assert "tape = np.empty((trips, trips_1), np.float64)" in text
    assert "rt.grow" not in text


@pytest.mark.parametrize("f", COUNTED)
def test_rows_that_the_indices_determine_are_counted_first(f):
    text = text_of(f, A, 3)
    assert "rt.grow" not in text
    assert text.index("rows") < text.index("np.empty")


@pytest.mark.parametrize("f", GROWING)
def test_what_is_not_known_grows(f):
    assert "rt.grow" in text_of(f, A, 3)


def test_no_room_is_made_for_a_loop_that_does_not_run():
    def f(x, n):
        s = x
        if n < 1000:
            for _ in range(n):
                s = math.sin(s)
        else:
            for _ in range(n // 10**17):
                for _ in range(n):
                    s = math.sin(s)
        return s

    op, _, _ = operation(f, 0.3, 3)
    assert plain(op.reverse)([0.3, 10**14, 1.0]) == (0.3, 1.0)


def test_canary_a_row_that_is_missed(monkeypatch):
    from torchflux_zygote._native import _tape

    wrong = lambda tape, row, column: honest(tape, (*row[:-1], _tape.literal(0)), column)
    honest = _tape.cell
    monkeypatch.setattr(_tape, "cell", wrong)
    with pytest.raises(AssertionError):
        check(grid, A, 3, second=False)
