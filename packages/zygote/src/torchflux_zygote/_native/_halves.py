"""The halves of a reverse program: the forward one, which may be added to, and where the other finds its values."""

from ._analysis import Memory, active_values
from ._ir import F64, INT, Array, Block, For, Item, Op, Program, Scalar, Type, Value, While, blocks, outs
from ._ranges import Ranges
from ._rewrite import clone
from ._rotate import rotated
from ._writer import Writer

__all__ = ["Halves", "Scope", "arg_dtype", "ndim", "place", "strong"]


def strong(type: Type) -> Type:
    """The type of a value's cotangent."""
    return F64 if isinstance(type, Scalar) and type.weak else type


def arg_dtype(value: Value) -> Scalar:
    """The number type of a value's cotangent."""
    type = strong(value.type)
    return type.dtype if isinstance(type, Array) else type


def ndim(value: Value) -> int:
    """The number of dimensions of an array."""
    assert isinstance(value.type, Array)
    return value.type.ndim


def place(block: Block, item: Item) -> int:
    """Where an item stands in its block."""
    return next(n for n, other in enumerate(block.items) if other is item)


class Scope:
    """The backward half of one forward block: where the block's values come from there."""

    def __init__(self, r: "Halves", parent: "Scope | None", block: Block, own: set[Value]) -> None:
        self.r, self.parent, self.block, self.own = r, parent, block, own
        self.head: Block | None = None  # of a `while`, whose trips have two blocks
        self.known: dict[Value, Value] = {}
        self.requested: list[Value] = []
        self.trip: Value | None = None  # the number of the trip, of a loop's body

    def trips_around(self) -> tuple[Value, ...]:
        """The numbers of the trips of the loops that this is in, from the outside in."""
        outer = self.parent.trips_around() if self.parent is not None else ()
        return outer if self.trip is None else (*outer, self.trip)

    def lookup(self, value: Value) -> Value:
        """The value as it was in the forward half."""
        if value.const is not None:
            return value
        if value in self.known:
            return self.known[value]
        if self.r.unchecked(value) is not value:
            return self.lookup(self.r.unchecked(value))
        if self.parent is None:
            return self.r.preserved(value) if value.is_array else value
        if value not in self.own:
            return self.parent.lookup(value)
        if value.is_array:
            value = self.r.preserved(value)
            self.own.add(value)
            if value in self.known:
                return self.known[value]
        self.known[value] = Value(value.type, value.name)
        self.requested.append(value)
        return self.known[value]


class Halves:
    """The forward half, and what is known of it."""

    def __init__(self, program: Program, wrt: list[int]) -> None:
        self.original, self.wrt = program, wrt
        self.forward = clone(program.block)
        self.whole = Program(program.name, program.params, self.forward)
        self.active = active_values(self.whole, [program.params[k] for k in wrt])
        self.forward = self.whole.block = rotated(self.forward, self.active)
        self.active = active_values(self.whole, [program.params[k] for k in wrt])
        self.memory = Memory(self.forward)
        self.where = self.memory.where
        self.home: dict[int, Block] = {}
        self.parents: dict[int, tuple[Item, Block] | None] = {}
        self._house(self.forward)
        self.top = {*program.params, *(v for item in self.forward.items for v in outs(item))}
        self.w = Writer()
        self.w.sizes = dict(program.sizes)
        self.adj: dict[Value, Value] = {}
        self.owned: set[Value] = set()
        self.copies: dict[Value, Value] = {}
        self.shapes: dict[tuple[Value, int], Value] = {}
        self.here: Scope
        self.ranges = Ranges(self.whole)
        self.counts: dict[int, Value] = {}
        self.trip_heads: dict[int, Value] = {}  # of loops that count their trips: the number so far
        self.lengths: dict[object, Value] = {}  # of ranges that are known before all loops
        self.bound: dict[Value, Value] = {}
        self.grounds = {id(self.forward)}  # the blocks of which everything is there on the way back
        self.roots: dict[Value, Value] = {}  # the zeros from which cotangents of arrays are added up
        self.tapes: dict[int, list[tuple[Op, Value]]] = {}  # by block: where tapes are made, and what is read
        self.array_tapes: dict[Value, tuple[Value, Value]] = {}

    def _house(self, block: Block) -> None:
        for item in block.items:
            self.home[id(item)] = block
            for inner in blocks(item):
                self.parents[id(inner)] = (item, block)
                self._house(inner)

    def look(self, value: Value) -> Value:
        """A value of the forward half, where the backward half is now."""
        return self.here.lookup(value)

    def same_shape(self, a: Value, b: Value | None) -> bool:
        """Whether two arrays certainly have one shape."""
        x, y = self.original.sizes.get(a), None if b is None else self.original.sizes.get(b)
        return x is not None and y is not None and [n.const or n for n in x] == [n.const or n for n in y]

    def size(self, value: Value, axis: int) -> Value:
        """The length of an array of the forward half."""
        if value in self.original.sizes:
            return self.here.lookup(self.original.sizes[value][axis])
        key = (value, axis)
        if key not in self.shapes:
            n = Value(INT, "n")
            self.shapes[key] = n
            self.after(value, Op("shape", (value,), n, axis))
        return self.here.lookup(self.shapes[key])

    def block_of(self, value: Value) -> tuple[Block, int]:
        """The block in which a value is defined, and the place behind its definition."""
        if value not in self.where:
            return self.forward, 0  # a parameter
        item, k = self.where[value]
        if k == -1:
            assert isinstance(item, For | While)
            return item.head if isinstance(item, While) else item.body, 0
        block = self.home[id(item)]
        return block, next(n for n, other in enumerate(block.items) if other is item) + 1

    def after(self, value: Value, op: Op) -> None:
        """Adds an operation behind a value's definition, in the forward half."""
        block, n = self.block_of(value)
        block.items.insert(n, op)
        assert op.out is not None
        self.register(op, block)
        scope: Scope | None = self.here
        while scope is not None:
            if scope.block is block or (value in scope.own):
                scope.own.add(op.out)
            scope = scope.parent
        if id(block) in self.grounds:
            self.top.add(op.out)

    def register(self, item: Item, block: Block) -> None:
        """Notes where a new item is and what it defines."""
        self.home[id(item)] = block
        for k, out in enumerate(outs(item)):
            self.where[out] = (item, k)

    def note(self, value: Value, block: Block, scope: Scope | None) -> None:
        """A new value of the forward half, in a block: the scopes of that block own it."""
        while scope is not None:
            if scope.block is block or scope.head is block:
                scope.own.add(value)
            scope = scope.parent
        if id(block) in self.grounds:
            self.top.add(value)

    def preserved(self, value: Value) -> Value:
        """An array as it was when it was made, even if its memory is stored into later."""
        if value in self.copies:
            return self.copies[value]
        if not self.memory.changes(value):
            return value
        copy = Value(value.type, value.name)
        self.copies[value] = self.copies[copy] = copy
        self.after(value, Op("copy", (value,), copy))
        return copy

    def unchecked(self, value: Value) -> Value:
        """The index that an index within bounds is."""
        while value in self.where:
            item, _ = self.where[value]
            if not (isinstance(item, Op) and item.name == "within"):
                break
            value = item.args[0]
        return value
