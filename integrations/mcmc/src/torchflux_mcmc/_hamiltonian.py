"""Hamiltonian dynamics: the leapfrog integrator, and `hmc`.

Source: Neal (2011), MCMC using Hamiltonian dynamics, arXiv:1206.1901.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from ._kernel import Info, Mask, Numbers, Rows, Tuning, require_count, uniform
from ._lockstep import Lockstep
from ._metric import Metric
from ._target import LogDensity, Target

__all__ = ["DIVERGENCE", "Counts", "hmc", "kinetic", "leapfrog", "mala", "momenta"]

Counts = NDArray[np.int64]
DIVERGENCE = 1000.0
"""The energy that a trajectory may gain before it is called divergent, as in Stan."""


def leapfrog(target: Target, rows: Rows, p: Tensor, step: Tensor, metric: Metric) -> tuple[Rows, Tensor]:
    """One step (chains, 1) of the kick-drift-kick integrator, for positions and momenta (chains, n)."""
    p = torch.addcmul(p, rows.gradient, step, value=0.5)
    q = torch.addcmul(rows.q, metric.velocity(p), step)
    value, gradient = target.value_and_gradient(q)
    p = torch.addcmul(p, gradient, step, value=0.5)
    return Rows(q, value.double().cpu().numpy(), gradient), p


def momenta(q: Tensor, metric: Metric, generator: Generator) -> Tensor:
    """Fresh momenta of chains that stand at `q` (chains, n)."""
    return metric.momentum(torch.randn(q.shape, generator=generator, dtype=q.dtype, device=q.device))


def kinetic(p: Tensor, metric: Metric) -> Numbers:
    """The kinetic energies (chains,)."""
    energy: Numbers = metric.kinetic(p).double().cpu().numpy()
    return energy


@dataclass(frozen=True, eq=False)
class hmc(Lockstep):
    """Hamiltonian Monte Carlo with trajectories of one length.

    Arguments:
        logdensity: of a position; a scalar, up to a constant.
        step_size: of the leapfrog integrator; a number, or one for each chain.
        num_integration_steps: in a trajectory.
        inverse_mass_matrix: best the target's covariance; a vector (its diagonal), a matrix, `Diagonal` or `Dense`.
        batched: the log density takes all chains' positions at once and returns one number for each.
        divergence_threshold: the gain of energy at which a trajectory counts as divergent.

    >>> alg = hmc(lambda x: -(x**2).sum() / 2, step_size=0.5, num_integration_steps=5)
    >>> state = alg.init(torch.zeros(3))
    >>> state, info = alg.step(torch.Generator().manual_seed(0), state)
    >>> state.position.shape, bool(info.is_divergent)
    (torch.Size([3]), False)

    Source: Duane, Kennedy, Pendleton & Roweth (1987), doi:10.1016/0370-2693(87)91197-X.
    """

    logdensity: LogDensity
    step_size: Any = 0.1
    num_integration_steps: int = 10
    inverse_mass_matrix: Any = None
    batched: bool = False
    divergence_threshold: float = DIVERGENCE

    def __post_init__(self) -> None:
        require_count("num_integration_steps", self.num_integration_steps)

    def move(self, generator: Generator, target: Target, rows: Rows, tuning: Tuning) -> tuple[Rows, Info]:
        """A trajectory of every chain, and whether its end is accepted."""
        metric = tuning.metric
        step = torch.as_tensor(tuning.step_size, dtype=rows.q.dtype, device=rows.q.device)[:, None]
        p = momenta(rows.q, metric, generator)
        before = kinetic(p, metric) - rows.logdensity
        end, steps = rows, self.steps(tuning)
        for made in range(int(steps.max())):
            end, p = self._further(steps > made, (end, p), leapfrog(target, end, p, step, metric))
        after = kinetic(p, metric) - end.logdensity
        gain = np.where(after > -np.inf, after - before, np.inf)  # neither to NaN nor into a pole
        rate = np.exp(-np.maximum(gain, 0.0))
        accepted = uniform(len(rate), generator) < rate
        info = Info(rate, gain > self.divergence_threshold, np.where(accepted, after, before), steps)
        return rows.where(accepted, end), info

    def steps(self, tuning: Tuning) -> Counts:
        """The number of each chain's leapfrog steps, (chains,)."""
        return np.full(len(tuning.step_size), self.num_integration_steps)

    @staticmethod
    def _further(going: Mask, here: tuple[Rows, Tensor], there: tuple[Rows, Tensor]) -> tuple[Rows, Tensor]:
        """`there` for the chains that are still going, `here` for the others: rows and momenta."""
        if going.all():
            return there
        chosen = torch.as_tensor(going, device=here[1].device)[:, None]
        return here[0].where(going, there[0]), torch.where(chosen, there[1], here[1])


@dataclass(frozen=True, eq=False)
class mala(Lockstep):
    """The Metropolis-adjusted Langevin algorithm: `hmc` with trajectories of one step.

    With the step size `ε` it proposes `q + ε²/2 M⁻¹∇ + ε M^(-1/2) z`.

    >>> alg = mala(lambda x: -(x**2).sum() / 2, step_size=0.5)
    >>> alg.init(torch.zeros(3)).logdensity
    tensor(-0.)

    Source: Roberts & Tweedie (1996), doi:10.2307/3318418.
    """

    logdensity: LogDensity
    step_size: Any = 0.1
    inverse_mass_matrix: Any = None
    batched: bool = False
    divergence_threshold: float = DIVERGENCE

    def move(self, generator: Generator, target: Target, rows: Rows, tuning: Tuning) -> tuple[Rows, Info]:
        """A proposal for every chain, and whether it is accepted."""
        one = hmc(self.logdensity, num_integration_steps=1, divergence_threshold=self.divergence_threshold)
        return one.move(generator, target, rows, tuning)
