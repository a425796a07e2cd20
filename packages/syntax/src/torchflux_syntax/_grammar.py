"""The two normal forms as grammars: a checker for each, for tests and for transforms that want to be sure."""

import ast
from collections.abc import Callable, Sequence

from ._function import Function
from ._leaves import jumps
from ._names import parameters
from ._statements import is_caught

__all__ = ["deviation", "is_normal", "is_structured"]

Form = Function | ast.FunctionDef | Sequence[ast.stmt]


def is_normal(tree: Form) -> bool:
    """Whether a function or a block is in normal form.

    >>> is_normal(ast.parse("y = x * x").body), is_normal(ast.parse("y = x * x * x").body)
    (True, False)
    """
    return deviation(tree) is None


def is_structured(tree: Form) -> bool:
    """Whether a function or a block is in the second normal form, which `structure` makes.

    >>> is_structured(ast.parse("for x in xs:\\n    y = x + y\\n    if done: break").body)
    True
    >>> is_structured(ast.parse("for x in xs:\\n    if x: continue").body)
    False
    """
    return deviation(tree, structured=True) is None


def deviation(tree: Form, structured: bool = False) -> str | None:
    """The first statement that isn't in normal form, as text; `None` if all are.

    >>> deviation(ast.parse("y = f(x.real)").body)
    'line 1: y = f(x.real)'
    """
    tree = [tree.definition] if isinstance(tree, Function) else [tree] if isinstance(tree, ast.AST) else tree
    try:
        (_Structured() if structured else _Normal()).block(tree)
    except _Deviation as found:
        node = found.args[0]
        return f"line {getattr(node, 'lineno', '?')}: {ast.unparse(ast.fix_missing_locations(node))}"
    return None


class _Deviation(Exception):
    """Carries the node."""


def _require(condition: object, node: ast.AST) -> None:
    if not condition:
        raise _Deviation(node)


def atom(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Name | ast.Constant)


def _atom_or_none(node: ast.AST | None) -> bool:
    return node is None or atom(node)


def _element(node: ast.AST) -> bool:
    return atom(node.value) if isinstance(node, ast.Starred) else atom(node)


def _elements(nodes: Sequence[ast.AST]) -> bool:
    return all(map(_element, nodes))


def _index(node: ast.AST) -> bool:
    if isinstance(node, ast.Tuple):
        return all(not isinstance(part, ast.Tuple) and _index(part) for part in node.elts)
    if isinstance(node, ast.Slice):
        return all(map(_atom_or_none, [node.lower, node.upper, node.step]))
    return atom(node)


def _text(node: ast.AST | None) -> bool:
    match node:
        case None | ast.Constant():
            return True
        case ast.JoinedStr(values=values):
            return all(map(_text, values))
        case ast.FormattedValue(value=value, format_spec=spec):
            return isinstance(value, ast.Name) and _text(spec)
    return False


def expression(node: ast.expr) -> bool:
    """Whether an expression is an atom or one operation on atoms."""
    match node:
        case ast.Name() | ast.Constant():
            return True
        case ast.BinOp(left=left, right=right):
            return atom(left) and atom(right)
        case ast.UnaryOp(operand=operand):
            return atom(operand)
        case ast.Compare(left=left, comparators=[right]):
            return atom(left) and atom(right)
        case ast.Call(func=func, args=args, keywords=keywords):
            return atom(func) and _elements(args) and all(atom(keyword.value) for keyword in keywords)
        case ast.Attribute(value=value):
            return atom(value)
        case ast.Subscript(value=value, slice=index):
            return atom(value) and _index(index)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            return _elements(parts)
        case ast.Dict(keys=keys, values=values):
            return all(map(_atom_or_none, keys)) and all(map(atom, values))
        case ast.Yield(value=value) | ast.YieldFrom(value=value):
            return atom(value)
    return isinstance(node, ast.JoinedStr) and _text(node)


def _target(node: ast.expr, value: ast.expr) -> bool:
    match node:
        case ast.Name():
            return expression(value)
        case ast.Tuple(elts=parts):
            names = [part.value if isinstance(part, ast.Starred) else part for part in parts]
            return all(isinstance(name, ast.Name) for name in names) and atom(value)
    return _place(node) and atom(value)


