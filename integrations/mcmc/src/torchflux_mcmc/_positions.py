"""Positions, which are trees of tensors, as rows of numbers: one row for each chain."""

from math import prod
from typing import Any

import torch
from torch import Tensor

from torchflux import fmap, leaves

__all__ = ["Positions", "Tree"]

Tree = Any


class Positions:
    """How a position's tree is laid out in a row.

    Arguments:
        example: a position; a tensor, or a tree of tensors of one floating dtype.
        chains: whether its tensors have an axis for the chains in front.
    """

    def __init__(self, example: Tree, chains: bool) -> None:
        self.example, self.chains = example, chains
        self.parts = [(path, x) for path, x in leaves(example) if isinstance(x, Tensor)]
        _check(example, self.parts, chains)
        self.shapes = [x.shape[chains:] for _, x in self.parts]
        self.sizes = [prod(shape) for shape in self.shapes]
        self.lanes = len(self.parts[0][1]) if chains else 1

    def rows(self, tree: Tree) -> Tensor:
        """A position, or one for each chain, as rows (chains, n)."""
        parts = [x.detach() for _, x in leaves(tree) if isinstance(x, Tensor)]
        found = [x.shape[self.chains :] for x in parts]
        if found != self.shapes:
            raise ValueError(f"the position has parts of shapes {found}, the first one had {self.shapes}")
        return torch.cat([x.reshape(len(x) if self.chains else 1, -1) for x in parts], -1)

    def tree(self, rows: Tensor, *lead: int) -> Tree:
        """Rows (..., n) as trees whose tensors have the axes `lead` in front."""
        pieces = zip(rows.split(self.sizes, -1), self.shapes, strict=True)
        return self.filled([piece.reshape((*lead, *shape)) for piece, shape in pieces])

    def filled(self, parts: list[Tensor]) -> Tree:
        """The position's tree with these tensors in it."""
        rest = iter(parts)
        return fmap(lambda _: next(rest), self.example, ties=False)

    def back(self, rows: Tensor) -> Tree:
        """Rows as the state shows them: one position, or one for each chain."""
        return self.tree(rows, *([len(rows)] if self.chains else []))


def _check(example: Tree, parts: list[tuple[str, Tensor]], chains: bool) -> None:
    if not parts:
        raise TypeError(f"the position is {example!r}: pass a tensor, or a tree of tensors")
    for path, x in parts:
        name = f"position[{path!r}]" if path else "the position"
        if not x.is_floating_point():
            raise TypeError(f"{name} is {x.dtype}: a position changes continuously, so pass floats")
        if not x.isfinite().all():
            raise ValueError(f"{name} has NaN or inf in it: {x}")
        if chains and x.dim() == 0:
            raise ValueError(f"{name} has no axis for the chains: its leading axis is the chains'")
    if not sum(x.numel() for _, x in parts):
        shapes = [tuple(x.shape) for _, x in parts]
        raise ValueError(f"the position has the shapes {shapes}: there is {'no chain or ' * chains}no number in it")
    if len({x.dtype for _, x in parts}) > 1:
        raise TypeError(f"the position has tensors of {sorted({str(x.dtype) for _, x in parts})}: convert them to one")
    if chains and len({len(x) for _, x in parts}) > 1:
        raise ValueError(f"the position's parts have {[len(x) for _, x in parts]} chains: the leading axis is theirs")
