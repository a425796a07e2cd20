"""`yield from xs` as a loop that yields; what is sent or thrown there is refused."""

import ast

from torchflux_syntax import Fresh, Pass, quote

__all__ = ["Delegations"]


class Delegations(Pass):
    """Writes the loops.

    Attributes:
        found: whether there was any.
    """

    def __init__(self, helpers: dict[str, str], fresh: Fresh) -> None:
        self.helpers, self.fresh = helpers, fresh
        self.found = False

    def visit_Expr(self, node: ast.Expr) -> list[ast.stmt] | None:
        return self._loop(node.value, node) if isinstance(node.value, ast.YieldFrom) else None

    def visit_Assign(self, node: ast.Assign) -> list[ast.stmt] | None:
        if not isinstance(node.value, ast.YieldFrom):
            return None
        steps = self.fresh()
        made = quote("$steps = $iter($xs)", steps=steps, iter=self.helpers["iter"], xs=node.value.value, at=node)
        end = quote("$y = $returned($xs)", y=node.targets[0], returned=self.helpers["returned"], xs=steps, at=node)
        return [*made, *self._loop(ast.YieldFrom(ast.Name(steps, ast.Load())), node), *end]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """A nested function is prepared when it is called."""
        return node

    def _loop(self, value: ast.YieldFrom, node: ast.stmt) -> list[ast.stmt]:
        self.found = True
        return quote("for $x in $xs: yield $x", x=self.fresh(), xs=value.value, at=node)
