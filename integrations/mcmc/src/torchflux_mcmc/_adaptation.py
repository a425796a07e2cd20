"""Warm-up: the step size by dual averaging, the mass matrix from windows of draws, each chain by itself.

Sources: Hoffman & Gelman (2014), arXiv:1111.4246, section 3.2; the windows and the shrinkage are Stan's (reference
manual, "HMC algorithm parameters").
"""

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from tqdm import tqdm

from ._hamiltonian import kinetic, leapfrog, momenta
from ._kernel import Kernel, Numbers, Rows, State, Tuning, require_generator, shown
from ._metric import Dense, Diagonal, Metric
from ._positions import Positions, Tree
from ._target import LogDensity, Target

__all__ = ["window_adaptation"]


NO_STEP_SIZE = (
    "no step size from 1e-18 to 1e18 is accepted as often as wanted at {}: is the density finite around it, and not "
    "flat?"
)


def windows(num_steps: int) -> list[tuple[int, int]]:
    """The windows of draws that the mass matrix is learnt from, each twice as long as the one before.

    >>> windows(1000)
    [(75, 100), (100, 150), (150, 250), (250, 450), (450, 950)]
    """
    if num_steps < 20:
        return []
    first, last, base = (75, 50, 25) if num_steps >= 150 else (int(0.15 * num_steps), int(0.1 * num_steps), num_steps)
    stop = num_steps - last
    found = []
    while first < stop:
        end = first + base
        if end + 2 * base > stop:
            end = stop
        found.append((first, end))
        first, base = end, 2 * base
    return found


class _DualAveraging:
    """The step sizes of chains at which they accept as often as they should."""

    def __init__(self, step_size: Numbers, target: float) -> None:
        self.target = target
        self.centre, self.count, self.error, self.average = (np.zeros_like(step_size) for _ in range(4))
        self.begin(np.ones(len(step_size), bool), step_size)

    def begin(self, who: Any, step_size: Numbers) -> None:
        """Begins again, from these step sizes."""
        self.centre[who] = np.log(10 * step_size[who])
        self.count[who] = self.error[who] = self.average[who] = 0.0

    def update(self, who: Any, rate: Numbers) -> Numbers:
        """The next step sizes, for the acceptance rates of the last transitions."""
        self.count[who] += 1
        k = self.count[who]
        share = 1 / (k + 10)
        self.error[who] = (1 - share) * self.error[who] + share * (self.target - rate)
        logarithm = self.centre[who] - np.sqrt(k) / 0.05 * self.error[who]
        weight = k**-0.75
        self.average[who] = weight * logarithm + (1 - weight) * self.average[who]
        return np.exp(logarithm)


class _Moments:
    """Means and covariances of draws, as they come (Welford, 1962); of some chains, by number."""

    def __init__(self, q: Tensor, dense: bool) -> None:
        self.dense = dense
        self.count = np.zeros(len(q), np.int64)
        self.mean = torch.zeros_like(q)
        self.squares = torch.zeros(*q.shape, *q.shape[1:] * dense, dtype=q.dtype, device=q.device)

    def add(self, who: Any, q: Tensor) -> None:
        """One more draw."""
        self.count[who] += 1
        index = torch.as_tensor(who, device=q.device)
        before = q - self.mean[index]
        self.mean[index] += before / torch.as_tensor(self.count[who], dtype=q.dtype, device=q.device)[:, None]
        after = q - self.mean[index]
        self.squares[index] += before[:, :, None] * after[:, None, :] if self.dense else before * after

    def taken(self, chain: int) -> Tensor:
        """A chain's covariance, shrunk towards a small unit matrix; it begins again."""
        n = int(self.count[chain])
        covariance = self.squares[chain] / (n - 1)
        small = 1e-3 * 5 / (n + 5)
        unit = torch.eye(len(self.mean[0]), dtype=covariance.dtype, device=covariance.device) if self.dense else 1.0
        self.count[chain] = 0
        self.mean[chain] = self.squares[chain] = 0.0
        return n / (n + 5) * covariance + small * unit


