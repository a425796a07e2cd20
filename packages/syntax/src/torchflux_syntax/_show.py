"""A tree printed as Python that a person can read."""

import ast
import math
from collections.abc import Sequence
from typing import Any, TypeGuard

from ._function import Function
from ._quote import copy

__all__ = ["show"]


def show(tree: Function | ast.AST | Sequence[ast.stmt]) -> str:
    """Readable Python for a function, a statement list or a node.

    >>> from torchflux_syntax import read
    >>> def f(x, y):
    ...     return x * (x + y)
    >>> print(show(read(f)))
    def f(x, y):
        t1 = x + y
        t2 = x * t1
        return t2
    """
    if isinstance(tree, Function):
        tree = tree.definition
    root = tree if isinstance(tree, ast.AST) else ast.Module(list(tree), [])
    return ast.unparse(ast.fix_missing_locations(_Signs().visit(copy(root))))


class _Signs(ast.NodeTransformer):
    """Negative constants as a minus and a number, which `ast.unparse` puts in parentheses where they are needed."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if _is_negative(node.value):
            return ast.copy_location(ast.UnaryOp(ast.USub(), ast.copy_location(ast.Constant(-node.value), node)), node)
        return node


def _is_negative(value: Any) -> TypeGuard[int | float]:
    return type(value) in (int, float) and math.copysign(1, value) < 0
