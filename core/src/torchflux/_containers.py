"""Containers: models made of models. A layer is any callable."""

from typing import Any

import torch

from ._treelike import Group, _set, treelike
from ._walk import Function as Layer

__all__ = ["Chain", "Maxout", "PairwiseFusion", "Parallel", "SkipConnection"]


class Layers(Group):
    """An ordered, named collection of callables."""

    def _fill(self, parts: dict[Any, Any], *options: Any) -> Group:
        if wrong := [f"{name} is {part!r}" for name, part in parts.items() if not callable(part)]:
            raise TypeError(f"{type(self).__name__} takes callables; {', '.join(wrong)} (unpack a list with *)")
        return super()._fill(parts, *options)


class Chain(Layers):
    """Calls its layers in order, each on the result of the one before.

    A layer is any callable. Layers are numbered, or named by keyword; a chain is indexed, sliced (the slice
    is a chain that shares the layers) and iterated, so that `Chain(*tower, head)` works. Several arguments
    all go to the first layer. The keys of its `state_dict` are those of `nn.Sequential`.

    >>> from torchflux import Dense, relu
    >>> model = Chain(Dense(4, 8, relu), lambda x: 2 * x, Dense(8, 2))
    >>> model(torch.zeros(3, 4)).shape
    torch.Size([3, 2])
    >>> len(model[:2]), Chain(*model, relu)[-1] is relu
    (2, True)
    >>> Chain(encoder=Dense(4, 2), decoder=Dense(2, 4)).decoder(torch.zeros(1, 2)).shape
    torch.Size([1, 4])
    """

    def forward(self, x: Any, *more: Any) -> Any:
        """Applies all layers: the first to all arguments, each next one to the result."""
        for layer in self.values():
            x, more = layer(x, *more), ()
        return (x, *more) if more else x

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, slice):
            return super().__getitem__(key)
        return Chain(*self.values()[key]) if "0" in self._fields else Chain(**dict(self.items()[key]))


class Parallel(Layers):
    """Calls its layers side by side, and `connection` on all their results.

    One input goes to every layer; several go to one layer each, or all to a single layer in turn.

    >>> from torchflux import Dense
    >>> Parallel(torch.add, Dense(3, 5), Dense(3, 5))(torch.zeros(2, 3)).shape
    torch.Size([2, 5])
    >>> Parallel(lambda a, b: torch.cat([a, b], -1), left=Dense(1, 2), right=Dense(3, 4))(
    ...     torch.zeros(7, 1), torch.zeros(7, 3)
    ... ).shape
    torch.Size([7, 6])
    """

    connection: Layer

    def __init__(self, connection: Layer, *layers: Layer, **named: Layer) -> None:
        super().__init__(*layers, **named)
        _set(self, "connection", connection)

    def _paired(self, inputs: tuple[Any, ...]) -> list[tuple[Layer, Any]]:
        layers, n, given = self.values(), len(self), len(inputs)
        if 0 in (n, given) or (n != given and 1 not in (n, given)):
            raise ValueError(f"{given} inputs for the {n} layers of {type(self).__name__}: give one, or one for each")
        return list(zip(layers * (max(n, given) // n), inputs * (max(n, given) // given), strict=True))

    def forward(self, *inputs: Any) -> Any:
        """Applies layer i to input i (or to the only input) and connects the results."""
        return self.connection(*(layer(x) for layer, x in self._paired(inputs)))


class PairwiseFusion(Parallel):
    """Layers that each take the result of the one before, fused with an input of their own.

    y₁ = layer₁(x₁), yᵢ₊₁ = layerᵢ₊₁(connection(yᵢ, xᵢ₊₁)); one input stands for all. Returns the tuple of all
    yᵢ.

    >>> double = lambda x: 2 * x
    >>> PairwiseFusion(torch.add, double, double)(torch.tensor(1.0), torch.tensor(10.0))
    (tensor(2.), tensor(24.))
    """

    def forward(self, *inputs: Any) -> tuple[Any, ...]:
        """Applies the layers in turn and returns all their results."""
        (first, x), *others = self._paired(inputs)
        y = first(x)
        return (y, *[y := layer(self.connection(y, x)) for layer, x in others])


@treelike
class SkipConnection:
    """`connection(layer(x), x)`: what the layer adds to its input.

    >>> SkipConnection(torch.sin, torch.add)(torch.zeros(2))
    tensor([0., 0.])
    """

    layer: Layer
    connection: Layer

    def __call__(self, x: Any) -> Any:
        """Connects the layer's result and its input."""
        return self.connection(self.layer(x), x)


class Maxout(Layers):
    """The element-wise maximum over its layers; `Maxout(make, n)` makes `n` of them.

    >>> from torchflux import Dense
    >>> Maxout(lambda: Dense(5, 7), 4)(torch.zeros(2, 5)).shape
    torch.Size([2, 7])

    Source: Goodfellow et al. (2013), arXiv 1302.4389.
    """

    def __init__(self, *layers: Any, **named: Layer) -> None:
        if len(layers) == 2 and isinstance(layers[1], int):
            layers = tuple(layers[0]() for _ in range(layers[1]))
        super().__init__(*layers, **named)

    def forward(self, x: Any) -> torch.Tensor:
        """The largest of the layers' results, element by element."""
        return torch.stack([layer(x) for layer in self.values()]).amax(0)
