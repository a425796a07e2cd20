"""Loops whose condition computes something that carries a derivative, in a form that has none."""

from ._ir import BOOL, Array, Block, If, Item, Op, Value, While, blocks, outs
from ._writer import literal

__all__ = ["rotated"]


def rotated(block: Block, active: set[Value]) -> Block:
    """Loops whose head computes something that carries a derivative, with the head moved into the body."""
    items: list[Item] = []
    for item in block.items:
        for inner in blocks(item):
            inner.items = rotated(inner, active).items
        if isinstance(item, While) and any(v in active for i in item.head.items for v in outs(i)):
            items += _rotate(item)
        else:
            items.append(item)
    return Block(items, block.results)


def _rotate(item: While) -> list[Item]:
    """One loop with its head moved into its body."""
    go, again = Value(BOOL, "go"), Value(BOOL, "go")
    exported = [v for v in item.head.results if v not in item.carry]
    slots = [Value(v.type, v.name) for v in exported]
    blanks: list[Item] = []
    starts = []
    for v in exported:
        if isinstance(v.type, Array):
            starts.append(Value(v.type, v.name))
            blanks.append(Op("empty", tuple(literal(0) for _ in range(v.type.ndim)), starts[-1], str(v.type.dtype)))
        else:
            starts.append(Value(v.type, const=False if v.type == BOOL else 0.0 if v.floats else 0))
    nexts = [Value(v.type, v.name) for v in item.carry]
    stay = Block([], list(item.carry))
    choice = If(item.cond, item.body, stay, nexts)
    flag = Op("bool", (item.cond,), again)
    body = Block([*item.head.items, choice, flag], [*nexts, again, *exported])
    heads = [*item.carry, go, *slots]
    inits = [*item.inits, literal(True), *starts]
    results = [slots[exported.index(v)] if v in exported else v for v in item.head.results]
    return [*blanks, While(heads, inits, Block([], results), go, body, item.outs)]
