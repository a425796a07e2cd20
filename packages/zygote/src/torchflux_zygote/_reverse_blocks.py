"""The forward half of a pullback, operation by operation, and the events that its reverse half is written from."""

import ast
from dataclasses import dataclass, field, replace
from typing import Any

from torchflux_syntax import quote, quote_expr

from . import _lists, _support
from ._cotangent import accum
from ._events import Alias, Clear, Event, Op, Steps, Unpacked, Yielded
from ._prepare import Prepared
from ._pull import pull
from ._writer import Writer

__all__ = ["Block", "Operations", "Taped", "recorded"]


@dataclass
class Block:
    """A block of the forward half, and what the reverse half needs of it."""

    statements: list[ast.stmt] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


class Operations(Writer):
    """Writes operations, and notes what happened."""

    def __init__(self, prepared: Prepared) -> None:
        super().__init__(prepared)
        self.block = Block()
        self.depth = 0  # of loops around
        self.tape: str | None = None
        self.steps: dict[int, Event] = {}
        self.cut = False
        self.guarding: list[bool] = []  # of the blocks around that may be left: whether that does something
        self.guards = False
        self.accum, self.pull = self.bind("accum", accum), self.bind("pull", pull)
        self.back = self.fresh("back")

    # Blocks.

    def inside(self, statements: list[ast.stmt]) -> Block:
        """A block inside, written by itself."""
        outer, self.block = self.block, Block()
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
            event = cut_off(event)
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
        self.steps[number] = cut_off(event) if self.cut else event
        call = ast.Call(quote_expr("$tape.pull", tape=self.tape), [ast.Constant(number), f, *args], list(keywords))
        if target:
            return self.add(*quote("$target = $call", target=target, call=call, at=node))
        return self.add(*quote("$call", call=call, at=node))


class Taped:
    """Within it, events are logged on a tape one by one."""

    def __init__(self, writer: Operations) -> None:
        self.writer, self.outer = writer, writer.tape

    def __enter__(self) -> "Taped":
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


def cut_off(event: Event) -> Event:
    match event:
        case Op():
            return replace(event, cut=True)
        case Alias(new, _):
            return Clear(new)
    return event


def recorded(several: Any) -> ast.expr:
    """A record of some names; one name is a record by itself."""
    if len(several) == 1:
        return ast.Name(several[0], ast.Load())
    return ast.Tuple([ast.Name(name, ast.Load()) for name in several], ast.Load())