class window_adaptation:
    """Warm-up of kernels with a mass matrix, in windows as Stan's.

    Arguments:
        alg: the kernel's class: `nuts`, `hmc` or `mala`.
        logdensity: of a position; a scalar, up to a constant.
        target_acceptance_rate: that the step size is chosen for.
        dense: learns all covariances, not just the variances.
        initial_step_size: from which a reasonable one is searched.
        params: the kernel's other parameters.

    Raises:
        TypeError, ValueError: it isn't such a kernel, or a parameter that warm-up finds is given.

    >>> from torchflux_mcmc import nuts
    >>> warmup = window_adaptation(nuts, lambda x: -(x**2).sum() / 2)
    >>> state, params = warmup.run(torch.Generator().manual_seed(0), torch.zeros(3), 100)
    >>> alg = nuts(warmup.logdensity, **params)
    >>> sorted(params)
    ['inverse_mass_matrix', 'step_size']
    """

    def __init__(
        self,
        alg: type[Kernel],
        logdensity: LogDensity,
        *,
        target_acceptance_rate: float = 0.8,
        dense: bool = False,
        initial_step_size: float = 1.0,
        **params: Any,
    ) -> None:
        if not isinstance(alg, type) or not issubclass(alg, Kernel) or not hasattr(alg, "inverse_mass_matrix"):
            raise TypeError(f"alg is {alg!r}: pass the class of a kernel with a mass matrix, as nuts")
        if not 0 < target_acceptance_rate < 1:
            raise ValueError(f"target_acceptance_rate is {target_acceptance_rate}: it lies between 0 and 1")
        if found := params.keys() & {"step_size", "inverse_mass_matrix"}:
            raise ValueError(f"{sorted(found)} are found by warm-up; it begins at initial_step_size")
        self.alg, self.logdensity, self.params = alg, logdensity, params
        self.target, self.dense, self.initial_step_size = target_acceptance_rate, dense, initial_step_size

    def run(
        self, generator: Generator, position: Tree, num_steps: int = 1000, *batch: Any, chains: bool = False,
        progress: bool = False,
    ) -> tuple[State, dict[str, Any]]:  # fmt: skip
        """Warms up: the state, and the parameters for the kernel; of every chain its own, with `chains=True`."""
        require_generator(generator)
        if num_steps < 1:
            raise ValueError(f"num_steps is {num_steps}: warm-up takes at least one, best some hundreds")
        layout = Positions(position, chains)
        kernel = self.alg(self.logdensity, step_size=self.initial_step_size, **self.params)  # type: ignore[call-arg]
        if native := kernel.native(self.logdensity, layout, batch):
            rows = native.start(layout.rows(position))
            first = Tuning(kernel.tuning(rows).step_size, _metric(_units(rows.q, self.dense)))
            rows, tuning = native.warm_up(generator, rows, first, windows(num_steps), num_steps, self.target, progress)
        else:
            target = Target(self.logdensity, layout, kernel.together, batch)
            rows = kernel.started(target, position)
            warmup = _Warmup(self, kernel, target, rows, num_steps, generator)
            with tqdm(total=num_steps * len(rows.q), disable=not progress, unit="draw", desc="warm-up") as bar:
                warmup.go(bar)
            rows, tuning = warmup.last, warmup.result()
        size, metric = tuning
        matrix = metric if chains else metric.matrix[0]
        step = torch.as_tensor(size, device=rows.q.device) if chains else float(size[0])
        return shown(layout, rows), {"step_size": step, "inverse_mass_matrix": matrix}


