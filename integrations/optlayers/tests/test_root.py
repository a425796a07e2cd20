"""Roots and fixed points: closed forms, trees, batches, and what is refused."""

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.optimize
import torch

import torchflux
from torchflux_optlayers import (
    LBFGS,
    Anderson,
    Backtracking,
    Broyden,
    Newton,
    Scipy,
    SolveError,
    Status,
    Unrolled,
    fixed_point,
    per_sample,
    root,
)

WIDE = torch.float64
ROOTS = [Newton(), Newton(chord=True), Newton(line_search=Backtracking()), Broyden(), Scipy("hybr"), Scipy("lm")]
FIXED = [*ROOTS, Anderson(), Anderson(memory=2, mixing=0.7), Anderson(memory=0)]


@pytest.mark.parametrize("solver", ROOTS, ids=repr)
def test_a_system_with_a_closed_form(solver):
    """The circle and the line meet at (3/5, 4/5)."""
    fn = lambda y, c: torch.stack((y[0] ** 2 + y[1] ** 2 - c, 4 * y[0] - 3 * y[1]))
    solution = root(fn, torch.tensor([1.0, 1.0], dtype=WIDE), 1.0, solver=solver)
    torch.testing.assert_close(solution.value, torch.tensor([0.6, 0.8], dtype=WIDE), rtol=0, atol=1e-8)
    assert solution.status == Status.SOLVED
    assert solution.solved
    assert solution.stats.steps > 1


@pytest.mark.parametrize("solver", FIXED, ids=repr)
def test_the_fixed_point_of_the_cosine(solver):
    """The Dottie number, OEIS A003957."""
    y = fixed_point(lambda y, _: torch.cos(y), 1.0, solver=solver).value
    assert abs(y.item() - 0.7390851332151607) < 1e-8


def test_newton_is_scipys_root():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(6, 6, generator=generator, dtype=WIDE) / 3
    fn = lambda y, a: y + torch.tanh(a @ y) - 1
    ours = root(fn, torch.zeros(6, dtype=WIDE), a).value
    theirs = scipy.optimize.root(lambda y: y + np.tanh(a.numpy() @ y) - 1, np.zeros(6), tol=1e-13)
    np.testing.assert_allclose(ours.numpy(), theirs.x, atol=1e-11)


@dataclass
class Point:
    x: torch.Tensor
    y: float
    name: str = "a point"


@pytest.mark.parametrize(
    ("y0", "read"),
    [
        (1.0, lambda y: [y]),
        (torch.ones((), dtype=WIDE), lambda y: [y]),
        ((1.0, [torch.ones(1, dtype=WIDE)]), lambda y: [y[0], y[1][0]]),
        ({"b": 1.0, "a": torch.ones(2, 1, dtype=WIDE)}, lambda y: [y["b"], y["a"]]),
        (Point(torch.ones(3, dtype=WIDE), 1.0), lambda y: [y.x, y.y]),
    ],
    ids=["float", "tensor", "tuple", "dict", "dataclass"],
)
def test_any_tree(y0, read):
    fn = lambda y, c: [x**2 - c["square"] for x in read(y)]
    for solver in (Newton(), Broyden()):
        y = root(fn, y0, {"square": 4.0}, solver=solver).value
        assert type(y) is type(y0) or isinstance(y0, float)
        for x, start in zip(read(y), read(y0), strict=True):
            assert x.shape == getattr(start, "shape", ())
            torch.testing.assert_close(x, torch.full_like(x, 2.0))
    assert not isinstance(y, Point) or y.name == "a point"


def test_a_module_is_solved_for():
    """The layer that maps the unit vectors to given points; the one that was handed in stays as it is."""
    start = torch.nn.Linear(2, 2, dtype=WIDE)
    before = [p.detach().clone() for p in start.parameters()]
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=WIDE)
    due = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=WIDE)
    layer = root(lambda layer, due: layer(x) - due, start, due).value
    assert isinstance(layer, torch.nn.Linear)
    torch.testing.assert_close(layer(x), due)
    assert all(torch.equal(p, q) for p, q in zip(start.parameters(), before, strict=True))


def test_floats_are_tensors_of_float64():
    y = root(lambda y, c: y**3 - c, 1.0, torch.tensor(8.0, dtype=WIDE)).value
    assert y.dtype == WIDE
    assert y.item() == pytest.approx(2.0, abs=1e-12)


