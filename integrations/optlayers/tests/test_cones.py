"""Projections on cones, their derivatives, and the linear system that is made of them."""

import numpy as np
import pytest
from scipy import sparse

from torchflux_optlayers._cones import Cones, matrix, vector
from torchflux_optlayers._curved_cones import exponential, power
from torchflux_optlayers._layout import DENSE
from torchflux_optlayers._newton_system import NewtonSystem, block_diagonal

SCALES = (1e-3, 1.0, 1e3)


def points(seed, size=150):
    """Vectors whose coordinates differ by orders of magnitude."""
    rng = np.random.default_rng(seed)
    for scale in SCALES:
        yield from scale * rng.normal(size=(size, 3)) * 10 ** rng.uniform(-2, 2, (size, 3))


def rays_of_exponential(point):
    """Unit vectors on its boundary, some near a point."""
    ratio = np.linspace(-20, 20, 81)
    if point[1] > 0 and abs(point[0]) < 50 * point[1]:
        ratio = np.append(ratio, point[0] / point[1] + np.linspace(-0.1, 0.1, 11))
    rays = np.stack((ratio, np.ones_like(ratio), np.exp(ratio)), 1)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def rays_of_power(alpha):
    """Vectors on its boundary."""
    x = np.linspace(0, 1, 51)[:, None] ** 3
    z = x**alpha * (1 - x) ** (1 - alpha)
    return np.concatenate([np.concatenate((x, 1 - x, sign * z), 1) for sign in (1, -1)])


def is_projection(point, w, rays):
    """Whether the rest is at right angles to the point, and at no acute angle to any other of the cone."""
    rest, size = point - w, abs(w).max()
    return abs(rest @ point) <= 1e-12 * size**2 and (rays @ rest >= -1e-12 * size).all()


def test_projection_on_the_exponential_cone():
    for w in points(0):
        point, _ = exponential(w, 0.0)
        x, y, z = point / abs(w).max()
        assert (y > 0 and y * np.exp(x / y) <= z * (1 + 1e-9) + 1e-15) or (y == 0 and x <= 0 <= z)
        assert is_projection(point, w, rays_of_exponential(point))
        assert not is_projection(point + 1e-5 * abs(w).max() * np.array([1.0, 0.0, 0.0]), w, rays_of_exponential(point))


@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.8])
def test_projection_on_the_power_cone(alpha):
    for w in points(1):
        point, _ = power(w, 0.0, alpha)
        x, y, z = point / abs(w).max()
        assert x >= 0
        assert y >= 0
        assert x**alpha * y ** (1 - alpha) >= abs(z) - 1e-12
        assert is_projection(point, w, rays_of_power(alpha))


@pytest.mark.parametrize("w", [(0, 0, 0), (1, 0, 0), (0, 0, -1), (-1, 0, 2), (0, -1, 2), (1, -1e-9, -2), (2000, 1, 1)])
def test_points_where_a_formula_may_break(w):
    w = np.array(w, dtype=float)
    for project, rays in (
        (exponential, rays_of_exponential(w)),
        (lambda w, weak: power(w, weak, 0.3), rays_of_power(0.3)),
    ):
        point, slope = project(w, 0.0)
        assert is_projection(point, w, rays)
        assert np.isfinite(slope).all()


def differences(f, v, step):
    return np.stack([(f(v + step * e) - f(v - step * e)) / (2 * step) for e in np.eye(len(v))], 1)


def test_derivatives_of_all_projections():
    cones = Cones(2, 3, (3, 4, 1, 2), (1, 2, 4), 2, (0.3, 0.7))
    size = 5 + 10 + 1 + 3 + 10 + 6 + 6
    rng = np.random.default_rng(2)
    for _ in range(15):
        v = rng.normal(size=size)
        (y, s), blocks = cones.split(v, 0.0)
        slope = block_diagonal(blocks, dense=True)
        expected = differences(lambda v: cones.split(v, 0.0)[0][0], v, 1e-6)
        np.testing.assert_allclose(slope, expected, atol=1e-6)
        np.testing.assert_allclose(slope, slope.T, atol=1e-14)
        np.testing.assert_allclose(y - s, v, atol=1e-14)
        assert abs(y @ s) < 1e-12
        assert abs(slope * (1 + 1e-4) - expected).max() > 1e-5  # the canary


def test_a_power_cone_where_z_is_nothing():
    for w, alpha in (
        ((2.0, -1.0, 0.0), 0.3),
        ((2.0, -1.0, 0.0), 0.7),
        ((2.0, -1.0, 0.0), 0.5),
        ((-1.0, 3.0, 0.0), 0.2),
    ):
        w = np.array(w)
        expected = differences(lambda w, a=alpha: power(w, 0.0, a).point, w, 1e-12)
        np.testing.assert_allclose(power(w, 0.0, alpha).slope, expected, atol=1e-3)


def test_symmetric_matrices_as_vectors():
    full = np.random.default_rng(3).normal(size=(4, 4))
    full = full + full.T
    np.testing.assert_allclose(matrix(vector(full)), full)
    np.testing.assert_allclose(vector(full) @ vector(full), (full**2).sum())


@pytest.mark.parametrize("n", [6, DENSE])
def test_the_system_and_its_transpose(n):
    rng = np.random.default_rng(4)
    P, A = sparse.diags_array(rng.uniform(1, 2, n), format="csc"), sparse.random_array((4, n), density=0.9, rng=rng)
    system = NewtonSystem(P, sparse.csc_array(A), sparse.diags_array([1.0, 1.0, 0.0, 1.0], format="csc"))
    r, full = rng.normal(size=n + 4), system.matrix.toarray()
    for transposed in (False, True):
        z, error = system.solve(r, transposed)
        np.testing.assert_allclose((full.T if transposed else full) @ z, r, atol=1e-10)
        assert error < 1e-12
    assert system.solve(0 * r)[1] == 0


@pytest.mark.parametrize("n", [6, DENSE])
def test_singular_systems(n):
    """The shortest solution where there are many; a residual where there is none."""
    P = sparse.diags_array([0.0, *[1.0] * (n - 1)], format="csc")
    A = sparse.csc_array(np.eye(1, n, 1).repeat(2, 0))  # the same equation twice, and nothing about the first variable
    system = NewtonSystem(P, A, sparse.eye_array(2, format="csc"))
    r = np.zeros(n + 2)
    r[1], r[n], r[n + 1] = 1, 2, 2
    z, error = system.solve(r)
    np.testing.assert_allclose(z[[0, 1, n, n + 1]], [0, 2, -0.5, -0.5], atol=1e-9)
    assert error < 1e-9
    r[0] = 1
    assert system.solve(r)[1] > 0.1
