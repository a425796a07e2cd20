"""What a program does: which values carry derivatives, which arrays share memory, what can be computed again."""

from collections.abc import Iterator

from ._ir import Block, Call, For, If, Item, Op, Program, Value, While, blocks, outs, walk
from ._ops import COSTLY, DERIVATIVES

__all__ = ["Memory", "active_values", "definitions", "recomputable", "stores_into", "useful_values", "varied_values"]

CONSTANT = {
    "zeros",
    "ones",
    "empty",
    "zeros_like",
    "shape",
    "argmax",
    "argmin",
    "within",
    "range_length",
    "all",
    "any",
    "eye",
    "arange",
    "argsort",
    "beyond",
    "wrapped",
    "nonzero",
}
"""Operations whose result has no derivative."""
STORES = {"store", "accum", "put", "scatter"}
SHARING = {*STORES, "load", "ravel", "reshape", "transposed", "grow", "within"}
"""Operations whose result may live in their operand's memory."""


def flows(op: Op) -> Iterator[Value]:
    """The operands from which a derivative reaches the result."""
    if op.out is None or not op.out.floats or op.name in CONSTANT:
        return
    rules = DERIVATIVES.get(op.name)
    for k, arg in enumerate(op.args):
        if arg.floats and arg.const is None and (rules is None or rules[k] is not None):
            yield arg


def _edges(block: Block) -> Iterator[tuple[Value, Value]]:
    """Pairs of a value and another that it flows into."""
    for item in walk(block):
        if isinstance(item, Op):
            assert item.out is not None or not list(flows(item))
            yield from ((arg, item.out) for arg in flows(item) if item.out is not None)
        elif isinstance(item, Call):
            yield from ((arg, out) for arg in item.args for out in item.outs if arg.floats and arg.const is None)
        elif isinstance(item, If):
            for side in (item.then, item.orelse):
                yield from zip(side.results, item.outs, strict=True)
        else:
            yield from zip(item.inits, item.carry, strict=True)
            yield from zip(item.body.results, item.carry, strict=True)
            last = item.head.results if isinstance(item, While) else item.carry
            yield from zip(last, item.outs, strict=True)
            if isinstance(item, For):
                yield from zip(item.body.results, item.outs, strict=True)


def _reach(starts: list[Value], edges: list[tuple[Value, Value]]) -> set[Value]:
    """The floats that can be reached from some values."""
    following: dict[Value, list[Value]] = {}
    for a, b in edges:
        following.setdefault(a, []).append(b)
    found, todo = set(starts), list(starts)
    while todo:
        for value in following.get(todo.pop(), []):
            if value.floats and value.const is None and value not in found:
                found.add(value)
                todo.append(value)
    return found


def varied_values(program: Program, wrt: list[Value]) -> set[Value]:
    """What depends differentiably on some parameters."""
    return _reach([p for p in wrt if p.floats], list(_edges(program.block)))


def useful_values(program: Program) -> set[Value]:
    """What the results depend on differentiably."""
    ends = [r for r in program.block.results if r.floats and r.const is None]
    return _reach(ends, [(b, a) for a, b in _edges(program.block)])


def active_values(program: Program, wrt: list[Value]) -> set[Value]:
    """What carries a derivative from the parameters to the results."""
    return varied_values(program, wrt) & useful_values(program)


def definitions(block: Block) -> dict[Value, tuple[Item, int]]:
    """Where each value is defined: its item and its number there (-1: what a loop carries, and its index)."""
    found: dict[Value, tuple[Item, int]] = {}
    for item in walk(block):
        for k, value in enumerate(outs(item)):
            found[value] = (item, k)
        if isinstance(item, For | While):
            for value in item.carry:
                found[value] = (item, -1)
        if isinstance(item, For):
            found[item.index] = (item, -1)
    return found


