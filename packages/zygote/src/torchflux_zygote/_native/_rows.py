"""The tape's forward half: what is kept of every trip of a loop, written row by row."""

from dataclasses import dataclass

from ._halves import Scope, ndim, place
from ._invariant import PLAIN
from ._ir import INT, Array, Block, Call, For, If, Item, Loop, Op, Scalar, Value, While, defined, outs, used
from ._keep import Keeping
from ._rewrite import clone, substitute
from ._writer import Path, literal

__all__ = ["Groups", "Record", "Rows", "cell"]


Groups = dict[Scalar, list[Value]]
"""Numbers to keep, by type: those of one type share a tape."""
SOME = 4096
"""Rows to start with where it isn't known how many there will be."""


@dataclass
class Record:
    """What is kept of every trip of a loop, and how its rows lie."""

    item: Loop
    nest: list[tuple[Item, Block]]  # what is around the loop, from the outside in, with the blocks that lead there
    groups: Groups
    arrays: list[Value]
    grid: list[Value] | None = None  # the trips of every loop around and of this one, if the rows make a grid
    trips: Value | None = None  # how often the loop will run, if that is known when it starts
    room: bool = False  # there is room for all rows from the start

    @property
    def top(self) -> bool:
        """Whether rows are found from the number of those before the loop started."""
        return bool(self.nest) and self.grid is None


def cell(tape: Value, row: tuple[Value, ...], column: int) -> tuple[tuple[Value, ...], Path]:
    """Where a value stands on a tape, which has one dimension less if it keeps one value a trip."""
    places = row if ndim(tape) == len(row) else (*row, literal(column))
    return places, (("i",) * len(places),)


