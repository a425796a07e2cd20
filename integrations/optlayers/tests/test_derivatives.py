"""Derivatives with respect to every argument, of all orders, under every transform."""

import pytest
import torch
from random_programs import batch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

from torchflux_optlayers import _operation, solve_osqp, solve_qp

WIDE = torch.float64
ALL = tuple(range(6))


@pytest.fixture(params=["native", "torch"])
def route(request):
    if request.param == "native":
        pytest.importorskip("torchflux_zygote")
    return request.param


def programs(size=2):
    return [v.requires_grad_() for v in batch("strictly convex", size)]


def everything(*args, route="auto"):
    """All of a solution that has derivatives."""
    return torch.cat(solve_qp(*args, route=route)[:4], -1)


def loss(*args):
    return (everything(*args) ** 3).sum()


def test_finite_differences(route):
    def solve(*args):
        return everything(*args, route=route)

    assert gradcheck(
        solve, programs(1), eps=1e-4, atol=1e-6, rtol=1e-6, fast_mode=route == "torch", check_forward_ad=True
    )


def test_second_differences(route):
    solve = lambda *args: everything(*args, route=route)
    assert gradgradcheck(solve, programs(1), eps=1e-4, atol=1e-5, rtol=1e-5, fast_mode=route == "torch")


@pytest.mark.parametrize("part", range(4))
def test_a_wrong_gradient_is_noticed(part, monkeypatch):
    right = _operation._Attached.backward

    def wrong(ctx, *cotangents):
        found = list(right(ctx, *cotangents))
        found[part] = found[part] * 1.001
        return tuple(found)

    monkeypatch.setattr(_operation._Attached, "backward", staticmethod(wrong))
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gradcheck(everything, programs(1), eps=1e-4, atol=1e-6, rtol=1e-6)


def test_a_matrix_that_is_not_symmetric_counts_by_its_symmetric_part():
    Q, *rest = programs(1)
    lopsided = (Q + torch.triu(torch.ones(6, 6, dtype=WIDE), 1) * 0.1).detach().requires_grad_()
    assert gradcheck(lambda Q: everything(Q, *rest), (lopsided,), atol=1e-6)


def test_osqps_form():
    P, q, A, u, *_ = programs(1)
    level = (torch.arange(10) < 2).expand(1, 10)
    lower = torch.where(level, u - 0.1, u - 3).detach()
    solve = lambda P, q, A, l, u: solve_osqp(P, q, A, torch.where(level, u - 0.1, l), torch.where(level, u - 0.1, u)).x
    assert gradcheck(solve, (P, q, A, lower.requires_grad_(), u), atol=1e-6)


def test_jacobians_in_both_modes():
    args = [v.detach() for v in programs(1)]
    expected = torch.autograd.functional.jacobian(everything, tuple(args))
    for transform in (jacrev, jacfwd):
        for a, b in zip(transform(everything, ALL)(*args), expected, strict=True):
            torch.testing.assert_close(a, b)


def test_second_derivatives_in_all_modes():
    Q, p, *rest = (v.detach() for v in programs(1))
    f = lambda p: loss(Q, p, *rest)
    expected = torch.autograd.functional.hessian(f, p)
    for outer in (jacfwd, jacrev):
        for inner in (jacfwd, jacrev):
            torch.testing.assert_close(outer(inner(f))(p), expected)
    torch.testing.assert_close(hessian(f)(p), expected)
    assert expected.abs().max() > 0.1


