"""A run and its sweeps: what the reverse pass knows besides the generated code.

Numbers, arrays and tuples are values: their cotangents live in variables of the generated code. Lists,
dicts, objects, cells and functions are references: their cotangents live in *shadows*, found by identity,
so that two names of one list are one list in the reverse pass, too. An array becomes a reference when it is
changed in place: the run *marks* its memory, and from then on (which is: for all of the sweep, as the sweep
starts when the run is over) its cotangent lives in a shadow of that memory.

A change is undone when the sweep passes it, so that all that is computed there sees what was there, and
done again after the sweep.
"""

import threading
from collections.abc import Callable, MutableSequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._cotangent import Refusal, Scatter, accum, scatter, value
from ._kinds import is_parameter
from ._memory import add_through, arrays_in, home, is_array, keeper, shared, view_like, zeros_for
from ._refuse import Refused

__all__ = ["STATE", "Run", "Sweep", "born", "changed", "mark", "sweeping"]


class _State(threading.local):
    runs: tuple["Run", ...] = ()
    sweep: Any = None
    guarded = 0  # how many calls are under way that may be interrupted by an exception that is caught
    frame: Any = None  # where the next interruptible function puts its back
    lost = False  # whether an interrupted call has changed something that can't be undone
    interrupted: Any = None  # the arguments and the back of the call that was just interrupted


STATE = _State()


class Run:
    """One run of a function whose gradient is wanted; entered for the run itself and for each sweep."""

    def __init__(self) -> None:
        self.marks: dict[int, Any] = {}  # memory changed in place, kept alive
        self.foreign: dict[int, Any] = {}  # what was changed in a run inside this one
        self.born: dict[int, Any] = {}  # what was made in a run inside this one
        self.owners: dict[int, tuple[Any, Any]] = {}  # the objects whose `__dict__` was read, by the dict
        self.changes = 0
        self.taping: list[bool] = []  # whether PyTorch recorded around this run
        self.generators: list[Any] = []  # those that do something on being closed, with their places

    def __enter__(self) -> "Run":
        self.taping.append(torch.is_grad_enabled())
        torch._C._set_grad_enabled(False)  # as `torch.no_grad()`, in a tenth of its time
        STATE.lost = STATE.lost and bool(STATE.runs)
        STATE.runs = (*STATE.runs, self)
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if self.generators:
                self._close(error[1])
        finally:
            self._leave()

    def _close(self, error: BaseException | None) -> None:
        """Closes the generators that wait in a `finally`, which Python closes when nobody needs them any more."""
        generators, self.generators = self.generators, []
        for generator, place in generators:
            if not generator.held:
                continue
            with suppress(BaseException):
                generator.steps.close()
            if error is None:
                found = "a generator that is given up inside of a `try` with `finally`, or of a `with`,"
                raise Refused(found, "let it come to its end, or close it (`.close()`)", place)

    def _leave(self) -> None:
        torch._C._set_grad_enabled(self.taping.pop())
        STATE.runs = STATE.runs[:-1]

    def sweep(self, back: Callable[[Any], Any], bar: Any) -> Any:
        """What `back(bar)` returns, run with the shadows of a new sweep."""
        before, sweep = STATE.sweep, Sweep(self)
        with self:
            STATE.sweep = sweep
            try:
                return back(bar)
            finally:
                STATE.sweep = before
                for redo in reversed(sweep.redo):
                    redo()


def born(x: Any) -> Any:
    """`x`, a new reference, of which the runs around this one are told."""
    for run in STATE.runs[:-1]:
        run.born[id(x)] = x
    return x


def changed(x: Any) -> None:
    """Tells the runs that the reference `x` is about to be changed."""
    for run in STATE.runs:
        run.changes += 1
    for run in STATE.runs[:-1]:
        if id(x) not in run.born:
            run.foreign[id(x)] = x


def mark(x: Any) -> None:
    """Tells the runs that the memory of an array is about to be changed."""
    if shared(x):
        raise NotImplementedError(
            "an array that shares its memory with something that isn't an array (a tensor, a file) "
            "is changed in place; change a copy of it"
        )
    key = home(x)
    for run in STATE.runs:
        run.changes += 1
        if key not in run.marks:
            run.marks[key] = keeper(x)


