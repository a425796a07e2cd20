"""Quasi-quotation: pieces of program written as text, with holes."""

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from textwrap import dedent
from typing import Any

__all__ = ["quote", "quote_expr"]

_HOLE = re.compile(r"\$([A-Za-z_]\w*)")
_MARK = "__hole__"


def quote(template: str, *, at: ast.AST | None = None, **values: Any) -> list[ast.stmt]:
    """The statements that a template describes, its `$name` holes filled.

    A hole takes a name (a string), an expression, or a number, `None`, `True`, `...` (a constant). Among arguments,
    elements, parameters and names it also takes a list, which is spliced in. As a statement of its own it takes a
    statement or a list of statements, which become part of the result; expressions are copied. For a parameter list
    it takes an `ast.arguments`. A block that stays empty gets a `pass`.

    Args:
        template: Python, with holes; indented as a whole if you like.
        at: the node whose place in the user's file the new nodes get.
        **values: what fills the holes.

    Raises:
        ValueError: a hole has no value, a value no hole, or a value does not fit there.

    >>> print(ast.unparse(quote("$y = $f($args)", y="y", f="pull", args=["mul", ast.Constant(2)])[0]))
    y = pull(mul, 2)
    >>> body = quote("total += $x", x="x")
    >>> print(ast.unparse(quote("for $x in $xs: $body", x="x", xs="data", body=body)[0]))
    for x in data:
        total += x
    """
    tree, holes = _template(dedent(template).strip("\n"))
    if holes != values.keys():
        raise ValueError(
            f"the template has the holes {sorted(holes)}, the values are for {sorted(values)}: {template!r}"
        )
    return list(_Filler(values, _place(at)).many(tree.body))


def quote_expr(template: str, *, at: ast.AST | None = None, **values: Any) -> ast.expr:
    """The expression that a template describes; holes as for `quote`.

    >>> ast.unparse(quote_expr("$x ** ($n - 1)", x="x", n=3))
    'x ** (3 - 1)'
    """
    match quote(template, at=at, **values):
        case [ast.Expr(value=expression)]:
            return expression
    raise ValueError(f"not an expression: {template!r}")


@lru_cache(maxsize=1024)
def _template(text: str) -> tuple[ast.Module, frozenset[str]]:
    return ast.parse(_HOLE.sub(_MARK + r"\1", text)), frozenset(_HOLE.findall(text))


def _place(at: ast.AST | None) -> dict[str, int]:
    line, column = getattr(at, "lineno", 1), getattr(at, "col_offset", 0)
    end_line, end_column = getattr(at, "end_lineno", None) or line, getattr(at, "end_col_offset", None) or column
    return {"lineno": line, "col_offset": column, "end_lineno": end_line, "end_col_offset": end_column}


class _Filler:
    """Copies a template and fills its holes on the way."""

    def __init__(self, values: dict[str, Any], place: dict[str, int]) -> None:
        self.values = values
        self.place = place

    def one(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Name) and (hole := _hole(node.id)):
            return self.expression(self.values[hole], node.ctx)
        new = type(node)(**{name: self.part(node, value) for name, value in ast.iter_fields(node)})
        return _tidied(self.placed(new) if "lineno" in node._attributes else new)

    def placed(self, node: Any) -> Any:
        for attribute, number in self.place.items():
            setattr(node, attribute, number)
        return node

    def part(self, owner: ast.AST | None, value: Any) -> Any:
        """The filled value of one field of `owner`."""
        if isinstance(value, list):
            return list(self.many(value))
        if isinstance(value, ast.arguments):
            whole = self.values.get(_hole(value.args[0].arg)) if value.args else None
            return whole if isinstance(whole, ast.arguments) else self.one(value)
        if isinstance(value, ast.AST):
            return self.one(value)
        if isinstance(value, str) and not isinstance(owner, ast.Constant) and (hole := _hole(value)):
            return _identifier(self.values[hole])
        return value

    def many(self, items: list[Any]) -> Iterator[Any]:
        for item in items:
            hole = _hole_of(item)
            value = self.values[hole] if hole else None
            if isinstance(item, ast.stmt) and hole and not isinstance(value, ast.expr | str):
                yield from _statements(value)
            elif hole and isinstance(value, list | tuple):
                yield from (self.item(item, element) for element in value)
            else:
                yield self.item(item, value) if hole and not isinstance(item, ast.stmt) else self.part(None, item)

    def item(self, hole: Any, value: Any) -> Any:
        """One element of a list of arguments, elements, parameters or names."""
        if isinstance(hole, str):
            return _identifier(value)
        if isinstance(hole, ast.arg):
            return value if isinstance(value, ast.arg) else self.placed(ast.arg(_identifier(value)))
        return value if isinstance(value, ast.keyword) else self.expression(value, hole.ctx)

    def expression(self, value: Any, context: ast.expr_context) -> ast.expr:
        if isinstance(value, ast.expr):
            return _in_context(value, context)
        if isinstance(value, str):
            return self.placed(ast.Name(_identifier(value), context))
        if value is None or value is ... or isinstance(value, bool | int | float | complex | bytes):
            return self.placed(ast.Constant(value))
        raise ValueError(f"no expression: {value!r}; a hole takes a name, an expression or a number")


def _hole(text: str) -> str:
    return text.removeprefix(_MARK) if text.startswith(_MARK) else ""


def _hole_of(item: Any) -> str:
    match item:
        case str(text) | ast.Name(id=text) | ast.arg(arg=text) | ast.Expr(value=ast.Name(id=text)):
            return _hole(text)
    return ""


def _identifier(value: Any) -> str:
    if isinstance(value, ast.Name):
        value = value.id
    if not isinstance(value, str) or not value.isidentifier():
        raise ValueError(f"no name: {value!r}; this hole takes an identifier (for text, give ast.Constant)")
    return value


def _statements(value: Any) -> list[ast.stmt]:
    statements = [value] if isinstance(value, ast.stmt) else value
    if not isinstance(statements, list) or not all(isinstance(statement, ast.stmt) for statement in statements):
        raise ValueError(f"no statements: {value!r}; this hole takes a statement or a list of them")
    return statements


def _in_context(expression: ast.expr, context: ast.expr_context) -> ast.expr:
    """A copy that is read, stored to or deleted as the hole is."""
    copied = copy(expression)
    pending = [copied]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Tuple | ast.List | ast.Starred):
            node.ctx = type(context)()
        pending += getattr(node, "elts", []) + ([node.value] if isinstance(node, ast.Starred) else [])
    return copied


def copy(node: Any) -> Any:
    """The same tree, made of new nodes: `copy.deepcopy` for syntax trees, several times faster."""
    if isinstance(node, list):
        return [copy(item) for item in node]
    if not isinstance(node, ast.AST):
        return node
    new = type(node)(**{name: copy(value) for name, value in ast.iter_fields(node)})
    return ast.copy_location(new, node) if hasattr(node, "lineno") else new


def _tidied(node: Any) -> Any:
    """Blocks that stayed empty get a `pass`; keywords that were spliced among positional arguments get their place."""
    if isinstance(node, ast.Call):
        node.keywords += [argument for argument in node.args if isinstance(argument, ast.keyword)]
        node.args = [argument for argument in node.args if not isinstance(argument, ast.keyword)]
    elif getattr(node, "body", True) == [] and not isinstance(node, ast.Module):
        node.body = [ast.copy_location(ast.Pass(), node)]
    return node
