"""Whether a function is a generator."""

import ast
from collections.abc import Sequence

from ._function import Function
from ._leaves import blocks

__all__ = ["yields"]


def yields(tree: Function | ast.FunctionDef | Sequence[ast.stmt]) -> bool:
    """Whether a function in normal form, or a block of one, has a `yield` of its own: then a call makes a generator.

    >>> from torchflux_syntax import read
    >>> def count(n):
    ...     while True:
    ...         yield n
    ...         n += 1
    >>> yields(read(count)), yields(read(lambda n: count(n)))
    (True, False)
    """
    tree = tree.definition if isinstance(tree, Function) else tree
    return any(map(_yields, tree.body if isinstance(tree, ast.FunctionDef) else tree))


def _yields(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Assign | ast.Expr) else None
    return isinstance(value, ast.Yield | ast.YieldFrom) or any(map(yields, blocks(statement)))
