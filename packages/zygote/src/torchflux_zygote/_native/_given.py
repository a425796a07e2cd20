"""What a call of a function that calls itself gives to its program: arguments, and what the function captures.

A nested function sees the names around it. Its program is given those that it reads, and those that the nested
functions among them read, as parameters: so it is as one that captures nothing.
"""

import ast
import types
from dataclasses import dataclass
from typing import Any

from torchflux_syntax import free

from ._arrays import Bound
from ._entries import ArrayRef, Closure, Conflict, Maybe, Refused, Static, View
from ._frame import Frame
from ._ir import BOOL, Value

__all__ = ["Given"]

Entry = Any
Kind = Any
"""What a program depends on of an argument: the type of a number or an array, or one of the following."""


@dataclass(frozen=True)
class _Group:
    """The kind of a tuple or of a list display."""

    type: type
    parts: tuple[Kind, ...]


@dataclass(frozen=True)
class _Constant:
    """The kind of something of Python."""

    identity: Any
    entry: Static

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Constant) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)


@dataclass(frozen=True)
class _Optional:
    """The kind of what is there on some paths only."""

    kind: Kind
    why: str


@dataclass(frozen=True)
class _Nested:
    """The kind of a nested function: its definition, the number of the frame around it, and its defaults' kinds."""

    definition: ast.FunctionDef
    env: int
    defaults: tuple[Kind, ...]
    kwdefaults: tuple[tuple[str, Kind], ...]


class Given:
    """The names of a frame that is about to run, and those that it captures: as kinds, and as values of the caller."""

    def __init__(self, reader: Any, frame: Frame) -> None:
        self.r, self.name = reader, frame.definition.name
        self.values: list[Value] = []
        self.held: list[Entry] = []  # what holds each value
        self.frames: list[Frame] = []
        self.names: dict[tuple[int, str], Kind] = {}
        self.captured: list[tuple[int, str]] = []
        own = self.number(frame)
        for key, entry in frame.names.items():
            self.names[own, key] = self.kind(reader.settle(entry))
        if frame.outer is not None:
            self.capture(frame.definition, frame.outer)
        for place in self.captured:  # grows meanwhile
            if place not in self.names:
                self.names[place] = self.captured_kind(self.frames[place[0]].names[place[1]])

    @property
    def kinds(self) -> Any:
        """All that the program depends on."""
        return tuple(self.names.items()), tuple(self.frames.index(f.outer) if f.outer else -1 for f in self.frames)

    def number(self, frame: Frame) -> int:
        """The number of a frame; those around it have one too."""
        if frame not in self.frames:
            self.frames.append(frame)
            if frame.outer is not None:
                self.number(frame.outer)
        return self.frames.index(frame)

    def capture(self, definition: ast.FunctionDef, env: Frame) -> None:
        """Notes the names around a nested function that it reads; globals are left where they are."""
        for name in sorted(free(definition)):
            frame: Frame | None = env
            while frame is not None and name not in frame.names:
                frame = frame.outer
            if frame is not None:
                self.captured.append((self.number(frame), name))

    def kind(self, entry: Entry) -> Kind:
        """What a program for an argument depends on; its values are collected, and what holds them."""
        if isinstance(entry, tuple):
            return _Group(type(entry), tuple(self.kind(self.r.settle(part)) for part in entry))
        if isinstance(entry, Value | ArrayRef | View):
            value = self.r.as_value(entry)
            self.values.append(value)
            self.held.append(entry)
            return self.r.own_type(value.type)
        if isinstance(entry, Closure):
            self.capture(entry.definition, entry.env)
            defaults = tuple(map(self.kind, entry.defaults))
            keywords = tuple((name, self.kind(x)) for name, x in entry.kwdefaults)
            return _Nested(entry.definition, self.number(entry.env), defaults, keywords)
        if isinstance(entry, Static) and not isinstance(entry.value, Bound):
            return _Constant(_identity(entry.value), entry)
        raise self.r.refuse(
            f"{self.r.describe(entry)} given to {self.name}, which calls itself",
            "give it numbers, arrays and functions",
        )

    def captured_kind(self, entry: Entry) -> Kind:
        """The same of a captured name, which may hold what can't be given as long as it isn't read."""
        if isinstance(entry, Maybe):
            kind = self.captured_kind(entry.entry)
            self.values.append(entry.flag)
            self.held.append(entry.flag)
            return _Optional(kind, entry.why)
        count = len(self.values)
        try:
            return entry if isinstance(entry, Conflict) else self.kind(entry)
        except Refused as error:
            del self.values[count:], self.held[count:]
            return Conflict(str(error).partition("native code: ")[2].partition(";")[0])

    def entered(self, reader: Any, params: list[Value]) -> Frame:
        """The frame as another reader has it, with parameters for the values."""
        copies = [Frame(f.function, None, f.definition, f.file, f.reads) for f in self.frames]
        for copy, frame in zip(copies, self.frames, strict=True):
            copy.outer = copies[self.frames.index(frame.outer)] if frame.outer is not None else None
        for (n, name), kind in self.names.items():
            copies[n].names[name] = _entered(kind, name, reader, params, copies)
        return copies[0]


def _entered(kind: Kind, name: str, reader: Any, params: list[Value], frames: list[Frame]) -> Entry:
    """An entry of a kind, of parameters."""

    def entered(kind: Kind, name: str) -> Entry:
        return _entered(kind, name, reader, params, frames)

    if isinstance(kind, _Group):
        return kind.type(entered(part, f"{name}_{k}") for k, part in enumerate(kind.parts))
    if isinstance(kind, _Nested):
        defaults = tuple(entered(x, f"{name}_{k}") for k, x in enumerate(kind.defaults))
        keywords = tuple((key, entered(x, key)) for key, x in kind.kwdefaults)
        return Closure(kind.definition, frames[kind.env], defaults, keywords)
    if isinstance(kind, _Optional):
        entry = entered(kind.kind, name)
        params.append(Value(BOOL, f"has_{name}"))
        return Maybe(entry, params[-1], kind.why)
    if isinstance(kind, Conflict):
        return kind
    if isinstance(kind, _Constant):
        return kind.entry
    value = Value(kind, name)
    params.append(value)
    return reader.argument(value) if value.is_array else value


def _identity(x: Any) -> Any:
    """What tells something of Python from others."""
    if isinstance(x, str | bytes | None):
        return type(x), x
    return (id(x.__func__), id(x.__self__)) if isinstance(x, types.MethodType) else id(x)
