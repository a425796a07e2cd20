"""Numbers that a loop only adds to, whatever is in it: their cotangent is the same in every trip."""

from ._ir import Block, For, If, Item, Op, Value, While, operands, used

__all__ = ["only_added_to"]


def only_added_to(block: Block, value: Value, end: Value) -> bool:
    """Whether a block does nothing with a value but add to it, which leaves `end`.

    >>> from ._ir import F64
    >>> s, x, t = (Value(F64, name) for name in "sxt")
    >>> only_added_to(Block([Op("add", (s, x), t)], [t]), s, t), only_added_to(Block([Op("mul", (s, x), t)], [t]), s, t)
    (True, False)
    """
    while True:
        readers = [item for item in block.items if value in used([item]) or value in operands(item)]
        handed_on = sum(result is value for result in block.results)
        if value is end:
            return not readers and handed_on == 1
        following = _after(readers[0], value) if len(readers) == 1 and not handed_on else None
        if following is None:
            return False
        value = following


def _after(item: Item, value: Value) -> Value | None:
    """What an item leaves of a value that it only adds to."""
    if isinstance(item, Op):
        return _sum(item, value)
    if isinstance(item, If):
        return _choice(item, value)
    return _loop(item, value) if isinstance(item, For | While) else None


def _sum(op: Op, value: Value) -> Value | None:
    """The result of an addition to a value."""
    if op.name not in ("add", "sub") or op.out is None or str(op.out.type) != str(value.type):
        return None
    a, b = op.args
    return op.out if (a is value) != (b is value) and (op.name == "add" or a is value) else None


def _choice(item: If, value: Value) -> Value | None:
    """What a branch leaves of a value."""
    if item.cond is value:
        return None
    for out, a, b in zip(item.outs, item.then.results, item.orelse.results, strict=True):
        if only_added_to(item.then, value, a) and only_added_to(item.orelse, value, b):
            return out if str(out.type) == str(value.type) else None
    return None


def _loop(item: For | While, value: Value) -> Value | None:
    """What a loop leaves of a value."""
    around = operands(item)
    if sum(operand is value for operand in around) != 1 or value not in item.inits:
        return None
    n = item.inits.index(value)
    head = item.carry[n]
    inner = [item.body] if isinstance(item, For) else [item.head, item.body]
    if any(value in (*used(block.items), *block.results) for block in inner) or str(head.type) != str(value.type):
        return None
    if not only_added_to(item.body, head, item.body.results[n]):
        return None
    if isinstance(item, For):
        return item.outs[n]
    if item.cond is head or head in used(item.head.items) or sum(last is head for last in item.head.results) != 1:
        return None
    return next(out for out, last in zip(item.outs, item.head.results, strict=True) if last is head)