def _place(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute | ast.Subscript) and expression(node)


def _is_head(statement: ast.stmt) -> bool:
    match statement:
        case ast.If(body=[ast.Pass()], orelse=[ast.Break()]):
            return True
    return False


class _Normal:
    """`block` raises at the first statement that isn't in normal form."""

    def block(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            method: Callable[[ast.stmt], None] | None = getattr(self, f"check_{type(statement).__name__}", None)
            _require(method or isinstance(statement, ast.Pass | ast.Break | ast.Continue), statement)
            if method:
                method(statement)

    def check_Assign(self, node: ast.Assign) -> None:
        _require(len(node.targets) == 1 and _target(node.targets[0], node.value), node)

    def check_AugAssign(self, node: ast.AugAssign) -> None:
        _require(isinstance(node.target, ast.Name) and atom(node.value), node)

    def check_Delete(self, node: ast.Delete) -> None:
        target = node.targets[0]
        _require(len(node.targets) == 1 and (isinstance(target, ast.Name) or _place(target)), node)

    def check_If(self, node: ast.If) -> None:
        _require(atom(node.test) and node.body, node)
        self.block(node.body)
        self.block(node.orelse)

    def check_While(self, node: ast.While) -> None:
        forever = isinstance(node.test, ast.Constant) and node.test.value is True
        _require(forever and node.body and not node.orelse, node)
        self.block(node.body)

    def check_For(self, node: ast.For) -> None:
        _require(isinstance(node.target, ast.Name) and atom(node.iter) and node.body and not node.orelse, node)
        self.block(node.body)

    def check_Return(self, node: ast.Return) -> None:
        _require(atom(node.value), node)

    def check_Raise(self, node: ast.Raise) -> None:
        _require(_atom_or_none(node.exc) and _atom_or_none(node.cause), node)

    def check_Try(self, node: ast.Try) -> None:
        for block in (node.body, *(handler.body for handler in node.handlers), node.orelse, node.finalbody):
            self.block(block)
        _require(all(handler.type is None or is_caught(handler.type) for handler in node.handlers), node)

    def check_With(self, node: ast.With) -> None:
        _require(len(node.items) == 1 and atom(node.items[0].context_expr), node)
        _require(isinstance(node.items[0].optional_vars, ast.Name | None), node)
        self.block(node.body)

    def check_FunctionDef(self, node: ast.FunctionDef) -> None:
        defaults = [*node.args.defaults, *node.args.kw_defaults]
        _require(all(map(_atom_or_none, defaults)) and not node.decorator_list and node.returns is None, node)
        _require(not any(parameter.annotation for parameter in parameters(node.args)), node)
        self.function_body(node.body)

    def function_body(self, statements: list[ast.stmt]) -> None:
        self.block(statements)

    def check_Expr(self, node: ast.Expr) -> None:
        _require(isinstance(node.value, ast.Call | ast.Yield | ast.YieldFrom) and expression(node.value), node)

    def keep(self, node: ast.stmt) -> None:
        pass

    check_Nonlocal = check_Global = check_Import = check_ImportFrom = keep


class _Structured(_Normal):
    """Jumps are at the end of a function, in the head of a `while` and at the end of a `for`; nowhere else."""

    def function_body(self, statements: list[ast.stmt]) -> None:
        _require(isinstance(statements[-1], ast.Return), statements[-1])
        for jump in jumps(statements[:-1], ast.Return):
            raise _Deviation(jump)
        self.block(statements)

    def check_While(self, node: ast.While) -> None:
        heads = [statement for statement in node.body if _is_head(statement)]
        _require(len(heads) == 1, node)
        self.no_jumps([statement for statement in node.body if statement is not heads[0]])
        super().check_While(node)

    def check_For(self, node: ast.For) -> None:
        match node.body:
            case [*before, ast.If(test=ast.Name(), body=[ast.Break()], orelse=[])]:
                self.no_jumps(before)
            case body:
                self.no_jumps(body)
        super().check_For(node)

    def no_jumps(self, statements: list[ast.stmt]) -> None:
        for jump in jumps(statements, (ast.Break, ast.Continue)):
            raise _Deviation(jump)
