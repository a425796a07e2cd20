"""The tape of a loop: written by the forward loop row by row, read by the backward loop from the end."""

from ._halves import Scope, arg_dtype, ndim
from ._ir import INT, Array, Block, For, Item, Loop, Op, Value, outs, used
from ._mincut import operands_first
from ._rewrite import substitute
from ._rows import Groups, Record, Rows, cell
from ._writer import literal

__all__ = ["Tape"]


class Tape(Rows):
    """Provides what the backward body of a loop asked for."""

    def settle_loop(self, scope: Scope, item: Loop, index: Value, back: Block, parent: Scope) -> None:
        """Provides what the backward body asked for: from the tape, or computed again."""
        kept, again = self.cut(scope)
        kept_arrays = [v for v in kept if v.is_array]
        sizes: dict[Value, list[Value]] = {}
        for value in kept_arrays:
            here, self.here = self.here, scope
            sizes[value] = [self.size(value, k) for k in range(ndim(value))]
            self.here = here
        if kept_arrays:
            kept, again = self.cut(scope)
        chunks: list[list[Item]] = [[item] for item in self.computed_again(scope, again)]
        prologue = Block()
        with self.w.inside(prologue):
            if isinstance(item, For) and item.index in scope.known:
                start, step = parent.lookup(item.start), parent.lookup(item.step)
                moved = index if step.const == 1 else self.w.op("mul", index, step)
                self.bound[scope.known[item.index]] = self.w.op("add", start, moved)
            if kept:
                chunks += self.tape(scope, item, kept, index, parent, sizes)
        back.items[0:0] = [*prologue.items, *_scheduled(chunks)]
        substitute(back, self.bound)
        self.bound.clear()

    def trips(self, item: Loop, scope: Scope) -> Value:
        """How often the loop's body ran, as the backward half knows it."""
        return scope.lookup(self.counted(item, scope))

    def tape(
        self, scope: Scope, item: Loop, kept: list[Value], index: Value, parent: Scope, sizes: dict[Value, list[Value]]
    ) -> list[list[Item]]:
        """Writes the kept values of every trip in the forward half; numbers are read here, arrays in items to come."""
        groups: Groups = {}
        for value in kept:
            if not value.is_array:
                groups.setdefault(arg_dtype(value), []).append(value)
        arrays = [v for v in kept if v.is_array]
        record = Record(item, self.nest(item), groups, arrays)
        tapes, base = self.write(record, parent)
        grid = record.grid is not None
        last = index if base is None else self.w.op("add", parent.lookup(base), index)
        row = (*(parent.trips_around() if grid else ()), last)
        for kind, values in groups.items():
            for column, value in enumerate(values):
                place, path = cell(tapes[kind], row, column)
                self.w.add(Op("load", (tapes[kind], *place), scope.known[value], path))
        reads = []
        for value in arrays:
            with self.w.inside(Block()) as read:
                self.read_array(scope, value, *self.array_tapes[value], row, sizes[value])
            reads.append(read.items)
        return reads

    def read_array(
        self, scope: Scope, value: Value, flat: Value, places: Value, row: tuple[Value, ...], sizes: list[Value]
    ) -> None:
        """Reads an array from a tape."""
        assert isinstance(value.type, Array)
        start = self.w.emit("load", INT, places, *row, attrs=(("i",) * len(row),), pure=False)
        n: Value = literal(1)
        for size in sizes:
            n = self.w.op("mul", n, size)
        line = Array(value.type.dtype, 1)
        part = self.w.emit("load", line, flat, start, self.w.op("add", start, n), attrs=(("s110",),), pure=False)
        self.w.add(Op("reshape", (part, *sizes), scope.known[value]))


def _scheduled(chunks: list[list[Item]]) -> list[Item]:
    """Groups of items in an order in which each finds what it reads."""
    makers = {value: n for n, chunk in enumerate(chunks) for item in chunk for value in outs(item)}

    def before(n: int) -> list[int]:
        """The groups that make what one reads."""
        return [makers[value] for value in used(chunks[n]) if makers.get(value, n) != n]

    return [item for n in operands_first(range(len(chunks)), before) for item in chunks[n]]
