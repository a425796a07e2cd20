"""What every sampler is: `init` and `step`, for one chain or for many."""

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from ._metric import Metric, metric
from ._positions import Positions, Tree
from ._target import NOISE, LogDensity, Target

if TYPE_CHECKING:
    from ._native_chains import NativeChains

__all__ = [
    "Info", "Kernel", "Mask", "Numbers", "Rows", "State", "Transitions", "Tuning", "finite", "require_count",
    "require_generator", "shown", "start", "together", "uniform",
]  # fmt: skip

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


class State(NamedTuple):
    """Where a chain is. With several chains, everything has an axis for them in front."""

    position: Tree
    logdensity: Tensor
    logdensity_grad: Tree


class Info(NamedTuple):
    """How a transition went. With several chains, everything has an axis for them in front."""

    acceptance_rate: Any
    is_divergent: Any
    energy: Any
    num_integration_steps: Any


class Rows(NamedTuple):
    """The chains' positions (chains, n), log densities (chains,), and gradients (chains, n)."""

    q: Tensor
    logdensity: Numbers
    gradient: Tensor

    def of(self, which: Any) -> "Rows":
        """Some of them."""
        index = torch.as_tensor(which, device=self.q.device)
        return Rows(self.q[index], self.logdensity[which], self.gradient[index])

    def where(self, which: Mask, other: "Rows") -> "Rows":
        """These, and those of `other` where `which` is true."""
        if not which.any():
            return self
        choose = torch.as_tensor(which, device=self.q.device)[:, None]
        numbers = np.where(which, other.logdensity, self.logdensity)
        return Rows(torch.where(choose, other.q, self.q), numbers, torch.where(choose, other.gradient, self.gradient))

    def put(self, which: Any, other: "Rows") -> "Rows":
        """These, with `other` in the places `which`."""
        index = torch.as_tensor(which, device=self.q.device)
        numbers = self.logdensity.copy()
        numbers[which] = other.logdensity
        return Rows(self.q.index_put((index,), other.q), numbers, self.gradient.index_put((index,), other.gradient))


class Tuning(NamedTuple):
    """What warm-up finds: each chain's step size (chains,) and the metric."""

    step_size: Numbers
    metric: Metric

    def of(self, which: Any) -> "Tuning":
        """That of some chains."""
        return Tuning(self.step_size[which], self.metric.of(torch.as_tensor(which)))


class Transitions(ABC):
    """The transitions of several chains, which need not end at the same time.

    Attributes:
        rows: where the chains are; of those whose transition has ended, the new state.
        info: how each chain's last transition went.
        tuning: the step sizes and the metric, which may be changed between a chain's transitions.
    """

    rows: Rows
    info: Info
    tuning: Tuning

    @abstractmethod
    def advance(self, generator: Generator) -> Mask:
        """Goes on by one evaluation or more, and says whose transitions have ended; `restart` begins their next."""

    @abstractmethod
    def restart(self, which: Mask, generator: Generator) -> None:
        """Begins a transition of some chains."""

    @abstractmethod
    def keep(self, which: Mask) -> None:
        """Drops the other chains."""


class Kernel(ABC):
    """A sampler: `state = alg.init(position)`, then `state, info = alg.step(generator, state)`.

    A step begins with the log density of where the state is, so that it may be another one than in the step before:
    weights have moved, or `step(generator, state, batch)` hands on another batch. No gradient flows through a step.
    """

    logdensity: LogDensity
    differentiates: ClassVar[bool] = True
    """Whether it needs the gradient of the log density."""
    lockstep: ClassVar[bool] = False
    """Whether each evaluation of the log density is of all chains."""
    begins_anew: ClassVar[bool] = False
    """Whether a transition evaluates the log density where it begins, so that `run` may hand on another batch."""

    @property
    def needs_all_parts(self) -> bool:
        """Whether a part of the position that the log density doesn't depend on is refused."""
        return self.differentiates

    @property
    def together(self) -> bool:
        """Whether the log density takes all chains at once."""
        return getattr(self, "batched", False)

    def init(self, position: Tree, *batch: Any, chains: bool = False) -> State:
        """The state of a chain that starts at `position`; with `chains=True`, of one for each entry of its first axis.

        Raises:
            ValueError, TypeError: the position or its log density isn't finite, or not of floats.
        """
        positions = Positions(position, chains)
        if native := self.native(self.logdensity, positions, batch):
            return shown(positions, native.start(positions.rows(position)))
        target = Target(self.logdensity, positions, self.together, batch)
        return shown(positions, self.started(target, position), self.differentiates)

    def step(
        self, generator: Generator, state: State, *batch: Any, logdensity: LogDensity | None = None
    ) -> tuple[State, Info]:
        """One transition: the new state, and how it went. `logdensity` takes the place of the kernel's own.

        Raises:
            TypeError: no generator, or no state.
            ValueError: the log density where the state is isn't finite any more.
        """
        require_generator(generator)
        if not isinstance(state, State):
            raise TypeError(f"state is a {type(state).__name__}: pass what init or the step before gave")
        positions = Positions(state.position, state.logdensity.dim() == 1)
        density, q = self.logdensity if logdensity is None else logdensity, positions.rows(state.position)
        if native := self.native(density, positions, batch):
            rows = native.at(q)
            rows, info = native.step(generator, rows, self.tuning(rows))
        else:
            target = Target(density, positions, self.together, batch)
            rows = start(target, q, self.differentiates)
            rows, info = together(self.begin(target, rows, self.tuning(rows)), generator)
        device = rows.q.device
        infos = (torch.as_tensor(x if positions.chains else x[0], device=device) for x in info)
        return shown(positions, rows, self.differentiates), Info(*infos)

    def started(self, target: Target, position: Tree) -> Rows:
        """The chains where they begin; the log density has to be one that can be sampled."""
        before = torch.get_rng_state()
        if self.needs_all_parts:
            target.require_all_parts()
        rows = start(target, target.positions.rows(position), self.differentiates)
        if not self.lockstep:
            target.require_any_number(rows.q)
        if not torch.equal(torch.get_rng_state(), before):
            raise ValueError(f"the log density draws random numbers: {NOISE}")
        return rows

    def native(self, logdensity: LogDensity, positions: Positions, batch: tuple[Any, ...]) -> "NativeChains | None":
        """Its chains as compiled programs; `None`: PyTorch takes the steps."""
        return None

    def tuning(self, rows: Rows) -> Tuning:
        """The step sizes and the metric of these chains."""
        chains = len(rows.q)
        size = np.asarray(torch.as_tensor(getattr(self, "step_size", 1.0), dtype=torch.float64).detach().cpu())
        if size.ndim > 1 or size.shape not in ((), (chains,)) or not (size > 0).all():
            raise ValueError(f"step_size is {size}: pass a positive number, or one for each of {chains} chains")
        sizes = np.broadcast_to(size, (chains,)).astype(np.float64)
        return Tuning(sizes, metric(getattr(self, "inverse_mass_matrix", None), rows.q))

    @abstractmethod
    def begin(self, target: Target, rows: Rows, tuning: Tuning) -> Transitions:
        """Transitions of chains that stand at `rows`; `restart` begins them."""


