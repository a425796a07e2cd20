"""The forward transform: a function becomes `f_pushforward(push, args, dots)`, which returns `y` and `y_dot`."""

import ast
from dataclasses import replace
from functools import partial
from typing import Any

from torchflux_syntax import quote, yields

from . import _lists, _streams
from ._prepare import Prepared
from ._writer import Writer, Written, only_used

__all__ = ["forward"]


def forward(prepared: Prepared) -> Written:
    """The pushforward of a prepared function. Its arguments come in the order of the parameters, all of them."""
    return _Writer(prepared).write()


class _Writer(Writer):
    """Writes each operation together with its tangent."""

    def __init__(self, prepared: Prepared) -> None:
        super().__init__(prepared)
        self.push, self.args, self.dots = self.fresh("push"), self.fresh("args"), self.fresh("dots")
        self.dot = {name: self.fresh(f"{name}_dot") for name in sorted(self.known.tracked | set(self.parameters))}
        self.statements: list[ast.stmt] = []
        self.cut = False

    def write(self) -> Written:
        start = self._arguments()
        *body, last = self.definition.body
        for statement in body:
            self.statement(statement)
        assert isinstance(last, ast.Return)
        value = last.value or ast.Constant(None)
        end = quote("return $y, $dot", y=value, dot=self.dot_of(value), at=last)
        arguments = ast.arguments([], [ast.arg(n) for n in (self.push, self.args, self.dots)], None, [], [], None, [])
        definition = ast.FunctionDef(
            **{
                **dict(ast.iter_fields(self.definition)),
                "name": f"{self.definition.name}_pushforward",
                "args": arguments,
                "body": [*start, *self.cells(), *self._cell_dots(), *self.statements, *end],
            }
        )
        ast.copy_location(definition, self.definition)
        function = replace(self.function, definition=definition, defaults=(), kwdefaults={})
        begin = partial(_streams.begin, self.prepared.delegates) if yields(self.function) else None
        return Written(function, only_used(self.bindings, definition), begin)

    def _arguments(self) -> list[ast.stmt]:
        names = self.ordered()
        if not names:
            return []
        values: list[ast.expr] = [ast.Name(n, ast.Store()) for n in names]
        dots: list[ast.expr] = [ast.Name(self.dot[n], ast.Store()) for n in names]
        make = ast.Tuple if len(names) > 1 else ast.List
        return [
            *quote("$x = $args", x=make(values, ast.Store()), args=self.args),
            *quote("$x = $dots", x=make(dots, ast.Store()), dots=self.dots),
        ]

    def _cell_dots(self) -> list[ast.stmt]:
        """The tangents of captured parameters belong to their cells."""
        made = []
        for name in self.ordered():
            if name in self.prepared.cells:
                template = '$push.give($cell, "cell_contents", $dot)'
                made += quote(template, push=self.push, cell=self.prepared.cells[name], dot=self.dot[name])
        return made

    def dot_of(self, node: ast.AST) -> ast.expr:
        """The tangent of an atom."""
        name = None if self.cut else self.tracked(node)
        return ast.Name(self.dot[name], ast.Load()) if name else ast.Constant(None)

    # Operations.

    def add(self, *statements: ast.stmt) -> None:
        self.statements += statements

    def op(self, target: str | None, f: Any, args: list[Any], node: ast.stmt, keywords: Any = ()) -> None:
        f = ast.Name(f, ast.Load()) if isinstance(f, str) else f
        given = [*args, *(k.value for k in keywords)]
        primals = ast.Tuple(given, ast.Load())
        tangents = ast.Tuple([self.dot_of(a) for a in given], ast.Load())
        names = [ast.Tuple([ast.Constant(k.arg) for k in keywords], ast.Load())] if keywords else []
        call = ast.Call(ast.Name(self.push, ast.Load()), [f, primals, tangents, *names], [])
        if target is None:
            return self.add(*quote("$call", call=call, at=node))
        if target in self.known.tracked and not self.cut:
            return self.add(*quote("$y, $dot = $call", y=target, dot=self.dot[target], call=call, at=node))
        self.add(*quote("$y = $call[0]", y=target, call=call, at=node))
        return self.add(*quote("$dot = None", dot=self.dot[target])) if target in self.known.tracked else None

    def alias(self, target: str, name: str, node: ast.stmt) -> None:
        dot = self.dot_of(ast.Name(name, ast.Load()))
        self.add(*quote("$y, $y_dot = $x, $x_dot", y=target, y_dot=self.dot[target], x=name, x_dot=dot, at=node))

    def cleared(self, target: str, node: ast.stmt) -> None:
        self.add(*quote("$dot = None", dot=self.dot[target], at=node))

    def yielded(self, target: str | None, value: ast.expr, node: ast.stmt) -> None:
        if self.cut:
            raise self.function.refuse(node, "`yield` under `torch.no_grad()`", "leave the `with` before it")
        pair = ast.Tuple([value, self.dot_of(value)], ast.Load())
        if target is None:
            return self.add(*quote("yield $pair", pair=pair, at=node))
        sent, split = self.fresh("sent"), self.bind("split", _streams.split)
        self.add(*quote("$sent = yield $pair", sent=sent, pair=pair, at=node))
        values = {"y": target, "dot": self.dot[target], "split": split, "sent": sent}
        return self.add(*quote("$y, $dot = $split($sent, 2)", at=node, **values))

    def unpack(self, parts: list[Any], node: ast.Assign) -> None:
        stars = [i for i, part in enumerate(parts) if isinstance(part, ast.Starred)]
        counts = [stars[0], len(parts) - stars[0] - 1] if stars else [len(parts)]
        whole = self.fresh()
        self.known.tracked.add(whole)
        self.dot[whole] = self.fresh(f"{whole}_dot")
        self.op(whole, self.bind("unpack", _lists.unpack), [node.value, *map(ast.Constant, counts)], node)
        plain = [part.value if isinstance(part, ast.Starred) else part for part in parts]
        self.add(*quote("$parts = $whole", parts=ast.Tuple(plain, ast.Store()), whole=whole, at=node))
        dots: list[ast.expr] = [ast.Name(self.dot[n] if (n := self.tracked(p)) else "_", ast.Store()) for p in plain]
        split = self.bind("split", _streams.split)
        self.add(
            *quote(
                "$dots = $split($dot, $n)",
                dots=ast.Tuple(dots, ast.Store()),
                split=split,
                dot=self.dot[whole],
                n=len(plain),
                at=node,
            )
        )

    # Control flow.

    def inside(self, block: list[ast.stmt]) -> list[ast.stmt]:
        outer, self.statements = self.statements, []
        for statement in block:
            self.statement(statement)
        inner, self.statements = self.statements, outer
        return inner

    def do_If(self, node: ast.If) -> None:
        new = ast.If(node.test, self.inside(node.body) or [ast.Pass()], self.inside(node.orelse))
        self.add(ast.copy_location(new, node))

    def do_While(self, node: ast.While) -> None:
        self.add(ast.copy_location(ast.While(node.test, self.inside(node.body), []), node))

    def do_For(self, node: ast.For) -> None:
        assert isinstance(node.target, ast.Name)
        target: ast.expr = node.target
        iterable, body = node.iter, self.inside(node.body)
        name = node.target.id
        if not self.known.inert(iterable):
            dot = self.dot[name] if name in self.known.tracked else "_"
            target = ast.Tuple([node.target, ast.Name(dot, ast.Store())], ast.Store())
            each = quote(
                "$each($push, $xs, $dot)",
                each=self.bind("each_pair", _streams.each_pair),
                push=self.push,
                xs=iterable,
                dot=self.dot_of(iterable),
                at=node,
            )
            iterable = each[0].value  # type: ignore[attr-defined]
        elif name in self.known.tracked:
            body = [*quote("$dot = None", dot=self.dot[name]), *body]
        self.add(ast.copy_location(ast.For(target, iterable, body or [ast.Pass()], []), node))

    def do_Try(self, node: ast.Try) -> None:
        handlers = [
            ast.copy_location(ast.ExceptHandler(h.type, h.name, self.inside(h.body) or [ast.Pass()]), h)
            for h in node.handlers
        ]
        body, other, final = self.inside(node.body), self.inside(node.orelse), self.inside(node.finalbody)
        final = final if final or handlers else [ast.Pass()]
        self.add(ast.copy_location(ast.Try(body or [ast.Pass()], handlers, other, final), node))

    def do_With(self, node: ast.With) -> None:
        """Only of `torch.no_grad()`: what is computed inside is constant."""
        outer, self.cut = self.cut, True
        body = self.inside(node.body)
        self.cut = outer
        self.add(ast.copy_location(ast.With(node.items, body or [ast.Pass()]), node))
