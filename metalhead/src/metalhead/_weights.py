"""Weights from files: read without running code, recognised by their names, fitted to the model, and checked.

`Weights` is a published file with what belongs to it; nothing is fetched unless `fetch` is called.
"""

import hashlib
import os
import re
import urllib.request
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from torchflux import Conv

from ._keys import timm_keys
from ._model import Model

__all__ = ["Weights", "load_weights", "read_weights"]

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
            temporary = self.path.with_name(f".{self.path.name}.{os.urandom(8).hex()}")
            try:
                with urllib.request.urlopen(self.url) as answer, open(temporary, "xb") as file:
                    while block := answer.read(1 << 20):
                        file.write(block)
                self._check(temporary)
                os.replace(temporary, self.path)
            finally:
                temporary.unlink(missing_ok=True)
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
            raise ValueError(f"{path} ({self.url}) has the SHA-256 {found}, {self.name} has {self.sha256}: delete it")


def _folder() -> Path:
    """Where weights are kept: in `TORCHFLUX_CACHE`, or the user's cache folder."""
    given = os.environ.get("TORCHFLUX_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(given) if given else home / "torchflux") / "weights"


def read_weights(path: str | os.PathLike[str]) -> Tensors:
    """The tensors of a file by name: safetensors, or what `torch.save` wrote, read with `weights_only=True`.

    A checkpoint that has the weights under "state_dict", "model" or the like is looked into, and what wrappers put in
    front of the names ("module.", "_orig_mod.") is taken away.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut short, is of neither format, or holds something else than named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
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


WRAPPED = ("state_dict", "model_state_dict", "model_state", "model_ema", "model", "net")


def _tensors(content: Any, name: str) -> Tensors:
    while isinstance(content, Mapping) and (inside := next((content[k] for k in WRAPPED if k in content), None)):
        content = inside
    if not isinstance(content, Mapping) or not all(isinstance(x, Tensor) for x in content.values()):
        raise ValueError(f"{name} holds no tensors by name, but a {type(content).__name__}; give a state_dict")
    prefix = re.compile(r"^(module\.|_orig_mod\.)+")
    return {prefix.sub("", key): x for key, x in content.items()}


def load_weights(
    model: Model,
    source: Weights | str | os.PathLike[str] | Mapping[str, Any],
    *,
    adapt: Collection[str] = (),
    eps_known: bool = False,
) -> list[str]:
    """Copies weights into a model, in place.

    Names are recognised as the model's own (torchvision's, where it has the model), or timm's. What older files of
    torchvision lack (`num_batches_tracked`) or spell otherwise (DenseNet's `norm.1`) is known; heads that are only
    for training may be missing in the model.

    Arguments:
        source: a file, a dict of tensors, or `Weights` that were fetched.
        adapt: what may differ from the model, and is then fitted: "head" (stays as it is initialised), "stem" (the
            first convolution; for one channel the sum over the file's, for n channels the file's in turn, times
            their number / n) and "positions" (of a ViT, interpolated).
        eps_known: that the model's norms have the `eps` that the weights were trained with. timm's files of
            MobileNet v3 and EfficientNet don't say which of two that is.

    Returns:
        The names of the parameters that stay as they are initialised.

    Raises:
        ValueError: the names or shapes don't fit; the error lists them, and the model is unchanged.
    """
    given, target = _recognised(model, given_tensors(source)), model.state_dict()
    if isinstance(given, TimmTensors) and model.name.startswith(TWO_EPS) and not eps_known:
        raise ValueError(f"these are timm's weights for {model.name}; {EPS_ADVICE}")
    kept = [key for key in target if _under(key, model._heads) and "head" in adapt]
    given = {key: x for key, x in given.items() if key not in kept}
    _adapt(model, target, given, adapt)
    _check(model, target, given, kept)
    with torch.no_grad():
        for key, x in given.items():
            target[key].copy_(x.reshape(target[key].shape))
    return kept


def given_tensors(source: Any) -> Tensors:
    """The tensors of whatever weights are given as."""
    if isinstance(source, Weights):
        return read_weights(source.checked())
    return _tensors(source, "the dict") if isinstance(source, Mapping) else read_weights(source)


def sizes(model: Model, given: Tensors) -> tuple[int | None, int | None]:
    """How many classes and channels weights for a model of this kind have; None where they don't say."""
    known = _recognised(model, given)
    head, stem = known.get(f"{model.plan.head}.weight"), known.get(_stem(model))
    return None if head is None else len(head), None if stem is None else stem.shape[1]


def _stem(model: Model) -> str:
    """The name of the weight of the first convolution."""
    return next((f"{path}.weight" for path, m in model.named_modules() if isinstance(m, Conv)), "")


def _under(key: str, paths: Collection[str]) -> bool:
    return any(key.startswith(f"{path}.") for path in paths)


# timm's files of these families were trained with one eps or another, and their names don't tell.
TWO_EPS = ("mobilenet_v3", "efficientnet")
DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$")


EPS_ADVICE = """its files don't say which eps the norms were trained with. Make the model with eps=1e-5 or, for what
comes from TensorFlow, eps=1e-3 (but the convolutions of 'tf_' models pad otherwise, so that they give other results)"""


class TimmTensors(Tensors):
    """Tensors under our names that were under timm's."""


def _recognised(model: Model, given: Tensors) -> Tensors:
    """The tensors under our names, and without those of heads that are only for training and that we lack."""
    names = {theirs: ours for ours, theirs in timm_keys(model.name, model).items()}
    ours, timms = (sum(key in keys for key in given) for keys in (model.state_dict(), names))
    kind = TimmTensors if timms > ours else dict
    given = {names.get(key, key) if timms > ours else key: x for key, x in given.items()}
    lacking = [name for name in ("aux1", "aux2", "AuxLogits") if not hasattr(model, name)]
    return kind({DENSENET.sub(r"\1\2", key): x for key, x in given.items() if not _under(key, lacking)})


def _adapt(model: Model, target: Tensors, given: Tensors, adapt: Collection[str]) -> None:
    """Fits the first convolution and the embeddings of positions, as far as that is allowed."""
    stem = _stem(model)
    if "stem" in adapt and stem in given and given[stem].ndim == 4:
        given[stem] = _with_channels(given[stem], target[stem].shape[1])
    key = "encoder.pos_embedding"
    if "positions" in adapt and key in given and key in target and given[key].shape != target[key].shape:
        given[key] = _at_positions(given[key], target[key].shape[1])


def _with_channels(weight: Tensor, n: int) -> Tensor:
    """A first convolution's weight for n channels, on which gray or repeated images give what they gave before."""
    old = weight.shape[1]
    if n == old:
        return weight
    if n == 1:
        return weight.sum(1, keepdim=True)
    return weight.repeat(1, -(-n // old), 1, 1)[:, :n] * (old / n)


def _at_positions(embedding: Tensor, n: int) -> Tensor:
    """Embeddings of 1 + side² positions for n = 1 + side'² of them, (1, n, size)."""
    token, grid = embedding[:, :1], embedding[:, 1:]
    old, new = (round((k - 1) ** 0.5) for k in (embedding.shape[1], n))
    square = grid.float().mT.unflatten(-1, (old, old))
    square = F.interpolate(square, (new, new), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([token, square.flatten(2).mT.to(embedding.dtype)], 1)


def _check(model: Model, target: Tensors, given: Tensors, kept: Collection[str]) -> None:
    """Refuses what doesn't fit; counters and indices may be missing, for they are known."""
    known = ("num_batches_tracked", "relative_position_index")
    missing = [key for key in target if key not in given and key not in kept and not key.endswith(known)]
    problems = [f"missing: {key} {tuple(target[key].shape)}" for key in missing]
    problems += [f"not in the model: {key} {tuple(x.shape)}" for key, x in given.items() if key not in target]
    pairs = [(key, tuple(x.shape), tuple(target[key].shape)) for key, x in given.items() if key in target]
    problems += [f"{key}: {found}, the model's is {ours}" for key, found, ours in pairs if _differ(found, ours)]
    if problems:
        shown = "\n  ".join([*problems[:12], *([f"and {len(problems) - 12} more"] if len(problems) > 12 else [])])
        raise ValueError(f"these weights don't fit {model.name or type(model).__name__}:\n  {shown}\n{ADVICE}")


def _differ(found: tuple[int, ...], ours: tuple[int, ...]) -> bool:
    """Whether the shapes differ in more than how a linear map or a scale is laid out."""
    squeezed = [tuple(n for n in shape if n != 1) for shape in (found, ours)]
    flat = len(ours) == 2 and len(found) == 4 and found[0] == ours[0] and torch.Size(found).numel() == ours[0] * ours[1]
    index = len(ours) == 1 and torch.Size(found).numel() == ours[0] and len(found) == 2 and found[0] == found[1]
    return squeezed[0] != squeezed[1] and not flat and not index


ADVICE = "Another class count, other channels or another size of image: say so by nclasses, inchannels or imsize."
