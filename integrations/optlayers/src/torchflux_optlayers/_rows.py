"""Trees as rows of numbers: what every solver works on."""

from collections.abc import Iterator
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from torchflux import fmap, leaves, trainables

__all__ = ["per_sample"]

Tree = Any


class PerSample:
    """A part of `args` that has one entry for each element of a batch."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


def per_sample(x: Tensor) -> PerSample:
    """Marks a tensor in `args` whose leading axis is the batch: the function gets the rows of the elements it is for.

    With everything of the kind marked, elements that have converged are left out of the work.

    >>> per_sample(torch.zeros(3, 2)).value.shape
    torch.Size([3, 2])
    """
    return PerSample(x)


def picked(args: Tree, rows: Tensor | None) -> Tree:
    """`args` for some elements of the batch, or all of them."""
    pick = (lambda x: x.value) if rows is None else (lambda x: x.value[rows])
    return fmap(pick, args, leaf=lambda x: isinstance(x, PerSample), ties=False)


class Rows:
    """The layout of a tree in rows (rows, n): one row for each element of a batch, or one in all.

    What is solved for is what trains (`torchflux.trainables`), and the floats; the rest of the tree stays.
    """

    def __init__(self, y0: Tree, batched: bool) -> None:
        self.tree = fmap(_own, y0, leaf=_is_number, ties=False)
        self.batched, self.parts = batched, trainables(self.tree)
        if not self.parts:
            raise TypeError(f"y0 is {_described(y0)}: there is no floating-point number in it to solve for")
        if any(x.is_complex() for x in self.parts):
            raise TypeError("y0 is complex: pass real and imaginary parts as two tensors")
        if wrong := {x.dtype for x in self.parts} - {torch.float32, torch.float64}:
            raise TypeError(f"y0 is {wrong.pop()}: convert it to float32 or float64")
        self.shapes = [x.shape[1:] if batched else x.shape for x in self.parts]
        self.sizes = [shape.numel() for shape in self.shapes]
        self.count = _batch(self.parts) if batched else 1
        self.modular = any(isinstance(x, nn.Parameter) for x in self.parts) and not isinstance(self.tree, Tensor)
        self.dtypes = {x.dtype for x in self.parts}
        self.dtype = reduce(torch.promote_types, self.dtypes)

    def start(self) -> Tensor:
        """`y0` as rows."""
        return self.ravel(self.parts, self.count)

    def ravel(self, parts: list[Tensor], rows: int) -> Tensor:
        """Tensors as rows (rows, m), next to each other."""
        flat = [x.reshape(rows, x.numel() // rows if rows else x.shape[self.batched :].numel()) for x in parts]
        return flat[0].to(self.dtype) if len(flat) == 1 else torch.cat([x.to(self.dtype) for x in flat], -1)

    def unravel(self, y: Tensor) -> Tree:
        """Rows as the tree that they stand for, in the dtypes of `y0`."""
        lead = y.shape[:1] if self.batched else ()
        if isinstance(self.tree, Tensor):
            return y.reshape((*lead, *self.shapes[0]))
        pieces = zip(self.parts, self.shapes, y.split(self.sizes, -1), strict=True)
        new = {id(x): piece.reshape((*lead, *shape)).to(x.dtype) for x, shape, piece in pieces}
        return fmap(lambda x: new.get(id(x), x), self.tree)

    def alike(self, tree: Tree, rows: int, name: str) -> Tensor:
        """Another tree as rows, which has to be laid out as `y0` is."""
        found: list[Tensor] = []
        due = {
            id(x): (rows, *shape) if self.batched else shape for x, shape in zip(self.parts, self.shapes, strict=True)
        }

        def collect(x: Tensor, other: Any) -> Tensor:
            if id(x) in due:
                if not isinstance(other, Tensor) or tuple(other.shape) != tuple(due[id(x)]):
                    raise ValueError(f"{tuple(due[id(x)])} is due, and there is {_described(other)}")
                if other.dtype != x.dtype:
                    raise TypeError(f"{name} returned {other.dtype}, and y0 is {x.dtype}: convert one of them")
                found.append(other)
            return x

        try:
            fmap(collect, self.tree, tree)
        except (ValueError, KeyError) as error:
            raise ValueError(f"{name} returned something that isn't laid out like y0: {error}") from None
        return self.ravel(found, rows)

    def spread(self, tree: Tree, fill: float) -> Tensor:
        """Bounds as rows: a number for all, or a tree like `y0` of numbers, tensors that fit, and `None` for `fill`."""
        found: list[Tensor] = []

        def collect(x: Tensor, other: Any) -> Tensor:
            if any(x is part for part in self.parts):
                other = fill if other is None else other
                given = other if isinstance(other, Tensor) else torch.tensor(other, dtype=x.dtype, device=x.device)
                found.append(given.to(x.dtype).expand(x.shape))
            return x

        if tree is None or isinstance(tree, float | int):
            tree = fmap(lambda x: fill if tree is None else float(tree), self.tree, ties=False)
        try:
            fmap(collect, self.tree, tree)
        except (ValueError, KeyError, RuntimeError) as error:
            raise ValueError(f"the bounds don't fit y0: {error}") from None
        return self.ravel(found, self.count)


def tensors(tree: Tree) -> Iterator[Tensor]:
    """The tensors of a tree."""
    return (x for _, x in leaves(tree) if isinstance(x, Tensor))


def _is_number(x: Any) -> bool:
    return isinstance(x, float) or (isinstance(x, Tensor) and not isinstance(x, nn.Parameter))


def _own(x: Any) -> Tensor:
    """A tensor of its own for each place: only parameters that are tied stay the same unknown."""
    return x.view_as(x) if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64)


def _batch(parts: list[Tensor]) -> int:
    """The length that all leading axes have."""
    lengths = {len(x) if x.dim() else None for x in parts}
    if len(lengths) > 1 or None in lengths:
        shapes = ", ".join(str(tuple(x.shape)) for x in parts)
        raise ValueError(f"batched=True, and y0 has the shapes {shapes}: all need the batch as their leading axis")
    return int(lengths.pop() or 0)


def _described(tree: Tree) -> str:
    return (
        f"a tensor of shape {tuple(tree.shape)}, {tree.dtype}"
        if isinstance(tree, Tensor)
        else f"a {type(tree).__name__}"
    )
