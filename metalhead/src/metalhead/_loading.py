"""Weights into models: recognised by their names, fitted where that is asked for, and refused where they don't fit."""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchflux import Conv

from ._keys import timm_keys
from ._model import Model
from ._weights import Tensors, Weights, given_tensors

__all__ = ["load_weights"]


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
    for training may be missing in the model. Published `Weights` are the model's `weights` from here on, with their
    preprocessing and, unless the head is fresh, labels; after any others it has none.

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
        TypeError: the model is none of this package's.
    """
    if not isinstance(model, Model):
        raise TypeError(f"weights are loaded into a Model, not into a {type(model).__name__}: use torchflux.loadmodel")
    if isinstance(adapt, str) or not ADAPTABLE.issuperset(adapt):
        raise ValueError(f"adapt is a list of {', '.join(sorted(ADAPTABLE))}, not {adapt!r}")
    (given, by_timm), target = _recognised(model, given_tensors(source)), model.state_dict()
    if by_timm and model.name.startswith(TWO_EPS) and not eps_known:
        raise ValueError(f"these are timm's weights for {model.name}; {EPS_ADVICE}")
    kept = [key for key in target if _under(key, model._heads) and "head" in adapt]
    given = {key: x for key, x in given.items() if key not in kept}
    _adapt(model, target, given, adapt)
    _check(model, target, given, kept)
    with torch.no_grad():
        for key, x in given.items():
            target[key].copy_(x.reshape(target[key].shape))
    model.weights = origin(source, kept)
    return kept


def origin(source: Any, kept: Collection[str]) -> Weights | None:
    """The published weights that a model has: without labels where its head isn't theirs."""
    published = source if isinstance(source, Weights) else None
    return replace(published, labels=()) if published and kept else published


ADAPTABLE = {"head", "stem", "positions"}


def sizes(model: Model, given: Tensors) -> tuple[int | None, int | None]:
    """How many classes and channels weights for a model of this kind have; None where they don't say."""
    known, _ = _recognised(model, given)
    head, stem = known.get(f"{model.plan.head}.weight"), known.get(_stem(model))
    return None if head is None else len(head), None if stem is None else stem.shape[1]


def _stem(model: Model) -> str:
    """The name of the weight of the first convolution."""
    return next((f"{path}.weight" for path, m in model.named_modules() if isinstance(m, Conv)), "")


def _under(key: str, paths: Collection[str]) -> bool:
    return any(key.startswith(f"{path}.") for path in paths)


# timm's files of these families were trained with one eps or another, and their names don't tell.
TWO_EPS = ("mobilenet_v3", "efficientnet")
DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var))$")


EPS_ADVICE = """its files don't say which eps the norms were trained with. Make the model with eps=1e-5 or, for what
comes from TensorFlow, eps=1e-3 (but the convolutions of 'tf_' models pad otherwise, so that they give other results)"""


def _recognised(model: Model, given: Tensors) -> tuple[Tensors, bool]:
    """The tensors under our names, and whether they were under timm's.

    Those of heads that are only for training, and that the model lacks, are left out.
    """
    names = {theirs: ours for ours, theirs in timm_keys(model.name, model).items()}
    ours, timms = (sum(key in keys for key in given) for keys in (model.state_dict(), names))
    by_timm = timms > ours
    given = {names.get(key, key) if by_timm else key: x for key, x in given.items()}
    lacking = [name for name in ("aux1", "aux2", "AuxLogits") if not hasattr(model, name)]
    return {DENSENET.sub(r"\1\2", key): x for key, x in given.items() if not _under(key, lacking)}, by_timm


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
    foreign = [(key, x) for key, x in given.items() if key in target and _foreign(x, target[key])]
    problems += [f"{key}: {x.dtype} ({x.layout}), the model's are dense floats" for key, x in foreign]
    if problems:
        shown = "\n  ".join([*problems[:12], *([f"and {len(problems) - 12} more"] if len(problems) > 12 else [])])
        raise ValueError(f"these weights don't fit {model.name or type(model).__name__}:\n  {shown}\n{ADVICE}")


def _differ(found: tuple[int, ...], ours: tuple[int, ...]) -> bool:
    """Whether the shapes differ in more than how a linear map or a scale is laid out."""
    squeezed = [tuple(n for n in shape if n != 1) for shape in (found, ours)]
    flat = len(ours) == 2 and len(found) == 4 and found[0] == ours[0] and torch.Size(found).numel() == ours[0] * ours[1]
    index = len(ours) == 1 and torch.Size(found).numel() == ours[0] and len(found) == 2 and found[0] == found[1]
    return squeezed[0] != squeezed[1] and not flat and not index


def _foreign(x: Tensor, ours: Tensor) -> bool:
    """Whether a tensor of floats comes as something else: integers, which would have a scale, or sparse."""
    return ours.is_floating_point() and (x.layout != torch.strided or not x.is_floating_point())


ADVICE = "Another class count, other channels or another size of image: say so by nclasses, inchannels or imsize."
