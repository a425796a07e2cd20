"""The no-U-turn sampler. Each chain builds its own tree, and begins the next one when it is done.

A tree doubles: a subtree as large as the tree is added in a random direction of time, leaf by leaf, and the next state
is drawn from the leaves by their weights. A subtree of 2^j leaves is checked for U-turns between the ends of all of its
own subtrees while it grows; of a leaf that begins some of them, momentum and sum are kept until the last of them ends.

Sources: Hoffman & Gelman (2014), arXiv:1111.4246; multinomial weights and the U-turn of sums: Betancourt (2017),
arXiv:1701.02434; iteration instead of recursion: Phan, Pradhan & Jankowiak (2019), arXiv:1912.11554.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from ._hamiltonian import DIVERGENCE, kinetic, leapfrog, momenta
from ._kernel import Info, Kernel, Mask, Rows, Transitions, Tuning, require_count, uniform
from ._metric import Metric
from ._native_chains import NativeChains
from ._native_route import native_chains
from ._positions import Positions
from ._target import LogDensity, Target

__all__ = ["nuts"]


@dataclass(frozen=True, eq=False)
class nuts(Kernel):
    """The no-U-turn sampler: Hamiltonian Monte Carlo that finds the length of its trajectories.

    With many chains each builds its own tree: one evaluation of the log density takes every chain one leapfrog step
    further, and `run` has no chain wait for another's tree.

    Arguments:
        logdensity: of a position; a scalar, up to a constant.
        step_size: of the leapfrog integrator; a number, or one for each chain.
        inverse_mass_matrix: best the target's covariance; a vector (its diagonal), a matrix, `Diagonal` or `Dense`.
        max_num_doublings: at most 2^this leapfrog steps are made in a transition; 1 to 16.
        batched: the log density takes all chains' positions at once and returns one number for each.
        divergence_threshold: the gain of energy at which a trajectory counts as divergent.
        route: "native" is machine code, trees, warm-up and all, for a log density of a vector that `@native` of
            `torchflux_zygote` decorates; "auto" takes it where it can, "torch" never. Numbers that the density captures
            are compiled in: what moves is a batch, or an array that it captures.

    >>> alg = nuts(lambda x: -(x**2).sum() / 2, step_size=0.5)
    >>> state, info = alg.step(torch.Generator().manual_seed(0), alg.init(torch.zeros(3)))
    >>> state.position.shape, bool(info.num_integration_steps > 1)
    (torch.Size([3]), True)

    Source: Hoffman & Gelman (2014), arXiv:1111.4246; Betancourt (2017), arXiv:1701.02434.
    """

    logdensity: LogDensity
    step_size: Any = 0.1
    inverse_mass_matrix: Any = None
    max_num_doublings: int = 10
    batched: bool = False
    divergence_threshold: float = DIVERGENCE
    route: str = "auto"

    def __post_init__(self) -> None:
        require_count("max_num_doublings", self.max_num_doublings, LARGEST)

    def native(self, logdensity: LogDensity, positions: Positions, batch: tuple[Any, ...]) -> NativeChains | None:
        """Its chains as compiled programs."""
        return native_chains(self, logdensity, positions, batch)

    def begin(self, target: Target, rows: Rows, tuning: Tuning) -> Transitions:
        """Transitions of chains that stand at `rows`."""
        return _Trees(self, target, rows, tuning)


class _End:
    """The last state and momentum in one direction of time."""

    def __init__(self, rows: Rows, p: Tensor) -> None:
        self.rows, self.p = rows, p

    def where(self, which: Mask, other: "_End") -> "_End":
        """This, and `other` for the chains `which`."""
        if not which.any():
            return self
        return _End(self.rows.where(which, other.rows), chosen(which, other.p, self.p))


class _Trees(Transitions):
    """The trees of all chains; one leapfrog step of each at a time.

    Of the tree: both ends, the state that is drawn (`rows`), the log of the leaves' weights, and the momenta's sum. Of
    the subtree that grows: the direction, the number of leaves, and the same again.
    """

    def __init__(self, kernel: nuts, target: Target, rows: Rows, tuning: Tuning) -> None:
        self.kernel, self.target, self.rows, self.tuning = kernel, target, rows, tuning
        chains, n = rows.q.shape
        zeros = torch.zeros_like(rows.q)
        self.left = self.right = self.now = _End(rows, zeros)
        self.sum = self.subtree_sum = zeros
        self.drawn = rows
        self.kept_p = rows.q.new_zeros(chains, kernel.max_num_doublings, n)
        self.kept_sum = torch.zeros_like(self.kept_p)
        self.energy, self.energy_rows, self.energy_drawn, self.accepted = (np.zeros(chains) for _ in range(4))
        self.weight, self.subtree_weight = np.zeros(chains), np.full(chains, -np.inf)
        self.depth, self.leaf, self.steps = (np.zeros(chains, np.int64) for _ in range(3))
        self.direction = np.ones(chains)

    def restart(self, which: Mask, generator: Generator) -> None:
        """New momenta, and trees of one leaf."""
        p = momenta(self.rows.q, self.tuning.metric, generator)
        energy = kinetic(p, self.tuning.metric) - self.rows.logdensity
        root = _End(self.rows, p)
        self.left, self.right = self.left.where(which, root), self.right.where(which, root)
        self.sum = chosen(which, p, self.sum)
        for name, value in (
            ("energy", energy), ("energy_rows", energy), ("weight", 0.0), ("depth", 0), ("steps", 0), ("accepted", 0.0)
        ):  # fmt: skip
            setattr(self, name, np.where(which, value, getattr(self, name)))
        self._double(which, generator)

    def _double(self, which: Mask, generator: Generator) -> None:
        """Begins a subtree at one of the ends."""
        forward = uniform(len(which), generator) < 0.5
        self.direction = np.where(which, np.where(forward, 1.0, -1.0), self.direction)
        self.now = self.now.where(which & forward, self.right).where(which & ~forward, self.left)
        self.leaf = np.where(which, 0, self.leaf)
        self.subtree_weight = np.where(which, -np.inf, self.subtree_weight)
        self.subtree_sum = chosen(which, torch.zeros_like(self.subtree_sum), self.subtree_sum)

    def advance(self, generator: Generator) -> Mask:
        """One leaf more in every chain's subtree."""
        rows, metric = self.now.rows, self.tuning.metric
        step = torch.as_tensor(self.tuning.step_size * self.direction, dtype=rows.q.dtype, device=rows.q.device)
        rows, p = leapfrog(self.target, rows, self.now.p, step[:, None], metric)
        self.now = _End(rows, p)
        energy = kinetic(p, metric) - rows.logdensity
        gain = np.where(energy > -np.inf, energy - self.energy, np.inf)  # neither to NaN nor into a pole
        divergent = gain > self.kernel.divergence_threshold
        self.steps = self.steps + 1
        self.accepted = self.accepted + np.exp(-np.maximum(gain, 0.0))
        self._draw(rows, energy, -gain, generator)
        self.subtree_sum = self.subtree_sum + p
        turned = self._turned_inside(p)
        self.leaf = self.leaf + 1
        stopped = divergent | turned
        whole = (self.leaf == 2**self.depth) & ~stopped
        ended = stopped | self._join(whole, generator)
        if (going := whole & ~ended).any():
            self._double(going, generator)
        self.info = Info(self.accepted / self.steps, divergent, self.energy_rows, self.steps)
        return ended

    def _draw(self, rows: Rows, energy: Any, weight: Any, generator: Generator) -> None:
        """The new leaf takes the place of the one drawn so far with its share of the subtree's weight."""
        total = np.logaddexp(self.subtree_weight, weight)
        with np.errstate(invalid="ignore"):  # -inf - -inf
            taken = uniform(len(weight), generator) < np.exp(weight - total)
        self.drawn = self.drawn.where(taken, rows)
        self.energy_drawn = np.where(taken, energy, self.energy_drawn)
        self.subtree_weight = total

    def _turned_inside(self, p: Tensor) -> Mask:
        """Whether a subtree of the subtree, which the new leaf ends, has made a U-turn."""
        top = BITS[self.leaf >> 1]
        ends = self.leaf % 2 == 1
        if (begins := ~ends).any():
            place = torch.as_tensor(np.flatnonzero(begins)), torch.as_tensor(top[begins])
            self.kept_p[place], self.kept_sum[place] = p[begins], self.subtree_sum[begins]
        if not ends.any():
            return ends
        levels = np.arange(int(top[ends].max()) + 1)
        asked = ends[:, None] & (levels <= top[:, None]) & (levels > top[:, None] - ONES[self.leaf][:, None])
        first = self.kept_p[:, : len(levels)]
        between = self.subtree_sum[:, None] - self.kept_sum[:, : len(levels)] + first
        turned: Mask = (asked & turns(first, p[:, None], between, self.tuning.metric)).any(1)
        return turned

    def _join(self, whole: Mask, generator: Generator) -> Mask:
        """Makes whole subtrees parts of their trees, and says which trees are done."""
        if not whole.any():
            return whole
        with np.errstate(invalid="ignore", over="ignore"):
            taken = whole & (uniform(len(whole), generator) < np.exp(self.subtree_weight - self.weight))
        self.rows = self.rows.where(taken, self.drawn)
        self.energy_rows = np.where(taken, self.energy_drawn, self.energy_rows)
        self.weight = np.where(whole, np.logaddexp(self.weight, self.subtree_weight), self.weight)
        self.sum = chosen(whole, self.sum + self.subtree_sum, self.sum)
        self.left = self.left.where(whole & (self.direction < 0), self.now)
        self.right = self.right.where(whole & (self.direction > 0), self.now)
        self.depth = self.depth + whole
        turned = turns(self.left.p, self.right.p, self.sum, self.tuning.metric)
        done: Mask = whole & (turned | (self.depth >= self.kernel.max_num_doublings))
        return done

    def keep(self, which: Mask) -> None:
        """Drops the other chains."""
        index = torch.as_tensor(which, device=self.rows.q.device)
        for name, x in vars(self).items():
            if isinstance(x, _End):
                setattr(self, name, _End(x.rows.of(which), x.p[index]))
            elif isinstance(x, Rows | Tuning | Target):
                setattr(self, name, x.of(which))
            elif isinstance(x, Tensor):
                setattr(self, name, x[index])
            elif isinstance(x, np.ndarray):
                setattr(self, name, x[which])


LARGEST = 16
BITS = np.array([bin(i).count("1") for i in range(2**LARGEST)])
"""The number of ones in a number: where a leaf that begins a subtree is kept."""
ONES = np.array([(~i & (i + 1)).bit_length() - 1 for i in range(2**LARGEST)])
"""The number of ones at a number's end: how many subtrees a leaf ends."""


def chosen(which: Mask, x: Tensor, y: Tensor) -> Tensor:
    """`x` for the chains `which`, `y` for the others."""
    return torch.where(torch.as_tensor(which, device=x.device)[:, None], x, y)


def turns(first: Tensor, last: Tensor, between: Tensor, metric: Metric) -> Mask:
    """Whether a trajectory whose momenta add up to `between` comes back: at either end it moves against that sum.

    Half of the ends' momenta don't count, as in a trapezoidal sum.
    """
    along = metric.velocity(between - (first + last) / 2)
    ahead = torch.minimum((first * along).sum(-1), (last * along).sum(-1))
    turned: Mask = (ahead <= 0).cpu().numpy()
    return turned
