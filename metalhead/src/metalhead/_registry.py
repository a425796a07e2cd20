"""All models by name: `create_model`, and `list_models` with globs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch

from ._init import drawing_from
from ._loading import load_weights, origin, sizes
from ._model import Model, features_only
from ._weights import Weights, given_tensors

__all__ = ["Entry", "create_model", "entry", "list_models", "register"]


@dataclass(frozen=True)
class Entry:
    """What is known of a model: who makes it, how many parameters its source says it has, and the source.

    `parameters` is the published number, or, a float, millions as they were rounded in print.
    """

    name: str
    build: Callable[..., Model]
    parameters: int | float
    source: str


_ENTRIES: dict[str, Entry] = {}


def register(name: str, build: Callable[..., Model], parameters: int | float, source: str) -> None:
    """Gives a name to a builder, `build(nclasses=, inchannels=, ...)`.

    A variant of a family takes a line: `register("resnet10", partial(resnet, Basic, (1, 1, 1, 1)), 5.4, "mine")`.

    Raises:
        ValueError: the name is taken.
    """
    if name in _ENTRIES:
        raise ValueError(f"there is a model {name!r} already; choose another name")
    _ENTRIES[name] = Entry(name, build, parameters, source)


def entry(name: str) -> Entry:
    """What is known of the model of this name.

    >>> from metalhead import entry
    >>> entry("resnet50").parameters
    25557032

    Raises:
        ValueError: there is none; the error names the nearest.
    """
    if name not in _ENTRIES:
        near = get_close_matches(name, _ENTRIES, 5, 0.5) or [x for x in _ENTRIES if name and name in x][:5]
        hint = f"did you mean {' or '.join(near)}?" if near else "list_models() names them all"
        raise ValueError(f"there is no model {name!r}; {hint}")
    return _ENTRIES[name]


def list_models(*patterns: str) -> list[str]:
    """The names of all models, or of those that one of the patterns fits.

    >>> from metalhead import list_models
    >>> list_models("wide_resnet*", "*18")
    ['resnet18', 'seresnet18', 'wide_resnet101_2', 'wide_resnet50_2']
    """
    return sorted(name for name in _ENTRIES if not patterns or any(fnmatchcase(name, p) for p in patterns))


# What timm and torchvision call it.
ELSEWHERE = {
    "num_classes": "nclasses",
    "in_chans": "inchannels",
    "img_size": "imsize",
    "image_size": "imsize",
    "pretrained": "weights",
    "checkpoint_path": "weights",
    "features_only": "features",
    "out_indices": "features",
}


def create_model(
    name: str,
    nclasses: int | None = None,
    inchannels: int | None = None,
    *,
    weights: Any = None,
    features: Sequence[int] | bool = False,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Model:
    """Makes the model of this name.

    Arguments:
        name: one of `list_models()`; torchvision's name where it has the model.
        nclasses: size of the result; as in the weights, or 1000, unless given; 0 for a model without a head.
        inchannels: channels of the images; as in the weights, or 3, unless given.
        weights: what `load_weights` takes: a file, a dict of tensors, or published `Weights` that were fetched. Where
            they are for other sizes than those that are given here, they are fitted: see its `adapt`.
        features: makes it a pyramid of features (`features_only`): True for all levels, or the levels' indices.
        generator: what the weights are drawn from; PyTorch's global one, unless given.
        options: of the model's own builder, e.g. `dropout`, `imsize`.

    Raises:
        ValueError: there is no such model (the error names the nearest), or the weights don't fit.
        TypeError: the builder has no such option.

    >>> from metalhead import create_model
    >>> create_model("resnet18", nclasses=10)(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 10])
    >>> create_model("resnt18")
    Traceback (most recent call last):
    ValueError: there is no model 'resnt18'; did you mean resnet18 or ...?
    """
    build, tensors = entry(name).build, None
    adapt: list[str] = []
    if foreign := [f"{option} is called {ELSEWHERE[option]} here" for option in options if option in ELSEWHERE]:
        raise TypeError("; ".join(foreign))
    if (nclasses is not None and nclasses < 0) or (inchannels is not None and inchannels < 1):
        raise ValueError(f"nclasses={nclasses} and inchannels={inchannels} must be at least 0 and 1")
    if weights is not None:
        tensors = _tensors_for(name, weights)
        with torch.device("meta"):
            probe = build(nclasses=1, inchannels=3, **options)
        probe.name = name
        nclasses, inchannels, adapt = _fit(sizes(probe, tensors), nclasses, inchannels)
    with drawing_from(generator):
        size = 1000 if nclasses is None else nclasses or 1
        model = build(nclasses=size, inchannels=inchannels or 3, **options)
    model.name = name
    if tensors is not None:
        fitted = [*adapt, "positions"] if "imsize" in options else adapt
        model.weights = origin(weights, load_weights(model, tensors, adapt=fitted, eps_known="eps" in options))
    if nclasses == 0:
        model.reset_classifier(0)
    return features_only(model, None if features is True else features) if features is not False else model


def _tensors_for(name: str, weights: Any) -> dict[str, torch.Tensor]:
    if isinstance(weights, Weights) and weights.model != name:
        raise ValueError(f"{weights.name} are for {weights.model}, not for {name}")
    return given_tensors(weights)


def _fit(
    found: tuple[int | None, int | None], nclasses: int | None, inchannels: int | None
) -> tuple[int | None, int | None, list[str]]:
    """The class count and channels of the model, given those of the weights, and what of these has to be adapted."""
    classes, channels = found
    adapt = ["head"] * (nclasses not in (None, classes)) + ["stem"] * (inchannels not in (None, channels))
    return classes if nclasses is None else nclasses, channels if inchannels is None else inchannels, adapt
