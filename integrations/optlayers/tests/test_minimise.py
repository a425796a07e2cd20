"""Minima and least squares: closed forms, SciPy's results, batches, and what is refused."""

import numpy as np
import pytest
import scipy.optimize
import torch

from torchflux_optlayers import (
    LBFGS,
    Backtracking,
    GaussNewton,
    GradientDescent,
    LevenbergMarquardt,
    Newton,
    Scipy,
    SolveError,
    Status,
    least_squares,
    minimise,
    per_sample,
)

WIDE = torch.float64
T = torch.linspace(0, 2, 30, dtype=WIDE)


def rosenbrock(y, _=None):
    return 100 * (y[..., 1] - y[..., 0] ** 2) ** 2 + (1 - y[..., 0]) ** 2


def valley(y, _=None):
    """Rosenbrock's function as squares."""
    return torch.stack((10 * (y[..., 1] - y[..., 0] ** 2), 1 - y[..., 0]), -1)


@pytest.mark.parametrize("solver", [LBFGS(), LBFGS(memory=2), Scipy("BFGS"), Scipy("trust-exact")], ids=repr)
def test_rosenbrocks_valley(solver):
    y = minimise(rosenbrock, torch.tensor([-1.2, 1.0], dtype=WIDE), solver=solver).value
    torch.testing.assert_close(y, torch.ones(2, dtype=WIDE), rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", [GradientDescent(), GradientDescent(0.1, None), LBFGS()], ids=repr)
def test_ridge_regression_has_a_closed_form(solver):
    generator = torch.Generator().manual_seed(0)
    x, seen = (torch.randn(s, generator=generator, dtype=WIDE) for s in ((20, 4), (20,)))
    penalty = torch.tensor(0.7, dtype=WIDE, requires_grad=True)
    fn = lambda w, p: (x @ w - seen).square().mean() + p * (w @ w)
    w = minimise(fn, torch.zeros(4, dtype=WIDE), penalty, solver=solver, rtol=1e-9).value
    due = torch.linalg.solve(x.mT @ x / 20 + penalty * torch.eye(4, dtype=WIDE), x.mT @ seen / 20)
    torch.testing.assert_close(w, due, rtol=0, atol=1e-8)
    ours, theirs = (torch.autograd.grad(v.square().sum(), penalty)[0] for v in (w, due))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-7)


@pytest.mark.parametrize(
    "solver",
    [LevenbergMarquardt(), GaussNewton(line_search=Backtracking()), LBFGS(), Scipy("lm"), Scipy("trf")],
    ids=repr,
)
def test_a_fit_is_scipys(solver):
    seen = 2 * torch.exp(-1.5 * T) + 0.05 * torch.sin(20 * T)
    fn = lambda y, seen: y["a"] * torch.exp(-y["rate"] * T) + y["c"] - seen
    fit = least_squares(fn, {"a": 1.0, "rate": 1.0, "c": 0.0}, seen, solver=solver, max_steps=500).value
    t = T.numpy()
    theirs = scipy.optimize.curve_fit(lambda t, a, r, c: a * np.exp(-r * t) + c, t, seen.numpy(), [1, 1, 0], ftol=1e-14)
    for x, due in zip((fit["a"], fit["rate"], fit["c"]), theirs[0], strict=True):
        assert x.item() == pytest.approx(due, rel=1e-6)


def test_marquardt_takes_what_gauss_and_newton_cannot():
    """Fewer residuals than unknowns; columns that depend on each other; a start from which full steps go astray."""
    fn = lambda y, _: y.sum()[None] - 1
    assert least_squares(fn, torch.zeros(3, dtype=WIDE)).value.sum().item() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="1 residuals for 3 unknowns"):
        least_squares(fn, torch.zeros(3, dtype=WIDE), solver=GaussNewton())
    twice = lambda y, _: torch.stack((y.sum() - 1, 2 * y.sum() - 2, 1 + 0 * y[0]))
    assert least_squares(twice, torch.zeros(2, dtype=WIDE)).value.sum().item() == pytest.approx(1.0)
    found = least_squares(twice, torch.zeros(2, dtype=WIDE), solver=GaussNewton(), throw=False)
    assert found.status == Status.SINGULAR
    far = lambda y, _: torch.atan(y)
    assert abs(least_squares(far, 3.0).value.item()) < 1e-8
    assert least_squares(far, 3.0, solver=GaussNewton(), throw=False).status != Status.SOLVED
    assert abs(least_squares(far, 3.0, solver=GaussNewton(Backtracking())).value.item()) < 1e-8


def test_the_unit_of_a_variable_does_not_matter_to_marquardt():
    seen = 2 * torch.exp(-1.5 * T) + 0.05 * torch.sin(20 * T)
    steps = []
    for unit in (1.0, 1e6):
        fn = lambda y, _, unit=unit: y[0] * torch.exp(-y[1] * unit * T) - seen
        solution = least_squares(fn, torch.tensor([1.0, 1.0 / unit], dtype=WIDE), atol=0.0)
        steps.append(solution.stats.steps)
        assert solution.value[1].item() * unit == pytest.approx(1.505, abs=1e-2)
    assert steps[0] == steps[1]


