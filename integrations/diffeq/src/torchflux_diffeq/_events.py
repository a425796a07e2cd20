"""What happens on the way: events, where a function of the state changes its sign, and changes of the state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._field import Field
from ._lanes import aligned
from ._save import Indices

__all__ = ["Callback", "Condition", "Event", "changes", "conditions"]

Tree = Any


@dataclass(frozen=True)
class Event:
    """Where `f(t, y, args)` changes its sign, and whether the solution ends there.

    In each accepted step `f` is looked at in ten places. Crossings further apart than an eighth of a step are found; of
    a pair that is closer, where `f` bends smoothly, the extremum between is looked for, so both are found as well, but
    within a thousandth of a step from where it begins or ends. A value of zero at the start is no crossing. Where a
    callback takes `f` across zero, that is one, unless it is its own condition. Steps reach behind the event that ends
    them: the equation has to be defined there.

    Arguments:
        f: the function: a number of shape (), or (rows,) with `batched=True`; called like the equation's.
        terminal: whether the solution ends at the event (default), or at which of its crossings: 3 is the third.
        direction: 1 for crossings from negative to positive (in the direction of the solution), -1 for those from
            positive to negative, 0 for both.

    A plain function in `events` is SciPy's: `terminal` and `direction` are its attributes, by default False and 0.

    >>> from torchflux_diffeq import solve
    >>> fall = lambda t, y, args: torch.stack((y[1], torch.full_like(y[1], -2.0)))
    >>> ground = Event(lambda t, y, args: y[0])
    >>> solution = solve(fall, torch.tensor([0.0, 3.0]), (0.0, 10.0), events=ground)
    >>> solution.t, solution.t_events[0]
    (tensor(3.0000), tensor([3.0000]))
    """

    f: Callable[..., Tensor]
    terminal: bool | int = True
    direction: float = 0

    def __post_init__(self) -> None:
        _check_condition("Event", "f", self.f, self.terminal, self.direction)


@dataclass(frozen=True)
class Callback:
    """A change of the state, `y = affect(t, y, args)`, where a condition changes its sign, or at times that are known.

    The solution goes on from the changed state, with a slope and a first step of its own. At the time of a change the
    solution (`ys`, `evaluate`) has the state before it. Changes that follow each other ever faster end the solution
    with `Status.ZENO`.

    Arguments:
        condition: a function like that of an `Event`; or the times of the changes, shape (times,), or (samples, times)
            for times of each sample's own, with NaN where one has fewer. Times from the start to before the end count.
        affect: returns the new state, shaped and nested as the old one; with `batched=True` it is called with the
            rows at which it is due.
        direction: of the condition, as for an `Event`.
        terminal: whether the solution ends behind the change (default: it doesn't), or behind which.

    >>> from torchflux_diffeq import solve
    >>> dose = Callback((0.0, 1.0), lambda t, y, args: y + 1.0)
    >>> solve(lambda t, y, args: -y, torch.zeros(1), (0.0, 2.0), callbacks=dose).ys[-1]
    tensor([0.5032])
    """

    condition: Callable[..., Tensor] | Sequence[float] | Tensor
    affect: Callable[..., Tree]
    direction: float = 0
    terminal: bool | int = False

    def __post_init__(self) -> None:
        if not callable(self.affect):
            raise TypeError(f"Callback(affect={self.affect!r}): pass a function affect(t, y, args) of the new state")
        if callable(self.condition):
            _check_condition("Callback", "condition", self.condition, self.terminal, self.direction)


def _check_condition(owner: str, name: str, f: Any, terminal: Any, direction: Any) -> None:
    """Refuses what is no function, an end at no crossing, and a direction that is none."""
    if not callable(f):
        raise TypeError(f"{owner}({name}={f!r}): pass a function {name}(t, y, args) of a number")
    if not isinstance(terminal, bool) and not (isinstance(terminal, int) and terminal >= 0):
        raise ValueError(f"{owner}(terminal={terminal!r}): it is True, False, or the number of the crossing that ends")
    if not isinstance(direction, int | float) or direction != direction:
        raise ValueError(f"{owner}(direction={direction!r}): it is 1, -1, or 0 for both")


@dataclass(frozen=True)
class Condition:
    """A function whose sign is watched, for rows of numbers: that of an event, or of a callback."""

    problem: Field
    name: str
    f: Callable[..., Tensor]
    terminal: int
    direction: float
    affect: Callable[..., Tree] | None = None

    @property
    def stops(self) -> bool:
        """Whether the solution ends or begins anew at some of its crossings."""
        return self.terminal > 0 or self.affect is not None

    def __call__(self, rows: Indices, t: Tensor, y: Tensor) -> Tensor:
        """Its values at `t` (points,) and `y` (points, n) of samples, shape (points,)."""
        if self.problem.batched:
            return self.checked(self.problem.called(self.f, rows, t, y), len(y))
        return torch.stack([self.checked(self.problem.called(self.f, rows, *at), 1) for at in zip(t, y, strict=True)])

    def checked(self, value: Any, rows: int) -> Tensor:
        """Refuses what is not one number for each row."""
        if not isinstance(value, Tensor):
            raise TypeError(f"{self.name} returned {value!r}: return a tensor, for the sake of its gradient")
        if not value.is_floating_point():
            raise TypeError(f"{self.name} returned {value.dtype}: return a float, which changes its sign at the event")
        due = (rows,) if self.problem.batched else ()
        if value.shape != due:
            raise ValueError(f"{self.name} has the shape {tuple(value.shape)}, not {due}: return one number a sample")
        return aligned(value)

    def affected(self, rows: Indices, t: Tensor, y: Tensor) -> Tensor:
        """The states (rows, n) after its change."""
        assert self.affect is not None
        return self.problem.changed(self.affect, f"{self.name}'s affect", rows, t, y)


def conditions(problem: Field, events: Any, callbacks: Any) -> list[Condition]:
    """The functions whose signs are watched: the events', and then the callbacks'."""
    found = []
    for i, event in enumerate(_listed(events, Event)):
        if not isinstance(event, Event):
            if not callable(event):
                raise TypeError(f"events[{i}] is {event!r}: pass an Event, or a function event(t, y, args) of a number")
            event = Event(event, getattr(event, "terminal", False), getattr(event, "direction", 0))
        found.append(Condition(problem, f"events[{i}]", event.f, int(event.terminal), event.direction))
    for i, x in enumerate(_checked(callbacks)):
        if callable(x.condition):
            name = f"callbacks[{i}]"
            found.append(Condition(problem, name, x.condition, int(x.terminal), x.direction, x.affect))
    return found


def changes(problem: Field, callbacks: Any) -> list[tuple[Condition, Any]]:
    """The callbacks at times that are known, and those times."""
    found = []
    for i, x in enumerate(_checked(callbacks)):
        if not callable(x.condition):
            never: Any = None
            found.append((Condition(problem, f"callbacks[{i}]", never, int(x.terminal), 0, x.affect), x.condition))
    return found


def _checked(callbacks: Any) -> list[Callback]:
    """The callbacks as a list."""
    for i, x in enumerate(listed := _listed(callbacks, Callback)):
        if not isinstance(x, Callback):
            raise TypeError(f"callbacks[{i}] is {x!r}: pass a Callback(condition or times, affect)")
    return listed


def _listed(given: Any, kind: type) -> list[Any]:
    """One, or several, as a list."""
    if given is None:
        return []
    return list(given) if isinstance(given, Sequence) else [given]
