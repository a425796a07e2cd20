"""The methods of native functions: their forms, and that they agree with each other, with Python and across widths."""

import contextlib
import functools
import linecache
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from native_check import interpreted, native, slope

import torchflux_zygote as zygote
from torchflux_zygote._native import _operation

A, B = np.array([0.7, -1.2, 2.3, 0.4]), np.array([1.5, 0.3, -0.8, 1.1])
M = np.array([[1.2, -0.4, 0.3], [0.5, 1.7, -0.2]])


@pytest.fixture
def text_only(monkeypatch):
    """Runs the generated text as Python."""
    monkeypatch.setattr(_operation, "compiled", interpreted)


def energy(a, x, n):
    s = x
    for i in range(n):
        s = s + math.sin(a[i] * x) * a[i - 1]
    return s * s


def many(*xs):
    return functools.reduce(lambda s, x: s * math.cos(x) + x, xs, 1.0)


def outputs(a, x):
    return a * x, (x * x, a.sum())


def test_forms_of_gradients(text_only):
    f = native(energy)
    value, grads = f.withgradient(A, 0.3, 3)
    assert value == pytest.approx(energy(A, 0.3, 3), rel=1e-14)
    assert isinstance(grads[0], np.ndarray)
    assert isinstance(grads[1], float)
    assert grads[2] is None
    assert grads[0].shape == A.shape
    np.testing.assert_array_equal(f.gradient(A, 0.3, 3)[0], grads[0])


def test_gradients_of_nested_tuples(text_only):
    f = native(lambda tree: tree[0] * tree[1][0] * tree[1][1].sum() * tree[2])
    ((dx, (dy, da), dn),) = f.gradient((2.0, (3.0, A), 5))
    assert dx == pytest.approx(15.0 * A.sum())
    assert dy == pytest.approx(10.0 * A.sum())
    np.testing.assert_allclose(da, 30.0)
    assert dn is None
    assert native(lambda pair, x: x * pair[0]).gradient((1, 2), 3.0) == (None, 1.0)


def test_forward_and_reverse_for_few_and_many_numbers(text_only):
    """Up to eight numbers the gradient is by forward mode, beyond by reverse."""
    for n in (1, 2, 8, 9, 12):
        xs = tuple(0.1 * (k + 1) for k in range(n))
        grads = native(many).gradient(*xs)
        expected = [slope(lambda t: np.array([many(*t)]), np.array(xs), e)[0] for e in np.eye(n)]
        np.testing.assert_allclose(grads, expected, rtol=1e-8)


def test_the_mode_is_chosen_by_name(text_only):
    """Each mode runs what it says, and all agree; a call may choose another one than the decorator."""
    for mode in ("auto", "forward", "reverse"):
        f = native(mode=mode)(energy)
        np.testing.assert_allclose(f.gradient(A, 0.3, 3)[0], native(energy).gradient(A, 0.3, 3)[0], rtol=1e-13)
        for other in ("auto", "forward", "reverse"):
            value, (da, dx, dn) = f.withgradient(A, 0.3, 3, mode=other)
            assert value == pytest.approx(energy(A, 0.3, 3), rel=1e-14)
            np.testing.assert_allclose(da, native(energy).gradient(A, 0.3, 3)[0], rtol=1e-13)
            assert isinstance(dx, float)
            assert dn is None
    xs = tuple(0.1 * (k + 1) for k in range(12))
    np.testing.assert_allclose(native(many).gradient(*xs, mode="forward"), native(many).gradient(*xs), rtol=1e-12)
    g = native(many, mode="reverse")
    g.gradient(0.3, 0.4)
    special, _ = g.specialised((0.3, 0.4))
    assert "reverse" in special.operation.__dict__
    assert "slopes" not in special.operation.__dict__
    g.gradient(0.3, 0.4, mode="forward")
    assert "slopes" in special.operation.__dict__


