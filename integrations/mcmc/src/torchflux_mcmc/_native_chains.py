"""Chains that are compiled programs, each in a thread of its own."""

import time
from collections.abc import Callable, Iterator
from threading import Event, Lock, Thread
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from tqdm import tqdm

from ._adaptation import NO_STEP_SIZE
from ._kernel import Info, Rows, Tuning, finite
from ._metric import Dense, Diagonal, Metric
from ._native_program import NativeProgram

__all__ = ["NativeChains"]

Array = NDArray[Any]

FAR = np.geomspace(1e-3, 1e6, 10)
"""How far a coordinate is moved to see whether the log density depends on it."""


class NativeChains:
    """The no-U-turn sampler of one log density with its data, for positions that are vectors.

    Arguments:
        data: what the program takes beside the position.
        chains: whether there may be several.
        limit, threshold: `max_num_doublings` and `divergence_threshold`.
    """

    def __init__(self, program: NativeProgram, data: list[Any], chains: bool, limit: int, threshold: float) -> None:
        self.program, self.data, self.chains = program, data, chains
        self.limit, self.threshold = limit, threshold

    def start(self, q: Tensor) -> Rows:
        """The chains at these positions; the log density has to depend on every coordinate."""
        rows = self.at(q)
        self._require_all_coordinates(rows)
        return rows

    def at(self, q: Tensor) -> Rows:
        """The chains at these positions; their log density has to be finite."""
        rows = self._evaluated(q)
        finite(rows.logdensity, rows.gradient, self.chains)
        return rows

    def _evaluated(self, q: Tensor) -> Rows:
        zeros = Rows(q, np.zeros(len(q)), torch.zeros_like(q))
        return self._go(zeros, Tuning(np.ones(len(q)), Diagonal(q.new_ones(q.shape[1]))))[0]

    def step(self, generator: Generator, rows: Rows, tuning: Tuning) -> tuple[Rows, Info]:
        """One transition of every chain."""
        _, info, rows = self.run(generator, rows, tuning, 1)
        return rows, Info(*(x[:, 0] for x in info))

    def run(
        self, generator: Generator, rows: Rows, tuning: Tuning, num_samples: int, thin: int = 1, progress: bool = False
    ) -> tuple[Tensor, Info, Rows]:
        """Draws (chains, num_samples, n), how they came about, and where the chains are then."""
        seeds = _seeds(generator, num_samples * thin, len(rows.q))
        bar = tqdm(total=seeds.size, disable=not progress, unit="draw")
        rows, draws, infos, _ = self._go(rows, tuning, seeds, thin=thin, num_samples=num_samples, bar=bar)
        rate, divergent, energy, steps = np.moveaxis(infos, 2, 0)
        return draws, Info(rate.copy(), divergent.astype(bool), energy.copy(), steps.astype(np.int64)), rows

    def warm_up(
        self,
        generator: Generator,
        rows: Rows,
        tuning: Tuning,
        windows: list[tuple[int, int]],
        num_steps: int,
        wanted: float,
        progress: bool,
    ) -> tuple[Rows, Tuning]:
        """Where the chains are after warm-up, and what they have learnt; `tuning` is each chain's to begin with.

        Raises:
            ValueError: no step size is accepted.
        """
        seeds = _seeds(generator, num_steps, len(rows.q))
        bar = tqdm(total=seeds.size, disable=not progress, unit="draw", desc="warm-up")
        rows, _, _, tuning = self._go(rows, tuning, seeds, windows, wanted, bar=bar)
        if not tuning.step_size.all():
            where = rows.q[torch.as_tensor(tuning.step_size == 0)][0]
            raise ValueError(NO_STEP_SIZE.format(where))
        return rows, tuning

    def _go(
        self,
        rows: Rows,
        tuning: Tuning,
        seeds: Array | None = None,
        windows: list[tuple[int, int]] = (),  # type: ignore[assignment]
        wanted: float = 0.0,
        thin: int = 1,
        num_samples: int = 0,
        bar: Any = None,
    ) -> tuple[Rows, Tensor, Array, Tuning]:
        """Runs the program for all chains; without `seeds` it evaluates the density where they are."""
        from ._native_warmup import AVERAGE, COUNT, DRAWS, TARGET

        chains, n = rows.q.shape
        at = torch.stack((rows.q, rows.gradient), 1).numpy()
        values, sizes = rows.logdensity.copy(), tuning.step_size.copy()
        matrix, root = _arrays(tuning.metric, rows.q)
        draws, infos = np.empty((chains, num_samples, n), at.dtype), np.empty((chains, num_samples, 4))
        moments, states = np.zeros((chains, 1 + matrix.shape[1], n), at.dtype), np.zeros((chains, DRAWS + 1))
        states[:, TARGET] = wanted
        ends = np.array(windows, np.int64).reshape(-1, 2)
        given = np.empty((0, chains), np.int64) if seeds is None else seeds
        options = self.limit, self.threshold, thin

        def work(first: int, stop: int, start: int, end: int) -> None:
            learnt = sizes, matrix, root, ends, moments, states
            self.program.chains(
                first, stop, start, end, given, at, values, *learnt, *options, draws, infos, *self._room(at.dtype, n),
                *self.data,
            )  # fmt: skip

        if len(given) < 2:
            work(0, chains, 0, len(given))
        else:
            with bar:
                _share_out(work, chains, len(given), bar)
        sizes = np.where(states[:, COUNT] > 0, np.exp(states[:, AVERAGE]), sizes)
        rows = Rows(torch.from_numpy(at[:, 0].copy()), values, torch.from_numpy(at[:, 1].copy()))
        return rows, torch.from_numpy(draws), infos, Tuning(sizes, _metric(tuning.metric, matrix))

    def _room(self, dtype: Any, n: int) -> tuple[Array, ...]:
        """What a chain works in: the random state, two ends, a draw, what is kept of a subtree, sums, and the info."""
        shapes = (2, 4, n), (2, n), (2, self.limit + 1, n), (3, n)
        return np.zeros(4, np.uint64), *(np.zeros(shape, dtype) for shape in shapes), np.zeros(4)

    def _require_all_coordinates(self, rows: Rows) -> None:
        """Refuses a log density that a coordinate doesn't change: it would wander off."""
        q = rows.q.numpy()
        still = (rows.gradient == 0).all(0).numpy()
        if not still.any():
            return
        rng, scale = np.random.default_rng(0), 1 + np.abs(q[:1])
        around = q[:1] + scale * np.repeat(FAR[2:5], 2)[:, None] * rng.standard_normal((6, q.shape[1]))
        still &= (self._evaluated(torch.from_numpy(around.astype(q.dtype))).gradient == 0).all(0).numpy()
        for i in np.flatnonzero(still):
            moved = np.repeat(q[:1], 2 * len(FAR), 0)
            moved[:, i] += np.concatenate([FAR, -FAR]) * scale[0, i]
            if (self._evaluated(torch.from_numpy(moved)).logdensity == rows.logdensity[0]).all():
                raise ValueError(f"the log density doesn't depend on position[{i}]: leave it out, or give it a density")


