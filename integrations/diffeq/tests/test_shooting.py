"""Fitting without long solutions: multiple shooting, and collocation."""

import math

import numpy as np
import pytest
import torch
from diffeq_problems import DTYPE, RATES, lotka_volterra, tensor
from scipy.interpolate import CubicSpline
from torch.autograd import gradcheck

from torchflux import Chain, Dense, mse
from torchflux_diffeq import PID, RK4, Fixed, NeuralODE, collocate, multiple_shoot, per_sample, solve
from torchflux_diffeq._collocation import KERNELS

TS = torch.linspace(0.0, 6.0, 25, dtype=DTYPE)
Y = tensor(1.0, 0.8)
TIGHT = {"controller": PID(1e-9, 1e-11)}
DATA = solve(lotka_volterra, Y, TS, RATES, **TIGHT).ys
STEPS = {"solver": RK4(), "controller": Fixed(0.1)}


def spring(t, y, rate):
    """An oscillator; `rate` is the square of its frequency."""
    return torch.stack((y[..., 1], -rate * y[..., 0]), -1)


@pytest.mark.parametrize("ts", [TS, TS.flip(0), TS + 0.01 * torch.sin(9 * TS)], ids=["even", "backward", "uneven"])
@pytest.mark.parametrize("group_size", [2, 4, 7, 25])
def test_pieces_are_the_solutions_from_their_starts(ts, group_size):
    shift = lambda t, y, args: lotka_volterra(t, y, args) + 0.1 * torch.sin(t)[..., None]
    loss, pieces = multiple_shoot(shift, DATA, ts, RATES, group_size=group_size, continuity_term=3.0, **TIGHT)
    firsts = list(range(0, 24, group_size - 1))
    assert len(pieces) == len(firsts)
    due, jumps = [], []
    for first, piece in zip(firsts, pieces, strict=True):
        alone = solve(shift, DATA[first], ts[first : first + group_size], RATES, **TIGHT).ys
        assert torch.allclose(piece, alone, rtol=1e-6)
        due.append((alone - DATA[first : first + group_size]).square())
        jumps.append((alone[-1] - DATA[first + len(alone) - 1]).square())
    jump = torch.stack(jumps[:-1]).mean() if len(jumps) > 1 else 0.0
    assert torch.allclose(loss, torch.cat(due).mean() + 3.0 * jump, rtol=1e-4)


def test_samples_and_what_belongs_to_them():
    rates = torch.tensor(RATES, dtype=DTYPE) * tensor(0.9, 1.0, 1.2)[:, None]
    f = lambda t, y, rates: lotka_volterra(t, y, rates.T)
    data = torch.stack([solve(lotka_volterra, Y, TS, rate, **TIGHT).ys for rate in rates], 1)
    loss, pieces = multiple_shoot(f, data, TS, per_sample(rates), group_size=6, batched=True, **TIGHT)
    assert loss < 1e-12
    assert pieces[0].shape == (6, 3, 2)
    assert pieces[-1].shape == (5, 3, 2)
    assert torch.allclose(torch.cat([pieces[0], *[piece[1:] for piece in pieces[1:]]]), data, rtol=1e-5)


def test_gradients():
    starts = DATA[0:24:6] + 0.1
    f = lambda rates, data, starts: (
        multiple_shoot(lotka_volterra_of_rows, data, TS, rates, group_size=7, starts=starts, **STEPS).loss
    )
    lotka_volterra_of_rows = lambda t, y, p: lotka_volterra(t, y, p)
    leaves = [x.clone().requires_grad_() for x in (tensor(*RATES), DATA, starts)]
    assert gradcheck(f, leaves, fast_mode=True)
    assert multiple_shoot(lotka_volterra, DATA.float(), TS, RATES, group_size=7).loss.dtype == torch.float32


def fitted(group_size):
    """The rate that is found from 1, where 4 is right."""
    ts = torch.linspace(0.0, 20.0, 81, dtype=DTYPE)
    data = torch.stack((torch.cos(2 * ts), -2 * torch.sin(2 * ts)), 1)
    rate = torch.nn.Parameter(tensor(1.0)[0])
    opt = torch.optim.Adam([rate], 0.2)
    for _ in range(60):
        loss = multiple_shoot(spring, data, ts, rate, group_size=group_size, controller=Fixed(0.25)).loss
        opt.zero_grad()
        loss.backward()
        opt.step()
    return float(rate.detach())


def test_a_long_oscillation_is_fitted_in_pieces_and_not_at_once():
    assert abs(fitted(7) - 4.0) < 0.1
    assert abs(fitted(81) - 4.0) > 0.5


