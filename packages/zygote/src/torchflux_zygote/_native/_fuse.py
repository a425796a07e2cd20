"""Array expressions as loops: chains of element-wise operations become one loop over the elements.

Runs on a program that is about to be written, so that the rules of derivatives are rules of arrays, and both sweeps of
a gradient may share a loop. An operation on arrays isn't written where it stands. It joins a nest of loops over its
shape, which waits until something else needs a result or would change what the nest reads. What only the nest itself
reads is never an array.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from ._access import Access, Parts, part
from ._analysis import STORES, Memory
from ._arrays import part_type
from ._ir import F32, INT, Array, Block, Call, Item, Op, Program, Value, blocks, ends, operands, outs, used, walk
from ._nest import Late, Nest, Node, Operand, Touch, Unit
from ._ops import COSTLY, DERIVATIVES
from ._rewrite import clone, substitute, tidy
from ._shapes import Key, broadcast
from ._weave import weave
from ._writer import Writer, literal, rank

__all__ = ["fused"]

BY_ELEMENT = DERIVATIVES.keys() - {"mod", "floordiv", "round", "floor", "ceil", "trunc", "int", "lshift", "rshift"}
"""What is computed in the same way for a number and for each element of an array."""
Lengths = Callable[[Writer], Value]
VIEWS = {"load", "transposed", "ravel", "reshape"}


def fused(program: Program) -> Program:
    """The program with its array expressions as loops."""
    made = replace(program, block=clone(program.block), sizes={}, derived={})
    fuser = _Fuser(program)
    fuser.block(made.block)
    substitute(made.block, fuser.replaced)
    return tidy(made)


class _Fuser:
    """What is known of the whole program."""

    def __init__(self, program: Program) -> None:
        self.memory = Memory(program.block)
        self.parts = Parts(program, self.memory)
        self.theirs = {self.memory.group(p) for p in program.params if p.is_array}
        self.reads = _reads(program.block)
        self.solid = program.solid
        self.scopes: list[dict[Key, Value]] = []  # the lengths that have been written, by block
        self.same: list[dict[Key, Key]] = []  # the lengths that have been found to be others, by block
        self.replaced: dict[Value, Value] = {}

    def block(self, block: Block) -> None:
        """Schedules a block and those in it."""
        self.scopes.append({})
        self.same.append({})
        _Schedule(self, block).run()
        self.scopes.pop()
        self.same.pop()

    def canonical(self, key: Key) -> Key:
        """The key that stands for all that are equal to this one here."""
        if isinstance(key, frozenset):
            (key,) = broadcast([(self.canonical(k),) for k in key])
            return next((k for k in key if self.never_one(k)), key) if isinstance(key, frozenset) else key
        if isinstance(key, tuple) and key[0] == "cut":
            return ("cut", self.canonical(key[1]), key[2])
        other = next((same[key] for same in self.same if key in same), None)
        return key if other is None else self.canonical(other)

    def never_one(self, key: Key) -> bool:
        """Whether a length certainly isn't one, so that it can't be broadcast."""
        return key != 1 if isinstance(key, int) else isinstance(key, tuple) and key[0] in self.solid


def _reads(block: Block) -> Counter[Value]:
    """How often each value is read, at any depth."""
    found = Counter(block.results)
    for item in block.items:
        found.update([*operands(item), *([] if isinstance(item, Op | Call) else ends(item))])
        for inner in blocks(item):
            found.update(_reads(Block(inner.items)))
    return found


class _Schedule:
    """One block: which operations join which nest, and where the nests are written."""

    def __init__(self, fuser: _Fuser, block: Block) -> None:
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
                    self.fuser.block(inner)
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
        needs = {self.pending[arg] for arg in op.args if arg in self.pending}
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
        nest.add(node)
        nest.needs |= {self.pending[x] for x in node.scalars() if x in self.pending}
        for inner in node.inner():
            inner.absorbed.add(id(op))
            if inner.nest is not nest:
                nest.draws.add(inner.nest)
        self.nodes[node.value] = node
        self.pending[node.value] = nest
        return True

    def fits(self, op: Op) -> bool:
        """Whether an operation has the same result as numbers, element by element."""
        assert op.out is not None
        if op.name not in BY_ELEMENT or op.name == "where":
            return op.name in RULES or op.name == "where"
        dtype = op.out.type.dtype if isinstance(op.out.type, Array) else op.out.type
        taken = [arg.type.dtype for arg in op.args if isinstance(arg.type, Array)]
        if dtype.kind == "i" and (op.name in ("pow", "div") or any(t.kind == "b" for t in taken)):
            return False
        return dtype != F32 or all(t == F32 for t in taken)

    def node(self, op: Op) -> Node | None:
        """The operation as a node, if its operands allow it."""
        if op.name in BY_ELEMENT:
            return self.elementwise(op)
        rule: str = RULES[op.name]
        made: Node | None = getattr(self, rule)(op)
        return made

    def elementwise(self, op: Op) -> Node:
        """An element-wise operation, over what its operands broadcast to."""
        sources = [self.resolve(arg) if arg.is_array else arg for arg in op.args]
        arrays = [x for x in sources if not isinstance(x, Value)]
        space = self.joined(arrays, op.place)
        sizes = tuple(self.whole(arrays, space, axis) for axis in range(len(space)))
        return Node(op, "element", [self.operand(x, space, sizes) for x in sources], space, sizes)

    def filled(self, op: Op) -> Node | None:
        """What is broadcast to the shape of another array."""
        like, value = self.resolve(op.args[0]), op.args[1]
        return self.spread(op, like, [self.resolve(value) if value.is_array else value])

    def spread(self, op: Op, like: Node | Access, sources: list[Value | Node | Access]) -> Node | None:
        """An element-wise operation, in the shape of an array."""
        space = self.shape(like)
        if any(not isinstance(x, Value) and len(self.shape(x)) > len(space) for x in sources):
            return None
        sizes = tuple(self.length(like, k) for k in range(len(space)))
        return Node(op, "element", [self.operand(x, space, sizes) for x in sources], space, sizes)

    def constant(self, op: Op) -> Node:
        """An array of zeros or ones."""
        assert op.out is not None
        if op.name == "zeros_like":
            like = self.resolve(op.args[0])
            space = self.shape(like)
            sizes = tuple(self.length(like, k) for k in range(len(space)))
        else:
            space, sizes = tuple(map(self.fuser.canonical, self.parts.keys(op.args))), op.args
        return Node(op, "constant", [], space, sizes)

    def outer(self, op: Op) -> Node:
        """An outer product."""
        a, b = (self.resolve(arg) for arg in op.args)
        space = (*self.shape(a), *self.shape(b))
        sizes = (self.length(a, 0), self.length(b, 0))
        operands = [Operand(x, self.shape(x), (axis,), (None,)) for axis, x in enumerate((a, b))]
        return Node(op, "element", operands, space, sizes)

    def total(self, op: Op) -> Node:
        """A sum of all elements."""
        node = self.elementwise(op)
        node.kind = "sum"
        return node

    def along(self, op: Op) -> Node:
        """A sum along an axis."""
        node = self.elementwise(op)
        axes = tuple(k for k in range(len(node.space)) if k != op.attrs)
        made = tuple(node.space[k] for k in axes)
        node.kind, node.target = "scatter", Operand(literal(0), made, axes, (None,) * len(axes))
        node.made = tuple(node.sizes[k] for k in axes)
        return node

    def unbroadcast(self, op: Op) -> Node | None:
        """A sum over what was broadcast."""
        node = self.elementwise(replace(op, args=op.args[:1]))
        node.op = op
        shape = tuple(map(self.fuser.canonical, self.parts.keys(op.args[1:])))
        if len(shape) > len(node.space):
            return None
        target = self.aligned(literal(0), shape, op.args[1:], node.space, node.sizes)
        if target.axes == tuple(range(len(node.space))) and not any(target.strides):
            return node
        node.kind, node.made, node.target = "scatter", op.args[1:], target
        return node

    def stored(self, op: Op) -> Node | None:
        """A store, into an array that is there or into one that is about to be made."""
        array, value = op.args[:2]
        if not isinstance(part_type(array.type, op.attrs), Array):
            return None
        source = self.resolve(value) if value.is_array else value
        into = self.resolve(array)
        if isinstance(into, Node):
            if op.attrs == (("s000",) * rank(array),):
                return self.spread(op, into, [source] if op.name == "store" else [into, source])
            self.flush(into.nest)
        target = part(self.parts.own(array), op.attrs, op.args[2:])
        if target is None:
            return None
        node = self.spread(op, target, [source])
        if node is not None:
            axes = tuple(range(len(node.space)))
            node.kind, node.target = "put", Operand(target, node.space, axes, (None,) * len(axes))
        return node

    # Operands and shapes.

    def resolve(self, array: Value) -> Node | Access:
        """What an array is read from: a node that isn't written, or memory."""
        found = self.parts.access(array)
        unit = self.pending.get(found.base)
        if isinstance(unit, Late):
            self.flush(unit)
        node = self.nodes.get(found.base)
        if node is None or not node.lazy or node.kept:
            return found
        if found.whole:
            return node
        self.flush(node.nest)
        return found

    def shape(self, x: Node | Access) -> tuple[Key, ...]:
        """The lengths of an array, as keys."""
        return tuple(map(self.fuser.canonical, x.space if isinstance(x, Node) else x.shape))

    def joined(self, arrays: list[Node | Access], place: str) -> tuple[Key, ...]:
        """What arrays broadcast to; lengths that can't be broadcast have to be equal."""
        firm: dict[int, tuple[Key, Value]] = {}
        for x in arrays:
            shape = self.shape(x)
            for k, key in enumerate(shape):
                if self.fuser.never_one(key):
                    n = self.length(x, k)
                    self.unite(*firm.setdefault(k - len(shape), (key, n)), key, n, place)
        return tuple(map(self.fuser.canonical, broadcast([self.shape(x) for x in arrays])))

    def unite(self, a: Key, n: Value, b: Key, m: Value, place: str) -> None:
        """Checks that two lengths are equal; from here on they are one."""
        a, b = self.fuser.canonical(a), self.fuser.canonical(b)
        if a == b:
            return
        for nest in self.waiting():
            if any(touch.writes and self.memory.group(touch.base) in self.fuser.theirs for touch in nest.touched):
                self.flush(nest)
        self.w.effect("equal", n, m, place=place)
        if isinstance(a, int) or (not isinstance(b, int) and any(b in space for space in self.open)):
            a, b = b, a  # the one that stays is that of the loops that there are
        if isinstance(a, int):
            a, b = b, a
        self.fuser.same[-1][b] = a

    def length(self, x: Node | Access, axis: int) -> Value:
        """A length of an array."""
        key = (x.space if isinstance(x, Node) else x.shape)[axis]  # its own: what it equals may have no value yet
        if isinstance(x, Node):
            return self.written(key, lambda w: x.sizes[axis])
        made = self.nodes.get(x.base)
        if made is not None and made.made and x.whole:
            return self.written(key, lambda w: made.made[axis])
        return self.written(key, x.sizes[axis])

    def written(self, key: Key, write: Lengths) -> Value:
        """The value of a length, written unless it is there."""
        if isinstance(key, int):
            return literal(key)
        for scope in self.fuser.scopes:
            if key in scope:
                return scope[key]
        found = self.fuser.scopes[-1][key] = write(self.w)
        return found

    def whole(self, arrays: list[Node | Access], space: tuple[Key, ...], axis: int) -> Value:
        """The length of what arrays broadcast to."""
        parts: dict[Key, Value] = {}
        for x in arrays:
            k = axis - len(space) + len(self.shape(x))
            if k >= 0 and self.shape(x)[k] != 1:
                parts[self.shape(x)[k]] = self.length(x, k)
        if not parts:
            return literal(1)
        if space[axis] in parts:
            return self.written(space[axis], lambda w: parts[space[axis]])
        first, *rest = parts.values()

        def joined(w: Writer) -> Value:
            n = first
            for other in rest:
                n = w.emit("broadcast", INT, n, other, hint="n")
            return n

        return self.written(space[axis], joined)

    def operand(self, x: Value | Node | Access, space: tuple[Key, ...], sizes: tuple[Value, ...]) -> Operand:
        """An operand of a node over a space, to which it is broadcast."""
        if isinstance(x, Value):
            return Operand(x)
        shape = self.shape(x)
        return self.aligned(x, shape, tuple(self.length(x, k) for k in range(len(shape))), space, sizes)

    def aligned(
        self,
        x: Value | Node | Access,
        shape: tuple[Key, ...],
        own: tuple[Value, ...],
        space: tuple[Key, ...],
        sizes: tuple[Value, ...],
    ) -> Operand:
        """Its axes along the last ones of the space."""
        axes: list[int | None] = []
        strides: list[Value | None] = []
        for k, key in enumerate(shape):
            axis = k + len(space) - len(shape)
            if self.fuser.never_one(key) and self.fuser.never_one(space[axis]):
                self.unite(space[axis], sizes[axis], key, own[k], "")
                key = space[axis]
            still = key == 1
            axes.append(None if still else axis)
            same = still or key == space[axis]
            strides.append(None if same else self.stride(key, own[k], space[axis], sizes[axis]))
        return Operand(x, shape, tuple(axes), tuple(strides))

    def stride(self, key: Key, n: Value, whole: Key, size: Value) -> Value:
        """1, or 0 where a length of one stands for another."""
        return self.written(("stride", key, whole), lambda w: w.emit("stride", INT, n, size, hint="stride"))

    # What has to be written before a node can join a nest.

    def blockers(self, node: Node, nest: Nest) -> list[Unit]:
        """What keeps a node from joining a nest, and is to be written first."""
        found: dict[Unit, None] = {}
        for x in node.scalars():
            unit = self.pending.get(x)
            if unit is not None and unit.after(nest):
                found[unit] = None
        for inner in node.inner():
            if inner.nest is nest or inner.nest.done:
                continue
            if inner.nest.after(nest) or not self.importable(inner, node):
                found[inner.nest] = None
        touches = list(node.touches(node.space))
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
        return inner.kind == "constant" or len(inner.space) == len(node.space) or not self.costly(inner)

    def costly(self, node: Node) -> bool:
        """Whether a node takes long to compute."""
        return node.op.name in COSTLY or any(map(self.costly, node.inner()))

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
        for node in unit.nodes:
            self.provide(node, unit)
        for node in unit.nodes:
            node.kept = node.kept or (node.lazy and self.wanted(node.value, node))
        weave(unit, self.w, self.memory)
        self.close(unit)

    def close(self, unit: Unit) -> None:
        """Notes that a unit is written."""
        unit.done = True
        self.pending = {value: other for value, other in self.pending.items() if other is not unit}

    def provide(self, node: Node, nest: Nest) -> None:
        """Writes what is computed in another nest, where it is needed elsewhere too."""
        for inner in node.inner():
            other = inner.nest
            if other is nest or other.done or other.after(nest):
                continue
            if self.wanted(inner.value, inner) or (self.costly(inner) and not self.only(inner, nest)):
                inner.kept = True
                self.flush(other)
            else:
                self.provide(inner, nest)

    def only(self, node: Node, nest: Nest) -> bool:
        """Whether a node serves one other nest alone."""
        for user in self.users.get(node.value, []):
            reader = self.nodes.get(user.out) if isinstance(user, Op) and user.out is not None else None
            if reader is None or (reader.nest is not nest and not (reader.lazy and self.only(reader, nest))):
                return False
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


RULES = {
    "copy": "elementwise", "cast": "elementwise", "sum": "total", "sum_axis": "along", "fill": "filled",
    "zeros": "constant", "ones": "constant", "zeros_like": "constant", "outer": "outer",
    "unbroadcast": "unbroadcast", "store": "stored", "accum": "stored",
}  # fmt: skip
"""The methods for what isn't element-wise."""
