"""SciPy's solvers: bounds and constraints against closed forms and differences, and what is refused."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from torchflux_optlayers import Scipy, SolveError, Status, Unrolled, least_squares, minimise, root, solve_qp

WIDE = torch.float64
ALL_BOUNDED = ("Nelder-Mead", "L-BFGS-B", "TNC", "SLSQP", "Powell", "trust-constr", "COBYLA", "COBYQA")
TIGHT = {"rtol": 1e-10}


def bowl(y, c):
    return (torch.tensor([1.0, 3.0, 0.5], dtype=WIDE) * (y - c) ** 2).sum(-1) + 0.3 * (y.prod(-1))


START = torch.full((3,), 0.5, dtype=WIDE)
C = torch.tensor([2.0, 0.4, -1.5], dtype=WIDE)


@pytest.mark.parametrize("method", ALL_BOUNDED)
def test_a_box(method):
    """The first variable ends at its upper, the last at its lower bound; the middle one is free, and in closed form."""
    c, low, top = C.clone().requires_grad_(), torch.zeros(3, dtype=WIDE), torch.ones(3, dtype=WIDE)
    low.requires_grad_(), top.requires_grad_()
    y = minimise(bowl, START, c, solver=Scipy(method, bounds=(low, top)), max_steps=2000).value
    torch.testing.assert_close(y, torch.tensor([1.0, 0.4, 0.0], dtype=WIDE), rtol=0, atol=1e-3)
    slopes = torch.autograd.grad(y.sum(), (c, low, top))
    torch.testing.assert_close(slopes[0], torch.tensor([0.0, 1.0, 0.0], dtype=WIDE), rtol=0, atol=1e-7)
    torch.testing.assert_close(slopes[1], torch.tensor([0.0, 0.0, 1 - 0.05], dtype=WIDE), rtol=0, atol=1e-7)
    torch.testing.assert_close(slopes[2], torch.tensor([1.0, 0.0, 0.0], dtype=WIDE), rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP"])
def test_differences_confirm_a_box(method):
    solve = lambda c, top: minimise(bowl, START, c, solver=Scipy(method, bounds=(0.0, top)), **TIGHT).value
    arguments = C.clone().requires_grad_(), torch.full((3,), 1.2, dtype=WIDE, requires_grad=True)
    assert gradcheck(solve, arguments, atol=1e-6)
    assert gradgradcheck(solve, arguments, atol=1e-5)


CONSTRAINTS = {
    "ball": ({"type": "ineq", "fun": lambda y, c: 1.5 - (y**2).sum(-1)},),
    "ball and plane": (
        {"type": "ineq", "fun": lambda y, c: c[0] - (y**2).sum(-1)},
        {"type": "eq", "fun": lambda y, c: y.sum(-1) - c[1]},
        {"type": "ineq", "fun": lambda y, c: 100 - y.exp()},
    ),
}


@pytest.mark.parametrize("method", ["SLSQP", "trust-constr", "COBYQA", "COBYLA"])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_differences_confirm_constraints(name, method):
    """The gradient of every method against differences of SLSQP's solutions, with a bound that is active as well."""
    solve = lambda c, method: (
        minimise(bowl, START, c, solver=Scipy(method, (-0.6, None), CONSTRAINTS[name]), max_steps=2000, **TIGHT).value
    )
    c = C.clone().requires_grad_()
    y = solve(c, method)
    rows = torch.stack([torch.autograd.grad(x, c, retain_graph=True)[0] for x in y])
    with torch.no_grad():
        ends = [torch.stack([solve(C + s * 1e-4 * unit, "SLSQP") for unit in torch.eye(3)]) for s in (1, -1)]
    torch.testing.assert_close(rows, ((ends[0] - ends[1]) / 2e-4).mT, rtol=1e-5, atol=2e-6)
    if method == "SLSQP":
        assert gradgradcheck(lambda c: solve(c, "SLSQP"), (c,), atol=1e-4)


def test_the_projection_on_a_ball():
    """x / |x|, whose derivative is (I - x xᵀ / |x|²) / |x|."""
    x = torch.tensor([3.0, -4.0], dtype=WIDE, requires_grad=True)
    inside = {"type": "ineq", "fun": lambda y, x: 1 - y @ y}
    fn = lambda y, x: (y - x).square().sum()
    y = minimise(fn, torch.zeros(2, dtype=WIDE), x, solver=Scipy("SLSQP", constraints=[inside]), **TIGHT).value
    rows = torch.stack([torch.autograd.grad(v, x, retain_graph=True)[0] for v in y])
    unit = x.detach() / 5
    torch.testing.assert_close(y, unit, rtol=0, atol=1e-8)
    torch.testing.assert_close(rows, (torch.eye(2, dtype=WIDE) - torch.outer(unit, unit)) / 5, rtol=0, atol=1e-8)


