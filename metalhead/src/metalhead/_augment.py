"""Augmentation of batches on their device: every image of a batch has its own draw, from a generator that is given."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ._colour import brightness, contrast, hue, saturation
from ._resize import resize
from ._warp import rotation, warp

__all__ = ["Augment", "ColourJitter", "Flip", "RandomCrop", "RandomErasing", "RandomResizedCrop", "RandomRotation"]

Range = tuple[float, float]
Step = Callable[[Tensor, Generator], Tensor]
TRIES = 10


def checked(x: Tensor) -> Tensor:
    """A batch of images, or an error."""
    if x.ndim != 4 or not x.is_floating_point():
        raise ValueError(f"augmentation is of floats (batch, channels, height, width), not {x.dtype} {tuple(x.shape)}")
    return x


def uniform(low: float, high: float, shape: tuple[int, ...], generator: Generator, x: Tensor) -> Tensor:
    """Draws between two numbers, in x's dtype and on its device, wherever the generator is."""
    drawn = torch.rand(shape, generator=generator, device=generator.device)
    return (low + (high - low) * drawn).to(x)


def chosen(p: float, shape: tuple[int, ...], generator: Generator, x: Tensor) -> Tensor:
    """Draws whether, with a probability; not in x's dtype, which may round what is drawn up to 1."""
    if not 0 <= p <= 1:
        raise ValueError(f"p must be a probability, from 0 to 1, not {p}")
    return (torch.rand(shape, generator=generator, device=generator.device) < p).to(x.device)


def integers(high: Tensor | int, shape: tuple[int, ...], generator: Generator, x: Tensor) -> Tensor:
    """Draws from 0 to high - 1."""
    drawn = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64).to(x.device)
    return (drawn * high).long()


