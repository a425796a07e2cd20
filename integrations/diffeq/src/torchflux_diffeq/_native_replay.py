"""The steps of a native solution made again by PyTorch, with a tape: for derivatives of the gradient."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import vmap

from torchflux import fmap

from ._field import PerSample
from ._tableau import Tableau

__all__ = ["OnTensors", "retraced"]

Slopes = Callable[[NDArray[np.int64], Tensor, Tensor], Tensor]


class OnTensors:
    """A `@native` slope as PyTorch's solvers call it: sample by sample; as one tensor, if the state is one."""

    def __init__(self, f: Any, args: Any, batched: bool) -> None:
        marks = fmap(lambda x: 0 if isinstance(x, PerSample) else None, args, leaf=_is_leaf, ties=False)
        self.f, self.batched, self.dims = f, batched, (0, 0, None if args is None else marks)

    def __call__(self, t: Tensor, y: Any, args: Any) -> Any:
        if self.batched and not len(t):  # vmap wants to call it once at least
            return fmap(torch.zeros_like, y, ties=False)
        return vmap(self.one, self.dims)(t, y, args) if self.batched else self.one(t, y, args)

    def one(self, t: Tensor, y: Any, args: Any) -> Any:
        """The slope of one sample; of a state that is a tree, the tree that it is."""
        k = self.f(t, _tuples(y), _tuples(args))
        if not isinstance(y, Tensor):
            return type(y)(k) if isinstance(y, list) else k
        return torch.stack([torch.as_tensor(x, dtype=y.dtype) for x in k]) if isinstance(k, tuple) else k


def _is_leaf(x: Any) -> bool:
    return not isinstance(x, tuple | list)


def _tuples(args: Any) -> Any:
    """Lists as tuples, which native functions take."""
    return tuple(map(_tuples, args)) if isinstance(args, tuple | list) else args


def retraced(
    tableau: Tableau, slope: Slopes, y0: Tensor, times: Tensor, begins: list[Tensor], ends: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """The states at the times (S, samples, n), NaN where a sample's steps don't reach, and at the samples' ends.

    Arguments:
        slope: of some samples, at times (rows,) and states (rows, n).
        begins, ends: when each sample's steps begin and end, in the order of the steps.
    """
    samples, final = len(y0), len(times) - 1
    done: list[Tensor] = list(y0)
    saved = {(0, s): y0[s] for s in range(samples)}
    rows = np.array([s for s in range(samples) if len(begins[s])], np.int64)
    y, k = y0, slope(np.arange(samples), times[0].expand(samples), y0)
    y, k = y[rows], k[rows]
    for number in range(max(map(len, begins))):
        t = torch.stack([begins[s][number] for s in rows])
        arrival = torch.stack([ends[s][number] for s in rows])
        h = (arrival - t)[:, None]
        slopes, u = [k], y
        for a, c in zip(tableau.a[1:], tableau.c[1:], strict=True):
            u = y + h * sum(float(weight) * x for weight, x in zip(a, slopes, strict=False) if weight)
            slopes.append(slope(rows, t + float(c) * h[:, 0], u))
        for place, s in enumerate(rows.tolist()):
            done[s] = u[place]
            for j in range(1, final):
                if t[place] < times[j] <= arrival[place]:
                    weights = _dense(tableau, (times[j] - t[place]) / h[place]) * h[place]
                    saved[j, s] = y[place] + weights @ torch.stack([x[place] for x in slopes])
        going = np.array([len(begins[s]) > number + 1 for s in rows], bool)
        rows, y, k = rows[going], u[going], slopes[-1][going]
    saved |= {(final, s): done[s] for s in range(samples) if len(ends[s]) and bool(ends[s][-1] == times[-1])}
    nan = torch.full_like(y0[0], float("nan"))
    ys = [torch.stack([saved.get((j, s), nan) for s in range(samples)]) for j in range(final + 1)]
    return torch.stack(ys), torch.stack(done)


def _dense(tableau: Tableau, x: Tensor) -> Tensor:
    """What the slopes count at the part `x` of a step of length one."""
    powers = torch.cat([x**p for p in range(1, tableau.dense.shape[1] + 1)])
    return torch.as_tensor(tableau.dense, dtype=x.dtype) @ powers
