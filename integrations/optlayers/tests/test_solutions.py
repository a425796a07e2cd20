"""Solutions against closed forms, CVXPY's, and the conditions of Karush, Kuhn and Tucker."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make_reference import answer
from random_programs import KINDS, batch, cost, program, violation
from torch.func import grad

from torchflux_optlayers import Status, solve_osqp, solve_qp

REFERENCE = json.loads(Path(__file__).with_name("reference.json").read_text())
STATUS = {"infeasible": Status.INFEASIBLE, "unbounded": Status.UNBOUNDED}
ROUTES = ("native", "torch")
WIDE = torch.float64


@pytest.fixture(params=ROUTES)
def route(request):
    if request.param == "native":
        pytest.importorskip("torchflux_zygote")
    return request.param


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_programs_as_clarabel_solves_them(kind, route):
    expected = REFERENCE[kind]
    programs = batch(kind, len(expected))
    solution = solve_qp(*programs, on_failure="best", route=route)
    assert solution.status.tolist() == [STATUS.get(x, Status.SOLVED) for x in expected]
    if kind in STATUS:
        return
    values = torch.tensor(expected, dtype=WIDE)
    torch.testing.assert_close(cost(*programs[:2], solution.x), values, rtol=1e-9, atol=1e-9)
    assert violation(*programs, solution.x, solution.z, solution.y).max() < 1e-10


OTHERS = {
    "OSQP": {"eps_abs": 1e-8, "eps_rel": 1e-8, "max_iter": 100_000, "polishing": True},
    "SCS": {"eps": 1e-9, "max_iters": 100_000},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", OTHERS)
def test_programs_as_other_methods_solve_them(kind, solver):
    """Clarabel is an interior point method too; these two are not."""
    cvxpy = pytest.importorskip("cvxpy")
    programs = batch(kind, 30)
    found = solve_qp(*programs, on_failure="best")
    values = cost(*programs[:2], found.x).tolist()
    for seed, (status, value) in enumerate(zip(found.status.tolist(), values, strict=True)):
        expected = answer(cvxpy, kind, seed, solver, **OTHERS[solver])
        assert status == STATUS.get(expected, Status.SOLVED)
        assert status or value == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_the_conditions_see_a_wrong_answer():
    programs = batch("strictly convex", 20)
    x, z, y = solve_qp(*programs)[:3]
    wrong = [(x + 1e-6, z, y), (x, z + 1e-6, y), (x, z, y + 1e-6)]
    assert all((violation(*programs, *point) > 1e-8).all() for point in wrong)


def simplex_projection(v):
    """By sorting; Held, Wolfe & Crowder (1974), doi:10.1007/BF01580223."""
    u = v.sort(descending=True).values
    excess = (u.cumsum(0) - 1) / torch.arange(1, len(v) + 1, dtype=v.dtype)
    return (v - excess[u > excess][-1]).clamp(min=0)


def test_projection_on_the_simplex(route):
    v = torch.randn(5, 7, dtype=WIDE, generator=torch.Generator().manual_seed(0))
    eye, ones = torch.eye(7, dtype=WIDE), torch.ones(1, 7, dtype=WIDE)
    x = solve_qp(eye, -v, -eye, torch.zeros(7, dtype=WIDE), ones, ones[:, 0], route=route).x
    torch.testing.assert_close(x, torch.stack([simplex_projection(row) for row in v]), rtol=0, atol=1e-12)
    assert (x - v.softmax(-1)).abs().max() > 0.01  # the canary: another point of the simplex


def test_projection_on_a_box(route):
    v = 2 * torch.randn(5, 7, dtype=WIDE, generator=torch.Generator().manual_seed(1))
    eye, one = torch.eye(7, dtype=WIDE), torch.ones(7, dtype=WIDE)
    solution = solve_osqp(eye, -v, eye, -one, one, route=route)
    torch.testing.assert_close(solution.x, v.clamp(-1, 1), rtol=0, atol=1e-12)
    torch.testing.assert_close(solution.y, v - v.clamp(-1, 1), rtol=0, atol=1e-12)


def test_equations_only(route):
    Q, p, _, _, A, b = batch("strictly convex", 5)
    solution = solve_qp(Q, p, None, None, A, b, route=route)
    inverse = torch.linalg.inv(Q)
    y = -torch.linalg.solve(A @ inverse @ A.mT, (b + (A @ inverse @ p[..., None])[..., 0])[..., None])[..., 0]
    torch.testing.assert_close(solution.y, y)
    torch.testing.assert_close(solution.x, -(inverse @ (p + (A.mT @ y[..., None])[..., 0])[..., None])[..., 0])


def test_ridge_regression(route):
    generator = torch.Generator().manual_seed(2)
    X, t = torch.randn(30, 4, dtype=WIDE, generator=generator), torch.randn(30, dtype=WIDE, generator=generator)
    Q = X.mT @ X + 0.3 * torch.eye(4, dtype=WIDE)
    solution = solve_qp(Q, -X.mT @ t, route=route)
    torch.testing.assert_close(solution.x, torch.linalg.solve(Q, X.mT @ t))
    assert solution.z.shape == solution.y.shape == solution.slack.shape == (0,)


def test_one_variable(route):
    """That of qpth#47: ½ q x² + p x on an interval gives NaN there."""
    q, p = torch.tensor([[[2.0]], [[1e-6]], [[1e6]], [[0.0]]], dtype=WIDE), torch.tensor([[-1.0]], dtype=WIDE)
    G, h = torch.tensor([[1.0], [-1.0]], dtype=WIDE), torch.tensor([0.25, 0.25], dtype=WIDE)
    x = solve_qp(q, p, G, h, route=route).x
    torch.testing.assert_close(x[:, 0], torch.tensor([0.25, 0.25, 1e-6, 0.25], dtype=WIDE))


