"""Nests of loops that are being put together: their nodes are operations on arrays, one element at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ._access import Access
from ._ir import Op, Value
from ._lengths import Key
from ._writer import Writer, literal

__all__ = ["Axes", "Late", "Nest", "Node", "Operand", "Place", "Touch", "Unit"]

Place = tuple[Value, ...]
Axes = tuple[int | None, ...]


@dataclass(eq=False)
class Operand:
    """What a node reads: a number, another node, or a part of an array.

    `axes` are the node's axes along which its own run (`None`: a length of one); where it may turn out that a length
    is one, `strides` has a value that is 0 then, and 1 otherwise.
    """

    source: Value | Node | Access
    shape: tuple[Key, ...] = ()
    axes: Axes = ()
    strides: tuple[Value | None, ...] = ()

    def roots(self, axes: Axes) -> Axes:
        """The axes of a nest from which its own places come, from those of the node's."""
        return tuple(None if axis is None else axes[axis] for axis in self.axes)

    def moves(self, roots: Axes, space: tuple[Key, ...]) -> Axes:
        """The axes of a nest along which its own certainly run.

        A length that equals that of the nest is the nest's, whatever it is broadcast to in between.
        """
        pairs = zip(self.shape, roots, strict=True)
        return tuple(root if root is not None and key == space[root] else None for key, root in pairs)

    def at(self, w: Writer, place: Place, moves: Axes, nest: Place) -> Place:
        """The place of its element: the nest's own along the axes `moves`, and elsewhere from the node's."""
        found = []
        for axis, stride, own in zip(self.axes, self.strides, moves, strict=True):
            i = literal(0) if axis is None else place[axis] if own is None else nest[own]
            slow = stride is not None and own is None and i.const is None
            found.append(w.op("mul", i, stride) if slow and stride is not None else i)
        return tuple(found)


@dataclass(frozen=True)
class Touch:
    """Memory that a nest reads or writes, and how its place moves with the loops."""

    base: Value
    pattern: tuple[object, ...]
    writes: bool


@dataclass(eq=False)
class Node:
    """An operation in a nest.

    Of the kinds "element" (an array, element by element), "constant" (an array of one number), "sum", "scatter" (adds
    to the elements of a new, smaller array) and "put" (stores into an array that is there).
    """

    op: Op
    kind: str
    operands: list[Operand]
    space: tuple[Key, ...]
    sizes: tuple[Value, ...]
    target: Operand | None = None  # where a scatter adds (its source is of no account), and a put stores
    made: tuple[Value, ...] = ()  # the lengths of what a scatter makes
    nest: Nest = field(init=False)
    kept: bool = False  # in memory, for others to read
    costly: bool = False  # whether it takes long to compute, with all that it is computed from
    absorbed: set[int] = field(default_factory=set)  # the operations that read its elements as they are computed

    @property
    def value(self) -> Value:
        """What it makes."""
        assert self.op.out is not None
        return self.op.out

    @property
    def lazy(self) -> bool:
        """Whether its elements can be had one by one."""
        return self.kind in ("element", "constant")

    @property
    def copies(self) -> bool:
        """Whether it is no more than a copy of an array."""
        first = self.operands[0].source if self.operands else None
        return self.op.name == "copy" and isinstance(first, Access) and first.base is self.op.args[0] and first.whole

    def inner(self) -> Iterator[Node]:
        """The nodes that it reads."""
        return (x.source for x in self.operands if isinstance(x.source, Node))

    def reached(self, nest: Nest) -> Iterator[tuple[Node, Axes]]:
        """It, and the nodes of other nests that it is computed from, with the axes of a nest that theirs come from."""
        todo: list[tuple[Node, Axes]] = [(self, tuple(range(len(self.space))))]
        seen = set(todo)
        for node, axes in todo:
            yield node, axes
            for x in node.operands:
                if isinstance(x.source, Node) and x.source.nest is not nest:
                    following = x.source, x.roots(axes)
                    if following not in seen:
                        seen.add(following)
                        todo.append(following)

    def scalars(self, nest: Nest) -> Iterator[Value]:
        """The numbers that it reads in a nest, itself or through nodes of other nests."""
        for node, _ in self.reached(nest):
            yield from (x.source for x in node.operands if isinstance(x.source, Value))

    def touches(self, nest: Nest) -> Iterator[Touch]:
        """The memory that it reads or writes in a nest, itself or through nodes of other nests."""
        for node, axes in self.reached(nest):
            if node is not self:
                yield Touch(node.value, axes, False)
            for x in node.operands:
                if isinstance(x.source, Access):
                    yield Touch(x.source.base, x.source.pattern(x.moves(x.roots(axes), nest.space)), False)
        if self.kind == "put":
            assert self.target is not None
            assert isinstance(self.target.source, Access)
            moves = self.target.moves(self.target.roots(tuple(range(len(nest.space)))), nest.space)
            yield Touch(self.target.source.base, self.target.source.pattern(moves), True)


@dataclass(eq=False)
class Unit:
    """Something that isn't written yet; what has to be written before, and what may have to be."""

    needs: dict[Unit, None] = field(default_factory=dict)
    draws: set[Unit] = field(default_factory=set)
    done: bool = False

    def after(self, other: Unit) -> bool:
        """Whether it may have to wait for another one."""
        todo: list[Unit] = [self]
        seen: set[Unit] = set(todo)
        for unit in todo:
            more = {x for x in unit.needs.keys() | unit.draws if not x.done} - seen
            seen |= more
            todo += more
        return other in seen and not self.done and not other.done


@dataclass(eq=False)
class Late(Unit):
    """An operation on numbers, or a view, of what isn't written yet."""

    op: Op | None = None


@dataclass(eq=False)
class Nest(Unit):
    """Loops over a shape."""

    space: tuple[Key, ...] = ()
    sizes: tuple[Value, ...] = ()
    nodes: list[Node] = field(default_factory=list)
    touched: list[Touch] = field(default_factory=list)

    def add(self, node: Node) -> None:
        """Adds a node behind the others."""
        node.nest = self
        self.nodes.append(node)
        self.touched += node.touches(self)
