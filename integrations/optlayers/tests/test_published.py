"""Published programs: their least costs, the conditions of a solution, and what its multipliers say of the gradient."""

import pytest
import torch
from published_programs import PUBLISHED
from random_programs import violation

from torchflux_optlayers import solve_osqp, solve_qp

WIDE = torch.float64


@pytest.fixture(params=["native", "torch"])
def route(request):
    if request.param == "native":
        pytest.importorskip("torchflux_zygote")
    return request.param


@pytest.mark.parametrize("name", PUBLISHED)
def test_maros_and_meszaros(name, route):
    Q, p, G, h, A, b, at_0 = PUBLISHED[name].program()
    p, h, b = (v.requires_grad_() for v in (p, h, b))
    found = solve_qp(Q, p, G, h, A, b, route=route)
    cost = found.x @ Q @ found.x / 2 + p @ found.x + at_0
    assert cost.item() == pytest.approx(PUBLISHED[name].least, rel=5e-8, abs=1e-9)
    given, bounded = [v.detach()[None] for v in (Q, p, G, h, A, b)], h.isfinite()
    given[2], given[3], forces = given[2][:, bounded], given[3][:, bounded], found.z[bounded]
    assert violation(*given, *(v.detach()[None] for v in (found.x, forces, found.y))).max() < 1e-10
    active = torch.cat((G[found.z > 0], A))
    if torch.linalg.matrix_rank(active) == len(active):  # the multipliers are unique: the envelope theorem
        slopes = torch.autograd.grad(cost, (p, h, b))
        for slope, expected in zip(slopes, (found.x, -found.z, -found.y), strict=True):
            torch.testing.assert_close(slope, expected.detach(), rtol=1e-8, atol=1e-8)


def test_one_variable_and_rows_of_zeros(route):
    """Q = p = 1 with 0 x ≤ 0 and 0 x = 0, which is NaN in qpth (its issue 47)."""
    one, zero = torch.ones(1, 1, dtype=WIDE), torch.zeros(1, 1, dtype=WIDE)
    found = solve_qp(one, one[0], zero, zero[0], zero, zero[0], route=route)
    assert (found.x.item(), found.z.item(), found.y.item()) == pytest.approx((-1, 0, 0))


def test_a_row_of_zeros_beside_a_box(route):
    """½ x² + x on a box with 0 x + 0 y ≤ 1, which HiGHS doesn't solve (HiGHS.jl's issue 296)."""
    Q = torch.diag(torch.tensor([1.0, 0.0], dtype=WIDE))
    rows = torch.cat((torch.zeros(1, 2, dtype=WIDE), torch.eye(2, dtype=WIDE)))
    upper = torch.tensor([1.0, 10, 10], dtype=WIDE)
    x = solve_osqp(Q, Q[0], rows, torch.tensor([-torch.inf, -10, -10], dtype=WIDE), upper, route=route).x
    assert x[0].item() == pytest.approx(-1)


def test_no_constraints(route):
    """qpax's issue 8."""
    M = torch.tensor([[1.0, 2, 0], [-8, 3, 2], [0, 1, 1]], dtype=WIDE)
    p = torch.tensor([3.0, 2, 3], dtype=WIDE) @ M
    expected = torch.tensor([-11.0, -20, -31], dtype=WIDE) / 17
    torch.testing.assert_close(solve_qp(M.mT @ M, p, route=route).x, expected, rtol=0, atol=1e-12)