def test_the_starts_are_fitted_with_a_layer():
    torch.manual_seed(0)
    layer = NeuralODE(Chain(Dense(2, 4, torch.tanh), Dense(4, 2)), **STEPS).double()
    noise = torch.randn(DATA.shape, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    starts = torch.nn.Parameter((DATA + 0.1 * noise)[0:24:4].clone())
    loss = multiple_shoot(layer.slope, DATA, TS, group_size=5, starts=starts).loss
    loss.backward()
    assert all(p.grad.abs().max() > 0 for p in (starts, *layer.parameters()))
    hidden = torch.cat([starts, 0 * starts], 1).detach()
    seen = lambda predicted, data: mse(predicted[:, :2], data)
    grows = lambda t, y, args: y
    assert multiple_shoot(grows, DATA, TS, group_size=5, starts=hidden, loss=seen).predictions[0].shape == (5, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group_size": 1}, "between 2 and 25"),
        ({"group_size": 26}, "between 2 and 25"),
        ({"ts": TS[:-1]}, "one time for each"),
        ({"ts": TS.sin()}, "strictly"),
        ({"ts": TS.clone().requires_grad_()}, "detach"),
        ({"starts": DATA[:2]}, "2 states for 6 pieces"),
        ({"args": per_sample(DATA)}, "batched=True"),
    ],
)
def test_bad_pieces(arguments, message):
    given = {"data": DATA, "ts": TS, "args": RATES, "group_size": 5, **arguments}
    with pytest.raises(ValueError, match=message):
        multiple_shoot(lotka_volterra, **given)


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_are_densities(name):
    u = np.linspace(-40.0, 40.0, 800_001)
    weights = KERNELS[name](u)
    assert abs(np.trapezoid(weights, u) - 1) < 1e-4
    assert np.allclose(weights, weights[::-1])
    compact = name not in ("gaussian", "logistic", "sigmoid", "silverman")
    assert (weights[np.abs(u) > 1.001] == 0).all() == compact


# Values at 0, from B. W. Silverman, "Density Estimation" (1986), table 3.1, and DiffEqFlux.jl's test/collocation.jl.
AT_ZERO = [0.75, 0.5, 1.0, 15 / 16, 35 / 32, 70 / 81, math.pi / 4, 1 / math.sqrt(2 * math.pi), 0.25, 1 / math.pi]


def test_kernels_at_zero():
    found = [float(kernel(np.zeros(1))[0]) for kernel in KERNELS.values()]
    assert np.allclose(found, [*AT_ZERO, 1 / (2 * math.sqrt(2))])


@pytest.mark.parametrize("kernel", [*list(KERNELS)[:-1], "spline", lambda u: np.exp(-(u**4))])
def test_a_sine_and_its_derivative(kernel):
    ts = torch.linspace(0.0, 6.0, 201, dtype=DTYPE)
    data = torch.stack((ts.sin(), ts.cos()), 1)
    options = {} if kernel == "spline" else {"bandwidth": 0.15 if kernel in list(KERNELS)[:7] else 0.05}
    du, u = collocate(data, ts, kernel, **options)
    inner = slice(12, -12)
    assert (u - data)[inner].abs().max() < 0.01
    assert (du[:, 0] - ts.cos())[inner].abs().max() < 0.01
    assert (du[:, 1] + ts.sin()).abs().max() < 0.1
    back = collocate(data.flip(0), ts.flip(0), kernel, **options)
    assert torch.allclose(back.du, du.flip(0), atol=1e-8)


def test_polynomials_are_exact_and_noise_is_smoothed():
    ts = torch.sort(torch.rand(60, generator=torch.Generator().manual_seed(0), dtype=DTYPE)).values * 2
    at = tensor(0.5, 1.0, 1.5)
    du, u = collocate((1 + 3 * ts)[:, None, None].expand(60, 2, 2), ts, "epanechnikov", at=at)
    assert u.shape == (3, 2, 2)
    assert torch.allclose(u[:, 0, 0], 1 + 3 * at, rtol=1e-10)
    assert torch.allclose(collocate(ts**2, ts, at=at).du, 2 * at, rtol=1e-9)
    assert torch.allclose(du, torch.full_like(du, 3.0), rtol=1e-9)
    noise = 0.1 * torch.randn(60, generator=torch.Generator().manual_seed(1), dtype=DTYPE)
    smooth = collocate(ts.sin() + noise, ts, bandwidth=0.5)
    assert (smooth.u - ts.sin()).square().mean() < 0.3 * noise.square().mean()
    assert (smooth.du - ts.cos()).square().mean() < 0.1


def test_silvermans_kernel_takes_a_wide_bandwidth():
    """Its second moment is zero, so that no parabola is determined by the whole of it."""
    with pytest.raises(ValueError, match="negative at some distances"):
        collocate(TS**2, TS, "silverman", 0.5)
    du, _ = collocate(TS**2, TS, "silverman", 2.0)
    assert torch.allclose(du, 2 * TS, atol=1e-9)


def test_the_spline_is_scipys():
    at = np.linspace(0.1, 5.9, 17)
    due = CubicSpline(TS.numpy(), DATA.numpy())
    du, u = collocate(DATA, TS, "spline", at=at)
    assert np.allclose(u, due(at))
    assert np.allclose(du, due(at, 1))
    assert np.allclose(collocate(DATA, TS, "spline").u, DATA)


def test_collocation_is_differentiable_and_keeps_the_dtype():
    assert gradcheck(lambda data: tuple(collocate(data, TS, bandwidth=1.0)), DATA.clone().requires_grad_())
    assert {x.dtype for x in collocate(DATA.float(), TS)} == {torch.float32}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": "box"}, "no kernel 'box'"),
        ({"kernel": "spline", "bandwidth": 1.0}, "has none"),
        ({"bandwidth": 0.3}, "only 2 measurements count at the time 0"),
        ({"bandwidth": -1.0}, "positive"),
        ({"ts": TS[1:]}, "25 measurements at 24 times"),
        ({"ts": TS.sin()}, "strictly"),
    ],
)
def test_bad_collocation(arguments, message):
    with pytest.raises(ValueError, match=message):
        collocate(**{"data": DATA, "ts": TS, **arguments})
