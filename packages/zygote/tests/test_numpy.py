"""NumPy's functions against finite differences, in both modes and twice: options, shapes, views, values that aren't
finite; and what is refused of them."""

import numpy as np
import pytest

from torchflux_zygote import Refused, gradient, pushforward, withgradient

from .derivatives import check

V = np.array([1.3, 0.7, -0.4])
A = np.array([[2.1, 0.3, -0.5], [0.4, 1.7, 0.6], [-0.2, 0.9, 2.4]])
B = A[:2, :, None] * np.array([0.5, -1.2, 0.8, 1.1])
WEIGHTS = np.sin(np.arange(64.0) + 1)


def weighed(y):
    """A number of a result: each of its entries counts in another way."""
    if isinstance(y, tuple | list):
        total = 0.0
        for part in y:
            total = total + weighed(part)
        return total
    return np.sum(y * WEIGHTS[: np.size(y)].reshape(np.shape(y)))


PRODUCTS = {
    "dot": lambda v, a, b: (np.dot(a, b), np.dot(v, b), a.dot(b.swapaxes(1, 2)[0].T), np.dot(v[0], v), np.dot(v, a)),
    "inner": lambda v, a, b: (np.inner(a, b.swapaxes(1, 2)), np.inner(a, v), np.inner(v, a), np.inner(2.0, v)),
    "outer": lambda v, a, b: (np.outer(v, a), np.multiply(v[0], a)),
    "vdot": lambda v, a, b: (np.vdot(a, a * 2), np.vdot(v + 1j, v * v + 2j).imag, np.vecdot(a + 1j, v + 2j).imag),
    "tensordot": lambda v, a, b: (np.tensordot(a, b[0], axes=1), np.tensordot(b, a, ([1], [0])), np.tensordot(v, v, 0)),
    "tensordot twice": lambda v, a, b: np.tensordot(b, b, axes=[(0, 2), (0, 2)]),
    "kron": lambda v, a, b: (np.kron(a, v), np.kron(v[:2], a[:2, :2]), np.kron(v[:2], v)),
    "tile": lambda v, a, b: (np.tile(v, 2), np.tile(a, (2, 1)), np.tile(v, (2, 1)), np.tile(a, [2, 1, 1])),
    "cross": lambda v, a, b: (np.cross(v, v**2), np.cross(a, v)),
    "convolve": lambda v, a, b: [np.convolve(v, a[0, :2], mode) for mode in ("full", "same", "valid")],
    "convolve with a longer one": lambda v, a, b: [np.convolve(v, a.ravel(), mode) for mode in ("same", "valid")],
    "polyval": lambda v, a, b: (np.polyval(v, 2.0), np.polyval(v, a)),
    "multi_dot": lambda v, a, b: (np.linalg.multi_dot([v, a, a]), np.linalg.matrix_power(a, 3)),
    "powers": lambda v, a, b: (
        np.linalg.matrix_power(a, -2),
        np.linalg.matrix_power(a, 0),
        np.linalg.matrix_power(a, 1),
    ),
    "einsum": lambda v, a, b: (np.einsum("ij,ij->ij", a[:1], a), np.einsum("ij,j->i", a, v, optimize=True)),
}

REDUCTIONS = {
    "trace": lambda v, a, b: (np.trace(a, 1), a.trace(offset=-1), np.trace(a @ a)),
    "extremes": lambda v, a, b: (
        a.max(1),
        np.amin(a, axis=0, keepdims=True),
        np.max(b, axis=(0, 2)),
        np.ptp(a, axis=1),
    ),
    "prod": lambda v, a, b: (np.prod(a, axis=1), a.prod(axis=-1, keepdims=True), np.cumprod(v), a.cumprod(1)),
    "average": lambda v, a, b: (
        np.average(a, axis=0, weights=a * a),
        np.average(v),
        np.average(v, weights=np.array([1.0, 2.0, 3.0])),
    ),
    "median": lambda v, a, b: (np.median(v), np.median(a[:2], axis=0), np.median(a)),
    "trapezoid": lambda v, a, b: (np.trapezoid(v), np.trapezoid(a, v), np.trapezoid(a, dx=v[0])),
    "deviations": lambda v, a, b: (np.var(a, axis=0, ddof=1), np.std(a, 1), a.std(ddof=1), a.var()),
    "norms": lambda v, a, b: [np.linalg.norm(v, n) for n in (None, 1, 2, 3, 2.5, np.inf, -np.inf)],
    "norms of rows": lambda v, a, b: [np.linalg.norm(a, n, axis=1, keepdims=True) for n in (None, 1, 2, 3, np.inf)],
    "Frobenius": lambda v, a, b: (np.linalg.norm(a, "fro"), np.linalg.norm(a), np.linalg.norm(a * 1j + 1)),
    "norm at zero": lambda v, a, b: (np.linalg.norm(v - v) + v, np.std(v - v) + v, np.linalg.norm(a - a, axis=0) + v),
}

