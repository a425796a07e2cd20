"""Kernels made of kernels: one for each block of the position, or one several times."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from ._kernel import Info, Kernel, Rows, Tuning, require_count, start, together
from ._lockstep import Lockstep
from ._positions import Tree, sampled
from ._target import LogDensity, Target

__all__ = ["gibbs", "repeat"]

Conditional = Callable[[Generator, Tree], Tree]
"""`draw(generator, position)`: a block's new value, given the whole position of one chain."""


class _Block(Target):
    """The density of some numbers of each row, given the others."""

    def __init__(self, whole: Target, q: Tensor, columns: Tensor) -> None:
        self.whole, self.q, self.columns = whole, q, columns
        self.positions = whole.positions

    def value(self, rows: Tensor) -> Tensor:
        """The log density of the whole rows with these numbers in them."""
        return self.whole.value(self.q.index_copy(1, self.columns, rows))

    def of(self, which: Any) -> Target:
        """That of some of the chains."""
        return _Block(self.whole.of(which), self.q[torch.as_tensor(which)], self.columns)


@dataclass(frozen=True, eq=False)
class gibbs(Lockstep):
    """Samples the blocks of a position one after the other, each given the rest.

    Arguments:
        logdensity: of the whole position, a dict; a scalar, up to a constant.
        blocks: by the block's name, or a tuple of names: a kernel, whose own log density isn't used; or the exact
            conditional, `draw(generator, position)`, which returns the block's new value (of a tuple: a tuple, in the
            order of the names, which is that of a kernel's metric, too).
        batched: the log density takes all chains' positions at once and returns one number for each.

    >>> from torchflux_mcmc import rwm
    >>> logdensity = lambda p: -((p["x"] - p["m"]) ** 2).sum() / 2 - p["m"] ** 2 / 2
    >>> exact = lambda g, p: p["m"] + torch.randn(3, generator=g)
    >>> alg = gibbs(logdensity, {"m": rwm(logdensity), "x": exact})
    >>> state = alg.init({"m": torch.zeros(()), "x": torch.zeros(3)})
    >>> state, info = alg.step(torch.Generator().manual_seed(0), state)
    >>> state.position["x"].shape
    torch.Size([3])

    Source: Geman & Geman (1984), doi:10.1109/TPAMI.1984.4767596.
    """

    begins_anew: ClassVar[bool] = True
    logdensity: LogDensity
    blocks: Mapping[Any, Kernel | Conditional]
    batched: bool = False

    def __post_init__(self) -> None:
        if not self.blocks:
            raise ValueError("gibbs has no blocks: name the parts of the position, each with a kernel")
        if any(isinstance(kernel, gibbs) for kernel in self.blocks.values()):
            raise ValueError("gibbs has a block whose kernel is gibbs: name that one's blocks here")

    @property
    def differentiates(self) -> bool:  # type: ignore[override]
        """Whether one of the blocks' kernels does."""
        return any(isinstance(kernel, Kernel) and kernel.differentiates for kernel in self.blocks.values())

    @property
    def needs_all_parts(self) -> bool:
        """Whether one of the blocks' kernels does."""
        return any(isinstance(kernel, Kernel) and kernel.needs_all_parts for kernel in self.blocks.values())

    @property
    def lockstep(self) -> bool:  # type: ignore[override]
        """Whether all of the blocks' kernels are."""
        return all(kernel.lockstep for kernel in self.blocks.values() if isinstance(kernel, Kernel))

    def move(self, generator: Generator, target: Target, rows: Rows, tuning: Tuning) -> tuple[Rows, Info]:
        """Every block of every chain."""
        rates, steps, divergent = np.ones(len(rows.q)), np.zeros(len(rows.q), np.int64), np.zeros(len(rows.q), bool)
        for name, kernel, own in self._own(target):
            columns = _columns(target, own)
            if not isinstance(kernel, Kernel):
                drawn = _drawn(kernel, name, generator, target, rows.q, own)
                rows = rows._replace(q=rows.q.index_copy(1, columns, drawn))
                continue
            block = _Block(target, rows.q, columns)
            part = start(block, rows.q[:, columns], kernel.differentiates)
            part, info = together(kernel.begin(block, part, kernel.tuning(part)), generator)
            rows = rows._replace(q=rows.q.index_copy(1, columns, part.q))
            rates, steps = np.minimum(rates, info.acceptance_rate), steps + info.num_integration_steps
            divergent = divergent | info.is_divergent
        rows = start(target, rows.q, self.differentiates)
        return rows, Info(rates, divergent, -rows.logdensity, steps)

    def _own(self, target: Target) -> list[tuple[Any, Any, list[int]]]:
        """Each block with its kernel, and which of the position's parts are its own; together they are all."""
        paths = [path for path, _ in target.positions.parts]
        found, missing = [], set(paths)
        for name, kernel in self.blocks.items():
            names = name if isinstance(name, tuple) else (name,)
            own = [i for n in names for i, path in enumerate(paths) if path == n or path.startswith(f"{n}.")]
            if not own:
                raise ValueError(f"gibbs has a block {name!r}; the position has {paths}")
            missing -= {paths[i] for i in own}
            found.append((name, kernel, own))
        if missing:
            raise ValueError(f"gibbs has no block for {sorted(missing)}: every part of the position needs one")
        return found


