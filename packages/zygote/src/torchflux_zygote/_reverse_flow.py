"""The forward half of branches, loops and of what may be left anywhere."""

import ast
from typing import Any

from torchflux_syntax import quote, quote_expr

from . import _support
from ._events import Branch, Clear, Ended, Loop, Op
from ._reverse_blocks import Block, Operations, Taped, recorded

__all__ = ["Flow"]


class Flow(Operations):
    """Writes control flow."""

    # Control flow.

    def do_If(self, node: ast.If) -> None:
        flag = self.flag(node)
        body, other = self.inside(node.body), self.inside(node.orelse)
        events = bool(body.events or other.events)
        record = None
        if self.depth and not self.tape and (body.names or other.names):
            record = self.numbered("record")
            for inner in (body, other):
                inner.statements += quote("$record = $names", record=record, names=recorded(inner.names))
        test = ast.Name(flag, ast.Load()) if events else node.test
        if events and flag != getattr(node.test, "id", None):
            self.add(*quote("$flag = $bool($test)", flag=flag, bool=self.builtin("bool"), test=node.test, at=node))
        self.add(_if(test, body.statements, other.statements, node))
        if events:
            event = Branch(flag, body.events, other.events, record, tuple(body.names), tuple(other.names))
            self.happened(event, flag, *([record] if record else []))

    def flag(self, node: ast.If) -> str:
        """The name that says which way was taken: the test itself, if it is a flag that stays as it is."""
        test = node.test
        if isinstance(test, ast.Name):
            made = self.known.definitions.get(test.id, [])
            uses = sum(
                isinstance(n, ast.If) and getattr(n.test, "id", None) == test.id for n in ast.walk(self.definition)
            )
            if (
                len(made) == 1
                and isinstance(made[0], ast.Compare | ast.UnaryOp)
                and uses == 1
                and test.id not in self.known.tracked
            ):
                return test.id
        return self.numbered("taken")

    def do_For(self, node: ast.For) -> None:
        assert isinstance(node.target, ast.Name)
        name, iterable = node.target.id, node.iter
        before: list[Any] = []
        if not self.known.inert(iterable):
            steps = self.numbered("steps")
            back = self.pulled(steps, self.bind("each", _support.each), [iterable], node)
            step = self.numbered("step")
            target: ast.expr = ast.Tuple([node.target, ast.Name(step, ast.Store())], ast.Store())
            iterable = ast.Name(steps, ast.Load())
            if self.tape:
                self.steps[len(self.steps) + 1] = Op("", None, ())
                over = "$tape.over($n, $steps)"
                iterable = quote_expr(over, tape=self.tape, n=len(self.steps), steps=steps, at=iterable)
            before = [(Op(step, name if name in self.known.tracked else None, ()), step)]
        else:
            target = node.target
            before = [(Clear(name),)] if name in self.known.tracked else []
        body, done = _split_break(node.body)
        inner = self.trip(body, before)
        trips = self.tripped(inner, done)
        self.add(ast.copy_location(ast.For(target, iterable, [*inner.statements, *done] or [ast.Pass()], []), node))
        if trips:
            self.happened(Loop(trips, inner.events, tuple(inner.names)), trips)
        if before and isinstance(before[0][0], Op) and not self.tape:
            self.happened(Ended(back))

    def trip(self, body: list[ast.stmt], before: Any = ()) -> Block:
        """The body of a loop."""
        outer, self.block = self.block, Block()
        self.depth += 1
        for event in before:
            self.happened(*event)
        for statement in body:
            self.statement(statement)
        self.depth -= 1
        inner, self.block = self.block, outer
        return inner

    def tripped(self, inner: Block, done: list[ast.stmt]) -> str | None:
        """Makes a loop record its trips, if the reverse half needs to know of them."""
        if self.tape or not inner.events:
            return None
        trips = self.numbered("trips")
        self.add(*quote("$trips = []", trips=trips))
        inner.statements += quote("$trips.append($names)", trips=trips, names=recorded(inner.names))
        return trips

    def do_While(self, node: ast.While) -> None:
        at, test = next((i, s) for i, s in enumerate(node.body) if _is_exit(s))
        if self.tape:
            body = self.trip(node.body[:at]).statements
            body += [test, *self.trip(node.body[at + 1 :]).statements]
            return self.add(ast.copy_location(ast.While(node.test, body, []), node))
        self.depth += 1
        head, body_block = self.trip(node.body[:at]), self.trip(node.body[at + 1 :])
        self.depth -= 1
        if not head.events and not body_block.events:
            body = [*head.statements, test, *body_block.statements]
            return self.add(ast.copy_location(ast.While(node.test, body, []), node))
        names_in_trip = (*head.names, *body_block.names)
        trips, last = self.numbered("trips"), self.numbered("last") if head.names else None
        self.add(*quote("$trips = []", trips=trips))
        body_block.statements += quote("$trips.append($names)", trips=trips, names=recorded(names_in_trip))
        body = [*head.statements, test, *body_block.statements]
        self.add(ast.copy_location(ast.While(node.test, body, []), node))
        if last:
            self.add(*quote("$last = $names", last=last, names=recorded(head.names)))
        event = Loop(trips, body_block.events, names_in_trip, head.events, last, tuple(head.names))
        self.happened(event, trips, *([last] if last else []))
        return None

    # What may be left anywhere.

    def do_Try(self, node: ast.Try) -> None:
        with Taped(self) as outermost:
            self.guarding.append(bool(node.finalbody) or any(map(self._catches_closing, node.handlers)))
            body = self.inside(node.body)
            self.guarding[-1] = bool(node.finalbody)
            other = self.inside(node.orelse)
            handlers = [self.handler(handler) for handler in node.handlers]
            self.guarding.pop()
            final = self.inside(node.finalbody)
            last: list[ast.stmt] = final.statements if final.statements or handlers else [ast.Pass()]
            new = ast.Try(body.statements or [ast.Pass()], handlers, other.statements, last)
            self.add(ast.copy_location(new, node))
        outermost.close()

    def _catches_closing(self, handler: ast.ExceptHandler) -> bool:
        """Whether an `except` catches what is raised in a generator that is closed."""
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        return any(kind is None or ast.unparse(kind) in ("BaseException", "GeneratorExit") for kind in kinds)

    def handler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        inner = self.inside(node.body)
        caught = quote("$tape.caught()", tape=self.tape)
        return ast.copy_location(ast.ExceptHandler(node.type, node.name, [*caught, *inner.statements]), node)

    def do_With(self, node: ast.With) -> None:
        """Only of `torch.no_grad()`: other managers are lowered before."""
        outer, self.cut = self.cut, True
        with Taped(self) as outermost:
            body = self.inside(node.body)
            self.add(ast.copy_location(ast.With(node.items, body.statements or [ast.Pass()]), node))
        self.cut = outer
        outermost.close()


def _if(test: ast.expr, body: list[ast.stmt], other: list[ast.stmt], at: ast.AST) -> ast.stmt:
    return ast.copy_location(ast.If(test, body or [ast.Pass()], other), at)


def _split_break(body: list[ast.stmt]) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """The body of a `for`, and the `if done: break` at its end."""
    last = body[-1] if body else None
    if isinstance(last, ast.If) and [type(s) for s in last.body] == [ast.Break] and not last.orelse:
        return body[:-1], [last]
    return body, []


def _is_exit(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and [type(s) for s in node.orelse] == [ast.Break]
