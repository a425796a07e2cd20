"""Long loops for less memory: the loop is cut into stretches, of which the way back runs one at a time again.

A stretch becomes a program of its own, which the loop calls. The adjoint of a call runs its program again and then
backwards, so that the tape holds what is carried from stretch to stretch, and one stretch at a time.

Source: Griewank (1992), doi:10.1080/10556789208805505.
"""

from ._ir import BOOL, INT, Block, Call, For, If, Item, Loop, Op, Program, Value, While, defined, used
from ._rewrite import clone, substitute
from ._writer import Writer, literal

__all__ = ["checkpointed"]


def checkpointed(program: Program, length: int | None) -> Program:
    """The program with its outer loops in stretches of `length` trips (0: as many as there are stretches)."""
    if length is None:
        return program
    w = Writer()
    block = clone(program.block)
    kept = set(program.effects)  # a stretch works on copies
    for item in block.items:
        if (
            isinstance(item, For | While)
            and not kept.intersection(defined(Block([item])))
            and getattr(item, "halt", None) is None
        ):
            _cut(w, item, length)
        else:
            w.add(item)
    w.block.results = block.results
    return Program(
        program.name, program.params, w.block, program.place, program.sizes, like=program.like, effects=program.effects
    )


def _cut(w: Writer, loop: Loop, length: int) -> None:
    """Writes a loop in stretches."""
    if isinstance(loop, For):
        _cut_for(w, loop, length)
    else:
        _cut_while(w, loop, length or 1024)


def _outside(loop: Loop) -> list[Value]:
    """What a loop reads of what is around it, its first values aside."""
    inner = defined(Block([loop]))
    blocks = [loop.body] if isinstance(loop, For) else [loop.head, loop.body]
    read = {v: None for block in blocks for v in [*used(block.items), *block.results] if v.const is None}
    if isinstance(loop, While):
        read[loop.cond] = None
    return [v for v in read if v not in inner]


def _twins(values: list[Value]) -> list[Value]:
    """New values of the same types and names."""
    return [Value(v.type, v.name) for v in values]


def _program(
    name: str, params: list[Value], items: list[Item], results: list[Value], given: dict[Value, Value]
) -> Program:
    """A program of copied items, with parameters of its own for what it is given."""
    block = clone(Block(items, results))
    local = defined(block)
    substitute(block, {v: Value(v.type, v.name) for v in local}, define=True)
    substitute(block, given)
    first = [Op("copy", (p,), Value(p.type, p.name)) for p in params if p.is_array and p in _stored(block)]
    substitute(block, {op.args[0]: op.out for op in first if op.out is not None})
    block.items[0:0] = first
    return Program(name, params, block)


def _stored(block: Block) -> set[Value]:
    """Parameters whose memory is stored into."""
    from ._analysis import Memory

    memory = Memory(block)
    return {v for v in used(block.items) if v.is_array and memory.changes(v)}


def _cut_for(w: Writer, loop: For, length: int) -> None:
    """Writes a `for` as a loop over calls of a stretch."""
    trips = w.emit("range_length", INT, loop.start, loop.stop, loop.step)
    if length:
        size: Value = literal(length)
    else:
        size = w.op("add", w.op("int", w.op("sqrt", w.op("float", trips))), literal(1))
    stretches = w.op("floordiv", w.op("sub", w.op("add", trips, size), literal(1)), size)
    outside = _outside(loop)
    step = loop.step if loop.step.const is not None else None
    start, stop, by = Value(INT, "start"), Value(INT, "stop"), Value(INT, "step")
    carry, others = _twins(loop.carry), _twins(outside)
    params = [start, stop, *([by] if step is None else []), *carry, *others]
    inner = For(loop.index, start, stop, step or by, loop.carry, carry, loop.body, loop.outs)
    stretch = _program("stretch", params, [inner], list(loop.outs), dict(zip(outside, others, strict=True)))
    index, heads, nexts = Value(INT, "stretch"), _twins(loop.carry), _twins(loop.carry)
    with w.inside(Block(results=nexts)) as body:
        first = w.op("mul", index, size)
        last = w.op("min", w.op("add", first, size), trips)
        a, b = (w.op("add", loop.start, w.op("mul", n, loop.step)) for n in (first, last))
        w.add(Call(stretch, [a, b, *([loop.step] if step is None else []), *heads, *outside], nexts))
    w.add(For(index, literal(0), stretches, literal(1), heads, loop.inits, body, loop.outs))


def _cut_while(w: Writer, loop: While, length: int) -> None:
    """Writes a `while` as a loop over calls of a stretch that says whether it came to the end."""
    if any(v not in loop.carry for v in loop.head.results):
        w.add(loop)  # its condition makes what is read behind it
        return
    outside = _outside(loop)
    carry, others, lasts = _twins(loop.carry), _twins(outside), _twins(loop.carry)
    count, more, end = Value(INT, "count"), Value(INT, "count"), Value(INT, "count")
    room, go = Value(BOOL, "room"), Value(BOOL, "go")
    orelse = Block([], [literal(False)])
    inner_head = Block(
        [Op("lt", (count, literal(length)), room), If(room, Block(loop.head.items, [loop.cond]), orelse, [go])],
        [*loop.carry, count],
    )
    inner_body = Block([*loop.body.items, Op("add", (count, literal(1)), more)], [*loop.body.results, more])
    inner = While([*loop.carry, count], [*carry, literal(0)], inner_head, go, inner_body, [*lasts, end])
    unfinished = Value(BOOL, "unfinished")
    items: list[Item] = [inner, Op("ge", (end, literal(length)), unfinished)]
    stretch = _program(
        "stretch", [*carry, *others], items, [*lasts, unfinished], dict(zip(outside, others, strict=True))
    )
    heads, nexts, flag, again = (
        _twins(loop.carry),
        _twins(loop.carry),
        Value(BOOL, "unfinished"),
        Value(BOOL, "unfinished"),
    )
    body = Block([Call(stretch, [*heads, *outside], [*nexts, again])], [*nexts, again])
    left = [heads[loop.carry.index(v)] for v in loop.head.results]
    w.add(While([*heads, flag], [*loop.inits, literal(True)], Block([], left), flag, body, loop.outs))
