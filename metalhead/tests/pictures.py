"""Pictures that the tests read: made here, or shipped by scikit-image."""

import io
import os

import numpy as np
import PIL.Image
import pytest


def shipped(name):
    """The path of a picture in scikit-image's own folder."""
    skimage = pytest.importorskip("skimage")
    return os.path.join(os.path.dirname(skimage.__file__), "data", name)


def noise(*shape, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def picture(mode="RGB", height=20, width=31, seed=0):
    """Random pixels in one of Pillow's modes of 8 bits or less."""
    if mode == "1":
        return PIL.Image.fromarray(noise(height, width, seed=seed) > 127)
    bands = len(PIL.Image.new(mode, (1, 1)).getbands())
    return PIL.Image.frombytes(mode, (width, height), noise(height, width, bands, seed=seed).tobytes())


def encoded(image, format="png", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()
