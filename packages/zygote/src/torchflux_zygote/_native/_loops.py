"""How loops are read: again and again, until the types of what they carry settle."""

import ast
from collections.abc import Callable
from functools import partial
from typing import Any

from torchflux_syntax import bound as bound_names

from ._collected import appended
from ._entries import ArrayRef, Range, Zipped
from ._ir import INT, Value
from ._liveness import carried_names
from ._trial import Trial
from ._tries import Trying

__all__ = ["Looping"]

Entry = Any


class Looping(Trying):
    """The part of the reader that knows loops."""

    assign: Callable[[ast.expr, Entry], None]

    def exec_For(self, node: ast.For) -> None:
        """A `for`: over a tuple element by element, over anything else as a loop."""
        target = node.target
        assert isinstance(target, ast.Name)
        entry = self.atom(node.iter)
        *body, last = node.body
        halts = isinstance(last, ast.If) and [type(s) for s in last.body] == [ast.Break]
        halt = last.test if halts and isinstance(last, ast.If) else None
        body = body if halts else node.body
        if isinstance(entry, tuple):
            self.unroll(target.id, list(entry), body, halt)
            return
        span, element = self.iterated(entry)
        index = Value(INT, target.id if isinstance(entry, Range) and target.id != "_" else "i")

        def start() -> None:
            self.assign(ast.Name(target.id), element(index))

        held = f"for {node.lineno}:{node.col_offset}"  # no name of Python's, but a hold on what is run over
        self.frame.names[held] = entry.parts if isinstance(entry, Zipped) else entry
        self.loop(node, body, halt, start, index, span)
        self.frame.names.pop(held, None)

    def unroll(self, name: str, parts: list[Entry], body: list[ast.stmt], halt: ast.expr | None) -> None:
        """A loop over a tuple: its body once for every element."""
        for k, part in enumerate(parts):
            self.frame.names[name] = part
            self.execute(body)
            if self.dead:
                return
            if halt is not None and k + 1 < len(parts):
                stop = self.truth(self.atom(halt))
                if stop.const is not None:
                    if stop.const:
                        return
                    continue
                self.branch(stop, partial(self.unroll, name, parts[k + 1 :], body, halt))
                return

    def exec_While(self, node: ast.While) -> None:
        """A `while`, with its condition in a head."""
        k = next(
            (
                i
                for i, s in enumerate(node.body)
                if isinstance(s, ast.If)
                and [type(x) for x in s.orelse] == [ast.Break]
                and [type(x) for x in s.body] == [ast.Pass]
            ),
            None,
        )
        if k is None:
            raise self.refuse("a loop without a way out", "give it a condition")
        test = node.body[k]
        assert isinstance(test, ast.If)
        self.loop(node, node.body[k + 1 :], None, None, None, None, node.body[:k], test.test)

    def loop(
        self,
        node: Any,
        body: list[ast.stmt],
        halt: ast.expr | None,
        start: Callable[[], None] | None,
        index: Value | None,
        span: Range | None,
        head: list[ast.stmt] | None = None,
        test: ast.expr | None = None,
    ) -> None:
        """Reads a loop's body until the types of what it carries settle."""
        before, arrays = dict(self.frame.names), dict(self.versions)
        assigned = set(bound_names(node.body))
        if self.frame.collected & appended(node) - assigned:
            raise self.refuse("a list that grows in a loop", "store into an array: np.empty(n) before the loop", node)
        if isinstance(node, ast.For):
            assert isinstance(node.target, ast.Name)
            assigned.add(node.target.id)
        carried = carried_names(node, self.frame.definition, assigned)
        templates: dict[str, Entry] = {}  # what a carried name holds at the head of the loop, in kind
        carried_arrays: dict[ArrayRef, None] = {}
        reshaped: set[int] = set()
        knot: dict[ArrayRef | None, None] = {}
        for _ in range(12):
            trial = Trial(self, before, arrays, templates, carried_arrays, reshaped, knot)
            trial.read(body, halt, start, head, test)
            self.node = node
            if trial.grown(carried):
                reshaped.clear()  # places have moved
            elif not trial.finish(index, span):
                break
        else:
            raise self.refuse("a loop whose variables change their types for ever", "give them one type")
