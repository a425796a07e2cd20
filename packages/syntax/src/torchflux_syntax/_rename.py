"""Names of their own for the loops of comprehensions, which become loops in place."""

import ast
from collections import Counter
from typing import Any

from ._names import Comprehension, Fresh, bound, elements, names, parameters

__all__ = ["rename_comprehensions"]


def rename_comprehensions(tree: ast.AST) -> None:
    """Changes a tree in place so that no loop name of a comprehension means anything outside of it.

    A name that occurs nowhere else stays as it is.

    >>> tree = ast.parse("y = [i + x for x in x for i in x]")
    >>> rename_comprehensions(tree)
    >>> print(ast.unparse(tree))
    y = [i + x_1 for x_1 in x for i in x_1]
    """
    fresh = Fresh(names(tree))
    for node in ast.walk(tree):
        if isinstance(node, Comprehension):
            for name in sorted(loop_names(node)):
                if _count(tree)[name] > sum(_count(part)[name] for part in scope(node)):
                    _substitute(node, _Substitution(name, fresh(name)))


def loop_names(node: Comprehension) -> set[str]:
    """The names that a comprehension binds for itself."""
    return bound([clause.target for clause in node.generators])


def scope(node: Comprehension) -> list[ast.AST]:
    """The parts of a comprehension that see its loop names: all but what it loops over first."""
    first, *rest = node.generators
    return [first.target, *first.ifs, *rest, *elements(node)]


def _count(tree: ast.AST) -> Counter[str]:
    """How often identifiers occur, as variables, parameters, declarations or otherwise."""
    strings = (value for node in ast.walk(tree) for _, value in ast.iter_fields(node))
    several = (value if isinstance(value, list) else [value] for value in strings)
    return Counter(value for values in several for value in values if isinstance(value, str))


def _substitute(node: Comprehension, substitution: "_Substitution") -> None:
    """Renames in the scope of a comprehension."""
    first = node.generators[0]
    outside, first.iter = first.iter, ast.Constant(None)
    substitution.generic_visit(node)
    first.iter = outside


class _Substitution(ast.NodeTransformer):
    """Renames a variable where it is not hidden by another one of the same name."""

    def __init__(self, name: str, new: str) -> None:
        self.name, self.new = name, new

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if node.id == self.name:
            node.id = self.new
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        hidden = any(parameter.arg == self.name for parameter in parameters(node.args))
        self.visit(node.args) if hidden else self.generic_visit(node)
        return node

    def _comprehension(self, node: Any) -> Any:
        if self.name in loop_names(node):
            node.generators[0].iter = self.visit(node.generators[0].iter)
            return node
        return self.generic_visit(node)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension
