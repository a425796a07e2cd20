"""Construct by construct: what is loaded again does what was read."""

# The programs to be read are written in every way there is.
# ruff: noqa: B007, B008, B018, B023, B030, C402, C416, F632, F821, F842, PIE790, PIE804, RET503, RET504, RET505, UP008

import math
from contextlib import contextmanager

import pytest

from torchflux_syntax import load, read, show

SCALE = 3.0
COUNT = [0]


def text(f) -> list[str]:
    return show(read(f)).splitlines()[1:]


def test_arithmetic(same):
    def f(x, y):
        return -(x + y) * x**-2 // 3 + (not x) + (~7 & 5 | 2) - abs(y) % 4

    same(f, (1.5, 2.0), (3, -4), (-2, 1), (0, 1))


def test_right_side_keeps_its_operation():
    def f(x):
        y = x * x
        return y

    assert text(f) == ["    y = x * x", "    return y"]


def test_new_names_avoid_all_names_of_the_function():
    def f(x):
        t1 = x + 1
        return t1 * t3 + x

    assert text(f) == ["    t1 = x + 1", "    t2 = t1 * t3", "    t4 = t2 + x", "    return t4"]


def test_negative_numbers_are_atoms_and_print_back(same):
    def f(x):
        return (-1) ** x + x**-2.5 + -(1).real + (-2.0).hex().count("2") + math.copysign(1, -0.0)

    same(f, (3,))
    assert "x ** (-2.5)" in show(read(f))


def test_displays_and_unpacking(same):
    def f(a, d):
        x, *y, z = a
        (p, [q, r]), s = (1, [2, 3]), 4
        return [x, *y, *a], {*a, z}, {"k": p, **d, q: r}, (*a, s), [], (), {}

    same(f, ([1, 2, 3], {"u": 1}), ([1, 2], {}), ([1], {}))


def test_unpacking_to_places_keeps_the_order_of_stores(same):
    def f(x):
        i, x[i] = 1, 7
        x[0], j, (x[j], k) = 3, 2, (8, 9)
        return i, j, k

    same(f, ([0, 0, 0],))


def test_unpacking_an_empty_tuple(same):
    def f(x):
        () = x
        [] = x
        return 1

    same(f, ([],), ([1],))


def test_several_targets(same):
    def f(x):
        a = b = x[0] = [1]
        i = x[i] = 1
        return a is b, x

    def swapped(v, w):
        a, v = w = v
        return a, v, w

    same(f, ([0, 0],))
    same(swapped, ((1, 2), 0))


def test_augmented_assignment(same):
    class Box:
        def __init__(self):
            self.value = [1]

    def f(a, d):
        a += [1]
        b = Box()
        b.value += [2]
        d["x"] += 1
        d["y"]["z"][-1] *= 2
        a[0:1] += [5]
        return a, b.value

    same(f, ([0], {"x": 1, "y": {"z": [3]}}))


def test_augmented_places_are_evaluated_once(same):
    note = same.note

    def f(a):
        note("a", a)[note("i", 0)] += note("v", 2)
        return a

    same(f, ([1],))


def test_subscripts(same):
    class Index:
        def __getitem__(self, index):
            return index

    def f(n):
        x = Index()
        return [
            x[n, ::2, ...],
            x[1 : n + 1],
            x[(n, (1, 2)), 3],
            x[()],
            x[:],
            x[n,],
            x[*(1, n), 2],
            x[n : n * 2 : -1, None],
        ]

    same(f, (4,))


def test_delete(same):
    def f(d, a):
        x = y = 1
        del d["k"], a[1:], (x, [y])
        try:
            return x
        except NameError:
            return d, a

    same(f, ({"k": 1, "l": 2}, [1, 2, 3]))


def test_boolean_operators_give_their_operands(same):
    def f(a, b, c):
        return a and b, a or b, (a and b) or c, a and (b or c), not (a and b), a or b or c, a and b and c

    same(f, *[(a, b, c) for a in (0, 1) for b in ([], [2]) for c in ("", "x")])


def test_tests_ask_for_truth_once(same):
    class Truth:
        def __init__(self, name, value):
            self.name, self.value = name, value

        def __bool__(self):
            return same.note(self.name, self.value)

    def f(a, b, c):
        a, b, c = Truth("a", a), Truth("b", b), Truth("c", c)
        n = 0
        if a and b:
            n += 1
        if (a or b) and not c:
            n += 2
        if (a if b else c) or (a and not (b or c)):
            n += 4
        while not (a and b and c) and n < 20:
            n += 10
        return n

    same(f, *[(a, b, c) for a in (False, True) for b in (False, True) for c in (False, True)])


def test_comparison_chains(same):
    note = same.note

    def f(a, b, c):
        x = note("a", a) < note("b", b) <= note("c", c) != 7
        y = 1 if note("a", a) < note("b", b) < note("c", c) < 9 else 2
        return x, y, a in [b, c] is not None

    same(f, (1, 2, 3), (2, 1, 3), (1, 3, 2), (3, 2, 7))


