"""Operations on arrays as nodes of a nest of loops: their operands, and the space that they run over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ._access import Access, Parts, part
from ._analysis import Memory
from ._arrays import part_type
from ._ir import F32, INT, Array, Op, Program, Value
from ._lengths import Key, broadcast
from ._nest import Late, Nest, Node, Operand, Unit
from ._ops import DERIVATIVES
from ._writer import Writer, literal, rank

__all__ = ["Known", "Nodes"]

BY_ELEMENT = DERIVATIVES.keys() - {"mod", "floordiv", "round", "floor", "ceil", "trunc", "int", "lshift", "rshift"}
"""What is computed in the same way for a number and for each element of an array."""
Lengths = Callable[[Writer], Value]


class Known:
    """What is known of the whole program."""

    def __init__(self, program: Program) -> None:
        self.memory = Memory(program.block)
        self.parts = Parts(program, self.memory)
        self.theirs = {self.memory.group(p) for p in program.params if p.is_array}
        self.reads: Counter[Value] = Counter()  # how often each value is read
        self.solid = program.solid
        self.scopes: list[dict[Key, Value]] = []  # the lengths that have been written, by block
        self.same: list[dict[Key, Key]] = []  # the lengths that have been found to be others, by block
        self.replaced: dict[Value, Value] = {}

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

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Keeps what is found in a block to that block."""
        self.scopes.append({})
        self.same.append({})
        yield
        self.scopes.pop()
        self.same.pop()


class Nodes:
    """Makes nodes of a block's operations."""

    fuser: Known
    memory: Memory
    parts: Parts
    w: Writer
    nodes: dict[Value, Node]
    pending: dict[Value, Unit]
    open: dict[tuple[Key, ...], Nest]
    flush: Callable[[Unit], None]
    waiting: Callable[[], list[Nest]]

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
        self.view(found.base)
        node = self.nodes.get(found.base)
        if node is None or not node.lazy or node.kept:
            return found
        if found.whole:
            return node
        self.flush(node.nest)
        return found

    def view(self, array: Value) -> None:
        """Writes a view that isn't written yet, if only for its length."""
        unit = self.pending.get(array)
        if isinstance(unit, Late):
            self.keep(array)
            self.flush(unit)

    def keep(self, array: Value) -> None:
        """Has an array in memory, or what it is a view of."""
        unit = self.pending.get(array)
        if array in self.nodes:
            self.nodes[array].kept = True
        elif isinstance(unit, Late) and unit.op is not None:
            for viewed in unit.op.args:
                self.keep(viewed)

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
        if isinstance(b, int) or (not isinstance(a, int) and any(b in space for space in self.open)):
            a, b = b, a  # the one that stays is a number, or that of the loops that there are
        self.fuser.same[-1][b] = a

    def length(self, x: Node | Access, axis: int) -> Value:
        """A length of an array."""
        key = (x.space if isinstance(x, Node) else x.shape)[axis]  # its own: what it equals may have no value yet
        if isinstance(x, Node):
            return self.written(key, lambda w: x.sizes[axis])
        made = self.nodes.get(x.base)
        if made is not None and made.made and x.whole:
            return self.written(key, lambda w: made.made[axis])
        self.view(x.base)
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


RULES = {
    "copy": "elementwise", "cast": "elementwise", "sum": "total", "sum_axis": "along", "fill": "filled",
    "zeros": "constant", "ones": "constant", "zeros_like": "constant", "outer": "outer",
    "unbroadcast": "unbroadcast", "store": "stored", "accum": "stored",
}  # fmt: skip
"""The methods for what isn't element-wise."""
