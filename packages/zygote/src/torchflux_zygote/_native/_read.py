"""Reads a Python function in normal form, for arguments of known types, into a program.

Reading is running with values that stand for the numbers: an `if` runs both branches and merges what they
leave, a loop runs its body until the types of what it carries settle, a call runs the callee's body in
place. Tuples, functions, modules and strings exist only here.
"""

import ast
import types
from typing import Any

from . import _array_functions, _constants, _gather, _number_functions, _python_functions, _shapes  # noqa: F401  # rules
from ._analysis import stores_into
from ._entries import UNBOUND, ArrayRef, Caught, Conflict, Maybe, Refused, Static, View
from ._frame import Callee, Frame, Reads
from ._ir import Program, Value
from ._merge import CLEAR, CODE
from ._read_statements import Statements
from ._tries import Site
from ._writer import Writer

__all__ = ["Reader"]

Entry = Any


class Reader(Statements):
    """Reads functions into one program."""

    def __init__(
        self,
        bounds: bool = True,
        callees: dict[Any, Callee] | None = None,
        reads: Reads | None = None,
        sites: list[Site] | None = None,
    ) -> None:
        self.reads = reads or Reads()
        self.w = Writer()
        self.bounds = bounds
        self.callees = {} if callees is None else callees
        self.versions: dict[ArrayRef, Value] = {}
        self.stack: list[tuple[Any, Frame]] = []
        self.frame: Frame = Frame(None, None, None, "", self.reads)
        self.node: ast.AST | None = None
        self.dead = self.jumped = False  # behind a raise
        self.constants: list[Any] = []
        self.firsts: dict[ArrayRef, Value] = {}
        self.given: set[ArrayRef] = set()  # the caller's arrays
        self.contexts, self.guards, self.handling = [], [], []
        self.sites = [] if sites is None else sites
        self.sent, self.joined, self.tied = [], [], {}
        self.versions[CODE] = CLEAR

    def program(self, f: Any, entries: list[Entry], params: list[Value]) -> tuple[Program, Entry]:
        """The program of `f` called with these arguments, and the form of its result."""
        if isinstance(f, types.MethodType):
            f, entries = f.__func__, [self.enter(f.__self__), *entries]
        result = self.call_python(f, entries, {})
        assert not self.guards
        flat: list[Entry] = []
        form = self.flatten(result, flat)
        self.w.block.results = list(map(self.as_value, flat))
        name = getattr(f, "__name__", "f")
        function = name if name.isidentifier() else "function"
        stored = stores_into(self.w.block, params)
        return Program(function, params, self.w.block, sizes=self.w.sizes, effects=stored), form

    def fresh(self) -> "Reader":
        """A reader for a program of its own, with the same knowledge."""
        return Reader(self.bounds, self.callees, self.reads, self.sites)

    def flatten(self, entry: Entry, flat: list[Entry]) -> Any:
        """The form of a result, its parts collected: "scalar", "array", a tuple of forms, or a constant."""
        entry = self.settle(entry)
        if isinstance(entry, tuple):
            return type(entry)(self.flatten(part, flat) for part in entry)
        if isinstance(entry, Static):
            self.known_text(entry)
            return entry
        if isinstance(entry, Value):
            flat.append(entry)
            return "scalar"
        if isinstance(entry, ArrayRef | View):
            flat.append(entry)
            return "array"
        raise self.refuse(f"can't return {self.describe(entry)}", "return numbers, arrays or tuples of them")

    def refuse(self, what: str, instead: str, node: ast.AST | None = None) -> Refused:
        """An error that says where, what and what to do."""
        return Refused(f"{self.place(node)}: native code: {what}; {instead}")

    def place(self, node: ast.AST | None = None) -> str:
        """`file:line:column` of what is being read."""
        node = node or self.node
        line, column = getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
        return f"{self.frame.file}:{line}:{column + 1}"

    def describe(self, entry: Entry) -> str:
        """An entry in words."""
        if isinstance(entry, Value):
            return f"a number ({entry.type})"
        if isinstance(entry, ArrayRef | View):
            return f"an array ({self.array(entry).type})"
        if isinstance(entry, tuple):
            return f"a tuple of {len(entry)}"
        if isinstance(entry, Static):
            return f"{entry.value!r}"
        return "an exception" if isinstance(entry, Caught) else type(entry).__name__.lower()

    def settle(self, entry: Entry) -> Entry:
        """An entry that may be used: one that may be missing is checked here."""
        if isinstance(entry, Conflict):
            raise self.refuse(entry.why, "give it one type on every path")
        if isinstance(entry, Maybe):
            self.check(entry.flag, entry.why.split(":")[0], f"{self.place()}: {entry.why.split(':', 1)[1].strip()}")
            return self.settle(entry.entry)
        if entry is UNBOUND:
            raise self.refuse("a name that isn't bound here", "bind it on every path")
        return entry