def test_the_mode_of_a_jacobian():
    f = native(lambda a, x: a * a * x)
    expected = native(lambda a, x: a * a * x).jacobian(A, 0.3)
    for mode in ("auto", "forward", "reverse"):
        da, dx = f.jacobian(A, 0.3, mode=mode)
        np.testing.assert_allclose(da, expected[0], rtol=1e-14)
        np.testing.assert_allclose(dx, A * A, rtol=1e-14)
    only = native(lambda a, x: a * a * x, mode="reverse")
    only.jacobian(A, 0.3)
    assert "reverse" in only.specialised((A, 0.3))[0].operation.__dict__
    assert not only.specialised((A, 0.3))[0].operation.pushed


def test_modes_that_there_are_not():
    for bad in ("backwards", "value", "", 1):
        with pytest.raises(ValueError, match="choose auto, forward, reverse"):
            native(lambda x: x, mode=bad)
        with pytest.raises(ValueError, match="choose auto, forward, reverse"):
            native(lambda x: x).gradient(1.0, mode=bad)
        with pytest.raises(ValueError, match="choose auto, forward, reverse"):
            native(lambda x: x).jacobian(1.0, mode=bad)


def test_forward_mode_without_floats(text_only):
    assert native(lambda n: 0.5 * n).gradient(3, mode="forward") == (None,)
    assert native(lambda a: 2.0 + a.shape[0]).gradient(np.zeros(0), mode="forward")[0].shape == (0,)


def turned(a, x):
    """Stores into its argument, and reads it afterwards."""
    a[0] = a[0] * x
    a[1] += a[0] * x
    return a * a


def test_sweeps_of_a_function_that_changes_its_argument():
    """Every sweep starts from the argument as it was given."""

    def apart(a, x):
        return turned(a.copy(), x)

    da, dx = native(turned).jacobian(A, 0.5)
    expected = native(apart).jacobian(A, 0.5)
    np.testing.assert_allclose(da, expected[0], rtol=1e-14)
    np.testing.assert_allclose(dx, expected[1], rtol=1e-14)
    f, g = native(lambda a, x: turned(a, x).sum()), native(lambda a, x: apart(a, x).sum())
    for mode in ("forward", "reverse"):
        np.testing.assert_allclose(f.gradient(A, 0.5, mode=mode)[0], g.gradient(A, 0.5)[0], rtol=1e-14)
        np.testing.assert_allclose(native(turned).jacobian(A, 0.5, mode=mode)[0], expected[0], rtol=1e-14)
    for row, other in zip(f.hessian(A, 0.5), g.hessian(A, 0.5), strict=True):
        for block, right in zip(row, other, strict=True):
            np.testing.assert_allclose(block, right, rtol=1e-14)


def test_a_function_that_changes_its_argument_is_refused_inside_of_a_larger_gradient():
    f = native(lambda a: turned(a, 0.5).sum())
    with pytest.raises(TypeError, match=r"stores into an argument.*copy it first"):
        zygote.gradient(lambda a: f(a) + a[0], A)
    with pytest.raises(TypeError, match=r"stores into an argument.*copy it first"):
        zygote.hessian(lambda a: f(a), A)


def test_pullback(text_only):
    f = native(outputs)
    (y, (z, s)), back = f.pullback(A, 0.3)
    np.testing.assert_allclose(y, A * 0.3)
    assert (z, s) == (pytest.approx(0.09), pytest.approx(A.sum()))
    da, dx = back((B, (2.0, 3.0)))
    np.testing.assert_allclose(da, 0.3 * B + 3.0)
    assert dx == pytest.approx(A @ B + 2.0 * 2 * 0.3)
    again = back((B, (2.0, 3.0)))
    np.testing.assert_array_equal(da, again[0])


def test_pullback_of_a_number(text_only):
    y, back = native(lambda x, y: x * y).pullback(2.0, 3.0)
    assert y == 6.0
    assert back(10.0) == (30.0, 20.0)


def test_pullback_is_at_the_values_of_the_call(text_only):
    """An array that the caller changes afterwards doesn't change the gradient."""
    a = A.copy()
    _, back = native(lambda a: (a * a).sum()).pullback(a)
    a[:] = 100.0
    np.testing.assert_allclose(back(1.0)[0], 2 * A)


def test_pullback_of_a_function_that_changes_its_argument(text_only):
    def change(a):
        s = (a * a).sum()
        a[:] = 0.0
        return s

    b = A.copy()
    _, back = native(change).pullback(b)
    np.testing.assert_allclose(back(1.0)[0], 2 * A)
    np.testing.assert_allclose(back(1.0)[0], 2 * A)


