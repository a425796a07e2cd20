"""Writes a nest as loops: the elements of its nodes one after the other, and what becomes of them."""

from __future__ import annotations

from typing import Any

from ._access import Access
from ._analysis import Memory
from ._ir import F32, INT, Array, Block, For, Op, Scalar, Value
from ._nest import Axes, Nest, Node, Operand, Place
from ._writer import Writer, literal, rank, same_type

__all__ = ["weave"]

IDENTITY = {"copy", "store", "fill", "unbroadcast", "cast"}
RENAMED = {"accum": "add", "outer": "mul", "max": "maximum", "min": "minimum"}


def weave(nest: Nest, w: Writer, memory: Memory) -> None:
    """Adds the loops of a nest, for the nodes that are kept and for those that sum or store."""
    live = [node for node in nest.nodes if node.kept or not node.lazy]
    if len(live) == 1 and live[0].kind == "constant":
        name = "ones" if live[0].op.name == "ones" else "zeros"
        w.add(Op(name, nest.sizes, live[0].value, str(_dtype(live[0].value))))
    elif len(live) == 1 and live[0].copies:
        w.add(live[0].op)
    elif live:
        _Weaver(nest, w, memory).write(live)


def _dtype(value: Value) -> Scalar:
    """The number type of an array or a number."""
    return value.type.dtype if isinstance(value.type, Array) else value.type


class _Weaver:
    """Writes one nest."""

    def __init__(self, nest: Nest, w: Writer, memory: Memory) -> None:
        self.nest, self.w, self.memory = nest, w, memory
        self.now: dict[Value, Value] = {}  # an array as it is in the loop
        self.known: dict[Any, Value] = {}

    def write(self, live: list[Node]) -> None:
        """The loops, and before them the arrays that they fill."""
        slots: dict[Value, int] = {}  # what a node makes, to its place among what the loops carry
        inits: list[Value] = []
        ends: list[Value] = []
        storage: dict[Value, int] = {}
        for node in live:
            root = None
            if node.kind == "put":
                assert node.target is not None
                assert isinstance(node.target.source, Access)
                root = self.memory.storage(node.target.source.base)
                if root in storage:
                    ends[storage[root]] = node.value
                    slots[node.value] = storage[root]
                    continue
                storage[root] = len(inits)
            slots[node.value] = len(inits)
            inits.append(self.start(node))
            ends.append(node.value)
        self.level(0, inits, ends, [], slots, live)

    def start(self, node: Node) -> Value:
        """What the loops begin with: an array to fill, or zero."""
        type = node.value.type
        if node.kind == "put":
            assert node.target is not None
            assert isinstance(node.target.source, Access)
            return node.target.source.base
        if not isinstance(type, Array):
            return Value(type, node.value.name, const=0.0 if type.kind == "f" else 0)
        made = Value(type, node.value.name)
        name, sizes = ("zeros", node.made) if node.kind == "scatter" else ("empty", node.sizes)
        self.w.add(Op(name, sizes, made, str(type.dtype)))
        return made

    def level(
        self,
        depth: int,
        inits: list[Value],
        ends: list[Value],
        place: list[Value],
        slots: dict[Value, int],
        live: list[Node],
    ) -> None:
        """The loop along one axis, and those in it; it leaves `ends`."""
        heads = [Value(end.type, end.name) for end in ends]
        index = Value(INT, "ij"[depth] if depth < 2 else "k")
        body = Block()
        with self.w.inside(body):
            if depth + 1 < len(self.nest.space):
                body.results = [Value(end.type, end.name) for end in ends]
                self.level(depth + 1, heads, body.results, [*place, index], slots, live)
            else:
                body.results = self.body((*place, index), list(heads), slots, live)
        self.w.add(For(index, literal(0), self.nest.sizes[depth], literal(1), heads, inits, body, ends))

    def body(self, place: Place, carried: list[Value], slots: dict[Value, int], live: list[Node]) -> list[Value]:
        """The innermost loop's body; what it carries on."""
        self.place, axes = place, tuple(range(len(place)))
        wanted = set(live)
        for node in self.nest.nodes:
            if node.lazy:
                x = self.element(node, place, axes)  # what nobody reads is left out afterwards
            if node not in wanted:
                continue
            k = slots[node.value]
            if node.lazy:
                carried[k] = self.put(carried[k], "store", x, place)
            else:
                carried[k] = self.sink(node, place, axes, carried[k])
            if carried[k].is_array:
                self.now[node.value] = carried[k]
        return carried

    def sink(self, node: Node, place: Place, axes: Axes, carried: Value) -> Value:
        """Adds or stores an element where it belongs."""
        x = self.read(node.operands[0], place, axes)
        if node.kind == "sum":
            out = Value(carried.type, node.value.name)
            self.w.add(Op("add", (carried, x), out))
            return out
        assert node.target is not None
        there = node.target.at(self.w, place, node.target.moves(node.target.roots(axes), self.nest.space), place)
        if node.kind == "scatter":
            return self.put(carried, "accum", x, there)
        assert isinstance(node.target.source, Access)
        return self.put(carried, node.op.name, x, node.target.source.at(self.w, there))

    def put(self, array: Value, name: str, x: Value, place: Place) -> Value:
        """`array[place] = x`, or `+= x`."""
        out = Value(array.type, array.name)
        self.w.add(Op(name, (array, x, *place), out, (("i",) * rank(array),)))
        return out

    def read(self, operand: Operand, place: Place, axes: Axes) -> Value:
        """The element of an operand, for the node's element at a place."""
        source = operand.source
        if isinstance(source, Value):
            return source
        roots = operand.roots(axes)
        there = operand.at(self.w, place, operand.moves(roots, self.nest.space), self.place)
        if isinstance(source, Access):
            return self.load(source.base, source.at(self.w, there))
        if source.nest.done and source.kept:
            return self.load(source.value, there)
        return self.element(source, there, roots)

    def load(self, array: Value, place: Place) -> Value:
        """An element of an array."""
        key = (array, *(i if i.const is None else i.const for i in place))
        if key not in self.known:
            self.known[key] = out = Value(_dtype(array), array.name)
            self.w.add(Op("load", (self.now.get(array, array), *place), out, (("i",) * rank(array),)))
        return self.known[key]

    def element(self, node: Node, place: Place, axes: Axes) -> Value:
        """An element of a node, at a place that runs along some axes of the nest."""
        key = (node, *(i if i.const is None else i.const for i in place))
        if key not in self.known:
            self.known[key] = self.computed(node, place, axes)
        return self.known[key]

    def computed(self, node: Node, place: Place, axes: Axes) -> Value:
        """An element as the node's operation makes it."""
        dtype, name = _dtype(node.value), node.op.name
        if node.kind == "constant":
            return self.w.cast(literal(1 if name == "ones" else 0), dtype)
        values = [self.read(x, place, axes) for x in node.operands]
        if name in IDENTITY:
            return self.w.cast(values[0], dtype)
        if dtype == F32:
            values = [self.narrow(x) for x in values]
        found = self.w.op(RENAMED.get(name, name), *values)
        return found if same_type(found.type, dtype) else self.w.cast(found, dtype)

    def narrow(self, x: Value) -> Value:
        """A number as wide as those of the array that it goes into."""
        assert isinstance(x.type, Scalar)
        return self.w.cast(x, F32) if x.type.kind == "f" else x
