"""Derivatives of solutions: differences, closed forms, unrolled steps, every transform, and canaries."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.gradcheck import GradcheckError

from torchflux_optlayers import (
    CG,
    GMRES,
    LBFGS,
    Anderson,
    Broyden,
    Dense,
    GaussNewton,
    GradientDescent,
    Implicit,
    LevenbergMarquardt,
    Newton,
    NormalCG,
    Scipy,
    SolveError,
    Unrolled,
    fixed_point,
    least_squares,
    minimise,
    per_sample,
    root,
)

WIDE = torch.float64
A = torch.tensor([[0.3, -0.5, 0.2], [0.1, 0.4, -0.3], [-0.2, 0.6, 0.1]], dtype=WIDE)
B = torch.tensor([0.5, -1.0, 0.8], dtype=WIDE)
ZERO = torch.zeros(3, dtype=WIDE)
EXACT = {"rtol": 1e-13, "atol": 1e-13}


def rest(y, args):
    a, b = args
    return y + torch.tanh(a @ y) - b


def hill(y, args):
    a, b = args
    return (y**2).sum() / 2 + torch.logsumexp(a @ y, 0) - b @ y + 0.1 * (y**4).sum()


def residuals(y, args):
    a, b = args
    return {"near": torch.exp(a @ y) - 1, "far": y - b + 0.1 * y**2, "y": y[:1]}


def by_root(solver=None, **options):
    return lambda a, b: root(rest, ZERO, (a, b), solver=solver or Newton(), **EXACT, **options).value


def by_fixed_point(solver, **options):
    fn = lambda y, args: y - rest(y, args)
    return lambda a, b: fixed_point(fn, ZERO, (a, b), solver=solver, **EXACT, **options).value


def by_minimise(solver, rtol=1e-10, **options):
    return lambda a, b: minimise(hill, ZERO, (a, b), solver=solver, rtol=rtol, **options).value


def by_least_squares(solver, rtol=1e-10, **options):
    return lambda a, b: least_squares(residuals, ZERO, (a, b), solver=solver, rtol=rtol, **options).value


LINEAR = [Implicit(linear_solver=solver) for solver in (GMRES(), NormalCG(), GMRES(restart=2, max_steps=100))]
CASES = {
    "newton": by_root(),
    "chord": by_root(Newton(chord=True)),
    "broyden": by_root(Broyden()),
    "hybr": by_root(Scipy("hybr")),
    "gmres": by_root(adjoint=LINEAR[0]),
    "normal cg": by_root(adjoint=LINEAR[1]),
    "restarted": by_root(adjoint=LINEAR[2]),
    "anderson": by_fixed_point(Anderson()),
    "lbfgs": by_minimise(LBFGS()),
    "descent": by_minimise(GradientDescent(), rtol=1e-8),
    "cg": by_minimise(LBFGS(), adjoint=Implicit(linear_solver=CG())),
    "bfgs": by_minimise(Scipy("BFGS"), rtol=1e-7),
    "simplex": by_minimise(Scipy("Nelder-Mead")),
    "marquardt": by_least_squares(LevenbergMarquardt()),
    "gauss": by_least_squares(GaussNewton()),
    "lsq lbfgs": by_least_squares(LBFGS(), rtol=1e-9),
    "trf": by_least_squares(Scipy("trf")),
}


@pytest.mark.parametrize("name", CASES)
def test_differences_confirm_the_gradient(name):
    """Central differences of step 1e-5, to 1e-6."""
    solve = CASES[name]
    weight = torch.tensor([1.0, -2.0, 0.5], dtype=WIDE)
    a, b = A.clone().requires_grad_(), B.clone().requires_grad_()
    ours = torch.autograd.grad(solve(a, b) @ weight, (a, b))
    exact = CASES[next((like for like, names in LIKE.items() if name in names), name)]
    loss = lambda a, b: float(exact(a, b) @ weight)
    for which, x in enumerate((A, B)):
        for place in list(torch.ones_like(x).nonzero())[::2]:
            step = torch.zeros_like(x)
            step[tuple(place)] = 1e-5
            ends = [loss(*((v + s * step) if i == which else v for i, v in enumerate((A, B)))) for s in (1, -1)]
            slope = (ends[0] - ends[1]) / 2e-5
            assert ours[which][tuple(place)].item() == pytest.approx(slope, rel=1e-6, abs=1e-6)


LIKE = {
    "newton": ("chord", "broyden", "hybr", "gmres", "normal cg", "restarted", "anderson"),
    "lbfgs": ("descent", "cg", "bfgs", "simplex"),
    "marquardt": ("gauss", "lsq lbfgs", "trf"),
}
"""Solutions that are the same: differences are of an exact one."""


@pytest.mark.parametrize("name", ["newton", "gmres", "lbfgs", "cg", "marquardt"])
def test_differences_confirm_second_derivatives(name):
    a, b = A.clone().requires_grad_(), B.clone().requires_grad_()
    assert gradcheck(CASES[name], (a, b), atol=1e-6)
    assert gradgradcheck(CASES[name], (a, b), atol=1e-5)


UNROLLED = {
    "newton": (by_root(adjoint=Unrolled()), "newton"),
    "broyden": (by_root(Broyden(), adjoint=Unrolled()), "newton"),
    "anderson": (by_fixed_point(Anderson(), adjoint=Unrolled()), "newton"),
    "lbfgs": (by_minimise(LBFGS(), rtol=1e-11, adjoint=Unrolled()), "lbfgs"),
    "descent": (by_minimise(GradientDescent(0.3, None), adjoint=Unrolled()), "lbfgs"),
    "marquardt": (by_least_squares(LevenbergMarquardt(), rtol=1e-13, adjoint=Unrolled()), "marquardt"),
    "gauss": (by_least_squares(GaussNewton(), rtol=1e-13, adjoint=Unrolled()), "marquardt"),
}


@pytest.mark.parametrize("name", UNROLLED)
def test_implicit_is_unrolled(name):
    found = []
    for solve in (UNROLLED[name][0], CASES[UNROLLED[name][1]]):
        a, b = A.clone().requires_grad_(), B.clone().requires_grad_()
        found.append(torch.autograd.grad(solve(a, b).square().sum(), (a, b)))
    for unrolled, implicit in zip(*found, strict=True):
        torch.testing.assert_close(unrolled, implicit, rtol=1e-5, atol=1e-6)


def test_a_wrong_adjoint_fails():
    """Canaries: the transposed Jacobian's place taken by the Jacobian, the sign turned, the Gauss-Newton matrix."""

    class Swapped(Dense):
        def correction(self, equations, z, failed, throw):
            right = torch.func.jacrev(lambda y: equations(y[None])[0])(z[0]).detach()
            return lambda r: (lambda x: x - x.detach())(torch.linalg.solve(right.mT, r[0])[None])

    class Turned(Dense):
        def correction(self, equations, z, failed, throw):
            right = super().correction(equations, z, failed, throw)
            return lambda r: -right(r)

    for wrong in (Swapped(), Turned()):
        a, b = A.clone().requires_grad_(), B.clone().requires_grad_()
        with pytest.raises(GradcheckError):
            gradcheck(by_root(adjoint=Implicit(linear_solver=wrong)), (a, b), atol=1e-6)


