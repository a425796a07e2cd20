"""A guess of the active constraints made into the exact solution, if the guess is right.

A point that satisfies the conditions of Karush, Kuhn and Tucker to rounding is the solution, however it was found. So
the interior point method need only come near enough to tell the active rows from the others.

Source: Ye (1992), doi:10.1007/BF01585715; the corrections of a guess: Hintermüller, Ito & Kunisch (2002),
doi:10.1137/S1052623401383558.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ._constants import EXACT, FLOOR, SIGN, WEAK
from ._reduced import factor, inner, reduced, weights
from ._scaling import Program

__all__ = ["Guess", "polished", "settled"]


class Guess(NamedTuple):
    """Points (B, n), forces and active rows (B, k), factors of the reduced systems (B, n, n), and which are right."""

    x: Tensor
    force: Tensor
    active: Tensor
    low: Tensor
    right: Tensor

    def put(self, which: Tensor, other: "Guess") -> "Guess":
        """With some of them replaced."""
        return Guess(*(x.index_copy(0, which, y) for x, y in zip(self, other, strict=True)))

    def of(self, which: Tensor) -> "Guess":
        """Some of them."""
        return Guess(*(x[which] for x in self))


def polished(program: Program, active: Tensor, x: Tensor, force: Tensor) -> tuple[Guess, Tensor]:
    """The solutions for these active rows near (x, force), and the rows that would be a better guess."""
    Q, p, C, d, equal = program
    low = factor(Q, C, weights(active))
    x, force, error = reduced(low, Q, C, active, -p, d, x, force)
    ahead = inner(C, x)
    strong = 1 + FLOOR * _strongest(force)
    pulls = ~equal & active & (force < -SIGN * strong)
    violated = ~active & (d - ahead < -SIGN * (1 + d.abs()))
    right = (error <= EXACT) & ~(pulls | violated).any(1)
    force = torch.where(equal, force, force.clamp(min=0))
    return Guess(x, force, active, low, right), (active & ~pulls) | violated


def _strongest(force: Tensor) -> Tensor:
    """The largest force, shape (B, 1)."""
    return force.abs().amax(1, keepdim=True) if force.shape[1] else force.new_zeros(len(force), 1)


def settled(program: Program, guess: Guess) -> Guess:
    """With rows that hold without a force counted among the inactive ones: they are where derivatives have a choice."""
    strong = 1 + guess.force.abs().amax(1, keepdim=True) if program.C.shape[1] else 1
    active = guess.active & (program.equal | (guess.force > WEAK * strong))
    changed = (active != guess.active).any(1).nonzero()[:, 0]
    if not len(changed):
        return guess
    low = guess.low.index_copy(0, changed, factor(program.Q[changed], program.C[changed], weights(active[changed])))
    return guess._replace(active=active, low=low)