def test_gradient_does_what_the_function_does_to_its_argument(text_only):
    def change(a):
        s = (a * a).sum()
        a[0] = 7.0
        return s

    for method in ("__call__", "gradient", "withgradient"):
        a = A.copy()
        getattr(native(change), method)(a)
        assert a[0] in (7.0, A[0])  # a documented choice, but nothing in between
        np.testing.assert_array_equal(a[1:], A[1:])


def test_gradients_own_their_memory(text_only):
    f = native(lambda a, b: a.sum() + b.sum() + (a * b).sum())
    da, db = f.gradient(A, B)
    da[:] = 9.0
    np.testing.assert_allclose(db, 1.0 + A)
    np.testing.assert_allclose(f.gradient(A, B)[0], 1.0 + B)
    da, db = native(lambda a, b: a.sum() + b.sum()).gradient(A, B)
    assert not np.shares_memory(da, db)


def test_results_own_their_memory(text_only):
    y, z = native(lambda a: (a * 2.0, a + 1.0))(A)
    assert not np.shares_memory(y, z)


def test_pushforward(text_only):
    f = native(outputs)
    push = f.pushforward(A, 0.3)
    dy, (dz, ds) = push(B, 2.0)
    np.testing.assert_allclose(dy, 0.3 * B + 2.0 * A)
    assert (dz, ds) == (pytest.approx(1.2), pytest.approx(B.sum()))
    dy, (dz, ds) = push(None, 1.0)
    np.testing.assert_allclose(dy, A)
    assert (dz, ds) == (pytest.approx(0.6), 0.0)


def test_pushforward_and_pullback_are_transposed(text_only):
    f = native(energy)
    rng = np.random.default_rng(0)
    v, w = rng.normal(size=4), rng.normal()
    da, dx, _ = f.pullback(A, 0.3, 3)[1](1.7)
    assert f.pushforward(A, 0.3, 3)(v, w, None) * 1.7 == pytest.approx(da @ v + dx * w)


def test_jacobian(text_only):
    f = native(lambda a, x: np.sin(a * x)[1:])
    da, dx = f.jacobian(A, 0.3)
    np.testing.assert_allclose(da, (np.diag(0.3 * np.cos(0.3 * A)))[1:], atol=1e-15)
    np.testing.assert_allclose(dx, (A * np.cos(0.3 * A))[1:])
    assert da.shape == (3, 4)
    assert dx.shape == (3,)


@pytest.mark.parametrize(
    "f", [lambda m, v: m @ v, lambda m, v: m * v, lambda m, v: (m * v).sum(axis=0), lambda m, v: (m * v).sum()]
)
def test_jacobian_is_that_of_torch(f, text_only):
    import torch

    v = np.array([0.6, -0.9, 1.3])
    expected = torch.func.jacrev(f, (0, 1))(torch.from_numpy(M), torch.from_numpy(v))
    for found, wanted in zip(native(f).jacobian(M, v), expected, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-14)


def test_jacobian_of_numbers(text_only):
    assert native(lambda x, y: x * y).jacobian(2.0, 3.0) == (3.0, 2.0)
    found = native(lambda x, n: np.array((x, x * x, n * x))).jacobian(2.0, 3)
    np.testing.assert_allclose(found[0], [1.0, 4.0, 3.0])
    assert found[1] is None


def test_hessian(text_only):
    h = native(lambda a: (a**3).sum() + a[0] * a[1]).hessian(A)
    expected = np.diag(6.0 * A)
    expected[0, 1] = expected[1, 0] = 1.0
    np.testing.assert_allclose(h, expected, atol=1e-14)
    (xx, xy), (yx, yy) = native(lambda x, y: x * x * y + y**3).hessian(2.0, 3.0)
    assert (xx, xy, yx, yy) == (6.0, 4.0, 4.0, 18.0)


