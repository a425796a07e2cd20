"""Weights in files: read without running code, and, where they are published, fetched and checked.

`Weights` is a published file with what belongs to it; nothing is fetched unless `fetch` is called.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ._fetch import fetched

__all__ = ["Weights", "read_weights"]

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """A published file of weights, with what belongs to it.

    Arguments:
        name: of these weights, e.g. "resnet50.imagenet1k_v2".
        model: the name of the model that they are for.
        url: where the file is.
        sha256: its hash in hexadecimal digits, or as many of the first ones as are published (at least 8).
        preprocessing: what makes an image of the model's input.
        labels: the name of each class.
        metrics: what was measured with them, e.g. {"acc@1": 80.858}.
        source: who trained them, where that is described, and under which licence.

    >>> weights = Weights("tiny.v1", "resnet18", "https://example.org/tiny.safetensors", "0" * 64)
    >>> weights.path.name
    'tiny.v1-00000000.safetensors'
    """

    name: str
    model: str
    url: str
    sha256: str
    preprocessing: Any = None
    labels: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{8,64}", self.sha256):
            raise ValueError(f"sha256 of {self.name} must be 8 to 64 hexadecimal digits, not {self.sha256!r}")

    @property
    def path(self) -> Path:
        """Where the file is kept, once it was fetched."""
        suffix = Path(self.url).suffix or ".safetensors"
        return _folder() / f"{self.name}-{self.sha256[:8]}{suffix}"

    def fetch(self) -> Path:
        """Fetches the file into the cache, unless it is there, checks its hash, and gives its path.

        Raises:
            ValueError: the file has another hash; nothing is kept then.
            OSError: it can't be fetched.
        """
        if not self.path.is_file():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fetched(self.url, self.path, self._check)
        return self.checked()

    def checked(self) -> Path:
        """The path of the file in the cache, whose hash is checked once more.

        Raises:
            FileNotFoundError: it was not fetched yet.
            ValueError: it has another hash.
        """
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.name} is not in the cache ({self.path}); fetch it first, by its fetch()")
        self._check(self.path)
        return self.path

    def _check(self, path: Path) -> None:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(self.sha256):
            where, advice = (f"{path} ({self.url})", "delete it") if path == self.path else (self.url, "it isn't kept")
            raise ValueError(f"{where} has the SHA-256 {found}, {self.name} has {self.sha256}: {advice}")


def _folder() -> Path:
    """Where weights are kept: in `TORCHFLUX_CACHE`, or the user's cache folder."""
    given = os.environ.get("TORCHFLUX_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(given) if given else home / "torchflux") / "weights"


def read_weights(path: str | os.PathLike[str]) -> Tensors:
    """The tensors of a file by name: safetensors, or what `torch.save` wrote, read with `weights_only=True`.

    A checkpoint that has the weights under "state_dict", "model" or the like is looked into, first for their moving
    average ("state_dict_ema", "model_ema"), as timm does. What wrappers put in front of the names ("module.",
    "_orig_mod.") is taken away, and so is the count of an average.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut short, is of neither format, or holds something else than named tensors.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"weights are a file, a dict of tensors or an entry of published ones, not {path!r}")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}; published ones are given as an entry, published(name)")
    try:
        content = _read(path)
    except Exception as error:
        raise ValueError(
            f"{path} is neither a safetensors file nor weights by torch.save, or cut short: {error}"
        ) from error
    return _tensors(content, str(path))


def _read(path: Path) -> Any:
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:9] == b"{":  # safetensors: the length of a header in JSON, and the header
        return safetensors.torch.load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


WRAPPED = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model_state", "model", "net")


def _tensors(content: Any, name: str) -> Tensors:
    for key in WRAPPED if isinstance(content, Mapping) else ():
        if isinstance(content.get(key), Mapping):
            return _tensors(content[key], name)
    if not isinstance(content, Mapping) or not all(isinstance(x, Tensor) for x in content.values()):
        raise ValueError(f"{name} holds no tensors by name, but a {type(content).__name__}; give a state_dict")
    prefix = re.compile(r"^(module\.|_orig_mod\.)+")
    return {prefix.sub("", key): x for key, x in content.items() if key != "n_averaged"}


def given_tensors(source: Any) -> Tensors:
    """The tensors of whatever weights are given as."""
    if isinstance(source, Weights):
        return read_weights(source.checked())
    return _tensors(source, "the dict") if isinstance(source, Mapping) else read_weights(source)
