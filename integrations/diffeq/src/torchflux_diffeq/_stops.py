"""Times at which steps have to end: jumps of `f`, and changes of the state at times that are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._controller import Numbers
from ._lanes import greatest, has_lanes
from ._save import Indices
from ._solver import Slope

__all__ = ["JUMP", "Jumps", "Stops", "times"]

JUMP = -1
"""What is due at a stop, if it isn't a change's number: only a new slope."""


class Jumps:
    """Times at which `f` or a derivative of it jumps: a step between two of them sees `f` strictly between them.

    Arguments:
        exact: the times, increasing, shape (jumps,).
    """

    def __init__(self, exact: Tensor) -> None:
        self.numbers = greatest(exact).astype(np.float64)
        bare, far = exact.detach(), exact.new_full((1,), float("inf"))
        up, down = torch.nextafter(bare, far) - bare, bare - torch.nextafter(bare, -far)
        self.after, self.before = torch.cat([-far, exact + up]), torch.cat([exact - down, far])

    def between(self, slope: Slope, t: Numbers) -> Slope:
        """The slopes of steps that begin at `t` (rows,): the one at a jump is the limit from within the step."""
        piece = torch.as_tensor(np.searchsorted(self.numbers, t, side="right"), device=self.after.device)
        low, high = self.after[piece], self.before[piece]

        def within(t: Tensor, y: Tensor) -> Tensor:
            moved = torch.minimum(torch.maximum(t, low), high) - t
            return slope(t + moved.detach(), y)  # the derivative by the time, which Rosenbrock's methods take, stays

        return within


@dataclass
class Stops:
    """Each sample's stops, one after the other.

    Arguments:
        exact: the times, increasing, shape (samples, stops); `numbers` are the same as numbers, and infinite where a
            sample has no more, shape (samples, stops + 1).
        what: is due there, shape (samples, stops).
        at: the number of each sample's next stop, shape (samples,).
    """

    exact: Tensor
    numbers: Numbers
    what: Indices
    at: Indices

    @staticmethod
    def of(given: Sequence[tuple[Tensor, int]], samples: int, begin: float, end: float) -> "Stops":
        """Those of several `(times, what)`, times of shape (stops,) or (samples, stops)."""
        exact = torch.cat([t.expand(samples, -1) for t, _ in given], 1)
        what = np.concatenate([np.full(t.shape[-1], number) for t, number in given])
        numbers = greatest(exact).astype(np.float64)
        within = (numbers >= begin) & (numbers < end) & ((what >= 0) | (numbers > begin))
        numbers = np.where(within, numbers, np.inf)
        order = np.argsort(numbers, axis=1, kind="stable")
        order = order[:, : int(within.sum(1).max(initial=0))]
        numbers = np.take_along_axis(numbers, order, 1)
        exact = exact.gather(1, torch.as_tensor(order, device=exact.device))
        none = np.full((samples, 1), np.inf)
        return Stops(exact, np.concatenate([numbers, none], 1), what[order], np.zeros(samples, np.int64))

    def next(self, rows: Indices) -> Numbers:
        """The times of the next stops."""
        return self.numbers[rows, self.at[rows]]


def times(given: Any, name: str, like: Tensor, sign: int, samples: int | None) -> Tensor:
    """Times as a tensor of the state's real dtype, (times,) or for a number of samples (samples, times), forward."""
    exact = given if isinstance(given, Tensor) else _stacked(given, name, like)
    exact = sign * exact.to(like)
    if exact.dim() != 1 and (samples is None or exact.shape[:1] != (samples,) or exact.dim() != 2):
        due = "(times,)" + ("" if samples is None else f", or ({samples}, times)")
        raise ValueError(f"{name} has the shape {tuple(exact.shape)}, not {due}")
    if has_lanes(exact):
        raise ValueError(f"{name} differs between the lanes of a vmap: use batched=True")
    bad = ~exact.isfinite() & ~(exact.isnan() & (exact.dim() == 2))
    if greatest(bad.any().int()):
        raise ValueError(f"{name} has NaN or inf in it: {exact}")
    return exact


def _stacked(given: Any, name: str, like: Tensor) -> Tensor:
    """Several numbers, or tensors that may be differentiable, as one tensor."""
    try:
        if not len(given):
            return like.new_zeros(0)
        return torch.stack([torch.as_tensor(t, dtype=like.dtype, device=like.device) for t in given])
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} is {given!r}: pass the times as a tensor or a sequence of numbers") from None
