"""Which arrays of a finished program certainly have one shape: their lengths as keys that can be compared.

A key is a number, a value, the axis of an array, a length less a number, or a set of keys: what these lengths
broadcast to.
"""

from typing import Any

from ._analysis import STORES, Memory
from ._ir import Array, Call, If, Op, Program, Value, walk
from ._ops import DERIVATIVES
from ._writer import rank

__all__ = ["Key", "Shapes", "broadcast", "shorter"]

Key = Any
SAME = {"zeros_like", "copy", "cast", "fill", *STORES}
"""Operations whose result has the shape of their first operand."""


class Shapes:
    """The shapes of a program's arrays, worked out where they are asked for."""

    def __init__(self, program: Program, memory: Memory) -> None:
        self.sizes, self.memory = program.sizes, memory
        self.known: dict[Value, tuple[Key, ...]] = {}
        grown = (op.out for op in walk(program.block) if isinstance(op, Op) and op.name == "grow")
        self.grown = {memory.storage(out) for out in grown if out is not None}

    def of(self, array: Value) -> tuple[Key, ...]:
        """The lengths of an array."""
        if array not in self.known:
            own = tuple((array, k) for k in range(rank(array)))
            self.known[array] = own  # the answer while it is being worked out
            self.known[array] = self.found(array) or own
        return self.known[array]

    def key(self, size: Value) -> Key:
        """A length, as it compares with others."""
        if size.const is not None:
            return int(size.const)
        item, _ = self.memory.where.get(size, (None, 0))
        if isinstance(item, Op) and item.name == "shape":
            return self.of(item.args[0])[item.attrs]
        if isinstance(item, Op) and item.name in ("sub", "max") and len(item.args) == 2:
            a, b = item.args
            if item.name == "max" and b.const == 0:
                return self.key(a)  # a length isn't negative
            if item.name == "sub" and isinstance(b.const, int) and b.const >= 0:
                return shorter(self.key(a), b.const)
        return size

    def keys(self, sizes: tuple[Value, ...]) -> tuple[Key, ...]:
        """Several lengths."""
        return tuple(map(self.key, sizes))

    def found(self, array: Value) -> tuple[Key, ...] | None:
        """The shape as it follows from how the array is made."""
        storage = self.memory.storage(array)
        if storage is not array:
            return None if storage in self.grown else self.of(storage)
        item, k = self.memory.where.get(array, (None, 0))
        if isinstance(item, Op):
            made = self.made(item)
            if made is not None:
                return made
        if isinstance(item, If):
            a, b = (self.of(side.results[k]) for side in (item.then, item.orelse))
            if a == b:
                return a
        if array in self.sizes and item is not None and not isinstance(item, Call):
            return self.keys(self.sizes[array])
        return None

    def made(self, op: Op) -> tuple[Key, ...] | None:
        """The shape of an operation's result."""
        name, args = op.name, op.args
        if name in SAME:
            return self.of(args[0])
        if name in ("zeros", "ones", "empty"):
            return self.keys(args)
        if name in ("unbroadcast", "reshape"):
            return self.keys(args[1:])
        if name == "transposed":
            return self.of(args[0])[::-1]
        if name == "outer":
            return (self.of(args[0])[0], self.of(args[1])[0])
        if name == "matmul":
            return (*self.of(args[0])[: rank(args[0]) - 1], *self.of(args[1])[1:])
        if name == "sum_axis":
            return tuple(key for k, key in enumerate(self.of(args[0])) if k != op.attrs)
        if name == "ravel":
            return self.of(args[0]) if rank(args[0]) == 1 else None
        if name in DERIVATIVES:
            return broadcast([self.of(arg) for arg in args if isinstance(arg.type, Array)])
        return None


def shorter(key: Key, less: int) -> Key:
    """The length that is left when so many elements are taken away."""
    if isinstance(key, tuple) and key[0] == "cut":
        return ("cut", key[1], key[2] + less)
    if isinstance(key, int):
        return max(key - less, 0)
    return ("cut", key, less) if less else key


def broadcast(shapes: list[tuple[Key, ...]]) -> tuple[Key, ...]:
    """What shapes broadcast to, by the keys of their lengths."""
    ndim = max(map(len, shapes))
    whole = []
    for axis in range(1, ndim + 1):
        parts: set[Key] = set()
        for shape in shapes:
            if axis <= len(shape):
                key = shape[-axis]
                parts |= key if isinstance(key, frozenset) else {key}
        parts = parts - {1} or {1}
        whole.append(next(iter(parts)) if len(parts) == 1 else frozenset(parts))
    return tuple(reversed(whole))
