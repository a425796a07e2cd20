"""Layers whose result is where a differential equation leads to."""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from torchflux import fmap, leaves, treelike

from ._native_chain import autonomous
from ._solution import Solution
from ._solve import solve
from ._unreached import warn_unreached

__all__ = ["AugmentedNeuralODE", "NeuralODE", "append_time"]

Tree = Any
Times = Tensor | Sequence[float | Tensor]


class Flow:
    """What layers that solve an equation have in common: a model of its slope, the times, and `solve`'s options.

    Times that are a parameter (an end that is learnt) stay one; others are numbers, of the state's dtype when solved.
    """

    model: Callable[..., Tree]

    def __init__(
        self, model: Callable[..., Tree], ts: Times = (0.0, 1.0), *, time: bool = False, **options: Any
    ) -> None:
        self.model = model
        self._set_up(ts, time, options)

    def _set_up(self, ts: Times, time: bool, options: dict[str, Any]) -> None:
        """Everything but the model."""
        check_options(self, options, solve)
        self.ts = ts if isinstance(ts, nn.Parameter) else tuple(float(t) for t in ts)
        self.time, self.options = time, options

    def slope(self, t: Tensor, y: Tree, args: Any = None) -> Tree:
        """What the model says: of the state, or with `time=True` of time and state."""
        return self.model(t, y) if self.time else self.model(y)

    def solve(self, x: Tree, ts: Times | None = None, **options: Any) -> Solution:
        """The whole solution from `x`, with its statistics and status.

        Arguments:
            x: the states at the first time, the samples in front.
            ts: other times than the layer's.
            options: `solve`'s, which go before the layer's.
        """
        options = {"batched": True, **self.options, **options}
        if options["batched"]:
            check_batch(type(self).__name__, x)
        plain = type(self).slope is Flow.slope  # the model's own value, not a derivative of it
        slope = autonomous(self.model) if plain and not self.time else self.slope  # which may become machine code
        solution = solve(slope, x, self.ts if ts is None else ts, **options)
        if plain:
            warn_unreached(self.model, solution.ys)
        return solution

    def trajectory(self, x: Tree, ts: Times | None = None) -> Tree:
        """The states at all times, which are the first axis, before the samples."""
        return self.solve(x, ts).ys

    def __call__(self, x: Tree) -> Tree:
        """The states at the last time."""
        return last(self.solve(x, (self.ts[0], self.ts[-1])).ys)


def last(ys: Tree) -> Tree:
    """The states at the last of the times."""
    return fmap(lambda x: x[-1], ys, ties=False)


def check_options(layer: Any, options: dict[str, Any], of: Callable[..., Any]) -> None:
    """Refuses what isn't among the keywords of a function."""
    known = {name for name, x in signature(of).parameters.items() if x.kind is x.KEYWORD_ONLY}
    if unknown := sorted(options.keys() - known):
        raise TypeError(
            f"{type(layer).__name__} has no option {', '.join(unknown)}: it takes {of.__name__}'s, {sorted(known)}"
        )


def check_batch(name: str, x: Tree) -> None:
    """Refuses a sample by itself, whose numbers would each be solved as a sample."""
    for _, part in leaves(x):
        if isinstance(part, Tensor) and part.dim() < 2:
            raise ValueError(
                f"{name} got a tensor of shape {tuple(part.shape)}: the first axis is that of the samples, the others "
                "are the state's; pass x[None] for one sample, x[:, None] for samples that are one number each"
            )


def append_time(t: Tensor, y: Tensor) -> Tensor:
    """The time as one more feature (of images: one more channel): the first layer of a model that gets `t, y`.

    t: () or (B,), y: (B, C, ...) → (B, C + 1, ...)

    >>> from torchflux import Chain, Dense
    >>> layer = NeuralODE(Chain(append_time, Dense(3, 16, torch.tanh), Dense(16, 2)), time=True)
    >>> layer(torch.zeros(5, 2)).shape
    torch.Size([5, 2])
    """
    t = t.to(y.dtype).reshape(-1, *[1] * (y.dim() - 1))
    return torch.cat([y, t.expand(len(y), 1, *y.shape[2:])], 1)


@treelike
class NeuralODE(Flow):
    """The state that `dy/dt = model(y)` leads to from the layer's input: a residual network of continuous depth.

    Each sample has steps of its own; `batched=False` among the options makes the samples share their steps.

    Arguments:
        model: any callable that gives the slope, shaped like the state: `model(y)`, or `model(t, y)` with `time=True`,
            where `t` has the shape (B,) (with `batched=False`: ()). See `append_time`. It treats the samples one by
            one, so it has no batch norm.
        ts: the times; a call gives the state at the last one, `trajectory` all of them. An `nn.Parameter` is learnt.
        time: whether the model gets the time.
        options: any of `solve`'s: `solver`, `controller`, `adjoint`, ...

    x: (B, ...) → (B, ...), or a tree of such. `layer.solve(x)` is the `Solution`, with what it cost: `stats`.

    >>> from torchflux import Chain, Dense
    >>> layer = NeuralODE(Chain(Dense(2, 16, torch.tanh), Dense(16, 2)))
    >>> model = Chain(Dense(3, 2), layer, Dense(2, 1))
    >>> model(torch.zeros(8, 3)).shape
    torch.Size([8, 1])
    >>> layer.trajectory(torch.zeros(8, 2), torch.linspace(0.0, 1.0, 5)).shape
    torch.Size([5, 8, 2])

    Source: Chen et al. (2018), arXiv:1806.07366.
    """


@treelike
class AugmentedNeuralODE(Flow):
    """A neural ODE in a larger space: `extra` features (of images: channels) that start at zero are put to the input.

    Solutions of an ODE can't cross, so that in their own space no flow maps x to -x; with one more dimension they
    go around each other.

    Arguments:
        model: the slope of the larger state, as for `NeuralODE`.
        extra: how many features are added.
        ts, time, options: as for `NeuralODE`.

    x: (B, C, ...) → (B, C + extra, ...)

    >>> from torchflux import Chain, Dense
    >>> layer = AugmentedNeuralODE(Chain(Dense(3, 16, torch.tanh), Dense(16, 3)), 2)
    >>> Chain(layer, Dense(3, 1))(torch.zeros(8, 1)).shape
    torch.Size([8, 1])

    Source: Dupont, Doucet & Teh (2019), arXiv:1904.01681.
    """

    def __init__(
        self, model: Callable[..., Tensor], extra: int, ts: Times = (0.0, 1.0), *, time: bool = False, **options: Any
    ) -> None:
        Flow.__init__(self, model, ts, time=time, **options)
        if extra < 1:
            raise ValueError(f"extra={extra}: add one dimension at least, or use NeuralODE")
        self.extra = extra

    def solve(self, x: Tensor, ts: Times | None = None, **options: Any) -> Solution:
        """The whole solution, of the larger state."""
        check_batch("AugmentedNeuralODE", x)
        zeros = x.new_zeros(len(x), self.extra, *x.shape[2:])
        return Flow.solve(self, torch.cat([x, zeros], 1), ts, **options)
