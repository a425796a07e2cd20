"""Copies of blocks, values put in the place of others, and what nobody reads left out."""

from dataclasses import replace
from typing import TypeGuard

from ._ir import Block, Call, For, If, Item, Op, Program, Value, While, blocks, defined, operands, outs, used

__all__ = ["acts", "clone", "fill", "prune", "substitute", "tidy"]


def clone(block: Block) -> Block:
    """A block of new items over the same values."""
    return Block([_clone(item) for item in block.items], list(block.results))


def _clone(item: Item) -> Item:
    """A new item over the same values."""
    if isinstance(item, Op):
        return replace(item)
    if isinstance(item, Call):
        return replace(item, args=list(item.args), outs=list(item.outs))
    if isinstance(item, If):
        return If(item.cond, clone(item.then), clone(item.orelse), list(item.outs))
    if isinstance(item, For):
        return replace(
            item, carry=list(item.carry), inits=list(item.inits), body=clone(item.body), outs=list(item.outs)
        )
    return replace(
        item,
        carry=list(item.carry),
        inits=list(item.inits),
        head=clone(item.head),
        body=clone(item.body),
        outs=list(item.outs),
    )


def substitute(block: Block, mapping: dict[Value, Value], define: bool = False) -> None:
    """Puts values in the place of others, wherever they are read (`define`: and where they are defined)."""

    def new(value: Value) -> Value:
        while value in mapping and mapping[value] is not value:
            value = mapping[value]
        return value

    if not mapping:
        return
    for item in block.items:
        if isinstance(item, Op):
            item.args = tuple(map(new, item.args))
            if define and item.out is not None:
                item.out = new(item.out)
            continue
        if isinstance(item, Call):
            item.args = list(map(new, item.args))
        elif isinstance(item, If):
            item.cond = new(item.cond)
        elif isinstance(item, For):
            item.start, item.stop, item.step = new(item.start), new(item.stop), new(item.step)
            item.halt = None if item.halt is None else new(item.halt)
            item.inits = list(map(new, item.inits))
        else:
            item.cond = new(item.cond)
            item.inits = list(map(new, item.inits))
        if define:
            item.outs = list(map(new, item.outs))
            if isinstance(item, For | While):
                item.carry = list(map(new, item.carry))
            if isinstance(item, For):
                item.index = new(item.index)
        for inner in blocks(item):
            substitute(inner, mapping, define)
    block.results = list(map(new, block.results))


def prune(block: Block) -> Block:
    """The block without what its results don't need."""
    wanted = set(block.results)
    items: list[Item] = []
    for item in reversed(block.items):
        needed = any(out in wanted for out in outs(item)) or (isinstance(item, Op) and item.out is None)
        if needed or _raises(item):
            if isinstance(item, If):
                _prune_branch(item, wanted)
            items.insert(0, item)
            wanted.update(used([item]))
            wanted.update(operands(item))
    block.items = items
    return block


def _raises(item: Item) -> bool:
    """Whether an item has an effect, at any depth."""
    if isinstance(item, Op):
        return item.out is None
    if isinstance(item, Call):
        return item.program.raises
    return any(_raises(inner) for block in blocks(item) for inner in block.items)


def _prune_branch(item: If, wanted: set[Value]) -> None:
    """Leaves out what isn't needed of a branch."""
    keep = [k for k, out in enumerate(item.outs) if out in wanted]
    item.outs = [item.outs[k] for k in keep]
    for block in (item.then, item.orelse):
        block.results = [block.results[k] for k in keep]
        prune(block)


def fill(promised: Program, made: Program) -> None:
    """Puts a program where it was promised to be."""
    for name in ("params", "block", "sizes", "place", "effects", "like", "stacks"):
        setattr(promised, name, getattr(made, name))


def tidy(program: Program) -> Program:
    """The program without what nobody reads, and without carrying what never changes."""
    _settle(program.block)
    there = defined(program.block) | set(program.params)
    program.sizes = {  # not those in terms of values that others have been put in the place of
        array: shape for array, shape in program.sizes.items() if all(n.const is not None or n in there for n in shape)
    }
    _sweep(program.block, *_live(program))
    return program


def _settle(block: Block) -> None:
    """What a loop hands on unchanged is what it was before."""
    for item in block.items:
        for inner in blocks(item):
            _settle(inner)
    while True:
        mapping: dict[Value, Value] = {}
        for item in block.items:
            if isinstance(item, For):
                _unchanged(item, mapping)
        if not mapping:
            return
        substitute(block, mapping)


