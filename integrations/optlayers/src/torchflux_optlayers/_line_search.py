"""How far to go in a direction."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ._lanes import any_of

__all__ = ["Backtracking"]

SLACK = 8
"""By how many units in the last place a value may be larger: it is only known to so many."""


@dataclass(frozen=True)
class Backtracking:
    """Shortens a step until it brings a share of the decrease that the slope promises.

    Arguments:
        decrease: that share.
        factor: by which a step is shortened.
        most: how often.

    Source: Armijo (1966), doi:10.2140/pjm.1966.16.1.
    """

    decrease: float = 1e-4
    factor: float = 0.5
    most: int = 40

    def lengths(
        self,
        value: Callable[[Tensor], Tensor],
        y: Tensor,
        direction: Tensor,
        start: tuple[Tensor, Tensor, Tensor],
        running: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The lengths (rows,), and which of them bring the decrease.

        Arguments:
            value: of points (rows, n), what is to become smaller, shape (rows,).
            y, direction: shape (rows, n).
            start: the value at `y`, its slope in the direction, and the length to begin with, shape (rows,) each.
            running: the rows that count.
        """
        before, slope, length = start
        slack = SLACK * torch.finfo(y.dtype).eps * before.abs()
        counts = running & (slope < 0) & before.isfinite()
        with torch.no_grad():
            for _ in range(self.most):
                fine = value(y + length.unsqueeze(-1) * direction) <= before + self.decrease * length * slope + slack
                if not any_of(counts & ~fine):
                    break
                length = torch.where(fine, length, self.factor * length)
        return length.detach(), fine.detach()
