"""What solves, and how the gradient comes about: an adjoint has one method, `solve`, which takes a task."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from ._breaks import Breaks
from ._field import Field
from ._lanes import transformed
from ._march import FEW, March, Method, march
from ._replay import STRETCH, replay, replayed
from ._runge_kutta import ExplicitRungeKutta
from ._save import Saved, Saver
from ._together import least, together, worthwhile

__all__ = ["Adjoint", "Discrete", "Task"]

SHORT = 16
"""The steps of a small state that are made with a tape at once."""


@dataclass(frozen=True)
class Task:
    """An initial value problem in rows of numbers, whose time runs forward.

    Arguments:
        problem: the slopes.
        y0: the state at the start, shape (rows, n).
        times: the first time, those between at which the state is wanted, and the last, shape (S,).
        method: how the steps are made.
        saver: takes the states at the times between, if there are any.
        breaks: what interrupts the steps, if anything does.
        keep: whether all steps are wanted.
    """

    problem: Field
    y0: Tensor
    times: Tensor
    method: Method
    saver: Saver | None
    breaks: Breaks | None = None
    keep: bool = False

    def march(self, watch: bool, tape: int = 0) -> March:
        """The solution; `watch` asks to find out whether the slopes would have a tape, `tape` for that of few steps."""
        return march(self.problem, self.y0, self.times, self.method, self.saver, watch, self.breaks, self.keep, tape)

    def states(self, found: March) -> Tensor:
        """The states at the times between and at the end, shape (S - 1, rows, n)."""
        if self.saver is None:
            return found.y[None]
        return torch.cat([self.saver.gathered(found.saved, len(found.y), found.y), found.y[None]])

    def having(self, states: Tensor, found: March) -> March:
        """The same with other states, shape (S - 1, rows, n)."""
        inner = states[:-1].transpose(0, 1).flatten(0, 1)
        places = torch.arange(len(inner), device=inner.device)
        return replace(found, y=states[-1], saved=[Saved(places, inner)] if len(inner) else [])


class Adjoint(ABC):
    """How the gradient of a solution is computed.

    Arguments:
        broken: whether it takes tasks with events, callbacks, jumps, or all of whose steps are wanted.
    """

    broken: ClassVar[bool] = False

    @abstractmethod
    def solve(self, task: Task) -> March:
        """The solution, whose states `y` and `saved` can be differentiated where that was asked for."""


@dataclass(frozen=True)
class Discrete(Adjoint):
    """The gradient of what the solver computed, step by step: discretise, then optimise.

    Arguments:
        memory: of a replay: "checkpoints" computes the steps again in stretches, so that the tape of 256 is held
            at once, and the states held between grow with the logarithm of the number of steps; "tape" holds the
            tape of all accepted steps. Inside of `torch.func`'s transforms the tape is held.
        replay: makes the steps again one by one, also where the state is small enough for all of them at once.

    Source: Griewank & Walther (2000), doi:10.1145/347837.347846.
    """

    broken = True
    memory: str = "checkpoints"
    replay: bool = False

    def __post_init__(self) -> None:
        if self.memory not in ("checkpoints", "tape"):
            raise ValueError(f"Discrete(memory={self.memory!r}): it is 'checkpoints' or 'tape'")

    def solve(self, task: Task) -> March:
        """Makes the steps, and those that were accepted once more where a gradient is wanted and they have no tape."""
        watch, solver, interrupted = torch.is_grad_enabled(), task.method.solver, task.breaks is not None or task.keep
        stepwise, enough, tape = self.replay or transformed() or task.times.requires_grad, math.inf, 0
        if isinstance(solver, ExplicitRungeKutta) and not (stepwise or interrupted):
            enough = least(task.problem, task.y0, solver.tableau.stages)
            tape = _taped(task.y0, enough) if watch else 0
        found = task.march(watch, tape)
        if found.taped or not (transformed() or found.needs_gradient or (watch and task.times.requires_grad)):
            return found
        if interrupted:
            return self._replayed(task, found)
        problem, y0, times, whole = task.problem, task.y0, task.times, None
        again = lambda y0, checkpoints: replay(problem, y0, times, solver, found, task.saver, checkpoints)
        if isinstance(solver, ExplicitRungeKutta) and worthwhile(found, enough):
            whole = together(problem, y0, solver, found, task.saver, partial(again, checkpoints=False))
        end, saved = whole or again(y0, self.memory == "checkpoints")
        return replace(found, y=end, saved=saved)

    def _replayed(self, task: Task, found: March) -> March:
        """The solution with all that interrupted it, made again step by step."""
        solver, checkpoints = task.method.solver, self.memory == "checkpoints"
        last = replayed(
            task.problem, task.y0, task.times, solver, found, task.saver, checkpoints, task.breaks, task.keep
        )
        return replace(
            found, y=last.y, saved=last.saved, exact=last.t, crossed=last.crossed, between=next(iter(last.steps), None)
        )


def _taped(y0: Tensor, enough: float) -> int:
    """Up to how many steps are made with a tape at once, which `replay` would hold as well.

    Of small states those that are too few for all of them `together`; that tape is nothing where there are more.
    """
    return int(min(SHORT, enough - 1)) if y0.shape[-1] <= FEW else STRETCH
