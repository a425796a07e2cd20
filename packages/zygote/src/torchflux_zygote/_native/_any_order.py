"""Backward loops whose trips can run in any order: counted upwards, and split where they add to several neighbours.

The adjoint of a stencil reads one element and adds to several. Compiled as one loop it runs an element at a time, since
what one trip adds to is what the next one adds to as well. As one loop for each neighbour, every loop is a plain sum
of arrays, of which the processor takes several elements at once. Sums of cotangents are added up in whatever order is
fastest (`rt.plus`), on which their last bits depend. Values are never computed like this.

Source: loop distribution, Allen and Kennedy (2002), Optimizing Compilers for Modern Architectures, chapter 5.
"""

from dataclasses import replace

from ._analysis import STORES, Memory
from ._ir import Block, For, Item, Op, Program, Value, blocks, walk
from ._mincut import operands_first
from ._ops import COSTLY
from ._ranges import Ranges
from ._registers import in_registers
from ._rewrite import clone, substitute
from ._trips import Access, Trips, independent
from ._writer import literal

__all__ = ["in_any_order"]

SHORT, MANY = 16, 8
"""Loops of fewer trips than the one, or into more loops than the other, are not split."""

SLOW = COSTLY - {"div", "sqrt", "norm"}


def in_any_order(program: Program) -> Program:
    """The program with its backward loops as quick as their order doesn't matter."""
    if not any(isinstance(item, For) and item.backward for item in walk(program.block)):
        return program
    block = clone(program.block)
    copy = replace(program, block=block)
    in_registers(block, Memory(block), Ranges(copy))
    _rewrite(block, Memory(block), Ranges(copy))
    return copy


def _rewrite(block: Block, memory: Memory, ranges: Ranges) -> None:
    """Rewrites the loops of a block."""
    items: list[Item] = []
    for item in block.items:
        for inner in blocks(item):
            _rewrite(inner, memory, ranges)
        trips = independent(item, memory, ranges) if isinstance(item, For) else None
        items += [item] if trips is None else _upwards(trips, ranges)
    block.items = items


def _upwards(trips: Trips, ranges: Ranges) -> list[Item]:
    """A loop counted upwards, in parts where that pays."""
    loop = trips.loop
    for steps in trips.sums.values():
        for op in steps:
            _in_any_order(op, loop)
    last = ranges.makers.get(loop.start)
    if loop.start.const is not None:
        loop.stop = literal(loop.start.const + 1)
    elif last is not None and last.name == "sub" and last.args[1].const == 1:
        loop.stop = last.args[0]
    else:
        return [loop]
    loop.start, loop.step = literal(0), literal(1)
    return _split(trips) or [loop]


def _in_any_order(op: Op, loop: For) -> None:
    """An addition to a number that a loop carries, made free of its order."""
    if op.name == "sub":
        minus = Value(op.args[1].type)
        loop.body.items.insert(loop.body.items.index(op), Op("neg", (op.args[1],), minus))
        op.args = (op.args[0], minus)
    op.name = "plus"


class _Part:
    """One of the loops that a loop is split into: what it changes, and all that takes to compute."""

    def __init__(self, trips: Trips, ends: list[Op], place: int) -> None:
        self.ends, self.place = ends, place
        makers = {op.out: op for op in trips.loop.body.items}
        operands = lambda op: [makers[v] for v in op.args if v in makers and makers[v].name not in STORES]
        needed = set(operands_first(ends, lambda op: operands(op)))
        self.ops = [op for op in trips.loop.body.items if op in needed]


def _split(trips: Trips) -> list[Item] | None:
    """The loop as several, one for each neighbour that is added to; None where that isn't possible or doesn't pay."""
    loop = trips.loop
    if not _pays(trips):
        return None
    parts = _parts(trips)
    order = _ordered(trips, parts) if 1 < len(parts) <= MANY else None
    if order is None:
        return None
    now, made = list(loop.inits), []
    last = {part.place: part for part in order}
    for part in order:
        whole = _loop_of(trips, part, now, last[part.place] is part)
        now[part.place] = whole.outs[0]
        made.append(whole)
    return list(made)


