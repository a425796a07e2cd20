"""The second normal form: one return, at the end, and no jumps but the one that ends a loop.

Source: the removal of jumps by flags and guards is Böhm and Jacopini's, "Flow diagrams, Turing machines and languages
with only two formation rules" (1966, doi:10.1145/355592.365646); most programs here need no flag.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ._exits import Exit, first_exit
from ._function import Function
from ._leaves import ALL, OUT, jumps, leaves
from ._names import Fresh, names, used
from ._pass import Pass, changed
from ._quote import quote
from ._yields import yields

__all__ = ["structure"]

Block = list[ast.stmt]


def structure(function: Function) -> Function:
    """The same function with a single `return`, as its last statement, and with loops of these two forms:

        for NAME in ATOM: block            # may end with `if NAME: break`
        while True: block; if ATOM: pass else: break; block

    There is no other `break` and no `continue`. Branches take in what follows them, and where that doesn't do, flags
    say what to skip.

    Args:
        function: in normal form.

    Raises:
        Unsupported: a `finally` is left by a jump, which drops the exception that is on its way.

    >>> from torchflux_syntax import read, show
    >>> def clip(x, low):
    ...     if x < low:
    ...         return low
    ...     return x
    >>> print(show(structure(read(clip))))
    def clip(x, low):
        t1 = x < low
        if t1:
            result = low
        else:
            result = x
        return result
    """
    body = _Body(function, Fresh(names(function.definition))).whole(function.definition.body)
    return replace(function, definition=changed(function.definition, body=body))


@dataclass
class _Loop:
    """The flags of a loop: that it is over, and that the rest of this trip is skipped."""

    broke: str = ""
    skip: str = ""


class _Body:
    """Rewrites the body of one function. In all methods, `follow` says whether something comes after the block in
    its function or in its loop's body, which a jump must skip."""

    def __init__(self, function: Function, fresh: Fresh) -> None:
        self.function = function
        self.fresh = fresh
        self.result = ""
        self.returned = ""
        self.loops: list[_Loop] = []
        self.flags: set[str] = set()
        self.protected = False
        self.pending: dict[str, str] = {}

    def whole(self, statements: Block) -> Block:
        """The body with one return."""
        block = self.block(statements, False)
        if self.returned:
            block = quote("$flag = False", at=statements[0], flag=self.returned) + block
        match block[-1]:
            case ast.Assign(targets=[ast.Name(id=self.result)], value=ast.Name() | ast.Constant() as value):
                last = block.pop()
                end = quote("return $value", at=last, value=value)
            case last:
                end = quote("return $value", at=last, value=self.result or None)
        block = _without(self.flags - used(block), block)
        if yields(statements) and not yields(block):  # behind a jump, where it says all the same what a call makes
            block = quote("if False: yield None", at=last) + block
        return block + end

    def block(self, statements: Sequence[ast.stmt], follow: bool) -> Block:
        """A block without jumps."""
        done: Block = []
        for i, statement in enumerate(statements):
            rest = list(statements[i + 1 :])
            if isinstance(statement, ALL):
                return done + self.jump(statement, follow)
            if isinstance(statement, ast.While) and (exit := first_exit(statement)) and exit.single:
                done.append(self.one_exit(statement, exit))
                return done + self.block(exit.code if leaves(exit.code) else exit.code + rest, follow)
            kinds = {type(jump) for jump in jumps([statement], ALL)}
            if not kinds:
                done += self.compound(statement, bool(rest) or follow)
                if leaves([statement]):
                    return done
            elif isinstance(statement, ast.If) and (leaves(statement.body) or leaves(statement.orelse)):
                return [*done, self.chosen(statement, rest, follow)]
            elif self.protected and _finishes(statement):
                done += self.crossed(statement, kinds)
                return done + (self.guarded(kinds, self.block(rest, follow)) if rest else [])
            elif (
                kinds == {ast.Return} and _is_constant_return(rest) and not (follow or self.loops or _nested(statement))
            ):
                return done + self.jump(rest[0], False) + self.compound(statement, follow)
            else:
                done += self.compound(statement, bool(rest) or follow)
                return done + (self.guarded(kinds, self.block(rest, follow)) if rest else [])
        return done

    # jumps

    def jump(self, statement: ast.stmt, follow: bool) -> Block:
        """What a jump becomes: the result, and the flags that make the rest be skipped."""
        match statement:
            case ast.Return(value=value):
                self.result = self.result or self.fresh("result")
                flags = [loop.broke for loop in self.loops if loop.broke]
                flags += [self.returned_flag()] if follow or self.loops else []
                noted = quote("$result = $value", at=statement, result=self.result, value=value)
                return noted + self.raised(flags, statement)
            case ast.Break():
                return self.raised([self.loops[-1].broke], statement)
        return self.raised([self.skip_flag()], statement) if follow else []

    def raised(self, flags: Sequence[str], at: ast.AST) -> Block:
        set_flags = [quote("$flag = True", at=at, flag=self.actual(flag)) for flag in flags]
        return [statement for block in set_flags for statement in block]

    def actual(self, flag: str) -> str:
        """The flag that stands for `flag` while a jump may still be cancelled."""
        return self.pending.get(flag, flag)

    def crossed(self, statement: ast.stmt, kinds: set[type[ast.stmt]]) -> Block:
        """A `with` or a `finally` inside of a block whose exceptions are caught.

        A jump out of it counts only when it has been left: an exception on the way out cancels the jump.
        """
        flags = [self.returned_flag(), *(loop.broke for loop in self.loops)] if ast.Return in kinds else []
        flags += [self.loops[-1].broke] if ast.Break in kinds else []
        flags += [self.skip_flag()] if ast.Continue in kinds else []
        outer, before, after = self.pending, Block(), Block()
        inner = {flag: self.flag(flag) for flag in dict.fromkeys(flags) if flag}
        for flag, pending in inner.items():
            before += quote("$pending = False", at=statement, pending=pending)
            after += quote("if $pending: $flag = True", at=statement, pending=pending, flag=self.actual(flag))
        self.pending = outer | inner
        block = self.compound(statement, True)
        self.pending = outer
        return before + block + after

    def flag(self, name: str) -> str:
        name = self.fresh(name)
        self.flags.add(name)
        return name

    def returned_flag(self) -> str:
        self.returned = self.returned or self.flag("returned")
        return self.returned

    def skip_flag(self) -> str:
        loop = self.loops[-1]
        loop.skip = loop.skip or self.flag("skip")
        return loop.skip

    def guarded(self, kinds: set[type[ast.stmt]], block: Block) -> Block:
        """A block that is skipped after jumps of these kinds."""
        loop = self.loops[-1] if self.loops else _Loop()
        over = loop.broke if ast.Break in kinds else self.returned if ast.Return in kinds else ""
        for flag in (loop.skip if ast.Continue in kinds else "", over):
            if flag and block:
                block = quote("if $flag: pass\nelse: $block", at=block[0], flag=self.actual(flag), block=block)
        return block

    def chosen(self, statement: ast.If, rest: Block, follow: bool) -> ast.stmt:
        """An `if` of which a branch always leaves: what follows goes into the other branch."""
        body = statement.body if leaves(statement.body) else statement.body + rest
        orelse = statement.orelse if leaves(statement.orelse) else statement.orelse + rest
        return changed(statement, body=self.inner(body, follow), orelse=self.block(orelse, follow))

    def inner(self, block: Block, follow: bool) -> Block:
        return self.block(block, follow) or [ast.copy_location(ast.Pass(), block[0])]

    def guarding(self, block: Block, follow: bool) -> Block:
        """A block whose exceptions may be caught."""
        outer, self.protected = self.protected, True
        block = self.inner(block, follow)
        self.protected = outer
        return block

    # compound statements

    def compound(self, statement: ast.stmt, follow: bool) -> Block:
        """A statement whose blocks have no jumps any more, but only flags that they set."""
        match statement:
            case ast.If():
                orelse = self.block(statement.orelse, follow)
                return [changed(statement, body=self.inner(statement.body, follow), orelse=orelse)]
            case ast.With():
                return [changed(statement, body=self.guarding(statement.body, follow))]
            case ast.Try():
                return [self.tried(statement, follow)]
            case ast.For():
                return self.counted(statement)
            case ast.While():
                return self.repeated(statement)
            case ast.FunctionDef():
                return [changed(statement, body=_Body(self.function, self.fresh).whole(statement.body))]
        return [statement]

    def tried(self, statement: ast.Try, follow: bool) -> ast.stmt:
        """The `else` is skipped when the body was left by a jump; `finally` runs in any case."""
        for jump in jumps(statement.finalbody, ALL):
            advice = "it would drop the exception on its way: catch it with `except`, and jump after the `try`"
            raise self.function.refuse(jump, "a jump out of `finally`", advice)
        follow_body = follow or bool(statement.orelse)
        body = (self.guarding if statement.handlers else self.inner)(statement.body, follow_body)
        kinds = {type(jump) for jump in jumps(statement.body, ALL)}
        orelse = [] if leaves(statement.body) else self.guarded(kinds, self.block(statement.orelse, follow))
        handlers = [changed(handler, body=self.inner(handler.body, follow)) for handler in statement.handlers]
        finalbody = self.block(statement.finalbody, True)
        return changed(statement, body=body, handlers=handlers, orelse=orelse, finalbody=finalbody)

    def counted(self, statement: ast.For) -> Block:
        match statement.body:
            case [*body, ast.If(test=ast.Name(), body=[ast.Break()], orelse=[]) as end] if not any(jumps(body, OUT)):
                return [changed(statement, body=[*self.trip(_Loop(), body), end])]
        loop = self.loop(statement)
        body = self.trip(loop, statement.body)
        over = self.over(loop, statement)
        check = quote("if $over: break", at=statement, over=over) if over else []
        body = body + check or [ast.copy_location(ast.Pass(), statement)]
        return [*self.lowered(loop, statement), changed(statement, body=body)]

    def trip(self, loop: _Loop, statements: Block) -> Block:
        """A loop's body, or a part of it, in which `continue` comes to the end."""
        self.loops.append(loop)
        body = self.block(statements, False)
        self.loops.pop()
        if loop.skip:
            body = quote("$skip = False", at=statements[0], skip=loop.skip) + body
        return body

    def loop(self, statement: ast.For | ast.While) -> _Loop:
        return _Loop(self.flag("broke") if any(jumps(statement.body, ast.Break)) else "")

    def over(self, loop: _Loop, statement: ast.For | ast.While) -> str:
        """The flag that ends a loop; empty if nothing does."""
        returned = self.returned_flag() if any(jumps(statement.body, ast.Return)) else ""
        return loop.broke or self.actual(returned)

    def lowered(self, loop: _Loop, at: ast.AST) -> Block:
        return quote("$flag = False", at=at, flag=loop.broke) if loop.broke else []

    # while

    def one_exit(self, statement: ast.While, exit: Exit) -> ast.stmt:
        """A loop that is left in one place: what is before it is the head, what is done on leaving comes after."""
        head = self.trip(_Loop(), exit.before)
        return changed(statement, body=[*head, *self.tested(exit), *self.trip(_Loop(), exit.after)])

    def tested(self, exit: Exit) -> Block:
        if exit.stays_if:
            return quote("if $test: pass\nelse: break", at=exit.test, test=exit.test)
        going = self.fresh("going")
        return quote("$going = not $test\nif $going: pass\nelse: break", at=exit.test, going=going, test=exit.test)

    def repeated(self, statement: ast.While) -> Block:
        """A loop that is left in several places, or in none: a flag is looked at before the head."""
        loop, exit = self.loop(statement), first_exit(statement)
        if exit and not exit.code:
            head, rest = self.trip(_Loop(), exit.before), exit.after
        else:
            head, rest, exit = [], statement.body, None
        body = self.trip(loop, rest)
        over = self.over(loop, statement)
        head = self.head(head, exit, over, statement)
        return [*self.lowered(loop, statement), changed(statement, body=head + body)]

    def head(self, head: Block, exit: Exit | None, over: str, at: ast.AST) -> Block:
        if not over:
            return quote("if True: pass\nelse: break", at=at)
        going = self.fresh("going")
        if exit is None:
            return quote("$going = not $over\nif $going: pass\nelse: break", at=at, going=going, over=over)
        outcome = "$going = $test" if exit.stays_if else "$going = not $test"
        head = head + quote(outcome, at=exit.test, going=going, test=exit.test)
        text = "if $over: $going = False\nelse: $head\nif $going: pass\nelse: break"
        return quote(text, at=exit.test, over=over, head=head, going=going)


def _is_constant_return(rest: Block) -> bool:
    match rest:
        case [ast.Return(value=ast.Constant())]:
            return True
    return False


def _finishes(statement: ast.stmt) -> bool:
    """Whether something is done on leaving a statement, which may raise."""
    return isinstance(statement, ast.With) or (isinstance(statement, ast.Try) and bool(statement.finalbody))


def _nested(statement: ast.stmt) -> bool:
    """Whether a statement of this kind is inside of another one."""
    inside = [node for node in ast.walk(statement) if isinstance(node, ast.stmt) and _finishes(node)]
    return len(inside) > isinstance(statement, ast.With)


def _without(flags: set[str], block: Block) -> Block:
    """A block without the assignments to flags that nobody reads."""
    return _Without(flags).visit(block) if flags else block


class _Without(Pass):
    def __init__(self, flags: set[str]) -> None:
        self.flags = flags

    def visit_Assign(self, node: ast.Assign) -> Block | None:
        match node.targets:
            case [ast.Name(id=name)] if name in self.flags:
                return []
        return None
