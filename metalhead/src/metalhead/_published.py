"""The weights for ImageNet that torchvision publishes: where they are, their hash, accuracy and preprocessing.

The table, `_published.csv`, is torchvision 0.28's; nothing is fetched until `fetch` is called.
"""

import csv
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any

from ._weights import Weights

__all__ = ["imagenet_labels", "list_weights", "published"]

FOLDER = "https://download.pytorch.org/models/"
# Mean and standard deviation of the channels, for images from 0 to 1. Networks that come from TensorFlow want images
# from -1 to 1; torchvision's GoogLeNet and Inception v3 convert them inside (transform_input), ours don't.
NORMALISATIONS = {
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "half": {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
}


def _text(file: str) -> str:
    return (resources.files(__package__) / file).read_text(encoding="utf-8")


@cache
def imagenet_labels() -> tuple[str, ...]:
    """The names of ImageNet's 1000 classes, in the order of the published models' results.

    >>> imagenet_labels()[323]
    'monarch'
    """
    return tuple(_text("_imagenet.txt").splitlines())


@cache
def _rows() -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in csv.DictReader(_text("_published.csv").splitlines())}


def list_weights(*patterns: str) -> list[str]:
    """The names of all published weights, or of those that one of the patterns fits.

    >>> list_weights("resnet50.*")
    ['resnet50.imagenet1k_v1', 'resnet50.imagenet1k_v2']
    """
    return [name for name in _rows() if not patterns or any(fnmatchcase(name, p) for p in patterns)]


def published(name: str) -> Weights:
    """The published weights of this name, or torchvision's default for the model of this name.

    To use them, fetch them once, `weights.fetch()`, and give them to `create_model("resnet50", weights=weights)`.

    >>> weights = published("resnet50")
    >>> weights.name, weights.sha256, weights.metrics["acc@1"]
    ('resnet50.imagenet1k_v2', '11ad3fa6', 80.858)

    Raises:
        ValueError: there are none; the error names the nearest.
    """
    row = _rows().get(name) or next(
        (r for r in _rows().values() if r["default"] and r["name"].split(".")[0] == name), None
    )
    if row is None:
        near = get_close_matches(name, _rows(), 3, 0.5)
        raise ValueError(
            f"there are no weights {name!r}; {'near are ' + ', '.join(near) if near else 'see list_weights()'}"
        )
    return Weights(
        name=row["name"],
        model=row["name"].split(".")[0],
        url=FOLDER + row["file"],
        sha256=row["file"].removesuffix(".pth").rpartition("-")[2],
        preprocessing=_preprocessing(row),
        labels=imagenet_labels(),
        metrics={"acc@1": float(row["acc@1"]), "acc@5": float(row["acc@5"])},
        source=row["recipe"] + (" (CC BY-NC 4.0)" if "swag" in name else ""),
    )


def _preprocessing(row: dict[str, str]) -> dict[str, Any]:
    """Resize the shorter side to `size`, cut `crop` × `crop` out of the middle, normalise."""
    sizes = {"size": int(row["resize"]), "crop": int(row["crop"]), "interpolation": row["interpolation"]}
    return {**sizes, **NORMALISATIONS[row["normalisation"]]}
