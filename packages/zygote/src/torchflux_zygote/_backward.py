"""The reverse half of a pullback, written from the events of the forward half.

A cotangent variable `x_bar` is *empty* where nothing has flowed to it yet: then the first contribution is
assigned, not added, and no `None` needs to be. Where ways meet (branches, the trips of a loop), a
variable that is empty on one of them only is set to `None` there.
"""

import ast
from collections.abc import Sequence

from torchflux_syntax import Fresh, quote

from ._events import Alias, Branch, Clear, Ended, Event, Loop, Op, Steps, Unpacked, Yielded

__all__ = ["Backward"]

Block = list[ast.stmt]
_UNNAMED = "__back__"  # of a step on a tape: renamed to what the tape holds


class Backward:
    """Writes the reverse of blocks of events.

    Args:
        fresh: a source of names.
        variables: all variables that have cotangents.
        accum: the name of the function that adds cotangents.
    """

    def __init__(self, fresh: Fresh, variables: Sequence[str], accum: str) -> None:
        self.fresh, self.accum = fresh, accum
        self.bars = {name: fresh(f"{name}_bar") for name in variables}
        self.spares: list[str] = []
        self.empty: set[str] = set(variables)

    def block(self, events: Sequence[Event]) -> Block:
        """The reverse of some events."""
        return [statement for event in reversed(events) for statement in self.event(event)]

    def event(self, event: Event) -> Block:
        match event:
            case Op():
                return self._op(event)
            case Alias(new, old):
                bar = self._consume(new)
                return [] if bar is None else self._add(old, bar)
            case Clear(name):
                self._consume(name)
                return []
            case Unpacked():
                return self._unpacked(event)
            case Branch():
                return self._branch(event)
            case Loop():
                return self._loop(event)
            case Steps():
                return self._steps(event)
            case Ended(back):
                return quote("$back.end()", back=back)
            case Yielded():
                return self._yielded(event)
        raise TypeError(event)

    def bar(self, name: str) -> str | None:
        """The name of a variable's cotangent; None where it is empty."""
        return None if name in self.empty else self.bars[name]

    # One event.

    def _consume(self, name: str | None) -> str | None:
        """The cotangent of a variable that is assigned here, which is empty before."""
        bar = None if name is None else self.bar(name)
        if name is not None:
            self.empty.add(name)
        return bar

    def _add(self, name: str, bar: str) -> Block:
        own = self.bars[name]
        if name in self.empty:
            self.empty.discard(name)
            return quote("$own = $bar", own=own, bar=bar)
        return quote("$own = $accum($own, $bar)", own=own, bar=bar, accum=self.accum)

    def _targets(self, operands: Sequence[str | None]) -> tuple[list[str], Block]:
        """Where the cotangents of operands go: into their variables, or into spares that are added to them."""
        targets: list[str] = []
        added: Block = []
        spares = 0
        for name in operands:
            if name is None:
                targets.append("_")
            elif name in self.empty:
                targets.append(self.bars[name])
                self.empty.discard(name)
            else:
                targets.append(self._spare(spares))
                spares += 1
                added += self._add(name, targets[-1])
        return targets, added

    def _spare(self, i: int) -> str:
        while len(self.spares) <= i:
            self.spares.append(self.fresh("dx"))
        return self.spares[i]

    def _op(self, op: Op) -> Block:
        bar = self._consume(op.result)
        if op.cut or not any(op.operands):
            return quote("$back($bar)", back=op.back or _UNNAMED, bar=None if op.cut else bar)
        targets, added = self._targets(op.operands)
        return [*quote("$t = $back($bar)", t=_targets(targets), back=op.back or _UNNAMED, bar=bar), *added]

    def _unpacked(self, event: Unpacked) -> Block:
        bars = [self._consume(name) for name in reversed(event.parts)][::-1]  # of a name twice, the last counts
        if all(bar is None for bar in bars):
            return []
        whole = ast.Tuple([ast.Name(b, ast.Load()) if b else ast.Constant(None) for b in bars], ast.Load())
        if event.whole in self.empty:
            self.empty.discard(event.whole)
            return quote("$whole = $bars", whole=self.bars[event.whole], bars=whole)
        own = self.bars[event.whole]
        return quote("$own = $accum($own, $bars)", own=own, accum=self.accum, bars=whole)

    def _yielded(self, event: Yielded) -> Block:
        bar = self._consume(event.sent)
        waiting = ast.Yield(ast.Name(bar, ast.Load()) if bar else None)
        if event.operand is None:
            return [ast.Expr(waiting)]
        [target], added = self._targets([event.operand])
        return [*quote("$t = $waiting", t=target, waiting=waiting), *added]

    # Ways that part and meet.

    def _branch(self, event: Branch) -> Block:
        before = set(self.empty)
        body = [*_unpack(event.body_names, event.record), *self.block(event.body)]
        after_body, self.empty = self.empty, set(before)
        other = [*_unpack(event.other_names, event.record), *self.block(event.other)]
        met = after_body & self.empty
        body += self._nones(after_body - met)
        other += self._nones(self.empty - met)
        self.empty = met
        if not body and not other:
            return []
        if not body:
            return quote("if not $flag: $other", flag=event.flag, other=other)
        if not other:
            return quote("if $flag: $body", flag=event.flag, body=body)
        return quote(
            """
            if $flag:
                $body
            else:
                $other
            """,
            flag=event.flag,
            body=body,
            other=other,
        )

    def _nones(self, names: set[str]) -> Block:
        return [statement for name in sorted(names) for statement in quote("$bar = None", bar=self.bars[name])]

    def _loop(self, event: Loop) -> Block:
        last = [*_unpack(event.head_names, event.last), *self.block(event.head)]
        before = set(self.empty)
        start = set(before)
        while True:
            self.empty = set(start)
            trip = [*self.block(event.body), *self.block(event.head)]
            if start <= self.empty:
                break
            start &= self.empty
        entered = self._nones(before - start)
        trip += self._nones(self.empty - start)
        self.empty = start
        if not trip:
            return last
        names = _names(event.names) if event.names else ast.Name("_", ast.Store())
        loop = quote("for $names in reversed($trips): $trip", names=names, trips=event.trips, trip=trip)
        return [*last, *entered, *loop]

    def _steps(self, event: Steps) -> Block:
        entered = self._nones(self.empty & _mentioned(event))
        self.empty -= _mentioned(event)
        cases: list[tuple[int, Block]] = []
        for number, inner in event.steps.items():
            self.empty -= _mentioned(event)
            block = self.event(inner)
            block += self._nones(self.empty & _mentioned(event))
            self.empty -= _mentioned(event)
            if block:
                cases.append((number, block))
        if not cases:
            return []
        step, back = self.fresh("step"), self.fresh("undo")
        chain: Block = []
        for number, block in cases:  # one after the other: as `elif` they would nest, too deeply where there are many
            block = [_Renamed(_back_name(event.steps[number]), back).visit(s) for s in block]
            chain += quote("if $step == $n: $block", step=step, n=number, block=block)
        target = ast.Tuple([ast.Name(step, ast.Store()), ast.Name(back, ast.Store())], ast.Store())
        return [*entered, *quote("for $t in reversed($tape): $chain", t=target, tape=event.tape, chain=chain)]


