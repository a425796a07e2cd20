"""Array expressions as loops: where there is one, where there mustn't be, and random programs of arrays."""

import random

import numpy as np
import pytest
from native_check import check, copied, native, operation, plain
from programs import attempt, examine, load

from torchflux_zygote._native import _fuse

RNG = np.random.default_rng(5)
A, B, M = RNG.normal(size=5), RNG.normal(size=5), RNG.normal(size=(4, 5))


def chain(a, b):
    return (np.exp(-(a * a)) * b + np.where(a > 0.0, a, 0.1 * a)).sum()


def logistic(w, x, y):
    z = x @ w
    return (y * z - np.log1p(np.exp(-np.abs(z))) - np.maximum(z, 0.0)).sum()


def heat(u, c):
    u = u.copy()
    for _ in range(3):
        u[1:-1] += c * (u[2:] - 2.0 * u[1:-1] + u[:-2])
    return (u * u).sum()


def shifted(a):
    a = a * 1.0
    a[1:] = 2.0 * a[:-1]
    return (a * a).sum()


def standard(x):
    mean = x.mean(axis=0)
    z = (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=0) + 0.1)
    return (np.tanh(z) * z).sum()


def rows(x, b):
    total = 0.0
    for i in range(x.shape[0]):
        r = x[i] * b
        total += np.sin(r).sum() * r[0]
    return total


def kept_for_two(a, b):
    e = np.exp(a)
    s = (e * b).sum()
    return (e * s + b).sum() + e[1]


def in_place(a, b):
    a *= b
    a += 2.0 * a
    a[0] = 1.0
    a /= 2.0
    return a


def outer(a, b):
    m = np.outer(a, b) + a[:, None] * 0.5
    return (m.T * m.T).sum(axis=0) * a


def column(a, b):
    m = np.zeros((a.shape[0], 3))
    m[:, 1] = a * b
    m[2:, 0] = b[1:-1]
    m[0] = a[:3]
    return m.T


def branches(a, b):
    t = a * b
    if t.sum() > 0.0:
        t *= 2.0
        u = np.sin(t)
    else:
        u = t + a
    while u.sum() < 3.0:
        v = np.abs(u) + 1.0
        u = u + v
    return u * t


PROGRAMS = [
    (chain, A, B), (logistic, B, M, RNG.normal(size=4)), (heat, A, 0.1), (shifted, A), (standard, M), (rows, M, B),
    (kept_for_two, A, B), (in_place, A, B), (outer, A, B), (column, A, B), (branches, A, B),
]  # fmt: skip


@pytest.mark.parametrize(("f", "args"), [(f, args) for f, *args in PROGRAMS], ids=lambda x: getattr(x, "__name__", ""))
def test_programs_of_arrays(f, args):
    check(f, *args)


def text(f, *args, mode="value"):
    return native(f).source(*args, mode=mode)


def test_a_chain_is_one_loop_without_arrays():
    found = text(chain, A, B)
    assert found.count("for ") == 1
    assert "np.empty" not in found
    assert "np.exp" not in found


def test_both_sweeps_share_a_loop():
    found = text(logistic, B, M, RNG.normal(size=4), mode="reverse")
    assert found.count("math.exp(") == 1
    assert found.count("np.empty") == 3  # the slopes by row, for a product, and the gradients of y and x


def test_a_stencil_is_read_before_it_is_written():
    found = text(heat, A, 0.1)
    assert found.count("np.empty") == 1
    assert "u[i_1 + 2]" in found.replace("t[", "u[")


def test_what_is_needed_twice_is_computed_once():
    assert text(kept_for_two, A, B).count("math.exp") == 1


def test_a_store_into_the_same_places_needs_no_array():
    def f(a, x):
        a *= x
        a += 2.0 * a
        return a[0]

    assert "np.empty" not in text(f, A, 0.5)
    assert "np.empty" in text(in_place, A, B)  # two arguments, which may overlap


def test_an_overlapping_store_goes_through_an_array():
    assert text(shifted, A).count("np.empty") == 1
    source = "def program(x, y, n, a, b, m):\n    b[1:] = b[:-1]\n    return b @ b\n"
    assert examine(source, (0.1, 0.2, 1, A[:4], B[:4], M[:, :4])).kind == "agrees"


def test_memory_is_looked_after(monkeypatch):
    """Without the rule of memory the checker finds wrong numbers."""
    monkeypatch.setattr(_fuse.Schedule, "conflict", lambda self, a, b, together: False)
    with pytest.raises(AssertionError):
        check(shifted, A)


def test_shapes_are_looked_after(monkeypatch):
    """So it does if every operand is taken to have the shape of the whole."""
    ones = A[:1]
    check(chain, A, ones)
    monkeypatch.setattr(_fuse.Schedule, "stride", lambda *args: None)
    with pytest.raises((AssertionError, IndexError)):
        check(chain, A, ones)


