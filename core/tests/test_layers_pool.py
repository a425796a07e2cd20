"""Pooling: what padding counts for, sizes, and what is refused."""

import pytest
import torch

from torchflux.layers import AdaptiveMaxPool, GlobalMaxPool, GlobalMeanPool, MaxPool, MeanPool, SamePad

X = torch.tensor([[[-1.0, -2.0, -3.0]]])


@pytest.mark.parametrize("pad", [1, (1,), (0, 2), SamePad()])
def test_padding_never_wins_a_maximum(pad: object) -> None:
    y = MaxPool((2,), pad=pad, stride=1)(X)  # type: ignore[arg-type]
    assert y.max() < 0


def test_padding_counts_as_zeros_in_a_mean() -> None:
    assert MeanPool((2,), pad=1, stride=1)(X).flatten().tolist() == [-0.5, -1.5, -2.5, -1.5]
    assert MeanPool((2,), pad=SamePad(), stride=1)(X).flatten().tolist() == [-1.5, -2.5, -1.5]
    assert MeanPool((2,), pad=(1, 0), stride=1)(X).flatten().tolist() == [-0.5, -1.5, -2.5]


def test_the_stride_is_the_window_unless_given() -> None:
    x = torch.zeros(2, 3, 10, 9)
    assert MaxPool((5, 3))(x).shape == (2, 3, 2, 3)
    assert MeanPool((5, 3), stride=(1, 2))(x).shape == (2, 3, 6, 4)


@pytest.mark.parametrize("spatial", [(4,), (4, 5), (2, 3, 4)])
def test_global_pools_keep_single_dimensions(spatial: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *spatial)
    ones = (1,) * len(spatial)
    torch.testing.assert_close(GlobalMaxPool()(x), x.flatten(2).amax(-1).reshape(2, 3, *ones))
    torch.testing.assert_close(GlobalMeanPool()(x), x.flatten(2).mean(-1).reshape(2, 3, *ones))


def test_adaptive_windows_cover_everything() -> None:
    x = torch.arange(5.0).reshape(1, 1, 5)
    assert AdaptiveMaxPool((3,))(x).flatten().tolist() == [1.0, 3.0, 4.0]
