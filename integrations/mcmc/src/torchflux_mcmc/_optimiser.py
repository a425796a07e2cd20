"""Optimiser steps in the shape of a sampler's, so that a loop can take turns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Generator, Tensor

from torchflux import setup, update, withgradient

from ._kernel import require_generator
from ._positions import Tree

__all__ = ["OptimiserInfo", "OptimiserState", "optimiser"]


class OptimiserState(NamedTuple):
    """What is optimised, and what the rule keeps of it."""

    position: Tree
    rule: Any


class OptimiserInfo(NamedTuple):
    """The loss before the step."""

    loss: Tensor


@dataclass(frozen=True, eq=False)
class optimiser:
    """Steps of an optimiser: `state, info = alg.step(generator, state, batch)`, as of a sampler.

    The position is changed in place, as by the core's `update`: a log density that uses it sees it move.

    Arguments:
        loss: of a position and a batch; a scalar.
        rule: an optimiser of the core's, as `Adam(0.01)`.

    A maximum-likelihood estimate whose latent variable is sampled:

    >>> import torch
    >>> from torchflux import Descent
    >>> from torchflux_mcmc import hmc
    >>> mean, x = {"mean": torch.zeros(())}, torch.tensor([1.0, 2.0, 3.0])
    >>> logp = lambda z: -((x - mean["mean"] - z) ** 2).sum() / 2 - (z**2).sum() / 2
    >>> sampler = hmc(logp, step_size=0.5, num_integration_steps=3)
    >>> climber = optimiser(lambda p, z: ((x - p["mean"] - z) ** 2).sum() / 2, Descent(0.05))
    >>> rng = torch.Generator().manual_seed(0)
    >>> latents, weights = sampler.init(torch.zeros(3)), climber.init(mean)
    >>> for _ in range(200):
    ...     latents, _ = sampler.step(rng, latents)
    ...     weights, info = climber.step(rng, weights, latents.position)
    >>> abs(mean["mean"].item() - 2.0) < 1.0
    True
    """

    loss: Callable[..., Tensor]
    rule: Any

    def init(self, position: Tree) -> OptimiserState:
        """The state of an optimiser that starts at `position`: a tensor, a tree of tensors, or a model.

        Raises:
            ValueError: nothing in it trains.
        """
        return OptimiserState(position, setup(self.rule, position))

    def step(self, generator: Generator, state: OptimiserState, *batch: Any) -> tuple[OptimiserState, OptimiserInfo]:
        """One step, of `loss(position, *batch)`; the generator is for the common shape, and isn't drawn from.

        Raises:
            TypeError: no generator, or no state.
            ValueError: the loss isn't finite, which leaves the position as it was.
        """
        require_generator(generator)
        if not isinstance(state, OptimiserState):
            raise TypeError(f"state is a {type(state).__name__}: pass what init or the step before gave")
        loss, (slope,) = withgradient(lambda position: self.loss(position, *batch), state.position)
        if not loss.isfinite():
            raise ValueError(f"the loss is {float(loss)}: the position is left as it was; is the rate too large?")
        update(state.rule, state.position, slope)
        return state, OptimiserInfo(loss.detach())
