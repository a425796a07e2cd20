"""Gradients: finite differences over every kind of tree, nesting, PyTorch's transforms, and what is refused."""

import math
import threading
from collections import namedtuple
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from torchflux import (
    BatchNorm,
    Chain,
    Dense,
    PathDict,
    adjoint,
    back,
    diaghessian,
    freeze,
    gradient,
    hessian,
    jacobian,
    pullback,
    trainables,
    treelike,
    withgradient,
)

FLOATS = [torch.bfloat16, torch.float32, torch.float64]
Pair = namedtuple("Pair", "left right")


@dataclass(frozen=True)
class Spring:
    stiffness: float
    rest: Any
    name: str = "spring"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def close(given, expected, tolerance=1e-12):
    torch.testing.assert_close(given, expected, rtol=tolerance, atol=tolerance)


def random(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype)


def differences(f, v, h=1e-5):
    """Central differences of a function of a vector: one row for each number of the vector."""
    steps = h * torch.eye(len(v), dtype=v.dtype)
    pairs = [(f(v + e), f(v - e)) for e in steps]
    return torch.stack([torch.as_tensor(up - down, dtype=torch.float64) / (2 * h) for up, down in pairs]).detach()


def as_vector(parts):
    return torch.cat([torch.as_tensor(x, dtype=torch.float64).reshape(-1) for x in parts])


def parameter_differences(f, parameters):
    """Central differences of a scalar in some parameters, one after the other."""
    parameters = list(parameters)
    start = nn.utils.parameters_to_vector(parameters).detach()

    @torch.no_grad()
    def moved(v):
        nn.utils.vector_to_parameters(v, parameters)
        return f()

    try:
        return differences(moved, start)
    finally:
        nn.utils.vector_to_parameters(start, parameters)


def mlp():
    return Chain(Dense(3, 4, torch.tanh), Dense(4, 2)).double()


def loss(model, x=None):
    x = torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3) if x is None else x
    return (model(x) ** 2).mean()


# Trees. Each case makes the argument of a vector of six numbers, and picks the gradient's pieces in their order.

TREES = {
    "tensor": (lambda v: v, lambda x: (x.sin() * x).sum(), lambda g: [g]),
    "matrix": (lambda v: v.view(2, 3), lambda x: (x @ x.T).exp().sum(), lambda g: [g]),
    "floats": (
        lambda v: [x.item() for x in v],
        lambda xs: xs[0] * xs[1] ** 2 + xs[2] ** 3 * xs[3] + xs[4] / xs[5],
        lambda g: g,
    ),
    "nested": (
        lambda v: ({"a": [v[:2], (v[2].item(),)], "b": v[3:5]}, v[5].item()),
        lambda t: (t[0]["a"][0] * t[0]["a"][1][0]).sum() * t[1] + t[0]["b"].prod(),
        lambda g: [g[0]["a"][0], g[0]["a"][1][0], g[0]["b"], g[1]],
    ),
    "namedtuple": (
        lambda v: Pair(v[:3], v[3:]),
        lambda p: (p.left**2 * p.right.cos()).sum(),
        lambda g: [g.left, g.right],
    ),
    "dataclass": (
        lambda v: Spring(v[0].item(), v[1:]),
        lambda s: s.stiffness * ((s.rest - 1) ** 4).sum(),
        lambda g: [g.stiffness, g.rest],
    ),
}
VECTOR = torch.tensor([0.3, -1.2, 0.7, 1.9, -0.4, 0.8], dtype=torch.float64)


@pytest.mark.parametrize("case", TREES)
def test_gradient_equals_finite_differences_on_any_tree(case):
    make, f, pieces = TREES[case]
    (grads,) = gradient(f, make(VECTOR))
    close(as_vector(pieces(grads)), differences(lambda v: f(make(v)), VECTOR), 1e-8)


def test_a_wrong_gradient_is_seen_by_the_finite_differences():
    wrong = adjoint(lambda x: (x.sin(), lambda ȳ: ȳ * x.sin()))
    (grads,) = gradient(lambda x: wrong(x).sum(), VECTOR)
    with pytest.raises(AssertionError):
        close(grads, differences(lambda v: v.sin().sum(), VECTOR), 1e-8)