def require_generator(generator: Any) -> None:
    """Refuses a seed, a key, or anything else that is not a generator."""
    if not isinstance(generator, Generator):
        raise TypeError(f"generator is {generator!r}: pass a torch.Generator, as torch.Generator().manual_seed(0)")


def require_count(name: str, number: Any, largest: float = math.inf) -> None:
    """Refuses what isn't a positive whole number."""
    if not isinstance(number, int | np.integer) or not 1 <= number <= largest:
        most = "" if math.isinf(largest) else f", at most {largest}"
        raise ValueError(f"{name} is {number!r}: pass a whole number, at least 1{most}")


def start(target: Target, q: Tensor, differentiates: bool = True) -> Rows:
    """The chains at these positions, whose log density has to be finite; without its gradient, that is zero."""
    if differentiates:
        value, gradient = target.value_and_gradient(q)
    else:
        with torch.no_grad():
            value, gradient = target.value(q), torch.zeros_like(q)
    numbers = value.double().cpu().numpy()
    finite(numbers, gradient, target.positions.chains)
    return Rows(q, numbers, gradient)


def finite(logdensities: Numbers, gradient: Tensor, chains: bool) -> None:
    """Refuses positions to start from whose log density or its gradient (chains, n) isn't finite."""
    who = lambda wrong: f"chain {np.flatnonzero(wrong)[0]}" if chains else "the position"
    if (wrong := ~np.isfinite(logdensities)).any():
        raise ValueError(
            f"the log density is {logdensities[wrong][0]} where {who(wrong)} starts: start where it is finite"
        )
    if not gradient.isfinite().all():
        raise ValueError(
            f"the log density's gradient has NaN or inf where {who(~gradient.isfinite().all(1).cpu().numpy())} starts: "
            "start where it is smooth; a branch of torch.where that isn't taken can spoil it, too"
        )


def shown(positions: Positions, rows: Rows, differentiates: bool = True) -> State:
    """Rows as a state."""
    value = torch.as_tensor(rows.logdensity, dtype=rows.q.dtype, device=rows.q.device)
    gradient = positions.back(rows.gradient) if differentiates else None
    return State(positions.back(rows.q), value if positions.chains else value[0], gradient)


def together(transitions: Transitions, generator: Generator) -> tuple[Rows, Info]:
    """One transition of every chain."""
    everyone = np.ones(len(transitions.rows.q), bool)
    transitions.restart(everyone, generator)
    ended = transitions.advance(generator)
    if ended.all():
        return transitions.rows, transitions.info
    rows, info = transitions.rows, Info(*(x.copy() for x in transitions.info))
    waiting = np.arange(len(everyone))
    while True:
        if ended.any():
            gone = waiting[ended]
            rows = rows.put(gone, transitions.rows.of(ended))
            for all_of_them, some in zip(info, transitions.info, strict=True):
                all_of_them[gone] = some[ended]
            if ended.all():
                return rows, info
            transitions.keep(~ended)
            waiting = waiting[~ended]
        ended = transitions.advance(generator)


def uniform(chains: int, generator: Generator) -> Numbers:
    """Uniform numbers, one for each chain."""
    return torch.rand(chains, generator=generator, dtype=torch.float64, device=generator.device).cpu().numpy()