class Memory:
    """Which array values live in the same memory."""

    def __init__(self, block: Block) -> None:
        self.where = definitions(block)
        self.known: dict[tuple[int, int], bool] = {}
        self.pending: set[tuple[int, int]] = set()
        self.same: dict[Value, Value] = {}
        self._unite(block)
        self.mutated = {
            self.group(item.args[0]) for item in walk(block) if isinstance(item, Op) and item.name in STORES
        } | {self.group(arg) for item in walk(block) if isinstance(item, Call) for arg, _ in _grown(item)}

    def storage(self, value: Value) -> Value:
        """The value whose variable this one is kept in: it differs from it by stores only, or in length."""
        if value not in self.where:
            return value
        item, k = self.where[value]
        if isinstance(item, Op):
            return self.storage(item.args[0]) if item.name in STORES or item.name == "grow" else value
        if isinstance(item, Call):
            return value
        if isinstance(item, If):
            a, b = self.storage(item.then.results[k]), self.storage(item.orelse.results[k])
            return a if a is b else value
        if value in item.carry:
            n = item.carry.index(value)
            return self.storage(item.inits[n]) if self.in_place(item, n) else value
        if k >= len(item.outs) or k < 0:
            return value
        last = item.head.results[k] if isinstance(item, While) else item.carry[k]
        if last in item.carry and self.in_place(item, item.carry.index(last)):
            return self.storage(item.inits[item.carry.index(last)])
        return value

    def in_place(self, loop: For | While, n: int) -> bool:
        """Whether a loop hands an array on in the memory in which it came."""
        head = loop.carry[n]
        if not head.is_array:
            return False
        key = (id(loop), n)
        if key in self.pending:
            return False  # asked for while being answered: it is its own root
        if key not in self.known:
            self.pending.add(key)
            end = self.storage(loop.body.results[n])
            self.pending.discard(key)
            self.known[key] = end is head
        return self.known[key]

    def group(self, value: Value) -> Value:
        """Stands for all arrays that may share memory with this one."""
        root = value
        while root in self.same:
            root = self.same[root]
        return root

    def changes(self, value: Value) -> bool:
        """Whether anything may store into the memory of an array, at any time."""
        return self.group(value) in self.mutated

    def _unite(self, block: Block) -> None:
        for a, b in _shared(block):
            x, y = self.group(a), self.group(b)
            if x is not y:
                self.same[x] = y


def stores_into(block: Block, params: list[Value]) -> list[Value]:
    """What is left by the stores that may change a parameter's memory."""
    memory = Memory(block)
    theirs = {memory.group(p) for p in params if p.is_array}
    stores = [item for item in walk(block) if isinstance(item, Op) and item.name in STORES]
    return [op.out for op in stores if op.out is not None and memory.group(op.out) in theirs]


def _shared(block: Block) -> Iterator[tuple[Value, Value]]:
    """Pairs of arrays of which one may be the other, or a view of it."""
    for item in walk(block):
        if isinstance(item, Op):
            if item.out is not None and item.out.is_array and item.name in SHARING:
                yield item.args[0], item.out
        elif isinstance(item, Call):
            yield from _grown(item)  # the rest of what a call returns is new
        elif isinstance(item, If):
            for side in (item.then, item.orelse):
                yield from _arrays(side.results, item.outs)
        else:
            yield from _arrays(item.inits, item.carry)
            yield from _arrays(item.body.results, item.carry)
            yield from _arrays(item.head.results if isinstance(item, While) else item.carry, item.outs)


def _grown(call: Call) -> Iterator[tuple[Value, Value]]:
    """The stacks to which a call adds, as they are before and behind it."""
    for param, arg in zip(call.program.params, call.args, strict=False):
        k = call.program.stacks.get(param)
        if k is not None:
            yield arg, call.outs[k]


def _arrays(a: list[Value], b: list[Value]) -> Iterator[tuple[Value, Value]]:
    """The pairs of two lists that are arrays."""
    return ((x, y) for x, y in zip(a, b, strict=False) if x.is_array)


def recomputable(item: Item, memory: Memory, top: set[Value]) -> bool:
    """Whether an item can be computed again later, cheaply, with the same result."""
    if isinstance(item, Op):
        if (
            item.out is None
            or (item.name in COSTLY and item.out.floats)
            or item.name in STORES
            or item.name in UNREPEATABLE
        ):
            return False
        if item.name == "shape":
            return item.args[0] in top
        if item.name == "load" and (memory.changes(item.args[0]) or item.args[0] not in top):
            return False
        return not any(arg.is_array and memory.changes(arg) for arg in item.args)
    if isinstance(item, If):
        return all(recomputable(inner, memory, top) for block in blocks(item) for inner in block.items)
    return False


UNREPEATABLE = {
    "zeros",
    "ones",
    "empty",
    "zeros_like",
    "copy",
    "sum",
    "sum_axis",
    "matmul",
    "solve",
    "inv",
    "det",
    "argmax",
    "argmin",
    "argsort",
    "cumsum",
    "take_last",
    "raise",
    "grow",
    "accum",
}
