"""What every model is: a chain of named parts that ends in a head, and what can be done with any of them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import isqrt
from operator import mul
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from torchflux import BatchNorm, Chain, fmap, rebuild

__all__ = ["Model", "Plan", "backbone", "checkpointed", "classifier", "features_only"]


@dataclass(frozen=True)
class Plan:
    """Where a model's backbone ends and its head is, and what images it was designed for.

    Arguments:
        ends: the name of the last part of the backbone.
        head: the path of the layer that makes the classes.
        make: makes such a layer, `make(nin, nout)`.
        inchannels: channels of the images.
        imsize: their height and width.
    """

    ends: str
    head: str
    make: Callable[..., Any]
    inchannels: int = 3
    imsize: int = 224


class Model(Chain):
    """A vision model: a chain of parts that are named as in the published weights.

    It is indexed, sliced and iterated layer by layer, the layers of its chains in one row: `vgg16()[0:18]` is all
    but the head. By name, `model["layer1"]`, it gives a part. `model.features(x)` is the last map of features before
    pooling, (batch, channels, height, width) or (batch, tokens, channels), `model.head` the layer that makes the
    classes. Where a part is itself called `features` or `head`, that is the same thing.

    Arguments:
        plan: which of the parts are what.
        parts: callables, in order.

    x: (batch, channels, height, width) → (batch, nclasses); while training, models with auxiliary heads give the
    tuple of that and what those heads give, the deepest first.

    >>> from metalhead import create_model
    >>> model = create_model("resnet18", nclasses=10)
    >>> model(torch.zeros(1, 3, 64, 64)).shape, model.features(torch.zeros(1, 3, 64, 64)).shape
    (torch.Size([1, 10]), torch.Size([1, 512, 2, 2]))
    """

    name = ""  # in the registry
    weights: Any = None  # the published `Weights` that it was made with

    def __init__(self, plan: Plan, **parts: Any) -> None:
        super().__init__(**parts)
        self.plan, self._heads = plan, [plan.head]
        self._auxiliary: dict[str, int] = {}
        self._taps: tuple[int, ...] = ()
        self._recompute = False

    def add_auxiliary(self, name: str, after: str, module: nn.Module, head: str) -> None:
        """Registers a head that is trained on what the part `after` gives; only training sees it."""
        self.add_module(name, module)
        self._auxiliary[name] = len(_row(self.values()[: self.keys().index(after) + 1])) - 1
        self._heads.append(f"{name}.{head}")

    def forward(self, x: Any, *more: Any) -> Any:
        """Applies the model."""
        auxiliary = self._auxiliary if self.training and not self._taps else {}
        if not (auxiliary or self._taps or self._recompute):
            return super().forward(x, *more)
        kept, taps = {}, self._taps or auxiliary.values()
        for i, layer in enumerate(self):
            x = _recomputed(layer, x) if self._recompute and isinstance(layer, nn.Module) else layer(x)
            if i in taps:
                kept[i] = x
        if self._taps:
            return [kept[i] for i in self._taps]
        return (x, *(getattr(self, name)(kept[i]) for name, i in auxiliary.items())) if auxiliary else x

    def __iter__(self) -> Iterator[Any]:
        return iter(_row(self.values()))

    def __len__(self) -> int:
        return len(_row(self.values()))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        return Chain(*_row(self.values())[key]) if isinstance(key, slice) else _row(self.values())[key]

    def __getattr__(self, name: str) -> Any:
        if name == "features" and "features" not in self._fields:
            return backbone(self)
        if name == "head" and "head" not in self._fields:
            return self.get_submodule(self._heads[0])
        return super().__getattr__(name)

    def reset_classifier(self, nclasses: int) -> None:
        """Replaces the head, and auxiliary ones, by a fresh layer for `nclasses` classes; by none for 0.

        Without a head the model gives the features that the head would get. The labels of published weights, which
        were the old head's, go with it.

        Raises:
            ValueError: the number is negative, or there is no head: the model is a pyramid of features.
        """
        if nclasses < 0:
            raise ValueError(f"nclasses={nclasses} must be at least 0, for no head")
        if self._taps:
            raise ValueError("a pyramid of features has no head: reset that of the model before features_only")
        for path in self._heads:
            parent, _, name = path.rpartition(".")
            old: Any = self.get_submodule(path)
            nin, like = old.nin if isinstance(old, NoHead) else old.weight.shape[1], next(self.parameters())
            new = self.plan.make(nin, nclasses).to(like.device, like.dtype) if nclasses else NoHead(nin)
            setattr(self.get_submodule(parent), name, new.train(self.training))
        self.weights = self.weights and replace(self.weights, labels=())


class NoHead(nn.Module):
    """In a head's place: gives what it gets."""

    def __init__(self, nin: int) -> None:
        super().__init__()
        self.nin = nin

    def forward(self, x: Tensor) -> Tensor:
        """Gives `x`."""
        return x


def _row(layers: Sequence[Any]) -> list[Any]:
    """The layers with those of chains in their chain's place; a residual stays whole."""
    chains = (Chain.forward, Model.forward)
    nested = [_row(x.values()) if getattr(type(x), "forward", None) in chains else [x] for x in layers]
    return [layer for part in nested for layer in part]


def backbone(model: Model) -> Chain:
    """All of a model before pooling and head, as a chain that shares its parts.

    >>> from metalhead import create_model
    >>> backbone(create_model("resnet18")).keys()
    ('conv1', 'bn1', 'maxpool', 'layer1', 'layer2', 'layer3', 'layer4')
    """
    return _parts(model)[0]


