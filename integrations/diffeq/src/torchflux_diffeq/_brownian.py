"""Brownian motion as a function of time, which may be asked at any times in any order."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ._threefry import normal

__all__ = ["BrownianTree", "Path"]

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]

LEVELS = 30
"""How often the time is halved by default."""
MOST = 31
"""How often it may be, for nodes that are numbered by 32 bits."""
HELD = 2**22
"""The values of a path that are held at most, in case that the steps are made again for a gradient."""


class BrownianTree:
    """Standard Brownian motions `W(t)`, with `W(t0) = 0`: pure functions of the seed, the sample and the time.

    No state is held, and nothing depends on what else is asked for: neither on other times and their order, nor on the
    samples that are asked for together. The time is halved again and again; `W` in the middle of an interval, given its
    ends, is normal, with numbers that are computed from the seed and the interval's number. That makes `W(t)` a sum of
    one number for each halving, and the numbers of all halvings, times and samples are computed at once, in float64.

    Arguments:
        seed: an integer from 0 to 2⁶⁴ - 1.
        t0, t1: the times between which it is defined.
        tol: times are rounded to a grid that is at least as fine; by default to the 2³⁰th part of the time from `t0` to
            `t1`, and that to the 2³¹st part is the finest. It takes fewer numbers where the grid is coarser. Paths of
            one seed with other tolerances agree on the coarser one's grid.

    Raises:
        ValueError: the arguments don't fit, or a time is outside of the interval.

    >>> tree = BrownianTree(7, 0.0, 2.0)
    >>> tree([0.5, 1.5], samples=3).shape  # times, samples, motions for each
    torch.Size([2, 3, 1])
    >>> bool(tree([1.5], samples=3)[0, 2] == tree([0.1, 1.5], samples=[2])[1, 0])
    True

    Source: Lévy's construction in the form of Ciesielski (1961), with random numbers by counter; the tree that is not
    stored is from Li, Wong, Chen & Duvenaud (2020), arXiv:2001.01328.
    """

    def __init__(self, seed: int, t0: float, t1: float, tol: float | None = None) -> None:
        if not (isinstance(seed, int | np.integer) and 0 <= seed < 2**64):
            raise ValueError(f"BrownianTree(seed={seed!r}): a seed is an integer from 0 to 2**64 - 1")
        if not (math.isfinite(t0) and math.isfinite(t1) and t0 < t1):
            raise ValueError(f"BrownianTree(t0={t0!r}, t1={t1!r}): the first time is before the last")
        levels = LEVELS if tol is None else max(0, math.ceil(math.log2((t1 - t0) / tol))) if tol > 0 else MOST + 1
        if levels > MOST:
            raise ValueError(f"BrownianTree(tol={tol!r}): times are told apart from {(t1 - t0) / 2**MOST:g} on")
        self.seed, self.t0, self.t1, self.levels = int(seed), float(t0), float(t1), levels

    def __repr__(self) -> str:
        return f"BrownianTree({self.seed}, {self.t0:g}, {self.t1:g}, tol={self.tol:g})"

    @property
    def tol(self) -> float:
        """The distance of the times that are told apart."""
        return (self.t1 - self.t0) / 2**self.levels

    def __call__(self, t: Any, samples: int | ArrayLike = 1, dimensions: int = 1) -> Tensor:
        """The motions at times (times,), shape (times, samples, dimensions), in float64.

        Arguments:
            t: the times.
            samples: how many, or which: integers that aren't negative.
            dimensions: how many motions each sample has; those of sample `i` are numbered from `i * dimensions` on.
        """
        rows = np.arange(samples) if isinstance(samples, int) else np.asarray(samples, np.int64)
        return torch.from_numpy(self.outer(np.asarray(t, np.float64).reshape(-1), rows, dimensions))

    def outer(self, t: Numbers, rows: Indices, dimensions: int) -> Numbers:
        """All samples at all times, shape (times, rows, dimensions)."""
        numbers, weights = self._nodes(t)
        used = weights != 0.0
        which, found = np.unique(numbers[used], return_inverse=True)
        place = np.zeros(numbers.shape, np.int64)
        place[used] = found
        normals = normal(self._key, (which[:, None], _lanes(rows, dimensions).reshape(1, -1)))
        w = np.zeros((len(t), normals.shape[1]))
        for level in np.flatnonzero(used.any(1)):
            w += weights[level, :, None] * normals[place[level]]
        return w.reshape(len(t), len(rows), dimensions)

    def paired(self, t: Numbers, rows: Indices, dimensions: int) -> Numbers:
        """Each sample at a time of its own, shape (rows, dimensions)."""
        numbers, weights = self._nodes(t)
        level, point = np.nonzero(weights)
        normals = np.zeros((*weights.shape, dimensions))
        lanes = _lanes(rows, dimensions)
        normals[level, point] = normal(self._key, (numbers[level, point][:, None], lanes[point]))
        w = np.zeros((len(t), dimensions))
        for weight, number in zip(weights, normals, strict=True):
            w += weight[:, None] * number
        return w

    @property
    def _key(self) -> tuple[int, int]:
        return self.seed >> 32, self.seed % 2**32

    def _nodes(self, t: Numbers) -> tuple[NDArray[np.uint32], Numbers]:
        """The numbers of the tree's nodes that make up `W(t)`, and what they count, shape (levels + 1, times) each.

        Node 0 is the increment over the whole time; node `2**level + k` is the middle of that level's interval `k`.
        """
        if not ((self.t0 <= t) & (t <= self.t1)).all():
            worst = t[~((self.t0 <= t) & (t <= self.t1))][0]
            raise ValueError(
                f"{self} was asked for its value at {worst:g}: give it the whole time that it is needed for"
            )
        length = self.t1 - self.t0
        point = np.rint((t - self.t0) * (2.0**self.levels / length)).astype(np.int64)
        level = np.arange(self.levels)[:, None]
        size = 1 << (self.levels - level)
        cell = np.minimum(point >> (self.levels - level), (1 << level) - 1)
        part = (point - cell * size) / size
        weights = (length * 0.25 / (1 << level)) ** 0.5 * np.minimum(2 * part, 2 - 2 * part)
        numbers = np.concatenate([np.zeros((1, len(t)), np.int64), (1 << level) + cell])
        whole = length**0.5 * point / 2.0**self.levels
        return numbers.astype(np.uint32), np.concatenate([whole[None], weights])


def _lanes(rows: Indices, dimensions: int) -> NDArray[np.uint32]:
    """The numbers of the samples' motions, shape (rows, dimensions)."""
    lanes = rows[:, None] * dimensions + np.arange(dimensions)
    if lanes.size and not (lanes.min() >= 0 and lanes.max() < 2**32):
        raise ValueError(
            f"motions with the numbers {lanes.min()} to {lanes.max()}: a tree has those from 0 to 2**32 - 1"
        )
    return lanes.astype(np.uint32)


