"""Kernels whose transitions take all chains the same number of evaluations."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from torch import Generator

from ._kernel import Info, Kernel, Mask, Rows, Transitions, Tuning
from ._target import Target

__all__ = ["Lockstep"]


class _Moves(Transitions):
    """Each `advance` is a transition of every chain."""

    def __init__(self, kernel: "Lockstep", target: Target, rows: Rows, tuning: Tuning) -> None:
        self.kernel, self.target, self.rows, self.tuning = kernel, target, rows, tuning

    def advance(self, generator: Generator) -> Mask:
        """One transition of every chain."""
        self.rows, self.info = self.kernel.move(generator, self.target, self.rows, self.tuning)
        return np.ones(len(self.rows.q), bool)

    def restart(self, which: Mask, generator: Generator) -> None:
        """There is nothing to begin."""

    def keep(self, which: Mask) -> None:
        """Drops the other chains."""
        self.rows, self.tuning, self.target = self.rows.of(which), self.tuning.of(which), self.target.of(which)


class Lockstep(Kernel):
    """A kernel that is one function: `move`."""

    lockstep: ClassVar[bool] = True

    @abstractmethod
    def move(self, generator: Generator, target: Target, rows: Rows, tuning: Tuning) -> tuple[Rows, Info]:
        """A transition of every chain."""

    def begin(self, target: Target, rows: Rows, tuning: Tuning) -> Transitions:
        """Transitions of chains that stand at `rows`."""
        return _Moves(self, target, rows, tuning)