class _Warmup:
    """The chains on their way, each at its own draw of the schedule."""

    def __init__(
        self, options: window_adaptation, kernel: Kernel, target: Target, rows: Rows, num_steps: int, rng: Generator
    ) -> None:
        chains = len(rows.q)
        self.matrix = _units(rows.q, options.dense)
        self.options, self.target, self.generator, self.last = options, target, rng, rows
        self.num_steps, self.windows, self.made = num_steps, windows(num_steps), np.zeros(chains, np.int64)
        self.size = self._reasonable(np.arange(chains), np.full(chains, options.initial_step_size))
        self.averaging, self.moments = _DualAveraging(self.size, options.target), _Moments(rows.q, options.dense)
        self.transitions = kernel.begin(target, rows, Tuning(self.size.copy(), _metric(self.matrix)))

    def _reasonable(self, who: Any, size: Numbers) -> Numbers:
        """Step sizes, powers of two times `size`, whose first leapfrog step is accepted about as often as wanted."""
        size, direction, waiting = size.copy(), np.zeros(len(who)), np.ones(len(who), bool)
        rows, target, metric = self.last.of(who), self.target.of(who), _metric(self.matrix[who])
        for _ in range(60):
            step = torch.as_tensor(size, dtype=rows.q.dtype, device=rows.q.device)[:, None]
            p = momenta(rows.q, metric, self.generator)
            after, p1 = leapfrog(target, rows, p, step, metric)
            gain = kinetic(p1, metric) - after.logdensity - kinetic(p, metric) + rows.logdensity
            towards = np.where(-np.where(gain > -np.inf, gain, np.inf) > np.log(self.options.target), 1.0, -1.0)
            waiting = waiting & ((direction == 0) | (towards == direction))
            if not waiting.any():
                return size
            direction = np.where(waiting, towards, direction)
            size = np.where(waiting, size * 2.0**direction, size)
        where = rows.q[torch.as_tensor(waiting)][0]
        raise ValueError(NO_STEP_SIZE.format(where))

    def go(self, bar: Any) -> None:
        """All transitions of all chains."""
        chains = np.arange(len(self.made))
        self.transitions.restart(np.ones(len(chains), bool), self.generator)
        while len(chains):
            ended = self.transitions.advance(self.generator)
            if not ended.any():
                continue
            rate = self.transitions.info.acceptance_rate[ended]
            closed = self._learn(chains[ended], self.transitions.rows.of(ended), rate)
            bar.update(int(ended.sum()))
            going = self.made[chains] < self.num_steps
            if not going.all():
                chains, ended = chains[going], ended[going]
                self.transitions.keep(going)
            metric = _metric(self.matrix[torch.as_tensor(chains)]) if closed else self.transitions.tuning.metric
            self.transitions.tuning = Tuning(self.size[chains], metric)
            if ended.any():
                self.transitions.restart(ended, self.generator)

    def _learn(self, who: Any, rows: Rows, rate: Numbers) -> bool:
        """What a transition of some chains teaches; whether the mass matrix of one has changed."""
        self.last = self.last.put(who, rows)
        self.size[who] = self.averaging.update(who, rate)
        made = self.made[who]
        self.made[who] += 1
        inside = np.array([any(begin <= k < end for begin, end in self.windows) for k in made])
        if inside.any():
            self.moments.add(who[inside], rows.q[torch.as_tensor(inside)])
        closing = who[[any(k + 1 == end for _, end in self.windows) for k in made]]
        for chain in closing:
            self.matrix[chain] = self.moments.taken(chain)
        if len(closing):
            self.size[closing] = self._reasonable(closing, self.size[closing])
            self.averaging.begin(closing, self.size)
        return len(closing) > 0

    def result(self) -> Tuning:
        """The averaged step sizes, and the metric."""
        learnt = self.averaging.count > 0
        return Tuning(np.where(learnt, np.exp(self.averaging.average), self.size), _metric(self.matrix))


def _units(q: Tensor, dense: bool) -> Tensor:
    """A unit matrix, or its diagonal, for each chain."""
    unit = torch.eye(q.shape[1], dtype=q.dtype, device=q.device) if dense else q.new_ones(q.shape[1])
    return unit.expand(len(q), *unit.shape).clone()


def _metric(matrices: Tensor) -> Metric:
    """The metric of covariances (chains, n, n) or variances (chains, n)."""
    return Dense(matrices) if matrices.dim() == 3 else Diagonal(matrices)
