"""What `solve` returns."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ._march import Status

__all__ = ["Solution", "SolveError", "Stats"]

MESSAGES = {
    Status.SUCCESS: "solved",
    Status.MAX_STEPS: "more steps than max_steps: allow more, or loosen the tolerances; a stiff problem takes many",
    Status.STALLED: "the steps became too short for the time to move on: the solution may have a singularity or a jump "
    "there, or the tolerances are below what the dtype can hold",
    Status.NOT_FINITE: "the state or its slope is not finite there: the solution may blow up, f be undefined, or "
    "an implicit step have no solution",
    Status.NOT_STEADY: "the state still changes there: solve for longer, or see whether it oscillates",
}


class SolveError(RuntimeError):
    """A solution that could not be had; `solution` is what there is of it."""

    def __init__(self, message: str, solution: "Solution") -> None:
        super().__init__(message)
        self.solution = solution


@dataclass(frozen=True)
class Stats:
    """What a solution cost, for each sample (without a batch: numbers).

    Arguments:
        steps: all that were tried.
        accepted, rejected: those that were kept, and those that were made again shorter.
        evaluations: how often the sample's slope was computed, what its Jacobians take included.
        wasted: of these, how often for a step that was rejected.
        jacobians: how often the slope's derivatives by the state were computed.
    """

    steps: Any
    accepted: Any
    rejected: Any
    evaluations: Any
    wasted: Any
    jacobians: Any


@dataclass(frozen=True)
class Solution:
    """A solution at the times that were asked for.

    Arguments:
        ts: the times, shape (S,).
        ys: the states, with the times as the first axis, the samples (of a batch) as the second; NaN behind the time at
            which a sample's solution failed.
        stats: what it cost.
        status: how it ended: a `Status`, or one for each sample as a tensor of integers.
        message: the same in words, with what to try.
        t, y: the last time and state of each sample, also of one that failed.
        route: what solved: "torch", or "native" code.
    """

    ts: Tensor
    ys: Any
    stats: Stats
    status: Any
    message: str
    t: Tensor
    y: Any
    route: str = "torch"