def test_a_quadratic_program_is_that_of_solve_qp():
    generator = torch.Generator().manual_seed(3)
    p, G = (torch.randn(s, generator=generator, dtype=WIDE) for s in ((4,), (6, 4)))
    h, Q = torch.full((6,), 0.4, dtype=WIDE), torch.eye(4, dtype=WIDE)
    found = []
    for solve in (
        lambda p, h: solve_qp(Q, p, G, h, route="torch").x,
        lambda p, h: (
            minimise(
                lambda y, p: y @ y / 2 + p @ y,
                torch.zeros(4, dtype=WIDE),
                p,
                solver=Scipy("SLSQP", constraints=[{"type": "ineq", "fun": lambda y, p: h - G @ y}]),
                **TIGHT,
            ).value
        ),
    ):
        arguments = p.clone().requires_grad_(), h.clone().requires_grad_()
        x = solve(*arguments)
        found.append((x.detach(), *torch.autograd.grad(x.square().sum(), arguments)))
    for ours, due in zip(*found, strict=True):
        torch.testing.assert_close(ours, due, rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", ["trf", "dogbox"])
def test_least_squares_in_a_box(method):
    c = torch.tensor([2.0, 0.4], dtype=WIDE, requires_grad=True)
    top = torch.tensor(1.0, dtype=WIDE, requires_grad=True)
    fn = lambda y, c: torch.cat((y - c, y.sum()[None]))
    y = least_squares(fn, torch.zeros(2, dtype=WIDE), c, solver=Scipy(method, (None, top.expand(2)))).value
    torch.testing.assert_close(y, torch.tensor([1.0, -0.3], dtype=WIDE), rtol=0, atol=1e-5)  # (c₁ - top) / 2
    slopes = torch.autograd.grad(y[1], (c, top))
    torch.testing.assert_close(slopes[0], torch.tensor([0.0, 0.5], dtype=WIDE))
    assert slopes[1].item() == pytest.approx(-0.5)


def test_a_wrong_active_set_fails():
    """The canary: without the bound, the gradient is another."""
    c = C.clone().requires_grad_()
    boxed = minimise(bowl, START, c, solver=Scipy("L-BFGS-B", (0.0, 1.0)), **TIGHT).value
    free = minimise(bowl, START, c, solver=Scipy("L-BFGS-B"), **TIGHT).value
    assert torch.autograd.grad(boxed[0], c)[0][0].abs() < 1e-9
    assert torch.autograd.grad(free[0], c)[0][0] > 0.5


def test_a_bound_without_a_force_counts_as_none():
    c = torch.tensor([1.0], dtype=WIDE, requires_grad=True)
    fn = lambda y, c: (y - c).square().sum()
    y = minimise(fn, torch.zeros(1, dtype=WIDE), c, solver=Scipy("L-BFGS-B", (None, 1.0))).value
    assert torch.autograd.grad(y.sum(), c)[0].item() == 1.0


def test_what_cannot_be_told_is_refused():
    """The same constraint twice has no unique forces."""
    c = torch.tensor([2.0, 1.0], dtype=WIDE, requires_grad=True)
    fn = lambda y, c: (y - c).square().sum()
    twice = [{"type": "ineq", "fun": lambda y, _, by=by: by * (1 - y.sum())} for by in (1, 2)]
    solver = Scipy("SLSQP", constraints=twice)
    with pytest.raises(ValueError, match="depend on each other"):
        minimise(fn, torch.zeros(2, dtype=WIDE), c, solver=solver)
    y = minimise(fn, torch.zeros(2, dtype=WIDE), c, solver=solver, throw=False).value
    torch.testing.assert_close(y, torch.tensor([1.0, 0.0], dtype=WIDE), rtol=0, atol=1e-5)
    assert torch.autograd.grad(y.sum(), c)[0].isnan().all()
    with torch.no_grad():
        minimise(fn, torch.zeros(2, dtype=WIDE), c, solver=solver)
    minimise(fn, torch.zeros(2, dtype=WIDE), c.detach(), solver=solver)


def test_a_point_that_is_no_solution_is_refused():
    c = torch.tensor([2.0, 1.0], dtype=WIDE, requires_grad=True)
    hill = lambda y, c: torch.cosh(y - c).sum()
    stop = Scipy("Nelder-Mead", options={"maxiter": 3, "fatol": 1e9, "xatol": 1e9})
    with pytest.raises(ValueError, match="no exact solution is next to SciPy's"):
        minimise(hill, torch.zeros(2, dtype=WIDE), c, solver=stop)


def test_trees_of_bounds():
    y0 = {"a": torch.zeros(2, dtype=WIDE), "b": 0.0}
    fn = lambda y, _: (y["a"] - 2).square().sum() + (y["b"] + 3) ** 2
    y = minimise(fn, y0, solver=Scipy("L-BFGS-B", ({"a": None, "b": -1.0}, {"a": torch.tensor([1.0, 9.0]), "b": None})))
    torch.testing.assert_close(y.value["a"], torch.tensor([1.0, 2.0], dtype=WIDE))
    assert y.value["b"].item() == -1.0
    with pytest.raises(ValueError, match="don't fit y0"):
        minimise(fn, y0, solver=Scipy("L-BFGS-B", ({"a": None}, None)))


def test_a_batch_with_one_infeasible_element():
    c = torch.tensor([2.0, -1.0, 0.5], dtype=WIDE, requires_grad=True)
    cap = {"type": "ineq", "fun": lambda y, c: torch.stack((c - y**2, 4 - y), -1)}
    fn = lambda y, c: (y - 3).square()
    options = {"batched": True, "throw": False, "solver": Scipy("SLSQP", constraints=[cap]), **TIGHT}
    solution = minimise(fn, torch.full((3,), 0.1, dtype=WIDE), c, **options)
    assert solution.solved.tolist() == [True, False, True]
    torch.testing.assert_close(solution.value[[0, 2]], c.detach()[[0, 2]].sqrt(), rtol=0, atol=1e-7)
    slope = torch.autograd.grad(solution.value[[0, 2]].sum(), c)[0]
    torch.testing.assert_close(slope[[0, 2]], 0.5 / c.detach()[[0, 2]].sqrt(), rtol=0, atol=1e-7)
    with pytest.raises(SolveError, match=r"1 of 3 elements not solved: .* at 1 after .*SciPy: "):
        minimise(fn, torch.full((3,), 0.1, dtype=WIDE), c, **{**options, "throw": True})


@pytest.mark.parametrize("method", ["hybr", "lm", "broyden1", "krylov", "df-sane"])
def test_roots_by_other_methods(method):
    c = torch.tensor([4.0, 9.0], dtype=WIDE, requires_grad=True)
    y = root(lambda y, c: y**2 - c, torch.full((2,), 2.5, dtype=WIDE), c, solver=Scipy(method)).value
    torch.testing.assert_close(y.abs(), c.sqrt(), rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.autograd.grad(y.abs().sum(), c)[0], 0.5 / c.detach().sqrt())


@pytest.mark.parametrize("method", ["CG", "Newton-CG", "dogleg", "trust-ncg", "trust-krylov", "trust-constr"])
def test_minima_by_other_methods(method):
    c = C.clone().requires_grad_()
    fn = lambda y, c: torch.cosh(y - c).sum()
    y = minimise(fn, torch.zeros(3, dtype=WIDE), c, solver=Scipy(method), rtol=1e-6).value
    torch.testing.assert_close(y, C, rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), c)[0], torch.ones(3, dtype=WIDE))