def test_one_order_is_wrong_for_two_and_says_so():
    c = torch.tensor(4.0, dtype=WIDE, requires_grad=True)
    for orders in (1, 2, 3):
        slope = root(lambda y, c: y**2 - c, 1.0, c, adjoint=Implicit(orders=orders)).value
        for order in range(1, orders + 1):
            (slope,) = torch.autograd.grad(slope, c, create_graph=True)
            due = {1: 1 / 4, 2: -1 / 32, 3: 3 / 256}[order]  # of the square root at 4
            assert slope.item() == pytest.approx(due, rel=1e-9)
        with pytest.raises(NotImplementedError, match=f"Implicit\\(orders={orders + 1}\\)"):
            torch.autograd.grad(slope, c)
    with pytest.raises(ValueError, match="orders=0"):
        Implicit(orders=0)


TRANSFORMED = {
    "root": (lambda b: root(rest, ZERO, (A, b), **EXACT).value),
    "closed over": (lambda b: root(lambda y, _: rest(y, (A, b)), ZERO, **EXACT).value),
    "gmres": (lambda b: root(rest, ZERO, (A, b), adjoint=LINEAR[0], **EXACT).value),
    "anderson": (lambda b: fixed_point(lambda y, b: y - rest(y, (A, b)), ZERO, b, solver=Anderson(), **EXACT).value),
    "unrolled": (lambda b: root(rest, ZERO, (A, b), adjoint=Unrolled(), **EXACT).value),
    "minimise": (lambda b: minimise(hill, ZERO, (A, b), rtol=1e-10).value),
    "marquardt": (lambda b: least_squares(residuals, ZERO, (A, b), rtol=1e-11).value),
    "scipy": (lambda b: minimise(hill, ZERO, (A, b), solver=Scipy("BFGS"), rtol=1e-7).value),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_every_transform_agrees(name):
    f = TRANSFORMED[name]
    loss = lambda b: f(b).square().sum()
    b = B.clone().requires_grad_()
    rows = torch.stack([torch.autograd.grad(y, b, retain_graph=True)[0] for y in f(b)])
    close = lambda x, due: torch.testing.assert_close(x, due, rtol=1e-6, atol=1e-7)
    close(torch.func.jacrev(f)(B) if name != "scipy" else rows, rows)
    close(torch.func.jacfwd(f)(B) if name != "scipy" else rows, rows)
    close(torch.func.jvp(f, (B,), (ZERO + 1,))[1], rows.sum(1))
    (slope,) = torch.autograd.grad(loss(b), b, create_graph=True)
    close(torch.func.grad(loss)(B), slope.detach())
    second = torch.stack([torch.autograd.grad(x, b, retain_graph=True)[0] for x in slope])
    close(torch.func.hessian(loss)(B), second)
    if name != "scipy":
        batch = torch.stack((B, 0.5 * B, B - 0.2))
        close(torch.func.vmap(f)(batch), torch.stack([f(x) for x in batch]).detach())
        close(torch.func.vmap(torch.func.grad(loss))(batch), torch.stack([torch.func.grad(loss)(x) for x in batch]))


def test_scipy_under_vmap_is_refused():
    with pytest.raises(NotImplementedError, match="pass a batch"):
        torch.func.vmap(TRANSFORMED["scipy"])(torch.stack((B, B)))


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile asks for that of what it is called with
@pytest.mark.parametrize("name", ["root", "closed over", "minimise"])
def test_compiled_code_calls_it(name):
    torch._dynamo.reset()
    compiled = torch.compile(lambda b: 2 * TRANSFORMED[name](3 * b), backend="eager")
    b = B.clone().requires_grad_()
    ours = torch.autograd.grad(compiled(b).sum(), b)[0]
    torch.testing.assert_close(ours, torch.autograd.grad(2 * TRANSFORMED[name](3 * b).sum(), b)[0])
    torch._dynamo.reset()


def test_nested_forward_mode_is_refused():
    with pytest.raises(NotImplementedError, match="take one in reverse"):
        torch.func.jacfwd(torch.func.jacfwd(TRANSFORMED["root"]))(B)


@pytest.mark.parametrize("solver", [Dense(), GMRES(), NormalCG()], ids=repr)
def test_what_fn_closes_over_has_gradients(solver):
    """A module's parameters, a tensor, and a tensor made of it."""
    torch.manual_seed(0)
    layer, scale = torch.nn.Linear(3, 3, dtype=WIDE), torch.tensor(0.3, dtype=WIDE, requires_grad=True)
    made = scale**2
    fn = lambda y, _: y + made * torch.tanh(layer(y)) - scale
    used = (layer.weight, layer.bias, scale)
    found = torch.autograd.grad(root(fn, ZERO, adjoint=Implicit(solver), **EXACT).value.square().sum(), used)
    made = scale**2
    unrolled = torch.autograd.grad(root(fn, ZERO, adjoint=Unrolled(), **EXACT).value.square().sum(), used)
    for ours, due in zip(found, unrolled, strict=True):
        torch.testing.assert_close(ours, due, rtol=1e-8, atol=1e-9)


def test_parameters_that_were_swapped_in_have_the_gradient():
    """The tape holds what was used, whatever the module holds later."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 3, dtype=WIDE)

    class Rest(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self):
            return root(lambda y, _: y + 0.3 * torch.tanh(self.layer(y)) - B, ZERO, **EXACT).value.square().sum()

    loss = lambda w, b: torch.func.functional_call(Rest(), {"layer.weight": w, "layer.bias": b})
    w, b = A.clone().requires_grad_(), B.clone().requires_grad_()
    assert gradcheck(loss, (w, b), atol=1e-6)
    for ours, due in zip(torch.func.grad(loss, (0, 1))(A, B), torch.autograd.grad(loss(w, b), (w, b)), strict=True):
        torch.testing.assert_close(ours, due)


def test_inside_of_a_checkpoint():
    b = B.clone().requires_grad_()
    y = torch.utils.checkpoint.checkpoint(TRANSFORMED["root"], b, use_reentrant=False)
    torch.testing.assert_close(
        torch.autograd.grad(y.sum(), b)[0], torch.autograd.grad(TRANSFORMED["root"](b).sum(), b)[0]
    )


def test_forward_mode_without_functions():
    with torch.autograd.forward_ad.dual_level():
        y = TRANSFORMED["root"](torch.autograd.forward_ad.make_dual(B, ZERO + 1))
        ours = torch.autograd.forward_ad.unpack_dual(y).tangent
    torch.testing.assert_close(ours, torch.func.jvp(TRANSFORMED["root"], (B,), (ZERO + 1,))[1])


def test_the_start_has_no_gradient_unless_unrolled():
    start = torch.ones(3, dtype=WIDE, requires_grad=True)
    assert not root(rest, start, (A, B)).value.requires_grad
    assert root(rest, start, (A, B), adjoint=Unrolled()).value.requires_grad


def test_without_a_gradient_there_is_no_tape():
    c = torch.ones(3, dtype=WIDE, requires_grad=True)
    with torch.no_grad():
        assert not root(rest, ZERO, (A, c)).value.requires_grad
    assert not root(rest, ZERO, (A, B)).value.requires_grad


# Batches.


@pytest.mark.parametrize("solver", [Dense(), GMRES(), NormalCG()], ids=repr)
@pytest.mark.parametrize("mark", [lambda x: x, per_sample], ids=["all", "marked"])
def test_a_batch_has_the_gradients_of_its_elements(solver, mark):
    shared, c = A.clone().requires_grad_(), torch.stack((B, 2 * B, -B)).requires_grad_()
    fn = lambda y, args: y + torch.tanh(y @ args[0].mT) - args[1]
    start = torch.zeros(3, 3, dtype=WIDE)
    together = root(fn, start, (shared, mark(c)), batched=True, adjoint=Implicit(solver), **EXACT).value
    alone = torch.stack([root(rest, ZERO, (shared, x), **EXACT).value for x in c])
    for ours, due in zip(*(torch.autograd.grad(y.square().sum(), (shared, c)) for y in (together, alone)), strict=True):
        torch.testing.assert_close(ours, due, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("solver", [Dense(), GMRES()], ids=repr)
def test_a_failure_has_the_gradient_nan_and_leaves_shared_parameters_alone(solver):
    weight, c = torch.tensor(2.0, dtype=WIDE, requires_grad=True), torch.tensor([4.0, -4.0, 9.0], dtype=WIDE)
    fn = lambda y, c: weight * y**2 - c
    options = {"batched": True, "throw": False, "adjoint": Implicit(solver), "max_steps": 30}
    y = root(fn, torch.ones(3, dtype=WIDE), c, **options).value
    assert y.isfinite().all()
    (good,) = torch.autograd.grad(y[[0, 2]].sum(), weight, retain_graph=True)
    assert good.item() == pytest.approx(-0.5 * sum((x / 2**3) ** 0.5 for x in (4.0, 9.0)), rel=1e-9)
    assert torch.autograd.grad(y.sum(), weight)[0].isnan()


def test_lanes_that_fail_under_vmap():
    c = torch.tensor([4.0, -1.0, 9.0], dtype=WIDE)
    one = torch.ones((), dtype=WIDE)
    f = lambda c, throw: root(lambda y, c: y**2 - c, one, c, throw=throw, max_steps=30).value
    torch.testing.assert_close(torch.func.vmap(lambda c: f(c, False))(c)[[0, 2]], torch.tensor([2.0, 3.0], dtype=WIDE))
    slopes = torch.func.vmap(torch.func.grad(lambda c: f(c, False)))(c)
    torch.testing.assert_close(slopes, torch.tensor([1 / 4, torch.nan, 1 / 6], dtype=WIDE), equal_nan=True)
    for transform in (lambda f: f, torch.func.grad):
        with pytest.raises(SolveError, match=r"SINGULAR .*start elsewhere.*elements have no names"):
            torch.func.vmap(transform(lambda c: f(c, True)))(c)


def test_transforms_and_the_tape_together():
    """w y² = c: the derivative of y by c, by a transform, by w, by the tape; one more would be a third."""
    w, c = torch.tensor(2.0, dtype=WIDE, requires_grad=True), torch.tensor(8.0, dtype=WIDE)
    f = lambda c: root(lambda y, _: w * y**2 - c, torch.ones((), dtype=WIDE)).value
    once, twice = torch.func.grad(f)(c), torch.func.grad(torch.func.grad(f))(c)
    assert torch.autograd.grad(once, w)[0].item() == pytest.approx(-(8**-0.5) * 2**-1.5 / 4)
    with pytest.raises(NotImplementedError, match="orders=3"):
        torch.autograd.grad(twice, w)


def test_elements_that_depend_on_each_other_are_refused():
    c = torch.ones(4, dtype=WIDE, requires_grad=True)
    with pytest.raises(ValueError, match="depend on others"):
        root(lambda y, c: y - c + 0.1 * y.mean(), torch.zeros(4, dtype=WIDE), c, batched=True)


# What has no derivative is refused.


def test_a_double_root_is_refused():
    c = torch.tensor([1.0, 0.0, 4.0], dtype=WIDE, requires_grad=True)
    start = torch.tensor([0.5, 0.0, 0.5], dtype=WIDE)
    fn = lambda y, c: torch.stack((y[..., 0] ** 2 - c, y[..., 1] - y[..., 0]), -1)
    start = torch.stack((start, start), -1)
    options = {"batched": True, "solver": Anderson(mixing=0.3), "max_steps": 500}
    with pytest.raises(ValueError, match=r"no inverse at 1: .*isn't isolated"):
        root(fn, start, c, **options)
    y = root(fn, start, c, throw=False, **options).value
    (slope,) = torch.autograd.grad(y[[0, 2], 0].sum(), c, retain_graph=True)
    torch.testing.assert_close(slope[[0, 2]], torch.tensor([0.5, 0.25], dtype=WIDE))
    assert torch.autograd.grad(y.sum(), c)[0][1].isnan()


def test_a_valley_of_minima_is_refused():
    c = torch.tensor(1.0, dtype=WIDE, requires_grad=True)
    with pytest.raises(ValueError, match="isn't isolated"):
        minimise(lambda y, c: (y.sum() - c) ** 2, ZERO, c)


@pytest.mark.parametrize(
    ("solver", "words"),
    [(CG(), "CG.*residual"), (CG(max_steps=1), "max_steps"), (GMRES(max_steps=1, restart=1), "GMRES")],
)
def test_what_does_not_converge_says_so(solver, words):
    b = B.clone().requires_grad_()
    lopsided = torch.tensor([[0.0, 3.0, 0.0], [-3.0, 0.0, 1.0], [0.0, -1.0, 0.0]], dtype=WIDE)
    y = root(lambda y, b: lopsided @ y + 0.1 * y**3 - b, ZERO + 1, b, adjoint=Implicit(solver)).value
    with pytest.raises(RuntimeError, match=words):
        y.sum().backward()


def test_cg_refuses_a_batch_by_element():
    matrices = torch.stack((torch.eye(2, dtype=WIDE), torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=WIDE)))
    c = torch.ones(2, 2, dtype=WIDE, requires_grad=True)
    fn = lambda y, c: (matrices @ y[..., None])[..., 0] - c
    y = root(fn, torch.zeros(2, 2, dtype=WIDE), c, batched=True, adjoint=Implicit(CG())).value
    with pytest.raises(RuntimeError, match="elements 1: "):
        (y * torch.tensor([1.0, 2.0], dtype=WIDE)).sum().backward()
