"""`Preprocess`: what was done to the images that a model was trained on, done to any image."""

import math
from dataclasses import dataclass
from os import PathLike
from typing import Any

import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from ._image import DEEP, Image
from ._read import expanded, load, read_orientation
from ._resize import FILTERS, centre, centre_crop, normalise, resize, target_size

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
            first, yet never to less than so many times the final size, and bytes are resized by a faster kernel. Pillow
            calls 2 barely visible, 3 not.

    An image: a path, the bytes of a file, an `Image`, a Pillow image, or a tensor (..., channels, height, width) of
    uint8, or of floats from 0 to 1. The result: float32 (channels, crop, crop).

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
        if self.reducing_gap is None:
            return self.finished(self.cut(image))
        image = self._coloured(image)
        quick = image.colour in ("L", "RGB") and image.white == 255
        return self._quickly(image) if quick else self.finished(self.cut(image))

    def cut(self, image: Any) -> Image:
        """The resized middle of any image but a tensor, in the colours that the model takes: what the model sees."""
        return centre_crop(resize(self._coloured(image), self.size, self.interpolation), self.crop)

    def finished(self, image: Image) -> Tensor:
        """The tensor of what was cut."""
        return self._normalised(image.values(), image.known_white())

    def _coloured(self, image: Any) -> Image:
        """Upright and in the colours that the model takes; what is gray stays so until it is a tensor."""
        shorter = None if self.reducing_gap is None else math.ceil(self.size * self.reducing_gap)
        image = as_image(image, shorter).upright()
        gray = image.colour in DEEP or (image.channels == 1 and image.icc is None)
        return image if gray else image.to("L" if len(self.mean) == 1 else "RGB", self.background)

    def _quickly(self, image: Image) -> Tensor:
        """With PyTorch's kernel for bytes, which differs from Pillow's by 1 of 255 here and there; large images are
        averaged by an integer first, by Pillow, and of those only the middle is resized."""
        extent, gap = image.extent or image.size, self.reducing_gap or 1.0
        target = target_size(extent, self.size)
        if image.extent is None and min(extent) < 2 * gap * self.size:
            nearest = self.interpolation == "nearest"
            mode = "nearest-exact" if nearest else self.interpolation
            x = F.interpolate(image.values()[None], target, mode=mode, antialias=not nearest)[0]
            return self._normalised(centre_crop(x, self.crop), image.known_white())
        scale = extent[0] / target[0], extent[1] / target[1]
        top, left, bottom, right = centre(target, self.crop)
        box = left * scale[1], top * scale[0], min(right * scale[1], extent[1]), min(bottom * scale[0], extent[0])
        pixels = image.pixels.resize((self.crop, self.crop), FILTERS[self.interpolation], box, gap)
        return self.finished(image.with_(pixels=pixels, extent=None))

    def _normalised(self, x: Tensor, white: float) -> Tensor:
        """(x / white - mean) / std, in one multiplication and one addition."""
        scale = torch.tensor([1 / (white * s) for s in self.std])[:, None, None]
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)])[:, None, None]
        x = x.to(torch.float32, memory_format=torch.contiguous_format)
        return x.mul(scale).add_(shift) if len(x) != len(scale) else x.mul_(scale).add_(shift)

    def _of_tensor(self, x: Tensor) -> Tensor:
        if x.ndim < 3 or x.shape[-3] not in (1, len(self.mean)):
            raise ValueError(f"a tensor of shape {tuple(x.shape)} is not (..., {len(self.mean)}, height, width)")
        if x.is_floating_point() and x.numel() and not (x.min() >= -0.01 and x.max() <= 1.01):
            found = f"from {x.min():.3g} to {x.max():.3g}"
            raise ValueError(f"floats are images from 0 to 1, not {found}: divide by full intensity, don't normalise")
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
    """A Pillow image with what Pillow still knows of it, once it is read: a TIFF turns itself upright then."""
    image.load()
    orientation = read_orientation(image)
    if orientation != 1 and image.format is None:
        advice = "use PIL.ImageOps.exif_transpose first, or give the file"
        raise ValueError(f"the image's EXIF says that it is turned, but it was changed since it was read: {advice}")
    pixels = expanded(image, "the image")
    return Image(pixels, None, orientation, image.info.get("icc_profile"))
