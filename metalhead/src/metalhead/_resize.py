"""Size, crop, tensor, mean and deviation: what takes an image to a model, each reading what the image knows."""

from collections.abc import Sequence
from typing import TypeVar

import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from ._image import DEEP, Image

__all__ = ["centre_crop", "normalise", "resize", "to_tensor"]

Picture = TypeVar("Picture", Image, Tensor)

FILTERS = {
    "nearest": PIL.Image.Resampling.NEAREST,
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "bicubic": PIL.Image.Resampling.BICUBIC,
}


def to_tensor(image: Image) -> Tensor:
    """The image as float32 (channels, height, width), upright, in which 1 is full intensity.

    Raises:
        ValueError: nobody said which number is full intensity.

    >>> to_tensor(Image.of(torch.full((1, 2), 51, dtype=torch.uint8), "L", "HW"))
    tensor([[[0.2000, 0.2000]]])
    """
    return image.values().to(torch.float32, memory_format=torch.contiguous_format).div_(image.known_white())


def resize(image: Picture, size: int | tuple[int, int], interpolation: str = "bilinear") -> Picture:
    """The image in another size, antialiased: what gets smaller is averaged over all that a pixel covers.

    Arguments:
        image: an `Image`, or a tensor (..., height, width) of uint8 or floats.
        size: of the shorter side, or (height, width).
        interpolation: "bilinear", "bicubic" or "nearest".

    >>> resize(torch.zeros(3, 20, 31), 10).shape
    torch.Size([3, 10, 15])
    """
    image, target = _upright(image), target_size(_extent(image), size)
    if interpolation not in FILTERS:
        raise ValueError(f"interpolation must be one of {', '.join(FILTERS)}, not {interpolation!r}")
    if isinstance(image, Tensor):
        return _resized(image, target, interpolation)
    if interpolation != "nearest":  # which Pillow takes for bits, while it rounds whole numbers, however few there are
        gray = image.colour in DEEP or (image.colour == "L" and image.white != 255)
        image = image.with_(pixels=image.pixels.convert("F")) if gray else image.eight_bits()
    height, width = _extent(image)
    pixels = image.pixels.resize(target[::-1], FILTERS[interpolation], box=(0, 0, width, height))
    return image.with_(pixels=pixels, extent=None)


def target_size(extent: tuple[float, float], size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width after a resize of the shorter side, or of both.

    >>> target_size((480, 640), 256)
    (256, 341)
    """
    short, long = sorted(extent)
    if not isinstance(size, int):
        target = tuple(size)
    elif extent[0] <= extent[1]:
        target = size, int(size * long / short)
    else:
        target = int(size * long / short), size
    if len(target) != 2 or min(target) < 1:
        raise ValueError(f"size must be one number or (height, width), at least 1, not {size!r}")
    return target


def _resized(x: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    """Of a tensor; bytes and half precision are computed in float32 and rounded once."""
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise TypeError(f"tensors to be resized have uint8 or floats, not {x.dtype}")
    stack = x.reshape(-1, 1, *x.shape[-2:])
    if interpolation == "nearest":
        result = F.interpolate(stack, size, mode="nearest-exact")
    else:
        stack = stack if x.dtype == torch.float64 else stack.float()
        result = F.interpolate(stack, size, mode=interpolation, antialias=True)
    result = result.round_().clamp_(0, 255) if x.dtype == torch.uint8 else result
    return result.to(x.dtype).reshape(*x.shape[:-2], *size)


def centre_crop(image: Picture, size: int | tuple[int, int]) -> Picture:
    """The middle of an image, or of a tensor (..., height, width).

    Arguments:
        size: of the square, or (height, width).

    Raises:
        ValueError: the image is smaller; nothing is filled in.

    >>> centre_crop(torch.arange(16).reshape(4, 4), 2)
    tensor([[ 5,  6],
            [ 9, 10]])
    """
    image = _upright(image)
    whole = tuple(image.shape[-2:]) if isinstance(image, Tensor) else image.size
    top, left, bottom, right = centre((whole[0], whole[1]), size)
    if isinstance(image, Tensor):
        return image[..., top:bottom, left:right]
    return image.with_(pixels=image.pixels.crop((left, top, right, bottom)), extent=None)


def centre(whole: tuple[int, int], size: int | tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of the middle."""
    height, width = (size, size) if isinstance(size, int) else size
    if not (1 <= height <= whole[0] and 1 <= width <= whole[1]):
        raise ValueError(f"a crop of {height} × {width} doesn't fit an image of {whole[0]} × {whole[1]}: resize first")
    top, left = round((whole[0] - height) / 2), round((whole[1] - width) / 2)
    return top, left, top + height, left + width


def normalise(image: Image | Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(image - mean) / std, by channel, where 1 is full intensity.

    Arguments:
        image: an `Image`, or a tensor of floats (..., channels, height, width).
        mean: of each channel.
        std: the standard deviation of each channel.

    Raises:
        ValueError: there are more or fewer channels.
        TypeError: a tensor of integers, whose full intensity is not known.

    >>> normalise(torch.ones(1, 1, 2), [0.5], [0.25])
    tensor([[[2., 2.]]])
    """
    x = to_tensor(image) if isinstance(image, Image) else image
    if not x.is_floating_point():
        raise TypeError(f"a tensor of {x.dtype} is not normalised: divide it by its full intensity first")
    if x.ndim < 3 or not x.shape[-3] == len(mean) == len(std):
        raise ValueError(f"{len(mean)} means and {len(std)} deviations for a tensor of shape {tuple(x.shape)}")
    centre, scale = (x.new_tensor(numbers)[:, None, None] for numbers in (mean, std))
    return (x - centre) / scale


def _upright(image: Picture) -> Picture:
    return image.upright() if isinstance(image, Image) else image


def _extent(image: Image | Tensor) -> tuple[float, float]:
    if isinstance(image, Tensor):
        if image.ndim < 2 or 0 in image.shape:
            raise ValueError(f"a tensor of shape {tuple(image.shape)} is no image (..., height, width) with pixels")
        return image.shape[-2], image.shape[-1]
    return image.extent or image.size