def _unchanged(item: For, mapping: dict[Value, Value]) -> None:
    """Takes what a loop only hands on out of what it carries."""
    same = [
        k
        for k, head in enumerate(item.carry)
        if item.body.results[k] is head and str(item.inits[k].type) == str(head.type)
    ]
    for k in same:
        mapping[item.carry[k]] = mapping[item.outs[k]] = item.inits[k]
    keep = [k for k in range(len(item.carry)) if k not in same]
    item.carry, item.inits = [item.carry[k] for k in keep], [item.inits[k] for k in keep]
    item.outs, item.body.results = [item.outs[k] for k in keep], [item.body.results[k] for k in keep]


def _live(program: Program) -> tuple[set[Value], set[int]]:
    """The values that are read, and the items that have to run."""
    where: dict[Value, tuple[Item, int]] = {}
    around: dict[int, Item] = {}
    live: set[Value] = set()
    todo: list[Value] = [*program.block.results, *program.effects]
    reached: set[int] = set()

    def reach(item: Item | None) -> None:
        """Marks what decides whether an item runs."""
        while item is not None and id(item) not in reached:
            reached.add(id(item))
            if isinstance(item, If):
                todo.append(item.cond)
            elif isinstance(item, For):
                todo.extend([item.start, item.stop, item.step] + ([item.halt] if item.halt is not None else []))
            elif isinstance(item, While):
                todo.append(item.cond)
            item = around.get(id(item))

    def index(block: Block, outer: Item | None) -> None:
        for item in block.items:
            if outer is not None:
                around[id(item)] = outer
            for k, out in enumerate(outs(item)):
                where[out] = (item, k)
            if isinstance(item, For | While):
                where.update({head: (item, -1 - k) for k, head in enumerate(item.carry)})
            for inner in blocks(item):
                index(inner, item)
            if acts(item):
                effects.append(item)

    effects: list[Op | Call] = []
    index(program.block, None)
    for op in effects:
        todo.extend(op.args)
        reach(op)
        todo.extend(outs(op))
    while todo:
        value = todo.pop()
        if value.const is not None or value in live:
            continue
        live.add(value)
        todo.extend(program.sizes.get(value, ()))  # not written unless they are read
        if value not in where:
            continue
        item, k = where[value]
        reach(item)
        if isinstance(item, Op | Call):
            todo.extend(item.args)
        elif isinstance(item, If):
            todo.extend([item.then.results[k], item.orelse.results[k]])
        elif k < 0:
            todo.extend([item.inits[-1 - k], item.body.results[-1 - k]])
        elif isinstance(item, For):
            todo.append(item.carry[k])
        else:
            todo.append(item.head.results[k])
    return live, reached


def acts(item: Item) -> TypeGuard[Op | Call]:
    """Whether an item does something besides computing its results."""
    if isinstance(item, Op):
        return item.out is None or item.name == "within"
    return isinstance(item, Call) and item.program.raises


def _sweep(block: Block, live: set[Value], reached: set[int]) -> None:
    """Leaves out what isn't live."""
    items: list[Item] = []
    for item in block.items:
        if isinstance(item, Op):
            if item.out is None or item.out in live or item.name == "within":
                items.append(item)
            continue
        if id(item) not in reached:
            continue
        if isinstance(item, Call):
            items.append(item)
            continue
        if isinstance(item, If):
            keep = [k for k, out in enumerate(item.outs) if out in live]
            item.outs = [item.outs[k] for k in keep]
            for side in (item.then, item.orelse):
                side.results = [side.results[k] for k in keep]
        else:
            keep = [k for k, head in enumerate(item.carry) if head in live]
            if isinstance(item, For):
                item.outs = [item.outs[k] for k in keep]
            else:
                shown = [k for k, out in enumerate(item.outs) if out in live]
                item.outs, item.head.results = [item.outs[k] for k in shown], [item.head.results[k] for k in shown]
            item.carry, item.inits = [item.carry[k] for k in keep], [item.inits[k] for k in keep]
            item.body.results = [item.body.results[k] for k in keep]
        for inner in blocks(item):
            _sweep(inner, live, reached)
        items.append(item)
    block.items = items