def _columns(target: Target, own: list[int]) -> Tensor:
    """The numbers of the rows that are a block's."""
    pieces = torch.arange(sum(target.positions.sizes)).split(target.positions.sizes)
    return torch.cat([pieces[i] for i in own])


def _drawn(draw: Any, name: Any, generator: Generator, target: Target, q: Tensor, own: list[int]) -> Tensor:
    """One block of the rows, drawn from its exact conditional."""
    due = {target.positions.parts[i][0]: target.positions.shapes[i] for i in own}
    rows = []
    for row in q:
        value = draw(generator, target.positions.tree(row))
        found = dict(sampled(_by_name(name, value)))
        if {path: x.shape for path, x in found.items()} != due:
            drew = {path: tuple(x.shape) for path, x in found.items()} or repr(value)
            shapes = {path: tuple(shape) for path, shape in due.items()}
            raise ValueError(f"the conditional of {name!r} drew {drew}, the block has {shapes}")
        rows.append(torch.cat([found[path].reshape(-1) for path in due]))
    return torch.stack(rows).to(q)


def _by_name(name: Any, value: Any) -> Any:
    """What was drawn for a block, or for the blocks of a tuple of names."""
    if not isinstance(name, tuple):
        return {name: value}
    several = isinstance(value, tuple | list) and len(value) == len(name)
    return dict(zip(name, value, strict=True)) if several else value


@dataclass(frozen=True, eq=False)
class repeat(Lockstep):
    """Several transitions of a kernel as one.

    >>> from torchflux_mcmc import rwm
    >>> alg = repeat(rwm(lambda x: -(x**2).sum() / 2), 10)
    >>> alg.init(torch.zeros(3)).position
    tensor([0., 0., 0.])
    """

    kernel: Kernel
    times: int

    def __post_init__(self) -> None:
        require_count("times", self.times)

    @property
    def logdensity(self) -> LogDensity:  # type: ignore[override]
        """The kernel's."""
        return self.kernel.logdensity

    @property
    def differentiates(self) -> bool:  # type: ignore[override]
        """Whether the kernel does."""
        return self.kernel.differentiates

    @property
    def needs_all_parts(self) -> bool:
        """Whether the kernel does."""
        return self.kernel.needs_all_parts

    @property
    def lockstep(self) -> bool:  # type: ignore[override]
        """Whether the kernel is."""
        return self.kernel.lockstep

    @property
    def begins_anew(self) -> bool:  # type: ignore[override]
        """Whether the kernel does."""
        return self.kernel.begins_anew

    @property
    def together(self) -> bool:
        """Whether the log density takes all chains at once."""
        return self.kernel.together

    def tuning(self, rows: Rows) -> Tuning:
        """The kernel's."""
        return self.kernel.tuning(rows)

    def move(self, generator: Generator, target: Target, rows: Rows, tuning: Tuning) -> tuple[Rows, Info]:
        """The transitions of every chain; the info is the last one's, with all divergences and evaluations."""
        steps, divergent = np.zeros(len(rows.q), np.int64), np.zeros(len(rows.q), bool)
        for _ in range(self.times):
            rows, info = together(self.kernel.begin(target, rows, tuning), generator)
            steps, divergent = steps + info.num_integration_steps, divergent | info.is_divergent
        return rows, info._replace(num_integration_steps=steps, is_divergent=divergent)
