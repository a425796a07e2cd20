"""Whole numbers that a loop computes in every trip alike, computed before it: lengths, and the ends of loops in it."""

from ._ir import INT, Block, For, Item, Op, Program, While, blocks, defined

__all__ = ["PLAIN", "without_invariants"]

PLAIN = {"add", "sub", "mul", "neg", "max", "min", "shape", "range_length"}
"""What can be computed even if no trip would have: it raises nothing."""


def without_invariants(program: Program) -> Program:
    """The program with the integers that don't change from trip to trip computed before their loops."""
    _lift(program.block)
    return program


def _lift(block: Block) -> None:
    """Lifts out of the loops of a block, from the inside out."""
    items: list[Item] = []
    for item in block.items:
        for inner in blocks(item):
            _lift(inner)
        if isinstance(item, For | While):
            items += _lifted(item)
        items.append(item)
    block.items = items


def _lifted(loop: For | While) -> list[Item]:
    """Takes what doesn't change out of a loop."""
    inside = defined(Block([loop]))
    found: list[Item] = []
    for body in blocks(loop):
        for op in list(body.items):
            if (
                isinstance(op, Op)
                and op.name in PLAIN
                and op.out is not None
                and op.out.type == INT
                and not inside.intersection(op.args)
            ):
                body.items.remove(op)
                inside.discard(op.out)
                found.append(op)
    return found
