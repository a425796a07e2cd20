"""Data sets of images as lazy sequences, of files or of arrays, in the parts that they are published in."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import torch
from torch import Tensor

from ._image import Image
from ._preprocess import Preprocess
from ._read import load

__all__ = ["Images", "Parts"]

Sample = tuple[Any, int]


@dataclass(frozen=True, eq=False)
class Images(Sequence[Sample]):
    """Images with the index of their class: a sequence of (image, target), each read when it is asked for.

    PyTorch's `DataLoader` takes it, with worker processes too. A slice is again such a sequence.

    Arguments:
        images: what the images are made of: paths; or a tensor (images, height, width[, channels]) of uint8 or
            float32.
        targets: the index of each image's class.
        labels: the name of each class.
        transform: what is done to each image; a `Preprocess` gets the path, and reads no more than it needs.
        white: for tensors, the number that means full intensity; known for uint8, to be given for floats.
        skipped: what `readable` left out, and why.

    >>> digits = Images(torch.zeros(5, 8, 8, dtype=torch.uint8), [0, 1, 1, 0, 1], ("no", "yes"))
    >>> digits[1], digits.label(1), len(digits[2:])
    ((Image(L, 8 × 8, 8 bits), 1), 'yes', 3)
    """

    images: Sequence[str] | Tensor
    targets: Sequence[int]
    labels: tuple[str, ...]
    transform: Callable[[Any], Any] | None = None
    white: float | None = None
    skipped: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if len(self.images) != len(self.targets):
            raise ValueError(f"{len(self.images)} images and {len(self.targets)} targets")
        shape = tuple(self.images.shape) if isinstance(self.images, Tensor) else (0, 0, 0)
        if len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,), (4,)):
            raise ValueError(f"images {shape} aren't (images, height, width[, channels]) with 1, 3 or 4 channels")
        for target in set(self.targets):
            if not 0 <= target < len(self.labels):
                raise ValueError(f"there is a target {target}, but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.targets)

    @overload
    def __getitem__(self, i: int) -> Sample: ...
    @overload
    def __getitem__(self, i: slice) -> "Images": ...
    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return replace(self, images=self.images[i], targets=self.targets[i])
        if not -len(self) <= i < len(self):
            raise IndexError(f"there is no image {i} among {len(self)}")
        return self._image(self.images[i]), self.targets[i]

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Images({len(self)} of {len(self.labels)} classes)"

    def label(self, i: int) -> str:
        """The name of the class of image `i`."""
        return self.labels[self.targets[i]]

    def map(self, transform: Callable[[Any], Any]) -> "Images":
        """The same images, with this done to each when it is read, after what is done already."""
        first = self.transform
        return replace(self, transform=transform if first is None else _Then(first, transform))

    def readable(self) -> "Images":
        """The images that can be read wholly; `skipped` lists the others by name, with the reason.

        Every image is read once for it, and preprocessed if that comes first. Without it, an image that can't be read
        raises an error when it is asked for.
        """
        reasons = [self._failure(i) for i in range(len(self))]
        keep = [i for i, reason in enumerate(reasons) if reason is None]
        images = self.images[keep] if isinstance(self.images, Tensor) else [self.images[i] for i in keep]
        skipped = tuple((str(self.images[i]), reason) for i, reason in enumerate(reasons) if reason is not None)
        return replace(self, images=images, targets=[self.targets[i] for i in keep], skipped=self.skipped + skipped)

    def _failure(self, i: int) -> str | None:
        try:
            if not isinstance(self.images, Tensor):
                _first(self.transform)(self.images[i])
        except (ValueError, OSError) as error:
            return str(error)
        return None

    def _image(self, image: Any) -> Any:
        if isinstance(image, Tensor):
            image = _of_values(image, self.white)
        elif _first(self.transform) is load:
            image = load(image)
        return image if self.transform is None else self.transform(image)


def _of_values(x: Tensor, white: float | None) -> Image:
    """An image of the numbers (height, width[, channels])."""
    colours = {1: "L", 3: "RGB", 4: "RGBA"}
    return Image.of(x, "L", "HW", white) if x.ndim == 2 else Image.of(x, colours[x.shape[2]], "HWC", white)


@dataclass(frozen=True)
class _Then:
    """One transformation after another; unlike a closure it can be sent to a worker process."""

    first: Callable[[Any], Any]
    second: Callable[[Any], Any]

    def __call__(self, image: Any) -> Any:
        return self.second(self.first(image))


def _first(transform: Any) -> Callable[[Any], Any]:
    """What is given the path: a `Preprocess` that comes first, or `load`."""
    if isinstance(transform, _Then):
        return _first(transform.first)
    return transform if isinstance(transform, Preprocess) else load


@dataclass(frozen=True, eq=False)
class Parts:
    """A data set in its parts: `train`, `val` and `test`, of which some may not be published.

    >>> part = Images(torch.zeros(2, 8, 8, dtype=torch.uint8), [0, 0], ("none",))
    >>> Parts("blank", {"train": part}).train
    Images(2 of 1 classes)
    >>> Parts("blank", {"train": part}).test
    Traceback (most recent call last):
    ValueError: blank has no test part, only train; torchflux.splitobs makes parts of one
    """

    name: str
    parts: dict[str, Images]

    @property
    def train(self) -> Images:
        """To train on."""
        return self._part("train")

    @property
    def val(self) -> Images:
        """To choose by."""
        return self._part("val")

    @property
    def test(self) -> Images:
        """To judge by, at the end."""
        return self._part("test")

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each class."""
        return next(iter(self.parts.values())).labels

    def map(self, transform: Callable[[Any], Any]) -> "Parts":
        """The same with a transformation of every image."""
        return replace(self, parts={name: part.map(transform) for name, part in self.parts.items()})

    def _part(self, name: str) -> Images:
        if name not in self.parts:
            known = " and ".join(self.parts)
            raise ValueError(f"{self.name} has no {name} part, only {known}; torchflux.splitobs makes parts of one")
        return self.parts[name]

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}: {len(part)}' for name, part in self.parts.items())})"


def in_parts(name: str, data: Images, seed: int = 0) -> Parts:
    """A data set that is published in one piece, in parts of 70, 15 and 15 % that are always the same."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed)).tolist()
    ends = round(0.7 * len(order)), round(0.85 * len(order))
    chosen = {"train": order[: ends[0]], "val": order[ends[0] : ends[1]], "test": order[ends[1] :]}
    return Parts(name, {part: _chosen(data, index) for part, index in chosen.items()})


def _chosen(data: Images, index: list[int]) -> Images:
    images = data.images[index] if isinstance(data.images, Tensor) else [data.images[i] for i in index]
    return replace(data, images=images, targets=[data.targets[i] for i in index])
