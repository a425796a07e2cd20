"""Shapes: reshaped, put together, diagonals and running sums; and stores into what may be a view."""

import numpy as np
import pytest
import torch
from native_check import Mismatch, check, native, operation, plain
from test_native_errors import raises
from test_native_rules import ALL, with_all

from torchflux_zygote._native import _adjoints
from torchflux_zygote._native._entries import Refused

A = np.array([0.7, -1.2, 2.3, 0.4])
SIX = np.array([0.7, -1.2, 2.3, 0.4, 1.9, -0.6])
M = np.array([[1.2, -0.4, 0.3], [0.5, 1.7, -0.2]])

CASES = [
    "a.reshape(2, 2) @ a.reshape((2, 2))",
    "w.reshape(4, -1)[3] * x",
    "np.reshape(w, -1) * x",
    "w.T.reshape(-1, 2) @ m[0, :2]",
    "np.reshape(w, (-1,))[1:3]",
    "w.reshape(2, 2, 2)[1, 0] * y",
    "w[:, 1:3].reshape(4) * a",
    "a[::2].reshape(2, 1) * w",
    "w.reshape(-1, n - 1)[0] * x",
    "a.reshape(n - 1, 2).T * x",
    "m.ravel() * x",
    "np.ravel(m.T) * x",
    "w.T.flatten() * y",
    "np.stack((a, b), axis=1) * x",
    "np.stack((a, b), axis=-1)[2]",
    "np.stack((a, b), 0)[1] * x",
    "np.stack((w, w * x), axis=1)[1]",
    "np.concatenate((m, w[:, :1].T[:, :1] * np.ones((1, 3)))) * x",
    "np.concatenate((w, w * y), axis=1)",
    "np.concatenate((a, b[:2]), axis=-1)",
    "np.vstack((a, b)) @ a",
    "np.vstack((w, a)) * x",
    "np.hstack((a, b[1:])) * x",
    "np.hstack((w, w * x)) * y",
    "np.column_stack((a, b)) * x",
    "np.column_stack((w.T, a)) * y",
    "np.cumsum(a) * b",
    "a.cumsum()[2]",
    "np.cumsum(w) * x",
    "np.cumsum(a[::-1]) * a",
    "np.cumsum(a * x, axis=0)",
    "np.cumsum(np.arange(n) + 1)[n - 1] * x",
    "np.diff(a) * x",
    "np.diff(w) * y",
    "np.var(a)",
    "w.var()",
    "np.var(w, axis=0) * x",
    "w.var(axis=1)",
    "np.std(a)",
    "a.std() * x",
    "w.std(axis=1) * y",
    "np.std(m, axis=-2)",
    "np.diag(m) * x",
    "np.diag(a[:3]) @ m",
    "np.diag(w) * x",
    "m.diagonal() * y",
    "np.diagonal(m) * m",
    "np.trace(m @ m)",
    "m.trace() * x",
    "np.inner(a, b)",
    "np.inner(w, a)",
    "np.inner(m, m * x)",
    "np.vdot(a, b)",
    "np.linspace(x, y, 5)",
    "np.linspace(x, 2.0, num=n) * m[0]",
    "np.linspace(x, y, 1)",
    "np.linspace(0.0, 1.0, 4) * a",
    "np.linspace(x, y).sum()",
    "np.clip(a, -0.5, 1.0) * b",
    "a.clip(x, y)",
    "np.clip(x, 0.5, 1.0) + y",
    "np.clip(a, None, 0.5) * a",
    "np.clip(y * x, 0.1, None)",
    "np.flip(a) * b",
    "np.flip(w)[0] * x",
    "np.argsort(a)[0] * x",
    "a.argsort()[1] * y",
    "np.logical_and(a > 0.0, b > 0.0) * a",
    "np.logical_or(a > 0.0, n) * a",
    "np.logical_not(a > 0.0) * b",
    "np.array([[x, y], [y, 1.0]]) @ a[:2]",
]


@pytest.mark.parametrize("text", CASES)
def test_shapes(text):
    check(with_all(text), *ALL, rtol=1e-6)


