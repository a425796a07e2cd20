"""`SamePad`: how many results, and where the window lies."""

import math
from itertools import product

import pytest
import torch

from torchflux.layers import Conv, ConvTranspose, MaxPool, MeanPool, SamePad

GRID = [(k, s, d) for k, s, d in product((1, 2, 3, 4, 5), (1, 2, 3, 5), (1, 2, 3))]


@pytest.mark.parametrize(("kernel", "stride", "dilation"), GRID)
def test_convolutions_make_one_result_per_stride(kernel: int, stride: int, dilation: int) -> None:
    layer = Conv((kernel,), 1, 1, pad=SamePad(), stride=stride, dilation=dilation)
    back = ConvTranspose((kernel,), 1, 1, pad=SamePad(), stride=stride, dilation=dilation, outpad=stride - 1)
    for size in range(1, 8):
        x = torch.zeros(1, 1, size)
        assert layer(x).shape[-1] == math.ceil(size / stride)
        assert back(x).shape[-1] == stride * size


@pytest.mark.parametrize("layer", [MaxPool, MeanPool])
@pytest.mark.parametrize(("kernel", "stride"), list(product((1, 2, 3, 4, 5), (1, 2, 3, 5))))
def test_pools_make_one_result_per_stride(layer: type, kernel: int, stride: int) -> None:
    for size in range(1, 8):
        x = torch.zeros(1, 1, size, size)
        expected = math.ceil(size / stride)
        assert layer((kernel, kernel), pad=SamePad(), stride=stride)(x).shape[2:] == (expected, expected)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("kernel", [(2, 3), (4, 4), (3, 5)])
def test_windows_lie_where_pytorchs_do(kernel: tuple[int, int]) -> None:
    layer, x = Conv(kernel, 2, 3, pad=SamePad(), dilation=(1, 2)), torch.randn(2, 2, 6, 7)
    same = torch.nn.functional.conv2d(x, layer.weight, layer.bias, padding="same", dilation=(1, 2))
    torch.testing.assert_close(layer(x), same)


@pytest.mark.parametrize(("kernel", "stride", "dilation"), GRID[::3])
def test_the_transpose_is_the_transpose(kernel: int, stride: int, dilation: int) -> None:
    """⟨Conv x, y⟩ = ⟨x, ConvTranspose y⟩, with the same weight."""
    options = {"pad": SamePad(), "stride": stride, "dilation": dilation, "bias": False}
    there, back = Conv((kernel,), 2, 3, **options), ConvTranspose((kernel,), 3, 2, outpad=stride - 1, **options)  # type: ignore[arg-type]
    back.load_state_dict(there.state_dict())
    x, y = torch.randn(1, 2, 4 * stride), torch.randn(1, 3, 4)
    torch.testing.assert_close((there(x) * y).sum(), (x * back(y)).sum(), rtol=1e-4, atol=1e-4)
