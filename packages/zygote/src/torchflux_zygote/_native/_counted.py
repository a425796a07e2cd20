"""`while` loops that count, as `for` loops: how often they run is known before, and so is what their index can be."""

from ._invariant import without_invariants
from ._ir import INT, Block, For, Item, Op, Program, Value, While, blocks, defined, used
from ._ranges import SMALL
from ._rewrite import substitute
from ._writer import literal

__all__ = ["counted"]

MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


def counted(program: Program) -> Program:
    """The program with a `for` in the place of each `while` that compares a counter with what doesn't change.

    The counter goes up or down by a literal, once in every trip.
    """
    without_invariants(program)
    mapping: dict[Value, Value] = {}
    _turn(program.block, mapping)
    substitute(program.block, mapping)
    program.effects = [mapping.get(value, value) for value in program.effects]
    return program


def _turn(block: Block, mapping: dict[Value, Value]) -> None:
    """Turns the loops of a block, from the inside out; what stands for their outcomes is noted in `mapping`."""
    items: list[Item] = []
    for item in block.items:
        for inner in blocks(item):
            _turn(inner, mapping)
        items += (isinstance(item, While) and _turned(item, mapping)) or [item]
    block.items = items


def _turned(loop: While, mapping: dict[Value, Value]) -> list[Item] | None:
    """A loop as a `for`, with what comes before and after it; `None` if it doesn't count."""
    inside = defined(Block([loop]))
    comparison = _comparison(loop, inside)
    if comparison is None:
        return None
    name, counter, bound = comparison
    k = loop.carry.index(counter)
    step = _step(loop.body, k, counter)
    if step == 0 or (step > 0) is not (name in ("lt", "le")):
        return None
    if any(value in inside and value not in loop.carry for value in loop.head.results):
        return None
    before, stop = _stop(name, bound)
    after, results = _after(loop, k, step, stop, mapping)
    index = mapping[counter] = Value(INT, counter.name)
    rest = [j for j in range(len(loop.carry)) if j != k]
    carry, inits, ends = ([values[j] for j in rest] for values in (loop.carry, loop.inits, loop.body.results))
    body = Block(loop.body.items, ends)
    found = For(index, loop.inits[k], stop, literal(step), carry, inits, body, [results[c] for c in carry])
    return [*before, found, *after]


def _comparison(loop: While, inside: set[Value]) -> tuple[str, Value, Value] | None:
    """How a counter is compared with a bound, if that is all that decides whether the loop goes on."""
    op = loop.head.items[0] if len(loop.head.items) == 1 else None
    if not isinstance(op, Op) or op.name not in MIRRORED or op.out is not loop.cond:
        return None
    if loop.cond in [*loop.head.results, *loop.body.results, *used(loop.body.items)]:
        return None
    (a, b), name = op.args, op.name
    if b in loop.carry:
        a, b, name = b, a, MIRRORED[name]
    if a not in loop.carry or b in inside or a.type != INT or b.type != INT:
        return None
    return name, a, b


def _step(body: Block, k: int, counter: Value) -> int:
    """By which literal a trip moves the counter; 0 if it does something else."""
    for op in body.items:
        if isinstance(op, Op) and op.out is body.results[k] and op.name in ("add", "sub"):
            a, b = op.args
            if op.name == "add" and b is counter:
                a, b = b, a
            if a is counter and b.const is not None and abs(b.const) < SMALL:
                return int(b.const) if op.name == "add" else -int(b.const)
    return 0


def _stop(name: str, bound: Value) -> tuple[list[Item], Value]:
    """Where a `for` stops, and how that is computed."""
    if name in ("lt", "gt"):
        return [], bound
    more = 1 if name == "le" else -1
    if bound.const is not None:
        return [], literal(int(bound.const) + more)
    stop = Value(INT)
    return [Op("add", (bound, literal(more)), stop)], stop


def _after(
    loop: While, k: int, step: int, stop: Value, mapping: dict[Value, Value]
) -> tuple[list[Item], dict[Value, Value]]:
    """What is computed behind the loop: where the counter is then. And what the others are then, by their heads."""
    results: dict[Value, Value] = {}
    for out, value in zip(loop.outs, loop.head.results, strict=True):
        if value in loop.carry:
            mapping.update({out: results[value]} if value in results else {})
            results.setdefault(value, out)
        else:
            mapping[out] = value
    results |= {head: Value(head.type, head.name) for head in loop.carry if head not in results}
    start, end = loop.inits[k], results[loop.carry[k]]
    if step in (1, -1):
        return [Op("max" if step > 0 else "min", (start, stop), end)], results
    trips, way = Value(INT, "trips"), Value(INT)
    after: list[Item] = [
        Op("range_length", (start, stop, literal(step)), trips),
        Op("mul", (trips, literal(step)), way),
        Op("add", (start, way), end),
    ]
    return after, results
