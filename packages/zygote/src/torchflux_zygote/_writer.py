"""What both transforms write alike: which operation a statement is, and under which names it is called."""

import ast
import builtins
import operator
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torchflux_syntax import Function, names, quote, quote_expr

from . import _lists, _support
from ._attributes import cell
from ._dicts import merge
from ._method import method
from ._names import Names
from ._prepare import Prepared
from ._yields import returned

__all__ = ["Writer", "Written", "only_used"]

OPERATORS: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.MatMult: operator.matmul,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}


@dataclass(frozen=True)
class Written:
    """A generated function, before it is compiled.

    Attributes:
        function: its definition, with what it takes from the original.
        bindings: what the names of its own refer to.
        begin: of a generator, what its calls go through: `begin(function, *args)`.
    """

    function: Function
    bindings: dict[str, Any]
    begin: Callable[..., Any] | None = None


class Writer:
    """Goes through a prepared function; what becomes of an operation is the transforms' own business."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared, self.function, self.fresh = prepared, prepared.function, prepared.fresh
        self.definition = self.function.definition
        self.parameters = [p.arg for p in ast.walk(self.definition.args) if isinstance(p, ast.arg)]
        self.known = Names(self.function, set(self.parameters))
        self.bindings: dict[str, Any] = {}
        self.bound_as: dict[int, str] = {}
        self.count: Counter[str] = Counter()
        helpers: tuple[Any, ...] = (_support.call, _support.join, merge, iter, returned)
        for name, helper in zip(prepared.helpers.values(), helpers, strict=True):
            self.bindings[name] = helper

    def add(self, *statements: ast.stmt) -> None:
        """Writes statements."""
        raise NotImplementedError

    def op(self, target: str | None, f: Any, args: list[Any], node: ast.stmt, keywords: Any = ()) -> None:
        """Writes `target = f(*args, **keywords)`, an operation that derivatives go through."""
        raise NotImplementedError

    def alias(self, target: str, name: str, node: ast.stmt) -> None:
        """Writes `target = name`, of two variables that have derivatives."""
        raise NotImplementedError

    def cleared(self, target: str, node: ast.stmt) -> None:
        """Says that a variable has been assigned a constant."""
        raise NotImplementedError

    def unpack(self, parts: list[Any], node: ast.Assign) -> None:
        """Writes `a, *b = value`."""
        raise NotImplementedError

    def yielded(self, target: str | None, value: ast.expr, node: ast.stmt) -> None:
        """Writes `target = yield value`."""
        raise NotImplementedError

    # Names.

    def bind(self, name: str, value: Any) -> str:
        """A name for a value of the generated code's own."""
        if id(value) not in self.bound_as:
            self.bound_as[id(value)] = self.fresh(name)
            self.bindings[self.bound_as[id(value)]] = value
        return self.bound_as[id(value)]

    def numbered(self, base: str) -> str:
        """A new name: `back1`, `back2`, ..."""
        while True:
            self.count[base] += 1
            name = f"{base}{self.count[base]}"
            if name not in self.fresh.taken:
                return self.fresh(name)

    def builtin(self, name: str) -> str:
        free = name not in self.known.own and self.known.value(name) is getattr(builtins, name)
        return name if free else self.bind(name, getattr(builtins, name))

    def tracked(self, node: ast.AST | None) -> str | None:
        """The variable of an atom that has a cotangent."""
        return node.id if isinstance(node, ast.Name) and node.id in self.known.tracked else None

    def cells(self) -> list[ast.stmt]:
        """The variables that hold cells."""
        made = []
        for name, box in self.prepared.cells.items():
            if name not in self.parameters and name not in self.function.cells:
                made += quote("for $name in (): pass", name=name)
            made += quote("$box = $cell(lambda: $name)", box=box, cell=self.bind("cell", cell), name=name)
        return made

    def ordered(self) -> list[str]:
        """The parameters: by position, `*rest`, by keyword, `**options`."""
        a = self.definition.args
        several = [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs]
        return [p.arg for p in [*several, *([a.kwarg] if a.kwarg else [])]]

    # Statements.

    def statement(self, node: ast.stmt) -> None:
        getattr(self, f"do_{type(node).__name__}")(node)

    def do_Pass(self, node: ast.Pass) -> None:
        pass

    def do_Break(self, node: ast.Break) -> None:
        self.add(node)

    def keep(self, node: ast.stmt) -> None:
        self.add(node)

    do_Import = do_ImportFrom = do_Raise = keep

    def do_Global(self, node: ast.Global) -> None:
        raise self.function.refuse(node, "assigning a global variable", "return the value, or keep it in an object")

    def do_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.add(node)
        if node.name in self.known.tracked:  # which is assigned elsewhere, by a decorator
            self.cleared(node.name, node)
        defaults = _defaults(node)
        if any(self.tracked(value) for _, value in defaults):
            given = ast.Tuple([ast.Constant(name) for name, _ in defaults], ast.Load())
            f = ast.Name(node.name, ast.Load())
            self.op(None, self.bind("defaults", _support.defaults), [f, given, *(v for _, v in defaults)], node)

    def do_Expr(self, node: ast.Expr) -> None:
        self.assign(None, node.value, node)

    def do_Assign(self, node: ast.Assign) -> None:
        [target] = node.targets
        match target:
            case ast.Name(name):
                self.assign(name, node.value, node)
            case ast.Tuple(parts):
                self.unpack(parts, node)
            case ast.Subscript(x, index):
                self.op(None, self.bind("setitem", operator.setitem), [x, self.index(index), node.value], node)
            case ast.Attribute(x, attribute):
                self.op(None, self.bind("setattr", setattr), [x, ast.Constant(attribute), node.value], node)

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        assert isinstance(node.target, ast.Name)
        if self.known.inert(ast.BinOp(node.target, node.op, node.value)) and node.target.id not in self.known.tracked:
            self.add(node)
            return
        op = OPERATORS[type(node.op)]
        iop = getattr(operator, f"i{op.__name__.strip('_')}")
        self.op(node.target.id, self.bind(iop.__name__, iop), [ast.Name(node.target.id, ast.Load()), node.value], node)

    def do_Delete(self, node: ast.Delete) -> None:
        [target] = node.targets
        match target:
            case ast.Name(name):
                self.add(node)
                if name in self.known.tracked:
                    self.cleared(name, node)
            case ast.Subscript(x, index):
                self.op(None, self.bind("delitem", operator.delitem), [x, self.index(index)], node)
            case ast.Attribute(x, attribute):
                self.op(None, self.bind("delattr", delattr), [x, ast.Constant(attribute)], node)

    # Expressions.

    def assign(self, target: str | None, value: ast.expr, node: ast.stmt) -> None:
        """`target = value`, or a call whose result isn't used."""
        result = target if target in self.known.tracked else None
        match value:
            case ast.Name(name) if name in self.known.tracked and result:
                return self.alias(result, name, node)
            case ast.BinOp(left, op, right) if not self.known.inert(value):
                f = OPERATORS[type(op)]
                return self.op(target, self.bind(f.__name__, f), [left, right], node)
            case ast.UnaryOp(op, operand) if not self.known.inert(value) and not isinstance(op, ast.Not):
                f = OPERATORS[type(op)]
                return self.op(target, self.bind(f.__name__, f), [operand], node)
            case ast.Attribute(x, attribute) if not (isinstance(x, ast.Name) and x.id in self.known.paths):
                return self.op(target, self.bind("getattr", getattr), [x, ast.Constant(attribute)], node)
            case ast.Subscript(x, index):
                return self.op(target, self.bind("getitem", operator.getitem), [x, self.index(index)], node)
            case ast.Tuple(parts) | ast.List(parts) | ast.Set(parts) | ast.Dict(parts):
                if isinstance(value, ast.Dict):
                    parts = [part for pair in zip(value.keys, value.values, strict=True) for part in pair]
                kind = type(value).__name__.lower()
                return self.op(target, self.bind(f"make_{kind}", getattr(_lists, f"make_{kind}")), parts, node)
            case ast.Yield(ast.expr() as given):
                return self.yielded(target, given, node)
            case ast.Call() if not self.known.is_constant_call(value.func):
                return self.call(target, value, node)
        self.add(node)
        if result:
            self.cleared(result, node)
        return None

    def call(self, target: str | None, call: ast.Call, node: ast.stmt) -> None:
        f, args = call.func, list(call.args)
        if isinstance(f, ast.Attribute):
            base = f.value
            if (
                not (isinstance(base, ast.Name) and (base.id in self.known.paths or base.id not in self.known.own))
                or base.id in self.prepared.cells.values()
                or base.id.startswith("__class__")
            ):
                f = quote_expr(f"$method.{f.attr}", method=self.bind("method", method))
                args = [base, *args]
        self.op(target, f, args, node, call.keywords)

    def index(self, node: ast.expr) -> ast.expr:
        """An index as a value: `a:b` is `slice(a, b)`."""
        match node:
            case ast.Slice(lower, upper, step):
                parts = [p if p else ast.Constant(None) for p in (lower, upper, *([step] if step else []))]
                return ast.copy_location(ast.Call(ast.Name(self.builtin("slice"), ast.Load()), parts, []), node)
            case ast.Tuple(parts):
                return ast.copy_location(ast.Tuple([self.index(p) for p in parts], ast.Load()), node)
        return node


def _defaults(node: ast.FunctionDef) -> list[tuple[str, Any]]:
    a = node.args
    several = [*a.posonlyargs, *a.args]
    last = several[len(several) - len(a.defaults) :]
    pairs = [*zip(last, a.defaults, strict=True), *zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    return [(p.arg, value) for p, value in pairs if value is not None]


def only_used(bindings: dict[str, Any], definition: ast.FunctionDef) -> dict[str, Any]:
    """The bindings whose names a definition has."""
    found = names(definition)
    return {name: value for name, value in bindings.items() if name in found}
