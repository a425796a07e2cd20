"""Elements of arrays that a loop adds to in every trip, added up in a variable and stored once."""

from ._analysis import Memory
from ._ir import INT, Array, Block, For, Item, Op, Value, blocks, outs
from ._ranges import Ranges
from ._rewrite import substitute
from ._writer import literal

__all__ = ["in_registers"]

Place = tuple[tuple[Value | None, int], ...]


def in_registers(block: Block, memory: Memory, ranges: Ranges) -> None:
    """Rewrites the backward loops of a block in which the same element of a cotangent is added to in every trip."""
    items: list[Item] = []
    for item in block.items:
        for inner in blocks(item):
            in_registers(inner, memory, ranges)
        items.append(item)
        if isinstance(item, For) and item.backward and all(isinstance(op, Op) for op in item.body.items):
            items += _taken_out(item, memory, ranges)
    block.items = items


def _taken_out(loop: For, memory: Memory, ranges: Ranges) -> list[Item]:
    """Takes additions to elements that stay the same out of a loop, and returns those to make behind it."""
    indices: list[Item] = []
    stores: list[Item] = []
    for (n, place), steps in _same_in_every_trip(loop, memory, ranges).items():
        array, out = loop.carry[n], loop.outs[n]
        assert isinstance(array.type, Array)
        head, end = (Value(array.type.dtype, array.name) for _ in range(2))
        total = _added_up(loop.body, steps, head)
        loop.carry.append(head)
        loop.inits.append(Value(array.type.dtype, const=0.0))
        loop.body.results.append(total)
        loop.outs.append(end)
        loop.outs[n] = Value(array.type, out.name)
        index = [_there(base, shift, indices) for base, shift in place]
        stores.insert(0, Op("accum", (loop.outs[n], end, *index), out, steps[0].attrs))
    return [*indices, *stores]


def _same_in_every_trip(loop: For, memory: Memory, ranges: Ranges) -> dict[tuple[int, Place], list[Op]]:
    """The additions to elements that stay the same, of arrays that are only added to: by array and index."""
    inside = {loop.index, *loop.carry, *(op.out for op in loop.body.items)}
    groups = {memory.group(head): n for n, head in enumerate(loop.carry) if head.is_array}
    if len(groups) < sum(head.is_array for head in loop.carry):
        return {}
    other = {memory.group(v) for op in loop.body.items if op.name != "accum" for v in op.args if v.is_array}
    found: dict[tuple[int, Place], list[Op]] = {}
    for op in loop.body.items:
        if op.name != "accum" or op.args[1].is_array or op.attrs != (("i",) * (len(op.args) - 2),):
            continue
        group = memory.group(op.args[0])
        place = tuple(map(ranges.moved, op.args[2:]))
        if group not in other and group in groups and not any(base in inside for base, _ in place):
            found.setdefault((groups[group], place), []).append(op)
    return found


def _added_up(body: Block, steps: list[Op], total: Value) -> Value:
    """Has additions to an element add to a number instead; returns what that comes to."""
    gone: dict[Value, Value] = {}
    negative = {op.out: op for op in body.items if isinstance(op, Op) and op.name == "neg"}
    for op in steps:
        new, share = Value(total.type, total.name), op.args[1]
        minus = negative.get(share)
        step = Op("add", (total, share), new) if minus is None else Op("sub", (total, minus.args[0]), new)
        body.items[body.items.index(op)] = step
        assert op.out is not None
        gone[op.out], total = op.args[0], new
    substitute(body, gone)
    return total


def _there(base: Value | None, shift: int, into: list[Item]) -> Value:
    """An index behind the loop."""
    if base is None or not shift:
        return literal(shift) if base is None else base
    into.append(Op("add", (base, literal(shift)), Value(INT, "t")))
    (out,) = outs(into[-1])
    return out
