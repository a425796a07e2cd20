"""How an `if` is read: both sides, and then what the names hold behind it."""

import ast
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from ._arrays import ArrayReader, part_type
from ._entries import UNBOUND, ArrayRef, Closure, Conflict, Maybe, Static, View
from ._frame import Frame, Unknown
from ._ir import Array, Block, Value
from ._ops import join
from ._writer import literal, same_type

__all__ = ["CLEAR", "CODE", "COMPUTED", "Jump", "Merging", "equal", "shape_key"]

Entry = Any
CODE = ArrayRef()
"""Stands among the arrays' contents for what was raised and will be caught (see `_tries`)."""
CLEAR = literal(0)
"""The code of nothing."""


COMPUTED = "a function behind the branch or loop in which it was defined with defaults that are computed"


class Jump(Exception):
    """Reading goes on at the end of a region."""


class Merging(ArrayReader):
    """The part of the reader that knows branches."""

    frame: Frame
    node: ast.AST | None
    dead: bool
    jumped: bool
    execute: Callable[[list[ast.stmt]], None]
    region: Callable[[], AbstractContextManager[None]]
    open: Callable[..., None]
    present: Callable[[], dict[int, dict[str, Entry]]]
    sides: Any = None
    left: int | None = None  # the side that has jumped
    tied: dict[Value, set[Value]]  # by code: the flags that are true where it is 0
    joined: list[Any]  # the arrays that an `if` has left, each with what it is on either side

    def exec_If(self, node: ast.If) -> None:
        """An `if`: both sides, or the one that is known to be taken."""
        cond = self.truth(self.atom(node.test))
        if cond.const is not None:
            self.execute(node.body if cond.const else node.orelse)
            return
        self.either(cond, partial(self.execute, node.body), partial(self.execute, node.orelse))

    def either(self, cond: Value, first: Callable[[], None], second: Callable[[], None]) -> None:
        """Runs the first if `cond`, and otherwise the second."""
        if cond.const is not None:
            (first if cond.const else second)()
            return
        names, versions, node = self.frame.names, self.versions, self.node
        then, orelse = Block(), Block()
        sides, jumped = [], []
        for block, act in ((then, first), (orelse, second)):
            self.frame.names, self.versions, self.dead = dict(names), dict(versions), False
            with self.w.inside(block):
                try:
                    with self.region():
                        act()
                    jumped.append(self.jumped)
                except Unknown:
                    block.items.clear()
                    self.dead = True
                    jumped.append(False)
            sides.append((self.frame.names, self.versions, self.dead))
        self.node = node
        gone = [jump or dead for jump, (_, _, dead) in zip(jumped, sides, strict=True)]
        if any(jumped) and not all(gone):
            self.read_on(names, versions, cond, (then, orelse), sides, jumped[0])
            return
        self.join(names, versions, cond, then, orelse, sides)
        if any(jumped):
            raise Jump

    def read_on(
        self, names: Any, versions: Any, cond: Value, blocks: tuple[Block, Block], sides: Any, first: bool
    ) -> None:
        """One side has jumped: goes on in the other."""
        left, going = (sides[0], sides[1]) if first else (sides[1], sides[0])
        self.frame.names, self.versions, self.dead = names, versions, False
        frames = {**self.present(), id(self.frame): left[0]}
        self.open(cond, blocks, first, frames, left[1])
        self.frame.names, self.versions = going[0], going[1]

    def branch(self, skip: Value, otherwise: Callable[[], None]) -> None:
        """Runs something unless `skip`."""
        self.either(skip, lambda: None, otherwise)

    def join(self, names: Any, versions: Any, cond: Value, then: Block, orelse: Block, sides: Any) -> None:
        """Goes on behind the two sides of an `if`."""
        (names_a, versions_a, dead_a), (names_b, versions_b, dead_b) = sides
        outs: list[Value] = []
        self.dead = dead_a and dead_b
        self.frame.names, self.versions = names, versions
        if dead_a and dead_b and not (then.items and orelse.items):
            raise Unknown
        if dead_a or dead_b:
            names.update(names_b if dead_a else names_a)
            self.adopt(then if dead_b else orelse, orelse if dead_b else then, cond, dead_a, sides)
            return
        for ref in {**versions_a, **versions_b}:
            a, b = versions_a.get(ref), versions_b.get(ref)
            if a is None or b is None:
                versions[ref] = a or b  # made on one side only; merged below if a name holds it
            else:
                versions[ref] = a if a is b else self.phi(a, b, then, orelse, outs)
        self.sides, self.joined = (versions_a, versions_b), []
        for name in {**names_a, **names_b}:
            a, b = names_a.get(name, UNBOUND), names_b.get(name, UNBOUND)
            before = len(self.joined)
            names[name] = a if a is b else self.merge(a, b, then, orelse, outs)
            if self.frame.dead(name):
                del self.joined[before:]
        self.sides = None
        self.set_apart()
        self.w.choose(cond, then, orelse, outs)

    def set_apart(self) -> None:
        """Notes which of the arrays that an `if` left are certainly others: those that were on both sides."""
        token = object()
        for new, *pair in self.joined:
            if not any(
                a.may_be(b)
                for other, *pairs in self.joined
                if other is not new
                for a, b in zip(pair, pairs, strict=True)
            ):
                new.apart = token

    def adopt(self, live: Block, dead: Block, cond: Value, dead_a: bool, sides: Any) -> None:
        """One side always raises: what the other computed is what there is."""
        check = Block(dead.items)
        empty = Block()
        self.w.choose(cond, *((check, empty) if dead_a else (empty, check)), [])
        for item in live.items:
            self.w.add(item)
        self.versions.update(sides[1][1] if dead_a else sides[0][1])

    def phi(self, a: Value, b: Value, then: Block, orelse: Block, outs: list[Value]) -> Value:
        """A value that is `a` behind one block and `b` behind the other."""
        if a is b or (
            a.const is not None and b.const is not None and a.type == b.type and repr(a.const) == repr(b.const)
        ):
            return a
        whole = join(a.type, b.type)
        out = Value(whole, a.name if a.name != "t" else b.name)
        for value, block in ((a, then), (b, orelse)):
            with self.w.inside(block):
                block.results.append(self.w.cast(value, whole))
        outs.append(out)
        if isinstance(whole, Array) and shape_key(self.w.sizes.get(a)) == shape_key(self.w.sizes.get(b)) is not None:
            self.w.sizes[out] = self.w.sizes[a]
        return out

    def merge(self, a: Entry, b: Entry, then: Block, orelse: Block, outs: list[Value]) -> Entry:
        """What a name holds behind an `if` that left `a` on one side and `b` on the other."""
        if a is b or (isinstance(a, Static) and isinstance(b, Static) and a is not UNBOUND and equal(a.value, b.value)):
            return a
        if any(isinstance(x, Closure) and x.computed for x in (a, b)):
            return Conflict(COMPUTED)
        if self.missing(a) or self.missing(b) or isinstance(a, Maybe) or isinstance(b, Maybe):
            return self.merge_maybe(a, b, then, orelse, outs)
        if isinstance(a, Value) and isinstance(b, Value):
            return self.phi(a, b, then, orelse, outs)
        if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
            return tuple(self.merge(x, y, then, orelse, outs) for x, y in zip(a, b, strict=True))
        if isinstance(a, ArrayRef | View) and isinstance(b, ArrayRef | View):
            x, y = self.array_in(a, then, 0), self.array_in(b, orelse, 1)
            if not same_type(x.type, y.type):
                return Conflict(f"an array that is {x.type} on one path and {y.type} on another")
            new = self.new_array(self.phi(x, y, then, orelse, outs))
            bases = [z if isinstance(z, ArrayRef) else z.base for z in (a, b)]
            new.entangled = tuple(bases[0].family | bases[1].family)
            self.joined.append((new, *bases))
            return new
        return Conflict(f"a name that is {self.describe(a)} on one path and {self.describe(b)} on another")

    def merged(self, cond: Value, a: Entry, b: Entry) -> Entry:
        """One of two entries, by a condition."""
        then, orelse = Block(), Block()
        outs: list[Value] = []
        entry = self.merge(a, b, then, orelse, outs)
        if outs:
            self.w.choose(cond, then, orelse, outs)
        return entry

    def array_in(self, entry: ArrayRef | View, block: Block, side: int) -> Value:
        """An array as it is at the end of one side."""
        present = self.versions
        if self.sides is not None:
            self.versions = {**present, **self.sides[side]}
        try:
            with self.w.inside(block):
                return self.array(entry)
        finally:
            self.versions = present

    def missing(self, entry: Entry) -> bool:
        """Whether a name holds nothing: it isn't bound, or to None."""
        return entry is UNBOUND or (isinstance(entry, Static) and entry.value is None)

    def merge_maybe(self, a: Entry, b: Entry, then: Block, orelse: Block, outs: list[Value]) -> Entry:
        """What a name holds that may be bound or not, with a flag that says so."""
        flags, entries, why = [], [], "UnboundLocalError: a name that isn't bound on this path"
        for x in (a, b):
            if isinstance(x, Maybe):
                flags.append(x.flag)
                entries.append(x.entry)
                why = x.why
            else:
                flags.append(literal(not self.missing(x)))
                entries.append(None if self.missing(x) else x)
                if isinstance(x, Static) and x.value is None:
                    why = "TypeError: None where a number is due"
        full = next(x for x in entries if x is not None)
        first, second = (self.blank(full) if x is None else x for x in entries)
        entry = self.merge(first, second, then, orelse, outs)
        flag = self.phi(flags[0], flags[1], then, orelse, outs)
        if self.sides is not None and all(self.there_unless_raised(k, flag) for k, flag in enumerate(flags)):
            self.tied.setdefault(self.versions[CODE], set()).add(flag)
        return Maybe(entry, flag, why)

    def there(self, flags: set[Value]) -> None:
        """What is bound to names where these flags are certainly true."""
        for name, entry in self.frame.names.items():
            if isinstance(entry, Maybe) and entry.flag in flags:
                self.frame.names[name] = entry.entry

    def there_unless_raised(self, k: int, flag: Value) -> bool:
        """Whether a flag is true on a side of an `if`, but where something was raised."""
        return k == self.left or bool(flag.const) or flag in self.tied.get(self.sides[k][CODE], ())

    def blank(self, entry: Entry) -> Entry:
        """Something of an entry's type, to stand where nothing is."""
        if isinstance(entry, tuple):
            return tuple(self.blank(part) for part in entry)
        if isinstance(entry, Value):
            return self.w.cast(literal(0), entry.type)
        if isinstance(entry, ArrayRef | View):
            type = self.array_type(entry)
            return self.new_array(
                self.w.emit("empty", type, *[literal(0)] * type.ndim, attrs=str(type.dtype), pure=False)
            )
        return entry

    def array_type(self, entry: ArrayRef | View) -> Array:
        """The type of an array or a part of one."""
        ref = entry if isinstance(entry, ArrayRef) else entry.base
        if isinstance(ref.type, Array):
            return ref.type
        version = self.versions.get(ref, self.firsts.get(ref))
        if version is None and self.sides is not None:
            version = next(side[ref] for side in self.sides if ref in side)
        assert version is not None
        type = version.type if isinstance(entry, ArrayRef) else part_type(version.type, entry.path)
        assert isinstance(type, Array)
        return type


def equal(a: Any, b: Any) -> bool:
    """Whether two constants are certainly equal."""
    return a is b or (type(a) is type(b) and isinstance(a, str | bytes | type(None)) and a == b)


def shape_key(shape: Any) -> Any:
    """A shape to compare."""
    return None if shape is None else tuple(n if n.const is None else n.const for n in shape)
