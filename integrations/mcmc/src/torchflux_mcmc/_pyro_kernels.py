"""Pyro's own kernels, `HMC` and `NUTS`, as `init` and `step`."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import torch
from pyro.infer.mcmc import HMC
from pyro.infer.mcmc.adaptation import WarmupAdapter
from torch import Generator, Tensor

from ._kernel import Info, Rows, Tuning
from ._lockstep import Lockstep
from ._metric import Dense, Metric
from ._pyro_density import contained, pyro_logdensity
from ._target import LogDensity, Target

__all__ = ["pyro_kernel", "stepped"]


@dataclass(frozen=True, eq=False)
class pyro_kernel(Lockstep):
    """One of Pyro's kernels, a transition at a time; each chain is moved by itself, as Pyro does it.

    Its own step size, mass matrix and warm-up aren't used: `window_adaptation(pyro_kernel, logdensity, kernel=...)`
    finds these parameters. `stepped` makes this of a kernel that has a model.

    Arguments:
        logdensity: of a position; a scalar, up to a constant.
        step_size: of the leapfrog integrator; a number, or one for each chain.
        inverse_mass_matrix: best the target's covariance; a vector (its diagonal), a matrix, `Diagonal` or `Dense`.
        kernel: Pyro's, `HMC(...)` or `NUTS(...)`.
        batched: the log density takes all chains' positions at once and returns one number for each.

    The info's energy is NaN, since Pyro doesn't tell it.

    Raises:
        TypeError: another kernel than `HMC` or `NUTS`.

    >>> from pyro.infer.mcmc import NUTS
    >>> logdensity = lambda x: -(x**2).sum() / 2
    >>> alg = pyro_kernel(logdensity, 0.5, kernel=NUTS(potential_fn=logdensity, max_tree_depth=5))
    >>> state, info = alg.step(torch.Generator().manual_seed(0), alg.init(torch.zeros(3)))
    >>> state.position.shape, bool(info.num_integration_steps > 1)
    (torch.Size([3]), True)

    Source: Bingham et al. (2019), Pyro: deep universal probabilistic programming, arXiv:1810.09538.
    """

    logdensity: LogDensity
    step_size: Any = 0.1
    inverse_mass_matrix: Any = None
    kernel: Any = None
    batched: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.kernel, HMC):
            raise TypeError(f"kernel is {self.kernel!r}: pass an HMC(...) or NUTS(...) of pyro.infer.mcmc")

    def move(self, generator: Generator, target: Target, rows: Rows, tuning: Tuning) -> tuple[Rows, Info]:
        """A transition of every chain, one chain after the other."""
        moved = []
        with contained(generator), pyro.validation_enabled(False):
            for i in range(len(rows.q)):
                one = np.arange(len(rows.q)) == i
                moved.append(self._transition(target.of(one), rows.of(one), tuning.of(one)))
        parts, infos = zip(*moved, strict=True)
        q, gradient = torch.cat([part.q for part in parts]), torch.cat([part.gradient for part in parts])
        numbers = np.concatenate([part.logdensity for part in parts])
        return Rows(q, numbers, gradient), Info(*(np.array(column) for column in zip(*infos, strict=True)))

    def _transition(self, target: Target, rows: Rows, tuning: Tuning) -> tuple[Rows, tuple[Any, ...]]:
        """The transition of one chain. To Pyro it is a chain of one draw, whose position is the row."""
        potential = _Potential(target)
        kernel, here = copy.copy(self.kernel), {"q": rows.q[0]}
        kernel.cleanup()
        kernel.model, kernel.potential_fn, kernel.initial_params = None, potential, here
        adapter = WarmupAdapter(float(tuning.step_size[0]), dense_mass=isinstance(tuning.metric, Dense))
        kernel._adapter = adapter
        kernel.setup(0)
        adapter.mass_matrix_adapter.inverse_mass_matrix = {("q",): _matrix(tuning.metric)}
        evaluations = potential.evaluations
        kernel.sample(here)
        place, energy, slopes = kernel._fetch_from_cache()
        moved = Rows(place["q"][None].detach(), np.array([-float(energy)]), -slopes["q"][None])
        rate, divergent = kernel._mean_accept_prob, bool(kernel.diagnostics()["divergences"])
        return moved, (rate, divergent, np.nan, potential.evaluations - evaluations)


class _Potential:
    """Minus a log density of one row, as a function of Pyro's dict; counts its evaluations."""

    def __init__(self, target: Target) -> None:
        self.target, self.evaluations = target, 0

    def __call__(self, position: dict[str, Tensor]) -> Tensor:
        self.evaluations += 1
        return -self.target.value(position["q"][None])[0]


def _matrix(metric: Metric) -> Tensor:
    """The inverse mass matrix of one chain."""
    return metric.matrix[0] if metric.each else metric.matrix


def stepped(kernel: Any, *args: Any, **kwargs: Any) -> pyro_kernel:
    """Pyro's kernel as one of ours, with its own step size.

    Arguments:
        kernel: `HMC(model, ...)` or `NUTS(model, ...)`; or with `potential_fn=` in the place of the model.
        args, kwargs: the model's.

    >>> import pyro.distributions as dist
    >>> from pyro.infer.mcmc import HMC
    >>> def model(y):
    ...     z = pyro.sample("z", dist.Normal(0.0, 1.0))
    ...     pyro.sample("y", dist.Normal(z, 1.0), obs=y)
    >>> alg = stepped(HMC(model, step_size=0.25, num_steps=4), torch.tensor(1.0))
    >>> generator = torch.Generator().manual_seed(0)
    >>> state = alg.init(alg.logdensity.initial(generator))
    >>> for _ in range(3):
    ...     state, info = alg.step(generator, state)
    >>> state.position["z"].shape, int(info.num_integration_steps)
    (torch.Size([]), 4)
    """
    if not isinstance(kernel, HMC):
        raise TypeError(f"stepped takes Pyro's HMC or NUTS, not {type(kernel).__name__}")
    if kernel.model is not None:
        logdensity: Any = pyro_logdensity(kernel.model, *args, **kwargs)
    else:
        potential = kernel.potential_fn
        logdensity = lambda position: -potential(position)
    return pyro_kernel(logdensity, kernel.step_size, kernel=kernel)