def _back_name(event: Event) -> str:
    return event.back or _UNNAMED if isinstance(event, Op) else ""


class _Renamed(ast.NodeTransformer):
    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.new, node.ctx) if node.id == self.old else node


def _tuple(names: Sequence[str]) -> ast.expr:
    return ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())


def _targets(names: Sequence[str]) -> ast.expr:
    """What several values are assigned to; `[x]` reads better than `x,`."""
    return _tuple(names) if len(names) > 1 else ast.List([ast.Name(names[0], ast.Store())], ast.Store())


def _names(names: Sequence[str]) -> ast.expr:
    """The names of a record; one name is a record by itself."""
    return _tuple(names) if len(names) > 1 else ast.Name(names[0], ast.Store())


def _unpack(names: Sequence[str], record: str | None) -> Block:
    return quote("$names = $record", names=_names(names), record=record) if names and record else []


def _mentioned(event: Event) -> set[str]:
    """The variables whose cotangents an event touches."""
    match event:
        case Op(_, result, operands):
            return {name for name in (result, *operands) if name}
        case Alias(new, old):
            return {new, old}
        case Clear(name):
            return {name}
        case Unpacked(parts, whole):
            return {name for name in (*parts, whole) if name}
        case Branch():
            return {n for e in (*event.body, *event.other) for n in _mentioned(e)}
        case Loop():
            return {n for e in (*event.body, *event.head) for n in _mentioned(e)}
        case Yielded(operand, sent):
            return {name for name in (operand, sent) if name}
        case Steps():
            return {n for e in event.steps.values() for n in _mentioned(e)}
    return set()
