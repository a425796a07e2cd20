"""The tape of a loop: written by the forward loop row by row, read by the backward loop from the end."""

from ._halves import Scope, arg_dtype, ndim, place
from ._ir import INT, Array, Block, Call, For, If, Item, Loop, Op, Scalar, Value, While, outs, used
from ._keep import Keeping
from ._mincut import operands_first
from ._rewrite import substitute
from ._writer import Path, literal

__all__ = ["Tape"]


Groups = dict[Scalar, list[Value]]
"""Numbers to keep, by type: those of one type share a tape."""
SOME = 4096
"""Rows to start with where it isn't known how many there will be."""


def cell(tape: Value, row: Value, column: int) -> tuple[tuple[Value, ...], Path]:
    """Where a value stands on a tape, which has one dimension if it keeps one value a trip."""
    return ((row,), (("i",),)) if ndim(tape) == 1 else ((row, literal(column)), (("i", "i"),))


class Tape(Keeping):
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

    def counted(self, item: Loop, scope: Scope) -> Value:
        """The number of a loop's trips, a value of the forward half."""
        if id(item) in self.counts:
            return self.counts[id(item)]
        block = self.home[id(item)]
        if isinstance(item, For) and item.halt is None:
            count = Value(INT, "trips")
            simple = item.start.const == 0 and item.step.const == 1
            args = (item.stop, literal(0)) if simple else (item.start, item.stop, item.step)
            op = Op("max" if simple else "range_length", args, count)
            block.items.insert(place(block, item), op)
            self.register(op, block)
        else:
            head, following, count = Value(INT, "trip"), Value(INT, "trip"), Value(INT, "trips")
            step = Op("add", (head, literal(1)), following)
            item.body.items.append(step)
            self.register(step, item.body)
            item.carry.append(head)
            item.inits.append(literal(0))
            item.body.results.append(following)
            if isinstance(item, While):
                item.head.results.append(head)
            item.outs.append(count)
            self.where[head] = (item, -1)
            self.where[count] = (item, len(item.outs) - 1)
        self.note(count, block, scope)
        self.counts[id(item)] = count
        return count

    def tape(
        self, scope: Scope, item: Loop, kept: list[Value], index: Value, parent: Scope, sizes: dict[Value, list[Value]]
    ) -> list[list[Item]]:
        """Writes the kept values of every trip in the forward half; numbers are read here, arrays in items to come."""
        groups: Groups = {}
        for value in kept:
            if not value.is_array:
                groups.setdefault(arg_dtype(value), []).append(value)
        arrays = [v for v in kept if v.is_array]
        nest = self.nest(item)
        tapes, base = self.write(item, nest, groups, arrays, parent)
        row = index if base is None else self.w.op("add", parent.lookup(base), index)
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
        self, scope: Scope, value: Value, flat: Value, places: Value, row: Value, sizes: list[Value]
    ) -> None:
        """Reads an array from a tape."""
        assert isinstance(value.type, Array)
        start = self.w.emit("load", INT, places, row, attrs=(("i",),), pure=False)
        n: Value = literal(1)
        for size in sizes:
            n = self.w.op("mul", n, size)
        line = Array(value.type.dtype, 1)
        part = self.w.emit("load", line, flat, start, self.w.op("add", start, n), attrs=(("s110",),), pure=False)
        self.w.add(Op("reshape", (part, *sizes), scope.known[value]))

    def nest(self, item: Item) -> list[tuple[Item, Block]]:
        """The items around one, from the outside in, each with the block of it that leads there."""
        found: list[tuple[Item, Block]] = []
        block = self.home[id(item)]
        while self.parents.get(id(block)) is not None:
            around = self.parents[id(block)]
            assert around is not None
            found.insert(0, (around[0], block))
            block = around[1]
        return found

    def write(
        self, item: Loop, nest: list[tuple[Item, Block]], groups: Groups, arrays: list[Value], parent: Scope
    ) -> tuple[dict[Scalar, Value], Value | None]:
        """The forward half of the tape: state that is threaded through all loops around, and a row a trip."""
        outermost = nest[0][0] if nest else item
        before: list[Item] = []
        states: list[Value] = []
        deep = bool(nest)
        known = not deep and isinstance(item, For)
        trips = self.counted(item, parent) if isinstance(item, For) and item.halt is None else None
        start = place(self.forward, outermost)
        rows = trips if known and trips is not None else self.all_trips(item, nest, before) or literal(SOME)
        for kind, values in groups.items():
            width = () if len(values) == 1 else (literal(len(values)),)
            tape = Value(Array(kind, 1 + len(width)), "tape")
            before.append(Op("empty", (rows, *width), tape, str(kind)))
            states.append(tape)
        for value in arrays:
            assert isinstance(value.type, Array)
            flat, places, end = (
                Value(Array(value.type.dtype, 1), f"{value.name}_tape"),
                Value(Array(INT, 1), "places"),
                Value(INT, "end"),
            )
            before.append(Op("empty", (literal(64),), flat, str(value.type.dtype)))
            before.append(Op("empty", (rows,), places, "int64"))
            before.append(Op("int", (literal(0),), end))
            states += [flat, places, end]
        top = None
        if deep:
            top = Value(INT, "top")
            before.append(Op("int", (literal(0),), top))
            states.append(top)
        self.forward.items[start:start] = before
        for op in before:
            self.register(op, self.forward)
        self.top.update(op.out for op in before if isinstance(op, Op) and op.out is not None)
        base, finals = self.thread(
            nest, item, states, groups, arrays, trips if not known or trips is None else None, deep, parent
        )
        tapes = dict(zip(groups, finals, strict=False))
        rest = finals[len(groups) :]
        for n, value in enumerate(arrays):
            self.array_tapes[value] = (rest[3 * n], rest[3 * n + 1])
        return tapes, base

    def all_trips(self, item: Loop, nest: list[tuple[Item, Block]], before: list[Item]) -> Value | None:
        """How many trips there are at most, all loops around counted, if that is known before the outermost."""
        loops = [around for around, _ in nest if not isinstance(around, If)] + [item]
        if not all(isinstance(loop, For) and loop.halt is None for loop in loops):
            return None
        total: Value | None = None
        for loop in loops:
            assert isinstance(loop, For)
            ends = (loop.start, loop.stop, loop.step)
            if not all(end.const is not None or end in self.top for end in ends):
                return None
            n = Value(INT, "trips")
            before.append(Op("range_length", ends, n))
            if total is not None:
                product = Value(INT, "rows")
                before.append(Op("mul", (total, n), product))
                n = product
            total = n
        self.presized.add(id(item))
        return total

    def thread(
        self,
        nest: list[tuple[Item, Block]],
        item: Loop,
        states: list[Value],
        groups: Groups,
        arrays: list[Value],
        trips: Value | None,
        deep: bool,
        scope: Scope,
    ) -> tuple[Value | None, list[Value]]:
        """Takes the tape's state through the items around the loop, and back out."""
        if not nest:
            return self.write_rows(item, states, groups, arrays, trips, deep, scope)
        (around, block), *rest = nest
        assert not isinstance(around, Op | Call)
        if isinstance(around, If):
            base, ends = self.thread(rest, item, states, groups, arrays, trips, deep, scope)
            other = around.orelse if block is around.then else around.then
            block.results += ends
            other.results += states
        else:
            heads = [Value(s.type, s.name) for s in states]
            around.carry += heads
            around.inits += states
            for head in heads:
                self.where[head] = (around, -1)
                self.note_carry(head, around, scope)
            base, ends = self.thread(rest, item, heads, groups, arrays, trips, deep, scope)
            around.body.results += ends
            if isinstance(around, While):
                around.head.results += heads
        finals = [Value(s.type, s.name) for s in states]
        around.outs += finals
        for k, final in enumerate(finals):
            self.where[final] = (around, len(around.outs) - len(finals) + k)
            self.note(final, self.home[id(around)], scope)
        return base, finals

    def note_carry(self, head: Value, around: Loop, scope: Scope | None) -> None:
        """The scopes of a loop's body own what the loop carries."""
        while scope is not None:
            if scope.block is around.body:
                scope.own.add(head)
            scope = scope.parent

    def write_rows(
        self,
        item: Loop,
        states: list[Value],
        groups: Groups,
        arrays: list[Value],
        trips: Value | None,
        deep: bool,
        scope: Scope,
    ) -> tuple[Value | None, list[Value]]:
        """The innermost part: the loop itself writes one row a trip."""
        base = states[-1] if deep else None
        if base is not None:
            self.where.setdefault(base, (item, -1))
        tapes = states[: len(groups)]
        ahead: list[Item] = []
        presized = id(item) in self.presized
        if base is not None and trips is not None and not presized:  # room for all trips at once
            rows = Value(INT, "rows")
            ahead.append(Op("add", (base, trips), rows))
            tapes = [self.grown(tape, rows, ahead) for tape in tapes]
            states = list(states)
            for n in range(len(arrays)):
                at = len(groups) + 3 * n + 1
                states[at] = self.grown(states[at], rows, ahead)
        block = self.home[id(item)]
        block.items[place(block, item) : place(block, item)] = ahead
        room = presized or trips is not None or (not deep and isinstance(item, For) and item.halt is None)
        slot_start = base if base is not None else literal(0)
        carried = [*tapes, *states[len(groups) : len(groups) + 3 * len(arrays)]]
        body = item.body
        slot = Value(INT, "row")
        heads = [Value(s.type, s.name) for s in carried]
        following = Value(INT, "row")
        tail: list[Item] = []
        if isinstance(item, For) and base is None and item.start.const == 0 and item.step.const == 1:
            slot = item.index
            slots: list[Value] = []
        else:
            slots = [slot]
        now = list(heads)
        if not room:
            rows = Value(INT, "rows")
            tail.append(Op("add", (slot, literal(1)), rows))
            for k in range(len(groups)):
                now[k] = self.grown(now[k], rows, tail, by_row=True)
        for k, values in enumerate(groups.values()):
            for column, value in enumerate(values):
                new = Value(now[k].type, now[k].name)
                at_row, path = cell(now[k], slot, column)
                tail.append(Op("store", (now[k], value, *at_row), new, path))
                now[k] = new
        for n, value in enumerate(arrays):
            at = len(groups) + 3 * n
            now[at], now[at + 1], now[at + 2] = self.push_array(
                value, now[at], now[at + 1], now[at + 2], slot, room, tail
            )
        if slots:
            tail.append(Op("add", (slot, literal(1)), following))
        body.items += tail
        for op in tail:
            self.register(op, body)
        item.carry += [*heads, *slots]
        item.inits += [*carried, *([slot_start] if slots else [])]
        body.results += [*now, *([following] if slots else [])]
        finals = [Value(s.type, s.name) for s in carried]
        if slots:
            finals.append(Value(INT, "row"))
        if isinstance(item, While):
            item.head.results += [*heads, *slots]
        item.outs += finals
        for head in (*heads, *slots):
            self.where[head] = (item, -1)
        for k, final in enumerate(finals):
            self.where[final] = (item, len(item.outs) - len(finals) + k)
            self.note(final, block, scope)
        if not deep and slots:
            finals = finals[:-1]
        return base, finals

    def grown(self, tape: Value, rows: Value, into: list[Item], by_row: bool = False) -> Value:
        """The tape with room for so many rows (`by_row`: for one more in every trip, which may be made ahead)."""
        new = Value(tape.type, tape.name)
        into.append(Op("grow", (tape, rows), new, by_row))
        return new

    def push_array(
        self, value: Value, flat: Value, places: Value, end: Value, slot: Value, room: bool, into: list[Item]
    ) -> tuple[Value, Value, Value]:
        """Writes an array to the end of a tape, and its place to the tape of places."""
        assert isinstance(value.type, Array)
        line, n, stop = Value(Array(value.type.dtype, 1), "line"), Value(INT, "n"), Value(INT, "end")
        into.append(Op("ravel", (value,), line))
        into.append(Op("shape", (line,), n, 0))
        into.append(Op("add", (end, n), stop))
        flat = self.grown(flat, stop, into)
        new, marked = Value(flat.type, flat.name), Value(places.type, places.name)
        into.append(Op("store", (flat, line, end, stop), new, (("s110",),)))
        if not room:
            rows = Value(INT, "rows")
            into.append(Op("add", (slot, literal(1)), rows))
            places = self.grown(places, rows, into, by_row=True)
        into.append(Op("store", (places, end, slot), marked, (("i",),)))
        return new, marked, stop


def _scheduled(chunks: list[list[Item]]) -> list[Item]:
    """Groups of items in an order in which each finds what it reads."""
    makers = {value: n for n, chunk in enumerate(chunks) for item in chunk for value in outs(item)}

    def before(n: int) -> list[int]:
        """The groups that make what one reads."""
        return [makers[value] for value in used(chunks[n]) if makers.get(value, n) != n]

    return [item for n in operands_first(range(len(chunks)), before) for item in chunks[n]]
