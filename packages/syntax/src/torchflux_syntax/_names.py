"""Which names a piece of program binds, reads and leaves free."""

import ast
import keyword
from collections.abc import Iterable, Sequence

from ._function import Function

__all__ = ["Fresh", "bound", "free", "names", "rebound", "used"]

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
Tree = ast.AST | Sequence[ast.AST]


def bound(block: Tree) -> set[str]:
    """The names that a block binds: by assignment, loop, import, definition, `with`, `except` or `del`.

    What nested functions bind is theirs, and so are the loop names of comprehensions.

    >>> sorted(bound(ast.parse("x = y; import os.path\\nfor i in z: (a, *b) = i\\ndef f(p): q = 1").body))
    ['a', 'b', 'f', 'i', 'os', 'x']
    """
    return _scope(block).bound


def used(block: Tree) -> set[str]:
    """The names that a block reads, itself or in a nested function that leaves them free.

    A name may be both read and bound: `x += 1` does both.

    >>> sorted(used(ast.parse("x += y\\ndef f(p): return p + q").body))
    ['q', 'x', 'y']
    """
    return _scope(block).read


def rebound(block: Tree) -> set[str]:
    """The names that functions nested in a block bind outside of themselves (`nonlocal`).

    >>> rebound(ast.parse("def step():\\n    nonlocal count\\n    count += 1").body)
    {'count'}
    """
    return _scope(block).rebound


def free(function: Definition | Function) -> set[str]:
    """The names that a function takes from around it: captured, global and builtin ones.

    >>> sorted(free(ast.parse("def f(x): y = len(x); return y + z").body[0]))
    ['len', 'z']
    """
    scope, own = _inside(function.definition if isinstance(function, Function) else function)
    declared = scope.globals | scope.nonlocals
    return (scope.read | declared) - (scope.bound - declared) - own


def local_names(function: Definition) -> set[str]:
    """The variables of one function's own: parameters, what it binds, and the loop names of its comprehensions."""
    scope, own = _inside(function)
    return (scope.bound | scope.loops | own) - scope.globals - scope.nonlocals


def names(tree: Tree) -> set[str]:
    """Every identifier in a tree that could be a variable, in whatever scope.

    >>> sorted(names(ast.parse("def f(x, *, k): global n; n = x.real")))
    ['f', 'k', 'n', 'x']
    """
    found: set[str] = set()
    for node in (n for root in _roots(tree) for n in ast.walk(root)):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name):
                found.add(name)
            case ast.Global(names=several) | ast.Nonlocal(names=several):
                found.update(several)
            case ast.alias():
                found.add(_imported(node))
            case ast.FunctionDef(name=str(name)) | ast.AsyncFunctionDef(name=str(name)) | ast.ClassDef(name=str(name)):
                found.add(name)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found.add(name)
            case ast.MatchMapping(rest=str(name)):
                found.add(name)
    return found


class Fresh:
    """A source of names that are not taken.

    >>> fresh = Fresh({"x", "t1"})
    >>> fresh(), fresh(), fresh("x"), fresh("y"), fresh("y")
    ('t2', 't3', 'x_1', 'y', 'y_1')
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)
        self._next: dict[str, int] = {}

    def __call__(self, base: str = "") -> str:
        """A new name: `base`, or `base` with a number; without a base, the next of `t1`, `t2`, ..."""
        name = base
        while not name or keyword.iskeyword(name) or name in self.taken:
            number = self._next[base] = self._next.get(base, 0) + 1
            name = f"{base}_{number}" if base else f"t{number}"
        self.taken.add(name)
        return name


class _Scope(ast.NodeVisitor):
    """The names of one function's scope; of the functions nested in it, only what reaches out of them."""

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.read: set[str] = set()
        self.rebound: set[str] = set()
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self.loops: set[str] = set()

    def bind(self, name: str | None) -> None:
        if name:
            self.bound.add(name)

    def visit_Name(self, node: ast.Name) -> None:
        (self.read if isinstance(node.ctx, ast.Load) else self.bound).add(node.id)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.read.add(node.target.id)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        self.globals.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.nonlocals.update(node.names)

    def visit_alias(self, node: ast.alias) -> None:
        self.bound.add(_imported(node))

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.bind(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self.bind(node.name)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self.bind(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.bind(node.rest)
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.bound.add(node.name)
        for part in [*node.decorator_list, *node.bases, *node.keywords]:
            self.visit(part)
        inner = _scope(node.body)
        self.read |= inner.read
        self._nested(inner)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.bound.add(node.name)
        for decorator in node.decorator_list:
            self.visit(decorator)
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node)

    def _function(self, node: Definition) -> None:
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)
        self.read |= free(node)
        self._nested(_inside(node)[0])

    def _nested(self, inner: "_Scope") -> None:
        self.rebound |= inner.nonlocals | inner.rebound

    def _comprehension(self, node: Comprehension) -> None:
        first, *rest = node.generators
        self.visit(first.iter)
        inner = _Scope()
        for part in [first.target, *first.ifs, *rest, *elements(node)]:
            inner.visit(part)
        targets = _scope([clause.target for clause in node.generators]).bound
        self.read |= inner.read - targets
        self.bound |= inner.bound - targets  # by `:=`, which binds around the comprehension
        self.rebound |= inner.rebound
        self.loops |= targets | inner.loops

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension


def elements(node: Comprehension) -> list[ast.expr]:
    """What a comprehension collects: one expression, or a key and a value."""
    return [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]


def parameters(arguments: ast.arguments) -> list[ast.arg]:
    """All parameters, in the order in which they are written."""
    star = [arguments.vararg] if arguments.vararg else []
    double_star = [arguments.kwarg] if arguments.kwarg else []
    return [*arguments.posonlyargs, *arguments.args, *star, *arguments.kwonlyargs, *double_star]


def _inside(function: Definition) -> tuple[_Scope, set[str]]:
    body: Tree = [function.body] if isinstance(function, ast.Lambda) else function.body
    return _scope(body), {parameter.arg for parameter in parameters(function.args)}


def _scope(tree: Tree) -> _Scope:
    scope = _Scope()
    for root in _roots(tree):
        scope.visit(root)
    return scope


def _roots(tree: Tree) -> Sequence[ast.AST]:
    return [tree] if isinstance(tree, ast.AST) else tree


def _imported(alias: ast.alias) -> str:
    """The name that an import binds: `import a.b` binds `a`."""
    return alias.asname or alias.name.partition(".")[0]