def test_permuted_and_rescaled_programs_have_the_same_solution(route):
    Q, p, G, h, A, b = batch("strictly convex", 30)
    expected = solve_qp(Q, p, G, h, A, b)
    generator = torch.Generator().manual_seed(3)
    order, rows = torch.randperm(6, generator=generator), torch.randperm(10, generator=generator)
    found = solve_qp(
        Q[:, order][:, :, order], p[:, order], G[:, rows][:, :, order], h[:, rows], A[:, :, order], b, route=route
    )
    torch.testing.assert_close(found.x, expected.x[:, order], rtol=0, atol=1e-9)
    torch.testing.assert_close(found.z, expected.z[:, rows], rtol=0, atol=1e-9)
    for size in (1e-9, 1e9):
        found = solve_qp(Q, size * p, G, size * h, A, size * b, route=route)
        torch.testing.assert_close(found.x / size, expected.x, rtol=0, atol=1e-9)
        found = solve_qp(size * Q, size * p, G, h, A, b, route=route)
        torch.testing.assert_close(found.z / size, expected.z, rtol=0, atol=1e-9)


@given(st.lists(st.integers(-6, 6), min_size=17, max_size=17), st.integers(0, 199))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_units_change_nothing(powers, seed):
    """Variables, rows and the cost in other units: the same solution and the same gradient, in these units."""
    units = 10.0 ** torch.tensor(powers, dtype=WIDE)
    column, row, money = units[:6], units[6:16], units[16]
    Q, p, G, h, A, b = (torch.tensor(v) for v in program("strictly convex", seed))
    changed = (
        money * column[:, None] * Q * column,
        money * column * p,
        row[:, None] * G * column,
        row * h,
        A * column,
        b,
    )
    found, expected = solve_qp(*changed), solve_qp(Q, p, G, h, A, b)
    torch.testing.assert_close(found.x * column, expected.x, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.z * row / money, expected.z, rtol=1e-8, atol=1e-8)
    loss = lambda p, h: (solve_qp(changed[0], p, changed[2], h, *changed[4:]).x * column).square().sum()
    plain = lambda p, h: solve_qp(Q, p, G, h, A, b).x.square().sum()
    by_p, by_h = grad(loss, (0, 1))(changed[1], changed[3])
    for slope, wanted in zip((by_p * money * column, by_h * row), grad(plain, (0, 1))(p, h), strict=True):
        torch.testing.assert_close(slope, wanted, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1e150, 1e300])
