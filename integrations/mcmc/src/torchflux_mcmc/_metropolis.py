"""Kernels without gradients: the random walk, and elliptical slices."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from ._kernel import Info, Rows, Tuning, uniform
from ._lockstep import Lockstep
from ._metric import metric
from ._target import LogDensity, Target

__all__ = ["elliptical_slice", "rwm"]


def _at(target: Target, q: Tensor) -> Rows:
    """The chains at these positions; no gradient is known there."""
    with torch.no_grad():
        value = target.value(q).double().cpu().numpy()
    return Rows(q, np.where(np.isfinite(value), value, -np.inf), torch.zeros_like(q))  # no move into a pole


def _normal(q: Tensor, generator: Generator) -> Tensor:
    return torch.randn(q.shape, generator=generator, dtype=q.dtype, device=q.device)


@dataclass(frozen=True, eq=False)
class rwm(Lockstep):
    """The random-walk Metropolis algorithm, with normal proposals.

    Arguments:
        logdensity: of a position; a scalar, up to a constant. Its gradient isn't used.
        step_size: by which proposals are scaled; a number, or one for each chain.
        covariance: of the proposals; a vector (its diagonal), a matrix, `Diagonal` or `Dense`.
        batched: the log density takes all chains' positions at once and returns one number for each.

    >>> alg = rwm(lambda x: -x.abs().sum(), step_size=2.0)
    >>> state, info = alg.step(torch.Generator().manual_seed(0), alg.init(torch.zeros(2)))
    >>> state.position.shape
    torch.Size([2])

    Source: Metropolis, Rosenbluth, Rosenbluth, Teller & Teller (1953), doi:10.1063/1.1699114.
    """

    differentiates: ClassVar[bool] = False
    logdensity: LogDensity
    step_size: Any = 1.0
    covariance: Any = None
    batched: bool = False

    def tuning(self, rows: Rows) -> Tuning:
        """The step sizes and the covariance."""
        return super().tuning(rows)._replace(metric=metric(self.covariance, rows.q, "covariance"))

    def move(self, generator: Generator, target: Target, rows: Rows, tuning: Tuning) -> tuple[Rows, Info]:
        """A proposal for every chain, and whether it is accepted."""
        step = torch.as_tensor(tuning.step_size, dtype=rows.q.dtype, device=rows.q.device)[:, None]
        proposed = _at(target, rows.q + step * tuning.metric.displacement(_normal(rows.q, generator)))
        rate = np.exp(np.minimum(proposed.logdensity - rows.logdensity, 0.0))
        rows = rows.where(uniform(len(rate), generator) < rate, proposed)
        nothing = np.zeros(len(rate), np.int64)
        return rows, Info(rate, nothing.astype(bool), -rows.logdensity, nothing)


@dataclass(frozen=True, eq=False)
class elliptical_slice(Lockstep):
    """Elliptical slice sampling, for a normal prior: nothing has to be tuned, and every proposal ends in a move.

    Arguments:
        logdensity: the log likelihood of a position, without the prior; a scalar.
        mean: the prior's; a number, or a row of n numbers.
        covariance: the prior's; a vector (its diagonal), a matrix, `Diagonal` or `Dense`.
        batched: the log likelihood takes all chains' positions at once and returns one number for each.

    >>> alg = elliptical_slice(lambda x: -((x - 1) ** 2).sum() / 2)
    >>> state, info = alg.step(torch.Generator().manual_seed(0), alg.init(torch.zeros(2)))
    >>> float(info.acceptance_rate)
    1.0

    Source: Murray, Adams & MacKay (2010), arXiv:1001.0175.
    """

    differentiates: ClassVar[bool] = False
    logdensity: LogDensity
    mean: Any = 0.0
    covariance: Any = None
    batched: bool = False

    def tuning(self, rows: Rows) -> Tuning:
        """The prior's covariance."""
        return super().tuning(rows)._replace(metric=metric(self.covariance, rows.q, "covariance"))

    def move(self, generator: Generator, target: Target, rows: Rows, tuning: Tuning) -> tuple[Rows, Info]:
        """Angles are drawn from brackets that shrink towards where each chain stands, until its slice is hit."""
        chains = len(rows.q)
        mean = torch.as_tensor(self.mean, dtype=rows.q.dtype, device=rows.q.device).detach()
        if mean.shape not in ((), rows.q.shape[1:]):
            raise ValueError(f"mean has the shape {tuple(mean.shape)}: pass a number, or {rows.q.shape[1]} of them")
        across = tuning.metric.displacement(_normal(rows.q, generator))
        level = rows.logdensity + np.log1p(-uniform(chains, generator))
        angle = 2 * np.pi * uniform(chains, generator)
        low, high = angle - 2 * np.pi, angle
        here, steps, waiting = rows.q - mean, np.zeros(chains, np.int64), np.ones(chains, bool)
        while waiting.any():
            θ = torch.as_tensor(angle, dtype=rows.q.dtype, device=rows.q.device)[:, None]
            proposed = _at(target, mean + here * θ.cos() + across * θ.sin())
            steps = steps + waiting
            hit = waiting & (proposed.logdensity > level)
            low, high = np.where(angle < 0, angle, low), np.where(angle < 0, high, angle)
            nothing_left = high - low < 1e-12  # rounding took it out of its own slice: it stays
            rows, waiting = rows.where(hit, proposed), waiting & ~hit & ~nothing_left
            angle = np.where(waiting, low + (high - low) * uniform(chains, generator), angle)
        return rows, Info(np.ones(chains), np.zeros(chains, bool), -rows.logdensity, steps)
