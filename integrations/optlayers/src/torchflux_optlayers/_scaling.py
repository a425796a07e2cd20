"""A batch of programs in the one form that the solvers know, and its equilibration.

minimise ½ x·Qx + p·x  subject to  Cx ≤ d, or Cx = d in the rows that are marked `equal`
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ._constants import PASSES, SHORT

__all__ = ["Program", "equilibrated", "scaled"]


class Program(NamedTuple):
    """B programs with n variables and k rows of constraints."""

    Q: Tensor
    """Symmetric once a solver has it, shape (B, n, n)."""
    p: Tensor
    """Shape (B, n)."""
    C: Tensor
    """Shape (B, k, n)."""
    d: Tensor
    """Shape (B, k)."""
    equal: Tensor
    """Which rows are equations, shape (B, k)."""

    @property
    def numbers(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All but `equal`."""
        return self[:4]

    def of(self, which: Tensor) -> "Program":
        """Some of the programs."""
        return Program(*(x[which] for x in self))


def equilibrated(program: Program) -> tuple[Program, Tensor]:
    """The program with rows and columns of about unit size, and its scales: columns, rows, cost; shape (B, n + k + 1).

    Source: Ruiz (2001), RAL-TR-2001-034. The scales are powers of two, so that they round nothing.
    """
    Q, _, C, _, _ = program
    columns, rows = Q.new_ones(Q.shape[:2]), C.new_ones(C.shape[:2])
    size_Q, size_C = Q.abs(), C.abs()
    for _ in range(PASSES):
        now_Q = columns[:, :, None] * size_Q * columns[:, None]
        now_C = rows[:, :, None] * size_C * columns[:, None]
        columns = columns * _inverse_root(torch.cat((now_Q, now_C), 1).amax(1))
        rows = rows * _inverse_root(now_C.amax(2))
    longest = (size_C * columns[:, None]).amax(2)
    rows = torch.where(longest > 0, 1 / longest, 1.0)  # the passes don't reach this if Q is much larger than C
    length, cost = _length_and_cost((columns[:, :, None] * Q * columns[:, None]), columns * program.p, rows * program.d)
    columns, rows = _power_of_two(columns) * length, _power_of_two(rows) / length
    cost = cost / length.square()
    scales = torch.cat((columns, rows, cost), 1)
    return scaled(program, scales), scales


def _length_and_cost(Q: Tensor, p: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Units of x and of the cost in which the numbers are about 1, shapes (B, 1)."""
    curve, slope = Q.abs().amax((1, 2)), p.abs().amax(1)
    bound = (torch.where(d != 0, d, 1.0).abs().log().sum(1) / (d != 0).sum(1)).exp()  # their geometric mean, or NaN
    reach = torch.where((curve > 0) & (slope > 0), slope / curve, 0.0)
    length = torch.where(bound > 0, torch.maximum(bound, SHORT * reach), torch.where(reach > 0, reach, 1.0))
    cost = torch.maximum(curve, slope / length)
    return _power_of_two(length)[:, None], _power_of_two(torch.where(cost > 0, 1 / cost, 1.0))[:, None]


def scaled(program: Program, scales: Tensor) -> Program:
    """The program in variables `x / columns`, with its rows and its cost multiplied."""
    Q, p, C, d, equal = program
    n, k = C.shape[2], C.shape[1]
    columns, rows, cost = scales[:, :n], scales[:, n : n + k], scales[:, n + k :]
    Q, C = (columns * cost)[:, :, None] * Q * columns[:, None], rows[:, :, None] * C * columns[:, None]
    return Program(Q, cost * columns * p, C, rows * d, equal)


def _inverse_root(size: Tensor) -> Tensor:
    return torch.where(size > 0, size, 1.0).rsqrt()


def _power_of_two(x: Tensor) -> Tensor:
    return torch.exp2(x.log2().round())
