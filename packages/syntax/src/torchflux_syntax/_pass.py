"""A walk over the statements of the normal form, which changes what it is told to."""

import ast
from collections.abc import Sequence
from typing import Any

__all__ = ["Pass", "changed"]


class Pass:
    """One pass of a transform: a method for each kind of statement that it changes.

    `visit_If`, `visit_Assign`, ... get a statement and return what takes its place: a statement, a list of them, or
    `None` to keep it. What is kept is walked into; what is returned is taken as it is (call `visit` on its blocks to
    go on). The tree that is visited is left as it was.

    >>> from torchflux_syntax import quote, read, show
    >>> class Counting(Pass):
    ...     def visit_AugAssign(self, node):
    ...         return [node, *quote("count($name)", at=node, name=ast.Constant(node.target.id))]
    >>> def f(xs):
    ...     total = 0
    ...     for x in xs:
    ...         total += x
    ...     return total
    >>> print(show(Counting().visit(read(f).definition.body)))
    total = 0
    for x in xs:
        total += x
        count('total')
    return total
    """

    def visit(self, block: Sequence[ast.stmt]) -> list[ast.stmt]:
        """The block with every statement visited, in order."""
        return [new for statement in block for new in self.statement(statement)]

    def statement(self, node: ast.stmt) -> list[ast.stmt]:
        """What one statement becomes."""
        method = getattr(self, f"visit_{type(node).__name__}", None)
        new = method(node) if method else None
        if new is None:
            return [self.inside(node)]
        return [new] if isinstance(new, ast.stmt) else list(new)

    def inside(self, node: Any) -> Any:
        """A statement (or an `except` clause) with the blocks in it visited."""
        changes: dict[str, Any] = {}
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, [])
            if block:
                least = [ast.copy_location(ast.Pass(), block[0])] if name == "body" or _only_finally(node, name) else []
                changes[name] = self.visit(block) or least
        if isinstance(node, ast.Try):
            changes["handlers"] = [self.inside(handler) for handler in node.handlers]
        return changed(node, **changes) if changes else node


def changed(node: Any, **fields: Any) -> Any:
    """A copy of a node, at the same place, with some fields changed; the others are shared.

    >>> node = ast.parse("x = y").body[0]
    >>> ast.unparse(changed(node, value=ast.Constant(1)))
    'x = 1'
    """
    new = type(node)(**{**dict(ast.iter_fields(node)), **fields})
    return ast.copy_location(new, node)


def _only_finally(node: ast.stmt, name: str) -> bool:
    return name == "finalbody" and isinstance(node, ast.Try) and not node.handlers
