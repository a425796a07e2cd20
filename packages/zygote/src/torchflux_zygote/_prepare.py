"""The passes between the front end's structured form and both modes: what they needn't know about.

- `x.name(...)` is one call of a method, not an attribute that is called later.
- A variable that a nested function captures lives in its cell: it is read and written as the attribute
  `cell_contents` of the cell, so that both functions' uses meet there.
- `f(*xs, **options)` is `call(f, (*xs,), {**options})`; `with` is `try`.
"""

import ast
import dataclasses
from collections import Counter
from typing import Any

from torchflux_syntax import Fresh, Function, Pass, bound, free, names, quote, quote_expr, structure

from ._delegations import Delegations

__all__ = ["Prepared", "prepare"]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A function ready to be transformed.

    Attributes:
        function: the structured function, without captured variables.
        cells: the name of the variable that holds the cell, for each captured variable.
        helpers: the names of `call`, `join`, `merge`, `iter` and `returned`.
        fresh: names that nothing in the function has.
        delegates: whether there was a `yield from`, which is a loop now.
    """

    function: Function
    cells: dict[str, str]
    helpers: dict[str, str]
    fresh: Fresh
    delegates: bool


def prepare(function: Function, structured: bool = False) -> Prepared:
    """The function in the form that the transforms take."""
    function = function if structured else structure(function)
    fresh = Fresh(names(function.definition))
    body = _fuse(function.definition.body)
    body = _Withs(function, fresh).visit(body)
    helpers = {name: fresh(name) for name in ("call", "join", "merge", "iter", "returned")}
    body = _Stars(helpers, fresh).visit(body)
    delegations = Delegations(helpers, fresh)
    body = delegations.visit(body)
    cells = {name: fresh(f"{name}_cell") for name in sorted(_captured(function, body))}
    body = _Boxes(cells, fresh).visit(body)
    function = dataclasses.replace(function, definition=_with_body(function.definition, body))
    return Prepared(function, cells, helpers, fresh, delegations.found)


def _with_body(definition: ast.FunctionDef, body: list[ast.stmt]) -> ast.FunctionDef:
    new = ast.FunctionDef(**{**dict(ast.iter_fields(definition)), "body": body})
    return ast.copy_location(new, definition)


# Methods.


def _fuse(block: list[ast.stmt]) -> list[ast.stmt]:
    """`t = x.name; y = t(...)` becomes `y = x.name(...)`, for temporaries used nowhere else."""
    count = Counter(node.id for statement in block for node in ast.walk(statement) if isinstance(node, ast.Name))
    return _Fusing(count).visit(block)


class _Fusing(Pass):
    def __init__(self, count: Counter[str]) -> None:
        self.count = count

    def visit(self, block: Any) -> list[ast.stmt]:
        waiting: dict[str, ast.Attribute] = {}
        kept: list[ast.stmt] = []
        for statement in block:
            match statement:
                case ast.Assign([ast.Name(name)], ast.Attribute() as attribute) if self._called(name, statement, block):
                    waiting[name] = attribute
                case _:
                    call = _call(statement)
                    if call is not None and isinstance(call.func, ast.Name) and call.func.id in waiting:
                        statement = _with_call(statement, call, waiting.pop(call.func.id))
                    kept += self.statement(statement)
        return kept

    def _called(self, name: str, statement: ast.stmt, block: list[ast.stmt]) -> bool:
        """Whether a temporary's one use is to be called, in the same block, with nothing in between that matters."""
        if self.count[name] != 2 or statement.value.attr == "__class__":  # type: ignore[attr-defined]
            return False
        base = statement.value.value  # type: ignore[attr-defined]
        for later in block[list(block).index(statement) + 1 :]:
            call = _call(later)
            if call is not None and isinstance(call.func, ast.Name) and call.func.id == name:
                return True
            if isinstance(base, ast.Name) and base.id in bound([later]):
                return False
        return False


def _call(statement: ast.stmt) -> ast.Call | None:
    value = getattr(statement, "value", None) if isinstance(statement, ast.Assign | ast.Expr) else None
    return value if isinstance(value, ast.Call) else None


def _with_call(statement: ast.stmt, call: ast.Call, func: ast.expr) -> Any:
    value = ast.copy_location(ast.Call(func, call.args, call.keywords), call)
    if isinstance(statement, ast.Assign):
        return ast.copy_location(ast.Assign(statement.targets, value), statement)
    return ast.copy_location(ast.Expr(value), statement)


# Stars, which become calls of three functions.


