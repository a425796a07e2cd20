"""What CVXPY's language allows: attributes, shapes, signs, offsets, batches; against CVXPY's own solutions."""

import copy
import pickle

import cvxpy as cp
import numpy as np
import pytest
import torch
from convex_programs import WIDE, ball, tensors
from scipy import sparse
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, vmap

from torchflux_optlayers import ConvexLayer, solve_qp


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=WIDE)


def as_cvxpy_says(problem, parameters, variables, args, **options):
    """The layer's solution of one program, compared with CVXPY's; dual variables too."""
    solution = ConvexLayer(problem, parameters, variables, on_failure="raise", **options).solve(*args)
    for parameter, value in zip(parameters, args, strict=True):
        parameter.value = value.detach().numpy()
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    torch.testing.assert_close(solution.objective.item(), problem.value, rtol=1e-7, atol=1e-7)
    for variable, value in zip(variables, solution.values, strict=True):
        given = variable.value_sparse if variable.sparse_idx else variable.value
        given = given.toarray() if sparse.issparse(given) else np.asarray(given)
        torch.testing.assert_close(value.detach(), torch.tensor(given), rtol=1e-5, atol=1e-5)
    return solution


def matrices(maximise):
    """A matrix variable between parameters that are no multiples of it, with an offset, and one in no constraint."""
    X, free = cp.Variable((2, 3)), cp.Variable(2)
    M, L, c = cp.Parameter((2, 3)), cp.Parameter((3, 2)), cp.Parameter()
    constraints = [X @ L <= 1, X[0] + X[1] == c, X >= M - 3]
    cost = cp.sum_squares(X - M) + cp.sum_squares(free - M[:, 2]) + 5 + c
    objective = cp.Maximize(-cost) if maximise else cp.Minimize(cost)
    variables = [X, free, *(d for k in constraints for d in k.dual_variables)]
    return (
        cp.Problem(objective, constraints),
        [M, L, c],
        variables,
        (random(2, 3), random(3, 2, seed=1), random(seed=2)),
    )


@pytest.mark.parametrize("route", ["auto", "cone"])
@pytest.mark.parametrize("maximise", [False, True])
def test_matrices(maximise, route):
    problem, parameters, variables, args = matrices(maximise)
    args = [v.requires_grad_() for v in args]
    as_cvxpy_says(problem, parameters, variables, args, route=route)
    layer = ConvexLayer(problem, parameters, variables, route=route)
    assert gradcheck(lambda *args: (*layer(*args), layer.solve(*args).objective), args, atol=1e-6)


def test_dual_variables_of_every_constraint():
    x, t, X, a = cp.Variable(3), cp.Variable(2), cp.Variable((2, 2), symmetric=True), cp.Parameter(3)
    constraints = [
        cp.SOC(cp.hstack([2, t[0]]), cp.vstack([x, x + a]), axis=1),
        cp.ExpCone(x[:2], cp.Constant([1.0, 2.0]), cp.hstack([3, 2 + t[1]])),
        cp.PowCone3D(x[:2] + 2, cp.Constant([1.0, 1.0]), a[1:] + x[2], [0.3, 0.6]),
        X >> cp.bmat([[a[0], x[1]], [x[1], 1]]),
        X[:1] + cp.reshape(x[:2], (1, 2), order="C") == a[:2][None] * 2,
        x >= -2,
        cp.norm1(x) <= 2,
    ]
    problem = cp.Problem(cp.Maximize(a @ x - cp.sum_squares(t) - cp.trace(X)), constraints)
    duals = [d for c in constraints for d in c.dual_variables]
    as_cvxpy_says(problem, [a], [x, t, X, *duals], [random(3)])
    layer = ConvexLayer(problem, [a], [x, t, X, *duals])
    assert gradcheck(layer, [random(3).requires_grad_()], eps=1e-5, atol=1e-6)


PATTERN = [[0, 1, 1], [1, 0, 2]]
"""Rows and columns of a sparse matrix's entries."""


def filled(entries):
    return torch.zeros(2, 3, dtype=WIDE).index_put(tuple(map(torch.tensor, PATTERN)), entries)


def attributes():
    """Variables and parameters with every attribute that makes them smaller or bounds them."""
    kinds = (
        {"PSD": True},
        {"symmetric": True},
        {"diag": True},
        {"sparsity": PATTERN},
        {"nonneg": True},
        {"nonpos": True},
    )
    shapes = (3, 3), (3, 3), (3, 3), (2, 3), 3, 3, (3, 3), 3
    more = *kinds, {"NSD": True}, {"bounds": [-0.1, 0.2]}
    variables = [cp.Variable(shape, **kind) for shape, kind in zip(shapes, more, strict=True)]
    parameters = [cp.Parameter(shape, **kind) for shape, kind in zip(shapes, kinds, strict=False)]
    targets = [*parameters, -parameters[0], parameters[4]]
    cost = sum(cp.sum_squares(v - 0.3 * t) + cp.sum(v) for v, t in zip(variables, targets, strict=True))
    symmetric = random(3, 3) + random(3, 3).mT
    values = symmetric @ symmetric, symmetric, random(3).diag(), filled(random(3)), random(3).abs(), -random(3).abs()
    return cp.Problem(cp.Minimize(cost), [variables[0][0, 1] >= 0.1]), parameters, variables, values


