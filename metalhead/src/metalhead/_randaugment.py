"""RandAugment: a few of fourteen changes, drawn for each image, all of one strength."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator, Tensor

from ._augment import checked, integers
from ._colour import autocontrast, brightness, contrast, equalize, posterize, saturation, sharpness, solarize
from ._warp import affine, rotation, warp

__all__ = ["RandAugment"]

STRONGEST = 30
Change = Callable[[Tensor, Tensor, "RandAugment"], Tensor]


def _warped(x: Tensor, inverse: Tensor, how: "RandAugment") -> Tensor:
    return warp(x, inverse, how.interpolation, how.fill)


# Each takes the images, the signed strength of each from -1 to 1, and where to look up the rest. The ranges are those
# of the paper's code for ImageNet, as torchvision has them: 150 of 331 pixels, 30°, factors 0.1 to 1.9, 4 of 8 bits.
CHANGES: dict[str, Change] = {
    "identity": lambda x, s, how: x,
    "shear_x": lambda x, s, how: _warped(x, affine(len(x), x, b=0.3 * s), how),
    "shear_y": lambda x, s, how: _warped(x, affine(len(x), x, c=0.3 * s), how),
    "translate_x": lambda x, s, how: _warped(x, affine(len(x), x, x=-(150 / 331 * x.shape[3] * s).trunc()), how),
    "translate_y": lambda x, s, how: _warped(x, affine(len(x), x, y=-(150 / 331 * x.shape[2] * s).trunc()), how),
    "rotate": lambda x, s, how: _warped(x, rotation(30 * s, x.shape[2], x.shape[3]), how),
    "brightness": lambda x, s, how: brightness(x, 1 + 0.9 * s),
    "colour": lambda x, s, how: saturation(x, 1 + 0.9 * s),
    "contrast": lambda x, s, how: contrast(x, 1 + 0.9 * s),
    "sharpness": lambda x, s, how: sharpness(x, 1 + 0.9 * s),
    "posterize": lambda x, s, how: posterize(x, 8 - (4 * s.abs()).round()),
    "solarize": lambda x, s, how: solarize(x, 1 - s.abs()),
    "autocontrast": lambda x, s, how: autocontrast(x),
    "equalize": lambda x, s, how: equalize(x),
}


@dataclass(frozen=True)
class RandAugment:
    """Changes each image `n` times, each time in one of fourteen ways, by a strength from 0 to 30.

    >>> import torch
    >>> RandAugment(2, 9)(torch.rand(4, 3, 16, 16), torch.Generator().manual_seed(0)).shape
    torch.Size([4, 3, 16, 16])

    Source: E. Cubuk et al., arXiv:1909.13719.
    """

    n: int = 2
    strength: float = 9
    interpolation: str = "nearest"
    fill: float = 0.0

    def __post_init__(self) -> None:
        if self.n < 0 or not 0 <= self.strength <= STRONGEST:
            raise ValueError(f"{self}: n must be at least 0, the strength from 0 to {STRONGEST}")

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """x: (batch, 1 or 3, height, width), floats from 0 to 1."""
        x = checked(x).clone()
        for _ in range(self.n):
            which = integers(len(CHANGES), (len(x),), generator, x)
            sign = integers(2, (len(x),), generator, x) * 2 - 1
            for k, change in enumerate(CHANGES.values()):
                chosen = which == k
                if chosen.any():
                    x[chosen] = change(x[chosen], (sign[chosen] * self.strength / STRONGEST).to(x), self)
        return x
