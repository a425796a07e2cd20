"""The user's function, seen as a function of rows of numbers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import vmap

from torchflux import fmap, leaves

from ._held import held
from ._lanes import aligned
from ._solver import Slope

__all__ = ["Field", "PerSample", "per_sample"]

Tree = Any


class PerSample:
    """A part of `args` that has one entry for each sample of a batch."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


def per_sample(x: Tensor) -> PerSample:
    """Marks a tensor in `args` whose leading axis is the batch: the function gets the rows of its samples.

    >>> per_sample(torch.zeros(3, 2)).value.shape
    torch.Size([3, 2])
    """
    return PerSample(x)


class Field:
    """`f(t, y, args)` as slopes of rows: states become (rows, n), and time that runs backward that of `-f` forward."""

    def __init__(self, f: Callable[..., Tree], y0: Tree, args: Tree, batched: bool, backward: bool) -> None:
        self.f, self.y0, self.args, self.batched = held(f), y0, args, batched
        self.sign = -1 if backward else 1
        self.parts = [(path, x) for path, x in leaves(y0) if isinstance(x, Tensor)]
        self.shapes = [tuple(x.shape[batched:]) for _, x in self.parts]
        self.sizes = [x.shape[batched:].numel() for _, x in self.parts]
        marked = [(path, x.value) for path, x in leaves(args) if isinstance(x, PerSample)]
        self.marked = bool(marked)
        for path, x in marked if batched else []:
            if not x.dim() or len(x) != len(self.parts[0][1]):
                raise ValueError(
                    f"args{f'[{path!r}]' if path else ''} is per_sample and has the shape {tuple(x.shape)}, for "
                    f"{len(self.parts[0][1])} samples: its leading axis is the batch"
                )
        self.checked = False

    def ravel(self, tree: Tree, rows: int) -> Tensor:
        """A state as rows of numbers, shape (rows, n)."""
        flat = lambda x: x.reshape(rows, -1 if rows else x.shape[1:].numel())
        return flat(tree) if isinstance(tree, Tensor) else torch.cat([flat(x) for x in self.ordered(tree)], -1)

    def ordered(self, tree: Tree) -> list[Tensor]:
        """The parts of a state in the order of `y0`'s: a dict's may be in another one."""
        found = {path: x for path, x in leaves(tree) if isinstance(x, Tensor)}
        paths = [path for path, _ in self.parts]
        return [found[path] for path in paths] if found.keys() == set(paths) else list(found.values())

    def unravel(self, y: Tensor, *lead: int) -> Tree:
        """Rows of numbers (..., n) as states, whose tensors have `lead` in front of a sample's shape."""
        if isinstance(self.y0, Tensor):
            return y.reshape(lead + self.shapes[0])
        parts = iter(y.split(self.sizes, -1))
        return fmap(lambda x: next(parts).reshape((*lead, *x.shape[self.batched :])), self.y0, ties=False)

    def on(self, rows: NDArray[np.int64] | None) -> Slope:
        """The slopes of some samples."""
        return partial(self._slope, self.picked(rows))

    def picked(self, rows: NDArray[np.int64] | None) -> Tree:
        """`args` for some samples."""
        if not self.marked:
            return self.args
        pick = (lambda x: x.value) if rows is None else (lambda x: x.value[rows])
        return fmap(pick, self.args, leaf=lambda x: isinstance(x, PerSample), ties=False)

    def called(self, f: Callable[..., Any], rows: NDArray[np.int64], t: Tensor, y: Tensor) -> Any:
        """Another function of `(t, y, args)`: at times (rows,) and states (rows, n), without a batch at () and (n,)."""
        state = self.unravel(y, len(y)) if self.batched else self.unravel(y)
        return f(t if self.sign > 0 else -t, state, self.picked(rows if self.batched else None))

    def changed(self, f: Callable[..., Tree], name: str, rows: NDArray[np.int64], t: Tensor, y: Tensor) -> Tensor:
        """The states (rows, n) that a function returns for others."""
        state = self.called(f, rows, *((t, y) if self.batched else (t[0], y[0])))
        self.check(state, len(y), name, "state")
        return aligned(self.ravel(state, len(y)))

    def over(self, rows: NDArray[np.int64], t: NDArray[np.float64], ends: NDArray[np.float64]) -> Slope:
        """The slopes of some samples for steps from `t` to `ends` (rows,)."""
        return self.on(rows)

    def everywhere(self, rows: NDArray[np.int64], t: Tensor, y: Tensor) -> Tensor:
        """The slopes at many times and states at once, which may be of the same samples."""
        if self.batched:
            return self.on(rows)(t, y)
        return vmap(lambda t, y: self._slope(self.args, t[None], y[None])[0])(t, y)

    def _slope(self, args: Tree, t: Tensor, y: Tensor) -> Tensor:
        rows = y.shape[0]
        state = self.unravel(y, rows) if self.batched else self.unravel(y)
        when = t if self.batched else t[0]
        version = None if self.checked or y.is_inference() else y._version
        try:
            slope = self.f(when if self.sign > 0 else -when, state, args)
        except RuntimeError as error:
            if advice := self.advice(rows):
                error.add_note(f"f was called {advice}")
            raise
        if version is not None and y._version != version:
            raise ValueError("f changed its state in place, which the solver goes on with: write -y, not y.neg_()")
        one = isinstance(state, Tensor)
        if not self.checked or (one and not _alike(slope, state)):
            self.check(slope, rows)
            self.checked = True
        k = slope if one and _alike(slope, y) else self.ravel(slope, rows)
        if not (one or _alike(k, y)):
            self.check(slope, rows)
        k = aligned(k)
        return k if self.sign > 0 else -k

    def advice(self, rows: int) -> str:
        """What may be wrong with a call where not all samples are under way."""
        samples = len(self.parts[0][1]) if self.batched else rows
        return f"for {rows} of {samples} samples (mark what args has for each by per_sample)" if rows < samples else ""

    def check(self, given: Tree, rows: int, f: str = "f", what: str = "slope") -> None:
        """Compares what a function gave with the state that it is the slope of, or a change of."""
        found = {path: x for path, x in leaves(given) if isinstance(x, Tensor)}
        if found.keys() != {path for path, _ in self.parts}:
            raise TypeError(
                f"{f} returned {_described(given)} for a state that is {_described(self.y0)}: return the {what} of "
                "every part of the state, nested in the same way"
            )
        for path, y in self.parts:
            k = found[path]
            due = (rows, *y.shape[1:]) if self.batched else tuple(y.shape)
            name = f"{f}'s {what}{f' of {path!r}' if path else ''}"
            if tuple(k.shape) != due:
                its = f"{due} {self.advice(rows)}".rstrip()
                raise ValueError(f"{name} has the shape {tuple(k.shape)}, its state {its}: return one number for each")
            if k.dtype != y.dtype:
                raise TypeError(f"{name} is {k.dtype}, its state {y.dtype}: convert one of them")


def _alike(x: Any, y: Tensor) -> bool:
    """Whether it is a tensor of the same shape and dtype."""
    return isinstance(x, Tensor) and x.shape == y.shape and x.dtype == y.dtype


def _described(tree: Tree) -> str:
    if isinstance(tree, Tensor):
        return f"a tensor of shape {tuple(tree.shape)}"
    if isinstance(tree, dict):
        return f"a dict of {', '.join(map(str, tree))}"
    return f"a {type(tree).__name__}" + (f" of {len(tree)}" if isinstance(tree, tuple | list) else "")