class _Stars(Pass):
    """`f(*xs, **options)`, `(a, *xs)`, `[a, *xs]`, `{**a, b: c}` by `call`, `join` and `merge`."""

    def __init__(self, helpers: dict[str, str], fresh: Fresh) -> None:
        self.helpers, self.fresh = helpers, fresh

    def visit_Assign(self, node: ast.Assign) -> list[ast.stmt] | None:
        return self._lowered(node, node.value)

    def visit_Expr(self, node: ast.Expr) -> list[ast.stmt] | None:
        return self._lowered(node, node.value)

    def _lowered(self, node: ast.stmt, value: ast.expr) -> list[ast.stmt] | None:
        before: list[ast.stmt] = []
        match value:
            case ast.Call() if _has_star(value.args) or not all(k.arg for k in value.keywords):
                new = self._call(value, before)
            case ast.Tuple() if _has_star(value.elts):
                new = self._join(value.elts, before, value)
            case ast.List() | ast.Set() if _has_star(value.elts):
                joined = self._name(self._join(value.elts, before, value), before)
                make = "list($x)" if isinstance(value, ast.List) else "set($x)"
                new = quote_expr(make, x=joined, at=value)
            case ast.Dict() if None in value.keys:
                new = self._merge(value.keys, value.values, before, value)
            case _:
                return None
        return [*before, _with_value(node, new)]

    def _name(self, value: ast.expr, before: list[ast.stmt]) -> ast.Name:
        name = self.fresh()
        before += quote("$t = $x", t=name, x=value, at=value)
        return ast.copy_location(ast.Name(name, ast.Load()), value)

    def _call(self, call: ast.Call, before: list[ast.stmt]) -> ast.expr:
        f = self._name(call.func, before) if isinstance(call.func, ast.Attribute) else call.func
        args = self._name(self._join(call.args, before, call), before)
        keys = [None if k.arg is None else ast.Constant(k.arg) for k in call.keywords]
        options = self._name(self._merge(keys, [k.value for k in call.keywords], before, call), before)
        return quote_expr(
            "$call($f, $args, $options)", call=self.helpers["call"], f=f, args=args, options=options, at=call
        )

    def _join(self, parts: list[ast.expr], before: list[ast.stmt], at: ast.AST) -> ast.expr:
        runs: list[Any] = []
        for part in parts:
            if isinstance(part, ast.Starred):
                runs.append(part.value)
            elif runs and isinstance(runs[-1], list):
                runs[-1].append(part)
            else:
                runs.append([part])
        make = [
            self._name(ast.copy_location(ast.Tuple(run, ast.Load()), at), before) if isinstance(run, list) else run
            for run in runs
        ]
        return quote_expr("$join($parts)", join=self.helpers["join"], parts=make, at=at)

    def _merge(self, keys: list[Any], values: list[Any], before: list[ast.stmt], at: ast.AST) -> ast.expr:
        runs: list[Any] = []
        for key, value in zip(keys, values, strict=True):
            if key is None:
                runs.append(value)
            elif runs and isinstance(runs[-1], tuple):
                runs[-1][0].append(key), runs[-1][1].append(value)
            else:
                runs.append(([key], [value]))
        make = [
            self._name(ast.copy_location(ast.Dict(*run), at), before) if isinstance(run, tuple) else run for run in runs
        ]
        return quote_expr("$merge($parts)", merge=self.helpers["merge"], parts=make, at=at)


def _has_star(parts: list[ast.expr]) -> bool:
    return any(isinstance(part, ast.Starred) for part in parts)


def _with_value(node: ast.stmt, value: ast.expr) -> ast.stmt:
    if isinstance(node, ast.Assign):
        return ast.copy_location(ast.Assign(node.targets, value), node)
    return ast.copy_location(ast.Expr(value), node)


# With.


class _Withs(Pass):
    def __init__(self, function: Function, fresh: Fresh) -> None:
        self.function, self.fresh = function, fresh
        self.gradless: set[str] = set()

    def visit_Assign(self, node: ast.Assign) -> None:
        match node:
            case ast.Assign([ast.Name(name)], ast.Call(ast.Attribute(ast.Name(module), "no_grad" | "inference_mode"))):
                if _is_torch(self.function, module):
                    self.gradless.add(name)

    def visit_With(self, node: ast.With) -> list[ast.stmt] | None:
        [item] = node.items
        if isinstance(item.context_expr, ast.Name) and item.context_expr.id in self.gradless:
            return None
        value, error, swallowed = self.fresh(), self.fresh("error"), self.fresh()
        target = quote("$m = $v", m=item.optional_vars, v=value, at=node) if item.optional_vars else []
        kind, trace = self.fresh(), self.fresh()
        return quote(
            """
            $value = $manager.__enter__()
            $target
            try:
                $body
            except BaseException as $error:
                $kind = $error.__class__
                $trace = $error.__traceback__
                $swallowed = $manager.__exit__($kind, $error, $trace)
                if $swallowed:
                    pass
                else:
                    raise
            else:
                $manager.__exit__(None, None, None)
            """,
            value=value,
            manager=item.context_expr,
            target=target,
            body=self.visit(node.body),
            error=error,
            kind=kind,
            trace=trace,
            swallowed=swallowed,
            at=node,
        )


def _is_torch(function: Function, name: str) -> bool:
    try:
        return getattr(function.resolve(name), "__name__", None) == "torch"
    except NameError:
        return False


# Captured variables.