@pytest.mark.parametrize("case", TREES)
def test_gradient_is_laid_out_like_the_argument(case):
    tree = TREES[case][0](VECTOR)
    (grads,) = gradient(TREES[case][1], tree)

    def same(x, g):
        assert type(x) is type(g)
        if isinstance(x, torch.Tensor):
            assert x.shape == g.shape
        elif isinstance(x, dict):
            assert x.keys() == g.keys()
            [same(x[key], g[key]) for key in x]
        elif isinstance(x, tuple | list):
            [same(a, b) for a, b in zip(x, g, strict=True)]

    same(tree, grads)


def test_several_arguments_get_one_gradient_each():
    a, b, c = random(3), 2.0, {"w": random(3)}
    da, db, dc = gradient(lambda a, b, c: (a * b * c["w"]).sum(), a, b, c)
    close(da, b * c["w"])
    assert db == pytest.approx((a @ c["w"]).item())
    close(dc["w"], b * a)


def test_none_stands_where_nothing_flows():
    def f(x, unused, n, name, index, nothing, flag):
        return (x * n).sum()

    args = (torch.ones(2), torch.ones(2), 3, "name", torch.tensor([1, 2]), None, True)
    assert gradient(f, *args)[1:] == (None,) * 6
    assert gradient(lambda t: t["x"] * 2, {"x": 1.0, "unused": 1.0, "n": 3, "s": "s"})[0] == {
        "x": 2.0,
        "unused": None,
        "n": None,
        "s": None,
    }


def test_a_result_that_depends_on_nothing_has_no_gradients():
    assert gradient(lambda x, y: torch.tensor(1.0), 2.0, torch.ones(3)) == (None, None)


def test_no_arguments_and_empty_trees_are_fine():
    assert gradient(lambda: torch.tensor(1.0)) == ()
    assert gradient(lambda x, t: x * 2, 1.0, ()) == (2.0, ())
    assert gradient(lambda x: x.sum(), torch.zeros(0))[0].shape == (0,)


def test_the_same_tensor_given_twice_gets_separate_gradients():
    x = random(3)
    left, right = gradient(lambda a, b: (a**2 * b).sum(), x, x)
    close(left, 2 * x**2)
    close(right, x**2)
    (pair,) = gradient(lambda t: (t[0] * 3 + t[1]).sum(), [x, x])
    close(pair, [torch.full_like(x, 3), torch.ones_like(x)])


def test_the_argument_is_unchanged():
    x = random(3)
    gradient(lambda x: (x**2).sum(), x)
    assert not x.requires_grad
    assert x.grad is None


def test_arguments_that_require_a_gradient_keep_their_grad_empty():
    x = random(3).requires_grad_()
    close(gradient(lambda x: (x**2).sum(), x)[0].detach(), 2 * x.detach())
    assert x.grad is None


# Floats and dtypes.


def test_a_float_gives_a_float():
    value, (slope, (other,)) = withgradient(lambda x, t: x * t[0] ** 2, 2.0, (3.0,))
    assert (value, slope, other) == (18.0, 9.0, 12.0)
    assert {type(x) for x in (value, slope, other)} == {float}


def test_floats_are_differentiated_in_double_precision():
    assert gradient(torch.exp, 1.0)[0] == pytest.approx(math.e, rel=1e-15)


@pytest.mark.parametrize("dtype", FLOATS)
def test_dtype_is_kept(dtype):
    x, w = random(3, dtype=dtype), {"w": random(3, dtype=dtype)}
    value, (dx, dw, ds) = withgradient(lambda x, w, s: (x * w["w"] * s).sum(), x, w, 2.0)
    assert {t.dtype for t in (value, dx, dw["w"])} == {dtype}
    assert type(ds) is float
    (grads,) = gradient(lambda m: loss(m, x.expand(2, 3)), mlp().to(dtype))
    assert {g.dtype for g in grads.values()} == {dtype}


