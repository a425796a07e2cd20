"""The reverse transform: a function becomes `f_pullback`, which returns `y` and `back`."""

import ast
from dataclasses import replace
from functools import partial

from torchflux_syntax import quote, quote_expr, yields

from . import _support
from ._backward import Backward
from ._prepare import Prepared
from ._reverse_blocks import Taped
from ._reverse_flow import Flow
from ._writer import Written, only_used
from ._yields import Kind, begin

__all__ = ["reverse"]


def reverse(prepared: Prepared, taped: bool = False) -> Written:
    """The pullback of a prepared function; taped, if it may be interrupted by an exception that is caught."""
    writer = _Writer(prepared)
    if yields(prepared.function):
        return writer.write_generator()
    return writer.write_taped() if taped else writer.write()


class _Writer(Flow):
    """Writes whole functions."""

    def write(self) -> Written:
        for statement in self.definition.body[:-1]:
            self.statement(statement)
        start = [*self.cells(), *self._given()]
        return self._written([*start, *self.block.statements, self._back(self.back, self._result())])

    def write_taped(self) -> Written:
        """The form for functions that may be interrupted: the back comes first."""
        with Taped(self) as outermost:
            for statement in self.definition.body[:-1]:
                self.statement(statement)
        outermost.close()
        make, *body = self.block.statements
        ready = quote("$f($back)", f=self.bind("interruptible", _support.interruptible), back=self.back)
        start = [*self.cells(), *self._given(), make]
        return self._written([*start, self._back(self.back, self._result()), *ready, *body])

    def write_generator(self) -> Written:
        """A generator that first gives its tape and its back, which makes a generator in turn."""
        with Taped(self) as outermost:
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
