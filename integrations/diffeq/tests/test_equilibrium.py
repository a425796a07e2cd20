"""Deep equilibrium layers: closed forms, what the gradient costs, failures, and learning."""

import pytest
import torch
from diffeq_problems import DTYPE, tensor
from torch.autograd import gradcheck, gradgradcheck

from torchflux import Chain, Dense
from torchflux_diffeq import Implicit, SolveError, Status, SteadyState

A = tensor(0.2, -0.5, 0.4, 0.1).reshape(2, 2)
TIGHT = {"adjoint": Implicit(1e-12, 1e-12)}


def test_a_linear_model_is_a_linear_system():
    """z = A z + x, so z = (1 - A)⁻¹ x, and its gradient is the inverse itself."""
    layer = SteadyState(lambda z, x: z @ A.T + x, **TIGHT)
    x = tensor(1.0, 2.0, -0.5, 0.3).reshape(2, 2).requires_grad_()
    inverse = torch.linalg.inv(torch.eye(2, dtype=DTYPE) - A)
    z = layer(x)
    assert torch.allclose(z, x @ inverse.T, rtol=1e-10)
    assert torch.allclose(torch.autograd.grad(z[:, 0].sum(), x)[0], inverse[0].expand(2, 2), rtol=1e-9)


def test_gradients_of_inputs_and_of_what_the_model_holds():
    w = A.clone().requires_grad_()
    x = tensor(0.3, -0.2).reshape(2, 1).requires_grad_()
    f = lambda w, x: SteadyState(lambda z, x: torch.tanh(z @ w.T + x), 2, **TIGHT)(x)
    assert gradcheck(f, (w, x), fast_mode=True)
    assert gradgradcheck(f, (w, x), fast_mode=True)


def test_the_way_and_the_start():
    layer = SteadyState(lambda z, x: torch.cos(z) * x, **TIGHT)
    x = tensor(0.5, 1.0)[:, None]
    solution = layer.solve(x)
    z = solution.y
    assert torch.allclose(torch.cos(z) * x, z, rtol=1e-10)
    assert torch.equal(layer(x), z)
    assert (layer.solve(x, start=z).stats.steps < solution.stats.steps).all()


def test_one_that_does_not_come_to_rest_fails_by_itself():
    layer = SteadyState(lambda z, x: z + x, 1, horizon=10.0)  # only where x = 0
    x = tensor(0.0, 1.0)[:, None]
    with pytest.raises(SolveError, match="samples 1"):
        layer(x)
    solution = layer.solve(x, throw=False)
    assert solution.status.tolist() == [Status.SUCCESS, Status.NOT_STEADY]


def test_it_learns_the_square_root():
    """Of numbers in [1, 4], whose square roots have the variance 0.08."""
    torch.manual_seed(0)
    flat = lambda z, x: torch.cat([0.5 * z, x], 1)
    model = Chain(SteadyState(Chain(flat, Dense(6, 5, torch.tanh)), 5), Dense(5, 1))
    x = torch.linspace(1.0, 4.0, 16)[:, None]
    opt = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(60):
        loss = (model(x) - x.sqrt()).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    assert loss < 0.01


def test_bad_options():
    with pytest.raises(TypeError, match="SteadyState has no option rtol"):
        SteadyState(torch.add, rtol=1e-3)
    with pytest.raises(ValueError, match="first axis"):
        SteadyState(torch.add)(torch.zeros(3))
