"""The reverse transform: a function becomes `f_pullback`, which returns `y` and `back`."""

import ast
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torchflux_syntax import quote, quote_expr, yields

from . import _lists, _support
from ._backward import Backward
from ._cotangent import accum
from ._events import Alias, Branch, Clear, Ended, Event, Loop, Op, Steps, Unpacked, Yielded
from ._prepare import Prepared
from ._pull import pull
from ._writer import Writer, Written, only_used
from ._yields import Kind, begin

__all__ = ["reverse"]


def reverse(prepared: Prepared, taped: bool = False) -> Written:
    """The pullback of a prepared function; taped, if it may be interrupted by an exception that is caught."""
    writer = _Writer(prepared)
    if yields(prepared.function):
        return writer.write_generator()
    return writer.write_taped() if taped else writer.write()


@dataclass
class _Block:
    """A block of the forward half, and what the reverse half needs of it."""

    statements: list[ast.stmt] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


class _Writer(Writer):
    """Writes the forward half, statement by statement."""

    def __init__(self, prepared: Prepared) -> None:
        super().__init__(prepared)
        self.block = _Block()
        self.depth = 0  # of loops around
        self.tape: str | None = None
        self.steps: dict[int, Event] = {}
        self.cut = False
        self.guarding: list[bool] = []  # of the blocks around that may be left: whether that does something
        self.guards = False
        self.accum, self.pull = self.bind("accum", accum), self.bind("pull", pull)
        self.back = self.fresh("back")

    # The function.

    def write(self) -> Written:
        for statement in self.definition.body[:-1]:
            self.statement(statement)
        start = [*self.cells(), *self._given()]
        return self._written([*start, *self.block.statements, self._back(self.back, self._result())])

    def write_taped(self) -> Written:
        """The form for functions that may be interrupted: the back comes first."""
        with _Taped(self) as outermost:
            for statement in self.definition.body[:-1]:
                self.statement(statement)
        outermost.close()
        make, *body = self.block.statements
        ready = quote("$f($back)", f=self.bind("interruptible", _support.interruptible), back=self.back)
        start = [*self.cells(), *self._given(), make]
        return self._written([*start, self._back(self.back, self._result()), *ready, *body])

    def write_generator(self) -> Written:
        """A generator that first gives its tape and its back, which makes a generator in turn."""
        with _Taped(self) as outermost:
            for statement in self.definition.body[:-1]:
                self.statement(statement)
        outermost.close()
        make, *body = self.block.statements
        ready = quote("yield ($tape, $back)", tape=outermost.name, back=self.back)
        start = [*self.cells(), *self._given(), make]
        written = self._written([*start, self._back(self.back, self._result()), *ready, *body])
        returned = quote("return $y", y=self.definition.body[-1].value or ast.Constant(None))  # type: ignore[attr-defined]
        written.function.definition.body[-1:] = returned
        kind = Kind(self.prepared.delegates, self.guards)
        return replace(written, begin=partial(begin, kind))

    def _result(self) -> str | None:
        last = self.definition.body[-1]
        assert isinstance(last, ast.Return)
        return self.tracked(last.value)

    def _written(self, halves: list[ast.stmt]) -> Written:
        last, back = self.definition.body[-1], self.back
        assert isinstance(last, ast.Return)
        returned = quote("return $y, $back", y=last.value or ast.Constant(None), back=back, at=last)
        definition = ast.FunctionDef(
            **{**dict(ast.iter_fields(self.definition)), "name": f"{self.definition.name}_pullback"}
        )
        definition.body = [*halves, *returned]
        ast.copy_location(definition, self.definition)
        return Written(replace(self.function, definition=definition), only_used(self.bindings, definition))

    def _given(self) -> list[ast.stmt]:
        """Keeps the dict of `**options`, whatever its variable may be assigned."""
        kwarg = self.definition.args.kwarg
        self.given = self.fresh(f"{kwarg.arg}_given") if kwarg else ""
        return quote("$given = $name", given=self.given, name=kwarg.arg) if kwarg else []

    def _back(self, name: str, result: str | None) -> ast.stmt:
        variables = sorted(self.known.tracked)
        backward = Backward(self.fresh, variables, self.accum)
        backward.empty.discard(result or "")
        body = backward.block(self.block.events)
        bars = ast.Tuple([self._parameter_bar(p, backward) for p in self.ordered()], ast.Load())
        body += quote("return $bars", bars=bars)
        bar = backward.bars[result] if result else "_"
        [made] = quote("def $name($bar): $body", name=name, bar=bar, body=body)
        return made

    def _parameter_bar(self, name: str, backward: Backward) -> ast.expr:
        kwarg = self.definition.args.kwarg
        if kwarg and name == kwarg.arg:
            return quote_expr("$fields($d)", fields=self.bind("fields", _support.fields), d=self.given)
        if name in self.prepared.cells:
            return quote_expr("$taken($c)", taken=self.bind("taken", _support.taken), c=self.prepared.cells[name])
        bar = backward.bar(name)
        return ast.Constant(None) if bar is None else ast.Name(bar, ast.Load())

    # Blocks.

    def inside(self, statements: list[ast.stmt]) -> _Block:
        """A block inside, written by itself."""
        outer, self.block = self.block, _Block()
        for statement in statements:
            self.statement(statement)
        inner, self.block = self.block, outer
        return inner

    def add(self, *statements: ast.stmt) -> None:
        self.block.statements += statements

    def alias(self, target: str, name: str, node: ast.stmt) -> None:
        self.add(node)
        self.happened(Alias(target, name))

    def cleared(self, target: str, node: ast.stmt) -> None:
        self.happened(Clear(target))

    def happened(self, event: Event, *needs: str) -> None:
        """Notes an event for the reverse half, which needs the values of some names."""
        if self.cut:
            event = _cut(event)
        if self.tape is None:
            self.block.events.append(event)
            self.block.names += needs
            return
        number = len(self.steps) + 1
        self.steps[number] = event
        back = needs[0] if needs else None
        self.add(*quote("$tape.log($n, $back)", tape=self.tape, n=number, back=back))

    def unpack(self, parts: list[Any], node: ast.Assign) -> None:
        stars = [i for i, part in enumerate(parts) if isinstance(part, ast.Starred)]
        counts = [stars[0], len(parts) - stars[0] - 1] if stars else [len(parts)]
        whole = self.fresh()
        self.known.tracked.add(whole)
        self.op(whole, self.bind("unpack", _lists.unpack), [node.value, *map(ast.Constant, counts)], node)
        plain = [part.value if isinstance(part, ast.Starred) else part for part in parts]
        self.add(*quote("$parts = $whole", parts=ast.Tuple(plain, ast.Store()), whole=whole, at=node))
        self.happened(Unpacked(tuple(self.tracked(part) for part in plain), whole))

    def yielded(self, target: str | None, value: ast.expr, node: ast.stmt) -> None:
        if self.cut:
            raise self.function.refuse(node, "`yield` under `torch.no_grad()`", "leave the `with` before it")
        sent = self.fresh("sent") if target else None
        self.known.tracked |= {sent} if sent else set()
        number, held = len(self.steps) + 1, any(self.guarding)
        self.guards = self.guards or held
        self.steps[number] = Yielded(self.tracked(value), sent)
        note = "$tape.hold($n)" if held else "$tape.log($n, None)"
        self.add(*quote(note, tape=self.tape, n=number), node)
        if held:
            self.add(*quote("$tape.go()", tape=self.tape))
        if target and sent:
            self.happened(Alias(target, sent))

    def op(self, target: str | None, f: Any, args: list[Any], node: ast.stmt, keywords: Any = ()) -> None:
        """`target, back = pull(f, args)`."""
        self.pulled(target, f, args, node, keywords)

    def pulled(self, target: str | None, f: Any, args: list[Any], node: ast.stmt, keywords: Any = ()) -> str:
        """Writes an operation; returns the name of its back, which has none on a tape."""
        f = ast.Name(f, ast.Load()) if isinstance(f, str) else f
        if self.tape:
            self.op_on_tape(target, f, args, node, keywords)
            return ""
        back = self.numbered("back")
        call = ast.Call(ast.Name(self.pull, ast.Load()), [f, *args], list(keywords))
        template = "$target, $back = $call" if target else "$back = $call[1]"
        values = {"target": target, "back": back, "call": call} if target else {"back": back, "call": call}
        self.add(*quote(template, at=node, **values))
        operands = tuple(self.tracked(a) for a in (*args, *(k.value for k in keywords)))
        self.happened(Op(back, target if target in self.known.tracked else None, operands), back)
        return back

    def op_on_tape(self, target: str | None, f: Any, args: list[Any], node: ast.stmt, keywords: Any) -> None:
        """`target = tape.pull(step, f, args)`."""
        operands = tuple(self.tracked(a) for a in (*args, *(k.value for k in keywords)))
        event = Op("", target if target in self.known.tracked else None, operands)
        number = len(self.steps) + 1
        self.steps[number] = _cut(event) if self.cut else event
        call = ast.Call(quote_expr("$tape.pull", tape=self.tape), [ast.Constant(number), f, *args], list(keywords))
        if target:
            return self.add(*quote("$target = $call", target=target, call=call, at=node))
        return self.add(*quote("$call", call=call, at=node))

    # Control flow.

    def do_If(self, node: ast.If) -> None:
        flag = self.flag(node)
        body, other = self.inside(node.body), self.inside(node.orelse)
        events = bool(body.events or other.events)
        record = None
        if self.depth and not self.tape and (body.names or other.names):
            record = self.numbered("record")
            for inner in (body, other):
                inner.statements += quote("$record = $names", record=record, names=_loads(inner.names))
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

    def trip(self, body: list[ast.stmt], before: Any = ()) -> _Block:
        """The body of a loop."""
        outer, self.block = self.block, _Block()
        self.depth += 1
        for event in before:
            self.happened(*event)
        for statement in body:
            self.statement(statement)
        self.depth -= 1
        inner, self.block = self.block, outer
        return inner

    def tripped(self, inner: _Block, done: list[ast.stmt]) -> str | None:
        """Makes a loop record its trips, if the reverse half needs to know of them."""
        if self.tape or not inner.events:
            return None
        trips = self.numbered("trips")
        self.add(*quote("$trips = []", trips=trips))
        inner.statements += quote("$trips.append($names)", trips=trips, names=_loads(inner.names))
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
        body_block.statements += quote("$trips.append($names)", trips=trips, names=_loads(names_in_trip))
        body = [*head.statements, test, *body_block.statements]
        self.add(ast.copy_location(ast.While(node.test, body, []), node))
        if last:
            self.add(*quote("$last = $names", last=last, names=_loads(head.names)))
        event = Loop(trips, body_block.events, names_in_trip, head.events, last, tuple(head.names))
        self.happened(event, trips, *([last] if last else []))
        return None

    # What may be left anywhere.

    def do_Try(self, node: ast.Try) -> None:
        with _Taped(self) as outermost:
            self.guarding.append(bool(node.finalbody) or any(map(self._catches_closing, node.handlers)))
            body = self.inside(node.body)
            self.guarding[-1] = bool(node.finalbody)
            other = self.inside(node.orelse)
            self.guarding.pop()
            final = self.inside(node.finalbody)
            handlers = [self.handler(handler) for handler in node.handlers]
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
        with _Taped(self) as outermost:
            body = self.inside(node.body)
            self.add(ast.copy_location(ast.With(node.items, body.statements or [ast.Pass()]), node))
        self.cut = outer
        outermost.close()


class _Taped:
    """Within it, events are logged on a tape one by one."""

    def __init__(self, writer: _Writer) -> None:
        self.writer, self.outer = writer, writer.tape

    def __enter__(self) -> "_Taped":
        w = self.writer
        if self.outer is None:
            self.name = w.numbered("tape")
            self.steps: dict[int, Event] = {}
            w.add(*quote("$tape = $Tape()", tape=self.name, Tape=w.bind("Tape", _support.Tape)))
            w.tape, w.steps = self.name, self.steps
        return self

    def __exit__(self, *error: Any) -> None:
        self.writer.tape = self.outer

    def close(self) -> None:
        if self.outer is None and self.steps:
            cut, self.writer.cut = self.writer.cut, False
            self.writer.happened(Steps(self.name, self.steps), self.name)
            self.writer.cut = cut


def _cut(event: Event) -> Event:
    match event:
        case Op():
            return replace(event, cut=True)
        case Alias(new, _):
            return Clear(new)
    return event


def _loads(several: Any) -> ast.expr:
    """A record of some names; one name is a record by itself."""
    if len(several) == 1:
        return ast.Name(several[0], ast.Load())
    return ast.Tuple([ast.Name(name, ast.Load()) for name in several], ast.Load())


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