@pytest.mark.parametrize("compiled", [False, True])
def test_broadcasting(compiled):
    """Of lengths that are one when the program runs."""

    def f(a, b, m):
        return ((a + b) * m * b).sum(axis=1) + (a * b).sum()

    for a, b, m in [(A, A[:1], M), (A[:1], A[:1], M), (A[:1], A, M[:, :1]), (A, B, M[:1]), (A[:1], A[:1], M[:1, :1])]:
        check(f, a, b, m, compiled=compiled)


def test_broadcasting_of_slices():
    """Whose length is one when the program runs, and isn't known before."""

    def f(a, b):
        c = a[1:] * b
        b = b * 1.0
        b += a[1:] * 2.0
        return c * c * b

    check(f, A[:2], B[:1])
    check(f, A[:2], B)
    check(f, A, B[:4])


@pytest.mark.parametrize("mode", ["value", "gradient"])
@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: (a * b).sum(),
        lambda a, b: (np.sin(a) + np.exp(b) * a).sum(),
        lambda a, b: np.where(a > 0.0, a, b).sum(),
        lambda a, b: (a[1:] * b[2:]).sum(),
    ],
)
def test_shapes_that_do_not_fit(f, mode):
    op, values, _ = operation(f, A, np.ones(7))
    run = plain(op if mode == "value" else op.reverse)
    with pytest.raises(ValueError, match="fit"):
        run(values if mode == "value" else [*values, 1.0])


def test_a_store_that_does_not_fit_leaves_the_argument_as_it_was():
    @native
    def f(a, b):
        a += 1.0
        a[1:] = b * 2.0
        return a.sum()

    a = A.copy()
    with pytest.raises(ValueError, match="fit"):
        f(a, np.ones(7))
    np.testing.assert_array_equal(a, A + 1.0)  # what came before has happened, as in Python


def test_arguments_that_overlap():
    @native
    def f(a, b):
        b[:] = 2.0 * a + b
        return b.sum()

    expected, found = A.copy(), A.copy()
    expected[1:] = 2.0 * expected[:-1] + expected[1:]
    f(found[:-1], found[1:])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n", [0, 1, 2, 7])
@pytest.mark.parametrize("f", [chain, lambda a, b: in_place(a.copy(), b).sum(), lambda a, b: outer(a, b).sum()])
def test_lengths(f, n):
    a, b = RNG.normal(size=n), RNG.normal(size=n)
    if f is not chain and n == 0:
        return  # the function itself looks at the first element
    op, values, _ = operation(f, a, b)
    np.testing.assert_allclose(plain(op)(values)[0], f(a, b), rtol=1e-14)
    _, da, db = plain(op.reverse)([*values, 1.0])
    assert da.shape == db.shape == (n,)


def test_a_length_of_a_part_whose_array_nothing_else_reads():
    def parts(a, b):
        c = a * 0.4
        c[:] = np.concatenate((a[2:], c[:2]))
        d = b * 2.0
        d = np.concatenate((a[2:], d[1:][:2]))
        return a[1] + len(d)

    check(parts, np.arange(4.0), np.arange(5.0))


def test_a_length_of_a_view_that_is_not_made_yet():
    def views(a, x):
        b = (a * x).reshape(-1)
        b[1:] = x
        return b @ b

    check(views, np.arange(4.0), 0.7)


def test_layouts():
    """Arrays that aren't contiguous, and transposed ones."""
    wide, tall = RNG.normal(size=(8, 10)), np.asfortranarray(RNG.normal(size=(5, 4)))

    def f(x, y):
        return (x * y.T + np.cos(x)).sum(axis=0)

    check(f, wide[::2, ::2], tall, compiled=True)


def test_number_types():
    def f(a, b, k, flags):
        c = np.where(flags, a * 0.1 + b, b)
        return c, (c * c).sum(), k * k - 2 * k, (k > 1) & flags, k / 2, c.astype(np.float64) * k

    for dtype in (np.float32, np.float64):
        args = A.astype(dtype), B.astype(dtype), np.arange(5), A > 0.0
        found, expected = native(f)(*args), f(*args)
        for x, y in zip(found, expected, strict=True):
            assert np.asarray(x).dtype == y.dtype or np.ndim(x) == 0
            np.testing.assert_allclose(x, y, rtol=2e-6 if dtype is np.float32 else 1e-14)


# Random programs.


