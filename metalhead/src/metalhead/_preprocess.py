"""`Preprocess`: what was done to the images that a model was trained on, done to any image."""

from dataclasses import dataclass
from os import PathLike
from typing import Any

import PIL.Image
import torch
from torch import Tensor

from ._image import DEEP, WHITE, Image
from ._read import expanded, load, read_orientation
from ._resize import FILTERS, centre, centre_crop, normalise, resize, resized_box, target_size

__all__ = ["Preprocess"]


@dataclass(frozen=True)
class Preprocess:
    """Resizes the shorter side, cuts the middle out, scales to 0..1 and normalises.

    It does what torchvision's `ImageClassification` does, to the same numbers up to rounding. As many means make as
    many channels: one makes gray images, three RGB ones.

    Arguments:
        size: of the shorter side after resizing.
        crop: of the middle square.
        mean: of each channel; the default is ImageNet's.
        std: the standard deviation of each channel.
        interpolation: "bilinear" or "bicubic", antialiased, or "nearest".
        background: the colour, of 8 bits, behind what is transparent; without one such images are refused.
        reducing_gap: where speed counts more than the last bits: JPEGs are decoded smaller and large images averaged
            first, yet never to less than so many times the final size. 2 is barely visible, 3 is not.

    An image: a path, the bytes of a file, an `Image`, a Pillow image, or a tensor (..., channels, height, width) of
    uint8, or of floats of which 1 is full intensity. The result: float32 (channels, crop, crop).

    >>> Preprocess(size=32, crop=28)(torch.zeros(2, 3, 64, 48, dtype=torch.uint8)).shape
    torch.Size([2, 3, 28, 28])

    Source: K. Simonyan, A. Zisserman, arXiv:1409.1556, sections 2.1 and 3.2.
    """

    size: int = 256
    crop: int = 224
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    background: tuple[int, ...] | None = None
    reducing_gap: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.size:
            raise ValueError(f"a crop of {self.crop} can't be cut from images whose shorter side is {self.size}")
        if len(self.mean) not in (1, 3) or len(self.std) != len(self.mean) or not all(s > 0 for s in self.std):
            raise ValueError(f"mean and positive std are of 1 or 3 channels, not {self.mean} and {self.std}")
        if self.interpolation not in FILTERS:
            raise ValueError(f"interpolation must be one of {', '.join(FILTERS)}, not {self.interpolation!r}")
        if self.reducing_gap is not None and not self.reducing_gap >= 1:
            raise ValueError(f"reducing_gap must be at least 1, not {self.reducing_gap}")

    def __call__(self, image: str | PathLike[str] | bytes | Image | PIL.Image.Image | Tensor) -> Tensor:
        """The tensor that a model takes; batches of tensors stay batches."""
        if isinstance(image, Tensor):
            return self._of_tensor(image)
        return self.finished(self.cut(image))

    def cut(self, image: Any) -> Image:
        """The resized middle of any image but a tensor, in the colours that the model takes: what the model sees."""
        shorter = None if self.reducing_gap is None else int(self.size * self.reducing_gap)
        image = as_image(image, shorter).upright()
        if image.colour not in DEEP:
            image = image.to("L" if len(self.mean) == 1 else "RGB", self.background)
        return self._middle(image)

    def _middle(self, image: Image) -> Image:
        if self.reducing_gap is None:
            return centre_crop(resize(image, self.size, self.interpolation), self.crop)
        extent = image.extent or image.size
        target = target_size(extent, self.size)
        scale = extent[0] / target[0], extent[1] / target[1]
        top, left, bottom, right = centre(target, self.crop)  # what would be cut off is not resized
        box = top * scale[0], left * scale[1], min(bottom * scale[0], extent[0]), min(right * scale[1], extent[1])
        return resized_box(image, box, (self.crop, self.crop), self.interpolation, self.reducing_gap)

    def finished(self, image: Image) -> Tensor:
        """The tensor of what was cut: (image / white - mean) / std, in one multiplication and one addition."""
        white = image.known_white()
        scale = torch.tensor([1 / (white * s) for s in self.std])[:, None, None]
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)])[:, None, None]
        x = image.values().to(torch.float32)
        return torch.addcmul(shift, x, scale) if len(x) != 1 else x * scale + shift

    def _of_tensor(self, x: Tensor) -> Tensor:
        if x.ndim < 3 or x.shape[-3] not in (1, len(self.mean)):
            raise ValueError(f"a tensor of shape {tuple(x.shape)} is not (..., {len(self.mean)}, height, width)")
        x = centre_crop(resize(x, self.size, self.interpolation), self.crop)
        x = x.to(torch.float32) / 255 if x.dtype == torch.uint8 else x
        return normalise(x.expand(*x.shape[:-3], len(self.mean), -1, -1), self.mean, self.std)


def as_image(image: Any, draft: int | None = None) -> Image:
    """An `Image` of whatever a user has that is one."""
    if isinstance(image, Image):
        return image
    if isinstance(image, PIL.Image.Image):
        return _of_pillow(image)
    if isinstance(image, str | bytes | PathLike):
        return load(image, draft=draft)
    raise TypeError(f"an image is a path, bytes, an Image or a Pillow image, not a {type(image).__name__}")


def _of_pillow(image: PIL.Image.Image) -> Image:
    """A Pillow image with what Pillow still knows of it."""
    orientation = read_orientation(image)
    if orientation != 1 and image.format is None:
        advice = "use PIL.ImageOps.exif_transpose first, or give the file"
        raise ValueError(f"the image's EXIF says that it is turned, but it was changed since it was read: {advice}")
    pixels = expanded(image, "the image")
    return Image(pixels, WHITE.get(pixels.mode, 255.0), orientation, image.info.get("icc_profile"))