PARTS = {
    "diagonals": lambda v, a, b: (np.diag(a, 1), np.diag(v, -1), np.diagonal(a), b.diagonal(1, 0, 2)),
    "repeat": lambda v, a, b: (np.repeat(a, 2), np.repeat(a, 3, 1), a.repeat(2, axis=0), np.repeat(v[0], 3)),
    "orders": lambda v, a, b: (a.reshape(9, order="F"), a.flatten("F"), np.ravel(a, "F"), np.reshape(a, 9)),
    "concatenate": lambda v, a, b: (np.concatenate([a, v * v], axis=None), np.append(a, v[0]), np.append(a, a, 0)),
    "lists among arrays": lambda v, a, b: (
        np.concatenate([[0.0], v, [v[0], 1.0]]),
        np.stack([v, (v[1], 2.0, v[0])], 1),
    ),
    "stacks": lambda v, a, b: (np.hstack([v, v[:1]]), np.hstack([a, a]), np.vstack([v, a]), np.column_stack([v, a])),
    "dstack": lambda v, a, b: (np.dstack([v, v * v]), np.dstack([a, a * a]), np.dstack([b, b])),
    "splits": lambda v, a, b: [*np.split(v, 3), *np.split(a, [1], axis=1), *np.array_split(v, 2), *np.split(a, [2, 9])],
    "diff": lambda v, a, b: (np.diff(v), np.diff(a, axis=0), np.diff(b, 2, 1)),
    "take": lambda v, a, b: (
        np.take(a, [0, 8]),
        v.take([1, -1]),
        np.take(b, 1, axis=1),
        np.take(a, [[0, 2], [1, 1]], 1),
    ),
    "take_along_axis": lambda v, a, b: np.take_along_axis(a, np.array([[2, 0], [1, 1], [0, 0]]), 1),
    "take_along_axis of all": lambda v, a, b: np.take_along_axis(a, np.array([[2, 0, 1]]), axis=0),
    "sort": lambda v, a, b: (np.sort(v), np.sort(a, 0), np.sort(a, None), np.sort(b, axis=1)),
    "flips": lambda v, a, b: (np.fliplr(a), np.flipud(a)),
    "meshgrid": lambda v, a, b: (*np.meshgrid(v, a[0, :2]), *np.meshgrid(v, v, v, indexing="ij"), *np.meshgrid(v)),
    "where": lambda v, a, b: (v[np.where(v > 0)], v[np.where(v > 0)[0]], v[np.nonzero(v > 0)]),
    "full": lambda v, a, b: (
        np.full(2, v[0], dtype=float),
        np.full((2, 3), v),
        np.full_like(a, v[1]),
        np.full(2, 1) * v[0],
    ),
    "full, by name": lambda v, a, b: (np.full(shape=2, fill_value=v[0]), np.full_like(v, fill_value=v[2])),
    "linspace": lambda v, a, b: (np.linspace(v, v * v, 3), np.linspace(v[0], v, 4), np.linspace(v, 2.0, 3)),
    "ndmin": lambda v, a, b: (np.array(v, ndmin=2), np.atleast_2d(v), np.ascontiguousarray(a.T)),
}

