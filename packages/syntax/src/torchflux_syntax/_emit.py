"""What the normal form is written with: a block that grows, new names, and what may change a name meanwhile."""

import ast
import builtins
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from ._constructs import CONSTRUCTS
from ._function import Function
from ._names import Fresh, local_names, names
from ._quote import quote
from ._unsupported import Unsupported

__all__ = ["Emitter", "busy", "is_atom"]

_FIXED = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)


class Emitter:
    """Writes normal-form statements to the block at hand.

    Attributes:
        function: what is being read.
        block: the block that is being written.
        locals: the variables of the function at hand and of those around it.
        shared: variables that some other function may rebind, or that may be unbound.
        receiver: the first parameter of the function at hand.
        written: the names that are written in the function; all others are new.
        fresh: the source of new names.
    """

    def __init__(self, function: Function, rebound: set[str]) -> None:
        self.function = function
        self.block: list[ast.stmt] = []
        self.written = names(function.definition)
        self.fresh = Fresh(self.written)
        self.receiver = ""
        self.locals = local_names(function.definition)
        self.shared = rebound | _unsteady(function.definition)

    def emit(self, template: str, at: ast.AST, **values: Any) -> None:
        """Adds the statements of a template (see `quote`)."""
        self.block += quote(template, at=at, **values)

    @contextmanager
    def inner(self) -> Iterator[list[ast.stmt]]:
        """A new block, to which everything goes inside of the `with` statement."""
        outer, self.block = self.block, []
        try:
            yield self.block
        finally:
            self.block = outer

    def named(self, value: ast.expr, at: ast.AST) -> ast.expr:
        """A name for a value."""
        name = self.fresh()
        self.emit("$name = $value", at, name=name, value=value)
        return self.name(name, at)

    def name(self, name: str, at: ast.AST) -> ast.expr:
        return ast.copy_location(ast.Name(name, ast.Load()), at)

    def refuse(self, node: ast.AST, construct: str = "", advice: str = "") -> Unsupported:
        """The error for a construct; in the words of the table, unless others are given."""
        row = CONSTRUCTS.get(type(node).__name__)
        title = construct or (row.title if row else type(node).__name__)
        return self.function.refuse(node, title, advice or (row.becomes if row else "write it in other words"))

    def builtin(self, name: str, at: ast.AST) -> ast.expr:
        """A builtin that Python itself uses for a construct, whatever the name means in the program."""
        if self.resolved(name) is not getattr(builtins, name):
            raise self.refuse(at, f"a variable called {name!r} where the builtin is needed", "give it another name")
        return self.name(name, at)

    def resolved(self, name: str) -> Any:
        """What a name that is not local refers to now; `None` for a local or an undefined one."""
        if name in self.locals:
            return None
        try:
            return self.function.resolve(name)
        except NameError:
            return None

    def may_change(self, name: str, later: Sequence[ast.AST | None], called: bool = False) -> bool:
        """Whether a name could be rebound between being read and `later` being evaluated.

        A walrus rebinds it; so does a function that is called meanwhile, if the name is a global or some function
        declares it `nonlocal`. Globals that hold functions, classes and modules are taken to keep them.
        """
        if any(isinstance(n, ast.NamedExpr) and n.target.id == name for x in later if x for n in ast.walk(x)):
            return True
        if name not in self.written or not busy(later):
            return False
        if name in self.shared or name in self.locals or name in self.function.cells:
            return name in self.shared
        value = self.resolved(name)
        return not (isinstance(value, _FIXED) or (called and (value is None or callable(value))))


def _unsteady(tree: ast.AST) -> set[str]:
    """The names that are declared `global`, and those that are deleted: a read of them has its moment."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            found.update(node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del):
            found.add(node.id)
    return found


def busy(nodes: Sequence[ast.AST | None]) -> bool:
    """Whether evaluating these does more than look up names."""
    return not all(node is None or is_atom(node) for node in nodes)


def is_atom(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.Constant)