class Rows(Keeping):
    """Writes what is kept."""

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

    def counted(self, item: Loop, scope: Scope) -> Value:
        """The number of a loop's trips, a value of the forward half."""
        if id(item) not in self.counts:
            if isinstance(item, For) and item.halt is None:
                self.counts[id(item)] = self.counted_ahead(item, scope)
            else:
                self.counts[id(item)] = self.counted_inside(item, scope)
        return self.counts[id(item)]

    def counted_ahead(self, item: For, scope: Scope) -> Value:
        """The number of trips, computed before the loop, or before all loops if they don't change it."""
        ends = (item.start, item.stop, item.step)
        key = tuple((end.const, end if end.const is None else None) for end in ends)
        if key in self.lengths:
            return self.lengths[key]
        made, count = self.length(item)
        places = [self.block_of(end) for end in ends if end.const is None]
        if self.fixed(item) and all(block is self.forward for block, _ in places):
            self.lengths[key] = count
            block, at = self.forward, max((n for _, n in places), default=0)
        else:
            nest = self.nest(item) if self.fixed(item) else []
            around = nest[0][0] if nest else item
            block = self.home[id(around)]
            at = place(block, around)
        block.items[at:at] = made
        for op in made:
            self.register(op, block)
            for value in outs(op):
                self.note(value, block, scope)
        return count

    def length(self, loop: For) -> tuple[list[Item], Value]:
        """How often a loop runs."""
        start, stop, step = loop.start, loop.stop, loop.step
        if start.const is not None and stop.const is not None and step.const is not None:
            return [], literal(len(range(start.const, stop.const, step.const)))
        trips, apart = Value(INT, "trips"), Value(INT, "trips")
        if step.const not in (1, -1):
            return [Op("range_length", (start, stop, step), trips)], trips
        low, high = (start, stop) if step.const == 1 else (stop, start)
        lowest = self.ranges.lowest(high)
        if low.const is not None and lowest is not None and lowest >= low.const:  # never empty the wrong way around
            return ([], high) if low.const == 0 else ([Op("sub", (high, low), trips)], trips)
        if low.const == 0:
            return [Op("max", (high, literal(0)), trips)], trips
        return [Op("sub", (high, low), apart), Op("max", (apart, literal(0)), trips)], trips

    def fixed(self, item: Loop) -> bool:
        """Whether the number of trips is known before all loops."""
        if not isinstance(item, For) or item.halt is not None:
            return False
        return all(end.const is not None or end in self.top for end in (item.start, item.stop, item.step))

    def counted_inside(self, item: Loop, scope: Scope) -> Value:
        """The number of trips, counted as they run."""
        block = self.home[id(item)]
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
        self.trip_heads[id(item)] = head
        return count

    # How many rows there are.

    def laid_out(self, record: Record, parent: Scope, before: list[Item]) -> list[Value]:
        """The lengths of the tape's first dimensions, from what is known before the outermost loop."""
        item, loops = record.item, [around for around, _ in record.nest]
        if isinstance(item, For) and item.halt is None:
            record.trips = self.counted(item, parent)
        chain = [*loops, item]
        if all(isinstance(loop, For) and self.fixed(loop) for loop in chain):
            record.grid = [self.counted(loop, parent) for loop in chain if isinstance(loop, For)]
            record.room = True
            return record.grid
        total = self.summed([loop for loop in chain if isinstance(loop, For)], before) if _plain(chain) else None
        record.room = total is not None
        return [literal(SOME) if total is None else total]

    def summed(self, loops: list[For], before: list[Item]) -> Value | None:
        """The number of all rows of loops in loops, the inner ones' added up; None if only running them can tell."""
        indices = {loop.index for loop in loops}
        *around, last = loops
        found = self.computed_from(indices, [last.start, last.stop, last.step])
        if found is None:
            return None
        made, total = self.length(last)
        items: list[Item] = [*found, *made]
        for loop in reversed(around):
            found = self.computed_from(indices, [loop.start, loop.stop, loop.step])
            if found is None:
                return None
            items = [item for item in items if item not in found]
            if loop.index in used(items) or total is loop.index:
                head, following, rows = (Value(INT, "rows") for _ in range(3))
                body = Block([*items, Op("add", (head, total), following)], [following])
                items = [For(loop.index, loop.start, loop.stop, loop.step, [head], [literal(0)], body, [rows])]
            else:
                trips, count = self.length(loop)
                rows = Value(INT, "rows")
                items += [*trips, Op("mul", (count, total), rows)]
            items[0:0], total = found, rows
        block = clone(Block(items, [total]))
        substitute(block, {v: Value(v.type, v.name) for v in defined(block)}, define=True)
        before += block.items
        return block.results[0]

    def computed_from(self, indices: set[Value], values: list[Value]) -> list[Item] | None:
        """The operations that compute whole numbers from loop indices and what is known before all loops."""
        found: list[Item] = []
        for value in values:
            if value.const is not None or value in self.top or value in indices:
                continue
            item, _ = self.where[value]
            if not (isinstance(item, Op) and item.name in PLAIN):
                return None
            inner = self.computed_from(indices, list(item.args))
            if inner is None:
                return None
            found += [*inner, item]
        return list(dict.fromkeys(found))

    # The tapes themselves.

    def write(self, record: Record, parent: Scope) -> tuple[dict[Scalar, Value], Value | None]:
        """The forward half of the tape: state that is threaded through all loops around, and a row a trip."""
        before: list[Item] = []
        states: list[Value] = []
        rows = self.laid_out(record, parent, before)
        for kind, values in record.groups.items():
            width = () if len(values) == 1 else (literal(len(values)),)
            states.append(Value(Array(kind, len(rows) + len(width)), "tape"))
            before.append(Op("empty", (*rows, *width), states[-1], str(kind)))
        for value in record.arrays:
            assert isinstance(value.type, Array)
            flat = Value(Array(value.type.dtype, 1), f"{value.name}_tape")
            places = Value(Array(INT, len(rows)), "places")
            before.append(Op("empty", (literal(64),), flat, str(value.type.dtype)))
            before.append(Op("empty", tuple(rows), places, "int64"))
            states += [flat, places, Value(INT, "end", const=0)]
        if record.top:
            states.append(Value(INT, "top", const=0))
        outermost = record.nest[0][0] if record.nest else record.item
        self.place_ahead(before, outermost)
        base, finals = self.thread(record.nest, record, states, parent)
        made = {op.out: op for op in before if isinstance(op, Op)}
        pairs = [(made[state], final) for state, final in zip(states, finals, strict=False) if state in made]
        self.tapes.setdefault(id(self.home[id(outermost)]), []).extend(pairs)
        tapes = dict(zip(record.groups, finals, strict=False))
        rest = finals[len(record.groups) :]
        for n, value in enumerate(record.arrays):
            self.array_tapes[value] = (rest[3 * n], rest[3 * n + 1])
        return tapes, base

    def place_ahead(self, items: list[Item], around: Item) -> None:
        """Puts items before the outermost loop."""
        block = self.home[id(around)]
        block.items[place(block, around) : place(block, around)] = items
        for item in items:
            self.register(item, block)
            self.top.update(outs(item))

    def thread(
        self, nest: list[tuple[Item, Block]], record: Record, states: list[Value], scope: Scope
    ) -> tuple[Value | None, list[Value]]:
        """Takes the tape's state through the items around the loop, and back out."""
        if not nest:
            return self.write_rows(record, states, scope)
        (around, block), *rest = nest
        assert not isinstance(around, Op | Call)
        if isinstance(around, If):
            base, ends = self.thread(rest, record, states, scope)
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
            base, ends = self.thread(rest, record, heads, scope)
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

    def write_rows(self, record: Record, states: list[Value], scope: Scope) -> tuple[Value | None, list[Value]]:
        """The innermost part: the loop itself writes one row a trip."""
        item, count = record.item, len(record.groups)
        base = states[-1] if record.top else None
        carried = states[: count + 3 * len(record.arrays)]
        if base is not None and record.trips is not None and not record.room:  # room for all trips at once
            carried = self.room_for(record, base, carried)
        tail: list[Item] = []
        row = self.row(record, base, tail)
        heads = [Value(s.type, s.name) for s in carried]
        now = list(heads)
        room = record.room or record.trips is not None
        if not room:
            rows = Value(INT, "rows")
            tail.append(Op("add", (row[0], literal(1)), rows))
            now[:count] = [self.grown(tape, rows, tail, by_row=True) for tape in now[:count]]
        for k, values in enumerate(record.groups.values()):
            for column, value in enumerate(values):
                new = Value(now[k].type, now[k].name)
                places, path = cell(now[k], row, column)
                tail.append(Op("store", (now[k], value, *places), new, path))
                now[k] = new
        for at, value in zip(range(count, len(now), 3), record.arrays, strict=True):
            now[at : at + 3] = self.push_array(value, now[at], now[at + 1], now[at + 2], row, room, tail)
        item.body.items += tail
        for op in tail:
            self.register(op, item.body)
        finals = self.carry_along(item, heads, carried, now, scope)
        return base, finals if base is None else [*finals, self.moved_on(item, base, scope)]

    def moved_on(self, item: Loop, base: Value, scope: Scope) -> Value:
        """The number of rows behind a loop."""
        block, top = self.home[id(item)], Value(INT, "top")
        op = Op("add", (base, self.counted(item, scope)), top)
        block.items.insert(place(block, item) + 1, op)
        self.register(op, block)
        self.note(top, block, scope)
        return top

    def carry_along(
        self, item: Loop, heads: list[Value], inits: list[Value], ends: list[Value], scope: Scope
    ) -> list[Value]:
        """Has a loop carry more."""
        item.carry += heads
        item.inits += inits
        item.body.results += ends
        finals = [Value(head.type, head.name) for head in heads]
        if isinstance(item, While):
            item.head.results += heads
        item.outs += finals
        for head in heads:
            self.where[head] = (item, -1)
        for k, final in enumerate(finals):
            self.where[final] = (item, len(item.outs) - len(finals) + k)
            self.note(final, self.home[id(item)], scope)
        return finals

    def row(self, record: Record, base: Value | None, tail: list[Item]) -> tuple[Value, ...]:
        """Where a trip's row lies."""
        if record.grid is not None:
            loops = [*(around for around, _ in record.nest), record.item]
            return tuple(_trip(loop, tail) for loop in loops if isinstance(loop, For))
        trip = self.trip_heads.get(id(record.item))
        if trip is None:
            assert isinstance(record.item, For)
            trip = _trip(record.item, tail)
        if base is None:
            return (trip,)
        tail.append(Op("add", (base, trip), Value(INT, "row")))
        return tuple(outs(tail[-1]))

    def room_for(self, record: Record, base: Value, states: list[Value]) -> list[Value]:
        """The tapes with room for all trips of a loop that starts."""
        assert record.trips is not None
        rows, count = Value(INT, "rows"), len(record.groups)
        ahead: list[Item] = [Op("add", (base, record.trips), rows)]
        grow = {*range(count), *range(count + 1, len(states), 3)}
        grown = [self.grown(s, rows, ahead) if k in grow else s for k, s in enumerate(states)]
        block = self.home[id(record.item)]
        block.items[place(block, record.item) : place(block, record.item)] = ahead
        return grown

    def grown(self, tape: Value, rows: Value, into: list[Item], by_row: bool = False) -> Value:
        """The tape with room for so many rows (`by_row`: for one more in every trip, which may be made ahead)."""
        new = Value(tape.type, tape.name)
        into.append(Op("grow", (tape, rows), new, by_row))
        return new

    def push_array(
        self, value: Value, flat: Value, places: Value, end: Value, row: tuple[Value, ...], room: bool, into: list[Item]
    ) -> list[Value]:
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
            into.append(Op("add", (row[0], literal(1)), rows))
            places = self.grown(places, rows, into, by_row=True)
        into.append(Op("store", (places, end, *row), marked, (("i",) * len(row),)))
        return [new, marked, stop]


def _trip(loop: For, into: list[Item]) -> Value:
    """The number of a trip, from the loop's index."""
    if loop.start.const == 0 and loop.step.const == 1:
        return loop.index
    moved, trip = Value(INT, "trip"), Value(INT, "trip")
    down = loop.step.const == -1
    into.append(Op("sub", (loop.start, loop.index) if down else (loop.index, loop.start), moved))
    if loop.step.const in (1, -1):
        return moved
    into.append(Op("floordiv", (moved, loop.step), trip))
    return trip


def _plain(chain: list[Item]) -> bool:
    """Whether every one of some nested items is a loop that runs to its end."""
    return all(isinstance(item, For) and item.halt is None for item in chain)
