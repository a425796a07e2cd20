"""`load`: an image from a file, through Pillow, with everything that the file says of it."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import PIL
import PIL.Image

from ._image import DEEP, Image

__all__ = ["load"]

Source = str | os.PathLike[str] | bytes

EXPANDED = {"PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "I;16B": "I;16", "I;16L": "I;16", "I;16N": "I;16"}
INTERPRETED = ("EPS", "WMF")  # programs and drawings, which other programs would run
WHOLE = ("JPEG", "PNG")  # whose files are done with once they are read, so that pixels need not be copied
ORIENTATION = 274


def load(source: Source, *, bits: int | None = None, frame: int = 0, draft: int | None = None) -> Image:
    """The image in a file, or in the bytes of one.

    It stays what it is in the file: gray, RGB or CMYK, with its alpha channel, depth and colour profile; it knows how
    it is to be turned. Palettes become RGB, or RGBA where a colour is transparent.

    Arguments:
        bits: 8 reduces deeper images to that.
        frame: which one, of an animation or of several pages.
        draft: lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size, several times faster, as long as its shorter
            side keeps so many pixels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty, no image, cut short, suspiciously large, or can't be had without loss; the error
            names the file.

    >>> file = io.BytesIO()
    >>> PIL.Image.new("L", (5, 4)).save(file, "bmp")
    >>> load(file.getvalue())
    Image(L, 4 × 5, 8 bits, from 1110 bytes)
    """
    if bits not in (None, 8):
        raise ValueError(f"bits must be 8 or None, not {bits!r}")
    name = f"{len(source)} bytes" if isinstance(source, bytes) else os.fspath(source)
    with _opened(source, name) as file:
        frames = _frames(file)
        if not 0 <= frame < frames:
            raise ValueError(f"{name} has {frames} frames, there is none of index {frame}")
        if frame:
            file.seek(frame)
        extent = _drafted(file, draft) if draft else None
        if bits is None and _loses_bits(file):
            raise ValueError(f"{name} has 16 bits a colour, of which Pillow keeps 8; say bits=8 to have it so")
        file.load()
        pixels = expanded(file, name)
        orientation, icc = read_orientation(file), file.info.get("icc_profile")
    image = Image(pixels, None, orientation, icc, frames, name, extent)
    return image.eight_bits() if bits == 8 and image.colour in DEEP else image


@contextmanager
def _opened(source: Source, name: str) -> Iterator[PIL.Image.Image]:
    """The file, of which only the header is read; every error that reading it has becomes one that names it."""
    try:
        with PIL.Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            _check(file, name)
            yield file
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ValueError(f"{name} is suspiciously large; {error} {TRUST}") from error
    except PIL.UnidentifiedImageError as error:
        raise ValueError(f"{name} {_what_else(source)}") from error
    except (OSError, SyntaxError, EOFError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{name} is damaged or cut short: {error}") from error
    except ValueError as error:
        raise error if str(error).startswith(name) else ValueError(f"{name} is damaged: {error}") from error


TRUST = "If you trust it, raise PIL.Image.MAX_IMAGE_PIXELS."


def _check(file: PIL.Image.Image, name: str) -> None:
    limit = PIL.Image.MAX_IMAGE_PIXELS
    if limit is not None and file.width * file.height > limit:
        raise ValueError(f"{name} is suspiciously large, {file.height} × {file.width} pixels. {TRUST}")
    if file.format in INTERPRETED:
        raise ValueError(f"{name} is {file.format}, which would have to be drawn by another program: convert it")


def _what_else(source: Source) -> str:
    if isinstance(source, bytes):
        start, size = source[:12], len(source)
    else:
        with open(source, "rb") as file:
            start, size = file.read(12), Path(source).stat().st_size
    return f"is no image that Pillow knows; it starts with {start!r}" if size else "is empty"


def _frames(file: Any) -> int:
    return file.n_frames if getattr(file, "is_animated", False) else 1


def _drafted(file: PIL.Image.Image, shorter: int) -> tuple[float, float] | None:
    """Lets the decoder give a smaller image; the height and width of the picture in its pixels, if not whole."""
    scale = min(file.size) // shorter
    drafted = file.draft(None, (file.width // scale, file.height // scale)) if scale > 1 else None
    return None if drafted is None or drafted[1][2:] == file.size else (drafted[1][3], drafted[1][2])


def _loses_bits(file: Any) -> bool:
    """Whether the decoder throws bits of colours away; of JPEG 2000 and AVIF Pillow doesn't tell."""
    deep = any(";16" in str(tile[3]) for tile in file.tile)
    deep |= file.format == "PPM" and any(tile[3][1] > 255 for tile in file.tile if isinstance(tile[3], tuple))
    return deep and file.mode in ("RGB", "RGBA", "LA", "CMYK")


def expanded(file: PIL.Image.Image, name: str) -> PIL.Image.Image:
    """The pixels without palettes, and with what is transparent in a channel of its own."""
    if file.mode == "P":
        return file.convert("RGBA" if file.has_transparency_data else "RGB")
    if file.mode in ("1", "L", "I;16", "RGB") and file.has_transparency_data:
        if file.mode == "I;16":
            raise ValueError(f"{name} has 16 bits and a transparent value, which are not read together: convert it")
        return file.convert("RGBA" if file.mode == "RGB" else "LA")
    if file.mode in EXPANDED:
        return file.convert(EXPANDED[file.mode])
    return file if file.format in WHOLE else file.copy()


def read_orientation(file: PIL.Image.Image) -> int:
    """The tag, or 1 where there is none or it says nothing."""
    if not any("exif" in str(key).lower() or "xmp" in str(key).lower() for key in file.info) and file.format != "TIFF":
        return 1
    try:
        found = file.getexif().get(ORIENTATION, 1)
    except (SyntaxError, ValueError, OSError, KeyError, TypeError, IndexError):
        return 1
    return found if found in range(1, 9) else 1
