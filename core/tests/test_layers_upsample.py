"""Upsampling and pixel shuffling."""

import pytest
import torch

from torchflux.layers import Upsample

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
    with pytest.raises(ValueError, match="size or scale_factor"):
        Upsample(**options)(LINE)