@pytest.mark.filterwarnings("ignore:.*sparse CVXPY expression")
def test_attributes():
    problem, parameters, variables, args = attributes()
    as_cvxpy_says(problem, parameters, variables, args)
    layer = ConvexLayer(problem, parameters, variables)
    free = [v.clone().requires_grad_() for v in (*args[:2], args[2].diagonal(), args[3][tuple(PATTERN)], *args[4:])]
    assert gradcheck(lambda S, M, d, e, *signed: layer(S, M, d.diag(), filled(e), *signed), free, atol=1e-6)


@pytest.mark.parametrize(
    ("which", "wrong", "text"),
    [
        (0, -torch.eye(3, dtype=WIDE), "PSD, which doesn't hold:"),
        (2, torch.ones(3, 3, dtype=WIDE), "diag, which doesn't hold:"),
        (3, torch.ones(2, 3, dtype=WIDE), "sparsity, which doesn't hold:"),
        (4, -torch.ones(3, dtype=WIDE), "nonneg, which doesn't hold:"),
        (5, torch.ones(2, 3, dtype=WIDE), r"nonpos, which doesn't hold at \[0, 1\]"),
    ],
)
def test_parameters_that_arent_what_they_were_declared_to_be(which, wrong, text):
    problem, parameters, variables, args = attributes()
    with pytest.raises(ValueError, match=text):
        ConvexLayer(problem, parameters, variables)(*args[:which], wrong, *args[which + 1 :])


def test_a_quadratic_form_with_a_matrix_as_parameter():
    x, P, q = cp.Variable(3), cp.Parameter((3, 3), PSD=True), cp.Parameter(3)
    problem = cp.Problem(cp.Minimize(cp.quad_form(x, P) / 2 + q @ x), [x >= -1])
    layer, root = ConvexLayer(problem, [P, q], [x]), random(4, 3, 3)
    Q, p = root @ root.mT, random(4, 3, seed=1)
    eye = torch.eye(3, dtype=WIDE)
    torch.testing.assert_close(layer(Q, p)[0], solve_qp(Q, p, -eye, torch.ones(3, dtype=WIDE)).x)
    assert layer.is_quadratic
    assert gradcheck(layer, (Q.requires_grad_(), p.requires_grad_()), atol=1e-6)


def test_power_cones_of_more_dimensions():
    x, z, budget = cp.Variable(3), cp.Variable(), cp.Parameter()
    share = np.array([0.2, 0.3, 0.5])
    problem = cp.Problem(cp.Maximize(z), [cp.PowConeND(x, z, share), cp.sum(x) <= budget])
    layer = ConvexLayer(problem, [budget], [x, z])
    found, best = layer(torch.tensor(2.0, dtype=WIDE))
    torch.testing.assert_close(found, 2 * torch.from_numpy(share))
    torch.testing.assert_close(best.item(), 2 * (share**share).prod())


def test_logistic_regression():
    """That of cvxpylayers#85, where the gradient was wrong by 1.04: many exponential cones at once."""
    w, X, penalty = cp.Variable(2), cp.Parameter((12, 2)), cp.Parameter(nonneg=True)
    y = np.sign(random(12, seed=3).numpy())
    loss = cp.sum(cp.logistic(cp.multiply(-y, X @ w))) / 12 + penalty * cp.sum_squares(w)
    layer = ConvexLayer(cp.Problem(cp.Minimize(loss)), [X, penalty], [w], on_failure="raise")
    args = random(12, 2).requires_grad_(), torch.tensor(0.1, dtype=WIDE, requires_grad=True)
    assert gradcheck(layer, args, atol=1e-6, fast_mode=True)
    (found,) = layer(*args)
    score = torch.from_numpy(-y) * (args[0] @ found)
    slope = torch.autograd.grad(torch.nn.functional.softplus(score).mean() + 0.1 * found.square().sum(), found)[0]
    torch.testing.assert_close(slope, torch.zeros(2, dtype=WIDE), rtol=0, atol=1e-9)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_gradients_agree_with_cvxpylayers():
    layers = pytest.importorskip("cvxpylayers.torch")
    arguments, _, typical = ball()
    args, grads = tensors(typical), []
    for layer in (ConvexLayer(*arguments), layers.CvxpyLayer(*arguments)):
        x, force = layer(*args)
        grads.append(torch.autograd.grad((x * random(3)).sum() + force.sum(), args))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_no_parameters():
    x = cp.Variable(2)
    (found,) = ConvexLayer(cp.Problem(cp.Minimize(cp.sum_squares(x - 1)), []), (), (x,))()
    torch.testing.assert_close(found, torch.ones(2))