def _captured(function: Function, body: list[ast.stmt]) -> set[str]:
    """The variables that are shared with another function, less those that only ever hold one function."""
    own = bound(body) | {p.arg for p in ast.walk(function.definition.args) if isinstance(p, ast.arg)}
    nested = [node for node in _statements(body) if isinstance(node, ast.FunctionDef)]
    inner = {name for node in nested for name in free(node)}
    declared = {name for s in _statements(body) if isinstance(s, ast.Global) for name in s.names}
    outer = (free(function.definition) & function.cells.keys()) - {"__class__"}
    assigned = Counter(name for s in _statements(body) for name in _binds(s))
    functions = {node.name for node in nested if assigned[node.name] == 1}
    return ((own & inner) - functions - declared) | outer


def _binds(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.For):
        return bound([ast.copy_location(ast.Assign([statement.target], statement.iter), statement)])
    nested = isinstance(statement, ast.If | ast.While | ast.Try | ast.With)
    return set() if nested else bound([statement])


def _statements(block: list[ast.stmt]) -> list[ast.stmt]:
    """All statements of one function, those in nested blocks too, not those of nested functions."""
    found = []
    for statement in block:
        found.append(statement)
        if not isinstance(statement, ast.FunctionDef):
            for name in ("body", "orelse", "finalbody"):
                found += _statements(getattr(statement, name, []))
            for handler in getattr(statement, "handlers", []):
                found += _statements(handler.body)
    return found


class _Boxes(Pass):
    """Reads and writes of captured variables, through their cells."""

    def __init__(self, cells: dict[str, str], fresh: Fresh) -> None:
        self.cells, self.fresh = cells, fresh

    def statement(self, node: ast.stmt) -> list[ast.stmt]:
        if isinstance(node, ast.Nonlocal):
            return []
        if not self.cells or isinstance(node, ast.FunctionDef):
            return self._default_reads(node) if isinstance(node, ast.FunctionDef) else super().statement(node)
        before: list[ast.stmt] = []
        after: list[ast.stmt] = []
        node = self._shallow(node, before, after)
        match node:
            case ast.For():
                node = _replaced(node, body=[*after, *self.visit(node.body)])
                after = []
            case ast.With():
                node = _replaced(node, body=[*after, *self.visit(node.body)])
                after = []
            case ast.If() | ast.While() | ast.Try():
                node = self.inside(node)
        return [*before, node, *after]

    def _default_reads(self, node: ast.FunctionDef) -> list[ast.stmt]:
        before: list[ast.stmt] = []
        swap = _Swap(self.cells, self.fresh, before, [])
        args = ast.arguments(**dict(ast.iter_fields(node.args)))
        args.defaults = [swap.visit(d) for d in args.defaults]
        args.kw_defaults = [d and swap.visit(d) for d in args.kw_defaults]
        return [*before, _replaced(node, args=args)]

    def _shallow(self, node: ast.stmt, before: list[ast.stmt], after: list[ast.stmt]) -> Any:
        """The statement with names swapped, but not in the blocks inside."""
        swap = _Swap(self.cells, self.fresh, before, after)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id in self.cells:
            name = swap.read(node.target)
            after += quote("$c.cell_contents = $t", c=self.cells[node.target.id], t=name, at=node)
            return _replaced(node, target=ast.Name(name.id, ast.Store()), value=swap.visit(node.value))
        if isinstance(node, ast.Delete) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in self.cells:
            return quote("del $c.cell_contents", c=self.cells[node.targets[0].id], at=node)[0]
        changes: dict[str, Any] = {}
        for field, value in ast.iter_fields(node):
            if field in ("body", "orelse", "finalbody", "handlers"):
                continue
            if isinstance(value, ast.AST):
                changes[field] = swap.visit(value)
            elif isinstance(value, list):
                changes[field] = [swap.visit(v) if isinstance(v, ast.AST) else v for v in value]
        return _replaced(node, **changes) if changes else node


def _replaced(node: Any, **changes: Any) -> Any:
    return ast.copy_location(type(node)(**{**dict(ast.iter_fields(node)), **changes}), node)


class _Swap(ast.NodeTransformer):
    """Swaps the captured names of a statement for temporaries."""

    def __init__(self, cells: dict[str, str], fresh: Fresh, before: list[ast.stmt], after: list[ast.stmt]) -> None:
        self.cells, self.fresh, self.before, self.after = cells, fresh, before, after

    def generic_visit(self, node: ast.AST) -> ast.AST:
        changes: dict[str, Any] = {}
        for field, value in ast.iter_fields(node):
            if isinstance(value, ast.AST):
                changes[field] = self.visit(value)
            elif isinstance(value, list):
                changes[field] = [self.visit(v) if isinstance(v, ast.AST) else v for v in value]
        return _replaced(node, **changes) if changes else node

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if node.id not in self.cells:
            return node
        if isinstance(node.ctx, ast.Load):
            return self.read(node)
        name = self.fresh()
        self.after += quote("$c.cell_contents = $t", c=self.cells[node.id], t=name, at=node)
        return ast.copy_location(ast.Name(name, ast.Store()), node)

    def read(self, node: ast.Name) -> ast.Name:
        name = self.fresh()
        self.before += quote("$t = $c.cell_contents", t=name, c=self.cells[node.id], at=node)
        return ast.copy_location(ast.Name(name, ast.Load()), node)
