"""From what was written to the normal form."""

import ast
from dataclasses import replace

from ._function import Function
from ._match import Matches
from ._rename import rename_comprehensions
from ._statements import plain

__all__ = ["normalise"]


def normalise(raw: Function, rebound: set[str]) -> Function:
    """The function in normal form; its definition as it was written is changed on the way.

    `rebound` are the variables that functions rebind from within.
    """
    node = raw.definition
    rename_comprehensions(node)
    body = Matches(raw, rebound).body(node.args, node.body)
    definition = ast.FunctionDef(node.name, plain(node.args), body, [])
    if "type_params" in ast.FunctionDef._fields:  # Python 3.12
        definition.type_params = []  # type: ignore[attr-defined]
    return replace(raw, definition=ast.fix_missing_locations(ast.copy_location(definition, node)))
