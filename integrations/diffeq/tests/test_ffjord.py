"""Continuous normalising flows: determinants, integrals, closed forms, estimates, regularisers, training."""

import math

import pytest
import torch
from diffeq_problems import DTYPE, tensor
from torch.distributions import Beta, Independent, MultivariateNormal, Normal
from torch.func import jacrev, vmap

from torchflux import Chain, Dense
from torchflux_diffeq import FFJORD, PID, RK4, ExactTrace, Fixed, Hutchinson, append_time

TIGHT = {"controller": PID(1e-9, 1e-11)}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def net(n, scale=1.0, time=False):
    torch.manual_seed(1)
    return Chain(*[append_time] * time, Dense(n + time, 8, torch.tanh), Dense(8, n), lambda x: scale * x).double()


def points(n, d, seed=0):
    return torch.randn(n, d, generator=generator(seed), dtype=DTYPE)


@pytest.mark.parametrize("time", [False, True])
@pytest.mark.parametrize("ts", [(0.0, 1.0), (1.0, 0.0), (0.0, 2.0)])
def test_the_determinant_is_that_of_the_flow(time, ts):
    flow = FFJORD(net(3, time=time), 3, ts, time=time, **TIGHT)
    x = points(4, 3)
    with torch.no_grad():
        z, logdet = flow(x)
        step = 1e-5
        moved = x[:, None, None] + step * torch.eye(3, dtype=DTYPE)[:, None] * tensor(1.0, -1.0)[:, None]
        ends = flow(moved.reshape(-1, 3)).z.reshape(4, 3, 2, 3)
        jacobian = (ends[:, :, 0] - ends[:, :, 1]) / (2 * step)
        assert torch.allclose(logdet, jacobian.det().log(), rtol=1e-6, atol=1e-7)
        back, inverse = flow.inverse(z)
    assert torch.allclose(back, x, rtol=1e-6)
    assert torch.allclose(inverse, -logdet, rtol=1e-6, atol=1e-8)


def test_a_trace_without_its_last_term_is_found():
    class Wrong(ExactTrace):
        def __call__(self, f, y, noise):
            slope, trace, squares = super().__call__(f, y, noise)
            return slope, trace - jacrev(lambda y: f(y[None])[0, -1])(y[0])[-1], squares

    x = points(1, 2)
    right, wrong = (FFJORD(net(2), 2, trace=trace, **TIGHT)(x).logdet for trace in (ExactTrace(), Wrong()))
    assert (right - wrong).abs() > 1e-2


def test_a_linear_flow_is_a_gaussian():
    a = tensor(0.3, -0.8, 0.5, -0.1).reshape(2, 2)
    shape = torch.linalg.matrix_exp(-1.5 * a)
    due = MultivariateNormal(torch.zeros(2, dtype=DTYPE), shape @ shape.T)
    flow = FFJORD(lambda x: x @ a.T, 2, (0.0, 1.5), **TIGHT)
    assert torch.allclose(flow.log_prob(points(5, 2)), due.log_prob(points(5, 2)), rtol=1e-7)
    z, _, kinetic, jacobian = flow.regularised(points(5, 2))
    s = torch.linspace(0.0, 1.5, 2001, dtype=DTYPE)
    paths = torch.linalg.matrix_exp(s[:, None, None] * a) @ points(5, 2).T
    assert torch.allclose(kinetic, torch.trapezoid((a @ paths).square().sum(1), s, dim=0), rtol=1e-5)
    assert torch.allclose(jacobian, 1.5 * a.square().sum().expand(5))
    backward = FFJORD(lambda x: x @ a.T, 2, (1.5, 0.0), **TIGHT).regularised(z)
    assert torch.allclose(backward.kinetic, kinetic, rtol=1e-6)


@pytest.mark.parametrize("d", [1, 2])
def test_densities_integrate_to_one(d):
    flow = FFJORD(net(d, 2.0), d, controller=PID(1e-6, 1e-8))
    axis = torch.linspace(-9.0, 9.0, 1201 if d == 1 else 121, dtype=DTYPE)
    grid = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
    with torch.no_grad():
        density = flow.log_prob(grid).exp()
    assert abs(float(density.sum() * (axis[1] - axis[0]) ** d) - 1) < 1e-4


@pytest.mark.parametrize("noise", ["rademacher", "gaussian"])
def test_hutchinsons_estimate_has_the_right_mean(noise):
    a = tensor(0.3, -0.8, 0.5, -0.4).reshape(2, 2)
    flow = FFJORD(lambda x: x @ a.T, 2, (0.0, 2.0), trace=Hutchinson(noise), **TIGHT)
    x = points(20_000, 2)
    with torch.no_grad():
        _, logdet, _, squares = flow.regularised(x, generator())
    assert (logdet - logdet.mean()).abs().max() > 0.1
    assert abs(float(logdet.mean() - 2 * a.trace())) < 4 * float(logdet.std()) / len(x) ** 0.5
    assert abs(float(squares.mean() - 2 * a.square().sum())) < 4 * float(squares.std()) / len(x) ** 0.5