@pytest.mark.parametrize("solver", [*FIXED[:4], *FIXED[6:]], ids=repr)
def test_float32_stays(solver):
    c = torch.tensor([0.3, 0.6], requires_grad=True)
    y = fixed_point(lambda y, c: torch.cos(c * y), torch.ones(2), c, solver=solver).value
    assert y.dtype == torch.float32
    assert torch.autograd.grad(y.sum(), c)[0].dtype == torch.float32
    torch.testing.assert_close(torch.cos(c * y), y, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("solver", [Newton(), Broyden(), Anderson()], ids=repr)
def test_the_unit_of_the_function_does_not_matter(solver, scale):
    y = root(lambda y, _: scale * (y - torch.cos(y)), 1.0, solver=solver, max_steps=500).value
    assert y.item() == pytest.approx(0.7390851332151607, abs=1e-8)


def test_a_tolerance_of_zero_for_a_root_at_zero():
    assert root(lambda y, _: y, 1.0, atol=0.0).value.item() == 0.0


def test_a_mixture_of_dtypes_keeps_each():
    y0 = {"single": torch.ones(2), "double": torch.ones(1, dtype=WIDE)}
    y = root(lambda y, _: {"single": y["single"] - 3, "double": y["double"] ** 2 - 2}, y0).value
    assert (y["single"].dtype, y["double"].dtype) == (torch.float32, WIDE)
    assert y["double"].item() == pytest.approx(2**0.5, abs=1e-12)


# Batches.


@pytest.mark.parametrize("solver", [ROOTS[0], *ROOTS[2:5]], ids=repr)
def test_a_batch_is_its_elements(solver):
    c = torch.tensor([[3.0, 2.0], [5.0, 0.3], [40.0, 9.0]], dtype=WIDE)
    fn = lambda y, c: torch.stack((y[..., 0] ** 2 + y[..., 1] - c[..., 0], y[..., 1] ** 3 - c[..., 1]), -1)
    together = root(fn, torch.ones(3, 2, dtype=WIDE), c, batched=True, solver=solver)
    for i in range(3):
        alone = root(fn, torch.ones(2, dtype=WIDE), c[i], solver=solver)
        torch.testing.assert_close(together.value[i], alone.value, rtol=1e-12, atol=1e-12)
        assert together.stats.steps[i] == alone.stats.steps
    assert together.solved.all()


@pytest.mark.parametrize("mark", [lambda x: x, per_sample], ids=["all", "marked"])
@pytest.mark.parametrize("solver", [Newton(), Broyden(), Anderson(), LBFGS()], ids=repr)
def test_one_that_fails_spoils_nobody_else(solver, mark):
    """NaN, no root, and far away: the others' values and gradients are those that they have without them."""
    minimum = isinstance(solver, LBFGS)
    fn = lambda y, c: (y - c).square() + 0.1 * y**4 if minimum else y + 0.5 * torch.sin(y) - c
    solve = root
    if minimum:
        from torchflux_optlayers import minimise as solve
    c = torch.tensor([1.0, torch.nan, 3.0, torch.inf, 0.5], dtype=WIDE, requires_grad=True)
    good = c.detach()[[0, 2, 4]].requires_grad_()
    most = {"solver": solver, "batched": True, "throw": False, "max_steps": 50}
    mixed = solve(fn, torch.zeros(5, dtype=WIDE), mark(c), **most)
    alone = solve(fn, torch.zeros(3, dtype=WIDE), mark(good), **most)
    assert mixed.status.tolist() == [0, Status.NOT_FINITE, 0, Status.NOT_FINITE, 0]
    assert torch.equal(mixed.value[[0, 2, 4]], alone.value)
    ours = torch.autograd.grad(mixed.value[[0, 2, 4]].sum(), c)[0][[0, 2, 4]]
    assert torch.equal(ours, torch.autograd.grad(alone.value.sum(), good)[0])
    assert "2 of 5 elements not solved: NOT_FINITE at 1, 3" in mixed.message


def test_what_has_converged_is_left_out_of_the_work():
    sizes = []

    def fn(y, c):
        sizes.append(len(y))
        return y**3 - c

    c = torch.tensor([1.0, 1.001, 1.002, 1e9], dtype=WIDE)
    marked = root(fn, torch.ones(4, dtype=WIDE), per_sample(c), batched=True)
    assert sizes[0] == 4
    assert sizes[-2] == 1  # the last is that of the gradient
    assert torch.equal(marked.value, root(fn, torch.ones(4, dtype=WIDE), c, batched=True).value)
    assert marked.stats.steps[3] > marked.stats.steps[0]


def test_frozen_elements_take_no_more_steps():
    c = torch.tensor([1.0, 1e6], dtype=WIDE)
    steps = root(lambda y, c: y**2 - c, torch.ones(2, dtype=WIDE), c, batched=True).stats.steps
    assert steps.tolist() == [1, root(lambda y, c: y**2 - c, 1.0, c[1]).stats.steps]


# What is refused, and how.


def test_no_root_is_said_and_the_best_is_kept():
    with pytest.raises(SolveError, match=r"SINGULAR.*start elsewhere") as caught:
        root(lambda y, _: y**2 + 1, 1.0)
    assert caught.value.solution.status == Status.SINGULAR
    solution = root(lambda y, _: y**2 + 1, 1.3, throw=False, max_steps=7)
    assert solution.status == Status.MAX_ITERATIONS
    assert solution.stats.steps == 7
    assert "raise max_steps" in solution.message


@pytest.mark.parametrize("solver", FIXED[:4] + FIXED[6:], ids=repr)
def test_nan_at_the_start(solver):
    solution = fixed_point(lambda y, _: torch.cos(y), torch.full((2,), torch.nan), solver=solver, throw=False)
    assert solution.status == Status.NOT_FINITE
    assert solution.stats.steps == 1


@pytest.mark.parametrize("solver", [Newton(), Newton(chord=True), Broyden()], ids=repr)
@pytest.mark.parametrize("n", [1, 2])
def test_an_infinite_slope_is_no_root(solver, n):
    """A step of 0, as the quotient with an infinite slope is, doesn't end it."""
    solution = root(lambda y, _: y.sqrt() - 1, torch.zeros(n, dtype=WIDE), solver=solver, throw=False)
    assert solution.status == Status.SINGULAR


def test_a_line_search_stays_where_the_function_is_defined():
    fn = lambda y, _: y.log() + y - 1
    assert root(fn, 8.0, throw=False).status == Status.NOT_FINITE
    assert root(fn, 8.0, solver=Newton(line_search=Backtracking())).value.item() == pytest.approx(1.0, abs=1e-9)


def test_a_line_search_that_finds_nothing_stalls():
    solution = root(lambda y, _: y**2 + 1, 1.3, solver=Newton(line_search=Backtracking()), throw=False)
    assert solution.status in (Status.STALLED, Status.SINGULAR)


def test_elements_are_named():
    c = torch.tensor([4.0, -4.0, 9.0, -9.0])
    with pytest.raises(SolveError, match=r"2 of 4 elements not solved: .* at 1, 3 after"):
        root(lambda y, c: y**2 - c, torch.ones(4), c, batched=True, max_steps=20)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_nothing_to_solve_for(shape):
    c = torch.ones(shape, requires_grad=True)
    for batched in (False, True):
        solution = root(lambda y, c: y - c, torch.zeros(shape), c, batched=batched)
        assert solution.value.shape == shape
        assert solution.stats.steps.shape == shape[:1] if batched else solution.solved


def test_size_one():
    c = torch.full((1, 1), 4.0, requires_grad=True)
    y = root(lambda y, c: y**2 - c, torch.ones(1, 1), c, batched=True).value
    assert torch.autograd.grad(y.sum(), c)[0].tolist() == [[0.25]]


REFUSED = [
    (TypeError, "no floating-point number", lambda: root(lambda y, _: y, 1)),
    (TypeError, "complex", lambda: root(lambda y, _: y, torch.ones(1, dtype=torch.complex64))),
    (TypeError, "convert it to float32", lambda: root(lambda y, _: y, torch.ones(2, dtype=torch.float16))),
    (TypeError, "torch.float64, and y0 is torch.float32", lambda: root(lambda y, _: y.double(), torch.ones(2))),
    (TypeError, "no tensor", lambda: root(lambda y, _: 1.0, torch.ones(2))),
    (TypeError, "can't take LBFGS", lambda: root(lambda y, _: y, torch.ones(2), solver=LBFGS())),
    (TypeError, "no tape", lambda: root(lambda y, _: y, torch.ones(2), solver=Scipy("hybr"), adjoint=Unrolled())),
    (ValueError, "1 numbers for 2 unknowns", lambda: root(lambda y, _: y[:1], torch.ones(2))),
    (ValueError, "batch in front", lambda: root(lambda y, _: y.sum(), torch.ones(2), batched=True)),
    (ValueError, "leading axis", lambda: root(lambda y, _: y, (torch.ones(2), torch.ones(3)), batched=True)),
    (ValueError, "in place", lambda: root(lambda y, _: y.mul_(2), torch.ones(2), solver=Anderson())),
    (ValueError, "laid out like y0", lambda: fixed_point(lambda y, _: y[0], (1.0, 2.0))),
    (TypeError, "y0 is torch.float32", lambda: fixed_point(lambda y, _: y.double(), torch.ones(2))),
    (ValueError, "batched=True", lambda: root(lambda y, c: y - c, torch.ones(2), per_sample(torch.ones(2)))),
    (ValueError, "max_steps=0", lambda: root(lambda y, _: y, 1.0, max_steps=0)),
    (ValueError, "rtol=-1", lambda: root(lambda y, _: y, 1.0, rtol=-1)),
    (ValueError, "memory", lambda: Anderson(memory=-1)),
]


@pytest.mark.parametrize(("kind", "words", "call"), REFUSED, ids=[words for _, words, _ in REFUSED])
def test_misuse_is_explained(kind, words, call):
    with pytest.raises(kind, match=words):
        call()


def test_inference_mode_is_refused():
    with torch.inference_mode(), pytest.raises(RuntimeError, match="no_grad"):
        root(lambda y, _: y - 1, 0.0)
    with torch.no_grad():
        assert root(lambda y, _: y - 1, 0.0).value.item() == 1.0


def test_a_network_at_rest():
    """A deep equilibrium model: the state doesn't change under the layer any more."""
    torch.manual_seed(0)
    layer = torchflux.Chain(torchflux.Dense(6, 4, torch.tanh))
    x = torch.randn(5, 2)
    fn = lambda z, x: layer(torch.cat((0.5 * z, x), 1))
    solution = fixed_point(fn, torch.zeros(5, 4), x, batched=True, solver=Anderson())
    torch.testing.assert_close(fn(solution.value, x), solution.value, rtol=0, atol=1e-5)
    solution.value.sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
