"""The names of a function while it is read, and the programs of functions that call themselves."""

import ast
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torchflux_syntax import Function

from ._collected import collected
from ._entries import Found
from ._ir import Block, Program
from ._liveness import live_behind

__all__ = ["Callee", "Context", "Frame", "Kinds", "Reads", "Unknown"]

Entry = Any


Kinds = tuple[type[BaseException], ...]


@dataclass(eq=False)
class Context:
    """A `try` around what is being read: what it catches, and the codes of what was raised to it."""

    kinds: Kinds
    final: bool = False  # a `finally`, which everything passes
    codes: list[int] = field(default_factory=list)
    passing: bool = False  # whether something is raised here that it doesn't catch, but another one does


class Unknown(Exception):
    """What a call returns isn't known yet: the function is being read."""


class Callee:
    """A function that calls itself, for arguments of given kinds.

    Of one in a `try`, `tried` are the errors of numbers that are handled around it, and `codes` those of what may be
    raised in it; its last result then says what was.
    """

    def __init__(self, name: str, code: Any, tried: Kinds | None) -> None:
        self.program = Program(name if tried is None else f"{name}_tried", [], Block(), called=True)
        self.code, self.tried = code, tried
        self.round = 0  # how often it has been read, while it is being read
        self.form: Any = None
        self.results: list[Any] = []
        self.constants: list[Any] = []
        self.stored: set[int] = set()  # the array parameters that it stores into, by number
        self.shares: list[set[int]] = []  # what each number or array that it returns may be or be a part of
        self.same: list[int | None] = []  # the argument that it is on every path
        self.codes: tuple[int, ...] = ()
        self.sure = False  # whether it always raises

    @property
    def known(self) -> Any:
        """What its callers know of it."""
        constants = list(map(id, self.constants))
        return (
            self.form,
            list(map(str, self.results)),
            constants,
            set(self.stored),
            self.shares,
            self.same,
            self.codes,
            self.sure,
        )

    def contexts(self) -> list[Context]:
        """What catches the exceptions that leave it."""
        if self.tried is None:
            return []
        return [Context((BaseException,), final=True), Context(self.tried)]


class Reads:
    """What a program was made from besides its arguments: globals, captured variables, attributes, other functions."""

    def __init__(self) -> None:
        self.cells: dict[int, tuple[Any, Any]] = {}
        self.globals: dict[tuple[int, str], tuple[dict[str, Any], str, Any]] = {}
        self.attributes: dict[tuple[int, str], tuple[Any, str, Any]] = {}

    def unchanged(self) -> bool:
        """Whether all of it is what it was."""
        try:
            for cell, value in self.cells.values():  # a loop, as this is asked at every call
                if cell.cell_contents is not value:
                    return False
            for space, name, value in self.globals.values():
                if space.get(name, self) is not value:
                    return False
            return all(getattr(owner, name) is value for owner, name, value in self.attributes.values())
        except (AttributeError, ValueError):
            return False


class Frame:
    """The names of one function that is being read."""

    def __init__(
        self, function: Function | None, outer: "Frame | None", definition: Any, file: str, reads: "Reads"
    ) -> None:
        self.reads = reads
        self.function, self.outer, self.definition, self.file = function, outer, definition, file
        self.names: dict[str, Entry] = {}
        self.at: ast.stmt | None = None  # the statement that is being read

    @cached_property
    def _behind(self) -> dict[int, set[str]]:
        """What is alive behind each statement."""
        return live_behind(self.definition)

    @cached_property
    def collected(self) -> set[str]:
        """The lists that one loop fills."""
        return set() if self.definition is None else collected(self.definition)

    def dead(self, name: str) -> bool:
        """Whether a name certainly isn't read behind the statement that was read last."""
        if self.at is None or self.definition is None or not name.isidentifier():
            return False
        return name not in self._behind.get(id(self.at), {name})

    def alive(self) -> list[Entry]:
        """What the names hold that may be read by this statement or behind it, and what loops run over."""
        if self.at is None or self.definition is None:
            return list(self.names.values())
        here = {node.id for node in ast.walk(self.at) if isinstance(node, ast.Name)}
        live = here | self._behind.get(id(self.at), set(self.names))
        return [entry for name, entry in self.names.items() if name in live or not name.isidentifier()]

    def find(self, name: str) -> Entry:
        """What a name holds here; what it holds outside is noted."""
        if name in self.names:
            return self.names[name]
        if self.outer is not None:
            return self.outer.find(name)
        assert self.function is not None
        found = self.function.resolve(name)
        if name in self.function.cells:
            cell = self.function.cells[name]
            self.reads.cells[id(cell)] = cell, found
        elif name in self.function.namespace:
            space = self.function.namespace
            self.reads.globals[id(space), name] = space, name, found
        return Found(found)
