"""Continuous normalising flows: densities that an ordinary differential equation carries to a simple one."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from torchflux import leaves, treelike

from ._divergence import ExactTrace, Trace
from ._field import per_sample
from ._neural_ode import Flow, Times, last
from ._solution import Solution
from ._solve import solve

__all__ = ["FFJORD", "Carried", "Regularised"]


class Carried(NamedTuple):
    """Where samples were carried to, (B, ...), and the logarithm of their map's Jacobian determinant, (B,)."""

    z: Tensor
    logdet: Tensor


class Regularised(NamedTuple):
    """The same, with `∫ |dx/dt|² dt` and `∫ |∂f/∂x|² dt` (squared Frobenius norm) along each path, (B,)."""

    z: Tensor
    logdet: Tensor
    kinetic: Tensor
    jacobian: Tensor


@treelike
class FFJORD(Flow):
    """A density that the flow of `dx/dt = model(x)` carries to a base distribution.

    `log p(x) = log base(z) + ∫ tr(∂model/∂x) dt`, with `z` where the flow carries `x` to.

    Arguments:
        model: the slope of samples (B, *shape), as for `NeuralODE`.
        shape: that of a sample; a number, for samples that are rows of numbers.
        ts: the times of the data and of the base distribution.
        time: whether the model gets the time.
        trace: how the Jacobian's trace is found: `ExactTrace()`, or `Hutchinson()`, for which everything but
            `sample` takes a `generator`.
        base: a distribution of `torch.distributions` whose samples have this shape and whose `log_prob` is one number
            for each; by default the standard normal one. It is no part of the module: `.to` doesn't move it.
        options: any of `solve`'s.

    `flow(x)` is `(z, logdet)`, `flow.inverse(z)` is `(x, logdet)` of the way back.

    >>> from torchflux import Chain, Dense
    >>> flow = FFJORD(Chain(Dense(2, 16, torch.tanh), Dense(16, 2)), 2)
    >>> flow.log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])
    >>> flow.sample(3, torch.Generator().manual_seed(0)).shape
    torch.Size([3, 2])

    Source: Grathwohl et al. (2018), arXiv:1810.01367; the regularisers: Finlay et al. (2020), arXiv:2002.02798.
    """

    def __init__(
        self,
        model: Callable[..., Tensor],
        shape: int | tuple[int, ...],
        ts: Times = (0.0, 1.0),
        *,
        time: bool = False,
        trace: Trace | None = None,
        base: Distribution | None = None,
        **options: Any,
    ) -> None:
        Flow.__init__(self, model, ts, time=time, **options)
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.trace, self.base = trace or ExactTrace(), base
        if not options.get("batched", True):
            raise ValueError("FFJORD(batched=False): the samples of a density are independent; leave the option out")
        if base is not None and (base.batch_shape or base.event_shape != self.shape):
            raise ValueError(
                f"the base has batches of {tuple(base.batch_shape)} and samples of {tuple(base.event_shape)}, the flow "
                f"samples of {self.shape}: take torch.distributions.Independent(base, {len(self.shape)})"
            )

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Carried:
        """Where the samples are carried to, and `log |det dz/dx|`."""
        return Carried(*last(self.solve(x, (self.ts[0], self.ts[-1]), generator=generator).ys))

    def inverse(self, z: Tensor, generator: torch.Generator | None = None) -> Carried:
        """Where samples of the base distribution come from, and `log |det dx/dz|`."""
        return Carried(*last(self.solve(z, (self.ts[-1], self.ts[0]), generator=generator).ys))

    def regularised(self, x: Tensor, generator: torch.Generator | None = None) -> Regularised:
        """The same as a call, with the two integrals whose penalty makes the paths straight and cheap to solve."""
        ts = (self.ts[0], self.ts[-1])
        return Regularised(*last(self.solve(x, ts, generator=generator, penalties=True).ys))

    def log_prob(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The samples' log density, (B,)."""
        z, logdet = self(x, generator)
        return (_standard(z[0]) if self.base is None else self.base).log_prob(z) + logdet

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` samples of the density, (n, *shape)."""
        like = next(
            (x for _, x in leaves(self.model) if isinstance(x, Tensor) and x.is_floating_point()), torch.zeros(())
        )
        z = _drawn(self.base, n, generator) if self.base else _normal((n, *self.shape), like, generator)
        return last(Flow.solve(self, z, (self.ts[-1], self.ts[0])).ys)

    def solve(
        self,
        x: Tensor,
        ts: Times | None = None,
        *,
        generator: torch.Generator | None = None,
        penalties: bool = False,
        **options: Any,
    ) -> Solution:
        """The whole solution, whose state is `(x, logdet)`, or with `penalties=True` a `Regularised`'s four parts."""
        if x.dim() < 2 or x.shape[1:] != self.shape:
            raise ValueError(f"FFJORD got {tuple(x.shape)}: a batch, whose samples have the shape {self.shape}")
        ts = self.ts if ts is None else ts
        sign = 1 if ts[-1] > ts[0] else -1  # a path's length counts in either direction of time
        noise = self.trace.draw(x, generator)

        def slopes(t: Tensor, state: Any, noise: Any) -> Any:
            slope, trace, squares = self.trace(partial(self.slope, t), state[0], noise)
            if not penalties:
                return slope, trace
            return slope, trace, sign * slope.flatten(1).square().sum(1), sign * squares

        state = (x, *[x.new_zeros(len(x)) for _ in range(3 if penalties else 1)])
        args = None if noise is None else per_sample(noise)
        return solve(slopes, state, ts, args, **{**self.options, **options, "batched": True})


def _standard(like: Tensor) -> Distribution:
    """The standard normal distribution of samples like one."""
    return Independent(Normal(torch.zeros_like(like), torch.ones_like(like), validate_args=False), like.dim())


def _normal(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)


def _drawn(base: Distribution, n: int, generator: torch.Generator) -> Tensor:
    """Samples of a distribution, which takes no generator: the global one is seeded for them, and put back."""
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    with torch.random.fork_rng():
        torch.manual_seed(int(seed))
        return base.sample((n,))
