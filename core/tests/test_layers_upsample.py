"""Upsampling and pixel shuffling."""

import pytest
import torch

from torchflux.layers import PixelShuffle, Upsample

LINE = torch.tensor([[[0.0, 1.0]]])


def test_nearest_repeats() -> None:
    assert Upsample(scale=2)(LINE).flatten().tolist() == [0.0, 0.0, 1.0, 1.0]
    assert Upsample(size=3)(LINE).flatten().tolist() == [0.0, 0.0, 1.0]


def test_corners_are_pytorchs_unless_fluxs_are_asked_for() -> None:
    assert Upsample("linear", scale=2)(LINE).flatten().tolist() == [0.0, 0.25, 0.75, 1.0]
    flux = Upsample("linear", size=4, align_corners=True)(LINE)
    torch.testing.assert_close(flux.flatten(), torch.tensor([0, 1 / 3, 2 / 3, 1]))


def test_a_scale_per_dimension() -> None:
    assert Upsample("bilinear", scale=(2, 3))(torch.zeros(1, 1, 4, 5)).shape == (1, 1, 8, 15)


@pytest.mark.parametrize("options", [{}, {"scale": 2, "size": 4}])
def test_one_of_scale_and_size(options: dict) -> None:
    with pytest.raises(ValueError, match="one of scale and size; got scale="):
        Upsample(**options)


def test_pixels_of_a_line_come_from_its_channels() -> None:
    x = torch.tensor([[[0.0, 1.0], [10.0, 11.0], [5.0, 6.0], [50.0, 60.0]]])  # 4 channels, length 2
    assert PixelShuffle(2)(x).tolist() == [[[0.0, 10.0, 1.0, 11.0], [5.0, 50.0, 6.0, 60.0]]]
