"""The native route's programs: typed values in static single assignment form, with structured control flow.

Every value is defined once. A block is a list of operations that ends in its results; an `If` chooses between two
blocks, a `For` or `While` repeats one, carrying values from trip to trip. Tuples don't occur (they are taken apart
when a function is read). Arrays are values as well: a store makes a *new* version of an array, of which the old
one is never used again, so that the code written from it stores in place. That makes every transform a local
rule: no aliases, no effects.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "BOOL", "F32", "F64", "INT", "WEAK", "Array", "Block", "Call", "For", "If", "Item", "Op", "Program", "Scalar",
    "Type", "Value", "While",
]  # fmt: skip


@dataclass(frozen=True)
class Scalar:
    """A number: kind `f` (float), `i` (int64) or `b` (bool). A weak one, a literal, takes its partner's width."""

    kind: str
    bits: int = 64
    weak: bool = False

    def __str__(self) -> str:
        return {"f": f"float{self.bits}", "i": "int64", "b": "bool_"}[self.kind]


@dataclass(frozen=True)
class Array:
    """An array of `ndim` dimensions."""

    dtype: Scalar
    ndim: int

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(':' * self.ndim)}]"


Type = Scalar | Array
F64, F32, INT, BOOL = Scalar("f", 64), Scalar("f", 32), Scalar("i"), Scalar("b", 8)
WEAK = Scalar("f", 64, weak=True)


class Value:
    """Something computed once; `const` holds the number if it is a literal."""

    __slots__ = ("const", "name", "type")

    def __init__(self, type: Type, name: str = "t", const: Any = None) -> None:
        self.type, self.name, self.const = type, name, const

    def __repr__(self) -> str:
        return f"{self.name}:{self.type}" if self.const is None else repr(self.const)

    @property
    def floats(self) -> bool:
        """Whether it can carry a derivative."""
        return (self.type.dtype if isinstance(self.type, Array) else self.type).kind == "f"

    @property
    def is_array(self) -> bool:
        """Whether it is an array."""
        return isinstance(self.type, Array)


@dataclass(eq=False)
class Op:
    """`out = name(args)`; `attrs` holds what isn't a value (the shape of an index, a message)."""

    name: str
    args: tuple[Value, ...]
    out: Value | None
    attrs: Any = None
    place: str = ""


@dataclass(eq=False)
class Block:
    """Items in order, and the values that they hand on."""

    items: list[Any] = field(default_factory=list)
    results: list[Value] = field(default_factory=list)


@dataclass(eq=False)
class Call:
    """`outs = program(args)`: a program that isn't written out here, because it calls itself or is to be run again."""

    program: "Program"
    args: list[Value]
    outs: list[Value]
    place: str = ""


@dataclass(eq=False)
class If:
    """One of two blocks; `outs[k]` is the taken block's `results[k]`."""

    cond: Value
    then: Block
    orelse: Block
    outs: list[Value] = field(default_factory=list)


@dataclass(eq=False)
class For:
    """`for index in range(start, stop, step)`; `carry[k]` is `inits[k]` at first and then the trip's `results[k]`.

    `outs[k]` is what the last trip left (`inits[k]` after none). If `body.results` is followed by a `halt`, the loop
    ends after the trip in which it is true. What a `backward` loop adds up are cotangents, in any order.
    """

    index: Value
    start: Value
    stop: Value
    step: Value
    carry: list[Value]
    inits: list[Value]
    body: Block
    outs: list[Value]
    halt: Value | None = None
    backward: bool = False


@dataclass(eq=False)
class While:
    """`while True: head; if not cond: break; body`; what the head computes is seen by the body.

    `outs[k]` is the head's `results[k]` when it ends.
    """

    carry: list[Value]
    inits: list[Value]
    head: Block
    cond: Value
    body: Block
    outs: list[Value]


Item = Op | Call | If | For | While
Loop = For | While


@dataclass(eq=False)
class Program:
    """A function: parameters and a block, whose results it returns."""

    name: str
    params: list[Value]
    block: Block
    place: str = ""
    sizes: dict[Value, tuple[Value, ...]] = field(default_factory=dict)  # the shapes of arrays, where they are known
    derived: dict[Any, Any] = field(default_factory=dict)  # what has been made of it
    like: dict[Value, Value] = field(default_factory=dict)  # results in the shape of other values
    effects: list[Value] = field(default_factory=list)  # what stores into arrays of the caller leave
    solid: frozenset[Value] = frozenset()  # parameters that are arrays without an axis of length one
    called: bool = False  # by a program, perhaps itself: it is compiled for declared types
    stacks: dict[Value, int | None] = field(default_factory=dict)  # parameters to which it adds, and as which results
    raises: bool = False  # so that calls of it run even if nobody reads what they return


def outs(item: Item) -> list[Value]:
    """What an item defines for those after it."""
    if isinstance(item, Op):
        return [] if item.out is None else [item.out]
    return item.outs


def blocks(item: Item) -> list[Block]:
    """The blocks in an item."""
    if isinstance(item, If):
        return [item.then, item.orelse]
    if isinstance(item, While):
        return [item.head, item.body]
    return [item.body] if isinstance(item, For) else []


def operands(item: Item) -> list[Value]:
    """What an item itself reads (its blocks read more)."""
    if isinstance(item, Op | Call):
        return list(item.args)
    if isinstance(item, If):
        return [item.cond]
    return [item.start, item.stop, item.step, *item.inits] if isinstance(item, For) else list(item.inits)


def ends(item: Item) -> list[Value]:
    """What its blocks hand on: results and conditions."""
    found = [value for block in blocks(item) for value in block.results]
    if isinstance(item, While):
        found.append(item.cond)
    if isinstance(item, For) and item.halt is not None:
        found.append(item.halt)
    return found


def walk(block: Block) -> Iterator[Item]:
    """Every item of a block and of the blocks in it."""
    for item in block.items:
        yield item
        for inner in blocks(item):
            yield from walk(inner)


def defined(block: Block) -> set[Value]:
    """Every value that is defined in a block, at any depth."""
    found: set[Value] = set()
    for item in walk(block):
        found.update(outs(item))
        if isinstance(item, For):
            found.update([item.index, *item.carry])
        elif isinstance(item, While):
            found.update(item.carry)
    return found


def used(items: Iterable[Item]) -> list[Value]:
    """Every value that items read, at any depth, in order, each once (literals left out)."""
    found: dict[Value, None] = {}
    for item in items:
        for value in operands(item):
            found[value] = None
        for block in blocks(item):
            for value in used(block.items):
                found[value] = None
        for value in ends(item):
            found[value] = None
    return [value for value in found if value.const is None]
