"""What `solve` returns."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ._dense import Dense, Steps
from ._march import Status

__all__ = ["MESSAGES", "Solution", "SolveError", "Stats", "message"]

MESSAGES = {
    Status.SUCCESS: "solved",
    Status.MAX_STEPS: "more steps than max_steps: allow more, or loosen the tolerances; a stiff problem takes many",
    Status.STALLED: "the steps became too short for the time to move on: the solution may have a singularity or a jump "
    "there, or the tolerances are below what the dtype can hold",
    Status.NOT_FINITE: "the state, its slope or an event's value is not finite: the solution may blow up, f be "
    "undefined (it has to be defined behind an event, too), or an implicit step have no solution",
    Status.UNDEFINED: "f gave NaN or inf there: it isn't defined at that time or for that state, or its parameters are "
    "NaN, or the solution blows up",
    Status.EVENT: "ended at an event",
    Status.ZENO: "a callback follows itself without end, as the bounces of a ball that comes to rest: end the solution "
    "there with an event, or with terminal=",
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
            which a sample's solution failed, or ended at an event.
        stats: what it cost.
        status: how it ended: a `Status`, or one for each sample as a tensor of integers.
        message: the same in words, with what to try.
        t, y: the last time and state of each sample, also of one that failed, or ended at an event.
        t_events, y_events: the times and states of the crossings of each event, and then of each callback with a
            condition (before its change): shape (crossings,), or (samples, most crossings) with NaN where a sample has
            fewer; states have that in front.
        steps: the accepted steps, with `saveat=SaveAt(steps=True)`.
        dense: what `evaluate` looks into, with `saveat=SaveAt(dense=True)`.
        route: what solved: "torch", or "native" code.
    """

    ts: Tensor
    ys: Any
    stats: Stats
    status: Any
    message: str
    t: Tensor
    y: Any
    t_events: tuple[Tensor, ...] = ()
    y_events: tuple[Any, ...] = ()
    steps: Steps | None = None
    dense: Dense | None = None
    route: str = "torch"

    def evaluate(self, t: Tensor | float) -> Any:
        """The state at any time between the first and the last, by the solver's dense output; differentiable.

        Arguments:
            t: one time, or several: any shape, which comes before the state's own. For a batch shape (), or (times,)
                for the same times of all samples, or (times, samples); the state has the times first and the samples
                second. At a time at which a callback changed the state, it is the state before.

        Returns:
            The state; NaN behind the end of a sample that ended early.

        Raises:
            ValueError: a time is outside of the interval, or the solution was made without `SaveAt(dense=True)`.
        """
        return self._dense().evaluate(t)

    def derivative(self, t: Tensor | float) -> Any:
        """The time derivative of `evaluate`, shaped like that."""
        return self._dense().evaluate(t, slope=True)

    def _dense(self) -> Dense:
        """The dense output, if it was kept."""
        if self.dense is None:
            raise ValueError("the solution has no dense output: pass saveat=SaveAt(dense=True) to solve")
        return self.dense


class Ended(Protocol):
    """How samples have ended: statuses, times and numbers of steps, shape (samples,) each."""

    @property
    def status(self) -> NDArray[np.int64]:
        """How."""

    @property
    def t(self) -> NDArray[np.float64]:
        """Where, in time that runs forward."""

    @property
    def steps(self) -> NDArray[np.int64]:
        """After how many."""


def message(found: Ended, sign: int, batched: bool) -> str:
    """How it ended, in words."""
    if not found.status.any():
        return MESSAGES[Status.SUCCESS]
    failed = found.status.nonzero()[0].tolist()
    lines = []
    for status in sorted({int(found.status[i]) for i in failed}):
        rows = [i for i in failed if int(found.status[i]) == status]
        t = float(found.t[rows[0]]) * sign
        who = f"samples {', '.join(map(str, rows[:8]))}{', ...' if len(rows) > 8 else ''}: " if batched else ""
        lines.append(f"{who}stopped at t = {t:g}, after {int(found.steps[rows[0]])} steps; {MESSAGES[Status(status)]}")
    return "\n".join(lines)
