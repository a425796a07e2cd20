"""A function as a transform sees it: its normal form and what its names refer to."""

import ast
import builtins
from dataclasses import dataclass, field
from types import CellType
from typing import Any

from ._unsupported import Unsupported

__all__ = ["Function"]


@dataclass(frozen=True, eq=False)
class Function:
    """A function that was read: its definition in normal form and everything that its names refer to.

    A transform makes another one with `dataclasses.replace(function, definition=...)` and hands it to `load`.

    Attributes:
        definition: the normal form. Defaults that are plain literals are shown in it, others as `...`; what counts is
            `defaults` and `kwdefaults`.
        file: where it was written; the line numbers in `definition` are lines of this file.
        namespace: the function's globals, shared with its module.
        cells: the captured variables by name, shared with the functions that capture them too.
        defaults: of the last positional parameters.
        kwdefaults: of keyword-only parameters, by name.
        name: its `__name__`, `<lambda>` for a lambda.
        qualname: its `__qualname__`.
        receiver: what a bound method is bound to, in a tuple of one; empty for any other function.

    >>> from torchflux_syntax import read
    >>> scale = 3
    >>> def triple(x, times=1):
    ...     return scale * x
    >>> read(triple).defaults, read(triple).resolve("scale"), read(triple).resolve("len")
    ((1,), 3, <built-in function len>)
    """

    definition: ast.FunctionDef
    file: str
    namespace: dict[str, Any]
    cells: dict[str, CellType] = field(default_factory=dict)
    defaults: tuple[Any, ...] = ()
    kwdefaults: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    qualname: str = ""
    receiver: tuple[Any, ...] = ()

    def resolve(self, name: str) -> Any:
        """What a captured, global or builtin name refers to now.

        Raises:
            NameError: there is no such name, or it is captured and not bound yet. A parameter or a local variable is
                not looked for: the name is taken as one that the function leaves free.
        """
        if name in self.cells:
            try:
                return self.cells[name].cell_contents
            except ValueError:
                raise NameError(f"{self.place}: captured variable {name!r} is not bound yet", name=name) from None
        for scope in (self.namespace, _builtins(self.namespace)):
            if name in scope:
                return scope[name]
        raise NameError(f"{self.place}: name {name!r} is not defined", name=name)

    def refuse(self, node: ast.AST, construct: str, advice: str) -> Unsupported:
        """The error to raise for a node of this function that a transform cannot do.

        >>> from torchflux_syntax import read
        >>> def f(x):
        ...     return x @ x
        >>> f = read(f)
        >>> error = f.refuse(f.definition.body[0], "a matrix product", "write the loops")
        >>> error.lineno, error.offset, error.msg
        (2, 12, 'a matrix product is not supported; write the loops')
        """
        return Unsupported.at(node, self.file, construct, advice)

    @property
    def place(self) -> str:
        """`file:line` of the definition, for messages."""
        return f"{self.file}:{self.definition.lineno}"


def _builtins(namespace: dict[str, Any]) -> dict[str, Any]:
    found = namespace.get("__builtins__", builtins)
    return found if isinstance(found, dict) else vars(found)
