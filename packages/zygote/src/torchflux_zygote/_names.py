"""Which variables of a function need a cotangent: all but those that can only hold integers, flags and the like."""

import ast
import builtins
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from torchflux_syntax import Function, bound

from ._registry import PULL, _constant

__all__ = ["Names"]

_PLAIN = int | float | complex | str | FunctionType | BuiltinFunctionType | ModuleType | type
_INERT_CALLS = {"range", "len", "isinstance", "issubclass", "callable", "hasattr", "int", "bool", "str", "id", "repr"}
_INERT_CALLS |= {"any", "all"}


class Names:
    """What is known about the names of a function before it runs.

    Attributes:
        own: its variables, parameters included.
        tracked: those that may hold something with a derivative.
    """

    def __init__(self, function: Function, parameters: set[str]) -> None:
        self.function = function
        self.own = bound(function.definition.body) | parameters
        self.definitions = self._definitions()
        self.paths = self._paths()
        self.tracked = set(self.own) - (bound(function.definition.body) - set(self.definitions))
        while inert := {name for name in self.tracked - parameters if self._only_inert(name)}:
            self.tracked -= inert

    def _free(self) -> set[str]:
        found = {n.id for n in ast.walk(self.function.definition) if isinstance(n, ast.Name)}
        return found - self.own

    def _definitions(self) -> dict[str, list[Any]]:
        """The expressions that each name is assigned; None for what isn't an expression."""
        found: dict[str, list[Any]] = {}
        for node in self._own_nodes(self.function.definition.body):
            match node:
                case ast.Assign([ast.Name(name)], value):
                    found.setdefault(name, []).append(value)
                case ast.Assign([ast.Tuple(parts)]):
                    for part in parts:
                        part = part.value if isinstance(part, ast.Starred) else part
                        found.setdefault(part.id, []).append(None)  # type: ignore[attr-defined]
                case ast.AugAssign(ast.Name(name), _, value):
                    found.setdefault(name, []).append(ast.BinOp(ast.Name(name), ast.Add(), value))
                case ast.For(ast.Name(name), iterable):
                    found.setdefault(name, []).append(ast.Starred(iterable))
                case ast.With(items=[item]) if isinstance(item.optional_vars, ast.Name):
                    found.setdefault(item.optional_vars.id, []).append(None)
        return found

    def _own_nodes(self, block: list[ast.stmt]) -> Any:
        for statement in block:
            yield statement
            if not isinstance(statement, ast.FunctionDef):
                for field in ("body", "orelse", "finalbody"):
                    yield from self._own_nodes(getattr(statement, field, []))
                for handler in getattr(statement, "handlers", []):
                    yield from self._own_nodes(handler.body)

    def _only_inert(self, name: str) -> bool:
        return all(value is not None and self.inert(value) for value in self.definitions.get(name, [None]))

    def inert(self, node: ast.expr) -> bool:
        """Whether an expression can't have a derivative and can be left as it is."""
        match node:
            case ast.Constant() | ast.JoinedStr() | ast.Compare() | ast.UnaryOp(ast.Not()):
                return True
            case ast.Name(name):
                return name not in self.tracked if name in self.own else isinstance(self.value(name), _PLAIN)
            case ast.Starred(value) | ast.UnaryOp(_, value):
                return self.inert(value)
            case ast.BinOp(left, _, right):
                return self.inert(left) and self.inert(right)
            case ast.Call(ast.Name(name)):
                return name in _INERT_CALLS and self.is_builtin(name)
            case ast.Attribute(ast.Name(name), attribute):
                return name in self.paths and isinstance(getattr(self.value(name), attribute, None), _PLAIN)
        return False

    def is_builtin(self, name: str) -> bool:
        return name not in self.own and self.value(name) is getattr(builtins, name, self)

    def is_constant_call(self, f: ast.expr) -> bool:
        """Whether a function is one of Python's own that can be called as it is."""
        if not isinstance(f, ast.Name) or not self.is_builtin(f.id):
            return False
        known = PULL.get(self.value(f.id))
        return getattr(known, "func", None) is _constant

    def _paths(self) -> set[str]:
        """Names of modules, and of temporaries that hold a part of a module."""
        found = {name for name in self._free() if isinstance(self.value(name), ModuleType)} | self._imported()
        for name, values in self.definitions.items():
            if all(
                isinstance(v, ast.Attribute) and isinstance(v.value, ast.Name) and v.value.id in found for v in values
            ):
                found.add(name)
        return found

    def _imported(self) -> set[str]:
        imports = [n for n in self._own_nodes(self.function.definition.body) if isinstance(n, ast.Import)]
        return bound(list(imports)) if imports else set()

    def value(self, name: str) -> Any:
        try:
            return self.function.resolve(name)
        except NameError:
            return None