def test_complex_gradients_follow_pytorch():
    """∂f/∂x + i ∂f/∂y, twice the derivative by z̄: the direction of descent is minus it."""

    def f(z, w):
        return (z * z * w + z.conj() * z).sum().real

    z, w = random(3, dtype=torch.complex128), random(3, dtype=torch.complex128)
    parts = torch.view_as_real(z).reshape(-1)
    slopes = differences(lambda v: f(torch.view_as_complex(v.view(3, 2)), w), parts)
    close(gradient(f, z, w)[0], torch.view_as_complex(slopes.view(3, 2)), 1e-8)


def test_a_complex_number_gives_a_complex_number():
    assert gradient(lambda z: (z * z.conj()).real, 1 + 2j) == (2 + 4j,)


# Values and auxiliary results.


def test_withgradient_gives_the_value_and_the_auxiliary_results():
    x = random(3)
    (value, double, note), (slope,) = withgradient(lambda x: ((x**2).sum(), {"double": 2 * x}, "note"), x)
    close([value, double["double"], slope], [(x**2).sum(), 2 * x, 2 * x])
    assert note == "note"
    assert not any(x.requires_grad for x in (value, double["double"], slope))


def test_gradient_ignores_auxiliary_results():
    close(gradient(lambda x: ((x**2).sum(), 3 * x), VECTOR)[0], 2 * VECTOR)


# Modules.


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 2), nn.LayerNorm(2)
        self.register_buffer("offset", torch.ones(2))

    def forward(self, x):
        return self.norm(self.linear(x) + self.offset).sin()


@treelike
class Branches:
    branches: tuple
    scale: Any

    def __call__(self, x):
        return sum(branch(x) for branch in self.branches) * self.scale


def tied():
    model = Chain(Dense(3, 3, torch.tanh), Dense(3, 3))
    model[1].weight = model[0].weight
    return model


MODELS = {
    "module": Plain,
    "chain": mlp,
    "treelike": lambda: Branches((Dense(3, 2), Dense(3, 2, torch.sigmoid)), torch.rand(2)),
    "tied": tied,
    "closure in a chain": lambda: Chain(
        Dense(3, 2), partial(torch.mul, torch.ones(2)), closure(nn.Parameter(random(2)))
    ),
}


def closure(w):
    return lambda x: x * w


@pytest.mark.parametrize("case", MODELS)
def test_gradient_of_a_module_equals_finite_differences(case):
    model = MODELS[case]().double()
    (grads,) = gradient(loss, model)
    assert list(grads) == [path for path, _ in model.named_parameters()]
    close(as_vector(grads.values()), parameter_differences(lambda: loss(model), model.parameters()), 1e-7)


def test_gradient_of_a_closure_over_parameters():
    w, b = nn.Parameter(random(2, 3)), nn.Parameter(random(2))
    (grads,) = gradient(loss, lambda x: (x @ w.T + b).tanh())
    slopes = parameter_differences(lambda: loss(lambda x: (x @ w.T + b).tanh()), [w, b])
    close(as_vector([grads["w"], grads["b"]]), slopes, 1e-7)


def test_gradient_of_a_tree_of_modules_and_tensors():
    model = {"encoder": mlp(), "scale": random(2)}
    (grads,) = gradient(lambda m: (m["encoder"](torch.ones(1, 3).double()) * m["scale"]).sum(), model)
    close(grads["scale"], model["encoder"](torch.ones(1, 3).double())[0].detach())
    assert isinstance(grads["encoder"], PathDict)
    close(grads["encoder"]["1.bias"], model["scale"])


def test_a_module_gradient_reads_like_the_model():
    (grads,) = gradient(loss, mlp())
    assert grads[0].weight is grads["0.weight"]
    assert list(grads[1]) == ["weight", "bias"]


def test_frozen_parameters_and_buffers_have_no_gradient():
    model = mlp()
    freeze(model[0])
    (grads,) = gradient(loss, model)
    assert list(grads) == ["1.weight", "1.bias"]
    assert "offset" not in gradient(lambda m: loss(m, torch.ones(2, 3)), Plain())[0]


