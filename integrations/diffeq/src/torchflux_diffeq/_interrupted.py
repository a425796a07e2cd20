"""A task with all that interrupts it, from what the user passes."""

from dataclasses import replace
from typing import Any

from ._adjoint import Adjoint, Task
from ._breaks import Breaks
from ._dense import SaveAt
from ._events import changes, conditions
from ._lanes import greatest
from ._sde import StochasticField
from ._stops import JUMP, Jumps, Stops, times

__all__ = ["interrupted"]


def interrupted(task: Task, adjoint: Adjoint, saveat: SaveAt, events: Any, callbacks: Any) -> Task:
    """The task with its events, callbacks and jumps, and with whether all of its steps are wanted."""
    task = replace(task, breaks=_breaks(task, events, callbacks), keep=saveat.dense or saveat.steps)
    if task.breaks is not None or task.keep:
        if not len(task.y0):
            raise ValueError("y0 has no samples, so there are no events, callbacks or steps: leave them out")
        if isinstance(task.problem, StochasticField):
            raise ValueError(
                "an SDE takes no events, callbacks, jump_ts or saveat: its path is random between its steps"
            )
        if not adjoint.broken:
            raise ValueError(f"{adjoint} takes no events, callbacks, jump_ts or saveat: leave them, or use Discrete()")
    return task


def _breaks(task: Task, events: Any, callbacks: Any) -> Breaks | None:
    """What interrupts the steps, if there is anything."""
    problem, samples, jump_ts = task.problem, len(task.y0), task.method.controller.jump_ts
    watched, known = conditions(problem, events, callbacks), changes(problem, callbacks)
    if not watched and not known and jump_ts is None:
        return None
    begin, end = greatest(task.times)[[0, -1]].tolist()
    of_each = samples if problem.batched else None
    stops = [
        (times(when, f"{change.name}'s times", task.times, problem.sign, of_each), i)
        for i, (change, when) in enumerate(known)
    ]
    jumps = None
    if jump_ts is not None:
        exact = times(jump_ts, "jump_ts", task.times, problem.sign, None).sort().values
        jumps = Jumps(exact)
        stops.append((exact, JUMP))
    every = Stops.of(stops, samples, begin, end) if stops else None
    return Breaks(watched, [change for change, _ in known], every, jumps, end, samples)
