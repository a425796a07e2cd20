"""Stacks, on which the calls of a function that calls itself leave what their way back needs: one for every type.

Every call, when it ends, puts a frame on top of those that the calls in it have left. On the way back the calls come in
the opposite order, and each takes its frame off first. A frame's numbers lie at its end, below them the elements of
its arrays, whose shapes are among its integers: so each is found from the top.

The stacks are arrays that every call is given and hands on, longer if they were full, with the number of elements in
use.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ._halves import arg_dtype, ndim
from ._ir import INT, Array, Block, Call, If, Item, Loop, Op, Scalar, Value, While, walk
from ._writer import Writer, literal

__all__ = ["Kinds", "Stacks", "Threading", "kinds_of", "pop", "push"]

ROOM = 64
"""Elements to start with."""

Kinds = tuple[Scalar, ...]


@dataclass
class Stacks:
    """A stack of every kind and the number of elements on it, as they are at one place of a program."""

    arrays: dict[Scalar, Value]
    tops: dict[Scalar, Value]

    @classmethod
    def named(cls, kinds: Kinds) -> "Stacks":
        """Under new names: parameters, or what is left."""
        return cls({k: Value(Array(k, 1), "stack") for k in kinds}, {k: Value(INT, "top") for k in kinds})

    @classmethod
    def new(cls, kinds: Kinds, w: Writer) -> "Stacks":
        """Without an element."""
        made = {k: w.emit("empty", Array(k, 1), literal(ROOM), attrs=str(k), hint="stack", pure=False) for k in kinds}
        return cls(made, {k: Value(INT, "top", const=0) for k in kinds})

    def parts(self, arrays: Iterable[Scalar], tops: Iterable[Scalar]) -> list[Value]:
        """Some stacks and some tops, in order."""
        return [self.arrays[k] for k in self.arrays if k in arrays] + [self.tops[k] for k in self.tops if k in tops]

    def renamed(self, arrays: Iterable[Scalar], tops: Iterable[Scalar]) -> "Stacks":
        """Some stacks and some tops under new names, the others as they are."""
        new = Stacks.named(tuple(self.arrays))
        return Stacks(self.arrays | {k: new.arrays[k] for k in arrays}, self.tops | {k: new.tops[k] for k in tops})


def kinds_of(kept: list[Value]) -> set[Scalar]:
    """The stacks that a frame takes."""
    shaped = {INT} if any(v.is_array for v in kept) else set()
    return {arg_dtype(v) for v in kept} | shaped


def _frames(kept: list[Value]) -> dict[Scalar, tuple[list[Value], list[Value]]]:
    """The arrays and the numbers of a frame, by kind."""
    found: dict[Scalar, tuple[list[Value], list[Value]]] = {k: ([], []) for k in sorted(kinds_of(kept), key=str)}
    for value in kept:
        found[arg_dtype(value)][0 if value.is_array else 1].append(value)
    return found


def push(w: Writer, stacks: Stacks, kept: list[Value]) -> Stacks:
    """Puts a frame on the stacks."""
    sizes = [w.emit("shape", INT, v, attrs=k, hint="n") for v in kept if v.is_array for k in range(ndim(v))]
    arrays, tops = dict(stacks.arrays), dict(stacks.tops)
    for kind, (parts, numbers) in _frames(kept).items():
        rows = [*numbers, *(sizes if kind == INT else ())]
        lines = [w.emit("ravel", Array(kind, 1), part, pure=False) for part in parts]
        ends = [tops[kind]]
        for line in lines:
            ends.append(w.op("add", ends[-1], w.emit("shape", INT, line, attrs=0)))
        top = w.op("add", ends[-1], literal(len(rows)), hint="top")
        stack = w.emit("grow", Array(kind, 1), arrays[kind], top, hint="stack", pure=False)
        for line, start, stop in zip(lines, ends, ends[1:], strict=False):
            stack = _stored(w, stack, line, (start, stop), "s110")
        for n, value in enumerate(rows):
            stack = _stored(w, stack, value, (w.op("add", ends[-1], literal(n)),), "i")
        arrays[kind], tops[kind] = stack, top
    return Stacks(arrays, tops)


def _stored(w: Writer, stack: Value, value: Value, places: tuple[Value, ...], code: str) -> Value:
    """The stack with a number or a line stored into it."""
    return w.emit("store", stack.type, stack, value, *places, attrs=((code,),), hint="stack", pure=False)


def pop(w: Writer, stacks: Stacks, kept: list[Value]) -> Stacks:
    """Takes a frame off the stacks, and gives what is in it the names that it had."""
    tops = dict(stacks.tops)
    sizes = iter([Value(INT, "n") for v in kept if v.is_array for _ in range(ndim(v))])
    shapes = {v: [next(sizes) for _ in range(ndim(v))] for v in kept if v.is_array}
    frames = _frames(kept)
    for kind in sorted(frames, key=lambda k: k != INT):  # the shapes first
        parts, numbers = frames[kind]
        stack = stacks.arrays[kind]
        rows = [*numbers, *([n for shape in shapes.values() for n in shape] if kind == INT else ())]
        end = w.op("sub", tops[kind], literal(len(rows)), hint="top")
        for n, value in enumerate(rows):
            w.add(Op("load", (stack, w.op("add", end, literal(n))), value, (("i",),)))
        for value in reversed(parts):
            count: Value = literal(1)
            for size in shapes[value]:
                count = w.op("mul", count, size)
            start = w.op("sub", end, count, hint="top")
            line = w.emit("load", Array(kind, 1), stack, start, end, attrs=(("s110",),), pure=False)
            own = w.emit("copy", Array(kind, 1), line, pure=False)  # it may be stored into
            w.add(Op("reshape", (own, *shapes[value]), value))
            end = start
        tops[kind] = end
    return Stacks(stacks.arrays, tops)


class Threading:
    """Takes the stacks through a block: every call that leaves frames or takes them off is given them.

    `forth` and `back` are the programs that do so, with the kinds of stacks that they take.
    """

    def __init__(self, forth: dict[int, Kinds], back: dict[int, Kinds]) -> None:
        self.forth, self.back = forth, back

    def changed(self, items: list[Item]) -> tuple[set[Scalar], set[Scalar]]:
        """The kinds of which something is put on the stack, or taken off, by items at any depth."""
        calls = [item for item in walk(Block(items)) if isinstance(item, Call)]
        pushed = {kind for item in calls for kind in self.forth.get(id(item.program), ())}
        return pushed, pushed | {kind for item in calls for kind in self.back.get(id(item.program), ())}

    def through(self, block: Block, stacks: Stacks) -> Stacks:
        """The stacks behind a block, from those before it."""
        for item in block.items:
            if isinstance(item, Call):
                stacks = self.call(item, stacks)
            elif not isinstance(item, Op):
                stacks = self.around(item, stacks)
        return stacks

    def call(self, item: Call, stacks: Stacks) -> Stacks:
        """A call is given what it needs, and hands on what it changes."""
        pushed, moved = self.changed([item])
        after = stacks.renamed(pushed, moved)
        item.args += stacks.parts(moved, moved)
        item.outs += after.parts(pushed, moved)
        return after

    def around(self, item: If | Loop, stacks: Stacks) -> Stacks:
        """A branch or a loop hands on what is changed in it."""
        pushed, moved = self.changed([item])
        if not moved:
            return stacks
        after = stacks.renamed(pushed, moved)
        if isinstance(item, If):
            for block in (item.then, item.orelse):
                block.results += self.through(block, stacks).parts(pushed, moved)
        else:
            heads = stacks.renamed(pushed, moved)
            item.carry += heads.parts(pushed, moved)
            item.inits += stacks.parts(pushed, moved)
            if isinstance(item, While):
                heads = self.through(item.head, heads)
                item.head.results += heads.parts(pushed, moved)
            else:
                item.backward = False  # its trips have an order
            item.body.results += self.through(item.body, heads).parts(pushed, moved)
        item.outs += after.parts(pushed, moved)
        return after
