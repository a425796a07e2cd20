"""Names that are rebound while an expression is evaluated are read when Python reads them."""

# The programs to be read are written in every way there is.
# ruff: noqa: C408, RUF021, UP034

from torchflux_syntax import read, show

counter = 0
LIMIT = 3


def tick(value=None):
    global counter
    counter += 1
    return counter if value is None else value


def test_globals_that_a_call_rebinds(same):
    def f():
        global counter
        counter = 0
        return [
            counter + tick(),
            counter * 10 + tick() * counter,
            [counter, tick(), counter],
            counter < tick() < counter,
        ]

    same(f, state=lambda: counter)


def test_captured_variables_that_a_call_rebinds(same):
    n = 0

    def step():
        nonlocal n
        n += 1
        return n

    def f():
        nonlocal n
        n = 0
        x = {n: step(), "k": n}
        n += step()
        x[n] = step()
        return [n + step(), n - step() + n, (n, step(), *[n]), f"{n} {step()} {n}", x]

    same(f)


def test_variables_that_a_nested_function_rebinds(same):
    def f(a):
        def g(by):
            nonlocal a
            a = a + by
            return a

        a += g(1)
        b = [0] * 20
        b[a] += g(2) - a
        b[a], c = a, g(3)
        return a + g(4) * a, (lambda a: a + g(5))(a) + a, b, c

    same(f, (1,))


def test_walruses_in_later_operands(same):
    def f(x):
        y = x + (x := 2) * x
        x += (x := 10)
        d = {x: (x := 3), (x := 4): x}
        z = x < (x := 5) < x + 1
        d[x] = (x := 6)
        return y, x, d, z, print(x, (x := 7), x, end="") or x

    same(f, (1,))


def test_a_walrus_that_rebinds_what_is_called(same):
    def f(g, x):
        return g((g := x)), g

    same(f, (abs, -1))


def test_unpacked_arguments_are_iterated_before_later_ones_are_evaluated(same):
    def f(xs):
        return (
            max(*xs, xs.pop()),
            [*xs, xs.pop(), *xs],
            {**dict(a=xs[0]), "b": xs.pop()},
            dict(**{str(len(xs)): 1}, k=xs),
        )

    same(f, ([1, 2, 3, 4],))


def test_everything_in_pythons_order(same):
    n = same.note

    def f(a, d):
        n("f", lambda *args, **kw: args)(n("x"), *n("s", a), n("y"), k=n("k"), **n("d", d), z=n("z"))
        n("c", d)[n("i", 1)] = n("v", 2)
        n("c", d)[n("i", 1)], n("e", d)["k"] = n("v", (2, 3))
        [n("l"), {n("k"): n("v")}, (n("t"), n("u", 1) + n("w", 2)), n("a", a)[n("lo", 0) : n("hi", 1) : n("step", 1)]]
        n("a", 1) if n("c", True) else n("b", 2)
        del n("del", d)[n("key", 1)]
        return n("p", 0) or n("q", 1) and n("r", 2)

    same(f, ([1], {"u": 0}))


def test_what_cannot_change_gets_no_second_name():
    def f(x, y):
        return max(x * y, tick(x)) + x * LIMIT

    assert show(read(f)).splitlines()[1:] == [
        "    t1 = x * y",
        "    t2 = tick(x)",
        "    t3 = max(t1, t2)",
        "    t4 = x * LIMIT",
        "    t5 = t3 + t4",
        "    return t5",
    ]