class Augment:
    """One augmentation after another.

    >>> augment = Augment(Flip(), RandomCrop(32, pad=4))
    >>> augment(torch.zeros(2, 3, 32, 32), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(self, *steps: Step) -> None:
        self.steps = steps

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """x: (batch, channels, height, width), floats."""
        for step in self.steps:
            x = step(x, generator)
        return x

    def __repr__(self) -> str:
        return f"Augment({', '.join(map(repr, self.steps))})"


@dataclass(frozen=True)
class Flip:
    """Mirrors some of the images: left to right, or upside down.

    >>> Flip(p=1.0)(torch.arange(3.0).reshape(1, 1, 1, 3), torch.Generator())
    tensor([[[[2., 1., 0.]]]])
    """

    p: float = 0.5
    vertical: bool = False

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """x: (batch, channels, height, width), floats."""
        flipped = chosen(self.p, (len(checked(x)), 1, 1, 1), generator, x)
        return torch.where(flipped, x.flip(-2 if self.vertical else -1), x)


@dataclass(frozen=True)
class RandomCrop:
    """Cuts a square out of each image at any place, after padding it."""

    size: int
    pad: int = 0
    fill: float = 0.0

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """x: (batch, channels, height, width), floats → (batch, channels, size, size)."""
        x = F.pad(checked(x), [self.pad] * 4, value=self.fill)
        n, _, height, width = x.shape
        if self.size > min(height, width):
            raise ValueError(f"a crop of {self.size} doesn't fit images of {height} × {width}, padding included")
        top, left = (integers(whole - self.size + 1, (n, 1), generator, x) for whole in (height, width))
        side = torch.arange(self.size, device=x.device)
        image = torch.arange(n, device=x.device)[:, None, None]
        return x[image, :, (top + side)[:, :, None], (left + side)[:, None, :]].movedim(-1, 1)


@dataclass(frozen=True)
class RandomResizedCrop:
    """Cuts a part of random area and aspect out of each image, and resizes it to a square, antialiased.

    Arguments:
        scale: of the area, as parts of the whole.
        ratio: of width to height.

    Source: C. Szegedy et al., arXiv:1409.4842, section 6.
    """

    size: int
    scale: Range = (0.08, 1.0)
    ratio: Range = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"

    def boxes(self, x: Tensor, generator: Generator) -> list[list[int]]:
        """Top, left, height and width for each image of the batch."""
        height, width = x.shape[-2:]
        box, fits = random_boxes(x, self.scale, self.ratio, generator)
        low, high = self.ratio  # if nothing fits: the largest middle of an allowed aspect
        h, w = min(height, round(width / low)), min(width, round(height * high))
        middle = torch.tensor([(height - h) // 2, (width - w) // 2, h, w], device=x.device)
        return torch.where(fits[:, None], box, middle).tolist()

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """x: (batch, channels, height, width), floats → (batch, channels, size, size)."""
        result = checked(x).new_empty(*x.shape[:2], self.size, self.size)
        for i, (top, left, h, w) in enumerate(self.boxes(x, generator)):
            result[i] = resize(x[i, :, top : top + h, left : left + w], (self.size, self.size), self.interpolation)
        return result


def random_boxes(x: Tensor, scale: Range, ratio: Range, generator: Generator) -> tuple[Tensor, Tensor]:
    """For each image the first of ten boxes (top, left, height, width) of random area and aspect that fits, and
    whether one did."""
    (n, _, height, width), shape = x.shape, (len(x), TRIES)
    area = height * width * uniform(*scale, shape, generator, x).double()
    aspect = uniform(math.log(ratio[0]), math.log(ratio[1]), shape, generator, x).double().exp()
    h, w = (area / aspect).sqrt().round().long(), (area * aspect).sqrt().round().long()
    fits = (h >= 1) & (w >= 1) & (h <= height) & (w <= width)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    h, w = h.gather(1, first)[:, 0], w.gather(1, first)[:, 0]
    top, left = (integers((whole - side + 1).clamp(1), (n,), generator, x) for whole, side in ((height, h), (width, w)))
    return torch.stack([top, left, h, w], 1), fits.any(1)


def inside(box: Tensor, x: Tensor) -> Tensor:
    """Which pixels are in the boxes (top, left, height, width): (batch, 1, height, width)."""
    rows, columns = (torch.arange(side, device=x.device) for side in x.shape[-2:])
    top, left, h, w = box[:, :, None].unbind(1)
    in_rows, in_columns = (rows >= top) & (rows < top + h), (columns >= left) & (columns < left + w)
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]


@dataclass(frozen=True)
class RandomErasing:
    """Fills a box in some of the images.

    Source: Z. Zhong et al., arXiv:1708.04896.
    """

    p: float = 0.5
    scale: Range = (0.02, 0.33)
    ratio: Range = (0.3, 3.3)
    fill: float = 0.0

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """x: (batch, channels, height, width), floats."""
        erased = chosen(self.p, (len(checked(x)),), generator, x)
        box, fits = random_boxes(x, self.scale, self.ratio, generator)
        return x.masked_fill(inside(box, x) & (erased & fits)[:, None, None, None], self.fill)


@dataclass(frozen=True)
class RandomRotation:
    """Turns each image about its centre, by up to so many degrees to either side."""

    degrees: float
    interpolation: str = "bilinear"
    fill: float = 0.0

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """x: (batch, channels, height, width), floats."""
        angles = uniform(-self.degrees, self.degrees, (len(checked(x)),), generator, x)
        return warp(x, rotation(angles, x.shape[-2], x.shape[-1]), self.interpolation, self.fill)


@dataclass(frozen=True)
class ColourJitter:
    """Changes each image's brightness, contrast and saturation by factors up to 1 ± these, and its hue by up to a
    part of the circle; in an order that is drawn for the batch.

    Source: A. Howard, arXiv:1312.5402, section 2.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        if min(self.brightness, self.contrast, self.saturation) < 0 or not 0 <= self.hue <= 0.5:
            raise ValueError(f"{self} must have numbers of at least 0, and a hue of at most half the circle")

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """x: (batch, 1 or 3, height, width), floats from 0 to 1."""
        strengths = {brightness: self.brightness, contrast: self.contrast, saturation: self.saturation, hue: self.hue}
        order, shape = torch.randperm(4, generator=generator, device=generator.device).tolist(), (len(checked(x)),)
        drawn = [uniform(max(-by, -1), by, shape, generator, x) for by in strengths.values()]
        changes = [(change, by if change is hue else 1 + by) for change, by in zip(strengths, drawn, strict=True)]
        for k in order:
            change, by = changes[k]
            x = change(x, by)
        return x
