"""Expressions: everything but one operation gets a name, in Python's own order of evaluation."""

import ast
import sys
from collections.abc import Callable, Sequence

from ._emit import Emitter, busy, is_atom
from ._quote import copy

__all__ = ["Expressions"]

CONVERTS_FIRST = sys.version_info >= (3, 13)
"""Whether `f"{x!r:{width}}"` takes the text of `x` before it looks at `width`, as Python does since 3.13."""


class Expressions(Emitter):
    """`value` gives what may stand right of a `=`, `atom` a name or a constant, `test` an atom to be tested once."""

    def value(self, node: ast.expr) -> ast.expr:
        """One operation on atoms, for any expression; what comes before it is written to the block."""
        method = getattr(self, f"value_{type(node).__name__}", None)
        if method is None:
            raise self.refuse(node)
        return method(node)

    def atom(self, node: ast.expr) -> ast.expr:
        value = self.value(node)
        return value if is_atom(value) else self.named(value, node)

    def operands(self, nodes: Sequence[ast.AST | None], later: Sequence[ast.AST | None] = ()) -> list:
        """Atoms for expressions that are evaluated one after the other, and before `later` is.

        Starred expressions, keywords and slices keep their form. What could change meanwhile is kept under a name.
        """
        nodes = list(nodes)
        return [self._operand(node, [*nodes[i + 1 :], *later]) for i, node in enumerate(nodes)]

    def _operand(self, node: ast.AST | None, later: list[ast.AST | None]) -> ast.AST | None:
        match node:
            case None:
                return None
            case ast.Starred(value=value):
                return ast.copy_location(ast.Starred(self._unpacked("[*$x]", value, later), ast.Load()), node)
            case ast.keyword(arg=None, value=value):
                return ast.copy_location(ast.keyword(None, self._unpacked("{**$x}", value, later)), node)
            case ast.keyword(arg=name, value=value):
                return ast.copy_location(ast.keyword(name, self.kept(value, later)), node)
            case ast.Slice():
                parts = self.operands([node.lower, node.upper, node.step], later)
                return ast.copy_location(ast.Slice(*parts), node)
            case ast.expr():
                return self.kept(node, later)
        raise self.refuse(node)

    def kept(self, node: ast.expr, later: Sequence[ast.AST | None], called: bool = False) -> ast.expr:
        """An atom for `node` that has the same value when `later` has been evaluated."""
        atom = self.atom(node)
        if isinstance(atom, ast.Name) and self.may_change(atom.id, later, called):
            return self.named(atom, node)
        return atom

    def _unpacked(self, display: str, value: ast.expr, later: list[ast.AST | None]) -> ast.expr:
        """What is unpacked into a call or a display is iterated over before what comes later is evaluated."""
        atom = self.atom(as_list(value))
        if not busy(later):
            return atom
        name = self.fresh()
        self.emit(f"$name = {display}", value, name=name, x=atom)
        return self.name(name, value)

    # atoms

    def value_Name(self, node: ast.Name) -> ast.expr:
        return self.name(node.id, node)

    def value_Constant(self, node: ast.Constant) -> ast.expr:
        return node

    def value_NamedExpr(self, node: ast.NamedExpr) -> ast.expr:
        self.assign_name(node.target.id, node.value, node)
        return self.name(node.target.id, node)

    # one operation

    def value_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return ast.copy_location(ast.Constant(-number), node)
            case ast.UnaryOp(op=ast.Not()):
                return ast.copy_location(ast.UnaryOp(node.op, self.test(node.operand)), node)
        return ast.copy_location(ast.UnaryOp(node.op, self.atom(node.operand)), node)

    def value_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = self.operands([node.left, node.right])
        return ast.copy_location(ast.BinOp(left, node.op, right), node)

    def value_Attribute(self, node: ast.Attribute) -> ast.expr:
        return ast.copy_location(ast.Attribute(self.atom(node.value), node.attr, ast.Load()), node)

    def value_Subscript(self, node: ast.Subscript) -> ast.expr:
        container, index = self.item(node)
        return ast.copy_location(ast.Subscript(container, index, ast.Load()), node)

    def item(self, node: ast.Subscript, later: Sequence[ast.AST | None] = ()) -> tuple[ast.expr, ast.expr]:
        """The container and the index of `a[i]`."""
        index = node.slice
        if not (isinstance(index, ast.Tuple) and any(isinstance(part, ast.Slice) for part in index.elts)):
            container, position = self.operands([node.value, index], later)
            return container, position
        if any(isinstance(part, ast.Starred) for part in index.elts):
            raise self.refuse(index, "an index with a star and a slice", "write the slice as slice(start, stop)")
        container, *parts = self.operands([node.value, *index.elts], later)
        return container, ast.copy_location(ast.Tuple(parts, ast.Load()), index)

    def value_Tuple(self, node: ast.Tuple) -> ast.expr:
        return ast.copy_location(ast.Tuple(self.operands(node.elts), ast.Load()), node)

    def value_List(self, node: ast.List) -> ast.expr:
        return ast.copy_location(ast.List(self.operands(node.elts), ast.Load()), node)

    def value_Set(self, node: ast.Set) -> ast.expr:
        return ast.copy_location(ast.Set(self.operands(node.elts)), node)

    def value_Dict(self, node: ast.Dict) -> ast.expr:
        entries: list[ast.AST] = []
        for key, value in zip(node.keys, node.values, strict=True):
            entries += [ast.copy_location(ast.keyword(None, value), value)] if key is None else [key, value]
        parts = iter(self.operands(entries))
        keys: list[ast.expr | None] = []
        values: list[ast.expr] = []
        for part in parts:
            unpacked = isinstance(part, ast.keyword)
            keys.append(None if unpacked else part)
            values.append(part.value if unpacked else next(parts))
        return ast.copy_location(ast.Dict(keys, values), node)

    def value_Call(self, node: ast.Call) -> ast.expr:
        callee = self.kept(node.func, [*node.args, *node.keywords], called=True)
        arguments = self.operands([*node.args, *node.keywords])
        positional = [argument for argument in arguments if not isinstance(argument, ast.keyword)]
        keywords = [argument for argument in arguments if isinstance(argument, ast.keyword)]
        return ast.copy_location(ast.Call(callee, positional, keywords), node)

    def value_Yield(self, node: ast.Yield) -> ast.expr:
        value = self.atom(node.value) if node.value else ast.copy_location(ast.Constant(None), node)
        return ast.copy_location(ast.Yield(value), node)

    def value_YieldFrom(self, node: ast.YieldFrom) -> ast.expr:
        return ast.copy_location(ast.YieldFrom(self.atom(node.value)), node)

    # f-strings

    def value_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        parts = [self._piece(part, node.values[i + 1 :]) for i, part in enumerate(node.values)]
        return ast.copy_location(ast.JoinedStr(parts), node)

    def _piece(self, part: ast.expr, later: Sequence[ast.expr]) -> ast.expr:
        """A piece of an f-string; it is made text before a later piece that computes something is looked at."""
        if not isinstance(part, ast.FormattedValue):
            return part
        pending = [piece for piece in later if isinstance(piece, ast.FormattedValue)]
        spec = part.format_spec
        value = self._printable(self.kept(part.value, [spec] if spec and _computes(spec) else []), part)
        conversion = part.conversion
        if CONVERTS_FIRST and conversion != -1 and spec and _computes(spec):
            value, conversion = self._text(ast.FormattedValue(value, conversion, None), part), -1
        piece = ast.copy_location(ast.FormattedValue(value, conversion, self.value(spec) if spec else None), part)
        if not any(_computes(other) for other in pending):
            return piece
        return ast.copy_location(ast.FormattedValue(self._text(piece, part), -1, None), part)

    def _text(self, piece: ast.FormattedValue, at: ast.AST) -> ast.expr:
        """The name of a piece that is made text here."""
        return self.named(ast.copy_location(ast.JoinedStr([ast.copy_location(piece, at)]), at), at)

    def _printable(self, atom: ast.expr, at: ast.AST) -> ast.expr:
        """Text in the braces of an f-string can't always be printed back, so it gets a name."""
        return self.named(atom, at) if isinstance(atom, ast.Constant) else atom

    # what becomes statements

    def value_IfExp(self, node: ast.IfExp) -> ast.expr:
        name = self.fresh()
        self.choose(name, node)
        return self.name(name, node)

    def choose(self, name: str, node: ast.IfExp) -> None:
        """Assigns `x if c else y` to a name."""
        test = self.test(node.test)
        with self.inner() as body:
            self.assign_name(name, node.body, node.body)
        with self.inner() as orelse:
            self.assign_name(name, node.orelse, node.orelse)
        self.emit("if $test: $body\nelse: $orelse", node, test=test, body=body, orelse=orelse)

    def value_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        name = self.fresh()
        self.assign_name(name, node.values[0], node.values[0])
        self._short_circuit(name, node.op, node.values[1:])
        return self.name(name, node)

    def _short_circuit(self, name: str, op: ast.boolop, values: Sequence[ast.expr]) -> None:
        if not values:
            return
        with self.inner() as rest:
            self.assign_name(name, values[0], values[0])
            self._short_circuit(name, op, values[1:])
        self._when(op, self.name(name, values[0]), rest, values[0])

    def _when(self, op: ast.boolop, test: ast.expr, rest: list[ast.stmt], at: ast.AST) -> None:
        """What is right of an `and` is evaluated if the left is true, of an `or` if it is false."""
        template = "if $test: $rest" if isinstance(op, ast.And) else "if $test: pass\nelse: $rest"
        self.emit(template, at, test=test, rest=rest)

    def value_Compare(self, node: ast.Compare) -> ast.expr:
        if _chained(node):
            middle, first = self._link(node.left, node.ops, node.comparators, node)
            with self.inner() as rest:
                others = ast.copy_location(ast.Compare(copy(middle), node.ops[1:], node.comparators[1:]), node)
                self.emit("$name = $value", node, name=first, value=self.value(others))
            self._when(ast.And(), first, rest, node)
            return first
        left, right = self.operands([node.left, node.comparators[0]])
        return ast.copy_location(ast.Compare(left, node.ops, [right]), node)

    # tests: what an `if` asks is asked once, as in Python

    def test(self, node: ast.expr) -> ast.expr:
        """An atom whose truth is that of `node`; nothing is asked for its truth twice."""
        if isinstance(node, ast.BoolOp):
            first, rest = self.test(node.values[0]), node.values[1:]
            return self._outcome(node.op, first, lambda name: self._tests(name, node.op, rest), node)
        if isinstance(node, ast.Compare) and _chained(node):
            middle, first = self._link(node.left, node.ops, node.comparators, node)
            return self._outcome(ast.And(), first, lambda name: self._links(name, middle, node), node)
        return self.atom(node)

    def _outcome(self, op: ast.boolop, first: ast.expr, rest: Callable[[str], None], at: ast.AST) -> ast.expr:
        """A name that is false (true, for `or`) unless `rest`, which is only run if it must, assigns another value."""
        name = self.fresh()
        self.emit("$name = $outcome", at, name=name, outcome=isinstance(op, ast.Or))
        with self.inner() as block:
            rest(name)
        self._when(op, first, block, at)
        return self.name(name, at)

    def _tests(self, name: str, op: ast.boolop, values: Sequence[ast.expr]) -> None:
        rest = values[0] if len(values) == 1 else ast.copy_location(ast.BoolOp(op, list(values)), values[0])
        self.emit("$name = $value", rest, name=name, value=self.test(rest) if _chained(rest) else self.value(rest))

    def _links(self, name: str, middle: ast.expr, node: ast.Compare) -> None:
        rest = ast.copy_location(ast.Compare(copy(middle), node.ops[1:], node.comparators[1:]), node)
        self.emit("$name = $value", node, name=name, value=self.test(rest) if _chained(rest) else self.value(rest))

    def _link(
        self, left: ast.expr, ops: Sequence[ast.cmpop], others: Sequence[ast.expr], at: ast.AST
    ) -> tuple[ast.expr, ast.expr]:
        """The first comparison of a chain: its right side, kept for the next one, and its outcome."""
        left = self.kept(left, others[:1])
        middle = self.kept(others[0], others[1:2])
        return middle, self.named(ast.copy_location(ast.Compare(left, [ops[0]], [middle]), at), at)

    def assign_name(self, name: str, value: ast.expr, at: ast.AST) -> None:
        """Assigns an expression to a name."""
        if isinstance(value, ast.IfExp):
            self.choose(name, value)
        else:
            self.emit("$name = $value", at, name=name, value=self.value(value))


def as_list(node: ast.expr) -> ast.expr:
    """A generator expression that is used up at once, as the list that it makes."""
    return (
        ast.copy_location(ast.ListComp(node.elt, node.generators), node) if isinstance(node, ast.GeneratorExp) else node
    )


def _computes(piece: ast.expr) -> bool:
    """Whether a piece of an f-string does more than look up names: what it formats, or its format."""
    values = [node.value for node in ast.walk(piece) if isinstance(node, ast.FormattedValue)]
    return busy(values)


def _chained(node: ast.expr) -> bool:
    return isinstance(node, ast.BoolOp) or (isinstance(node, ast.Compare) and len(node.ops) > 1)