def test_a_parameter_that_is_not_used_has_none():
    model = mlp()
    (grads,) = gradient(lambda m: m[0](torch.ones(1, 3).double()).sum(), model)
    assert grads["1.weight"] is None
    assert grads["0.weight"] is not None


def test_a_module_given_twice_gets_its_whole_gradient_in_both_places():
    model = mlp()
    (whole,) = gradient(lambda m: 2 * loss(m), model)
    first, second = gradient(lambda a, b: loss(a) + loss(b), model, model)
    close(first, whole)
    close(second, whole)


def test_the_gradient_of_a_model_leaves_no_trace():
    model = mlp()
    before = [x.clone() for x in trainables(model)]
    value, (grads,) = withgradient(loss, model)
    assert not value.requires_grad
    assert not any(g.requires_grad for g in grads.values())
    for x, old in zip(trainables(model), before, strict=True):
        assert x.grad is None
        assert x.requires_grad
        assert torch.equal(x, old)


# Higher derivatives.


def slope(f):
    return lambda x: gradient(f, x)[0]


def test_third_derivatives_by_nesting():
    third = slope(slope(slope(lambda x: x**4)))
    assert third(2.0) == 48.0
    assert type(third(2.0)) is float
    close(third(torch.tensor(2.0)), torch.tensor(48.0))


def test_an_inner_gradient_sees_the_outer_variable_as_a_constant():
    """The test of Siskind & Pearlmutter (2008) for perturbation confusion: d/dx x · d/dy (x + y) = 1."""
    assert gradient(lambda x: x * gradient(lambda y: x + y, 1.0)[0], 1.0) == (1.0,)
    assert gradient(lambda x: gradient(lambda y: x**2 * y**3, 2.0)[0], 3.0) == (2 * 3.0 * 3 * 2.0**2,)


def test_hessian_vector_products_by_nesting():
    f, v = lambda x: (x**3).sum() * x.sum(), random(6)
    (product,) = gradient(lambda x: (gradient(f, x)[0] * v).sum(), VECTOR)
    close(product, differences(lambda x: gradient(f, x)[0], VECTOR) @ v, 1e-7)


def test_gradient_of_a_module_inside_a_gradient_of_the_module():
    model = mlp()
    (grads,) = gradient(lambda m: sum((g**2).sum() for g in gradient(loss, m)[0].values()), model)
    slopes = parameter_differences(
        lambda: sum((g**2).sum() for g in gradient(loss, model)[0].values()), model.parameters()
    )
    close(as_vector(grads.values()), slopes, 1e-6)


def test_a_gradient_penalty_reaches_the_parameters_closed_over():
    critic, x = mlp(), random(5, 3)
    back(gradient(lambda x: critic(x).sum(), x)[0].norm())
    slopes = parameter_differences(lambda: gradient(lambda x: critic(x).sum(), x)[0].norm(), critic.parameters())
    close(as_vector(torch.zeros_like(p) if p.grad is None else p.grad for p in critic.parameters()), slopes, 1e-6)
    assert critic[0].weight.grad.abs().sum() > 0


def test_a_gradient_penalty_through_an_intermediate_result():
    w, x = random(3).requires_grad_(), random(3)
    h = w**2
    back((gradient(lambda x: (h * x**2).sum(), x)[0] ** 2).sum())
    close(w.grad, (16 * w**3 * x**2).detach())


def test_meta_learning_through_a_step_of_descent():
    """The slope of the loss after one step by the starting point and the step length, by the chain rule."""
    a, x0, η = random(3).abs(), random(3), 0.1

    def after(x, η):
        (dx,) = gradient(lambda x: (a * x**2).sum(), x)
        return (a * (x - η * dx) ** 2).sum()

    dx0, dη = gradient(after, x0, η)
    close(dx0, 2 * a * x0 * (1 - 2 * η * a) ** 2)
    assert dη == pytest.approx((2 * a * x0 * (1 - 2 * η * a) * -2 * a * x0).sum().item())


# Jacobians and Hessians.


