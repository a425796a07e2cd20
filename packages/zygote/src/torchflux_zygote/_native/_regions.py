"""Regions: blocks to whose end jumps go, of which a code says what was raised (see `_tries`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ._entries import ArrayRef
from ._frame import Frame, Unknown
from ._ir import Block, Value
from ._merge import CLEAR, CODE, Jump
from ._number_errors import NumberErrors

__all__ = ["Regions"]

Entry = Any


@dataclass
class Guard:
    """An `if` one branch of which has jumped, while the other is being read on."""

    cond: Value
    then: Block
    orelse: Block
    first: bool  # whether the one that jumped is `then`
    parent: Block
    names: dict[int, dict[str, Entry]]  # as the jump left them, by frame
    versions: dict[ArrayRef, Value]
    tested: bool = False  # whether the condition is that the jump's code isn't 0


class Regions(NumberErrors):
    """The part of the reader that knows jumps."""

    stack: list[tuple[Any, Frame]]
    guards: list[Guard]
    jumped: bool  # whether the last region's end is reached by jumps only

    @contextmanager
    def region(self) -> Iterator[None]:
        """A block to whose end jumps go; it is noted whether nothing else goes there."""
        outer, self.guards, jumped = self.guards, [], False
        try:
            try:
                yield
            except Jump:
                jumped = True
            except Unknown:
                if not self.guards:
                    raise
                self.dead = True  # only what has jumped is known
            jumped |= self.dead and bool(self.guards)
            self.close()
            self.jumped = jumped
        finally:
            for guard in reversed(self.guards):  # only after an error
                self.w.known.pop()
                self.w.block = guard.parent
            self.guards = outer

    def open(self, cond: Value, blocks: tuple[Block, Block], first: bool, names: Any, versions: Any) -> None:
        """Reads on in one branch of an `if`, whose other one has jumped."""
        self.guards.append(Guard(cond, *blocks, first, self.w.block, names, versions))
        self.w.block = blocks[1] if first else blocks[0]
        self.w.known.append({})

    def close(self) -> None:
        """Merges what the branches that have jumped left with what the others left."""
        while self.guards:
            guard = self.guards.pop()
            self.w.known.pop()
            self.w.block = guard.parent
            if guard.tested and self.versions[CODE] is CLEAR:
                self.versions[CODE] = guard.versions[CODE]  # which is 0 where it hasn't jumped
            going = (self.frame.names, self.versions, self.dead)
            jumped = (guard.names[id(self.frame)], guard.versions, False)
            sides = [jumped, going] if guard.first else [going, jumped]
            self.left = 0 if guard.first else 1
            self.join({}, dict(guard.versions), guard.cond, guard.then, guard.orelse, sides)
            self.left = None

    def present(self) -> dict[int, dict[str, Entry]]:
        """What the names of all functions being read hold."""
        return {id(frame): dict(frame.names) for frame in (self.frame, *(frame for _, frame in self.stack))}

    def guard(self, failed: Value, code: Value) -> None:
        """Jumps with a code if something has failed, and reads on where it hasn't."""
        self.open(failed, (Block(), Block()), True, self.present(), {**self.versions, CODE: code})
        self.versions[CODE] = CLEAR

    def jump_if_raised(self, code: Value) -> None:
        """Jumps with a code if it is that of something, and reads on where it is 0."""
        self.guard(self.w.op("ne", code, CLEAR), code)
        self.guards[-1].tested = True
        for flag in self.tied.get(code, ()):
            self.w.known[-1][id(flag), flag] = flag

    def passed(self) -> None:
        """Behind a statement: what follows is for where nothing was raised."""
        code = self.versions[CODE]
        if code is CLEAR or self.dead:
            return
        if code.const is not None:
            raise Jump
        self.jump_if_raised(code)
        if len(self.guards) > DEEP:  # Python allows for a hundred levels
            self.close()
            self.jump_if_raised(self.versions[CODE])


DEEP = 40
"""Guards that may be open at once."""
