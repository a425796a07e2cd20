"""The names of values in generated Python, and how often each is used."""

import keyword

from ._analysis import Memory
from ._ir import F32, Block, For, If, Item, Op, Program, Scalar, Value, While, blocks, operands, outs

__all__ = ["Names"]

RESERVED = {"math", "np", "rt", "max", "min", "abs", "float", "int", "bool", "round", "range", "len"}


class Names:
    """The part of the writer that knows names."""

    def __init__(self, program: Program, title: str, functions: dict[int, str]) -> None:
        self.program, self.title, self.functions = program, title, functions
        self.memory = Memory(program.block)
        self.names: dict[Value, str] = {}
        self.taken = {*RESERVED, *functions.values()}
        self.lines: list[str] = []
        self.depth = 1
        self.inlined: dict[Value, str] = {}
        self.negated: dict[Value, Value] = {}  # of those, what has the other sign
        self.ahead: set[Op] = set()  # tapes that grow before the loop that writes them
        self.alias_of: dict[Value, Value] = {}  # an index within bounds is the index
        self.limit = ""  # where the thread's stack ends, in functions that call themselves
        self.uses: dict[Value, list[int]] = {}
        self.homes: dict[Value, int] = {}
        self.count(program.block)

    # How often and where a value is used: what is used once, in its own block, is written where it is used.

    def count(self, block: Block) -> None:
        """Notes where values are made and read."""
        for item in block.items:
            for value in operands(item):
                self.uses.setdefault(value, []).append(id(block))
                if isinstance(item, Op) and item.name == "within":
                    self.uses[value].append(0)  # written more than once
            for value in outs(item):
                self.homes[value] = id(block)
            for inner in blocks(item):
                self.count(inner)
            for value, home in _handed_on(item):
                self.uses.setdefault(value, []).append(home)
        if block is self.program.block:
            for value in block.results:
                self.uses.setdefault(value, []).append(id(block))

    def line(self, text: str) -> None:
        """Adds a line."""
        self.lines.append("    " * self.depth + text)

    def name(self, value: Value) -> str:
        """The variable of a value: versions of an array share one."""
        root = self.memory.storage(value) if value.is_array else value
        if root not in self.names:
            base = root.name if root.name.isidentifier() and not keyword.iskeyword(root.name) else "t"
            self.names[root] = self.fresh(base)
        return self.names[root]

    def alias(self, value: Value, other: Value) -> None:
        """Gives a value the variable of another."""
        self.names[value] = self.name(other)

    def text(self, value: Value) -> str:
        """A value as it stands in an expression."""
        if value.const is not None:
            return self.constant(value)
        if value in self.alias_of:
            return self.text(self.alias_of[value])
        if value in self.inlined:
            return f"({self.inlined[value]})"
        return self.name(value)

    def constant(self, value: Value) -> str:
        """A literal."""
        x = value.const
        if isinstance(value.type, Scalar) and value.type.kind == "f":
            x = float(x)
            text = f"math.{'nan' if x != x else 'inf'}" if x != x or abs(x) == float("inf") else repr(abs(x))
            text = f"-{text}" if x < 0 or str(x).startswith("-") else text
            return f"np.float32({text})" if value.type == F32 else text
        return repr(x)

    def fresh(self, base: str) -> str:
        """A name that nothing has."""
        name, n = base, 0
        while name in self.taken:
            n += 1
            name = f"{base}_{n}"
        self.taken.add(name)
        return name


def _handed_on(item: Item) -> list[tuple[Value, int]]:
    """What an item's blocks hand on, with the block at whose end it is read (0: elsewhere)."""
    if isinstance(item, If):
        return [(value, id(block)) for block in blocks(item) for value in block.results]
    if isinstance(item, For):
        halt = [] if item.halt is None else [item.halt]
        return [(value, id(item.body)) for value in (*item.body.results, *halt)]
    if isinstance(item, While):
        ends = [(value, 0) for value in item.head.results]
        return [*ends, (item.cond, id(item.head)), *((value, id(item.body)) for value in item.body.results)]
    return []