def classifier(model: Model) -> Chain:
    """Pooling and head of a model, as a chain that shares its parts.

    >>> from metalhead import create_model
    >>> classifier(create_model("resnet18", nclasses=5))(torch.zeros(1, 512, 2, 2)).shape
    torch.Size([1, 5])
    """
    return _parts(model)[1]


def _parts(model: Model) -> tuple[Chain, Chain]:
    cut = model.keys().index(model.plan.ends) + 1
    return Chain(**dict(model.items()[:cut])), Chain(**dict(model.items()[cut:]))


def features_only(model: Model, out_indices: Sequence[int] | None = None) -> Model:
    """The model as a pyramid of features: a view that shares its parts and gives a list of maps.

    Arguments:
        out_indices: which levels, from 0; negative ones count from the deepest. All, unless said otherwise. A level
            is all that has the same resolution, and its map the last there is of it; where the resolution never
            changes (ViT, mixers) each block is a level.

    Returns:
        A model without a head; its `channels` and `reductions` say, level by level, how many channels the maps have
        and how many pixels of the image one of their steps is.

    Raises:
        ValueError: there is no such level, or none is chosen.

    >>> from metalhead import create_model
    >>> pyramid = features_only(create_model("resnet18"), out_indices=(1, -1))
    >>> [tuple(y.shape) for y in pyramid(torch.zeros(1, 3, 64, 64))], pyramid.channels, pyramid.reductions
    ([(1, 64, 16, 16), (1, 512, 2, 2)], [64, 512], [4, 32])
    """
    layers = _row(model.values()[: model.keys().index(model.plan.ends) + 1])
    shapes = _shapes(model)
    levels = _levels(shapes, layers)
    chosen = range(len(levels)) if out_indices is None else list(out_indices)
    if not chosen:
        raise ValueError("out_indices chooses no level: name one, or leave it out for all")
    if wrong := [i for i in chosen if not -len(levels) <= i < len(levels)]:
        raise ValueError(f"no level {wrong} of features: this model has {len(levels)}, 0 to {len(levels) - 1}")
    view = rebuild(model, {})
    view._taps = tuple(levels[i] for i in chosen)
    view._fields = view._fields[: view._fields.index(model.plan.ends) + 1]
    for name in view._modules.keys() - set(view._fields):
        del view._modules[name]
    view.channels = [shapes[i][1 if len(shapes[i]) == 4 else -1] for i in view._taps]
    steps = _steps([model.plan.imsize, *(_side(shapes[i]) for i in levels)])
    view.reductions = [steps[i] for i in chosen]
    return view


def _steps(sides: list[int]) -> list[int]:
    """How many pixels of the first map one step on each next one is, whatever was lost or added at the rims."""
    return list(accumulate((round(a / b) for a, b in pairwise(sides)), mul))


def _shapes(model: Model) -> list[tuple[int, ...]]:
    """The shape of what each layer of the backbone gives for one image, found out on the meta device."""
    twin = fmap(lambda x: x.detach().to("meta"), model).eval()
    first = next(m for m in twin.modules() if getattr(m, "weight", None) is not None)
    x = torch.empty(
        1, model.plan.inchannels, model.plan.imsize, model.plan.imsize, device="meta", dtype=first.weight.dtype
    )
    cut = twin.keys().index(twin.plan.ends) + 1
    with torch.no_grad():
        return [tuple((x := layer(x)).shape) for layer in _row(twin.values()[:cut])]


def _side(shape: tuple[int, ...]) -> int:
    """How long a map's side is; tokens lie in a square, behind one for the class."""
    return shape[2] if len(shape) == 4 else isqrt(shape[1])


def _levels(shapes: list[tuple[int, ...]], layers: list[Any]) -> list[int]:
    """The last layer of each resolution, or of one resolution the layers of the kind that there is most of.

    A map that loses only its rim, as Inception's do, is of the same resolution.
    """
    sides = [*map(_side, shapes), 0]
    ends = [i for i in range(len(shapes)) if sides[i + 1] < 0.75 * sides[i]]
    most = Counter(type(layer) for layer in layers if isinstance(layer, nn.Module)).most_common(1)[0][0]
    return ends if len(ends) > 1 else [i for i, layer in enumerate(layers) if type(layer) is most]


def checkpointed(model: Model) -> Model:
    """The model with less memory and more work: a view that computes each layer's inside again for the gradient.

    It shares the model's parts and gives the same results, gradients and running statistics. `features_only` of it
    is checkpointed too. `torch.compile`, which decides by itself what is kept, compiles the plain model.

    >>> from metalhead import create_model
    >>> model = checkpointed(create_model("resnet18"))
    >>> model(torch.zeros(2, 3, 32, 32)).sum().backward()

    Source: Chen et al. (2016), arXiv 1604.06174.
    """
    view = rebuild(model, {})
    view._recompute = True
    return view


def _recomputed(layer: nn.Module, x: Any) -> Any:
    if torch.compiler.is_compiling():
        return layer(x)
    contexts = lambda: (nullcontext(), _statistics_kept(layer))
    return checkpoint(layer, x, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_kept(layer: nn.Module) -> Iterator[None]:
    """The second time, batch norms must not move their running statistics again."""
    norms = [m for m in layer.modules() if isinstance(m, BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)
