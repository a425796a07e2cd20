"""Writes a program as Python that Numba compiles and a person can read."""

import ast

from ._any_order import in_any_order
from ._emit_blocks import Blocks
from ._emit_calls import JIT, calls_itself, reached, signed, too_deep
from ._fuse import fused
from ._ir import Program

__all__ = ["source"]


def source(program: Program, doc: str = "") -> str:
    """The program as a Python function, behind those that it calls."""
    names: dict[int, str] = {}
    called = [p for p in reached(program) if p is not program]
    for p in (program, *called):
        name, n = p.name, 1
        while name in names.values():
            n += 1
            name = f"{p.name}_{n}"
        names[id(p)] = name

    def text(p: Program, doc: str = "") -> str:
        return _Emitter(in_any_order(fused(p)), names[id(p)], names).function(doc)

    texts = [f"@{signed(p) if p.called else JIT}\n{text(p)}" for p in called]
    own = text(program, doc)
    if called:
        own = f"@{signed(program) if program.called else JIT}\n{own}"
    return "\n".join([*texts, own])


class _Emitter(Blocks):
    """Writes the text of one program."""

    def function(self, doc: str) -> str:
        """The text of the whole function."""
        params = [self.name(p) for p in self.program.params]
        if calls_itself(self.program):
            self.limit = self.fresh("limit")
            params.append(self.limit if self.program.called else f"{self.limit}=0")
        if self.program.called:
            self.line(f"if rt.beyond_stack({self.limit}):")
            self.line(f"    raise RecursionError({too_deep(self.program)!r})")
        self.body(self.program.block)
        results = ", ".join(self.text(r) for r in self.program.block.results)
        many = len(self.program.block.results) != 1
        self.line(f"return ({results}{',' if many and results else ''})" if many else f"return {results}")
        head = f"def {self.title}({', '.join(params)}):"
        text = [head, f"    {doc!r}"] if doc else [head]
        return ast.unparse(ast.parse("\n".join([*text, *self.lines]))) + "\n"
