"""CIFAR-10 and CIFAR-100, from their binary version."""

import os
from pathlib import Path

import numpy as np
import torch

from ._dataset import Images, Parts

__all__ = ["cifar10", "cifar100"]

PIXELS = 3 * 32 * 32
TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar10(folder: str | os.PathLike[str]) -> Parts:
    """50000 and 10000 colour images of 32 × 32 in ten classes.

    Arguments:
        folder: where `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin` are, or the folder
            `cifar-10-batches-bin` with them; `download` gets them.

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    folder = _inner(Path(folder), "cifar-10-batches-bin")
    train, test = [folder / f"data_batch_{i}.bin" for i in range(1, 6)], [folder / "test_batch.bin"]
    return Parts("CIFAR-10", {"train": _read(train, 1, 0, TEN), "test": _read(test, 1, 0, TEN)})


def cifar100(folder: str | os.PathLike[str], coarse: bool = False) -> Parts:
    """As `cifar10`, in a hundred classes, or in the twenty that these are grouped in.

    Arguments:
        folder: where `train.bin`, `test.bin` and the names of the classes are, or the folder `cifar-100-binary`.
        coarse: the twenty.
    """
    folder = _inner(Path(folder), "cifar-100-binary")
    file = _existing(folder / f"{'coarse' if coarse else 'fine'}_label_names.txt")
    labels = tuple(file.read_text().split())
    parts = {part: _read([folder / f"{part}.bin"], 2, 0 if coarse else 1, labels) for part in ("train", "test")}
    return Parts("CIFAR-100", parts)


def _inner(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_dir() else folder


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}; metalhead.download gets it, once asked")
    return file


def _read(files: list[Path], head: int, which: int, labels: tuple[str, ...]) -> Images:
    """Records of `head` bytes of targets and the pixels, channel by channel."""
    contents = [_existing(file).read_bytes() for file in files]
    for file, content in zip(files, contents, strict=True):
        if not content or len(content) % (head + PIXELS):
            raise ValueError(f"{file} has {len(content)} bytes, which are not whole records of {head + PIXELS}")
    records = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, head + PIXELS)
    images = records[:, head:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Images(torch.from_numpy(np.ascontiguousarray(images)), records[:, which].tolist(), labels)
