"""Many transitions of many chains; no chain waits for another."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator
from tqdm import tqdm

from torchflux import fmap

from ._kernel import Info, Kernel, Rows, State, Transitions, require_count, require_generator, shown
from ._positions import Positions, Tree
from ._target import Target

__all__ = ["Samples", "run"]


@dataclass(frozen=True)
class Samples:
    """What chains have drawn.

    Arguments:
        positions: shaped as the position, with the axes (chains, draws) in front.
        info: how the transitions went that led to the draws; NumPy arrays (chains, draws).
        state: where the chains stand, to go on from.
        route: "native" if they were drawn by machine code, otherwise "torch".
    """

    positions: Tree
    info: Info
    state: State
    route: str = "torch"

    @property
    def divergences(self) -> int:
        """How many of the draws came of a divergent transition."""
        return int(self.info.is_divergent.sum())


def run(
    generator: Generator,
    alg: Kernel,
    positions: Tree,
    num_samples: int,
    *batch: Any,
    thin: int = 1,
    batches: Iterable[Any] | None = None,
    progress: bool = False,
) -> Samples:
    """Draws samples with one or more chains.

    Arguments:
        generator: of all random numbers.
        positions: where the chains start: a position with an axis for the chains in front; or a `State`, to go on, of
            several chains or of one.
        num_samples: how many draws each chain gives.
        batch: whatever else the log density takes.
        thin: the transitions from one draw to the next.
        batches: the log density's batches, one for each transition of `sgld`, `sghmc`, or `gibbs`; a data loader is
            begun again when it ends.
        progress: shows a bar.

    Raises:
        ValueError, TypeError: the position or its log density isn't finite, or not of floats; or no kernel is passed.

    >>> from torchflux_mcmc import hmc
    >>> alg = hmc(lambda x: -(x**2).sum() / 2, step_size=0.5)
    >>> samples = run(torch.Generator().manual_seed(0), alg, torch.zeros(4, 3), 100)
    >>> samples.positions.shape, samples.divergences
    (torch.Size([4, 100, 3]), 0)
    """
    require_generator(generator)
    if not isinstance(alg, Kernel):
        raise TypeError(f"alg is {alg!r}: pass a kernel, as nuts(logdensity)")
    require_count("num_samples", num_samples)
    require_count("thin", thin)
    if batches is not None and not alg.begins_anew:
        raise ValueError(
            f"a transition of {type(alg).__name__} begins with what the one before has evaluated, with its batch: "
            "batches= is for sgld and sghmc; `step(generator, state, batch)` takes a batch with any kernel"
        )
    if batches is not None and batch:
        raise ValueError("pass a batch for all transitions, or batches=")
    first = positions.position if isinstance(positions, State) else positions
    if isinstance(positions, State) and not positions.logdensity.dim():
        first = fmap(lambda x: x.detach()[None], first)
    layout = Positions(first, chains=True)
    if batches is None and (native := alg.native(alg.logdensity, layout, batch)):
        rows = native.start(layout.rows(first))
        draws, info, rows = native.run(generator, rows, alg.tuning(rows), num_samples, thin, progress)
        return Samples(layout.tree(draws, *draws.shape[:2]), info, shown(layout, rows), "native")
    stream = _repeated(batches) if batches is not None else None
    target = Target(alg.logdensity, layout, alg.together, (next(stream),) if stream else batch)
    rows = alg.started(target, first)
    collected = _Collected(rows, num_samples, thin)
    transitions = alg.begin(target, rows, alg.tuning(rows))
    with tqdm(total=num_samples * len(rows.q), disable=not progress, unit="draw") as bar:
        for _ in collected.all(transitions, generator):
            if stream and collected.total < bar.total:
                target.batch = (next(stream),)
            bar.update(collected.total - bar.n)
            bar.set_postfix(divergences=int(collected.info.is_divergent.sum()), refresh=False)
    state = shown(layout, collected.last, alg.differentiates)
    return Samples(layout.tree(collected.draws, *collected.draws.shape[:2]), collected.info, state)


def _repeated(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        count = 0
        for batch in batches:
            count += 1
            yield batch
        if not count:
            raise ValueError("batches= has nothing in it, or can be read only once: pass a list or a data loader")


class _Collected:
    """The draws so far: positions (chains, draws, n), and how they came about (chains, draws)."""

    def __init__(self, rows: Rows, num_samples: int, thin: int) -> None:
        chains, n = rows.q.shape
        self.last, self.num_samples, self.thin = rows, num_samples, thin
        self.draws = rows.q.new_empty(chains, num_samples, n)
        shape = (chains, num_samples)
        self.info = Info(np.zeros(shape), np.zeros(shape, bool), np.zeros(shape), np.zeros(shape, np.int64))
        self.made = np.zeros(chains, np.int64)

    @property
    def total(self) -> int:
        """The number of draws of all chains."""
        return int((self.made // self.thin).sum())

    def all(self, transitions: Transitions, generator: Generator) -> Iterator[None]:
        """Goes on until all is drawn; yields whenever transitions have ended."""
        chains = np.arange(len(self.made))
        transitions.restart(np.ones(len(chains), bool), generator)
        while True:
            ended = transitions.advance(generator)
            if not ended.any():
                continue
            self._note(chains[ended], transitions.rows.of(ended), [x[ended] for x in transitions.info])
            yield
            going = self.made[chains] < self.num_samples * self.thin
            if not going.any():
                return
            if not going.all():
                chains, ended = chains[going], ended[going]
                transitions.keep(going)
            if ended.any():
                transitions.restart(ended, generator)

    def _note(self, who: Any, rows: Rows, info: list[Any]) -> None:
        self.last = self.last.put(who, rows)
        self.made[who] += 1
        kept = self.made[who] % self.thin == 0
        place = who[kept], self.made[who[kept]] // self.thin - 1
        self.draws[place] = rows.q[torch.as_tensor(kept)]
        for column, values in zip(self.info, info, strict=True):
            column[place] = values[kept]
