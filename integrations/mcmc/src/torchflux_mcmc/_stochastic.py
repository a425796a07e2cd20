"""Kernels for gradients of minibatches: nothing is accepted or rejected, and small steps keep the error small."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from ._hamiltonian import momenta
from ._kernel import Info, Rows, Tuning, require_count
from ._lockstep import Lockstep
from ._target import LogDensity, Target

__all__ = ["minibatch", "sghmc", "sgld"]


def minibatch(logprior: LogDensity, loglikelihood: LogDensity, size: int) -> LogDensity:
    """The unbiased estimate of a log density from a part of the data.

    Arguments:
        logprior: of a position; a scalar.
        loglikelihood: of a position and a batch: one number for each observation, shape (m,).
        size: of the whole data.

    >>> estimate = minibatch(lambda w: -(w**2) / 2, lambda w, x: -((x - w) ** 2) / 2, size=100)
    >>> estimate(torch.tensor(0.0), torch.ones(10))
    tensor(-50.)

    Source: Welling & Teh (2011).
    """

    def estimate(position: Any, batch: Any) -> Tensor:
        terms = loglikelihood(position, batch)
        if terms.dim() != 1:
            raise ValueError(f"the log likelihood has the shape {tuple(terms.shape)}: return one number an observation")
        return logprior(position) + size * terms.mean()

    return estimate


def _informed(rows: Rows, steps: int) -> Info:
    """There is no acceptance; a log density that isn't finite is called divergent."""
    chains = len(rows.q)
    lost = ~(np.isfinite(rows.logdensity) & rows.q.isfinite().all(-1).cpu().numpy())
    return Info(np.ones(chains), lost, -rows.logdensity, np.full(chains, steps))


class _Minibatched(Lockstep):
    """A kernel of a log density that each step has anew, with its batch: there it is differentiated."""

    differentiates: ClassVar[bool] = False
    begins_anew: ClassVar[bool] = True

    @property
    def needs_all_parts(self) -> bool:
        """A part without a density would wander off."""
        return True


@dataclass(frozen=True, eq=False)
class sgld(_Minibatched):
    """Stochastic gradient Langevin dynamics: `q + ε ∇ + √(2ε) z`, without acceptance.

    The state's log density is that of the batch where the step began.

    Arguments:
        logdensity: of a position and a batch; an unbiased estimate, see `minibatch`.
        step_size: `ε`; a number, or one for each chain. `dataclasses.replace(alg, step_size=...)` makes it smaller.
        temperature: the factor of the noise's variance.
        batched: the log density takes all chains' positions at once and returns one number for each.

    >>> alg = sgld(lambda x, batch: -((x - batch.mean()) ** 2).sum() / 2, step_size=0.01)
    >>> batch = torch.ones(10)
    >>> state, info = alg.step(torch.Generator().manual_seed(0), alg.init(torch.zeros(2), batch), batch)
    >>> state.position.shape
    torch.Size([2])

    Source: Welling & Teh (2011), Bayesian learning via stochastic gradient Langevin dynamics, ICML.
    """

    logdensity: LogDensity
    step_size: Any = 1e-3
    temperature: float = 1.0
    batched: bool = False

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"temperature is {self.temperature}: it isn't negative")

    def move(self, generator: Generator, target: Target, rows: Rows, tuning: Tuning) -> tuple[Rows, Info]:
        """A step of every chain."""
        q = rows.q
        step = torch.as_tensor(tuning.step_size, dtype=q.dtype, device=q.device)[:, None]
        value, gradient = target.value_and_gradient(q)
        noise = torch.randn(q.shape, generator=generator, dtype=q.dtype, device=q.device)
        q = q + step * gradient + (2 * self.temperature * step).sqrt() * noise
        rows = Rows(q, value.double().cpu().numpy(), torch.zeros_like(q))
        return rows, _informed(rows, 1)


@dataclass(frozen=True, eq=False)
class sghmc(_Minibatched):
    """Stochastic gradient Hamiltonian Monte Carlo: short trajectories with friction, without acceptance.

    Arguments:
        logdensity: of a position and a batch; an unbiased estimate, see `minibatch`.
        step_size: `η` of the paper, of which velocities are the square roots; a number, or one for each chain.
        num_integration_steps: in a trajectory, all with the same batch.
        friction, noise: `α` and the estimate `β` of the gradient's own noise.
        batched: the log density takes all chains' positions at once and returns one number for each.

    >>> alg = sghmc(lambda x, batch: -((x - batch.mean()) ** 2).sum() / 2, step_size=0.01)
    >>> batch = torch.ones(10)
    >>> state, info = alg.step(torch.Generator().manual_seed(0), alg.init(torch.zeros(2), batch), batch)
    >>> int(info.num_integration_steps)
    10

    Source: Chen, Fox & Guestrin (2014), arXiv:1402.4102, eq. 15.
    """

    logdensity: LogDensity
    step_size: Any = 1e-3
    num_integration_steps: int = 10
    friction: float = 0.01
    noise: float = 0.0
    batched: bool = False

    def __post_init__(self) -> None:
        require_count("num_integration_steps", self.num_integration_steps)
        if not 0.0 <= self.noise < self.friction <= 1.0:
            raise ValueError(f"sghmc takes 0 <= noise < friction <= 1, not {self.noise} and {self.friction}")

    def move(self, generator: Generator, target: Target, rows: Rows, tuning: Tuning) -> tuple[Rows, Info]:
        """A trajectory of every chain."""
        q = rows.q
        step = torch.as_tensor(tuning.step_size, dtype=q.dtype, device=q.device)[:, None]
        root, spread = step.sqrt(), (2 * (self.friction - self.noise) * step).sqrt()
        v = root * momenta(q, tuning.metric, generator)
        for _ in range(self.num_integration_steps):
            value, gradient = target.value_and_gradient(q)
            z = torch.randn(q.shape, generator=generator, dtype=q.dtype, device=q.device)
            v = (1 - self.friction) * v + step * gradient + spread * z
            q = q + v
        rows = Rows(q, value.double().cpu().numpy(), torch.zeros_like(q))
        return rows, _informed(rows, self.num_integration_steps)
