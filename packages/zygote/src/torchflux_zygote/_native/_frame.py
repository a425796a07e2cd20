"""The names of a function while it is read, and the programs of functions that call themselves."""

import ast
from functools import cached_property
from typing import Any

from torchflux_syntax import Function

from ._entries import Found
from ._ir import Block, Program
from ._liveness import live_behind

__all__ = ["Callee", "Frame", "Reads", "Unknown"]

Entry = Any


class Unknown(Exception):
    """What a call returns isn't known yet: the function is being read."""


class Callee:
    """A function that calls itself, for arguments of given types."""

    def __init__(self, name: str) -> None:
        self.program = Program(name, [], Block(), called=True)
        self.form: Any = None
        self.being_read = False
        self.results: list[Any] = []
        self.constants: list[Any] = []
        self.stored: set[int] = set()  # the array parameters that it stores into, by number


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