def test_hessian_of_a_loop(text_only):
    f = native(lambda a: energy(a, a[3], 3))
    h = f.hessian(A)
    expected = [slope(lambda t: native(lambda a: energy(a, a[3], 3)).gradient(t)[0], A, e) for e in np.eye(4)]
    np.testing.assert_allclose(h, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(h, h.T, atol=1e-12)


def test_hvp(text_only):
    f = native(energy)
    (haa, hax, _), (hxa, hxx, _), _ = f.hessian(A, 0.3, 3)
    v = np.array([0.3, -1.0, 0.2, 2.0])
    pa, px, pn = f.hvp((A, 0.3, 3), (v, 0.7, None))
    np.testing.assert_allclose(pa, haa @ v + hax * 0.7, atol=1e-12)
    assert px == pytest.approx(hxa @ v + hxx * 0.7)
    assert pn is None
    np.testing.assert_allclose(f.hvp((A, 0.3, 3), (v, None, None))[0], haa @ v, atol=1e-12)


def test_misuse_says_what_to_do(text_only):
    with pytest.raises(TypeError, match="one float"):
        native(lambda a: a * 2.0).hessian(A)
    with pytest.raises(TypeError, match="one float or array"):
        native(lambda a: (a, a)).jacobian(A)


# Arguments.


def test_defaults_and_keywords_of_the_function_itself(text_only):
    @native
    def f(x, n=2, scale=1.0):
        return scale * x**n

    assert f(3.0) == 9.0
    assert f(3.0, scale=2.0) == 18.0
    assert f(x=3.0, n=3) == 27.0
    assert f.gradient(3.0, 2, 1.0)[0] == pytest.approx(6.0)


def test_scalars_of_numpy(text_only):
    f = native(lambda x, n: x**n)
    assert f(np.float64(2.0), np.int64(3)) == 8.0
    assert f(2.0, np.int64(3)) == 8.0
    assert native(lambda x, flag: x if flag else -x)(2.0, np.bool_(False)) == -2.0


def test_arrays_of_no_dimensions():
    with contextlib.suppress(TypeError):  # as a number, or refused
        assert native(lambda x: x * 2.0)(np.array(1.5)) == 3.0


def test_methods():
    class Spring:
        k = 3.0

        @native
        def energy(self, x):
            return 0.5 * x * x

    with pytest.raises(TypeError, match="native functions take"):
        Spring().energy(2.0)


def test_calls_of_other_native_functions(text_only):
    inner = native(lambda x: x * x)
    outer = native(lambda x: inner(x) + inner(x * 2.0))
    assert outer(3.0) == 45.0
    assert outer.gradient(3.0) == (30.0,)


def test_recursion():
    def power(x, n):
        if n == 0:
            return 1.0
        return x * power(x, n - 1)

    assert native(power)(1.5, 4) == pytest.approx(1.5**4)
    assert native(power).gradient(1.5, 4)[0] == pytest.approx(4 * 1.5**3)


EVEN_AND_ODD = """
def even(x, n):
    if n == 0:
        return x
    return odd(x * 1.5, n - 1)
def odd(x, n):
    if n == 0:
        return -x
    return even(x + 1.0, n - 1)
"""


def define(text, file, **space):
    """A module's names from its text, whose source can be read."""
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    space.setdefault("__name__", file)
    exec(compile(text, file, "exec"), space)
    return space


@pytest.mark.parametrize("n", [0, 1, 4, 5])
def test_mutual_recursion(n, text_only):
    even = define(EVEN_AND_ODD, "<even and odd>")["even"]
    value, grads = native(even).withgradient(0.3, n)
    assert value == pytest.approx(even(0.3, n))
    expected = slope(lambda t: np.array([even(t[0], n)]), np.array([0.3]), np.array([1.0]))[0]
    assert grads[0] == pytest.approx(expected)


def test_recursion_over_an_array(text_only):
    def tree(a, lo, hi):
        if hi - lo == 1:
            return math.sin(a[lo])
        mid = (lo + hi) // 2
        return tree(a, lo, mid) * tree(a, mid, hi) + 0.5

    value, grads = native(tree).withgradient(A, 0, 4)
    assert value == pytest.approx(tree(A, 0, 4))
    expected = [slope(lambda t: np.array([tree(t, 0, 4)]), A, e)[0] for e in np.eye(4)]
    np.testing.assert_allclose(grads[0], expected, rtol=1e-8)


# What a function captures.


def test_captured_numbers_are_those_of_the_call(text_only):
    """A global that changes gives another result, as in Python: never a stale one."""
    space = define("K = 2.0\ndef f(x):\n    return K * x\n", "<captured>")
    f = native(space["f"])
    assert f(3.0) == 6.0
    space["K"] = 5.0
    assert f(3.0) == 15.0


def test_captured_closure_variables_are_those_of_the_call(text_only):
    k = 2.0
    f = native(lambda x: k * x)
    assert f(3.0) == 6.0
    k = 5.0
    assert f(3.0) == 15.0


def test_an_edited_helper_is_not_stale(text_only):
    space = define("def helper(x):\n    return 2.0 * x\n", "<helper 1>")
    space = define("def f(x):\n    return helper(x) + 1.0\n", "<user>", **space)
    f = native(space["f"])
    assert f(3.0) == 7.0
    space["helper"] = define("def helper(x):\n    return 5.0 * x\n", "<helper 2>")["helper"]
    assert f(3.0) == 16.0
    assert native(space["f"])(3.0) == 16.0


def test_captured_arrays_change_with_their_owner(text_only):
    w = np.array([1.0, 2.0])
    f = native(lambda x: w[0] * x + w[1])
    assert f(3.0) == 5.0
    w[0] = 10.0
    assert f(3.0) == 32.0


# Compiled code.


def test_checkpoint(text_only):
    def f(x, n):
        y = x
        for _ in range(n):
            y = y + 0.01 * math.sin(y) * x
        return y

    expected = native(f).pullback(0.3, 1000)[1](1.0)
    for every in (1, 7, 64, 5000):
        np.testing.assert_allclose(native(f, checkpoint=every).pullback(0.3, 1000)[1](1.0)[0], expected[0], rtol=1e-12)


@pytest.mark.parametrize("every", [None, 0, 1, 3, 100])
def test_checkpoint_of_arrays(every, text_only):
    def f(u, n):
        v = np.zeros(len(u))
        for _ in range(n):
            for i in range(1, len(u) - 1):
                v[i] = u[i] + 0.1 * (u[i - 1] - 2.0 * u[i] + u[i + 1]) * u[i]
            u, v = v, u
        return (u * u).sum()

    grads = native(f, checkpoint=every).gradient(A, 9)[0]
    expected = [slope(lambda t: np.array([f(t.copy(), 9)]), A, e)[0] for e in np.eye(4)]
    np.testing.assert_allclose(grads, expected, rtol=1e-7, atol=1e-9)


def test_checkpoint_of_a_while_loop(text_only):
    def f(x):
        y = x
        while y < 50.0:
            y = y * 1.01 + 0.1 * x
        return y

    expected = slope(lambda t: np.array([f(t[0])]), np.array([0.7]), np.array([1.0]))[0]
    for every in (None, 4, 1000):
        assert native(f, checkpoint=every).pullback(0.7)[1](1.0)[0] == pytest.approx(expected, rel=1e-8)


def test_unchecked_bounds():
    f = native(lambda a, k: a[k] * a[-1], bounds=False)
    assert f(A, 1) == A[1] * A[-1]
    assert "within" not in f.source(A, 1)
    np.testing.assert_allclose(f.gradient(A, 1)[0], [0.0, A[3], 0.0, A[1]])


def integers(a, b, s):
    logic = (a & b, a | b, a ^ b, ~a, a << s, a >> s, a == b, a < b, bool(a), a if a and b else b)
    return (
        a // b,
        a % b,
        a / b,
        abs(a),
        -a,
        a**s,
        max(a, b),
        min(a, b),
        divmod(a, b),
        int(a / b),
        float(a),
        round(a / 2),
    ), logic


def reals(x, y):
    whole = (x // y, math.floor(x), math.ceil(x), int(x), round(x), math.trunc(x), divmod(x, y))
    return whole, (
        x % y,
        abs(x),
        max(x, y),
        min(x, y),
        math.copysign(x, y),
        math.hypot(x, y),
        bool(x),
        (x > 0.0) + (y > 0.0),
    )


def spelled(x):
    """A result with the kinds and signs of its numbers."""
    if isinstance(x, tuple):
        return tuple(spelled(part) for part in x)
    return bool(x) if isinstance(x, bool | np.bool_) else repr(float(x) if isinstance(x, float) else int(x))


def test_numbers_are_those_of_python_in_machine_code():
    """Signs of remainders, rounding half to even, shifts of negative numbers, -0.0, bools that are bools."""
    f, g = native(integers), native(reals)
    for a in (-7, -1, 0, 3, 12):
        for b in (-3, -1, 2, 5):
            for s in (0, 1, 3):
                assert spelled(f(a, b, s)) == spelled(integers(a, b, s)), (a, b, s)
    for x in (-2.5, -1.5, -0.5, -0.0, 0.0, 0.5, 1.5, 2.5, 3.7, 1e9 + 0.5):
        for y in (-1.3, 0.7, 2.0, math.inf):
            assert spelled(g(x, y)) == spelled(reals(x, y)), (x, y)


def test_integers_wrap_around():
    f = native(lambda n: n * n)
    assert f(2**32) == 0


def test_arrays_of_any_layout(text_only):
    f = native(lambda m: (m @ m.T).sum() + m[0, 1])
    wide = np.arange(12.0).reshape(3, 4)
    for m in (wide, np.asfortranarray(wide), wide[::-1], wide[:, ::2], wide.T):
        value, (g,) = f.withgradient(m)
        assert value == pytest.approx((m @ m.T).sum() + m[0, 1])
        expected = 2.0 * np.ones((len(m), 1)) * m.sum(axis=0)
        expected[0, 1] += 1.0
        np.testing.assert_allclose(g, expected)


def test_read_only_arrays():
    a = A.copy()
    a.flags.writeable = False
    assert native(lambda a: a.sum())(a) == A.sum()


def test_source_reads_well():
    text = native(energy).source(A, 0.3, 3, mode="reverse")
    compile(text, "source", "exec")
    assert text.startswith("def energy_reverse(a, x, n, ")
    assert "tape" in text


SCRIPT = """
import math, sys, time
from {module} import native
def f(x, n):
    y = x
    for _ in range(n):
        y = y * math.cos(x) + {constant}
    return y
print(native(f)(0.5, 3))
"""


def test_the_cache_between_processes(tmp_path):
    """A new process takes the compiled code from disk."""
    results = []
    for run, constant in enumerate((1.0, 1.0)):
        path = tmp_path / "script.py"
        path.write_text(SCRIPT.format(constant=constant, module=native.__module__))
        env = {**os.environ, "TORCHFLUX_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
        results.append(
            subprocess.run([sys.executable, str(path)], env=env, capture_output=True, text=True, check=True).stdout
        )
        if run == 0:
            kept = sorted(p.name for p in (tmp_path / "cache").rglob("*.nbc"))
            assert kept
        elif run == 1:
            assert sorted(p.name for p in (tmp_path / "cache").rglob("*.nbc")) == kept
    assert results[0] == results[1]


def test_code_is_kept_under_its_text():
    """An edited function gets code of its own, and an equal one the same."""
    one, two = native(lambda x: x * 1.25), native(lambda x: x * 1.5)
    assert (one(2.0), two(2.0)) == (2.5, 3.0)
    assert one.source(2.0) != two.source(2.0)


# A sample of everything as machine code.


def test_features_as_machine_code():
    """Every fortieth feature, compiled (TORCHFLUX_TEST_COMPILED=1 compiles all of them)."""
    from native_check import check
    from test_native_features import FEATURES

    for f, args, _ in FEATURES[5::40]:
        check(f, *args, second=False, compiled=True)


def test_torch_with_machine_code():
    import torch

    f = native(lambda x, y: math.sin(x) * y if x > y else x * y * y)
    x = torch.linspace(0.1, 2.0, 4, dtype=torch.float64)
    y = torch.tensor(1.0, dtype=torch.float64)
    g = torch.func.vmap(torch.func.grad(f, (0, 1)), (0, None))(x, y)
    expected = [f.gradient(float(t), 1.0) for t in x]
    np.testing.assert_allclose(torch.stack(g, 1).numpy(), expected)
