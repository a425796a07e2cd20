"""Networks between functions: closed forms, resolutions, shapes that are refused, residuals of one function."""

import math

import pytest
import torch

import torchflux as tf
from torchflux_physics import DeepONet, FourierOperator, SpectralConv, residuals

rng = torch.Generator().manual_seed(0)


def deeponet() -> DeepONet:
    torch.manual_seed(0)
    branch = tf.Chain(tf.Dense(5, 8, tf.tanh), tf.Dense(8, 4))
    return DeepONet(branch, tf.Chain(tf.Dense(2, 8, tf.tanh), tf.Dense(8, 4))).double()


def test_deeponet_in_its_three_calls() -> None:
    net = deeponet()
    functions, points = (torch.rand(3, k, dtype=torch.float64, generator=rng) for k in (5, 2))
    every = net(functions, points)
    torch.testing.assert_close(net(functions, points, paired=True), every.diagonal())
    torch.testing.assert_close(net.at(functions[1])(points), every[1])
    by_hand = sum(net.branch(functions)[0, k] * net.trunk(points)[2, k] for k in range(4)) + net.bias
    torch.testing.assert_close(every[0, 2], by_hand)


def test_deeponet_in_an_equation() -> None:
    net = deeponet()
    function, points = (
        torch.rand(5, dtype=torch.float64, generator=rng),
        torch.rand(4, 2, dtype=torch.float64, generator=rng),
    )
    ours = residuals(lambda u: u.t - u.xx, net.at(function), points)["residual"]
    hessian = torch.vmap(torch.func.hessian(lambda p: net.at(function)(p[None])[0]))(points)
    slope = torch.vmap(torch.func.grad(lambda p: net.at(function)(p[None])[0]))(points)
    torch.testing.assert_close(ours, slope[:, 1] - hessian[:, 0, 0], rtol=1e-10, atol=1e-10)


def test_deeponet_of_several_functions_in_an_equation() -> None:
    net = deeponet()
    functions = torch.rand(3, 5, dtype=torch.float64, generator=rng)
    points = torch.rand(4, 2, dtype=torch.float64, generator=rng)
    torch.testing.assert_close(net.at(functions)(points), net(functions, points).T)
    together = residuals(lambda u: (u.t - u.xx) @ (u.t - u.xx), net.at(functions), points)["residual"]
    each = [residuals(lambda u: u.t - u.xx, net.at(f), points)["residual"] for f in functions]
    torch.testing.assert_close(together, torch.stack(each).square().sum(0))


def test_deeponet_refuses() -> None:
    net = DeepONet(lambda f: f, lambda p: p)
    with pytest.raises(ValueError, match="branch gives 5 numbers and the trunk 2"):
        net(torch.rand(3, 5), torch.rand(4, 2))
    with pytest.raises(ValueError, match="3 functions and 4 points"):
        net(torch.rand(3, 2), torch.rand(4, 2), paired=True)


def test_a_spectral_convolution_is_a_filter() -> None:
    conv = SpectralConv(1, 1, (3,)).double()
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 0.5, 0.0])[None, None, None, :, None] * torch.tensor([1.0, 0.0]))
    x = 2 * math.pi * torch.arange(16, dtype=torch.float64) / 16
    signal = 3 + torch.cos(x) + torch.cos(2 * x) + torch.cos(5 * x)
    torch.testing.assert_close(conv(signal[None, None])[0, 0], 3 + 0.5 * torch.cos(x))


def test_a_spectral_convolution_in_two_dimensions_shifts_with_its_input() -> None:
    torch.manual_seed(0)
    conv = SpectralConv(2, 3, (3, 2)).double()
    x = torch.rand(2, 2, 8, 6, dtype=torch.float64, generator=rng)
    torch.testing.assert_close(conv(x.roll((2, 1), (2, 3))), conv(x).roll((2, 1), (2, 3)))
    with pytest.raises(ValueError, match="at least 6 x 4 places"):
        conv(x[:, :, :4])
    with pytest.raises(ValueError, match="one or two dimensions"):
        SpectralConv(1, 1, (2, 2, 2))


def test_an_operator_means_the_same_on_finer_grids() -> None:
    torch.manual_seed(0)
    operator = FourierOperator(1, 1, width=8, depth=1, modes=(4,)).double()
    coarse = torch.linspace(0, 1, 33, dtype=torch.float64)
    fine = torch.linspace(0, 1, 65, dtype=torch.float64)
    bump = lambda x: torch.exp(-((x - 0.5) ** 2) * 30)[None, None]
    gap = (operator(bump(fine))[..., ::2] - operator(bump(coarse))).abs().max()
    assert gap < 0.1 * operator(bump(fine)).abs().max()
    loss = operator(bump(coarse)).square().sum()
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(loss, list(operator.parameters())))
