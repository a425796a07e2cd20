"""The layer of a stochastic equation: what it computes, where its noise comes from, and that it trains."""

import copy
import math

import pytest
import torch
from diffeq_problems import DTYPE, tensor
from sde_problems import tree
from torch import Tensor

from torchflux import Chain, Dense, treelike
from torchflux_diffeq import SDE, Discrete, Fixed, Milstein, NeuralSDE, StochasticHeun, Tsit5, solve


@treelike
class Constant:
    """A diffusion that doesn't depend on the state."""

    log: Tensor

    def __call__(self, y):
        return self.log.exp().expand_as(y)


def nets(n=2):
    torch.manual_seed(0)
    return Chain(Dense(n, 8, torch.tanh), Dense(8, n)).double(), Chain(Dense(n, n), torch.sigmoid).double()


def inputs(samples=5, n=2):
    return torch.randn(samples, n, generator=torch.Generator().manual_seed(1), dtype=DTYPE)


OPTIONS = {"controller": Fixed(0.125), "generator": tree(levels=20)}


@pytest.mark.parametrize("solver", [None, StochasticHeun()])
def test_it_is_the_solution(solver):
    drift, diffusion = nets()
    layer = NeuralSDE(drift, diffusion, solver=solver, **OPTIONS)
    sde = SDE(lambda t, y, _: drift(y), lambda t, y, _: diffusion(y), calculus=getattr(solver, "calculus", "ito"))
    ts = (0.0, 0.4, 1.0)
    due = solve(sde, inputs(), ts, solver=solver, batched=True, **OPTIONS).ys
    assert torch.equal(layer(inputs()), due[-1])
    assert torch.equal(layer.trajectory(inputs(), ts), due)
    assert layer.solve(inputs()).stats.steps.tolist() == [8] * 5
    assert sorted(name.split(".")[0] for name in layer.state_dict()) == ["diffusion"] * 2 + ["drift"] * 4


def test_general_noise_and_time():
    diffusion = lambda t, y: torch.stack((y, t[:, None].expand_as(y), 0 * y), -1)
    layer = NeuralSDE(lambda t, y: t[:, None] - y, diffusion, noise="general", time=True, **OPTIONS)
    assert layer(inputs()).shape == (5, 2)


def test_where_the_noise_comes_from():
    generator = torch.Generator().manual_seed(2)
    layer = NeuralSDE(*nets(), controller=Fixed(0.125), generator=generator)
    first, second = layer(inputs()), layer(inputs())
    assert not torch.equal(first, second)
    assert torch.equal(layer(inputs(), generator.manual_seed(2)), first)
    generator.manual_seed(2)
    other = copy.deepcopy(layer)
    assert torch.equal(other(inputs()), layer(inputs()))
    assert torch.equal(layer(inputs(), tree()), layer(inputs(), tree()))
    with pytest.raises(TypeError, match=r"takes its noise from a torch.Generator"):
        NeuralSDE(*nets(), controller=Fixed(0.125))(inputs())


def test_gradients():
    """Each parameter's, against a loop by hand."""
    drift, diffusion = nets()
    layer = NeuralSDE(drift, diffusion, **OPTIONS)
    w = tree(levels=20)(torch.arange(9) / 8, 5, 2)
    y = inputs()
    for k in range(8):
        y = y + drift(y) / 8 + diffusion(y) * (w[k + 1] - w[k])
    parameters = list(layer.parameters())
    due = torch.autograd.grad(y.square().sum(), parameters)
    found = torch.autograd.grad(layer(inputs()).square().sum(), parameters)
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(found, due, strict=True))


def test_it_finds_the_process_that_has_some_moments():
    """Of Ornstein and Uhlenbeck's process, from its mean and variance at a few times, with new noise in each step."""
    rate, mean, sigma, start = 1.5, 0.7, 0.4, 2.0
    ts = torch.tensor([0.0, 0.25, 0.5, 1.0, 1.5, 2.0], dtype=DTYPE)
    decay = torch.exp(-rate * ts[1:])
    due = mean + (start - mean) * decay, sigma / (2 * rate) ** 0.5 * (1 - decay**2).sqrt()
    drift = Chain(Dense(1, 1)).double()
    with torch.no_grad():
        drift[0].weight.fill_(-0.5)
    options = {"controller": Fixed(0.125), "adjoint": Discrete("tape")}
    layer = NeuralSDE(drift, Constant(torch.zeros(1, dtype=DTYPE)), ts, **options)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, 120)
    noise, y0 = torch.Generator().manual_seed(0), torch.full((512, 1), start, dtype=DTYPE)
    for _ in range(120):
        ys = layer.trajectory(y0, generator=noise)[1:, :, 0]
        loss = ((ys.mean(1) - due[0]) ** 2).sum() + 10 * ((ys.std(1) - due[1]) ** 2).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    found = -drift[0].weight, drift[0].bias / -drift[0].weight, layer.diffusion.log.exp()
    shrink = math.exp(-rate * 0.125)  # a step of Euler's has to do the same, which takes other parameters
    euler = tensor((1 - shrink) / 0.125, mean, sigma * ((1 - shrink**2) / (2 * rate * 0.125)) ** 0.5)
    assert torch.allclose(torch.cat([x.reshape(1) for x in found]), euler, rtol=0.08)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: NeuralSDE(*nets(), **OPTIONS)(torch.zeros(2)), ValueError, "first axis is that of the samples"),
        (lambda: NeuralSDE(*nets(), dt=0.1), TypeError, "no option dt"),
        (lambda: NeuralSDE(*nets(), noise="white", **OPTIONS)(inputs()), ValueError, "noise='white'"),
        (lambda: NeuralSDE(*nets(), generator=tree())(inputs()), ValueError, r"Fixed\(dt\)"),
        (lambda: NeuralSDE(*nets(), solver=Tsit5(), **OPTIONS)(inputs()), TypeError, "ordinary equations"),
        (lambda: NeuralSDE(*nets(), solver=Milstein(), **OPTIONS)(inputs()), ValueError, "depends on another number"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
