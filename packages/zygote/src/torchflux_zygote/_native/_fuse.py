"""Array expressions as loops: chains of element-wise operations become one loop over the elements.

Runs on a program that is about to be written, so that the rules of derivatives are rules of arrays, and both sweeps of
a gradient may share a loop. An operation on arrays isn't written where it stands. It joins a nest of loops over its
shape, which waits until something else needs a result or would change what the nest reads. What only the nest itself
reads is never an array.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ._analysis import STORES
from ._ir import Block, Call, Item, Op, Program, Value, blocks, ends, operands, outs, used, walk
from ._lengths import Key
from ._nest import Late, Nest, Node, Touch, Unit
from ._nodes import Known, Nodes
from ._ops import COSTLY, DERIVATIVES
from ._rewrite import clone, substitute, tidy
from ._weave import weave
from ._writer import Writer, rank

__all__ = ["fused"]

VIEWS = {"load", "transposed", "ravel", "reshape"}


def fused(program: Program) -> Program:
    """The program with its array expressions as loops."""
    made = replace(program, block=clone(program.block), sizes={}, derived={})
    known = Known(program)
    known.reads = _reads(program.block)
    _schedule(known, made.block)
    substitute(made.block, known.replaced)
    return tidy(made)


def _schedule(known: Known, block: Block) -> None:
    """Writes a block again, and those in it."""
    with known.inside():
        Schedule(known, block).run()


def _reads(block: Block) -> Counter[Value]:
    """How often each value is read, at any depth."""
    found = Counter(block.results)
    for item in block.items:
        found.update([*operands(item), *([] if isinstance(item, Op | Call) else ends(item))])
        for inner in blocks(item):
            found.update(_reads(Block(inner.items)))
    return found


class Schedule(Nodes):
    """One block: which operations join which nest, and where the nests are written."""

    def __init__(self, fuser: Known, block: Block) -> None:
        self.fuser, self.old = fuser, block
        self.memory, self.parts = fuser.memory, fuser.parts
        self.w = Writer()
        self.users: dict[Value, list[Item | None]] = {}
        for item in block.items:
            for value in used([item]):
                self.users.setdefault(value, []).append(item)
        inside = _reads(block)
        made = [value for item in block.items for value in outs(item)]
        for value in [*block.results, *(v for v in made if inside[v] < fuser.reads[v])]:
            self.users.setdefault(value, []).append(None)
        self.nodes: dict[Value, Node] = {}
        self.pending: dict[Value, Unit] = {}  # what isn't written yet, by what it defines
        self.units: list[Unit] = []
        self.open: dict[tuple[Key, ...], Nest] = {}

    def run(self) -> None:
        """Writes the block again."""
        for item in self.old.items:
            if not (isinstance(item, Op) and self.op(item)):
                self.barrier(item)
                for inner in blocks(item):
                    _schedule(self.fuser, inner)
                self.w.add(item)
        for unit in self.units:
            self.flush(unit)
        self.old.items = self.w.block.items

    def op(self, op: Op) -> bool:
        """Takes an operation over, if it is of a kind that can wait."""
        if op.out is None:
            return False
        if op.name == "shape":
            self.fuser.replaced[op.out] = self.length(self.resolve(op.args[0]), op.attrs)
            return True
        arrays = op.out.is_array or any(arg.is_array for arg in op.args)
        if self.is_view(op) or (not arrays and (op.name in DERIVATIVES or op.name == "cast")):
            return self.wait(op)
        return arrays and self.join(op)

    def is_view(self, op: Op) -> bool:
        """Whether an operation makes another view of an array."""
        if op.name not in VIEWS or op.out is None or not op.out.is_array:
            return False
        return op.name in ("load", "transposed") or rank(op.args[0]) == rank(op.out) == 1

    def wait(self, op: Op) -> bool:
        """Writes an operation, now or behind what it needs."""
        needs = dict.fromkeys(self.pending[arg] for arg in op.args if arg in self.pending)
        if needs:
            assert op.out is not None
            unit = Late(needs, op=op)
            self.units.append(unit)
            self.pending[op.out] = unit
        else:
            self.w.add(op)
        return True

    def barrier(self, item: Item) -> None:
        """Writes what an item needs, and what it might disturb."""
        for value in used([item]):
            if value in self.pending:
                self.flush(self.pending[value])
        inner = list(walk(Block([item])))
        if any(isinstance(x, Call) for x in inner):
            for unit in self.units:
                self.flush(unit)
        raises = any(isinstance(x, Op) and (x.out is None or x.name == "within") for x in inner)
        stored = {self.memory.group(x.args[0]) for x in inner if isinstance(x, Op) and x.name in STORES}
        seen = {self.memory.group(value) for value in used([item]) if value.is_array}
        for nest in self.waiting():
            for touch in nest.touched:
                group = self.memory.group(touch.base)
                visible = raises and touch.writes and group in self.fuser.theirs
                if visible or group in stored or (touch.writes and group in seen):
                    self.flush(nest)
                    break

    def waiting(self) -> list[Nest]:
        """The nests that aren't written yet."""
        return [unit for unit in self.units if isinstance(unit, Nest) and not unit.done]

    # Joining a nest.

    def join(self, op: Op) -> bool:
        """Puts an operation on arrays into a nest, if it is of a kind that goes there."""
        if not self.fits(op):
            return False
        while True:
            node = self.node(op)
            if node is None:
                return False
            nest = self.open.get(node.space)
            if nest is None or nest.done or node.kind == "constant":
                nest = Nest(space=node.space, sizes=node.sizes)
            blockers = self.blockers(node, nest)
            if not blockers:
                break
            for unit in blockers:
                self.flush(unit)
        if nest not in self.units:
            self.units.append(nest)
            if node.kind != "constant":
                self.open[node.space] = nest
        node.costly = op.name in COSTLY or any(inner.costly for inner in node.inner())
        nest.add(node)
        nest.needs |= dict.fromkeys(self.pending[x] for x in node.scalars(nest) if x in self.pending)
        for inner in node.inner():
            inner.absorbed.add(id(op))
            if inner.nest is not nest:
                nest.draws.add(inner.nest)
        self.nodes[node.value] = node
        self.pending[node.value] = nest
        return True

    # What has to be written before a node can join a nest.

    def blockers(self, node: Node, nest: Nest) -> list[Unit]:
        """What keeps a node from joining a nest, and is to be written first."""
        found: dict[Unit, None] = {}
        for x in node.scalars(nest):
            unit = self.pending.get(x)
            if unit is not None and unit.after(nest):
                found[unit] = None
        for inner in node.inner():
            if inner.nest is nest or inner.nest.done:
                continue
            if inner.nest.after(nest) or not self.importable(inner, node):
                found[inner.nest] = None
        touches = list(node.touches(nest))
        for touch in touches:
            unit = self.pending.get(touch.base)
            if unit is not None and not self.lazily(touch.base) and (unit is not nest or not self.stores(touch.base)):
                found[unit] = None
        for other in {**dict.fromkeys(self.waiting()), nest: None}:
            if any(self.conflict(a, b, other is nest) for a in touches for b in other.touched):
                found[other] = None
        return list(found)

    def lazily(self, value: Value) -> bool:
        """Whether an array is a node that others compute for themselves."""
        return value in self.nodes and self.nodes[value].lazy

    def stores(self, value: Value) -> bool:
        """Whether an array is what a store into another one leaves."""
        return value in self.nodes and self.nodes[value].kind == "put"

    def importable(self, inner: Node, node: Node) -> bool:
        """Whether a node of another nest may be computed in this one: once for every element, or cheaply."""
        return inner.kind == "constant" or len(inner.space) == len(node.space) or not inner.costly

    def conflict(self, a: Touch, b: Touch, together: bool) -> bool:
        """Whether two touches of memory have to keep their order, which loops that run together wouldn't."""
        if not a.writes and not b.writes:
            return False
        x, y = self.memory.group(a.base), self.memory.group(b.base)
        if x is not y:  # two arguments may overlap, for all that is known
            return x in self.fuser.theirs and y in self.fuser.theirs
        same = self.memory.storage(a.base) is self.memory.storage(b.base)
        return not (together and same and a.pattern == b.pattern and self.moves(a))

    def moves(self, touch: Touch) -> bool:
        """Whether the place certainly moves with the loops."""
        return not any(isinstance(i, tuple) and i[0] is None for i in touch.pattern)

    # Writing.

    def flush(self, unit: Unit) -> None:
        """Writes a nest or an operation, behind what it needs."""
        if unit.done:
            return
        for need in [need for need in unit.needs if not need.done]:
            self.flush(need)
        if isinstance(unit, Late):
            assert unit.op is not None
            self.w.add(unit.op)
            self.close(unit)
            return
        assert isinstance(unit, Nest)
        self.provide(unit)
        for node in unit.nodes:
            node.kept = node.kept or (node.lazy and self.wanted(node.value, node))
        weave(unit, self.w, self.memory)
        self.close(unit)

    def close(self, unit: Unit) -> None:
        """Notes that a unit is written."""
        unit.done = True
        self.pending = {value: other for value, other in self.pending.items() if other is not unit}

    def provide(self, nest: Nest) -> None:
        """Writes what a nest would compute of other nests, where it is needed elsewhere too."""
        todo = list(nest.nodes)
        seen = set(todo)
        for node in todo:
            for inner in node.inner():
                other = inner.nest
                if inner in seen or other is nest or other.done or other.after(nest):
                    continue
                seen.add(inner)
                if self.wanted(inner.value, inner) or (inner.costly and not self.only(inner, nest)):
                    inner.kept = True
                    self.flush(other)
                else:
                    todo.append(inner)

    def only(self, node: Node, nest: Nest) -> bool:
        """Whether a node serves one other nest alone."""
        todo = [node]
        seen = set(todo)
        for inner in todo:
            for user in self.users.get(inner.value, []):
                reader = self.nodes.get(user.out) if isinstance(user, Op) and user.out is not None else None
                if reader is None or (reader.nest is not nest and not reader.lazy):
                    return False
                if reader.nest is not nest and reader not in seen:
                    seen.add(reader)
                    todo.append(reader)
        return True

    def wanted(self, value: Value, node: Node) -> bool:
        """Whether something else reads an array of a node's elements, by this name or as a view."""
        for user in self.users.get(value, []):
            if user is None or not isinstance(user, Op):
                return True
            if id(user) in node.absorbed or user.name == "shape":
                continue
            if not self.is_view(user) or user.out is None or self.wanted(user.out, node):
                return True
        return False