class Arrays:
    """Writes a program over vectors of one length (and some of length one), matrices and slices."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.lines, self.depth, self.count = [], 1, 0
        self.vectors, self.matrices = ["a", "b"], ["m"]
        self.small = ["c"]  # of length one

    def pick(self, *kinds):
        return self.rng.choice(kinds)

    def fresh(self):
        self.count += 1
        return f"t{self.count}"

    def number(self):
        v, m = self.pick(*self.vectors), self.pick(*self.matrices)
        return self.pick("x", "0.5", f"{v}.sum()", f"{v}[1]", f"({v} * {v}).mean()", f"{m}.sum()", f"{v} @ {v}")

    def vector(self, depth=3):
        if depth == 0 or self.rng.random() < 0.15:
            return self.pick(*self.vectors, *self.vectors, self.pick(*self.small), f"{self.pick(*self.matrices)}[1]")
        deeper = lambda: self.vector(depth - 1)
        m = self.pick(*self.matrices)
        return self.pick(
            lambda: f"({deeper()} {self.pick('+', '-', '*')} {deeper()})",
            lambda: f"{self.pick('np.sin', 'np.tanh', 'np.abs', 'np.cos')}({deeper()})",
            lambda: f"{deeper()} / (2.0 + {deeper()} ** 2)",
            lambda: f"np.where({deeper()} > 0.1, {deeper()}, {deeper()})",
            lambda: f"{deeper()} * {self.number()}",
            lambda: f"({m} * {deeper()}).sum(axis=0)",
            lambda: f"({m} @ {self.pick(*self.vectors)})",
            lambda: f"{m}[:, 2] * {deeper()}",
        )()

    def matrix(self):
        m, v, w = self.pick(*self.matrices), self.pick(*self.vectors), self.pick(*self.vectors)
        return self.pick(
            f"{m} * {v}", f"{m} + {v}[:, None]", f"np.outer({v}, {w}) - {m}.T", f"np.tanh({m}) * {self.number()}"
        )

    def line(self, line):
        self.lines.append("    " * self.depth + line)

    def statement(self, budget):
        v, w = self.pick(*self.vectors), self.pick(*self.vectors)
        kind = self.rng.randrange(14 if budget > 1 else 11)
        if kind < 3:
            name = self.fresh()
            self.line(f"{name} = {self.vector()} + 0.0 * a")
            self.vectors.append(name)
        elif kind == 3:
            name = self.fresh()
            self.line(f"{name} = {self.matrix()}")
            self.matrices.append(name)
        elif kind == 4:
            self.line(f"{v} {self.pick('+=', '*=', '-=')} {self.vector(2)}")
        elif kind == 5:
            self.line(f"{v}[1:] {self.pick('=', '+=', '*=')} {w}[:-1] * {self.number()}")
        elif kind == 6:
            self.line(f"{v}[1:-1] = 0.3 * ({v}[2:] - {w}[:-2])")
        elif kind == 7:
            m = self.pick(*self.matrices)
            self.line(f"{m}[{self.pick('0', '-1', ':, 1', '1:3', ':')}] {self.pick('+=', '*=')} {self.number()}")
        elif kind == 8:
            self.line(f"{self.pick(*self.matrices)}[2] = {self.vector(2)}")
        elif kind == 9:
            name = self.fresh()
            self.line(f"{name} = {v}.copy()")
            self.vectors.append(name)
        elif kind == 10:
            self.line(f"x = np.tanh({self.number()})")
        else:
            self.line(self.pick(f"if {self.number()} > 0.2:", f"for i{self.count} in range({self.pick(1, 2, 3)}):"))
            names = list(self.vectors), list(self.matrices)
            self.depth += 1
            for _ in range(self.rng.randint(1, 3)):
                self.statement(budget - 1)
            self.depth -= 1
            self.vectors, self.matrices = names

    def program(self):
        for _ in range(self.rng.randint(2, 7)):
            self.statement(3)
        ends = [*(f"{v} @ np.sin({v})" for v in self.vectors), *(f"({m} * {m}).sum()" for m in self.matrices), "x"]
        head = "def program(x, a, b, c, m):"
        own = "    a, b, m = a.copy(), b.copy(), m.copy()" if self.rng.random() < 0.5 else "    pass"
        return "\n".join([head, own, *self.lines, f"    return {' + '.join(ends)}"]) + "\n"


def random_arguments(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.choice([4, 4, 4, 5, 3]))
    draw = lambda *shape: np.round(rng.uniform(-1.2, 1.2, shape), 3) + 0.0003
    return float(draw()), draw(n), draw(n), draw(1), draw(n, n)


@pytest.mark.parametrize("block", range(6))
def test_random_programs_of_arrays(block):
    agreed = 0
    for seed in range(8 * block, 8 * (block + 1)):
        source = Arrays(seed).program()
        try:
            agreed += examine(source, random_arguments(seed), seed % 8 == 0).kind == "agrees"
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}\n{source}") from error
    assert agreed > 4


def test_random_programs_notice_a_wrong_loop(monkeypatch):
    """The canary: without the rule of memory, some of them don't agree."""
    monkeypatch.setattr(_fuse.Schedule, "conflict", lambda self, a, b, together: False)
    outcomes = [attempt(Arrays(seed).program(), random_arguments(seed), False).kind for seed in range(30)]
    assert "fails" in outcomes


def test_compiled_programs_agree_with_the_text():
    """The machine code of a few random programs computes what their text does."""
    for seed in (3,):
        source, args = Arrays(seed).program(), random_arguments(seed)
        op, values, _ = operation(load(source), *args)
        for made in (op, op.reverse):
            given = [*values, 1.0] if made is not op else values
            for x, y in zip(made(copied(tuple(given))), plain(made)(given), strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-12)
