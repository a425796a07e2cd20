"""Multiple shooting: a long trajectory is fitted in short pieces that have to meet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchflux import fmap, leaves, mse

from ._controller import Numbers
from ._field import PerSample, per_sample
from ._solve import solve

__all__ = ["Shot", "multiple_shoot"]

Tree = Any
Loss = Callable[[Tensor, Tensor], Tensor]


class Shot(NamedTuple):
    """The loss, and what each piece says of its times, shapes (its times, ...)."""

    loss: Tensor
    predictions: list[Tensor]


def multiple_shoot(
    f: Callable[..., Tensor],
    data: Tensor,
    ts: Tensor | Sequence[float],
    args: Tree = None,
    *,
    group_size: int,
    loss: Loss = mse,
    continuity_loss: Loss = mse,
    continuity_term: float = 100.0,
    starts: Tensor | None = None,
    batched: bool = False,
    **options: Any,
) -> Shot:
    """The loss of a trajectory that is shot at from many points: pieces with a time in common, and how far they miss.

    Fitting a long oscillation from its beginning has a local minimum for every period that a wrong frequency gains.
    Short pieces don't. All of them are solved as one batch, in which each runs through its own stretch of time.

    Arguments:
        f: the slope, `f(t, y, args)` as `solve(batched=True)` calls it: times (m,), states (m, ...). A layer's is
            `layer.slope`.
        data: what was measured, shape (S, ...), with the times in front; the samples follow with `batched=True`.
        ts: when, increasing or decreasing, shape (S,). They are not differentiated.
        args: anything; handed to `f`.
        group_size: the times of a piece, the first and the last included; the last piece may be shorter.
        loss: of all pieces' predictions and the data at their times, pieces one after the other: (S + K - 1, ...).
        continuity_loss: of the ends of pieces and the beginnings of those that follow, (K - 1, ...).
        continuity_term: what that counts.
        starts: the states at which the K pieces begin, shape (K, ...); by default the data's. A parameter is fitted
            with the model, which noisy data need. Its states may have more numbers than the data, if `loss` knows.
        options: `solve`'s. Steps are counted in the time of the longest piece; a shorter one's are shorter.

    >>> ts = torch.linspace(0.0, 6.0, 31)
    >>> data = torch.stack((ts.cos(), -ts.sin()), 1)
    >>> f = lambda t, y, args: torch.stack((y[:, 1], -y[:, 0]), 1)
    >>> loss, pieces = multiple_shoot(f, data, ts, group_size=11)
    >>> bool(loss < 1e-4), [tuple(piece.shape) for piece in pieces]
    (True, [(11, 2), (11, 2), (11, 2)])

    Source: Turan & Jäschke (2021), arXiv:2109.06786; the names are DiffEqFlux.jl's.
    """
    pieces = _Pieces.of(ts, group_size, data)
    first = data[pieces.bounds[:-1]] if starts is None else starts
    if len(first) != len(pieces.speeds):
        raise ValueError(f"starts has {len(first)} states for {len(pieces.speeds)} pieces")
    rows = first.flatten(0, 1) if batched else first
    states = pieces.solved(f, rows, args, len(first[0]) if batched else 1, batched, options)
    states = states.unflatten(1, first.shape[:2]) if batched else states
    predictions = [states[places, k] for k, places in enumerate(pieces.places)]
    shot = loss(torch.cat(predictions), torch.cat([data[i : j + 1] for i, j in pieces.spans]))
    if len(predictions) > 1:
        ends = torch.stack([piece[-1] for piece in predictions[:-1]])
        shot = shot + continuity_term * continuity_loss(ends, first[1:])
    return Shot(shot, predictions)


@dataclass(frozen=True)
class _Pieces:
    """The pieces of a trajectory, which run together, from 0 to the length of the longest.

    Arguments:
        bounds: the numbers of the times at which they begin, and the last one.
        begins, speeds: when they begin, and how fast their times pass in the common one, shape (K,).
        clock: the common times at which one of them has data.
        places: for each piece, where its own are among them.
    """

    bounds: NDArray[np.int64]
    begins: Tensor
    speeds: Tensor
    clock: Numbers
    places: list[NDArray[np.int64]]

    @classmethod
    def of(cls, ts: Any, group_size: int, data: Tensor) -> "_Pieces":
        """Cuts a trajectory."""
        if isinstance(ts, Tensor) and ts.requires_grad:
            raise ValueError("ts would be differentiated, and multiple_shoot doesn't: pass ts.detach()")
        times = np.asarray(ts.cpu() if isinstance(ts, Tensor) else ts, np.float64)
        if times.shape != (len(data),):
            raise ValueError(f"ts has the shape {times.shape}, data {tuple(data.shape)}: one time for each measurement")
        steps = np.diff(times)
        if not (len(steps) and (steps * steps[0] > 0).all()):
            raise ValueError(f"ts is {times}: the times increase, or decrease, strictly")
        if not 2 <= group_size <= len(times):
            raise ValueError(f"group_size={group_size}: a piece has between 2 and {len(times)} times")
        bounds = np.append(np.arange(0, len(times) - 1, group_size - 1), len(times) - 1)
        lengths = np.diff(times[bounds])
        speeds = lengths / np.abs(lengths).max()
        parts = [(times[i : j + 1] - times[i]) / v for (i, j), v in zip(pairwise(bounds), speeds, strict=True)]
        # Those of evenly spaced times are the same but for the rounding of these.
        ordered = np.sort(np.concatenate(parts))
        rounding = torch.finfo(data.dtype).eps * np.abs(times / speeds.min()).max()
        clock = ordered[np.append(True, np.diff(ordered) > 4 * rounding)]
        clock[-1] = np.abs(lengths).max()
        places = [np.abs(clock[:, None] - part).argmin(0) for part in parts]
        begins = torch.as_tensor(times[bounds[:-1]]).to(data)
        return cls(bounds, begins, torch.as_tensor(speeds).to(data), clock, places)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The numbers of each piece's first and last time."""
        return list(pairwise(self.bounds.tolist()))

    def solved(
        self, f: Callable[..., Tensor], y0: Tensor, args: Tree, samples: int, batched: bool, options: dict[str, Any]
    ) -> Tensor:
        """The states of all pieces (of all samples) at all of `clock`, shape (clock, rows, ...)."""
        marked = any(isinstance(x, PerSample) for _, x in leaves(args))
        if marked and not batched:
            raise ValueError("args has a part for each sample, but data is a single trajectory: pass batched=True")
        spread = lambda x: PerSample(x.value.repeat(len(self.speeds), *[1] * (x.value.dim() - 1)))
        if marked:
            args = fmap(spread, args, leaf=lambda x: isinstance(x, PerSample), ties=False)
        each = {name: per_sample(getattr(self, name).repeat_interleave(samples)) for name in ("begins", "speeds")}

        def slope(s: Tensor, y: Tensor, given: Any) -> Tensor:
            speed = given["speeds"]
            k = f(given["begins"] + s * speed, y, given["args"])
            return k * speed.reshape(-1, *[1] * (k.dim() - 1))

        return solve(slope, y0, self.clock, {**each, "args": args}, batched=True, **options).ys