def quadratic(route="auto"):
    x, v, radius = cp.Variable(3), cp.Parameter(3), cp.Parameter()
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - v)), [cp.norm1(x) <= radius])
    return ConvexLayer(problem, [v, radius], [x], route=route)


@pytest.mark.parametrize("layer", [ConvexLayer(*ball()[0]), quadratic()], ids=["cone", "quadratic"])
def test_batches(layer):
    """Batched, shared and mixed parameters; single precision; every transform; copies."""
    v, radius = 2 + random(4, 3), random(5, 1, seed=1).abs() + 0.5
    expected = torch.stack([torch.stack([layer(a, r[0])[0] for a in v]) for r in radius])
    torch.testing.assert_close(layer(v, radius)[0], expected)
    torch.testing.assert_close(vmap(lambda a: layer(a, radius[0, 0])[0])(v), expected[0])
    assert layer(v[:0], radius[0, 0])[0].shape == (0, 3)
    narrow = layer(v.float(), radius.float())
    assert {x.dtype for x in narrow} == {torch.float32}
    torch.testing.assert_close(narrow[0].double(), expected, rtol=1e-5, atol=1e-5)
    loss = lambda a: (layer(a, radius[0, 0].to(a.dtype))[0] ** 3).sum()
    wanted = torch.autograd.grad(loss(leaf := v.clone().requires_grad_()), leaf)[0]
    for found in (grad(loss)(v), vmap(grad(loss))(v), jacrev(loss)(v), jacfwd(loss)(v)):
        torch.testing.assert_close(found, wanted)
    single = leaf.detach().float().requires_grad_()
    assert torch.autograd.grad(loss(single), single)[0].dtype == torch.float32
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(v, radius)[0], layer(v, radius)[0])


def test_second_derivatives():
    layer, v, radius = quadratic(), 2 + random(3), torch.tensor(1.5, dtype=WIDE)
    assert gradgradcheck(layer, (v.requires_grad_(), radius.requires_grad_()), atol=1e-5)
    cone = ConvexLayer(*ball()[0])
    loss = lambda a: cone(a, radius.detach())[0].sum()
    for second in (
        lambda: hessian(loss)(v.detach()),
        lambda: torch.autograd.functional.hessian(loss, v.detach()),
        lambda: jacrev(jacrev(loss))(v.detach()),
    ):
        with pytest.raises(NotImplementedError, match="have first derivatives only"):
            second()


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # PyTorch's, where a graph ends
def test_compiled():
    v, radius = 2 + random(3), torch.tensor(1.5, dtype=WIDE)
    for layer, whole in ((quadratic(), True), (ConvexLayer(*ball()[0]), False)):
        loss = lambda a, layer=layer: (layer(a, radius)[0] ** 3).sum()
        wanted = torch.autograd.grad(loss(leaf := v.clone().requires_grad_()), leaf)[0]
        compiled = torch.compile(loss, backend="eager", fullgraph=whole)
        torch.testing.assert_close(torch.autograd.grad(compiled(leaf), leaf)[0], wanted)


@pytest.mark.parametrize("layer", [ConvexLayer(*ball()[0]), quadratic()], ids=["cone", "quadratic"])
def test_warm_starts(layer):
    v, radius = 2 + random(4, 3), torch.tensor(1.5, dtype=WIDE)
    before = layer.solve(v, radius)
    cold = layer.solve(1.01 * v, radius)
    warm = layer.solve(1.01 * v, radius, warm_start=before)
    torch.testing.assert_close(warm.values, cold.values, rtol=0, atol=1e-10)
    assert (warm.iterations < cold.iterations).all()
    other = quadratic("cone") if layer.is_quadratic else quadratic()
    with pytest.raises(ValueError, match="of another layer"):
        other.solve(v, radius, warm_start=before)


@pytest.mark.parametrize("route", ["auto", "cone"])
def test_more_than_a_thousand_parameters(route):
    """For which CVXPY compiles with another backend: ridge regression."""
    x, S, p = cp.Variable(32), cp.Parameter((33, 32)), cp.Parameter(33)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(S @ x - p) + cp.sum_squares(x)), [x >= -9])
    args = [v.requires_grad_() for v in (random(33, 32), random(33, seed=1))]
    found = ConvexLayer(problem, [S, p], [x], route=route)(*args)[0]
    expected = torch.linalg.solve(args[0].mT @ args[0] + torch.eye(32, dtype=WIDE), args[0].mT @ args[1])
    torch.testing.assert_close(found, expected)
    for a, b in zip(*(torch.autograd.grad((y**3).sum(), args) for y in (found, expected)), strict=True):
        torch.testing.assert_close(a, b)