def test_costs_of_any_size(size, route):
    """Beside rows of ones they don't hide what violates those."""
    p = torch.tensor([-1.0, 2.0], dtype=WIDE)
    eye = torch.eye(2, dtype=WIDE)
    found = solve_qp(size * eye, size * p, -eye, torch.zeros(2, dtype=WIDE), route=route)
    torch.testing.assert_close(found.x, torch.tensor([1.0, 0.0], dtype=WIDE), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.z / size, torch.tensor([0.0, 2.0], dtype=WIDE), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("powers", "error"), [(4, 1e-11), (6, 1e-8), (8, 1e-6), (10, 1e-6), (11, 1e-5)])
def test_ill_conditioned_costs(powers, error, route):
    """Minimisers that are known, of matrices whose eigenvalues spread over so many decades."""
    rng = torch.Generator().manual_seed(0)
    directions, _ = torch.linalg.qr(torch.randn(50, 10, 10, dtype=WIDE, generator=rng))
    eigenvalues = 10 ** (-powers * torch.rand(50, 1, 10, dtype=WIDE, generator=rng))
    Q, x = (directions * eigenvalues) @ directions.mT, torch.randn(50, 10, dtype=WIDE, generator=rng)
    eye, far = torch.eye(10, dtype=WIDE), torch.full((10,), 50.0, dtype=WIDE)
    found = solve_osqp(Q, -(Q @ x[..., None])[..., 0], eye, -far, far, route=route)
    torch.testing.assert_close(found.x, x, rtol=0, atol=error)


def test_infinite_bounds_are_none(route):
    Q, p, G, h, A, b = batch("strictly convex", 10)
    free = torch.where(torch.arange(10) < 4, torch.inf, h)
    found, expected = solve_qp(Q, p, G, free, A, b, route=route), solve_qp(Q, p, G[:, 4:], h[:, 4:], A, b, route=route)
    torch.testing.assert_close(found.x, expected.x)
    assert (found.z[:, :4] == 0).all()
    assert found.slack[:, :4].isinf().all()


def test_equations_in_osqps_form(route):
    Q, p, G, h, A, b = batch("strictly convex", 10)
    rows, upper = torch.cat((G, A), 1), torch.cat((h, b), 1)
    lower = torch.cat((torch.full_like(h, -torch.inf), b), 1)
    found, expected = solve_osqp(Q, p, rows, lower, upper, route=route), solve_qp(Q, p, G, h, A, b)
    torch.testing.assert_close(found.x, expected.x)
    torch.testing.assert_close(found.y, torch.cat((expected.z, expected.y), 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype, route):
    programs = batch("strictly convex", 10, dtype)
    solution = solve_qp(*programs, route=route)
    assert {v.dtype for v in solution[:4]} == {dtype}
    exact = solve_qp(*(v.double() for v in programs))
    torch.testing.assert_close(solution.x, exact.x.to(dtype))


def test_shared_and_batched_arguments_mix(route):
    Q, p, G, h, A, b = batch("strictly convex", 12)
    mixed = solve_qp(Q[:3], p.view(4, 3, -1), G[0], h[0] + 5, A[:3], b[:1, None, :].expand(4, 1, 1), route=route)
    assert mixed.x.shape == (4, 3, 6)
    for i in range(4):
        for j in range(3):
            one = solve_qp(Q[j], p[3 * i + j], G[0], h[0] + 5, A[j], b[0], route=route)
            torch.testing.assert_close(mixed.x[i, j], one.x)
    assert solve_qp(*(v[:0] for v in (Q, p, G, h, A, b)), route=route).x.shape == (0, 6)


def test_routes_take_the_same_steps():
    pytest.importorskip("torchflux_zygote")
    programs = batch("strictly convex", 50)
    native, batched = solve_qp(*programs, route="native"), solve_qp(*programs, route="torch")
    assert native.iterations.tolist() == batched.iterations.tolist()
    for a, b in zip(native[:4], batched[:4], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_threads_change_nothing():
    pytest.importorskip("torchflux_zygote")
    programs, before = batch("strictly convex", 200), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = solve_qp(*programs, route="native")
        torch.set_num_threads(3)
        three = solve_qp(*programs, route="native")
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))
