"""MNIST and its kind: arrays in the idx format, packed by gzip or not."""

import gzip
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ._dataset import Images, Parts

__all__ = ["fashion_mnist", "mnist", "read_idx"]

TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
CLOTHES = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"


def read_idx(path: str | os.PathLike[str]) -> Tensor:
    """The array in an idx file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of another format, cut short, or too long.

    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", the page's end.
    """
    content = _content(Path(path))
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES or not content[3]:
        raise ValueError(f"{path} is no idx file: it starts with {content[:4]!r}")
    dtype, rank = np.dtype(TYPES[content[2]]), content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise ValueError(f"{path} is cut short, in its header")
    shape = struct.unpack(f">{rank}I", content[4:start])
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(content) != start + size:
        raise ValueError(f"{path} should have {size} bytes for the shape {shape}, but has {len(content) - start}")
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return torch.from_numpy(values.astype(dtype.newbyteorder("=")))


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged or cut short: {error}") from error


def mnist(folder: str | os.PathLike[str]) -> Parts:
    """The handwritten digits: 60000 and 10000 images of 28 × 28, in `train` and `test`.

    Arguments:
        folder: where `train-images-idx3-ubyte` and the three others are, with or without .gz; `download` gets them.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Proc. IEEE 86 (1998) 2278.
    """
    return _of_folder("MNIST", Path(folder), tuple("0123456789"))


def fashion_mnist(folder: str | os.PathLike[str]) -> Parts:
    """Pictures of clothes, in MNIST's format: see `mnist`.

    Source: H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747.
    """
    return _of_folder("Fashion-MNIST", Path(folder), tuple(CLOTHES.split(",")))


def _of_folder(name: str, folder: Path, labels: tuple[str, ...]) -> Parts:
    parts = {}
    for part, start in (("train", "train"), ("test", "t10k")):
        images, targets = (read_idx(_found(folder, f"{start}-{kind}")) for kind in ("images-idx3", "labels-idx1"))
        if images.ndim != 3 or targets.ndim != 1:
            raise ValueError(f"{folder}: the {part} images have shape {tuple(images.shape)}, not (n, height, width)")
        parts[part] = Images(images, targets.tolist(), labels)
    return Parts(name, parts)


def _found(folder: Path, name: str) -> Path:
    for ending in ("-ubyte", "-ubyte.gz"):
        if (folder / (name + ending)).is_file():
            return folder / (name + ending)
    raise FileNotFoundError(f"{folder} has no {name}-ubyte or {name}-ubyte.gz; metalhead.download gets it, once asked")
