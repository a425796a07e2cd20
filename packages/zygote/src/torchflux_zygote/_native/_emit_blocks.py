"""Blocks as generated Python: branches, loops and calls."""

import ast

from ._emit_calls import calls_itself
from ._emit_operations import Operations
from ._ir import Block, Call, For, If, Op, Value, While

__all__ = ["Blocks"]


class Blocks(Operations):
    """The part of the writer that knows control flow."""

    def body(self, block: Block) -> None:
        """Writes a block's items."""
        for item in block.items:
            if isinstance(item, Op):
                self.op(item)
            elif isinstance(item, Call):
                self.call_program(item)
            elif isinstance(item, If):
                self.branch(item)
            elif isinstance(item, For):
                self.for_loop(item)
            else:
                self.while_loop(item)

    def call_program(self, item: Call) -> None:
        """Writes a call of another program."""
        args = [self.text(a) for a in item.args]
        if calls_itself(item.program):
            args.append(self.limit)
        outs = ", ".join(self.name(out) for out in item.outs)
        self.line(f"{outs} = {self.functions[id(item.program)]}({', '.join(args)})")

    def branch(self, item: If) -> None:
        """Writes an `if`."""
        live = [k for k, out in enumerate(item.outs) if self.uses.get(out)]
        sides = []
        for block in (item.then, item.orelse):
            mark = len(self.lines)
            self.depth += 1
            self.body(block)
            for k in live:
                self.assign([(item.outs[k], block.results[k])])
            self.depth -= 1
            sides.append(self.lines[mark:])
            del self.lines[mark:]
        then, orelse = sides
        cond = self.text(item.cond)
        if not then and not orelse:
            return
        self.line(f"if {cond}:" if then else f"if not {cond}:")
        self.lines += then or orelse
        if then and orelse:
            self.line("else:")
            self.lines += orelse

    def assign(self, pairs: list[tuple[Value, Value]]) -> None:
        """Assigns values to variables, all at once."""
        pairs = [(target, value) for target, value in pairs if self.text(value) != self.name(target)]
        texts = [(self.name(target), self.text(value)) for target, value in pairs]
        used = {name: _names_in(text) for name, text in texts}
        waiting = dict(texts)
        while waiting:
            free = [n for n in waiting if not any(n in used[other] for other in waiting if other != n)]
            if not free:  # a swap
                self.line(f"{', '.join(waiting)} = {', '.join(waiting.values())}")
                return
            self.line(f"{free[0]} = {waiting.pop(free[0])}")

    def open_loop(self, item: For | While) -> None:
        """Writes what a loop carries at first."""
        self.assign(list(zip(item.carry, item.inits, strict=True)))

    def for_loop(self, item: For) -> None:
        """Writes a `for`."""
        self.open_loop(item)
        for out, head in zip(item.outs, item.carry, strict=True):
            self.alias(out, head)
        start, stop, step = (self.text(x) for x in (item.start, item.stop, item.step))
        span = (
            stop if (start, step) == ("0", "1") else f"{start}, {stop}" if step == "1" else f"{start}, {stop}, {step}"
        )
        self.line(f"for {self.name(item.index)} in range({span}):")
        self.depth += 1
        self.body(item.body)
        halt = None
        if item.halt is not None:
            halt = self.text(item.halt)
            if item.halt in item.carry or not halt.isidentifier():  # taken before the names move on
                self.line(f"halt = {halt}")
                halt = "halt"
        self.assign(list(zip(item.carry, item.body.results, strict=True)))
        if halt is not None:
            self.line(f"if {halt}:")
            self.line("    break")
        if self.lines[-1].endswith("):") and self.lines[-1].lstrip().startswith("for"):
            self.line("pass")
        self.depth -= 1

    def while_loop(self, item: While) -> None:
        """Writes a `while`."""
        self.open_loop(item)
        grows = [op for op in item.body.items if isinstance(op, Op) and op.name == "grow" and op.attrs]
        if not grows:
            self.while_body(item, [])
            return
        # An array that gets another value inside of a loop is slow: the tapes grow between two runs of the loop.
        room, full = self.fresh("room"), self.fresh("full")
        tapes = [self.name(op.args[0]) for op in grows]
        for op in grows:
            assert op.out is not None
            self.names[op.out] = self.name(op.args[0])
            self.ahead.add(op)
            self.uses[op.args[1]] = []
        rows = grows[0].args[1]
        row = self.row_ahead(item, next(op.args[0] for op in item.body.items if isinstance(op, Op) and op.out is rows))
        self.line("while True:")
        self.depth += 1
        sizes = ", ".join(f"{tape}.shape[0]" for tape in tapes)
        self.line(f"{room} = min({sizes})" if len(tapes) > 1 else f"{room} = {sizes}")
        self.line(f"{full} = False")
        self.while_body(item, [f"if {row} >= {room}:", f"    {full} = True", "    break"])
        self.line(f"if not {full}:")
        self.line("    break")
        for tape in tapes:
            self.line(f"{tape} = rt.grow({tape}, {row} + 1)")
        self.depth -= 1

    def row_ahead(self, item: While, row: Value) -> str:
        """The number of a row before the trip that writes it."""
        makers = {op.out: op for op in item.body.items if isinstance(op, Op)}
        return " + ".join(self.text(arg) for arg in makers[row].args) if row in makers else self.text(row)

    def while_body(self, item: While, guard: list[str]) -> None:
        """Writes the loop itself, with `guard` between head and body."""
        self.line("while True:")
        self.depth += 1
        self.body(item.head)
        for out, last in zip(item.outs, item.head.results, strict=True):
            if last in item.carry:
                self.alias(out, last)
            elif last.const is not None or self.memory.storage(out) is not out:
                self.assign([(out, last)])
            else:
                self.alias(out, last)
        self.line(f"if not {self.text(item.cond)}:")
        self.line("    break")
        for text in guard:
            self.line(text)
        self.body(item.body)
        self.assign(list(zip(item.carry, item.body.results, strict=True)))
        self.depth -= 1


def _names_in(text: str) -> set[str]:
    """The names that an expression reads."""
    return {node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)}