@pytest.mark.parametrize("case", TREES)
def test_hessian_equals_differences_of_the_gradient(case):
    make, f, pieces = TREES[case]
    sizes = [torch.as_tensor(x).numel() for x in pieces(make(VECTOR))]
    rows = pieces(hessian(f, make(VECTOR)))
    blocks = [
        [torch.as_tensor(x, dtype=torch.float64).reshape(n, m) for x, m in zip(pieces(row), sizes, strict=True)]
        for row, n in zip(rows, sizes, strict=True)
    ]
    expected = differences(lambda v: as_vector(pieces(gradient(f, make(v))[0])), VECTOR)
    expected = torch.where(expected.isnan(), 0.0, expected)
    close(torch.cat([torch.cat(row, 1) for row in blocks]), expected, 1e-7)


@pytest.mark.parametrize("case", TREES)
def test_diaghessian_is_the_diagonal_of_the_hessian(case):
    make, f, pieces = TREES[case]
    (diagonal,) = diaghessian(f, make(VECTOR))
    expected = differences(lambda v: as_vector(pieces(gradient(f, make(v))[0])), VECTOR).diagonal()
    close(as_vector(pieces(diagonal)), expected, 1e-7)


def test_jacobian_equals_finite_differences():
    def f(x, t):
        return torch.stack([x.sin().sum() * t["s"], (x * t["w"]).prod(), t["w"].exp().sum()])

    x, t = random(4), {"s": 0.7, "w": random(4)}
    dx, dt = jacobian(f, x, t)
    close(dx, differences(lambda x: f(x, t), x).T, 1e-8)
    close(dt["w"], differences(lambda w: f(x, {**t, "w": w}), t["w"]).T, 1e-8)
    close(dt["s"], torch.stack([x.sin().sum(), torch.zeros(()), torch.zeros(())]))


def test_jacobian_and_hessian_by_a_model():
    model, x = mlp(), random(2, 3)
    ((jac),) = jacobian(lambda m: m(x), model)
    close(jac["1.bias"], torch.eye(2, dtype=torch.float64).expand(2, 2, 2))
    rows = hessian(lambda m: loss(m, x), model)
    (diagonal,) = diaghessian(lambda m: loss(m, x), model)
    for path, size in {"0.weight": 12, "1.bias": 2}.items():
        close(rows[path][path].reshape(size, size).diagonal(), diagonal[path].reshape(-1))
    close(rows["0.weight"]["1.bias"].reshape(12, 2), rows["1.bias"]["0.weight"].reshape(2, 12).T)
    assert [p.requires_grad for p in model.parameters()] == [True] * 4


def test_jacobian_without_anything_to_differentiate_is_refused():
    for transform in (jacobian, hessian, diaghessian):
        with pytest.raises(TypeError, match="nothing to differentiate"):
            transform(lambda n: torch.ones(()), 3)


# Pullbacks.


def test_a_pullback_may_be_called_many_times():
    x, ȳ = random(3), random(3)
    y, sweep = pullback(lambda x: x.sin() * 2, x)
    close(y, x.sin() * 2)
    close(sweep(ȳ)[0], 2 * x.cos() * ȳ)
    close(sweep(torch.ones(3).double())[0], 2 * x.cos())
    close(sweep(ȳ)[0], 2 * x.cos() * ȳ)


def test_the_pullback_of_several_results_takes_as_many_gradients():
    x, ȳ = random(3), random(3)
    y, sweep = pullback(lambda x: {"double": 2 * x, "square": x**2}, x)
    close(y, {"double": 2 * x, "square": x**2})
    close(sweep({"double": ȳ, "square": 3 * ȳ})[0], 2 * ȳ + 6 * x * ȳ)


def test_the_pullback_of_a_model():
    model, x, ȳ = mlp(), random(2, 3), random(2, 2)
    _, sweep = pullback(lambda m, x: m(x), model, x)
    grads, dx = sweep(ȳ)
    expected = torch.autograd.grad(model(x), list(model.parameters()), ȳ)
    close(list(grads.values()), list(expected))
    close(dx, (jacobian(model, x)[0] * ȳ[..., None, None]).sum((0, 1)).detach())