def test_transforms_of_single_programs():
    args = [v.detach() for v in programs(4)]
    expected = torch.autograd.grad(loss(*(leaves := [v.clone().requires_grad_() for v in args])), leaves)
    for a, b in zip(grad(loss, ALL)(*args), expected, strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(vmap(grad(loss, ALL))(*args), expected, strict=True):
        torch.testing.assert_close(a, b)
    shared = vmap(lambda p: solve_qp(args[0][0], p, *(v[0] for v in args[2:])).x)(args[1] / 10)
    torch.testing.assert_close(shared, solve_qp(args[0][0], args[1] / 10, *(v[0] for v in args[2:])).x)
    tangents = [torch.ones_like(v) for v in args]
    _, pushed = jvp(loss, tuple(args), tuple(tangents))
    torch.testing.assert_close(pushed, sum(v.sum() for v in expected))


def test_vmap_names_the_failures():
    Q, p, G, h, A, b = batch("infeasible", 3)
    G[0], h[0] = 0, 1
    with pytest.raises(RuntimeError, match=r"INFEASIBLE at \(1,\), \(2,\)|INFEASIBLE at 1, 2"):
        vmap(lambda *args: solve_qp(*args).x)(Q, p, G, h, A, b)


def test_compiled_as_one_graph():
    args = programs()
    expected = torch.autograd.grad(loss(*args), args)
    for a, b in zip(
        torch.autograd.grad(torch.compile(loss, backend="aot_eager", fullgraph=True)(*args), args),
        expected,
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    plain = [v.detach() for v in args]
    compiled = torch.compile(lambda *args: grad(loss, ALL)(*args), backend="aot_eager", fullgraph=True)
    for a, b in zip(compiled(*plain), expected, strict=True):
        torch.testing.assert_close(a, b)


def test_compiled_for_any_batch():
    warm = solve_qp(*batch("strictly convex", 1))

    def total(Q, p, G, h, A, b):
        return (solve_qp(Q, p, G, h, A, b, warm_start=warm).x * solve_osqp(Q, p, G, h - 3, h).y[..., :6]).sum()

    compiled = torch.compile(total, backend="aot_eager", fullgraph=True, dynamic=True)
    for size in (2, 5):
        args = programs(size)
        for a, b in zip(*(torch.autograd.grad(f(*args), args) for f in (compiled, total)), strict=True):
            torch.testing.assert_close(a, b)
    with pytest.raises(RuntimeError, match="INFEASIBLE at 0, 1"):
        compiled(*batch("infeasible", 2))


def test_the_kink_has_the_derivative_of_the_side_without_a_force():
    p = torch.zeros(1, dtype=WIDE, requires_grad=True)
    bound = torch.zeros(1, dtype=WIDE, requires_grad=True)
    x = solve_qp(torch.ones(1, 1, dtype=WIDE), p, -torch.ones(1, 1, dtype=WIDE), bound).x  # relu(-p) at 0
    assert [g.item() for g in torch.autograd.grad(x, (p, bound))] == pytest.approx([-1, 0])


def test_rows_that_depend_on_each_other_share_the_derivative():
    Q, p = torch.eye(2, dtype=WIDE), torch.tensor([-2.0, -1.0], dtype=WIDE)
    G = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=WIDE)
    h = torch.tensor([1.0, 1.0, 5.0], dtype=WIDE, requires_grad=True)
    solution = solve_qp(Q, p, G, h)
    torch.testing.assert_close(solution.z.detach(), torch.tensor([0.5, 0.5, 0.0], dtype=WIDE))
    (grad_h,) = torch.autograd.grad(solution.x.sum(), h)
    torch.testing.assert_close(grad_h, torch.tensor([0.5, 0.5, 0.0], dtype=WIDE))


def test_no_gradient_where_the_minimiser_is_not_unique(route):
    p = -torch.ones(2, 2, dtype=WIDE)
    p[1, 0] = -2  # here it is
    p.requires_grad_()
    G = torch.cat((torch.ones(1, 2), -torch.eye(2))).to(WIDE)
    h = torch.tensor([1.0, 0.0, 0.0], dtype=WIDE, requires_grad=True)
    solution = solve_qp(torch.zeros(2, 2, dtype=WIDE), p, G, h, route=route)
    torch.testing.assert_close(solution.x[1].detach(), torch.tensor([1.0, 0.0], dtype=WIDE))
    (grad_p,) = torch.autograd.grad(solution.x[:, 0].sum(), p, retain_graph=True)
    assert grad_p.isnan().any(1).tolist() == [True, False]
    (grad_h,) = torch.autograd.grad(solution.x[1, 0], h)
    torch.testing.assert_close(grad_h, torch.tensor([1.0, 0.0, 1.0], dtype=WIDE))


def test_small_cotangents_are_not_lost(route):
    args = programs(3)
    x = solve_qp(*args, route=route).x
    large, small = (torch.autograd.grad(c * x.sum(), args, retain_graph=True) for c in (1.0, 1e-20))
    for a, b in zip(large, small, strict=True):
        torch.testing.assert_close(b * 1e20, a)


def test_gradients_keep_the_dtype(route):
    args = [v.detach().float().requires_grad_() for v in programs(4)]
    wide = [v.detach().double().requires_grad_() for v in args]
    found = torch.autograd.grad(solve_qp(*args, route=route).x.sum(), args)
    for a, b in zip(found, torch.autograd.grad(solve_qp(*wide).x.sum(), wide), strict=True):
        torch.testing.assert_close(a, b.float())


def test_autocast_changes_nothing(route):
    """All numbers, and the tangents of all of them, inside and outside of autocast."""
    args = [v.detach().float() for v in programs(3)]
    both = lambda: jvp(lambda *args: everything(*args, route=route), tuple(args), tuple(args))
    expected = both()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = both()
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", ["strictly convex", "badly scaled"])
def test_slopes_of_many_programs(kind, route):
    generator = torch.Generator().manual_seed(0)
    args = [v.requires_grad_() for v in batch(kind, 200)]
    ways = [1e-6 * v.detach() * torch.randn(v.shape, generator=generator, dtype=WIDE) for v in args]
    solution = solve_qp(*args, route=route)
    weight = torch.randn(solution.x.shape, generator=generator, dtype=WIDE) / solution.x.detach()
    above, below = (solve_qp(*(v + sign * w for v, w in zip(args, ways, strict=True)), route=route) for sign in (1, -1))
    smooth = ((above.z > 0) == (below.z > 0)).all(1)
    grads = torch.autograd.grad((solution.x * weight).sum(), args)
    slopes = sum((g * w).flatten(1).sum(1) for g, w in zip(grads, ways, strict=True))
    differences = ((above.x - below.x) * weight).sum(1) / 2
    assert smooth.sum() > 190
    torch.testing.assert_close(slopes[smooth], differences[smooth], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("curve", [1e-5, 1e-6, 1e-7])
def test_a_high_price_beside_small_curvatures(curve, route):
    """A slack variable without a quadratic cost: the minimiser is inside of the soft bounds, and unique."""
    curves, price = torch.tensor([1.0, 1e-2, curve], dtype=WIDE), torch.tensor([1e4], dtype=WIDE)
    inside, one, zero = torch.tensor([0.5, -0.25, 0.125], dtype=WIDE), torch.ones(6, dtype=WIDE), torch.zeros(1)
    soft = torch.cat((torch.cat((torch.eye(3), -torch.eye(3))), -torch.ones(6, 1)), 1).to(WIDE)
    G = torch.cat((soft, torch.tensor([[0.0, 0.0, 0.0, -1.0]], dtype=WIDE)))
    p = torch.cat((-curves * inside, price)).requires_grad_()
    x = solve_qp(torch.cat((curves, zero.to(WIDE))).diag(), p, G, torch.cat((one, zero.to(WIDE))), route=route).x
    torch.testing.assert_close(x[:3], inside, rtol=0, atol=1e-10)
    (slope,) = torch.autograd.grad(x.sum(), p)
    torch.testing.assert_close(slope[:3], -1 / curves, rtol=1e-7, atol=0)


def almost_dependent(size=100, n=16, e=10):
    """Projections on x ≥ 0 and equations that nearly depend on each other: vertices are nearly degenerate."""
    rng = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=rng, dtype=WIDE)
    uniform = lambda: torch.rand(size, n, generator=rng, dtype=WIDE)
    A = normal(size, e, e // 2) @ normal(size, e // 2, n) + 1e-3 * normal(size, e, n)
    inside, p = uniform() * torch.where(uniform() < 0.5, 1e-3, 1.0), normal(size, n)
    eye = torch.eye(n, dtype=WIDE)
    return 0.1 * eye, p, -eye, torch.zeros(n, dtype=WIDE), A, (A @ inside[..., None])[..., 0]


def test_nearly_degenerate_programs(route):
    """The derivative of a projection by p is one on the null space of the active rows, here by singular values."""
    Q, p, G, h, A, b = almost_dependent()
    p.requires_grad_()
    found = solve_qp(Q, p, G, h, A, b, on_failure="best", route=route)
    (slope,) = torch.autograd.grad(found.x.square().sum(), p)
    x = found.x.detach()
    assert found.solved.sum() >= 75
    for i in found.solved.nonzero()[:, 0].tolist():
        _, sizes, ways = torch.linalg.svd(torch.cat((A[i], G[found.z[i] > 0])))
        free = ways[(sizes > 1e-9).sum() :]
        torch.testing.assert_close(slope[i], -free.mT @ (free @ (2 * x[i])) / 0.1, rtol=1e-5, atol=1e-5)
    assert (slope + 2 * x / 0.1).abs().amax(1)[found.solved].min() > 0.01  # the canary: without constraints