@pytest.mark.parametrize("solver", [LBFGS(), GradientDescent(), Scipy("L-BFGS-B")], ids=repr)
@pytest.mark.parametrize("mark", [lambda x: x, per_sample], ids=["all", "marked"])
def test_a_batch_of_minima_is_its_elements(solver, mark):
    c = torch.tensor([0.5, 2.0, 1.0], dtype=WIDE)
    scale = torch.tensor([1.0, 30.0, 3.0], dtype=WIDE)
    fn = lambda y, p: p[1] * (y[..., 0] - p[0]) ** 2 + torch.cosh(y[..., 1] + y[..., 0])
    start = torch.zeros(3, 2, dtype=WIDE)
    together = minimise(fn, start, (mark(c), mark(scale)), solver=solver, batched=True)
    assert together.solved.all()
    for i in range(3):
        alone = minimise(fn, start[i], (c[i], scale[i]), solver=solver)
        torch.testing.assert_close(together.value[i], alone.value, rtol=0, atol=1e-9)
        assert together.stats.steps[i] == alone.stats.steps
        torch.testing.assert_close(alone.value, torch.stack((c[i], -c[i])), rtol=0, atol=1e-4)


@pytest.mark.parametrize("solver", [LevenbergMarquardt(), GaussNewton()], ids=repr)
def test_a_batch_of_fits_with_one_that_fails(solver):
    rates = torch.tensor([1.0, torch.nan, 3.0], dtype=WIDE, requires_grad=True)
    seen = torch.exp(-rates[:, None] * T)
    fn = lambda y, seen: torch.exp(-y[:, None] * T) - seen
    fit = least_squares(fn, torch.ones(3, dtype=WIDE), seen, solver=solver, batched=True, throw=False)
    assert fit.status.tolist() == [0, Status.NOT_FINITE, 0]
    torch.testing.assert_close(fit.value[[0, 2]], rates[[0, 2]])
    slope = torch.autograd.grad(fit.value[[0, 2]].sum(), rates)[0][[0, 2]]
    torch.testing.assert_close(slope, torch.ones(2, dtype=WIDE))


@pytest.mark.parametrize("solver", [LBFGS(), GradientDescent()], ids=repr)
@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6])
def test_the_unit_of_the_loss_does_not_matter(solver, scale):
    """A gradient that is small in its own unit is no solution."""
    fn = lambda y, _: scale * torch.cosh(y - torch.tensor([1.0, 2.0], dtype=WIDE)).sum()
    y = minimise(fn, torch.zeros(2, dtype=WIDE), solver=solver).value
    torch.testing.assert_close(y, torch.tensor([1.0, 2.0], dtype=WIDE), rtol=0, atol=1e-6)


def test_a_start_at_the_solution_takes_few_steps():
    for solver in (LBFGS(), GradientDescent(), Scipy("BFGS")):
        solution = minimise(lambda y, _: (y - 2).square().sum(), torch.full((2,), 2.0), solver=solver)
        assert solution.stats.steps <= 1
        assert solution.value.tolist() == [2.0, 2.0]


def test_the_same_tensor_twice_is_two_unknowns():
    zero = torch.zeros(2)
    y = minimise(lambda y, _: (y[0] - 1).square().sum() + (y[1] - 2).square().sum(), (zero, zero)).value
    torch.testing.assert_close(y, (torch.ones(2), torch.full((2,), 2.0)))


def test_tied_parameters_are_one_unknown():
    """The weights of a module that was solved for are parameters again, unless a gradient flows through them."""
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
    model[1].weight = model[0].weight
    fn = lambda m, c: ((m[0].weight - 1) ** 2 + (m[1].weight - c) ** 2).sum()
    found = minimise(fn, model, 2.0).value
    assert found[0].weight is found[1].weight
    assert isinstance(found[0].weight, torch.nn.Parameter)
    assert found[0].weight.item() == pytest.approx(1.5)
    c = torch.tensor(2.0, requires_grad=True)
    assert torch.autograd.grad(minimise(fn, model, c).value[0].weight, c)[0].item() == pytest.approx(0.5)


def test_float32_stays():
    y = minimise(lambda y, _: (y - 2).square().sum(), torch.zeros(2)).value
    z = least_squares(lambda y, _: y - 2, torch.zeros(2)).value
    assert y.dtype == z.dtype == torch.float32
    torch.testing.assert_close(y, torch.full((2,), 2.0))


def test_no_minimum():
    with pytest.raises(SolveError, match="minimise: not solved"):
        minimise(lambda y, _: -(y**2).sum(), torch.ones(2), max_steps=50)
    assert minimise(lambda y, _: (y.abs() ** 0.5).sum(), torch.ones(2, dtype=WIDE), throw=False).status != Status.SOLVED
    assert minimise(lambda y, _: y.sum() / 0, torch.ones(2), throw=False).status == Status.NOT_FINITE


def test_a_kink_stalls():
    solution = minimise(lambda y, _: torch.maximum(0.3 - y, 2 * y - 0.6).sum(), torch.zeros(1, dtype=WIDE), throw=False)
    assert solution.status == Status.STALLED
    assert solution.value.item() == pytest.approx(0.3, abs=1e-6)


def test_the_result_is_checked():
    with pytest.raises(ValueError, match=r"returned 2 numbers; it is to return one number$"):
        minimise(lambda y, _: y, torch.zeros(2))
    with pytest.raises(ValueError, match="one number for each element"):
        minimise(lambda y, _: y, torch.zeros(2, 2), batched=True)
    with pytest.raises(TypeError, match="can't take Newton"):
        minimise(rosenbrock, torch.zeros(2), solver=Newton())


def test_valley_by_squares():
    solution = least_squares(valley, torch.tensor([[-1.2, 1.0], [3.0, -2.0]], dtype=WIDE), batched=True)
    torch.testing.assert_close(solution.value, torch.ones(2, 2, dtype=WIDE))


@pytest.mark.parametrize("shape", [(0,), (0, 2)])
def test_nothing_to_solve_for(shape):
    assert minimise(lambda y, _: y.sum(), torch.zeros(shape)).value.shape == shape
    assert least_squares(lambda y, _: y, torch.zeros(shape), batched=True).value.shape == shape
