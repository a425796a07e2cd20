"""Positions, which are trees of tensors, as rows of numbers: one row for each chain."""

from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from torchflux import children, fmap

__all__ = ["Positions", "Tree", "sampled"]

Tree = Any


class Positions:
    """How a position's tree is laid out in a row: all tensors, and of modules the parameters that train, each once.

    Arguments:
        example: a position; a tensor, or a tree of tensors of one floating dtype.
        chains: whether its tensors have an axis for the chains in front.
    """

    def __init__(self, example: Tree, chains: bool) -> None:
        # a parameter in two places is one part; any other tensor in two places is two
        self.example = fmap(lambda x: x if isinstance(x, nn.Parameter) else x.detach(), example, ties=False)
        self.chains, self.parts = chains, sampled(self.example)
        _check(example, self.parts, chains)
        self.shapes = [x.shape[chains:] for _, x in self.parts]
        self.sizes = [prod(shape) for shape in self.shapes]
        self.lanes = len(self.parts[0][1]) if chains else 1

    def rows(self, tree: Tree) -> Tensor:
        """A position, or one for each chain, as rows (chains, n)."""
        parts = [x.detach() for _, x in sampled(tree)]
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
        new = {id(old): x for (_, old), x in zip(self.parts, parts, strict=True)}
        return fmap(lambda old: new.get(id(old), old), self.example)

    def back(self, rows: Tensor) -> Tree:
        """Rows as the state shows them: one position, or one for each chain."""
        return self.tree(rows, *([len(rows)] if self.chains else []))


def sampled(tree: Tree) -> list[tuple[str, Tensor]]:
    """The tensors of a position with their paths, without buffers and frozen parameters; those that are tied once."""
    found: dict[Any, tuple[str, Tensor]] = {}
    for path, x in _tensors(tree, ""):
        if isinstance(x, nn.Parameter):
            if x.requires_grad:
                found.setdefault(id(x), (path, x))
        else:
            found[path] = path, x
    return list(found.values())


def _tensors(node: Tree, path: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor but modules' buffers, in the order of the tree's leaves."""
    if isinstance(node, Tensor):
        yield path, node
        return
    for name, part in children(node).items():
        if not (isinstance(node, nn.Module) and name in node._buffers):
            yield from _tensors(part, f"{path}.{name}" if path else str(name))


def _check(example: Tree, parts: list[tuple[str, Tensor]], chains: bool) -> None:
    if not parts:
        raise TypeError(f"the position is {example!r}: pass a tensor, or a tree of tensors, not all of them frozen")
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
