"""Elements without a solution or a gradient are named, and harm no others; what can't be a layer is refused."""

import sys
import warnings

import cvxpy as cp
import pytest
import torch
from convex_programs import WIDE, ball

from torchflux_optlayers import ConvexLayer, Status, _conic, _newton_system

GOOD = [0, 2, 5]
BAD = {1: Status.INFEASIBLE, 3: Status.UNBOUNDED, 4: Status.NOT_FINITE}


def layer_of(kind, **options):
    """The least `c·x + curve |x - 1|²` in a paraboloid or a wedge, between two heights; without a curve it may fall."""
    x, c, low, curve = cp.Variable(2), cp.Parameter(2), cp.Parameter(), cp.Parameter(nonneg=True)
    inside = (cp.norm(x) if kind == "cone" else cp.abs(x[1])) <= 5 - x[0]
    problem = cp.Problem(cp.Minimize(c @ x + curve * cp.sum_squares(x - 1)), [inside, x[1] >= low, x[1] <= 3])
    return ConvexLayer(problem, [c, low, curve], [x, *inside.dual_variables], **options)


def spoilt():
    """Six programs' parameters, and with three of them spoilt: it can't be that high, it falls for ever, or NaN."""
    generator = torch.Generator().manual_seed(0)
    c = torch.randn(6, 2, generator=generator, dtype=WIDE)
    good = c, torch.zeros(6, dtype=WIDE), torch.rand(6, generator=generator, dtype=WIDE) + 0.5
    bad = [v.clone() for v in good]
    bad[1][1] = 10.0
    bad[0][3], bad[2][3] = torch.tensor([1.0, 0.0]), 0.0
    bad[0][4, 0] = torch.nan
    return good, bad


@pytest.mark.parametrize("on_failure", ["nan", "best"])
@pytest.mark.parametrize("kind", ["cone", "quadratic"])
def test_the_others_are_untouched(kind, on_failure):
    layer = layer_of(kind, on_failure=on_failure)
    good, bad = ([v.requires_grad_() for v in args] for args in spoilt())
    expected, found = layer.solve(*good), layer.solve(*bad)
    assert {i: Status(s) for i, s in enumerate(found.status.tolist()) if s} == BAD
    assert found.solved.nonzero()[:, 0].tolist() == GOOD
    grads = []
    for args, solution in ((good, expected), (bad, found)):
        for a, b in zip((*solution.values, solution.objective), (*expected.values, expected.objective), strict=True):
            assert torch.equal(a[GOOD], b[GOOD])
        x, force, cost = (v[GOOD] for v in (*solution.values, solution.objective))
        grads.append(torch.autograd.grad((x**2).sum() + (force * cost).sum(), args))
    for a, b in zip(*grads, strict=True):
        assert torch.equal(a, b)  # zero for those that failed
    if on_failure == "nan":
        assert found.values[0][list(BAD)].isnan().all()
        assert found.objective[list(BAD)].isnan().all()


@pytest.mark.parametrize("kind", ["cone", "quadratic"])
def test_they_are_named(kind):
    _, bad = spoilt()
    with pytest.warns(RuntimeWarning, match="3 of 6 programs not solved: INFEASIBLE at 1 ") as caught:
        values = layer_of(kind)(*bad)
    assert caught[0].filename == __file__
    assert values[0].isnan().any(1).tolist() == [i in BAD for i in range(6)]
    layer = layer_of(kind, on_failure="raise")
    with pytest.raises(
        RuntimeError, match=r"INFEASIBLE at 1 .*; UNBOUNDED at 3 .*; NOT_FINITE at 4 .*; on_failure='nan'"
    ):
        layer(*bad)
    with warnings.catch_warnings(action="error"):
        layer_of(kind).solve(*bad)


def test_a_matrix_that_is_not_convex_to_rounding():
    x, P = cp.Variable(2), cp.Parameter((2, 2), symmetric=True)
    problem = cp.Problem(cp.Minimize(cp.quad_form(x, cp.psd_wrap(P))), [cp.norm(x - 1) <= 1])
    solution = ConvexLayer(problem, [P], [x]).solve(torch.stack((torch.eye(2), -torch.eye(2))))
    assert solution.status.tolist() == [Status.SOLVED, Status.NOT_CONVEX]