def test_the_pullback_of_a_float_takes_a_float():
    y, sweep = pullback(lambda x: x**2, 3.0)
    assert y == 9.0
    assert sweep(torch.tensor(2.0).double()) == (12.0,)
    assert sweep(2.0) == (12.0,)


# back: the gradients accumulate in .grad.


def test_back_accumulates():
    w = random(3).requires_grad_()
    back((w**2).sum())
    back((3 * w).sum())
    close(w.grad, (2 * w + 3).detach())


def test_back_takes_several_losses_in_one_sweep():
    w = random(3).requires_grad_()
    h = w.sin()
    back(h.sum(), (h**2).sum())
    close(w.grad, (w.cos() * (1 + 2 * w.sin())).detach())


def test_the_tape_is_kept_only_on_request():
    w = random(3).requires_grad_()
    y = (w**2).sum()
    back(y, retain=True)
    back(y)
    close(w.grad, (4 * w).detach())
    with pytest.raises(RuntimeError, match="second time"):
        back(y)


def test_back_refuses_what_is_no_scalar():
    w = random(3).requires_grad_()
    with pytest.raises(ValueError, match="one real number"):
        back(w * 2)
    with pytest.raises(TypeError, match="tensor to start from"):
        back(1.0)


# Refusals.


@pytest.mark.parametrize("constant", [math.sin, float, lambda x: math.exp(x * 2), lambda x: 2.0 ** float(x)])
def test_making_a_constant_of_a_float_argument_is_refused(constant):
    with pytest.raises(TypeError, match="makes a constant"):
        gradient(lambda x: x * constant(x), 2.0)


def test_making_a_constant_of_a_scalar_tensor_is_refused():
    with pytest.raises(TypeError, match="makes a constant"):
        gradient(lambda x: x * math.sin(x), torch.tensor(2.0))


@pytest.mark.filterwarnings("ignore")  # PyTorch's warning, as an error, would hide that it isn't refused
def test_making_a_constant_of_a_float_argument_is_refused_in_transforms():
    with pytest.raises(TypeError, match="makes a constant"):
        torch.func.grad(lambda y: y * gradient(lambda x: y * x * math.sin(x), 2.0)[0])(torch.tensor(3.0))


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda x: x * torch.ones(2), ValueError, r"of shape \(2,\)"),
        (lambda x: torch.complex(x, x), ValueError, "complex128"),
        (lambda x: x.long(), ValueError, "int64"),
        (lambda x: None, TypeError, "returned None"),
        (lambda x: 3.0, TypeError, "returned 3.0"),
        (lambda x: (), TypeError, r"returned \(\)"),
        (lambda x: [x], TypeError, "returned"),
    ],
)
def test_results_that_are_not_one_real_tensor_are_refused(f, error, message):
    with pytest.raises(error, match=message):
        gradient(f, 2.0)


def test_changing_an_argument_in_place_is_refused_or_leaves_it_alone():
    x = torch.ones(3)
    with pytest.raises(RuntimeError, match="in-place"):
        gradient(lambda x: x.mul_(2).sum(), x)
    assert torch.equal(x, torch.ones(3))


def test_inference_mode_is_refused_or_has_its_gradient():
    """PyTorch can't record there: a gradient of None would be silently wrong."""
    with torch.inference_mode():
        try:
            (grads,) = gradient(lambda x: (x**2).sum(), torch.ones(2))
        except (RuntimeError, TypeError, ValueError):
            return
        close(grads, torch.full((2,), 2.0))


# The state of PyTorch around a gradient.


def test_gradient_works_under_no_grad_and_is_off_the_tape():
    model, x = mlp(), random(2, 3)
    (expected,) = gradient(loss, model)
    with torch.no_grad():
        (grads,) = gradient(loss, model)
        (dx,) = gradient(lambda x: loss(model, x), x)
        assert not torch.is_grad_enabled()
        assert gradient(lambda x: gradient(lambda x: x**3, x)[0], 2.0) == (12.0,)
    close(grads, expected)
    assert not dx.requires_grad


