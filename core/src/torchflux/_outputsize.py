"""Sizes without computing: what shape a model returns, and sizes that fill themselves in."""

from collections.abc import Callable
from inspect import signature
from typing import Any, TypeVar

import torch

from ._model import modules
from ._walk import differentiable, fmap, tensors

__all__ = ["Lazy", "autosize", "outputsize", "sized"]

T = TypeVar("T")


def outputsize(model: Callable[..., Any], *shapes: tuple[int, ...], dtype: torch.dtype | None = None) -> Any:
    """The shape that `model` returns for inputs of these shapes; nothing is computed or allocated.

    Arguments:
        shapes: one for each input, batch dimension included.
        dtype: of the inputs; the model's own, unless said otherwise (an `Embedding` wants `torch.long`).

    Returns:
        A shape; where the model returns a tree of tensors, the tree of their shapes.

    >>> from torchflux import Chain, Conv, flatten
    >>> outputsize(Chain(Conv((3, 3), 1, 8), flatten), (16, 1, 28, 28))
    (16, 5408)
    """
    return fmap(lambda x: tuple(x.shape), _run_on_meta(model, shapes, dtype))


def autosize(shape: tuple[int, ...], model: T, dtype: torch.dtype | None = None) -> T:
    """`model` with every size that was given as `...` filled in, for inputs of this shape.

    >>> from torchflux import Chain, Conv, Dense, flatten, relu
    >>> model = autosize((1, 1, 28, 28), Chain(Conv((3, 3), ..., 8, relu), flatten, Dense(..., 10)))
    >>> model[-1].weight.shape
    torch.Size([10, 5408])

    Raises:
        ValueError: a layer with an open size isn't reached.

    Source: Flux.jl's `@autosize`.
    """
    _run_on_meta(model, (shape,), dtype)
    return fmap(Lazy.make, model, leaf=lambda x: isinstance(x, Lazy))


def sized(axis: int) -> Callable[[type[T]], type[T]]:
    """Lets a layer class take `...` for the size that it can read off its input's dimension `axis`."""

    def wrap(cls: Any) -> Any:
        def __new__(cls: Any, *args: Any, **kwargs: Any) -> Any:
            return Lazy(cls, args, kwargs, axis) if ... in (*args, *kwargs.values()) else object.__new__(cls)

        cls.__signature__, cls.__new__ = signature(cls), __new__
        return cls

    return wrap


class Lazy(torch.nn.Module):
    """A layer with an open size, until `autosize` fills it in."""

    def __init__(self, cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any], axis: int) -> None:
        super().__init__()
        self.cls, self.args, self.kwargs, self.axis = cls, args, kwargs, axis
        self.found: list[int] = []  # shared by the copies that are run on the meta device

    def __repr__(self) -> str:
        named = [f"{name}={value}" for name, value in self.kwargs.items()]
        return f"{self.cls.__name__}({', '.join([*map(str, self.args), *named])})".replace("Ellipsis", "...")

    def make(self) -> torch.nn.Module:
        """The layer, once its size is known."""
        if not self.found:
            raise ValueError(f"autosize: the model did not call {self!r}, so its size is not known; give it")
        args, kwargs = fmap(lambda _: self.found[0], (self.args, self.kwargs), leaf=lambda x: x is ...)
        return self.cls(*args, **kwargs).train(self.training)

    def forward(self, *inputs: Any) -> Any:
        """On the meta device, notes the size and goes on; elsewhere, asks for `autosize`."""
        if inputs[0].device.type != "meta":
            raise ValueError(f"{self!r} has an open size; fill it in with autosize(input_shape, model)")
        self.found.append(inputs[0].shape[self.axis])
        if len(set(self.found)) > 1:
            raise ValueError(f"{self!r} was called with sizes {self.found[-2]} and {self.found[-1]}")
        with torch.device("meta"):
            return self.make()(*inputs)


def _run_on_meta(model: Any, shapes: tuple[tuple[int, ...], ...], dtype: torch.dtype | None) -> Any:
    if not shapes or not all(isinstance(shape, tuple | list) for shape in shapes):
        raise TypeError(f"give the shape of each input as a tuple, e.g. (1, 3, 224, 224); got {shapes}")
    twin = fmap(lambda x: x.detach().to("meta"), model)
    for module in modules(twin):
        module.eval()
        if isinstance(module, Lazy):
            module.found.clear()
    kind = dtype or next((x.dtype for x in tensors(model) if differentiable(x)), torch.get_default_dtype())
    with torch.no_grad():
        return twin(*(torch.empty(tuple(shape), dtype=kind, device="meta") for shape in shapes))