def test_noise_is_drawn_once_and_is_the_generators():
    drawn = []

    class Counted(Hutchinson):
        def __call__(self, f, y, noise):
            drawn.append(noise)
            return super().__call__(f, y, noise)

    flow = FFJORD(net(2), 2, trace=Counted(), solver=RK4(), controller=Fixed(0.5))
    x = points(3, 2)
    first = flow.log_prob(x, generator(3))
    assert all(torch.equal(noise, drawn[0]) for noise in drawn)
    assert drawn[0].abs().eq(1).all()
    assert drawn[0].dtype == DTYPE
    assert torch.equal(first, flow.log_prob(x, generator(3)))
    assert not torch.equal(first, flow.log_prob(x, generator(4)))
    with pytest.raises(ValueError, match="generator"):
        flow.log_prob(x)


def test_gradients_of_an_estimate_are_those_of_its_noise():
    flow = FFJORD(net(2), 2, trace=Hutchinson(), solver=RK4(), controller=Fixed(0.25))
    x = points(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: tuple(flow.regularised(x, generator(1))), x)


def test_samples():
    a = tensor(0.3, -0.8, 0.5, -0.1).reshape(2, 2)
    base = MultivariateNormal(tensor(1.0, 2.0), torch.eye(2, dtype=DTYPE))
    flow = FFJORD(lambda x: x @ a.T, 2, base=base, **TIGHT)
    state = torch.get_rng_state()
    x = flow.sample(4000, generator())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, flow.sample(4000, generator()))
    shape = torch.linalg.matrix_exp(-a)
    assert torch.allclose(x.mean(0), shape @ base.mean, atol=0.1)
    assert torch.allclose(x.T.cov(), shape @ shape.T, atol=0.1)
    normal = FFJORD(net(2), 2, **TIGHT).sample(5, generator())
    assert normal.dtype == DTYPE
    assert torch.allclose(FFJORD(net(2), 2, **TIGHT)(normal).z, torch.randn(5, 2, generator=generator(), dtype=DTYPE))


def test_a_base_of_ones_own_and_images():
    base = Independent(Normal(torch.zeros(1, 2, 2, dtype=DTYPE), 2.0), 3)
    flow = FFJORD(lambda x: 0.5 * x, (1, 2, 2), base=base, **TIGHT)
    x = points(3, 4).reshape(3, 1, 2, 2)
    assert torch.allclose(flow.log_prob(x), base.log_prob(x * math.exp(0.5)) + 2.0, rtol=1e-7)
    assert flow.sample(2, generator()).shape == (2, 1, 2, 2)


def test_per_sample_gradients():
    flow = FFJORD(net(2), 2, solver=RK4(), controller=Fixed(0.25))
    x = points(3, 2)
    each = vmap(jacrev(lambda x: flow.log_prob(x[None])[0]))(x)
    whole = x.clone().requires_grad_()
    flow.log_prob(whole).sum().backward()
    assert torch.allclose(each, whole.grad, rtol=1e-9)


def two_moons(n, generator):
    angle = torch.rand(n, generator=generator) * math.pi
    upper = torch.rand(n, generator=generator) < 0.5
    x = torch.where(upper, angle.cos(), 1 - angle.cos())
    y = torch.where(upper, angle.sin(), 0.5 - angle.sin())
    return torch.stack((x, y), 1) + 0.1 * torch.randn(n, 2, generator=generator)


def test_two_moons():
    """A Gaussian of their mean and covariance has 1.91 nats."""
    torch.manual_seed(0)
    model = Chain(append_time, Dense(3, 64, torch.tanh), Dense(64, 2))
    flow = FFJORD(model, 2, time=True, solver=RK4(), controller=Fixed(0.25))
    opt = torch.optim.Adam(flow.parameters(), 0.02)
    data = generator()
    for _ in range(100):
        loss = -flow.log_prob(two_moons(128, data)).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    with torch.no_grad():
        assert -flow.log_prob(two_moons(500, data)).mean() < 1.75


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FFJORD(net(2), 2)(points(3, 3)), r"\(3, 3\): a batch, whose samples have the shape \(2,\)"),
        (lambda: FFJORD(net(2), 2)(points(3, 2)[0]), "a batch"),
        (lambda: FFJORD(net(2), 2, base=Beta(torch.ones(2), 1.0)), r"Independent\(base, 1\)"),
        (lambda: FFJORD(net(2), 2, batched=False), "independent"),
        (lambda: Hutchinson("uniform"), "rademacher"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