def fail(*_):
    raise ZeroDivisionError


@pytest.mark.parametrize("outer", [True, False])
def test_an_exception_leaves_everything_as_it_was(outer):
    model = mlp()
    with torch.set_grad_enabled(outer):
        for f in (fail, lambda m: gradient(fail, 1.0), lambda m: gradient(fail, m)):
            with pytest.raises(ZeroDivisionError):
                gradient(f, model)
            assert torch.is_grad_enabled() is outer
    assert not gradient(loss, model)[0]["0.weight"].requires_grad  # so the nesting depth is 0 again
    assert torch.sin(torch.tensor(1.0, requires_grad=True)).item() == pytest.approx(math.sin(1.0))


def test_an_exception_in_a_transform_restores_the_parameters():
    model = mlp()
    before = dict(model.named_parameters())

    def broken(m):
        loss(m)
        return fail()

    for transform in (
        lambda: torch.func.vmap(lambda x: gradient(broken, model))(torch.ones(2)),
        lambda: torch.func.grad(lambda x: x * gradient(broken, model)[0])(torch.ones(())),
        lambda: jacobian(broken, model),
        lambda: hessian(broken, model),
    ):
        with pytest.raises(ZeroDivisionError):
            transform()
        assert all(p is before[path] for path, p in model.named_parameters())
        assert len(before) == len(list(model.parameters()))
    close(gradient(loss, model)[0], gradient(loss, mlp_like(model))[0])


def mlp_like(model):
    twin = mlp()
    twin.load_state_dict(model.state_dict())
    return twin


def test_threads_do_not_disturb_each_other():
    results = {}

    def work(n):
        model = nn.Linear(1, 1, bias=False).double()
        with torch.no_grad():
            model.weight.fill_(float(n))
        for _ in range(20):
            (grads,) = gradient(lambda m: m.weight.sum() ** 3, model)
            nested = gradient(lambda x: gradient(lambda x: x**3 * n, x)[0], 2.0)[0]
            results.setdefault(n, set()).add((grads["weight"].item(), grads["weight"].requires_grad, nested))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 7)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert results == {n: {(3.0 * n**2, False, 12.0 * n)} for n in range(1, 7)}


# Inside PyTorch's own transforms.


def cube(x):
    return (x**3).sum()


def test_inside_vmap_equals_the_loop():
    xs = random(4, 3)
    close(torch.func.vmap(slope(cube))(xs), 3 * xs**2)
    close(torch.func.vmap(lambda x: withgradient(cube, x)[0])(xs), (xs**3).sum(-1))


def test_inside_vmap_with_a_float_argument():
    xs = random(4, 3)
    dx, ds = torch.func.vmap(lambda x: gradient(lambda x, s: (s * x**3).sum(), x, 2.0))(xs)
    close(dx, 6 * xs**2)
    close(ds, (xs**3).sum(-1))


def test_per_sample_gradients_of_a_model():
    model, xs = mlp(), random(4, 1, 3)
    grads = torch.func.vmap(lambda x: gradient(loss, model, x)[0])(xs)
    expected = [gradient(loss, model, x)[0] for x in xs]
    for path, g in grads.items():
        close(g, torch.stack([e[path] for e in expected]))
    assert all(isinstance(p, nn.Parameter) for p in model.parameters())


def test_inside_func_grad_is_the_second_derivative():
    close(torch.func.grad(lambda x: slope(cube)(x).sum())(VECTOR), 6 * VECTOR)
    close(torch.func.grad(torch.func.grad(lambda x: slope(cube)(x).sum()))(VECTOR[0]), torch.tensor(6.0).double())


def test_a_float_inside_func_grad():
    x = torch.tensor(3.0)
    close(torch.func.grad(lambda x: gradient(lambda s: s**2 * x**2, 2.0)[0] * 1.0)(x), torch.tensor(24.0))


def test_inside_jvp():
    v = random(6)
    value, tangent = torch.func.jvp(slope(cube), (VECTOR,), (v,))
    close([value, tangent], [3 * VECTOR**2, 6 * VECTOR * v])


