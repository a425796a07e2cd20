"""What names hold while a function is read: values, and what is known of Python's own objects."""

import ast
from dataclasses import dataclass
from typing import Any

from ._ir import Value
from ._writer import Path

__all__ = [
    "UNBOUND",
    "ArrayRef",
    "Caught",
    "Closure",
    "Conflict",
    "Found",
    "Listed",
    "Manager",
    "Maybe",
    "Message",
    "Raised",
    "Range",
    "Refused",
    "Static",
    "View",
    "Zipped",
]


class Refused(TypeError):
    """The native route can't compile this; the message has the place, what was found and what to write instead."""


@dataclass(frozen=True)
class Static:
    """Something of Python that is known when a function is read: a function, a module, a string, None."""

    value: Any


class Message(str):
    """A text of which not all is known when a function is read, for an exception to say."""


@dataclass(eq=False)
class ArrayRef:
    """An array as names know it. Its contents are a value, another one after every store.

    `entangled` are the arrays that it may be one with, depending on how the program went; those with the same `apart`
    are certainly others. A `loose` one is a copy or a view of those that it is entangled with, as NumPy sees fit.
    """

    entangled: tuple["ArrayRef", ...] = ()
    type: Any = None  # of one that is only a kind
    apart: Any = None
    loose: bool = False

    def may_be(self, other: "ArrayRef") -> bool:
        """Whether a store into one may show in the other."""
        if self is other or (self.apart is not None and self.apart is other.apart):
            return self is other
        return bool(self.family & other.family)

    @property
    def family(self) -> set["ArrayRef"]:
        """The array and those that it may be."""
        return {self, *self.entangled}

    def loosely(self, other: "ArrayRef") -> bool:
        """Whether one may be a view of the other for the reason that something was reshaped."""
        return any(ref.loose for ref in self.family | other.family) and bool(self.family & other.family)


class Listed(tuple[Any, ...]):
    """A list display, which is only read."""


@dataclass(frozen=True)
class Raised:
    """An exception that has been made: its class and what it says."""

    kind: type[BaseException]
    text: str


@dataclass(frozen=True)
class Caught:
    """An exception that has been caught: its code, and those that it may be."""

    code: Value
    codes: tuple[int, ...]


@dataclass(frozen=True)
class Manager:
    """What a `with` is given: what its name gets, and the exceptions that it suppresses."""

    entry: Any
    suppressed: tuple[type[BaseException], ...] = ()


class Found(Static):
    """A global or captured name's value, as Python has it."""


@dataclass(frozen=True)
class View:
    """A part of an array that shares its memory."""

    base: ArrayRef
    path: Path
    args: tuple[Value, ...]

    def same(self, other: Any) -> bool:
        """Whether another entry is the same part, with the same numbers or equal constants for indices."""
        if not isinstance(other, View) or (self.base, self.path) != (other.base, other.path):
            return False
        pairs = zip(self.args, other.args, strict=True)
        return all(a is b or (a.const is not None and a.const == b.const) for a, b in pairs)


@dataclass(frozen=True)
class Range:
    """A `range`."""

    start: Value
    stop: Value
    step: Value


@dataclass(frozen=True)
class Zipped:
    """A `zip`; with a `count` to start from, an `enumerate`."""

    parts: tuple[Any, ...]
    count: Value | None = None


@dataclass(frozen=True)
class Maybe:
    """Something that a name holds only where `flag` is true; elsewhere it is unbound or None."""

    entry: Any
    flag: Value
    why: str


@dataclass(frozen=True)
class Closure:
    """A nested function with the names around it, and its defaults as they were when it was defined."""

    definition: ast.FunctionDef
    env: Any
    defaults: tuple[Any, ...] = ()
    kwdefaults: tuple[tuple[str, Any], ...] = ()

    @property
    def kept(self) -> tuple[Any, ...]:
        """All its defaults."""
        return (*self.defaults, *(entry for _, entry in self.kwdefaults))

    @property
    def computed(self) -> bool:
        """Whether a default is known where the function was defined only, in a branch or a trip of a loop."""
        return not all(map(_everywhere, self.kept))


@dataclass(frozen=True)
class Conflict:
    """Something of two types that can't be merged; reading it is refused."""

    why: str


def _everywhere(entry: Any) -> bool:
    """Whether an entry is the same wherever it is read."""
    if isinstance(entry, tuple):
        return all(map(_everywhere, entry))
    constant = isinstance(entry, Value) and entry.const is not None
    return constant or isinstance(entry, Static) or (isinstance(entry, Closure) and not entry.computed)


UNBOUND = Static(object())