def flat(kind):
    """A problem whose minimiser is unique for the first element of a batch only."""
    x, c = cp.Variable(2), cp.Parameter(2)
    bound = cp.norm(x, "inf") <= 1 if kind == "quadratic" else cp.exp(x) <= 2
    other = [] if kind == "quadratic" else [x >= -1]
    args = torch.tensor([[1.0, -1.0], [1.0, 0.0]], dtype=WIDE, requires_grad=True)
    return cp.Problem(cp.Minimize(c @ x), [bound, *other]), [c], [x], args


@pytest.mark.parametrize("kind", ["cone", "quadratic"])
def test_a_gradient_that_does_not_exist(kind):
    problem, parameters, variables, args = flat(kind)
    layer = ConvexLayer(problem, parameters, variables)
    solution = layer.solve(args)
    assert solution.gradient_residual is None
    with pytest.warns(RuntimeWarning, match="residual of up to .* at 1, more than gradient_tol"):
        (grad,) = torch.autograd.grad(solution.values[0].sum(), args)
    assert grad.isnan().any(1).tolist() == [False, True]
    assert solution.gradient_residual[0] < 1e-10
    assert not solution.gradient_residual[1] < 1e-3
    x = ConvexLayer(problem, parameters, variables, on_failure="raise")(args)[0]
    with pytest.raises(RuntimeError, match="isn't unique there, or has a kink; on_failure='nan'"):
        x.sum().backward()


def test_a_backward_solve_that_is_inaccurate_is_noticed(monkeypatch):
    """The canary: a solver that stops early, as LSQR does in cvxpylayers#69."""
    right = _newton_system.NewtonSystem._factor.func
    hasty = property(lambda self: (solve := right(self)) and (lambda r, t: solve(r, t) * (1 + 1e-3 * (r != 0).sum())))
    layer = ConvexLayer(*ball()[0])
    args = torch.tensor([1.0, 2.0, 2.0]).requires_grad_(), torch.tensor(1.0)
    (x, _) = layer(*args)
    monkeypatch.setattr(_newton_system.NewtonSystem, "_factor", hasty)
    monkeypatch.setattr(_newton_system.NewtonSystem, "_nearest", lambda *_: (torch.zeros(1).numpy(), 1.0))
    monkeypatch.setattr(_newton_system, "ROUNDS", 1)
    with pytest.warns(RuntimeWarning, match="the gradient has a residual"):
        x.sum().backward()
    assert args[0].grad.isnan().all()


def test_the_best_gradient_on_request():
    problem, parameters, variables, args = flat("cone")
    solution = ConvexLayer(problem, parameters, variables, on_failure="best").solve(args)
    with pytest.warns(RuntimeWarning, match="at 1"):
        (grad,) = torch.autograd.grad(solution.values[0].sum(), args)
    assert grad.isfinite().all()


@pytest.mark.parametrize("on_failure", ["nan", "best"])
def test_a_limit_that_is_reached(on_failure, monkeypatch):
    monkeypatch.setattr(_conic, "NEWTON", 0)
    layer = ConvexLayer(*ball()[0], max_iterations=2, on_failure=on_failure)
    v = torch.tensor([3.0, 0.0, 4.0], requires_grad=True)
    solution = layer.solve(v, torch.tensor(1.0))
    assert solution.status == Status.MAX_ITERATIONS
    assert solution.values[0].isnan().all() == (on_failure == "nan")
    (grad,) = torch.autograd.grad(solution.values[0].sum(), v)
    assert grad.isnan().all() == (on_failure == "nan")


