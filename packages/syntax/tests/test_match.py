"""`match`, pattern by pattern."""

import array
import math
from collections import deque

KINDS = [0, 1, -1, 2.5, "a", "bc", b"ab", None, True, [], [1], [1, 2], (1, 2, 3), {"a": 1}, deque([1, 2]), range(3)]


def test_values(same):
    def f(x):
        match x:
            case 0:
                return "zero"
            case 1 | -1 | "a":
                return "one"
            case None | True:
                return "nothing"
            case math.inf:
                return "inf"
            case b"ab":
                y = 1
        return y

    same(f, *[(x,) for x in [*KINDS, math.inf]])


def test_captures_and_guards(same):
    def f(x, n):
        match x:
            case int(y) if y > 0:
                out = ["int", y]
            case int() | float() as z if z:
                out = ["number", z]
            case str(s):
                out = s
            case y if y is None:
                out = ["none", y]
            case other:
                out = [other, n]
        return out, y

    same(f, *[(x, 3) for x in KINDS if not isinstance(x, deque)])


def test_sequences(same):
    def f(x):
        match x:
            case []:
                return "empty"
            case [y]:
                return "one", y
            case [1, (2 | 3) as y]:
                return "two", y
            case [y, *_, z] if y == z:
                return "same ends", y
            case [[a, b], *rest] | [a, b, rest]:
                return a, b, rest
            case _:
                return "other"

    def g(x):
        match x:
            case []:
                return "empty"
            case [y]:
                return "one", y
            case [1, (2 | 3) as y]:
                return "two", y
            case [y, *_, z] if y == z:
                return "same ends", y
            case [[a, b], *rest]:
                return a, b, rest
        return "other"

    same(g, *[(x,) for x in [*KINDS, [5, 6, 5], [[1, 2], 3], [(1, 2)], [1, 3], "ab", [[1]], array.array("i", [1, 2])]])


def test_the_subject_is_looked_up_once(same):
    note = same.note

    def f(x):
        match note("subject", x), note("more", 1):
            case (x, 1) if note("guard", x) == 2:
                return "two"
            case (0, y):
                return x, y

    def g(x):
        match x:
            case [x, y] if note(x):
                return x
            case [x, 3]:
                return x, y

    same(f, (0,), (2,), (3,))
    same(g, ([1, 2],), ([1, 3],))


def test_names_stay_bound_when_the_guard_fails(same):
    def f(x):
        y = None
        match x:
            case [y, 1] if y > 5:
                return "big"
            case _:
                pass
        return y

    same(f, ([1, 1],), ([9, 1],), ([3, 2],))
