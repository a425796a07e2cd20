"""A layer whose result is what another layer leaves as it is: deep equilibrium models."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from torchflux import treelike

from ._field import per_sample
from ._implicit import steady_state
from ._neural_ode import check_batch, check_options
from ._solution import Solution

__all__ = ["SteadyState"]


@treelike
class SteadyState:
    """The fixed point `z = model(z, x)` for an input `x`: a network of infinite depth whose layers are all the same.

    It is where `dz/dt = model(z, x) - z` comes to rest, each sample in a time of its own. The gradient is that of
    the fixed point itself, by the implicit function theorem: no step is kept, however many there were. A sample that
    doesn't come to rest is an error, or with `throw=False` a status in `layer.solve(x)` and NaN in the result.

    Arguments:
        model: any callable, `model(z, x)`, whose result is shaped like `z`; it treats the samples one by one.
        shape: that of a sample's `z`, or a number of features; by default `x`'s.
        options: any of `steady_state`'s: `solver`, `controller`, `adjoint=Implicit(...)`, `horizon`, ...

    x: (B, ...) → (B, *shape)

    >>> import torch
    >>> from torchflux import Chain, Dense
    >>> layer = SteadyState(Chain(lambda z, x: torch.cat([z, x], 1), Dense(5, 3, torch.tanh)), 3)
    >>> Chain(Dense(4, 2), layer, Dense(3, 1))(torch.zeros(8, 4)).shape
    torch.Size([8, 1])

    Source: Bai, Kolter & Koltun (2019), arXiv:1909.01377.
    """

    def __init__(
        self, model: Callable[[Tensor, Tensor], Tensor], shape: int | tuple[int, ...] | None = None, **options: Any
    ) -> None:
        check_options(self, options, steady_state)
        self.model, self.options = model, options
        self.shape = (shape,) if isinstance(shape, int) else shape

    def solve(self, x: Tensor, start: Tensor | None = None, **options: Any) -> Solution:
        """The way to the fixed points, with its statistics and status; they are its `y`.

        Arguments:
            x: the inputs, the samples in front.
            start: where the way begins, (B, *shape), by default at zero: a fixed point that is near saves steps.
            options: `steady_state`'s, which go before the layer's.
        """
        check_batch("SteadyState", x)
        z = x.new_zeros(len(x), *(x.shape[1:] if self.shape is None else self.shape)) if start is None else start
        residual = lambda t, z, x: self.model(z, x) - z
        return steady_state(residual, z.detach(), per_sample(x), batched=True, **{**self.options, **options})

    def __call__(self, x: Tensor) -> Tensor:
        """The fixed points."""
        ys: Tensor = self.solve(x).ys
        return ys[-1]
