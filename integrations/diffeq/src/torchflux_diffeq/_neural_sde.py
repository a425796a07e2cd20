"""A layer whose result is where a stochastic differential equation leads to."""

from collections.abc import Callable
from typing import Any

import torch

from torchflux import treelike

from ._brownian import BrownianTree
from ._neural_ode import Flow, Times, check_batch, last
from ._sde import SDE
from ._solution import Solution
from ._solve import solve
from ._stochastic import StochasticSolver

__all__ = ["NeuralSDE"]

Tree = Any
Noise = torch.Generator | BrownianTree


@treelike
class NeuralSDE(Flow):
    """The state that `dy = drift(y) dt + diffusion(y) dW` leads to from the layer's input: one path for each sample.

    The equation is read in the solver's calculus: by default Itô's, with `EulerMaruyama()`.

    Arguments:
        drift, diffusion: any callables of the state, or with `time=True` of time and state, as for `NeuralODE`; their
            shapes are those of `SDE`.
        ts: the times; a call gives the state at the last one, `trajectory` all of them.
        noise: "diagonal", "scalar" or "general".
        time: whether drift and diffusion get the time.
        options: any of `solve`'s: `controller=Fixed(dt)` has to be among them, and `generator`, unless calls bring it.

    x: (B, ...) → (B, ...), or a tree of such

    >>> from torchflux import Chain, Dense
    >>> from torchflux_diffeq import Fixed
    >>> drift, diffusion = Chain(Dense(2, 16, torch.tanh), Dense(16, 2)), Chain(Dense(2, 2), torch.sigmoid)
    >>> layer = NeuralSDE(drift, diffusion, controller=Fixed(0.1), generator=torch.Generator().manual_seed(0))
    >>> Chain(Dense(3, 2), layer, Dense(2, 1))(torch.zeros(8, 3)).shape
    torch.Size([8, 1])
    >>> layer.trajectory(torch.zeros(8, 2), torch.linspace(0.0, 1.0, 5)).shape
    torch.Size([5, 8, 2])

    Source: Tzen & Raginsky (2019), arXiv:1905.09883; Li, Wong, Chen & Duvenaud (2020), arXiv:2001.01328.
    """

    def __init__(
        self,
        drift: Callable[..., Tree],
        diffusion: Callable[..., Tree],
        ts: Times = (0.0, 1.0),
        *,
        noise: str = "diagonal",
        time: bool = False,
        **options: Any,
    ) -> None:
        self.drift, self.diffusion, self.noise = drift, diffusion, noise
        self._set_up(ts, time, options)

    def equation(self, calculus: str = "ito") -> SDE:
        """The layer's equation, to be read in a calculus."""
        if self.time:
            return SDE(lambda t, y, _: self.drift(t, y), lambda t, y, _: self.diffusion(t, y), self.noise, calculus)
        return SDE(lambda t, y, _: self.drift(y), lambda t, y, _: self.diffusion(y), self.noise, calculus)

    def solve(self, x: Tree, ts: Times | None = None, generator: Noise | None = None, **options: Any) -> Solution:
        """The whole solution from `x`.

        Arguments:
            x: the states at the first time, the samples in front.
            ts: other times than the layer's.
            generator: another source of noise than the layer's.
            options: `solve`'s, which go before the layer's.
        """
        given = {} if generator is None else {"generator": generator}
        options = {"batched": True, **self.options, **given, **options}
        if options["batched"]:
            check_batch(type(self).__name__, x)
        solver = options.get("solver")
        equation = self.equation(solver.calculus if isinstance(solver, StochasticSolver) else "ito")
        return solve(equation, x, self.ts if ts is None else ts, **options)

    def trajectory(self, x: Tree, ts: Times | None = None, generator: Noise | None = None) -> Tree:
        """The states at all times, which are the first axis, before the samples."""
        return self.solve(x, ts, generator).ys

    def __call__(self, x: Tree, generator: Noise | None = None) -> Tree:
        """The states at the last time."""
        return last(self.solve(x, (self.ts[0], self.ts[-1]), generator).ys)
