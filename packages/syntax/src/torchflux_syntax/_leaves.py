"""Whether a block can be left at its end."""

import ast
from collections.abc import Iterator, Sequence

__all__ = ["ALL", "OUT", "jumps", "leaves"]

OUT = (ast.Return, ast.Break)
ALL = (ast.Return, ast.Break, ast.Continue)


def leaves(block: Sequence[ast.stmt]) -> bool:
    """Whether control never comes to the end of `block`: every path returns, raises, breaks or continues.

    >>> leaves(ast.parse("if c: raise E\\nelse: return x").body), leaves(ast.parse("if c: return x").body)
    (True, False)
    """
    return any(_leaves(statement) for statement in block)


def jumps(block: Sequence[ast.stmt], kinds: type | tuple[type, ...]) -> Iterator[ast.stmt]:
    """The `return`, `break` and `continue` statements of `kinds` that leave `block` itself.

    A loop keeps its own `break` and `continue`, a nested function its own `return`.
    """
    for statement in block:
        if isinstance(statement, kinds):
            yield statement
        in_loop = isinstance(statement, ast.For | ast.While)
        outward = tuple(k for k in _tuple(kinds) if not in_loop or k is ast.Return)
        if outward:
            for inner in blocks(statement):
                yield from jumps(inner, outward)
        if in_loop and statement.orelse:  # type: ignore[attr-defined]
            yield from jumps(statement.orelse, tuple(k for k in _tuple(kinds) if k is not ast.Return))  # type: ignore[attr-defined]


def blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    """The blocks inside a statement, in the order in which they are written; a nested function's is not among them."""
    match statement:
        case ast.If() | ast.For() | ast.While():
            return [statement.body, statement.orelse]
        case ast.With():
            return [statement.body]
        case ast.Try():
            handlers = [handler.body for handler in statement.handlers]
            return [statement.body, *handlers, statement.orelse, statement.finalbody]
    return []


def _leaves(statement: ast.stmt) -> bool:
    match statement:
        case ast.Return() | ast.Raise() | ast.Break() | ast.Continue():
            return True
        case ast.If():
            return leaves(statement.body) and leaves(statement.orelse)
        case ast.While(test=ast.Constant(value=True)):
            return not any(jumps(statement.body, ast.Break))
        case ast.Try():
            handled = all(leaves(handler.body) for handler in statement.handlers)
            return leaves(statement.finalbody) or (leaves(statement.body + statement.orelse) and handled)
    return False  # a `with` among them: its manager may stop an exception


def _tuple(kinds: type | tuple[type, ...]) -> tuple[type, ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)