def test_conditional_expressions(same):
    def f(x):
        y = 1 if x > 2 else "low" if x > 1 else None
        return (y, x if x else [])

    same(f, (0,), (2,), (3,))


def test_walrus(same):
    def f(x):
        if (n := len(x)) > 2:
            return n + (n := 5) + n
        return [(m := v) for v in x], m if x else None

    same(f, ([1, 2, 3],), ([1],), ([],))


@pytest.mark.parametrize("stop", [-1, 0, 1, 2, 3, 9])
def test_loops_with_else(same, stop):
    def f(n):
        found = []
        for i in range(n):
            if i == stop:
                found.append(i)
                break
            if i == 1:
                continue
            found.append(-i)
        else:
            found.append("for")
        while n > 0:
            n -= 1
            if n == stop:
                break
        else:
            found.append("while")
        for _ in found:
            for j in range(3):
                if j == stop:
                    break
            else:
                continue
            break
        else:
            return "no break", found
        return found

    same(f, (0,), (2,), (4,))


def test_while_true(same):
    def f(n):
        while True:
            n += 1
            if n > 5:
                break
        while 1:
            n += 1
            if n > 9:
                return n

    same(f, (0,), (7,))


def test_loop_targets(same):
    class Box:
        pass

    def f(pairs):
        box, seen = Box(), []
        for i, (a, *b) in pairs:
            seen.append((i, a, b))
        for box.x in range(3):
            seen.append(box.x)
        for seen[0], k in [(9, 8)]:
            pass
        return seen, k

    same(f, ([(1, (2, 3, 4)), (5, (6,))],))


def test_comprehensions(same):
    def f(xs, i):
        a = [i * x for x in xs if x if x > 1]
        b = {x % 3 for x in xs}
        c = {x: i for i, x in enumerate(xs)}
        d = [[i + j for i in range(j)] for j in xs]
        e = [(x, y) for x in xs for y in range(x) if x != y]
        [i.append(1) for i in d]
        return a, b, c, d, e, i

    same(f, ([3, 1, 2], 10), ([], 1))


def test_loop_names_of_comprehensions_are_their_own():
    def f(x, v):
        return [v for v in x] + [w for w in x] + [lambda w: w for x in x]

    lines = show(read(f))
    assert "for v_1 in x" in lines
    assert "v =" not in lines


def test_functions_that_capture_loop_names(same):
    def f(n):
        g = [lambda: i for i in range(n)]
        out = []
        for k in range(2):
            h = [lambda j=j: (i, j, k) for i in range(2) for j in range(2)]
            out.append([each() for each in h])
        return [each() for each in g], out, {k: [x() for x in [lambda: k]] for k in range(n)}

    same(f, (3,))


def test_generator_expressions_that_are_used_up(same):
    note = same.note

    def f(xs):
        a, b = (x + 1 for x in xs[:2])
        return (
            sum(x * x for x in xs),
            min((x for x in xs), default=7),
            sorted((x for x in xs), key=lambda x: -x),
            tuple(x for x in xs if x),
            dict((x, 1) for x in xs),
            math.prod(x for x in xs),
            ", ".join(str(x) for x in xs),
            any(note(x, x > 2) for x in xs),
            all(note(x, x < 2) for x in xs),
            any(x == y for x in xs for y in xs[1:] if note(y, y)),
            all(x != y for x in xs for y in [x + 1, note(x, 3)]),
            sum((x for x in xs), 10),
            [*(x for x in xs)],
            a,
            b,
        )

    same(f, ([1, 2, 3],), ([3, 0, 1],))


def test_f_strings(same):
    def f(x, name, width):
        return f"{x} {x!r:>{width}} {{}} {name:{'<'}{width + 1}} {x + 1:.{width - 3}f} {name=} {'a' + name!s}\n"

    same(f, (2.5, "b", 6))


def test_f_strings_format_before_what_comes_later(same):
    def f(xs):
        return f"{xs} {xs.pop()} {xs} {xs!r:>{xs.pop() + 10}}"

    same(f, ([1, 2, 3],))


def test_lambdas_and_nested_functions(same):
    def f(x):
        def power(y, n=x + 1, /, *rest, k=2, **more):
            """Dropped."""
            nonlocal_ = y**n
            return nonlocal_ + k + sum(rest) + len(more)

        def nothing():
            """Only this."""

        square = lambda y: y * x
        return power(2), power(2, 1, 3, 4, k=5, z=1), square(3), nothing(), (lambda *a, k=x: (a, k))(1)

    same(f, (1,))


def test_nonlocal(same):
    def f(x):
        def step(by=1):
            nonlocal x
            x += by
            return x

        return [x + step() + x, step(step()) + x, x]

    same(f, (1,))


def test_decorators_of_nested_functions(same):
    note = same.note

    def f(x):
        def twice(g):
            note("twice")
            return lambda y: g(g(y))

        def plus(n):
            note("plus")
            return lambda g: lambda y: g(y) + n

        @note("first", plus(10))
        @twice
        def g(y, z=note("default", 1)):
            return y + z

        return g(x)

    same(f, (1,))


