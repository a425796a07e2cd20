"""Derivatives of derivatives, in any order, against closed forms."""

import math

import numpy as np
import pytest
import torch

from torchflux_zygote import (
    checkpointed,
    gradient,
    hessian,
    hook,
    ignore,
    jacobian,
    pullback,
    pushforward,
    withgradient,
)


def f(x):
    return x**4 + math.sin(2 * x)


def first(x):
    return 4 * x**3 + 2 * math.cos(2 * x)


def second(x):
    return 12 * x**2 - 4 * math.sin(2 * x)


def third(x):
    return 24 * x - 8 * math.cos(2 * x)


def reverse(g):
    return lambda x: gradient(g, x)[0]


def forward(g):
    return lambda x: pushforward(g, x)(1.0)


@pytest.mark.parametrize("a", [reverse, forward])
@pytest.mark.parametrize("b", [reverse, forward])
def test_second_derivatives(a, b):
    assert a(f)(0.7) == pytest.approx(first(0.7))
    assert a(b(f))(0.7) == pytest.approx(second(0.7))


@pytest.mark.parametrize("a", [reverse, forward])
@pytest.mark.parametrize("b", [reverse, forward])
@pytest.mark.parametrize("c", [reverse, forward])
def test_third_derivatives(a, b, c):
    assert a(b(c(f)))(0.7) == pytest.approx(third(0.7))


def test_no_confusion_of_perturbations():
    assert gradient(lambda x: x * gradient(lambda y: x + y, 1.0)[0], 1.0) == (1.0,)
    assert pushforward(lambda x: x * pushforward(lambda y: x + y, 1.0)(1.0), 1.0)(1.0) == 1.0


def test_what_an_inner_gradient_captures():
    def outer(x):
        w = x * x
        return gradient(lambda y: w * y * y * x, 3.0)[0]

    assert gradient(outer, 2.0)[0] == pytest.approx(3 * 6 * 4.0)
    assert pushforward(outer, 2.0)(1.0) == pytest.approx(3 * 6 * 4.0)


def test_a_captured_variable_that_changes_after_an_inner_gradient():
    def outer(x):
        c = x
        g = gradient(lambda y: c * y * y, x)[0]
        c = 5.0
        return g * c

    assert gradient(outer, 3.0)[0] == pytest.approx(4 * 3.0 * 5)


def test_gradients_of_gradients_of_tensors():
    x = torch.tensor([0.3, -0.5, 0.9], dtype=torch.float64)

    def energy(v):
        return (torch.tanh(v) ** 3).sum() + v[0] * v[1] * v[2]

    h = hessian(energy, x)
    torch.testing.assert_close(h, torch.func.hessian(energy)(x))
    (g,) = gradient(lambda v: (gradient(energy, v)[0] ** 2).sum(), x)
    torch.testing.assert_close(g, 2 * h @ torch.func.grad(energy)(x))


def test_a_penalty_on_a_gradient_of_a_module():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
    x = torch.randn(4, 2, dtype=torch.float64)
    (grads,) = gradient(lambda m: (gradient(lambda z: m(z).sum(), x)[0] ** 2).sum(), model)
    z = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(model(z).sum(), z, create_graph=True)
    (g**2).sum().backward()
    for path, p in model.named_parameters():
        torch.testing.assert_close(
            grads[path] if grads[path] is not None else torch.zeros_like(p),
            p.grad if p.grad is not None else torch.zeros_like(p),
        )


def test_withgradient_pullback_and_jacobian_inside_a_gradient():
    def g(x):
        y, (dy,) = withgradient(f, x)
        return y * dy

    assert gradient(g, 0.7)[0] == pytest.approx(first(0.7) ** 2 + f(0.7) * second(0.7))

    def h(x):
        y, back = pullback(lambda a: a * a * a, x)
        return y + back(x)[0]

    assert gradient(h, 2.0)[0] == pytest.approx(3 * 4 + 9 * 4)

    def j(x):
        return jacobian(lambda v: v * v * x, np.array([1.0, 2.0]))[0].sum()

    assert gradient(j, 3.0)[0] == pytest.approx(6.0)


def test_hessians_of_trees():
    rows = hessian(lambda t: t[0] * t[1] ** 2 + t[0] ** 3, (2.0, 3.0))
    assert rows == ((12.0, 6.0), (6.0, 4.0))


def test_jacobians():
    x = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(jacobian(lambda a, b: a * b, x, 3.0)[0], 3 * torch.eye(2))
    torch.testing.assert_close(jacobian(lambda a, b: a * b, x, 3.0)[1], x)
    assert jacobian(lambda a: a * a, 3.0) == (6.0,)


def test_hook_and_ignore():
    seen = []
    assert gradient(lambda x: hook(seen.append, x * x) * 3, 2.0) == (12.0,)
    assert seen == [3.0]
    assert gradient(lambda x: hook(lambda bar: 2 * bar, x) ** 2, 3.0) == (12.0,)
    assert gradient(lambda x: x * ignore(math.exp, x), 1.0) == (math.e,)
    assert gradient(lambda x: ignore(x), 1.0) == (None,)


def test_checkpointed_computes_again():
    calls = []

    def step(x):
        ignore(calls.append, None)
        return math.sin(x) * x

    assert gradient(lambda x: checkpointed(step, checkpointed(step, x)), 0.7)[0] == pytest.approx(
        gradient(lambda x: step(step(x)), 0.7)[0]
    )
    assert len(calls) == 2 * 2 + 2


def test_back_may_be_called_many_times():
    def g(xs):
        xs.append(xs[0] * xs[1])
        y = np.zeros(2)
        y[0] = xs[2]
        y[1] = xs[0]
        y *= 2
        return y

    xs = [2.0, 3.0]
    y, back = pullback(g, xs)
    assert xs == [2.0, 3.0, 6.0]
    for _ in range(2):
        assert back(np.array([1.0, 0.0]))[0][:2] == [6.0, 4.0]
        assert back(np.array([0.0, 1.0]))[0][:2] == [2.0, 0.0]
    assert y.tolist() == [12.0, 4.0]
    assert xs == [2.0, 3.0, 6.0]