ELEMENTS = {
    "clip": lambda v, a, b: (
        np.clip(a, 0.0, v),
        v.clip(0.1),
        v.clip(max=0.9),
        np.clip(v, min=0.5),
        np.clip(v[0], 0, 1),
    ),
    "heaviside": lambda v, a, b: np.heaviside(v, 0.5) * v + np.heaviside(v - v, v),
    "select": lambda v, a, b: (np.select([v > 1, v > 0], [v * 2, v**2], 0.0), np.select([a > 1], [a * a], v)),
    "interp": lambda v, a, b: (
        np.interp(v, np.array([-2.0, 0.0, 1.0]), v * v) + np.interp(v, [0.1, 0.5, 1.0], [1.0, 3.0, 2.0])
    ),
    "powers": lambda v, a, b: (np.abs(v) ** v, np.float_power(np.abs(v), v), np.power(2.0, v)),
    "complex powers": lambda v, a, b: (((v + 1j) ** 3).imag, ((v + 1j) ** (v * 1j)).real),
    "angle": lambda v, a, b: (np.angle(v + 1j), np.angle(v * 1j + v * v, deg=True), np.angle(v)),
    "sign": lambda v, a, b: (np.sign(v + 1j).imag, np.sign(v) * v, np.abs(v * 1j + v * v)),
    "parts": lambda v, a, b: ((v * 1j).conjugate().imag * v, np.real(np.exp(1j * v)), np.conj(v + 1j * v**2).imag),
}

DECOMPOSITIONS = {
    "slogdet": lambda v, a, b: (np.linalg.slogdet(a)[1], np.linalg.slogdet(a * 1e150).logabsdet),
    "cholesky": lambda v, a, b: np.linalg.cholesky(a @ a.T),
    "eigh": lambda v, a, b: (
        *np.linalg.eigh(a + a.T),
        np.linalg.eigvalsh(a + a.T),
        np.linalg.eigh(a @ a.T).eigenvalues,
    ),
    "Hermitian": lambda v, a, b: np.linalg.eigvalsh(a + a.T + 1j * (a - a.T)),
    "svd": lambda v, a, b: (*np.linalg.svd(a), np.linalg.svd(a[:2], compute_uv=False), np.linalg.svdvals(a)),
    "svd of rows": lambda v, a, b: tuple(np.linalg.svd(a[:2], full_matrices=False)),
    "qr": lambda v, a, b: (*np.linalg.qr(a), np.linalg.qr(a[:, :2]).Q, np.linalg.qr(a, "r")),
    "pinv": lambda v, a, b: (np.linalg.pinv(a[:, :2]), np.linalg.pinv(a[::-1])),
    "complex": lambda v, a, b: (np.linalg.solve(a + 1j, v * 1j).imag, np.linalg.inv(a + 1j * a.T).imag),
}

TABLES = {**PRODUCTS, **REDUCTIONS, **PARTS, **ELEMENTS, **DECOMPOSITIONS}


@pytest.mark.parametrize("name", TABLES)
def test_functions(name):
    f = TABLES[name]
    value, _ = withgradient(lambda v, a, b: weighed(f(v, a, b)), V, A, B)
    np.testing.assert_allclose(value, weighed(f(V, A, B)), rtol=1e-12)
    check(lambda v, a, b: weighed(f(v, a, b)), V, A, B)


def same_array(a):
    """`asarray` and the like give the array itself."""
    b, c, d, e = np.asarray(a, dtype=float), np.ascontiguousarray(a), np.atleast_1d(a), np.asanyarray(a)
    b[0] = b[1] * 3
    c[1] *= 2
    d[2] = c[0]
    e += 1
    return a


def new_array(a):
    """`array` and `clip` give another one."""
    b, c, d = np.array(a), np.clip(a, None, 9.0), np.tile(a, 1)
    b[0] = 5.0
    c *= a[1]
    d[0] = d[1]
    return a * b * c * d


def view_of_diagonal(a):
    m = np.outer(a, a)
    d, e = np.diag(m), m.diagonal(1)
    m *= 2
    m[0, 0] = d[1] * e[0]
    return d


def numbers_are_values(a):
    """A changed name isn't a changed number."""
    numbers = np.clip(a[0], 0.0, 1.0), np.max(a), np.median(a), np.inner(a, a), np.trace(np.outer(a, a)), np.vdot(a, a)
    changed = []
    for x in numbers:
        x += 1
        changed.append(x)
    return np.array(numbers) * np.array(changed)


