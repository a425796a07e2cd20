"""Lists that one loop fills: those of comprehensions, and what is written like one.

A list is a tuple here, so that `append` gives its name a longer one. Nobody else may hold the list then, which the
program's text shows: between `x = []` and the end of the loop, nothing is done to `x` but `append`.
"""

import ast
from typing import Any

from ._entries import Listed, Static

__all__ = ["append", "appended", "collected"]


def collected(definition: ast.AST) -> set[str]:
    """The names of such lists in a function in normal form."""
    blocks = [getattr(node, name, None) for node in ast.walk(definition) for name in ("body", "orelse", "finalbody")]
    made = [block[k:] for block in blocks if isinstance(block, list) for k in range(len(block))]
    everywhere = _appends(definition)
    return {name for name, times in filter(None, map(_filled, made)) if everywhere.count(name) == times}


def appended(node: ast.AST) -> set[str]:
    """The names whose `append` is looked up."""
    return set(_appends(node))


def _filled(statements: list[ast.stmt]) -> tuple[str, int] | None:
    """The name of a list that the first statement makes and a loop fills, and in how many places."""
    match statements[0]:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.List(elts=[])):
            for statement in statements[1:]:
                uses = [node for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id == name]
                if uses:
                    times = _appends(statement).count(name)
                    return (name, times) if isinstance(statement, ast.For) and len(uses) == times else None
    return None


def _appends(node: ast.AST) -> list[str]:
    """Of what `append` is looked up, place by place."""
    found = (x.value for x in ast.walk(node) if isinstance(x, ast.Attribute) and x.attr == "append")
    return [value.id for value in found if isinstance(value, ast.Name)]


def append(r: Any, place: Any, value: Any) -> Any:
    """Gives the list of that name one more element."""
    frame, name = place.value
    frame.names[name] = Listed((*frame.names[name], value))
    return Static(None)
