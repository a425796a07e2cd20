"""The record of what happened on the way, and what is made of it for the user."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._controller import Numbers
from ._field import Field
from ._save import Indices

__all__ = ["Entry", "Happened", "Kind", "tables"]


class Kind(IntEnum):
    """What an entry of the record is.

    A crossing that is only noted; one that cuts its step; one that happens at the time of another that cuts; a stop.
    """

    NOTED = 0
    CUT = 1
    SHARED = 2
    STOP = 3


Entry = tuple[int, int, Kind, int, float]
"""Which of the samples under way, what, its kind, level and time."""


@dataclass
class Happened:
    """What happened, shape (entries,) each: to which samples, behind which of their steps, and when.

    Arguments:
        numbers: how many steps the sample had made, the one in question included.
        what: the number of the condition that was crossed; of a stop, which one of the sample's it is.
        kind: a `Kind`.
        level: in which order, where several things happened behind one step.
        y: the states at the crossings before any change, shape (crossings, n).
    """

    rows: Indices
    numbers: Indices
    what: Indices
    kind: Indices
    level: Indices
    t: Numbers
    y: Tensor

    @staticmethod
    def joined(parts: "list[Happened]", y: Tensor) -> "Happened":
        """Several records as one; `y` (samples, n) are any states."""
        if not parts:
            none = np.zeros(0, np.int64)
            return Happened(none, none, none, none, none, np.zeros(0), y[:0])
        names = ("rows", "numbers", "what", "kind", "level", "t")
        columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return Happened(**columns, y=torch.cat([part.y for part in parts]))

    @staticmethod
    def of(entries: list[Entry], rows: Indices, numbers: Indices, y: Tensor) -> "Happened":
        """The entries of samples `rows` that have made `numbers` of steps."""
        i, *columns = (np.array(column) for column in zip(*entries, strict=True))
        what, kind, level, t = columns
        return Happened(rows[i], numbers[i], what, kind, level, t, y)


def tables(problem: Field, happened: Happened, functions: int, samples: int, t: Tensor, y: Tensor) -> tuple[Any, Any]:
    """The times and states of each function's crossings, as tables of the samples.

    They come from `t` (crossings,) and `y` (crossings, n); a table is as long as the sample with the most crossings,
    and has NaN where another has fewer.
    """
    at = happened.kind != Kind.STOP
    all_rows, what, order = happened.rows[at], happened.what[at], np.argsort(happened.t[at], kind="stable")
    ts, ys = [], []
    for function in range(functions):
        mine = order[what[order] == function]
        mine = mine[np.argsort(all_rows[mine], kind="stable")]
        rows, made = all_rows[mine], np.bincount(all_rows[mine], minlength=samples)
        column = np.arange(len(rows)) - (made.cumsum() - made)[rows]
        index, places = torch.as_tensor(mine), (torch.as_tensor(rows), torch.as_tensor(column))
        most = int(made.max())
        times = t.new_full((samples, most), float("nan")).index_put(places, problem.sign * t[index])
        states = y.new_full((samples, most, y.shape[-1]), float("nan")).index_put(places, y[index])
        ts.append(times if problem.batched else times[0])
        ys.append(problem.unravel(states, samples, most) if problem.batched else problem.unravel(states[0], most))
    return tuple(ts), tuple(ys)
