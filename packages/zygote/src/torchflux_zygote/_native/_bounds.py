"""Bounds checks: left out where they can't fail, and otherwise made once before a loop rather than in its trips."""

from ._augmented import with_additions
from ._invariant import without_invariants
from ._ir import BOOL, INT, Block, For, If, Item, Op, Program, Value, blocks, defined, walk
from ._ranges import Ranges
from ._rewrite import substitute
from ._writer import literal

__all__ = ["hoisted"]


def hoisted(program: Program) -> Program:
    """The program with its checks of `a[i + c]` in `for i in range(...)` before the loop.

    An index out of bounds is then found before the loop's first trip, and not in the trip that would have used it.
    """
    without_invariants(program)
    ranges = Ranges(program)
    _drop(program.block, ranges)
    _hoist(program.block, ranges)
    for op in walk(program.block):
        if isinstance(op, Op) and op.name == "within":
            low = ranges.lowest(op.args[0])
            op.attrs = "from 0" if low is not None and low >= 0 else None
    return with_additions(program)


def _drop(block: Block, ranges: Ranges) -> None:
    """Leaves out the checks of a block that can't fail."""
    replaced: dict[Value, Value] = {}
    for item in list(block.items):
        for inner in blocks(item):
            _drop(inner, ranges)
        if isinstance(item, Op) and item.name == "within" and ranges.within(*item.args):
            assert item.out is not None
            replaced[item.out] = item.args[0]
            block.items.remove(item)
    substitute(block, replaced)


def _hoist(block: Block, ranges: Ranges) -> None:
    """Moves checks out of the loops of a block, from the inside out."""
    items: list[Item] = []
    for item in block.items:
        for inner in blocks(item):
            _hoist(inner, ranges)
        if isinstance(item, For) and item.halt is None:
            items += _ahead(item, ranges)
        items.append(item)
    block.items = items


def _ahead(loop: For, ranges: Ranges) -> list[Item]:
    """Takes checks out of a loop's body, and returns those to make before it."""
    inside = defined(Block([loop]))
    found: list[Item] = []
    replaced: dict[Value, Value] = {}
    same: list[Item] = []
    for op in [op for op in loop.body.items if isinstance(op, Op) and op.name == "within"]:
        i, n = op.args
        if n in inside:
            continue
        assert op.out is not None
        shift = _shift(i, loop, ranges, inside)
        if shift is not None:
            bad = Value(BOOL, "outside")
            found.append(Op("outside", (loop.start, loop.stop, loop.step, shift, n), bad))
            found.append(If(bad, Block([Op("raise", (), None, ("IndexError", op.place), op.place)]), Block(), []))
        elif i not in inside:
            same.append(Op("within", (i, n), Value(INT, op.out.name), place=op.place))
        else:
            continue
        replaced[op.out] = i
        loop.body.items.remove(op)
    substitute(loop.body, replaced)
    return [*found, *_if_any_trip(loop, same)]


def _if_any_trip(loop: For, checks: list[Item]) -> list[Item]:
    """Checks that are the same in every trip, to be made if there is one."""
    start, stop, step = loop.start, loop.stop, loop.step
    if not checks or (start.const is not None and stop.const is not None and step.const is not None):
        return checks if checks and len(range(start.const, stop.const, step.const)) else []
    some = Value(BOOL, "some")
    if step.const is not None:
        test = Op("lt" if step.const > 0 else "gt", (start, stop), some)
        return [test, If(some, Block(checks), Block(), [])]
    trips = Value(INT, "trips")
    count = Op("range_length", (start, stop, step), trips)
    return [count, Op("gt", (trips, literal(0)), some), If(some, Block(checks), Block(), [])]


def _shift(i: Value, loop: For, ranges: Ranges, inside: set[Value]) -> Value | None:
    """What an index adds to the loop's own, if that is all it does."""
    base, more = ranges.moved(i)
    if base is loop.index:
        return literal(more)
    op = ranges.makers.get(i)
    if op is None or op.name != "add":
        return None
    a, b = op.args
    if b is loop.index:
        a, b = b, a
    return b if a is loop.index and b not in inside and b.type == INT else None
