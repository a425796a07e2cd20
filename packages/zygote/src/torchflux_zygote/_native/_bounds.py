"""Bounds checks once before a loop, where every trip makes them on an index that moves with the loop's own."""

from ._ir import BOOL, INT, Block, For, If, Item, Op, Program, Value, blocks, defined
from ._rewrite import substitute
from ._writer import literal

__all__ = ["hoisted"]


def hoisted(program: Program) -> Program:
    """The program with its checks of `a[i + c]` in `for i in range(...)` before the loop.

    An index out of bounds is then found before the loop's first trip, and not in the trip that would have used it.
    """
    _hoist(program.block)
    return program


def _hoist(block: Block) -> None:
    """Moves checks out of the loops of a block, from the inside out."""
    items: list[Item] = []
    for item in block.items:
        for inner in blocks(item):
            _hoist(inner)
        if isinstance(item, For) and item.halt is None:
            items += _ahead(item)
        items.append(item)
    block.items = items


def _ahead(loop: For) -> list[Item]:
    """Takes checks out of a loop's body, and returns those to make before it."""
    inside = defined(Block([loop]))
    makers = {op.out: op for op in loop.body.items if isinstance(op, Op) and op.out is not None}
    found: list[Item] = []
    replaced: dict[Value, Value] = {}
    for op in [op for op in loop.body.items if isinstance(op, Op) and op.name == "within"]:
        i, n = op.args
        shift = _shift(i, loop, makers, inside)
        if shift is None or n in inside:
            continue
        assert op.out is not None
        replaced[op.out] = i
        loop.body.items.remove(op)
        bad = Value(BOOL, "outside")
        found.append(Op("outside", (loop.start, loop.stop, loop.step, shift, n), bad))
        found.append(If(bad, Block([Op("raise", (), None, ("IndexError", op.place), op.place)]), Block(), []))
    substitute(loop.body, replaced)
    return found


def _shift(i: Value, loop: For, makers: dict[Value, Op], inside: set[Value]) -> Value | None:
    """What an index adds to the loop's own, if that is all it does."""
    if i is loop.index:
        return literal(0)
    op = makers.get(i)
    if op is None or op.name not in ("add", "sub"):
        return None
    a, b = op.args
    if op.name == "add" and b is loop.index:
        a, b = b, a
    if a is not loop.index or b in inside or b.type != INT:
        return None
    if b.const is not None:
        return literal(b.const if op.name == "add" else -b.const)
    return b if op.name == "add" else None