class Path:
    """The increments of a tree's motions over steps.

    Where all samples make the same steps, the values are looked up for many steps at once: those that follow if each is
    as long as it will probably be. What is found does not depend on that.

    Arguments:
        tree: the motions.
        dt: the length of a step.
        end: where the last one ends.
    """

    def __init__(self, tree: BrownianTree, dt: float, end: float) -> None:
        self.tree, self.dt, self.end = tree, dt, end
        self.rows, self.dimensions = np.zeros(0, np.int64), 0
        self.known: dict[float, Numbers] = {}

    def increments(self, rows: Indices, t: Numbers, ends: Numbers, dimensions: int) -> Numbers:
        """Those of some samples over steps from `t` to `ends` (rows,), shape (rows, dimensions)."""
        if (t == t[0]).all() and (ends == ends[0]).all():
            first, last = float(t[0]), float(ends[0])
            same = dimensions == self.dimensions and np.array_equal(rows, self.rows)
            if not same:
                self.rows, self.dimensions, self.known = rows, dimensions, {}
            if not (first in self.known and last in self.known):
                self._look_up(first, last)
            return self.known[last] - self.known[first]
        return self.apart(rows, t, ends, dimensions)

    def apart(self, rows: Indices, t: Numbers, ends: Numbers, dimensions: int) -> Numbers:
        """The same for steps that don't follow each other."""
        return self.tree.paired(ends, rows, dimensions) - self.tree.paired(t, rows, dimensions)

    def _look_up(self, first: float, last: float) -> None:
        """The values at the beginning and the end of a step, and at the ends of those that follow."""
        motions = len(self.rows) * self.dimensions
        following = np.add.accumulate(np.array([last, *[self.dt] * max(8, min(256, 2**15 // motions))]))
        times = np.unique(np.minimum([first, *following], max(self.end, last)))
        if (len(self.known) + len(times)) * max(motions, 64) > HELD:
            self.known = {}
        self.known.update(zip(times.tolist(), self.tree.outer(times, self.rows, self.dimensions), strict=True))
