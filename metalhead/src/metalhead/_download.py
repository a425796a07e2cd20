"""`download`: published data sets, fetched when asked to and only then, with their hash checked."""

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ._fetch import fetched

__all__ = ["download"]


@dataclass(frozen=True)
class Published:
    """Files of a data set: where they are, and the MD5 that is published of each."""

    url: str
    files: Mapping[str, str]


# The hashes are those of the data sets' own pages (CIFAR) and of torchvision 0.28 (MNIST).
PUBLISHED = {
    "mnist": Published(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion_mnist": Published(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "cifar10": Published(
        "https://www.cs.toronto.edu/~kriz/", {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"}
    ),
    "cifar100": Published(
        "https://www.cs.toronto.edu/~kriz/", {"cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8"}
    ),
}


def download(which: str, folder: str | os.PathLike[str], mirror: str | None = None) -> Path:
    """Fetches a data set into a folder, unless it is there: "mnist", "fashion_mnist", "cifar10" or "cifar100".

    Each file is written beside its place, checked, and only then moved there; archives are unpacked.

    Arguments:
        mirror: another address that has the same files.

    Returns:
        The folder, for the function of the same name: `cifar10(download("cifar10", "data"))`.

    Raises:
        ValueError: there is no such data set, or a file has another hash; it is not kept then.
        OSError: a file can't be fetched.
    """
    if which not in PUBLISHED:
        raise ValueError(f"{which!r} is not one of {', '.join(PUBLISHED)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, md5 in PUBLISHED[which].files.items():
        file = folder / name
        if not file.is_file() or _md5(file) != md5:
            _fetch((mirror or PUBLISHED[which].url).rstrip("/") + "/" + name, file, md5)
        if name.endswith(".tar.gz"):
            _unpack(file, folder)
    return folder


def _fetch(url: str, file: Path, md5: str) -> None:
    def check(temporary: Path) -> None:
        if (found := _md5(temporary)) != md5:
            raise ValueError(f"{url} has the MD5 {found}, not the published {md5}: it is another file, or was cut")

    fetched(url, file, check)


def _unpack(file: Path, folder: Path) -> None:
    """Puts what an archive holds into the folder, unless it is there; never half of it."""
    with tarfile.open(file) as archive, tempfile.TemporaryDirectory(dir=folder, prefix=".unpacked-") as whole:
        archive.extractall(whole, filter="data")
        for entry in os.scandir(whole):
            if not (folder / entry.name).exists():
                os.replace(entry.path, folder / entry.name)


def _md5(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
