"""Convolutions: padding per side, Flux's sizes, and what is refused."""

import pytest
import torch
import torch.nn.functional as F

from torchflux.layers import Conv, ConvTranspose, DepthwiseConv


def test_convolution_is_cross_correlation() -> None:
    layer = Conv((3,), 1, 1, init=lambda *shape: torch.tensor([1.0, 2.0, 3.0]).reshape(shape))
    impulse = torch.tensor([[[0.0, 0.0, 1.0, 0.0, 0.0]]])
    assert layer(impulse).flatten().tolist() == [3.0, 2.0, 1.0]  # Flux's Conv would give 1, 2, 3


def test_padding_per_side_comes_before_and_after_each_dimension() -> None:
    layer, x = Conv((2, 3), 1, 2, torch.relu, pad=(1, 2, 0, 3)), torch.randn(1, 1, 4, 5)
    padded = F.pad(x, (0, 3, 1, 2))
    torch.testing.assert_close(layer(x), torch.relu(F.conv2d(padded, layer.weight, layer.bias)))
    causal, line = Conv((3,), 1, 1, pad=(2, 0)), torch.randn(1, 1, 5)
    torch.testing.assert_close(causal(line), F.conv1d(F.pad(line, (2, 0)), causal.weight))


def test_padding_per_side_of_the_transpose_crops() -> None:
    layer = ConvTranspose((3, 3), 2, 3, pad=(1, 2, 0, 1), stride=2)
    x = torch.randn(1, 2, 4, 5)
    whole = F.conv_transpose2d(x, layer.weight, layer.bias, stride=2)
    torch.testing.assert_close(layer(x), whole[:, :, 1:-2, :-1])


def test_fluxs_documented_sizes() -> None:
    x = torch.zeros(50, 3, 100, 100)
    assert Conv((5, 5), 3, 7, torch.relu, bias=False)(x).shape == (50, 7, 96, 96)
    assert Conv((5, 5), 3, 7, stride=2)(x).shape == (50, 7, 48, 48)
    assert Conv((5, 5), 3, 7, stride=2, pad=2)(x).shape == (50, 7, 50, 50)
    assert Conv((1, 1), 3, 7, pad=(20, 10, 0, 0))(x).shape == (50, 7, 130, 100)
    assert Conv((5, 5), 3, 7, stride=2, dilation=4)(x).shape == (50, 7, 42, 42)
    assert ConvTranspose((5, 5), 3, 7, stride=2)(x).shape == (50, 7, 203, 203)
    assert ConvTranspose((5, 5), 3, 7, stride=3, pad=2)(x).shape == (50, 7, 298, 298)
    assert ConvTranspose((5, 5), 3, 7, stride=3, outpad=1)(x).shape == (50, 7, 303, 303)


def test_depthwise_convolution_keeps_channels_apart() -> None:
    layer, x = DepthwiseConv((3, 3), 2, 4, bias=False), torch.randn(1, 2, 5, 5)
    changed = x.clone()
    changed[:, 1] = 0
    y, z = layer(x), layer(changed)
    assert torch.equal(y[:, :2], z[:, :2])
    assert not torch.equal(y[:, 2:], z[:, 2:])


def test_pytorch_names_a_padding_that_does_not_fit() -> None:
    with pytest.raises(RuntimeError, match="list of 2 values"):
        Conv((1, 1), 1, 1, pad=(1, 2, 3))(torch.zeros(1, 1, 3, 3))