def test_shapes_in_machine_code():
    """Everything at once, so that it's compiled once."""

    def f(a, m, x):
        b = a.reshape(2, 2)
        c = np.vstack((b, m[:, :2])) * x
        d = np.concatenate((c.T.reshape(-1), np.cumsum(a)), axis=0)
        e = np.diag(a) @ np.column_stack((a, np.linspace(x, 1.0, 4)))
        return (
            (d * d).sum()
            + np.trace(e[:2])
            + a.std()
            + np.clip(m, 0.0, x).sum()
            + np.var(m, axis=1) @ a[np.argsort(a)[0] :][:2]
        )

    check(f, A, M, 0.37, compiled=True)
    check(f, np.array([0.7, -1.2, 2.3, 0.4])[::-1], np.asfortranarray(M), 0.37)
    value, grads = native(f).withgradient(np.repeat(A, 2)[::2], np.asfortranarray(M), 0.37)
    other, expected = native(f).withgradient(A, M, 0.37)
    assert value == pytest.approx(other, rel=1e-14)
    for a, b in zip(grads, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_shapes_as_torch_operations():
    f = native(lambda a: (np.cumsum(a).reshape(2, 2) @ a.reshape(2, -1)).ravel() * np.diag(a.reshape(2, 2))[0])
    a = torch.tensor(A, requires_grad=True)

    def twin(a):
        return (torch.cumsum(a, 0).reshape(2, 2) @ a.reshape(2, -1)).ravel() * torch.diag(a.reshape(2, 2))[0]

    torch.testing.assert_close(f(a), twin(a))
    torch.testing.assert_close(
        torch.autograd.functional.jacobian(f, a), torch.autograd.functional.jacobian(twin, a), rtol=1e-12, atol=1e-12
    )
    batch = torch.stack((a.detach(), 2.0 * a.detach()))
    torch.testing.assert_close(torch.func.vmap(f)(batch), torch.func.vmap(twin)(batch))
    assert torch.autograd.gradcheck(f, (a,))
    assert torch.autograd.gradgradcheck(f, (a,))


# Stores: NumPy's result of reshape is a view wherever it can be one.


def test_a_store_into_a_reshaped_array_whose_own_name_is_done_with():
    def grid(x, n):
        u = np.zeros(6).reshape(2, 3)
        for i in range(n):
            u[i % 2, i % 3] += x * i
            u[1] *= x
        return (u * u).sum() + u[0, 1]

    check(grid, 0.8, 5, compiled=True)

    def numbers(a, x):
        m = (a * x).reshape(2, 3)
        m[0] = m[1] * m[0]
        m[1, 2] = x
        return m

    check(numbers, SIX, 0.8)

    def flat(m, x):
        v = (m * m).ravel()
        v[1:] += v[:-1]
        return v @ v * x

    check(flat, M, 0.8)

    def again(a, n):
        for i in range(n):
            b = a.copy()
            m = b.reshape(2, 3)
            m[0, 1] = m[1, i] * 2.0
            a = m.ravel() * 1.0
        return a @ a

    check(again, SIX, 3)


def test_a_store_before_the_reshape():
    def f(a, x):
        a[0] = x
        m = a.reshape(2, 3)
        return (m @ m.T)[0, 1] * m[0, 0]

    check(f, SIX, 0.8)


def test_stores_that_show_or_do_not_show_are_refused():
    def into_view(a, x):
        b = a * 1.0
        m = b.reshape(2, 3)
        m[0, 0] = x
        return b.sum()

    def into_base(a, x):
        b = a * 1.0
        m = b.reshape(2, 3)
        b[0] = x
        return m.sum()

    def in_a_loop(a, x):
        b = a * 1.0
        m = b.reshape(2, 3)
        for i in range(3):
            x += b[i]
            m[0, i] = x
        return x

    def through_a_name_that_a_loop_rebinds(a, x):
        b = a * 1.0
        c = b.reshape(6)
        for _ in range(2):
            c[0] += x
            x += b[0]
            b, c = b * 1.0, c * 1.0
        return x

    def in_a_closure(a, x):
        b = a * 1.0

        def first():
            return b[0]

        m = b.reshape(2, 3)
        m[0, 0] = x
        return first()

    for f in (into_view, into_base, in_a_loop, through_a_name_that_a_loop_rebinds, in_a_closure):
        with pytest.raises(Refused, match=r":\d+:\d+: native code: a store into an array that may or may not"):
            native(f).source(SIX, 0.5)


def test_stores_into_reshaped_arguments_and_captured_arrays_are_refused():
    def argument(a, x):
        a = a.reshape(2, 3)
        a[0, 0] = x
        return a.sum()

    with pytest.raises(Refused, match=r"argument that was reshaped.*a\.copy\(\)\.reshape"):
        native(argument).source(SIX, 0.5)

    def captured(x):
        m = SIX.reshape(2, 3)
        m[0, 0] = x
        return m.sum()

    def chosen(x):
        m = SIX if x > 0.0 else np.zeros(6)
        m[0] = x
        return m.sum()

    for f in (captured, chosen):
        with pytest.raises(Refused, match="captured array"):
            native(f).source(0.5)

    def copied(a, x):
        a = a.copy().reshape(2, 3)
        a[0, 0] = x
        return a.sum()

    check(copied, SIX, 0.5)


def test_a_store_into_one_of_two_of_which_the_other_is_done_with():
    """Which of the two it is doesn't show."""

    def f(a, x, n):
        b = a * x
        c = b if n % 2 else b.copy()
        c[0] = x
        c[1:] *= c[0]
        return c @ c

    for n in (0, 1):
        check(f, A, 0.7, n)

    def g(a, b, x):
        u, v = a * x, b * x
        for i in range(4):
            w = u if i % 2 else v
            w[i] = w[i - 1] * x
            u = w + 0.1
        return u @ u

    with pytest.raises(Refused, match="may or may not"):  # v is read in the next trip
        native(g).source(A, A, 0.5)


def test_stores_behind_a_swap_on_one_path():
    """The two are never one, whichever is which."""

    def f(a, b, n):
        a, b = a * 1.0, b * 2.0
        if n % 2:
            a, b = b, a
        a -= b[1]
        b[0] *= a[2]
        return a @ b + a[0]

    for n in (0, 1):
        check(f, A, A[::-1].copy(), n)

    def view(m, y):
        row = m[-2]
        for _ in range(3):
            k = 0
            while k < 5:
                k += 1
            if y > 0.0:
                row *= y
        return m.sum()

    check(view, np.outer(A, A), 0.7)

    def shown(a, b, n):
        c = a
        if n:
            a, b = b, a
        a[0] = 1.0
        return c @ a

    def same(a, b, n):
        if n:
            a = b
        a[0] = 1.0
        return a @ b

    for g in (shown, same):
        with pytest.raises(Refused, match="may or may not"):
            native(g).source(A, A, 1)


# What goes wrong.


def test_shapes_that_do_not_fit():
    for f, args in [
        (lambda a: a.reshape(3, 2).sum(), (A,)),
        (lambda a: a.reshape(3, -1).sum(), (A,)),
        (lambda a, n: a.reshape(n, 2).sum(), (A, 3)),
        (lambda a, n: a.reshape(n, -2 + n - 1).sum(), (A, -1)),
        (lambda a, b: np.stack((a, b)).sum(), (A, SIX)),
        (lambda a, b: np.array((a, b)).sum(), (A, np.ones(1))),
        (lambda a, m: np.vstack((a, m)).sum(), (A, M)),
        (lambda a, m: np.concatenate((a.reshape(2, 2), m), axis=0).sum(), (A, M)),
        (lambda x, n: np.linspace(x, 1.0, n).sum(), (0.5, -2)),
    ]:
        raises(ValueError, f, *args, match=r"test_native_shapes.py:\d+:\d+: ")


def test_shapes_that_are_refused():
    t = np.ones((2, 2, 2))
    for f, args, words in [
        (lambda a: a.reshape(-1, -1), (A,), "leave out one length"),
        (lambda a: a.reshape(()), (A[:1],), "item"),
        (lambda t: t.T, (t,), "transpose"),
        (lambda t: np.trace(t), (t,), "matrix"),
        (lambda m: np.cumsum(m, axis=1), (M,), "loop"),
        (lambda m: np.argsort(m), (M,), "loop"),
        (lambda a, m: np.concatenate((a, m)), (A, M), "reshape"),
        (lambda a, b: np.stack((a, b), axis=2), (A, A), "axis"),
    ]:
        with pytest.raises(Refused, match=rf"test_native_shapes.py:\d+:\d+: native code: .*{words}"):
            native(f).source(*args)


def test_canary_a_wrong_adjoint_of_a_running_sum(monkeypatch):
    f = with_all("np.cumsum(a) * b")
    check(f, *ALL, second=False)
    monkeypatch.setattr(_adjoints.Adjoints, "pull_cumsum", lambda self, item, g: self.accumulate(item.args[0], g))
    with pytest.raises(Mismatch, match="reverse"):
        check(with_all("np.cumsum(a) * b"), *ALL, second=False)


def test_clip_at_its_bounds_is_as_in_torch():
    for x in (0.0, 1.0):
        assert native(lambda x: np.clip(x, 0.0, 1.0)).gradient(x) == (1.0,)
    op, values, _ = operation(lambda a: np.clip(a, 0.5, 0.2), A)
    np.testing.assert_array_equal(plain(op)(values)[0], np.clip(A, 0.5, 0.2))