def refused():
    """Problems with their parameters and variables, and what is said of them."""
    x, y, a, b = cp.Variable(2), cp.Variable(2), cp.Parameter(2, name="a"), cp.Parameter(2, name="b")
    whole, complex_one, positive = cp.Variable(2, integer=True), cp.Variable(2, complex=True), cp.Variable(2, pos=True)
    P = cp.Parameter((2, 2), PSD=True, name="P")
    cost = cp.Minimize(cp.sum_squares(x))
    return {
        "constraints\\[1\\], .* isn't DPP .* look at `a \\* b` with a \\(2,\\), b":
            (cost, [x >= 0, x >= cp.multiply(a, b)], [a, b], [x]),
        "the objective isn't DPP .* `exp\\(a\\)": (cp.Minimize(cp.sum(cp.multiply(cp.exp(a), x))), [x >= 0], [a], [x]),
        "look at `QuadForm\\(.*, P\\)`": (cost, [cp.quad_form(x, P) <= 1], [P], [x]),
        "the objective isn't DCP": (cp.Maximize(cp.sum_squares(x - a)), [], [a], [x]),
        "constraints\\[0\\], .* isn't DCP": (cost, [cp.sqrt(x) <= a], [a], [x]),
        "geometric program: write it in the logarithms": (cp.Minimize(positive[0] * positive[1]), [], [], [positive]),
        "has integers \\(var\\d+ \\(2,\\)\\)": (cp.Minimize(cp.sum(whole)), [whole >= a], [a], [whole]),
        "is complex": (cp.Minimize(cp.norm(complex_one)), [], [], [complex_one]),
        "has no variables": (cp.Minimize(0), [], [], []),
        "parameters lacks b": (cost, [x >= a + b], [a], [x]),
        "parameters has b \\(2,\\), which the problem doesn't": (cost, [x >= a], [a, b], [x]),
        "one of them twice": (cost, [x >= a], [a, a], [x]),
        "neither a variable of the problem nor": (cost, [x >= a], [a], [y]),
        "it is a list or tuple of objects of cvxpy.Parameter": (cost, [x >= a], a, [x]),
        "parameters is \\[Variable": (cost, [x >= a], [x], [x]),
    }  # fmt: skip


@pytest.mark.parametrize("text", refused())
def test_what_is_refused(text):
    objective, constraints, parameters, variables = refused()[text]
    with pytest.raises((TypeError, ValueError), match=text):
        ConvexLayer(cp.Problem(objective, constraints), parameters, variables)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"on_failure": "ignore"}, "on_failure='ignore'"),
        ({"route": "fast"}, "route='fast'"),
        ({"route": "native"}, "it is for quadratic programs"),
        ({"tol": 0.0}, "all are positive"),
    ],
)
def test_options_that_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        ConvexLayer(*ball()[0], **options)


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        ([torch.ones(3)], ValueError, "1 tensors for 2 parameters"),
        ([torch.ones(3), 1.0], TypeError, "is float: pass a tensor"),
        ([torch.ones(3), torch.tensor(1)], TypeError, "is torch.int64"),
        ([torch.ones(4), torch.tensor(1.0)], ValueError, r"has shape \(4,\): it is \('\*', 3\)"),
        ([torch.ones(3), torch.tensor(1.0, dtype=WIDE)], TypeError, "they have to agree"),
        ([torch.ones(2, 3), torch.ones(3)], ValueError, "can't be broadcast"),
    ],
)
def test_tensors_that_are_refused(args, error, text):
    with pytest.raises(error, match=text):
        ConvexLayer(*ball()[0])(*args)


def test_the_problem_is_left_as_it_was():
    (problem, parameters, variables), _, _ = ball()
    values = [v.value for v in (*problem.variables(), *parameters, *problem.constraints[0].dual_variables)]
    ConvexLayer(problem, parameters, variables)
    assert [v.value for v in (*problem.variables(), *parameters, *problem.constraints[0].dual_variables)] == values
    assert problem.status is None


def test_without_cvxpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    with pytest.raises(ImportError, match=r"pip install 'torchflux-optlayers\[convex\]'"):
        ConvexLayer(None, [], [])


def test_what_is_said_of_a_layer():
    (problem, parameters, variables), _, _ = ball()
    assert "second_order=(4,)" in repr(ConvexLayer(problem, parameters, variables))
    assert not list(ConvexLayer(problem, parameters, variables).parameters())