def test_inside_jacobian_and_hessian_of_our_own():
    close(jacobian(slope(cube), VECTOR)[0], torch.diag(6 * VECTOR))
    close(gradient(lambda x: diaghessian(cube, x)[0].sum(), VECTOR)[0], torch.full_like(VECTOR, 6))


def test_around_func_grad():
    close(gradient(lambda x: torch.func.grad(cube)(x).sum(), VECTOR)[0], 6 * VECTOR)
    close(gradient(lambda x: torch.func.vmap(torch.func.grad(cube))(x.view(2, 3)).sum(), VECTOR)[0], 6 * VECTOR)


# Under torch.compile.


def compiled(f, backend="aot_eager"):
    torch._dynamo.reset()
    return torch.compile(f, fullgraph=True, backend=backend)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_compiled_equals_eager_for_a_model():
    model, x = mlp(), random(4, 3)

    def step(x):
        return withgradient(loss, model, x)

    value, (grads, dx) = compiled(step, "inductor")(x)
    expected_value, (expected, expected_dx) = step(x)
    close([value, dx], [expected_value, expected_dx])
    close(dict(grads), dict(expected))
    assert all(isinstance(p, nn.Parameter) and p.grad is None for p in model.parameters())


def test_compiled_equals_eager_for_trees_and_nesting():
    def f(x, tree):
        def inner(x, tree):
            return (x**3 * tree["w"][0]).sum() + tree["unused"].sum() * 0

        return gradient(lambda x, tree: (gradient(inner, x, tree)[0] ** 2).sum(), x, tree)

    tree = {"w": (random(6),), "unused": random(2)}
    dx, dtree = compiled(f)(VECTOR, tree)
    expected_dx, expected_tree = f(VECTOR, tree)
    close([dx, dtree["w"][0]], [expected_dx, expected_tree["w"][0]])
    close(dx, 36 * VECTOR**3 * tree["w"][0] ** 2)


def test_compiled_gradient_penalty_reaches_the_parameters():
    critic, x = mlp(), random(5, 3)

    def penalty(x):
        return gradient(lambda x: critic(x).sum(), x)[0].norm()

    back(compiled(penalty)(x))
    expected = torch.autograd.grad(penalty(x), critic[0].weight)[0]
    close(critic[0].weight.grad, expected)


TRANSFORMS = {
    "tied": lambda x: gradient(loss, TIED, x)[0],
    "treelike": lambda x: gradient(loss, TREELIKE, x)[0],
    "aux": lambda x: withgradient(lambda x: ((x**2).sum(), {"double": 2 * x, "n": 3}), x),
    "pullback": lambda x: pullback(torch.sin, x)[1](x),
    "jacobian": lambda x: jacobian(torch.sin, x),
    "hessian": lambda x: hessian(cube, x),
    "diaghessian": lambda x: diaghessian(cube, x),
    "float": lambda x: gradient(lambda x, s: (s * x**2).sum(), x, 2.0),
}
TIED, TREELIKE = tied().double(), MODELS["treelike"]().double()


@pytest.mark.parametrize("case", TRANSFORMS)
def test_compiled_equals_eager(case):
    x = random(2, 3)
    given, expected = compiled(TRANSFORMS[case])(x), TRANSFORMS[case](x)
    assert type(given) is type(expected)
    if isinstance(expected, PathDict):
        given, expected = dict(given), dict(expected)
    close(given, expected)


def test_compiled_with_graph_breaks_allowed_equals_eager():
    x = random(2, 3)
    close(torch.compile(TRANSFORMS["float"], backend="aot_eager")(x), TRANSFORMS["float"](x))


def test_a_model_with_running_statistics_is_compiled():
    """PyTorch's own BatchNorm raises there."""
    model, twin, x = BatchNorm(3).double(), nn.BatchNorm1d(3).double(), random(4, 3)
    given = compiled(lambda x: gradient(loss, model, x)[0])(x)
    close(dict(given), dict(gradient(loss, twin, x)[0]))
    close(model.state_dict(), twin.state_dict())
