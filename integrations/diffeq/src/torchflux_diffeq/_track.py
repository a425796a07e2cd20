"""What is written down of a solution while it is made: how to make it, its steps, and how it ended."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._controller import PID, Fixed, Numbers
from ._save import Indices, Saved, Saver
from ._solver import Slope, Solver, Step

__all__ = ["RUNNING", "Live", "Made", "March", "Method", "Status", "Trial", "joined", "tensor"]


class Status(IntEnum):
    """How a sample's solution ended."""

    SUCCESS = 0
    MAX_STEPS = 1
    STALLED = 2
    NOT_FINITE = 3
    NOT_STEADY = 4
    EVENT = 5
    ZENO = 6
    UNDEFINED = 7

    @property
    def failed(self) -> bool:
        """Whether it isn't what was asked for."""
        return self not in (Status.SUCCESS, Status.EVENT)


RUNNING = -1


@dataclass(frozen=True)
class Method:
    """How to solve: all of `solve`'s options that the steps depend on.

    `arrived` says of the states and slopes (rows, n) at steps' ends, which samples need go no further.
    """

    solver: Solver
    controller: PID | Fixed
    dt0: float | None
    max_steps: int
    arrived: Callable[[Tensor, Tensor], NDArray[np.bool_]] | None = None


@dataclass
class Live:
    """The samples that are under way; everything has one row for each."""

    rows: Indices
    t: Numbers
    dt: Numbers
    e1: Numbers
    e2: Numbers
    steps: Indices
    rejected: Indices
    y: Tensor
    k: Tensor

    def keep(self, which: NDArray[np.bool_]) -> "Live":
        """Some of them."""
        of = np.flatnonzero(which)
        index = torch.as_tensor(of, device=self.y.device)
        numbers = (self.rows, self.t, self.dt, self.e1, self.e2, self.steps, self.rejected)
        kept: Any = (*(x.take(of) for x in numbers), *(x.index_select(0, index) for x in (self.y, self.k)))
        return Live(*kept)


@dataclass
class Trial:
    """A step of all samples that were under way, from where `live` is, and which of them accept it."""

    live: Live
    dt: Numbers
    ends: Numbers
    accepted: NDArray[np.bool_]
    step: Step
    slope: Slope
    solver: Solver

    @cached_property
    def dense(self) -> Tensor:
        """What the solver's `inside` needs, shape (any, rows, n)."""
        live = self.live
        t, dt = tensor(live.t, live.y), tensor(self.dt, live.y)
        return torch.stack(tuple(self.solver.dense(self.slope, t, dt, live.y, live.k, self.step)))

    def made(self, ends: Numbers, slopes: Any) -> "Made":
        """The step, of which only what comes before `ends` may count."""
        live = self.live
        return Made(live.rows, live.t, ends, self.dt, live.y, slopes, self.accepted)


@dataclass(frozen=True)
class Made:
    """Steps: whose, when, from which states (rows, n), and which of them were accepted.

    Their slopes are a tensor (stages, rows, n), or a sequence of such.
    """

    rows: Indices
    t: Numbers
    ends: Numbers
    dt: Numbers
    y: Tensor
    slopes: Any
    accepted: NDArray[np.bool_]


def joined(made: list[Made]) -> Made:
    """The accepted ones of several steps as one."""
    accepted = np.concatenate([x.accepted for x in made])
    rows, t, ends, dt = (np.concatenate([getattr(x, name) for x in made]) for name in ("rows", "t", "ends", "dt"))
    y = torch.cat([x.y for x in made])
    if accepted.all():
        slopes = torch.stack([torch.cat(stage) for stage in zip(*(x.slopes for x in made), strict=True)])
        return Made(rows, t, ends, dt, y, slopes, accepted)
    which = accepted.nonzero()[0]
    index = torch.as_tensor(_places(made).take(which, 1), device=y.device)
    slopes = torch.cat([k for x in made for k in x.slopes]).index_select(0, index.flatten())
    y = y.index_select(0, torch.as_tensor(which, device=y.device))
    rows, t, ends, dt = (x.take(which) for x in (rows, t, ends, dt))
    return Made(rows, t, ends, dt, y, slopes.view(*index.shape, y.shape[-1]), accepted[which])


def _places(made: list[Made]) -> Indices:
    """Where the slopes (stages, rows) are if all are put behind each other, step by step and stage by stage."""
    sizes, stages = np.array([len(x.rows) for x in made]), len(made[0].slopes)
    first = np.repeat((stages - 1) * (sizes.cumsum() - sizes), sizes) + np.arange(sizes.sum())
    return first + np.multiply.outer(np.arange(stages), np.repeat(sizes, sizes))


@dataclass
class March:
    """What came of a solution, by sample: the last state and its time, how it ended, the steps, and what they cost.

    `rows` and `ends` are the accepted steps in the order in which they were made: which samples, and up to where;
    `made` are those of which more is known, and `happened` is what interrupted them; `taped` says that `y` and `saved`
    have the tape of the steps themselves. Differentiable, if that was asked for, are `y`, `saved`, the last times
    `exact`, what was `crossed`, and the steps `between`.
    """

    y: Tensor
    t: Numbers
    status: Indices
    steps: Indices
    rejected: Indices
    evaluations: Indices
    wasted: Indices
    jacobians: Indices
    rows: list[Indices] = field(default_factory=list)
    ends: list[Numbers] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    happened: list[Any] = field(default_factory=list)
    exact: Tensor | None = None
    crossed: Any = None
    between: Any = None
    needs_gradient: bool = False
    taped: bool = False

    def untape(self) -> None:
        """Forgets the tape of the steps so far."""
        self.made = [replace(x, y=x.y.detach(), slopes=[k.detach() for k in x.slopes]) for x in self.made]
        self.saved = [Saved(x.places, x.states.detach()) for x in self.saved]

    def save(self, saver: Saver, keep: bool = False) -> None:
        """The states at the times that the steps noted so far have passed, which are then forgotten, or kept as one."""
        steps = joined(self.made)
        self.made = [steps] if keep else []
        passed = saver.passed(steps.t, steps.ends)
        if passed is not None:
            t, dt = (torch.as_tensor(x, device=steps.y.device) for x in (steps.t, steps.dt))
            self.saved.append(saver.states(passed, steps.rows, t, dt, steps.y, steps.slopes))


def tensor(numbers: Numbers, like: Tensor) -> Tensor:
    """Numbers as a tensor of the state's real dtype and device."""
    return torch.as_tensor(numbers, dtype=like.dtype.to_real(), device=like.device)