def _pays(trips: Trips) -> bool:
    """Whether neighbours in memory are added to, and nothing that is costly would be computed more than once."""
    loop = trips.loop
    if any(op.name in SLOW and op.out.floats for op in loop.body.items if op.out is not None):
        return False
    if loop.stop.const is not None and loop.stop.const < SHORT:
        return False
    places = {(a.group, a.place) for a in trips.accesses if a.group in trips.added}
    along = [group for group, place in places if place is not None and place[-1][0] is loop.index]
    return len(along) > len(set(along))


def _parts(trips: Trips) -> list[_Part]:
    """The parts of a loop: a sum, the elements at one place, or all that is done to an array."""
    loop = trips.loop
    found = [_Part(trips, steps, k) for k, steps in trips.sums.items()]
    stores: dict[object, list[Access]] = {}
    for access in trips.accesses:
        if access.op.name in STORES:
            key = (access.group, access.place) if access.group in trips.added else access.group
            stores.setdefault(key, []).append(access)
    for here in stores.values():
        place = _carried(loop, here[0].op)
        assert place is not None
        found.append(_Part(trips, [access.op for access in here], place))
    return found


def _carried(loop: For, op: Op) -> int | None:
    """The place among what a loop carries of the array that an operation reads or changes."""
    makers = {other.out: other for other in loop.body.items}
    value = op.args[0]
    while value in makers:
        value = makers[value].args[0]
    return loop.carry.index(value) if value in loop.carry else None


def _ordered(trips: Trips, parts: list[_Part]) -> list[_Part] | None:
    """The parts in an order in which each reads what it read, if there is one."""
    position = {op: n for n, op in enumerate(trips.loop.body.items)}
    first: dict[int, set[int]] = {n: set() for n in range(len(parts))}  # what has to run before each
    for w, writer in enumerate(parts):
        group = next((a.group for a in trips.accesses if a.op in writer.ends and a.group in trips.written), None)
        if group is None:
            continue
        stores = [position[op] for op in writer.ends]
        for r, reader in enumerate(parts):
            loads = [position[a.op] for a in trips.accesses if a.group is group and a.op in reader.ops]
            for load in loads if r != w else []:
                if load < min(stores):
                    first[w].add(r)
                elif load > max(stores):
                    first[r].add(w)
                else:
                    return None
    done: list[int] = []
    while len(done) < len(parts):
        free = [n for n in first if n not in done and first[n] <= set(done)]
        if not free:
            return None
        done.append(free[0])
    return [parts[n] for n in done]


def _loop_of(trips: Trips, part: _Part, now: list[Value], last: bool) -> For:
    """One part as a loop, which carries one number or array."""
    loop, k = trips.loop, part.place
    head = loop.carry[k]
    ops = [replace(op) for op in part.ops]
    mapping = {value: now[n] for n, value in enumerate(loop.carry) if n != k}
    current = head
    for op in ops:
        if op.name in STORES:
            op.args = (current, *op.args[1:])
            assert op.out is not None
            current = op.out
        elif op.args[0].is_array:
            n = _carried(loop, op)
            op.args = op.args if n is None else (current if n == k else now[n], *op.args[1:])
    result = current if head.is_array else loop.body.results[k]
    body = Block(ops, [result])
    twins = {v: Value(v.type, v.name) for v in (head, loop.index, *(op.out for op in ops)) if v is not None}
    substitute(body, mapping)
    substitute(body, twins, define=True)
    out = loop.outs[k] if last else Value(head.type, head.name)
    return For(twins[loop.index], loop.start, loop.stop, loop.step, [twins[head]], [now[k]], body, [out], backward=True)