@pytest.mark.parametrize("f", [same_array, new_array, view_of_diagonal, numbers_are_values])
def test_memory(f):
    assert weighed(f(V.copy())) == pytest.approx(withgradient(lambda a: weighed(f(a)), V.copy())[0])
    check(lambda a: weighed(f(a)), V.copy())


def test_sorting_in_place():
    def f(a):
        m = np.outer(a, a) + a
        m.sort(0)
        m[1].sort()
        return weighed(m)

    check(f, V.copy())


def softmax_of_some(a):
    z = np.where(np.array([True, False, True]), a, -np.inf)
    e = np.exp(z - z.max())
    return weighed(e / e.sum())


def of_finite_ones(a):
    x = np.where(a > 1, np.nan, a)
    return np.nansum(x * x) + weighed(np.nanmean(np.stack([x, a]), axis=0))


@pytest.mark.parametrize("f", [softmax_of_some, of_finite_ones, lambda a: np.max(np.where(a > 1, -np.inf, a))])
def test_values_that_are_not_finite(f):
    assert withgradient(f, V)[0] == pytest.approx(f(V))
    check(f, V)


@pytest.mark.parametrize("f", [np.median, lambda a: np.heaviside(a, 1.0)[0], np.max])
def test_nan_stays_nan(f):
    assert np.isnan(withgradient(f, np.array([np.nan, 1.0, 2.0]))[0])


def test_ties_share_alike_in_both_modes():
    a = np.array([[2.0, 2.0], [1.0, 2.0]], np.float32)
    (grad,) = gradient(lambda a: a.max(axis=1).sum(), a)
    np.testing.assert_array_equal(grad, [[0.5, 0.5], [0.0, 1.0]])
    tangent = pushforward(lambda a: a.max(axis=1), a)(np.ones_like(a))
    assert grad.dtype == tangent.dtype == np.float32


REFUSED = {
    "initial": (lambda a: np.sum(a, initial=2.0), "numpy.sum with these options"),
    "out of a join": (lambda a: np.concatenate([a, a], out=np.empty(6))[0], "numpy.concatenate with these options"),
    "out": (lambda a: np.cumsum(a, out=np.empty(3))[0], "numpy.cumsum with these options"),
    "out by position": (lambda a: np.sum(a, 0, None, np.empty(())), "numpy.sum with these options"),
    "out of a method": (lambda a: a.mean(0, None, np.empty(())), "with these options"),
    "options": (lambda a: np.std(a, dtype=float), "numpy.std with these options"),
    "options of a method": (lambda a: a.max(initial=0.0), "with these options"),
    "mode": (lambda a: np.take(a, [7], mode="clip")[0], "numpy.take with these options"),
    "order of memory": (lambda a: a.reshape(3, order="A")[0], "in the order of memory"),
    "cross": (lambda a: np.cross(a[:2], a[:2]), "write it out"),
    "nuclear norm": (lambda a: np.linalg.norm(np.outer(a, a), "nuc"), "ord='nuc'"),
    "svd": (lambda a: np.linalg.svd(a[None])[1][0], "full_matrices=False"),
    "qr": (lambda a: np.linalg.qr(a[None], "complete")[1][0, 0], "mode='reduced'"),
    "slogdet": (lambda a: np.linalg.slogdet(np.outer(a, a) + 1j).logabsdet, "complex matrix"),
    "weights": (lambda a: np.average(np.outer(a, a), axis=0, weights=a)[0], "broadcast them"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    f, message = REFUSED[name]
    with pytest.raises(Refused, match=message):
        gradient(f, V)
    with pytest.raises(Refused, match=message):
        pushforward(f, V)(V)


@pytest.mark.parametrize("f", [lambda a: np.dot(a, a[:2]), lambda a: np.sort(a, axis=3), lambda a: np.tile(a)])
def test_errors_are_those_of_numpy(f):
    with pytest.raises((ValueError, TypeError)) as plain:
        f(V)
    with pytest.raises(plain.type):
        gradient(f, V)


def test_counts_of_repeats():
    def f(a):
        return weighed(np.repeat(a, np.array([1, 2, 3])))

    with pytest.raises(Refused, match="array of counts"):
        gradient(f, V)
    assert pushforward(f, V)(V) == pytest.approx(f(V))
