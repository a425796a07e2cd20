"""`classify` and `predict`: what a model sees in an image."""

import base64
import html
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ._fastest import Fastest
from ._image import Image
from ._preprocess import Preprocess, as_image

__all__ = ["Prediction", "classify", "predict"]

Prepared = Callable[[Any], Tensor]
BAR, EIGHTHS = 24, " ▏▎▍▌▋▊▉"


@dataclass(frozen=True)
class Prediction:
    """The most probable labels, in order; printed as a table with bars, in notebooks beside the image.

    >>> print(Prediction(("cat", "dog"), (0.75, 0.125)))
    cat  75.0 %  ██████████████████
    dog  12.5 %  ███
    """

    labels: tuple[Any, ...]
    probabilities: tuple[float, ...]
    image: Image | None = field(default=None, repr=False, compare=False)

    def __iter__(self) -> Iterator[tuple[Any, float]]:
        return iter(zip(self.labels, self.probabilities, strict=True))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Any, float]:
        return self.labels[i], self.probabilities[i]

    def __str__(self) -> str:
        width = max(len(str(label)) for label in self.labels)
        return "\n".join(f"{label!s:{width}}  {100 * p:4.1f} %  {_bar(p)}".rstrip() for label, p in self)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(str(label))}</td><td>{100 * p:.1f} %</td><td "
            f"style='width:12em;text-align:left'><div style='width:{100 * p:.1f}%;height:0.8em;background:#4c78a8'>"
            "</div></td></tr>"
            for label, p in self
        )
        return f"<div style='display:flex;gap:1em;align-items:center'>{self._picture()}<table>{rows}</table></div>"

    def _picture(self) -> str:
        if self.image is None:
            return ""
        data = base64.b64encode(self.image._repr_png_()).decode()
        return f"<img src='data:image/png;base64,{data}' alt='the image' style='max-height:12em;max-width:16em'>"


def _bar(share: float) -> str:
    whole, rest = divmod(round(share * BAR * 8), 8)
    return "█" * whole + EIGHTHS[rest].strip()


def predict(
    model: Callable[[Tensor], Tensor],
    image: Any,
    k: int = 5,
    *,
    labels: Sequence[Any] | None = None,
    preprocess: Prepared | None = None,
) -> Prediction:
    """The `k` most probable labels of an image, by a model that gives a score (logit) for each class.

    The model is asked in evaluation mode, without gradients, on its own device and in its own dtype, and left as it
    was. A model made with published `Weights` knows their labels and preprocessing.

    Arguments:
        model: (1, channels, height, width) → (1, classes); also what `fastest` gives.
        image: what `Preprocess` takes; or a tensor of floats (channels, height, width) that is ready for the model,
            where nobody says how to preprocess.
        labels: one for each class.
        preprocess: makes the model's input of the image.

    Raises:
        ValueError: the labels, the preprocessing or the classes are not known or don't fit, or a score is NaN.

    >>> bright = lambda x: torch.stack([-x.mean((1, 2, 3)), x.mean((1, 2, 3))], 1)
    >>> print(predict(bright, torch.ones(3, 8, 8), labels=["night", "day"]))
    day    88.1 %  █████████████████████▏
    night  11.9 %  ██▉
    """
    module = model.model if isinstance(model, Fastest) else model
    labels = _known(module, "labels") if labels is None else labels
    x, seen = _input(image, preprocess or _known(module, "preprocessing"))
    if x.ndim != 3:
        raise ValueError(f"one image is classified at a time, not a tensor of shape {tuple(x.shape)}")
    with _asked(module), torch.no_grad():
        scores = model(_placed(x, module)[None])
    if scores.ndim != 2 or len(scores) != 1 or not scores.isfinite().all():
        found = "NaN or infinite scores" if scores.ndim == 2 else f"a result of shape {tuple(scores.shape)}"
        raise ValueError(f"a model that classifies gives finite scores (1, classes); this gives {found}")
    nlabels = 0 if labels is None else len(labels)
    if nlabels != scores.shape[1]:
        raise ValueError(f"the model has {scores.shape[1]} classes and {nlabels} labels: give labels=")
    if not k >= 1:
        raise ValueError(f"k must be at least 1, not {k}")
    best = scores[0].double().softmax(0).topk(min(k, nlabels))
    return Prediction(tuple(labels[i] for i in best.indices.tolist()), tuple(best.values.tolist()), seen)


def classify(
    model: Callable[[Tensor], Tensor],
    image: Any,
    *,
    labels: Sequence[Any] | None = None,
    preprocess: Prepared | None = None,
) -> Any:
    """The most probable label of an image; the arguments are those of `predict`.

    >>> classify(lambda x: x.flatten(1)[:, :2], torch.tensor([[[3.0, 4.0]]]), labels=["a", "b"])
    'b'
    """
    return predict(model, image, 1, labels=labels, preprocess=preprocess).labels[0]


def _known(model: Any, what: str) -> Any:
    """What the entry of a model's weights says."""
    return getattr(getattr(model, "weights", None), what, None)


def _input(image: Any, preprocess: Prepared | None) -> tuple[Tensor, Image | None]:
    """The model's input, and the image to be shown."""
    if isinstance(image, Tensor):
        if preprocess is not None:
            return preprocess(image), None
        if image.is_floating_point():
            return image, None
    if preprocess is None:
        raise ValueError("how images become this model's input is not known: give preprocess=, e.g. Preprocess()")
    image = image if isinstance(preprocess, Preprocess) else as_image(image)
    if not isinstance(preprocess, Preprocess):
        return preprocess(image), image
    seen = preprocess.cut(image)
    return preprocess.finished(seen), seen.eight_bits()


@contextmanager
def _asked(model: Any) -> Iterator[None]:
    """The model in evaluation mode; each part is put back into the mode that it was in."""
    training = [m for m in model.modules() if m.training] if isinstance(model, nn.Module) else []
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def _placed(x: Tensor, model: Any) -> Tensor:
    parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return x if parameter is None else x.to(parameter.device, parameter.dtype)
