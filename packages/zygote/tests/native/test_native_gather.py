"""Indices that are arrays: integers, lists and masks; read, stored into, with places that come again."""

import numpy as np
import pytest
import torch
from native_check import Mismatch, check, native, operation, plain
from test_native_errors import raises

from torchflux_zygote._native import _adjoints

A = np.array([0.7, -1.2, 2.3, 0.4, 1.1])
B = np.array([0.3, 1.9, -0.6])
M = np.array([[1.2, -0.4, 0.3], [0.5, 1.7, -0.2], [-0.1, 0.6, 2.1], [0.9, -1.3, 0.8]])
K = np.array([3, 0, -1])
AGAIN = np.array([2, 2, 0])
ROWS, COLUMNS = np.array([3, 1, 3]), np.array([0, -1, 0])


def read_vector(a, m, k):
    return a[k] * a[0], a[k[1:]], a[k.reshape(-1, 1)] * 2.0, a[1:][k[:2]] @ a[k[1:]], a[::-1][k]


def read_matrix(a, m, k):
    return m[k] * 2.0, m[:, k % 3] @ m[k[0]], m[k, 1], m[1, k % 3], m[k, k % 3], m.T[k % 3].sum(), m[1:, k % 3][0]


def read_lists(a, m, k):
    return (
        a[[0, 2, 2]],
        m[[1, -1]],
        m[:, [0, 0]] * a[0],
        m[[0, 1], [1, 2]],
        np.take(a, k),
        np.take(m, [0, 2], axis=1),
        np.take(a, 1),
    )


def read_masks(a, m, k):
    big = a > 0.5
    return (
        a[big].sum(),
        m[m > 0.4] @ m[m > 0.4],
        m[a[1:] > 0.5].sum(),
        m[:, m[0] > 0.0].sum(),
        (a[big] * 2.0)[0],
        a[big | (a < 0.0)],
        a[~big & (a < 9.0)],
    )


def sorted_ones(a, m, k):
    s = np.sort(a * a)
    return s[-1] * s[0], s[::2], np.flatnonzero(a)[1] * a[2], a[np.flatnonzero(a > 0.6)]


def store_vector(a, m, k):
    b = a * 1.0
    b[k] = a[k] * a[2]
    b[k[:2]] += 0.5
    b[[1, 2]] *= a[0]
    b[k] -= b[k[::-1]]
    return b, b @ b


def store_again(a, m, k):
    """Of several for one place the last stays, and += adds once."""
    b = a * 1.0
    b[k] = m[:3, 0]
    b[k] += m[:3, 1]
    b[k] *= a[k]
    return b


def store_matrix(a, m, k):
    c = m * 1.0
    c[k % 4] = m[1] * a[0]
    c[:, k % 3] += a[:4].reshape(4, 1)
    c[k, k % 3] = a[:3]
    c[1:, [0, 2]] *= 0.5
    c[0][k % 3] = a[1:4]
    c.T[[0, 1], 1] = a[0]
    return c


def store_masks(a, m, k):
    b, c = a * 1.0, m * 1.0
    b[b > 1.0] = 0.5
    b[b < 0.0] *= a[0]
    b[a > 0.5] = a[a > 0.5] ** 2
    c[c > 0.7] -= a[1]
    c[a[1:] > 1.0] = a[:3]
    return b, c


def in_loops(a, m, k):
    b = a * 1.0
    s = 0.0
    for i in range(4):
        b[k] = np.sin(b[k]) + b[i]
        if b[i] > 0.0:
            b[b > 0.9] *= 0.8
        k = (k + 1) % 5
        s += b[k].sum() * b[[i, 0]].sum()
    return s + b @ b


def added_up(a, m, k):
    b = a * 1.0
    np.add.at(b, k, m[:3, 0] * a[0])
    np.add.at(b, [0, 0], a[1])
    c = m * 1.0
    np.add.at(c, (k % 4, k % 3), a[:3])
    np.add.at(c, k % 4, m[0])
    return b, c


READS = [read_vector, read_matrix, read_lists, read_masks, sorted_ones]
STORES = [store_vector, store_again, store_matrix, store_masks, in_loops, added_up]


@pytest.mark.parametrize("k", [K, AGAIN], ids=["once", "again"])
@pytest.mark.parametrize("f", [*READS, *STORES])
def test_gather_and_scatter(f, k):
    check(f, A, M, k, rtol=1e-6)


@pytest.mark.parametrize("f", [store_again, store_masks, in_loops, added_up])
def test_in_machine_code(f):
    check(f, A, M, AGAIN, compiled=True)


