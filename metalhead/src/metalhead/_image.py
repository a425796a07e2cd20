"""`Image`: pixels together with what their numbers mean, so that nothing that works on them has to guess."""

import io
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import PIL.Image
import torch
from PIL import ImageCms
from torch import Tensor

__all__ = ["Image"]

CHANNELS = {"1": 1, "L": 1, "I;16": 1, "I": 1, "F": 1, "LA": 2, "RGB": 3, "YCbCr": 3, "LAB": 3, "RGBA": 4, "CMYK": 4}
DEEP = ("I;16", "I", "F")
BITS = {"1": 1, "I;16": 16, "I": 32, "F": 32}
WHITE = {"1": 1.0, "I;16": 65535.0, "I": None, "F": None, "LAB": None}
TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, repr=False)
class Image:
    """A picture: its pixels, and what is known of them.

    Arguments:
        pixels: a Pillow image, as it lies in the file; its mode is the colour space and the depth.
        white: the number that means full intensity; as the mode says, unless given for gray or RGB. None where
            neither says it ("I", "F"), or there is none ("LAB").
        orientation: the EXIF tag, 1 to 8: how the pixels have to be turned to be upright.
        icc: the colour profile, if there is one.
        frames: how many the file has; these are the pixels of one of them.
        source: where it comes from, for messages.
        extent: the height and width of the picture in pixels, where the last row or column is only partly covered,
            as in a JPEG that was decoded smaller.

    >>> image = Image.of(torch.zeros(3, 4, 5, dtype=torch.uint8), colour="RGB", layout="CHW")
    >>> image, image.size, image.bits
    (Image(RGB, 4 × 5, 8 bits), (4, 5), 8)
    """

    pixels: PIL.Image.Image
    white: float | None = None
    orientation: int = 1
    icc: bytes | None = None
    frames: int = 1
    source: str = ""
    extent: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.colour not in CHANNELS:
            known = ", ".join(CHANNELS)
            raise ValueError(f"{self.name} is in Pillow's mode {self.colour!r}, which is none of {known}: convert it")
        white = WHITE.get(self.colour, 255.0)
        if self.white is None:
            object.__setattr__(self, "white", white)
        if self.white != white and self.colour not in (*DEEP, "L", "RGB"):
            raise ValueError(f"white of {self.name}, which is {self.colour}, is {white}, not {self.white}")
        if self.orientation not in range(1, 9):
            raise ValueError(f"orientation must be EXIF's 1 to 8, not {self.orientation!r}")

    @classmethod
    def of(cls, values: Any, colour: str, layout: str, white: float | None = None, **known: Any) -> "Image":
        """An image of an array or tensor, of which is said what it holds.

        Arguments:
            values: uint8, uint16, bool or float32.
            colour: Pillow's name of the space: "L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB".
            layout: "HW", "HWC" or "CHW".
            white: full intensity; known for integers and bool, to be given for floats.

        Raises:
            ValueError: the shape is not what colour and layout say, or there is no such image.
        """
        array = _interleaved(np.asarray(values), layout)
        channels = 1 if array.ndim == 2 else array.shape[2]
        if colour not in CHANNELS or CHANNELS[colour] != channels:
            raise ValueError(f"{colour!r} has {CHANNELS.get(colour)} channels, {layout} {array.shape} has {channels}")
        deep = {"uint16": "I;16", "float32": "F", "bool": "1"}.get(array.dtype.name)
        if (array.dtype.name != "uint8" and colour != "L") or (array.dtype.name != "uint8" and deep is None):
            raise ValueError(f"there are no {colour} images of {array.dtype} here: give uint8, or one channel")
        if deep == "F" and white is None:
            raise ValueError("of floats it has to be said which number is white: white=1.0, or white=255.0")
        pixels = PIL.Image.fromarray(array)
        if pixels.mode != (deep or colour):
            pixels = PIL.Image.frombytes(colour, pixels.size, array.tobytes())
        return cls(pixels, white, **known)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.source or "the image"

    @property
    def colour(self) -> str:
        """The colour space, by Pillow's name."""
        return self.pixels.mode

    @property
    def channels(self) -> int:
        """How many numbers a pixel has."""
        return CHANNELS[self.colour]

    @property
    def bits(self) -> int:
        """Of each of these numbers."""
        return BITS.get(self.colour, 8)

    @property
    def layout(self) -> str:
        """How the numbers lie in memory: "HW" or "HWC"."""
        return "HW" if self.channels == 1 else "HWC"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, upright."""
        width, height = self.pixels.size
        return (width, height) if self.orientation >= 5 else (height, width)

    def __repr__(self) -> str:
        known = [self.colour, "{} × {}".format(*self.size), f"{self.bits} bit{'s' * (self.bits > 1)}"]
        known += [f"orientation {self.orientation}"] * (self.orientation != 1) + ["profile"] * (self.icc is not None)
        known += [f"{self.frames} frames"] * (self.frames > 1) + [f"from {self.source}"] * bool(self.source)
        return f"Image({', '.join(known)})"

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        shown = self.upright() if self.white is None else self.upright().eight_bits()
        (shown.pixels if shown.colour in ("L", "LA", "RGB", "RGBA") else shown.pixels.convert("RGB")).save(file, "png")
        return file.getvalue()

    def with_(self, **changes: Any) -> "Image":
        """The image with other pixels, or another thing known of them."""
        return replace(self, **changes)

    def upright(self) -> "Image":
        """The image turned as its orientation says, which is 1 then."""
        if self.orientation == 1:
            return self
        return self.with_(pixels=self.pixels.transpose(TURNS[self.orientation]), orientation=1, extent=None)

    def to(self, colour: str, background: tuple[int, ...] | None = None) -> "Image":
        """The image in gray, "L", or "RGB".

        A profile is honoured: the result is in sRGB. Without one, CMYK is converted as if inks were ideal.

        Arguments:
            background: the colour, of 8 bits, behind what is transparent.

        Raises:
            ValueError: something is transparent and there is no background; the image is deeper than 8 bits; or the
                profile doesn't fit.
        """
        if colour not in ("L", "RGB"):
            raise ValueError(f'an image is converted to "L" or "RGB", not to {colour!r}')
        if self.colour in DEEP and colour == "RGB":
            raise ValueError(f"{self.name} has {self.bits} bits, which RGB has not here: reduce it, by eight_bits()")
        if self.colour in DEEP or (self.colour == colour and self.icc is None):
            return self
        image = self.eight_bits()
        image = image._opaque(background) if image.colour in ("LA", "RGBA") else image
        pixels = _in_srgb(image) if image.icc is not None else image.pixels
        try:
            return image.with_(pixels=pixels.convert(colour), icc=None, white=image.white or 255.0)
        except ValueError as error:
            raise ValueError(f"{self.name} can't be converted from {self.colour} to {colour}: {error}") from error

    def _opaque(self, background: tuple[int, ...] | None) -> "Image":
        """The image without its alpha channel, in front of a background in sRGB."""
        alpha = self.pixels.getchannel("A")
        image = self.with_(pixels=self.pixels.convert(self.colour[:-1]))
        if alpha.getextrema()[0] == 255:
            return image
        if background is not None and np.shape(background) != (3,):
            raise ValueError(f"a background is (red, green, blue), not {background!r}")
        if background is None:
            raise ValueError(f"{self.name} is transparent in places: say on which background=, e.g. (255, 255, 255)")
        behind = PIL.Image.new("RGB", alpha.size, tuple(background))
        behind.paste(image.to("RGB").pixels, mask=alpha)
        return self.with_(pixels=behind, icc=None)

    def eight_bits(self) -> "Image":
        """The image with 8 bits a number, rounded, of which 255 is white.

        Raises:
            ValueError: nobody said which number is white.
        """
        if self.colour not in DEEP and self.white in (None, 255.0):
            return self
        values = np.asarray(self.pixels, np.float32) * np.float32(255 / self.known_white())
        return self.with_(pixels=PIL.Image.fromarray(np.rint(values.clip(0, 255)).astype(np.uint8)), white=255.0)

    def known_white(self) -> float:
        """The number that means full intensity."""
        if self.white is None:
            advice = 'convert it to("RGB")' if self.colour == "LAB" else "say which is white, by with_(white=...)"
            raise ValueError(f"{self.name} has numbers of mode {self.colour!r}: {advice}")
        return self.white

    def values(self) -> Tensor:
        """The numbers as they are, upright: (channels, height, width) of bool, uint8, uint16, int32 or float32."""
        values = torch.from_numpy(np.array(self.upright().pixels))
        return values[None] if values.ndim == 2 else values.permute(2, 0, 1)


def _interleaved(array: np.ndarray, layout: str) -> np.ndarray:
    if layout not in ("HW", "HWC", "CHW") or array.ndim != len(layout):
        raise ValueError(f'layout must be "HW", "HWC" or "CHW" and fit the shape {array.shape}, not {layout!r}')
    array = array.transpose(1, 2, 0) if layout == "CHW" else array
    if 0 in array.shape:
        raise ValueError(f"an image of shape {array.shape} has no pixels")
    return np.ascontiguousarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def _in_srgb(image: Image) -> PIL.Image.Image:
    try:
        transform = _transform(image.icc or b"", image.colour)
        return image.pixels if transform is None else ImageCms.applyTransform(image.pixels, transform) or image.pixels
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        advice = "to ignore it: with_(icc=None)"
        raise ValueError(
            f"the colour profile of {image.name} doesn't fit {image.colour} ({error}); {advice}"
        ) from error


@lru_cache(maxsize=16)
def _transform(icc: bytes, mode: str) -> Any:
    """What takes pixels with this profile to sRGB; None if they are in it."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    if mode == "RGB" and ImageCms.getProfileDescription(profile).strip().startswith("sRGB"):
        return None
    return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
