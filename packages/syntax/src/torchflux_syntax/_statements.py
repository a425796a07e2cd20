"""Statements: each becomes a few of the normal form's."""

import ast
from collections.abc import Sequence
from itertools import takewhile

from ._emit import is_atom
from ._expressions import Expressions, as_list
from ._leaves import jumps, leaves
from ._names import bound, local_names, parameters
from ._quote import copy

__all__ = ["Statements"]


class Statements(Expressions):
    """`statement` writes the normal form of one statement to the block."""

    broke: str | None = None
    """The flag of the loop at hand: it notes a `break` for the loop's `else`."""

    def statement(self, node: ast.stmt) -> None:
        method = getattr(self, f"do_{type(node).__name__}", None)
        if method is None:
            raise self.refuse(node)
        method(node)

    def statements(self, nodes: Sequence[ast.stmt]) -> list[ast.stmt]:
        """The normal form of a block, as a block of its own."""
        with self.inner() as block:
            for node in nodes:
                self.statement(node)
        return block

    # assignment

    def do_Assign(self, node: ast.Assign) -> None:
        if len(node.targets) == 1:
            self.assign(node.targets[0], node.value, node)
            return
        value = self.kept(node.value, node.targets)
        if isinstance(value, ast.Name) and value.id in bound(node.targets):
            value = self.named(value, node)
        for target in node.targets:
            self.assign(target, copy(value), node)

    def assign(self, target: ast.expr, value: ast.expr, at: ast.AST) -> None:
        """Assigns an expression to a target of any form."""
        match target:
            case ast.Name(id=name):
                self.assign_name(name, value, at)
            case ast.Attribute():
                value, container = self.operands([value, target.value])
                self.emit(f"$container.{target.attr} = $value", at, container=container, value=value)
            case ast.Subscript():
                value = self.kept(value, [target.value, target.slice])
                container, index = self.item(target)
                self.emit("$container[$index] = $value", at, container=container, index=index, value=value)
            case ast.Tuple() | ast.List():
                self._unpack(target, self.atom(as_list(value)), at)
            case _:
                raise self.refuse(target)

    def _unpack(self, target: ast.Tuple | ast.List, value: ast.expr, at: ast.AST) -> None:
        """Names are unpacked to as they are; from the first other target on, the parts get names and are assigned."""
        stars = [isinstance(part, ast.Starred) for part in target.elts]
        parts = [part.value if isinstance(part, ast.Starred) else part for part in target.elts]
        plain = list(takewhile(lambda part: isinstance(part, ast.Name), parts))
        names = [part.id for part in plain if isinstance(part, ast.Name)]
        names += [self.fresh() for _ in parts[len(names) :]]
        self.emit(f"{targets(names, stars)} = $value", at, value=value)
        for part, name in list(zip(parts, names, strict=True))[len(plain) :]:
            self.assign(part, self.name(name, at), at)

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._augment_name(node.target.id, node)
            return
        if isinstance(node.target, ast.Attribute):
            values = {"place": self.kept(node.target.value, [node.value])}
            place = f"$place.{node.target.attr}"
        else:
            assert isinstance(node.target, ast.Subscript)
            values = dict(zip(("place", "index"), self.item(node.target, [node.value]), strict=True))
            place = "$place[$index]"
        name = self.fresh()
        self.emit(f"$name = {place}", node, name=name, **values)
        self._augment(name, node)
        self.emit(f"{place} = $name", node, name=name, **values)

    def _augment_name(self, name: str, node: ast.AugAssign) -> None:
        if not self.may_change(name, [node.value]):
            self._augment(name, node)
            return
        kept = self.named(self.name(name, node), node)
        assert isinstance(kept, ast.Name)
        self._augment(kept.id, node)
        self.emit("$name = $kept", node, name=name, kept=kept)

    def _augment(self, name: str, node: ast.AugAssign) -> None:
        value = self.atom(node.value)
        target = ast.copy_location(ast.Name(name, ast.Store()), node)
        self.block.append(ast.copy_location(ast.AugAssign(target, node.op, value), node))

    def do_AnnAssign(self, node: ast.AnnAssign) -> None:
        """The annotation goes; without a value, the parts of a target that is no name are evaluated all the same."""
        if node.value is not None:
            self.assign(node.target, node.value, node)
        elif isinstance(node.target, ast.Attribute):
            self.atom(node.target.value)
        elif isinstance(node.target, ast.Subscript):
            self.item(node.target)

    def do_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            match target:
                case ast.Name(id=name):
                    self.emit("del $name", node, name=name)
                case ast.Attribute():
                    self.emit(f"del $place.{target.attr}", node, place=self.atom(target.value))
                case ast.Subscript():
                    place, index = self.item(target)
                    self.emit("del $place[$index]", node, place=place, index=index)
                case ast.Tuple(elts=parts) | ast.List(elts=parts):
                    self.do_Delete(ast.copy_location(ast.Delete(parts), node))

    # what stands alone

    def do_Expr(self, node: ast.Expr) -> None:
        value = self.value(node.value)
        if isinstance(value, ast.Call | ast.Yield | ast.YieldFrom):
            self.emit("$value", node, value=value)
        elif isinstance(node.value, ast.Name) or not is_atom(value):
            self.named(value, node)

    def do_Pass(self, node: ast.Pass) -> None:
        pass

    def keep(self, node: ast.stmt) -> None:
        self.block.append(node)

    do_Global = do_Nonlocal = do_Import = do_ImportFrom = do_Continue = keep

    def do_Return(self, node: ast.Return) -> None:
        self.emit("return $value", node, value=self.atom(node.value) if node.value else None)

    def do_Raise(self, node: ast.Raise) -> None:
        exception, cause = self.operands([node.exc, node.cause])
        self.block.append(ast.copy_location(ast.Raise(exception, cause), node))

    def do_Assert(self, node: ast.Assert) -> None:
        if not __debug__:
            return
        test = self.test(node.test)
        with self.inner() as otherwise:
            error = self.builtin("AssertionError", node)
            if node.msg is not None:
                error = self.named(ast.copy_location(ast.Call(error, [self.atom(node.msg)], []), node), node)
            self.emit("raise $error", node, error=error)
        self.emit("if $test: pass\nelse: $otherwise", node, test=test, otherwise=otherwise)

    # choices and loops

    def do_If(self, node: ast.If) -> None:
        test = self.test(node.test)
        body, orelse = self.statements(node.body), self.statements(node.orelse)
        template = "if $test: $body\nelse: $orelse" if orelse else "if $test: $body"
        self.emit(template, node, test=test, body=body, **({"orelse": orelse} if orelse else {}))

    def do_While(self, node: ast.While) -> None:
        with self.inner() as head:
            if not (isinstance(node.test, ast.Constant) and node.test.value):
                self.emit("if $test: pass\nelse: break", node, test=self.test(node.test))
        self._loop(node, "while True: $body", head)

    def do_For(self, node: ast.For) -> None:
        items = self.atom(node.iter)
        with self.inner() as head:
            name = self.loop_name(node.target)
        self._loop(node, "for $name in $items: $body", head, name=name, items=items)

    def loop_name(self, target: ast.expr) -> ast.expr:
        """The one name that a loop or a `with` binds; a target of another form is assigned from it, to the block."""
        if isinstance(target, ast.Name):
            return target
        part = self.name(self.fresh(), target)
        self.assign(target, part, target)
        return part

    def _loop(self, node: ast.For | ast.While, template: str, head: list[ast.stmt], **values: ast.expr) -> None:
        """A loop whose body starts with `head`; its `else` runs if the flag that every `break` sets is not set."""
        flag = self.fresh("broke") if node.orelse and any(jumps(node.body, ast.Break)) else None
        if flag:
            self.emit("$flag = False", node, flag=flag)
        outer, self.broke = self.broke, flag
        body = head + self.statements(node.body)
        self.broke = outer
        self.emit(template, node, body=body, **values)
        orelse = self.statements(node.orelse)
        if flag:
            self.emit("if $flag: pass\nelse: $orelse", node.orelse[0], flag=flag, orelse=orelse)
        else:
            self.block += orelse

    def do_Break(self, node: ast.Break) -> None:
        if self.broke:
            self.emit("$flag = True", node, flag=self.broke)
        self.keep(node)

    # try and with

    def do_Try(self, node: ast.Try) -> None:
        body = self.statements(node.body) or [ast.copy_location(ast.Pass(), node)]
        handlers = [self._handler(handler) for handler in node.handlers]
        orelse, finalbody = self.statements(node.orelse), self.statements(node.finalbody)
        if node.finalbody and not finalbody and not handlers:
            finalbody = [ast.copy_location(ast.Pass(), node)]
        self.block.append(ast.copy_location(ast.Try(body, handlers, orelse, finalbody), node))

    def _handler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        """What is caught is looked at only when something is raised, so it can't get a name before."""
        if node.type is not None and not is_caught(node.type):
            raise self.refuse(node.type, "an expression after `except`", "give it a name before the `try`")
        body = self.statements(node.body) or [ast.copy_location(ast.Pass(), node)]
        return ast.copy_location(ast.ExceptHandler(node.type, node.name, body), node)

    def do_With(self, node: ast.With) -> None:
        self._with(node.items, node)

    def _with(self, items: list[ast.withitem], node: ast.With) -> None:
        if not items:
            self.block += self.statements(node.body)
            return
        manager = self.atom(items[0].context_expr)
        with self.inner() as body:
            target = items[0].optional_vars
            name = self.loop_name(target) if target else None
            self._with(items[1:], node)
        template = "with $manager as $name: $body" if name else "with $manager: $body"
        self.emit(template, node, manager=manager, body=body, **({"name": name} if name else {}))

    # functions

    def do_FunctionDef(self, node: ast.FunctionDef) -> None:
        if getattr(node, "type_params", []):
            raise self.refuse(node, "a nested function with type parameters", "leave out the brackets after its name")
        decorators = self.operands(node.decorator_list, [*node.args.defaults, *node.args.kw_defaults])
        self.define(node.name, node.args, node.body, node)
        for decorator in reversed(decorators):
            self.emit("$name = $decorator($name)", node, name=node.name, decorator=decorator)

    def value_Lambda(self, node: ast.Lambda) -> ast.expr:
        name = self.fresh("lambda")
        self.define(name, node.args, [ast.copy_location(ast.Return(node.body), node.body)], node)
        return self.name(name, node)

    def define(self, name: str, arguments: ast.arguments, body: list[ast.stmt], at: ast.AST) -> None:
        """Defines a nested function; its defaults are evaluated now."""
        values = self.operands([*arguments.defaults, *arguments.kw_defaults])
        arguments = plain(arguments)
        count = len(arguments.defaults)
        arguments.defaults, arguments.kw_defaults = values[:count], values[count:]
        outer = self.locals, self.receiver, self.broke
        self.locals = self.locals | local_names(ast.FunctionDef(name, arguments, body, []))
        body = self.body(arguments, body)
        self.locals, self.receiver, self.broke = outer
        self.emit("def $name($arguments): $body", at, name=name, arguments=arguments, body=body)

    def body(self, arguments: ast.arguments, nodes: list[ast.stmt]) -> list[ast.stmt]:
        """The normal form of a function's body."""
        first = [*arguments.posonlyargs, *arguments.args][:1]
        self.receiver, self.broke = first[0].arg if first else "", None
        if nodes and isinstance(nodes[0], ast.Expr) and isinstance(nodes[0].value, ast.Constant):
            nodes = nodes[1:] or [ast.copy_location(ast.Pass(), nodes[0])]
        block = self.statements(nodes)
        if not leaves(block):
            end = ast.copy_location(ast.Constant(None), nodes[-1])
            block.append(ast.copy_location(ast.Return(end), nodes[-1]))
        return block


def targets(names: Sequence[str], stars: Sequence[bool]) -> str:
    """The text of a flat tuple of targets: `(a, *b, )`."""
    return "(" + "".join("*" * star + name + ", " for name, star in zip(names, stars, strict=True)) + ")"


def plain(arguments: ast.arguments) -> ast.arguments:
    """Parameters without their annotations."""
    arguments = copy(arguments)
    for parameter in parameters(arguments):
        parameter.annotation = None
    return arguments


def is_caught(node: ast.expr) -> bool:
    """Whether an expression may stand after `except`: a name, a dotted name, or a tuple of these."""
    if isinstance(node, ast.Tuple):
        return all(is_caught(part) and not isinstance(part, ast.Tuple) for part in node.elts)
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and is_caught(node.value))