def test_float32_stays():
    c = torch.tensor([2.0, 0.4], requires_grad=True)
    y = minimise(lambda y, c: (y - c).square().sum(), torch.zeros(2), c, solver=Scipy("L-BFGS-B", (0.0, 1.0))).value
    assert y.dtype == torch.float32
    torch.testing.assert_close(torch.autograd.grad(y.sum(), c)[0], torch.tensor([0.0, 1.0]))


def test_the_limit_of_steps():
    fn = lambda y, _: torch.cosh(y - 9).sum()
    found = minimise(fn, torch.zeros(2, dtype=WIDE), solver=Scipy("BFGS"), max_steps=2, throw=False)
    assert found.status == Status.MAX_ITERATIONS
    assert "SciPy: " in found.message


MISUSE = [
    (ValueError, "one of", lambda: Scipy("newton")),
    (ValueError, r"bounds are \(lower, upper\)", lambda: Scipy("BFGS", bounds=(0, 1))),
    (ValueError, "takes no constraints", lambda: Scipy("BFGS", constraints=[{"type": "eq", "fun": bowl}])),
    (ValueError, "a constraint is", lambda: Scipy("SLSQP", constraints=[{"type": "<", "fun": bowl}])),
    (TypeError, "minimise can't take Scipy", lambda: minimise(bowl, START, C, solver=Scipy("hybr"))),
    (TypeError, "no tape", lambda: minimise(bowl, START, C, solver=Scipy("BFGS"), adjoint=Unrolled())),
    (Warning, "Unknown solver options", lambda: minimise(bowl, START, C, solver=Scipy("BFGS", options={"speed": 9}))),
]


@pytest.mark.parametrize(("kind", "words", "call"), MISUSE, ids=lambda x: str(x)[:20])
def test_misuse_is_explained(kind, words, call):
    with pytest.raises(kind, match=words):
        call()
