"""Small data sets that come with scikit-learn and scikit-image: nothing is fetched."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ._dataset import Images, Parts, in_parts

__all__ = ["digits", "faces"]


def digits() -> Parts:
    """scikit-learn's 1797 handwritten digits, 8 × 8, of which 16 is white; 70, 15 and 15 % of them.

    Source: E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, UCI, 10.24432/C50P49.
    """
    data = _installed("sklearn.datasets", "scikit-learn").load_digits()
    images = torch.from_numpy(data.images.astype(np.uint8))
    return in_parts("digits", Images(images, data.target.tolist(), tuple("0123456789"), white=16.0))


def faces() -> Parts:
    """scikit-image's 100 faces and 100 images without, 25 × 25, gray; 70, 15 and 15 % of them.

    Source: G. Huang et al., Labeled faces in the wild, 2007; cut out by scikit-image.
    """
    file = Path(_installed("skimage", "scikit-image").__file__).parent / "data" / "lfw_subset.npy"
    images = torch.from_numpy(np.load(file).astype(np.float32))
    return in_parts("faces", Images(images, [1] * 100 + [0] * 100, ("no face", "face"), white=1.0))


def _installed(module: str, distribution: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{distribution} brings these images: pip install {distribution}") from error
