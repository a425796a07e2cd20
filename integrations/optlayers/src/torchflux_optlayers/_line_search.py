"""How far to go in a direction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ._lanes import any_of

__all__ = ["Backtracking"]

Function = Callable[[Tensor], Tensor]

NOISE = 8
"""The units in the last place up to which values can't be told apart."""


class Path(NamedTuple):
    """Where a search begins.

    Arguments:
        y, direction: shape (rows, n).
        value, slope: of what is to become smaller at `y`, and its derivative in the direction, shape (rows,).
        length: to begin with, shape (rows,).
    """

    y: Tensor
    direction: Tensor
    value: Tensor
    slope: Tensor
    length: Tensor


@dataclass(frozen=True)
class Backtracking:
    """Shortens a step until it brings a share of the decrease that the slope promises.

    Where rounding hides the decrease, the slope at the end tells: it may not rise above its negative's share.

    Arguments:
        decrease: that share, below a half.
        factor: by which a step is shortened.
        most: how often.

    >>> from torchflux_optlayers import Newton, root
    >>> root(lambda y, _: torch.atan(y), 9.0, solver=Newton(line_search=Backtracking())).value.abs() < 1e-8
    tensor(True)

    Source: Armijo (1966), doi:10.2140/pjm.1966.16.1; Hager & Zhang (2005), doi:10.1137/030601880, (4.1).
    """

    decrease: float = 1e-4
    factor: float = 0.5
    most: int = 40

    def lengths(self, value: Function, slope: Function | None, path: Path, running: Tensor) -> tuple[Tensor, Tensor]:
        """The lengths (rows,), and which of them bring the decrease.

        Arguments:
            value: of points (rows, n), shape (rows,).
            slope: its gradient, shape (rows, n); `None` where the decrease alone is to tell.
            path: where it begins.
            running: the rows that count.
        """
        y, direction, before, steep, length = (x.detach() for x in path)
        noise = NOISE * torch.finfo(y.dtype).eps * before.abs()
        counts = running & (steep < 0) & before.isfinite()
        with torch.no_grad():
            for _ in range(self.most):
                end = y + length.unsqueeze(-1) * direction
                change = value(end).detach() - before
                fine = change <= self.decrease * length * steep
                unclear = counts & ~fine & (change.abs() <= noise)
                if any_of(unclear):
                    rise = 0 * steep if slope is None else (slope(end).detach() * direction).sum(-1)
                    fine = fine | (unclear & (rise <= (2 * self.decrease - 1) * steep))
                fine = fine & (end != y).any(-1)
                if not any_of(counts & ~fine):
                    break
                length = torch.where(fine, length, self.factor * length)
        return length, fine