def test_places_that_come_again_are_all_added_to_the_gradient():
    assert native(lambda a, k: a[k].sum()).gradient(A, np.array([1, 1, -4, 0]))[0].tolist() == [1.0, 3.0, 0.0, 0.0, 0.0]


def test_in_torch():
    k = torch.tensor([2, 2, 0])
    f = native(lambda a, k: (a[k] * a[1:4]).sum() * a[a > 0.5])
    a = torch.tensor(A, requires_grad=True)
    twin = lambda a, k: (a[k] * a[1:4]).sum() * a[a > 0.5]
    torch.testing.assert_close(f(a, k), twin(a, k))
    one = lambda f: lambda a: f(a, k)
    torch.testing.assert_close(
        torch.autograd.functional.jacobian(one(f), a), torch.autograd.functional.jacobian(one(twin), a)
    )
    assert torch.autograd.gradcheck(one(f), (a,))
    assert torch.autograd.gradgradcheck(one(f), (a,))
    g = native(lambda a, k: a[k] * a[0])
    batch = torch.stack((a.detach(), a.detach() * 2.0))
    torch.testing.assert_close(torch.func.vmap(g, (0, None))(batch, k), batch[:, k] * batch[:, :1])
    ks = torch.stack((k, k + 1))
    torch.testing.assert_close(torch.func.vmap(g, (None, 0))(a.detach(), ks), a.detach()[ks] * a.detach()[0])


def test_out_of_bounds():
    for bad in (5, -6):
        raises(IndexError, lambda a, k: a[k].sum(), A, np.array([0, bad]), match=r"gather.py:\d+:\d+: index out")
        raises(IndexError, lambda m, k: m[:, k].sum(), M, np.array([0, bad]), match="index out")

    def store(a, k):
        a[k] = 1.0
        return a.sum()

    raises(IndexError, store, A, np.array([0, 7]), match="index out")
    with pytest.raises(IndexError, match="index out"):
        native(store)(A.copy(), np.array([0, 7]))
    raises(IndexError, lambda a, b: a[b > 0.0].sum(), A, B, match="mask of another shape")
    raises(IndexError, lambda a, m: m[a > 0.0].sum(), A, M, match="mask of another shape")


def test_what_does_not_fit():
    def store(a, b, k):
        a[k] = b
        return a.sum()

    raises(ValueError, store, A, A, K)


def test_empty():
    check(lambda a, k: a[k].sum() + a[0], A, np.zeros(0, int))
    check(lambda a: a[a > 100.0].sum() + a[0], A)


def test_aliases_and_captured_arrays():
    """An index is taken when it is used; a view is stored through."""

    def f(a, k):
        v = a[1:]
        w = a.copy()
        row = w[1:4]
        j = k.copy()
        row[j] = v[j] * 2.0
        j[0] = 1
        row[j] += w[2]
        return w, a[j].sum()

    check(f, A, np.array([0, 2]))
    check(lambda a: a[AGAIN] * a[COLUMNS], A)


def test_a_tuple_in_an_index_is_a_list():
    f = native(lambda m: m[(0, 1),])
    np.testing.assert_array_equal(f(M), M[(0, 1),])
    pair = (0, 1)
    assert native(lambda m: m[pair])(M) == M[0, 1]


@pytest.mark.parametrize(("name", "f"), [("pull_take", read_vector), ("pull_put", store_vector)])
def test_canary_a_wrong_adjoint(name, f, monkeypatch):
    right = getattr(_adjoints.Adjoints, name)

    def doubled(self, item, g):
        right(self, item, self.w.op("add", g, g))

    monkeypatch.setattr(_adjoints.Adjoints, name, doubled)
    with pytest.raises(Mismatch, match="reverse"):
        check(f, A, M, K, second=False)


def test_canary_what_was_stored_first_at_a_place_that_comes_again_gets_nothing(monkeypatch):
    check(store_again, A, M, AGAIN, second=False)
    right = _adjoints.Adjoints.pull_put

    def every(self, item, g):
        emit = self.w.emit
        self.w.emit = lambda name, *args, **more: emit("take" if name == "take_last" else name, *args, **more)
        right(self, item, g)
        self.w.emit = emit

    monkeypatch.setattr(_adjoints.Adjoints, "pull_put", every)
    check(store_again, A, M, K, second=False)
    with pytest.raises(Mismatch, match="reverse"):
        check(store_again, A, M, AGAIN, second=False)


def test_indices_without_checks():
    f = native(bounds=False)(lambda a, k: a[k].sum())
    assert f(A, K) == pytest.approx(A[K].sum())
    assert "beyond" not in f.source(A, K)
    op, values, _ = operation(lambda a, k: a[k], A, K)
    np.testing.assert_array_equal(plain(op)(values)[0], A[K])