def _seeds(generator: Generator, transitions: int, chains: int) -> Array:
    """A seed for each transition of each chain, so that a run that is split gives the same draws."""
    shape, least = (transitions, chains), -(2**63)
    return torch.randint(least, 2**63 - 1, shape, generator=generator, device=generator.device).cpu().numpy()


def _arrays(metric: Metric, q: Tensor) -> tuple[Array, Array]:
    """A metric as the program takes it: matrices (chains or 1, n or 1, n) and their roots."""
    n = q.shape[1]
    matrix, root = (x.to(q.dtype).reshape(-1, n if metric.axes == 2 else 1, n) for x in (metric.matrix, metric.root))
    return matrix.numpy().copy(), root.numpy().copy()


def _metric(like: Metric, matrix: Array) -> Metric:
    """What the program has made of a metric."""
    return Dense(torch.from_numpy(matrix)) if isinstance(like, Dense) else Diagonal(torch.from_numpy(matrix[:, 0]))


def _share_out(work: Callable[[int, int, int, int], None], chains: int, transitions: int, bar: Any) -> None:
    """Runs the chains in as many threads as PyTorch uses; an exception or Ctrl-C halts them all."""
    waiting, failed, halted, lock = iter(range(chains)), [], Event(), Lock()

    def worker() -> None:
        try:
            for chain in waiting:
                for start, end in _stretches(transitions):
                    work(chain, chain + 1, start, end)
                    with lock:
                        bar.update(end - start)
                    if halted.is_set():
                        return
        except BaseException as error:
            failed.append(error)
            halted.set()

    threads = [Thread(target=worker) for _ in range(min(torch.get_num_threads(), chains))]
    if len(threads) == 1:
        worker()
    else:
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            halted.set()
    if failed:
        raise failed[0]


def _stretches(transitions: int) -> Iterator[tuple[int, int]]:
    """Transitions in stretches of some hundredths of a second, or of one, after which a chain may be halted."""
    start, length = 0, 32
    while start < transitions:
        begun, end = time.perf_counter(), min(start + length, transitions)
        yield start, end
        seconds = time.perf_counter() - begun
        start, length = end, 4 * length if seconds < 0.02 else max(length // 4, 1) if seconds > 0.2 else length