class Sweep:
    """The shadows of one reverse sweep."""

    def __init__(self, run: Run) -> None:
        self.run, self.marks = run, run.marks
        self.shadows: dict[int, tuple[Any, Any]] = {}
        self.parameters: dict[int, tuple[Any, Any]] = {}
        self.arrays: dict[int, Any] = {}
        self.redo: list[Callable[[], Any]] = []

    # References.

    def find(self, x: Any) -> Any:
        """The shadow of a reference, or None where nothing has flowed to it."""
        if id(x) in self.run.foreign:
            raise NotImplementedError(
                f"a {type(x).__name__} was changed inside a nested gradient or checkpoint and is used outside of it; "
                "return what you need from there instead"
            )
        found = self.shadows.get(id(self.owner(x)))
        return None if found is None else found[1]

    def owner(self, x: Any) -> Any:
        """The object whose `__dict__` x is; or x itself."""
        owners = self.run.owners
        return owners[id(x)][1] if owners and id(x) in owners else x

    def slots(self, xs: MutableSequence[Any]) -> list[Any]:
        """The shadow of a list or a deque: one cotangent for each entry."""
        shadow = self.find(xs)
        if shadow is None:
            shadow = [None] * len(xs)
            self.shadows[id(xs)] = (xs, shadow)
        return shadow

    def fields(self, x: Any) -> dict[Any, Any]:
        """The shadow of a dict, an object or a cell: cotangents by key or by attribute."""
        shadow = self.find(x)
        if shadow is None:
            shadow, x = {}, self.owner(x)
            self.shadows[id(x)] = (x, shadow)
        return shadow

    def give(self, x: Any, key: Any, bar: Any) -> None:
        """Adds to one field of a shadow."""
        if bar is not None:
            fields = self.fields(x)
            fields[key] = accum(fields.get(key), bar)

    def take(self, x: Any, key: Any) -> Any:
        """What flowed to a field, which is empty afterwards."""
        shadow = self.find(x)
        return None if shadow is None else shadow.pop(key, None)

    # Arrays.

    def routed(self, x: Any) -> bool:
        """Whether the cotangent of an array lives in a shadow: it was changed in place, or is a parameter."""
        return is_parameter(x) or (bool(self.marks) and is_array(x) and home(x) in self.marks)

    def array(self, x: Any) -> Any:
        """The shadow of an array that is changed in place: a view that can be written to."""
        return view_like(self.memory(x), x)

    def memory(self, x: Any) -> Any:
        """The shadow of the memory of an array, flat."""
        key = home(x)
        buffer = self.arrays.get(key)
        if buffer is None:
            buffer = self.arrays[key] = zeros_for(x)
        return buffer

    def arrive(self, x: Any, bar: Any) -> Any:
        """`bar`, a cotangent of `x`, unless it lives in a shadow: there it is added."""
        if bar is None or (type(x) is Tensor and not self.marks) or not self.routed(x):
            return bar
        if self.marks and home(x) in self.marks:
            if isinstance(bar, Scatter):
                scatter(self.array(x), bar.index, bar.bar)
            else:
                add_through(self.memory(x), x, value(bar))
        else:
            bar = bar if isinstance(bar, Refusal) else value(bar)
            old = self.parameters.get(id(x))
            self.parameters[id(x)] = (x, bar if old is None else accum(old[1], bar))
        return None

    def collect(self, y: Any, args: tuple[Any, ...], bar: Any) -> Any:
        """The cotangent of a new result `y`: what came by variable and what came to its memory's shadow."""
        if isinstance(y, tuple):
            bars = value(bar) or (None,) * len(y)
            bars = tuple(self.collect(part, args, b) for part, b in zip(y, bars, strict=True))
            return None if all(b is None for b in bars) else bars
        if not is_array(y) or home(y) not in self.marks:
            return bar
        if any(home(x) == home(y) for x in arrays_in(args)):
            return None  # a view: its cotangent is in the shadow of what it looks at
        if home(y) not in self.arrays:
            return bar
        return accum(value(bar), _copy(self.array(y)))

    def parameter(self, x: Any) -> Any:
        """What flowed to a parameter (or to a marked array), all in all."""
        if self.marks and home(x) in self.marks:
            return _copy(self.array(x)) if home(x) in self.arrays else None
        found = self.parameters.get(id(x))
        return None if found is None else value(found[1])


def _copy(x: Any) -> Any:
    return x.copy() if isinstance(x, np.ndarray) else x.clone()


def sweeping() -> Sweep:
    """The sweep that is under way."""
    return STATE.sweep
