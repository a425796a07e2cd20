"""Values, multipliers and gradients of programs over every cone, against closed forms and differences."""

import cvxpy as cp
import pytest
import torch
from convex_programs import CLOSED, WIDE, tensors
from torch.autograd import gradcheck

from torchflux_optlayers import ConvexLayer, _conic_operation


def layer_of(program, **options):
    arguments, form, typical = program()
    return ConvexLayer(*arguments, on_failure="raise", **options), form, tensors(typical)


@pytest.mark.parametrize("route", ["auto", "cone"])
@pytest.mark.parametrize("program", CLOSED)
def test_closed_forms(program, route):
    layer, form, args = layer_of(program, route=route)
    solution, expected = layer.solve(*args), form(*args)
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(v.shape, generator=generator, dtype=WIDE) for v in expected]
    for a, b in zip(solution.values, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    both = [sum((v * w).sum() for v, w in zip(values, weights, strict=True)) for values in (solution.values, expected)]
    found, right = (torch.autograd.grad(total, args) for total in both)
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-8)
    assert solution.solved
    assert max(solution.primal_residual, solution.dual_residual) < 1e-12
    assert solution.gradient_residual < 1e-10


@pytest.mark.parametrize("program", CLOSED)
def test_differences_in_both_modes(program):
    layer, _, args = layer_of(program, route="cone")
    assert gradcheck(layer, args, eps=1e-5, atol=1e-6, rtol=1e-6, check_forward_ad=True)


@pytest.mark.parametrize("part", range(4))
def test_a_wrong_gradient_is_noticed(part, monkeypatch):
    """Of P, q, A and b in turn: in the product of a power cone and a parametrised cost all four matter."""
    right = _conic_operation._Conic.backward

    def wrong(ctx, *cotangents):
        found = list(right(ctx, *cotangents))
        found[part] = found[part] * 1.001
        return tuple(found)

    monkeypatch.setattr(_conic_operation._Conic, "backward", staticmethod(wrong))
    layer, args = everything_at_once()
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gradcheck(layer, args, eps=1e-5, atol=1e-6, rtol=1e-6)


def everything_at_once():
    """All cones in one problem, with parameters in every part of it."""
    x, X = cp.Variable(3), cp.Variable((2, 2), PSD=True)
    P, q, G, h = cp.Parameter((3, 3), PSD=True), cp.Parameter(3), cp.Parameter((2, 3)), cp.Parameter(2)
    constraints = [
        G @ x <= h,
        cp.norm(G @ x) <= 2 + x[0],
        cp.exp(x[0]) + cp.exp(-x[1]) <= 3 + h[0],
        cp.PowCone3D(x[0] + 2, h[1] + 1, x[1] + q[0], 0.4),
        X[0, 1] == x[2] + h[0],
        cp.sum(x) == q[1],
    ]
    problem = cp.Problem(cp.Minimize(cp.quad_form(x, P) / 2 + q @ x + cp.trace(X)), constraints)
    variables = [x, X, *(d for c in constraints for d in c.dual_variables)]
    layer = ConvexLayer(problem, [P, q, G, h], variables, on_failure="raise")
    root = torch.tensor([[1.0, 0.2, -0.3], [0.0, 0.8, 0.1], [0.4, 0.0, 1.1]], dtype=WIDE)
    return layer, tensors((root @ root.mT).tolist() if i == 0 else v for i, v in enumerate(
        (None, [0.7, -1.0, 0.4], [[1.0, -0.5, 0.3], [0.2, 0.9, -0.4]], [0.1, 0.6])
    ))  # fmt: skip


def test_all_cones_at_once():
    layer, args = everything_at_once()
    assert not layer.form.cones.polyhedral
    assert layer.solve(*args).primal_residual < 1e-12
    assert gradcheck(layer, args, eps=1e-5, atol=1e-6, rtol=1e-6, check_forward_ad=True)


def test_a_sparse_program():
    """So many unknowns that the matrices are sparse ones: shrinking groups; Yuan & Lin (2006)."""
    x, v, weight = cp.Variable((60, 3)), cp.Parameter((60, 3)), cp.Parameter(nonneg=True)
    cost = cp.sum_squares(x - v) / 2 + weight * cp.sum(cp.norm(x, 2, axis=1))
    layer = ConvexLayer(cp.Problem(cp.Minimize(cost)), [v, weight], [x])
    assert not layer.layout.is_dense
    generator = torch.Generator().manual_seed(0)
    args = [torch.randn(60, 3, generator=generator, dtype=WIDE), torch.tensor(1.2, dtype=WIDE)]
    args = [a.requires_grad_() for a in args]
    form = lambda v, weight: v * (1 - weight / v.norm(dim=1, keepdim=True)).clamp(min=0)
    found, expected = layer(*args)[0], form(*args)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    cotangent = torch.randn(60, 3, generator=generator, dtype=WIDE)
    for a, b in zip(*(torch.autograd.grad(y, args, cotangent) for y in (found, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
