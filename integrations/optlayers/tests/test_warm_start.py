"""A warm start saves at least half of the work along a sequence that changes slowly, and never changes the answer."""

import pytest
import torch
from random_programs import batch

from torchflux_optlayers import solve_osqp, solve_qp


@pytest.fixture(params=["native", "torch"])
def route(request):
    if request.param == "native":
        pytest.importorskip("torchflux_zygote")
    return request.param


def sequence(length=20, size=20):
    """Programs whose numbers all change by about a hundredth of themselves from one to the next."""
    generator = torch.Generator().manual_seed(0)
    programs = batch("strictly convex", size)
    for _ in range(length):
        yield programs
        Q, *rest = programs
        factor = torch.eye(6) + 0.01 * torch.randn(Q.shape, generator=generator, dtype=Q.dtype)
        programs = [
            factor @ Q @ factor.mT,
            *(v + 0.01 * torch.randn(v.shape, generator=generator, dtype=v.dtype) for v in rest),
        ]


def test_a_slowly_changing_sequence(route):
    before, cold, warm = None, 0, 0
    for programs in sequence():
        fresh = solve_qp(*programs, route=route)
        found = solve_qp(*programs, warm_start=before, route=route)
        torch.testing.assert_close(found.x, fresh.x, rtol=0, atol=1e-9)
        if before is not None:
            cold, warm = cold + fresh.iterations.sum().item(), warm + found.iterations.sum().item()
        before = found
    assert warm < 0.3 * cold


def test_a_misleading_start_does_no_harm(route):
    programs = batch("strictly convex", 30)
    expected = solve_qp(*programs, route=route)
    generator = torch.Generator().manual_seed(1)
    noise = [1e3 * torch.randn(v.shape, generator=generator, dtype=v.dtype) for v in expected[:3]]
    wrong = expected._replace(x=noise[0], z=noise[1].abs(), y=noise[2])
    found = solve_qp(*programs, warm_start=wrong, route=route)
    torch.testing.assert_close(found.x, expected.x, rtol=0, atol=1e-9)
    assert (found.iterations > 1).all()


def test_a_start_that_failed(route):
    bad = batch("infeasible", 5)
    before = solve_qp(*bad, on_failure="nan", route=route)
    programs = batch("strictly convex", 5)
    found = solve_qp(*programs, warm_start=before, route=route)
    torch.testing.assert_close(found.x, solve_qp(*programs, route=route).x)
    assert solve_qp(*bad, warm_start=found, on_failure="nan", route=route).status.tolist() == [1] * 5


def test_a_start_has_no_influence_on_the_gradient(route):
    args = [v.requires_grad_() for v in batch("strictly convex", 3)]
    before = solve_qp(*args, route=route)
    warm, cold = (solve_qp(*args, warm_start=w, route=route).x.sum() for w in (before, None))
    for a, b in zip(torch.autograd.grad(warm, args), torch.autograd.grad(cold, args), strict=True):
        torch.testing.assert_close(a, b)


def test_in_osqps_form(route):
    P, q, A, u, *_ = batch("strictly convex", 10)
    cold = solve_osqp(P, q, A, u - 3, u, route=route)
    warm = solve_osqp(P, q + 0.001, A, u - 3, u, warm_start=cold, route=route)
    assert warm.iterations.sum() < cold.iterations.sum() / 2