def test_annotations_are_dropped(same):
    def f(x: "unknown", *args: "unknown") -> "nothing":
        y: undefined = x
        z: undefined

        def g(a: "undefined" = 1) -> "undefined":
            return a + y

        return g()

    same(f, (1,))


def test_try(same):
    def f(x):
        out = []
        try:
            out.append("try")
            y = 1 / x
        except (ZeroDivisionError, math.inf.__class__.__mro__[0] if False else ValueError) as error:
            out.append(str(error))
        return out, y

    def g(x):
        out = []
        try:
            try:
                y = [1, 2][x]
            except (ZeroDivisionError, KeyError):
                out.append("no")
            else:
                out.append(y)
            finally:
                out.append("finally")
        except IndexError as error:
            out.append(type(error))
            try:
                raise ValueError("again") from error
            except Exception as error:
                out += [error.args, type(error.__cause__), type(error.__context__)]
        except:
            raise
        try:
            error
        except NameError:
            out.append("unbound")
        return out

    with pytest.raises(SyntaxError, match="after `except`"):
        read(f)
    same(g, (0,), (5,), ("a",))


def test_what_is_caught_is_looked_at_only_when_something_is_raised(same):
    def f(x):
        try:
            return 1 / x
        except math.missing:
            return 0

    same(f, (1,), (0,))


def test_raise(same):
    def f(x):
        if x == 0:
            raise ValueError
        if x == 1:
            raise KeyError(x) from None
        try:
            raise RuntimeError("no") from TypeError("cause")
        except RuntimeError:
            raise

    same(f, (0,), (1,), (2,))


def test_assert(same):
    def f(x):
        assert x
        assert x > 1, f"too small: {x}"
        return x

    assert load(read(f))(2) == 2
    with pytest.raises(AssertionError):
        load(read(f))(0)
    with pytest.raises(AssertionError, match="too small: 1"):
        load(read(f))(1)


def test_with(same):
    note = same.note

    @contextmanager
    def managed(name, stops=False):
        note("enter " + name)
        try:
            yield (name, 1)
        except ValueError:
            if not stops:
                raise
        finally:
            note("exit " + name)

    def f(x):
        with managed("a") as (a, n), managed("b", stops=True) as b, managed("c"):
            if x:
                raise ValueError(x)
            return a, n, b
        return "stopped"

    same(f, (0,), (1,))


def test_imports_in_functions(same):
    def f(x):
        import math as m
        import os.path
        from operator import add
        from operator import mul as times

        return add(m.floor(x), times(2, 3)), os.path.basename("a/b")

    same(f, (2.5,))


def test_globals(same):
    def f(n):
        global LATER
        LATER = n
        LATER += 1
        del LATER
        try:
            return LATER
        except NameError:
            return SCALE

    same(f, (1,))


def test_calls(same):
    def g(*args, **kwargs):
        return args, kwargs

    def f(a, d):
        return g(*a, 1, *a, k=2, **d, **{"z": 1}), g(), "x".join(map(str, a)), g(*(), **{})

    same(f, ([1, 2], {"u": 1}))


def test_expressions_as_statements(same):
    note = same.note

    class Noisy:
        @property
        def value(self):
            note("value")

        def __neg__(self):
            note("neg")

    def f(x):
        n = Noisy()
        n.value
        -n
        ...
        x
        "text"
        (x, note("call"))
        [note(i) for i in range(2)]
        undefined

    same(f, (1,))


def test_return_none_is_written_out():
    def f(x):
        if x:
            return
        else:
            x += 1

    assert text(f) == ["    if x:", "        return None", "    else:", "        x += 1", "    return None"]

    def g(x):
        while True:
            if x:
                raise ValueError

    assert "return" not in show(read(g))


class Base:
    def total(self, x):
        return x + 1


class Private(Base):
    __factor = 2

    def __init__(self, n):
        self.__n = n

    def total(self, x):
        def inner(other, __k=3):
            return super(Private, other).total(x) + __k

        return super().total(x) * self.__n + self.__factor + inner(self, _Private__k=1)

    @staticmethod
    def double(x):
        return 2 * x

    @classmethod
    def create(cls, n):
        return cls(n).__n, __class__ is cls


def test_methods(same):
    p = Private(5)
    same(p.total, (1,))
    same(Private.total, (p, 1))
    same(Private.double, (4,))
    same(Private.create, (4,))
    assert read(p.total).receiver == (p,)
    assert "super(__class__, self)" in show(read(p.total))


def test_properties(same):
    class Point:
        x = 2

        @property
        def twice(self):
            return 2 * self.x

    same(Point.twice.fget, (Point(),))


def test_annotated_targets_without_a_value_are_evaluated(same):
    note = same.note

    def f(x):
        note("attribute", x).name: undefined
        note("item", x)[note("index")]: undefined
        note("stored", x)[note("at", 0)]: undefined = note("value", 1)
        return x

    same(f, ([3],))
