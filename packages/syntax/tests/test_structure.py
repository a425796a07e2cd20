"""The second normal form: what it looks like, and that it does the same."""

# The programs to be read are written in every way there is.
# ruff: noqa: RET503, RET507, SIM117

import textwrap

import pytest

from torchflux_syntax import Unsupported, is_structured, load, read, show, structure


def shown(f) -> str:
    return "\n".join(show(structure(read(f))).splitlines()[1:])


def expected(text: str) -> str:
    return textwrap.indent(textwrap.dedent(text).strip(), "    ")


def test_a_body_that_is_structured_stays_as_it_is():
    def f(x, n):
        for i in range(n):
            x = x * i
            if x > 5:
                x = x - 1
        while x > 1:
            x = x / 2
        return x

    assert show(structure(read(f))) == show(read(f))


def test_early_returns_become_branches(same):
    def f(x):
        if x > 2:
            return "big"
        x += 1
        if x > 2:
            if x > 2.5:
                return "middle"
        elif x < 0:
            raise ValueError(x)
        else:
            return "small"
        return "rest"

    same(f, (3,), (1.8,), (1.2,), (0,), (-5,))
    assert "returned" not in shown(f)


def test_a_return_among_branches_that_go_on_needs_a_flag(same):
    def f(x):
        if x > 0:
            if x > 1:
                return 1
        else:
            x = -x
        return x

    same(f, (2,), (1,), (-1,))
    assert shown(f) == expected("""
        returned = False
        t1 = x > 0
        if t1:
            t2 = x > 1
            if t2:
                result = 1
                returned = True
        else:
            x = -x
        if returned:
            pass
        else:
            result = x
        return result
    """)


def test_a_return_in_a_loop(same):
    def f(xs, y):
        for x in xs:
            if x == y:
                return x
        return None

    same(f, ([1, 2], 2), ([1], 2), ([], 2))
    assert shown(f) == expected("""
        returned = False
        result = None
        for x in xs:
            t1 = x == y
            if t1:
                result = x
                returned = True
            if returned:
                break
        return result
    """)


def test_a_loop_that_ends_with_its_break_stays():
    def f(xs, stop):
        y = 0
        for x in xs:
            y += x
            if stop:
                break
        return y

    assert show(structure(read(f))) == show(read(f))


def test_continue_becomes_a_branch(same):
    def f(xs):
        y = 0
        for x in xs:
            if x < 0:
                continue
            y += x
        return y

    same(f, ([1, -1, 2],))
    assert shown(f) == expected("""
        y = 0
        for x in xs:
            t1 = x < 0
            if t1:
                pass
            else:
                y += x
        return y
    """)


def test_a_while_loop_that_is_left_in_one_place_needs_no_flag(same):
    def f(x):
        while True:
            x += 1
            if x > 5:
                y = x * 2
                break
            x += 1
        return y

    same(f, (0,), (7,))
    assert shown(f) == expected("""
        while True:
            x += 1
            t1 = x > 5
            going = not t1
            if going:
                pass
            else:
                break
            x += 1
        y = x * 2
        return y
    """)


def test_a_while_loop_with_a_break(same):
    def f(x):
        while x < 10:
            x += 1
            if x == 5:
                break
            x += 1
        return x

    same(f, (0,), (1,), (20,))
    assert shown(f) == expected("""
        broke = False
        while True:
            if broke:
                going = False
            else:
                t1 = x < 10
                going = t1
            if going:
                pass
            else:
                break
            x += 1
            t2 = x == 5
            if t2:
                broke = True
            else:
                x += 1
        return x
    """)


def test_endless_loops(same):
    def f(n):
        while True:
            n += 1
            if n > 5:
                raise ValueError(n)

    def g(n):
        while True:
            if n > 5:
                if n > 6:
                    return "a"
                n += 1
                continue
            n += 3

    same(f, (0,))
    same(g, (0,), (1,), (2,))


def test_all_jumps_in_nested_loops(same):
    note = same.note

    def f(n, stop):
        for i in range(n):
            for j in range(n):
                note((i, j))
                if (i, j) == stop:
                    return "inner", i, j
                if i == j == 1:
                    break
                if j % 2:
                    if i:
                        continue
                    note("odd")
                note("end")
            else:
                note("else")
                if i == stop:
                    break
                while j > 0:
                    j -= 1
                    if j == stop:
                        return "while"
                    if j == n - 2:
                        continue
                    note(j)
            if stop == -i:
                continue
            note("outer")
        else:
            return "done"
        return "broke"

    same(f, *[(n, stop) for n in range(4) for stop in [(1, 0), (2, 2), 0, 1, 2, -1, -2, None]])


def test_mixed_jumps_in_a_branch(same):
    def f(xs):
        out = []
        for x in xs:
            if x:
                if x == 1:
                    continue
                elif x == 2:
                    break
                elif x == 3:
                    return "three"
                out.append("in")
            out.append(x)
        return out

    same(f, ([0, 1, 4],), ([0, 2, 4],), ([1, 3],), ([],))


def test_try(same):
    note = same.note

    def f(x):
        for i in range(5):
            try:
                note(i)
                if i == x:
                    return "body"
                if i == x - 10:
                    break
                if i == x - 20:
                    continue
                1 / (i - 3)
                if i == x - 30:
                    raise KeyError
            except ZeroDivisionError:
                note("zero")
                if x == 5:
                    return "handler"
                if x == 6:
                    break
                continue
            except KeyError:
                note("key")
            else:
                note("else")
                if i == x - 40:
                    return "else"
            finally:
                note("finally")
            note("end")
        try:
            return "last"
        finally:
            note("done")

    same(f, *[(x,) for x in [-1, 0, 2, 5, 6, 11, 14, 21, 24, 31, 41]])


def test_the_result_is_fixed_before_finally_runs(same):
    def f(x):
        try:
            return x
        finally:
            x += 1

    same(f, (1,))


def test_with(same):
    class Manager:
        def __enter__(self):
            return self

        def __exit__(self, kind, error, trace):
            same.note(kind)
            return True

    def f(x):
        for i in range(3):
            with Manager():
                if x == i:
                    return i
                if x == i + 10:
                    continue
                if x == i + 20:
                    break
                1 / (i - 1)
            same.note("after")
        with Manager():
            return 1 / x

    same(f, *[(x,) for x in [0, 2, 10, 12, 20, 22, 30]])
    assert load(structure(read(f)))(1) == 1


def test_nested_functions_are_structured_too(same):
    def f(x):
        def g(y):
            for i in range(y):
                if i == x:
                    return i
            return -1

        if x:
            return g(5)
        return g

    same(f, (1,), (7,))
    assert is_structured(structure(read(f)))


def test_code_after_a_jump_goes(same):
    def f(x):
        for _ in range(x):
            break
            x += 1
        return x
        x += 1

    same(f, (2,), (0,))


@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # Python 3.14 warns where the program is compiled
@pytest.mark.parametrize("jump", ["return 1", "break", "continue"])
def test_a_jump_out_of_finally_is_refused(cell, jump):
    f = cell(f"def f(x):\n    for i in x:\n        try:\n            1 / i\n        finally:\n            {jump}\n")[
        "f"
    ]
    normal = read(f)
    assert load(normal)([0]) == f([0])
    with pytest.raises(Unsupported, match=r":6:13: a jump out of `finally` is not supported; .*catch it"):
        structure(normal)


def test_a_loop_in_finally(same):
    def f(x):
        try:
            x += 1
        finally:
            for i in range(9):
                if i == 4:
                    break
                if i == x:
                    continue
                x += i
        return x

    same(f, (1,), (8,))


def test_an_exception_on_the_way_out_cancels_a_jump(same):
    class Stops:
        def __enter__(self):
            return self

        def __exit__(self, kind, error, trace):
            same.note(kind)
            return kind is KeyError

    class Raises(Stops):
        def __exit__(self, *error):
            same.note("raises")
            raise KeyError

    def f(x):
        for i in range(4):
            with Stops():
                with Raises() if i < 2 else Stops():
                    if x == i:
                        return "with", i
                    if x == i + 10:
                        break
                    if x == i + 20:
                        continue
                same.note("in")
            try:
                try:
                    if x == i + 30:
                        return "try", i
                    if x == i + 40:
                        break
                    if x == i + 50:
                        continue
                finally:
                    if i == 1:
                        raise ValueError
                same.note("after")
            except ValueError:
                same.note("cancelled")
            same.note("end")

    def g():
        with Stops():
            with Raises():
                return 1

    def h(x):
        try:
            for i in range(x):
                with Raises():
                    return i
        except KeyError:
            same.note("caught")
        return x

    same(f, *[(x,) for x in [-1, 0, 1, 2, 10, 12, 20, 22, 30, 31, 40, 41, 42, 50, 51]])
    same(g)
    same(h, (0,), (2,))
