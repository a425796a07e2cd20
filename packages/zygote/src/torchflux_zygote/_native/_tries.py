"""How `try` is read: a raise that is caught here is a jump, of which a code says what was raised.

What can be raised is known when a function is read: `raise`, and the checks of indices, divisors, shapes and domains.
Where one is caught, what follows it stands in the other branch of an `if`, up to the end of the block in which it is
(a region). There both branches are merged, with the code among what they leave: 0 where nothing was raised. Behind
the `try` the handlers are branches on the code. So names and arrays are in each handler as the raise left them, and
derivatives know of nothing but branches.
"""

import ast
import builtins
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ._entries import UNBOUND, ArrayRef, Caught, Manager, Raised, Static
from ._frame import Frame
from ._ir import Block, Value
from ._merge import CLEAR, CODE, Jump
from ._number_errors import NumberErrors
from ._writer import literal

__all__ = ["Trying"]

Entry = Any
Kinds = tuple[type[BaseException], ...]


@dataclass(frozen=True)
class Site:
    """What is raised somewhere: its class and what it says."""

    kind: type[BaseException]
    text: str


@dataclass(eq=False)
class Context:
    """A `try` around what is being read: what it catches, and the codes of what was raised to it."""

    kinds: Kinds
    final: bool = False  # a `finally`, which everything passes
    codes: list[int] = field(default_factory=list)
    passing: bool = False  # whether something is raised here that it doesn't catch, but another one does


@dataclass
class Guard:
    """An `if` one branch of which has jumped, while the other is being read on."""

    cond: Value
    then: Block
    orelse: Block
    first: bool  # whether the one that jumped is `then`
    parent: Block
    names: dict[int, dict[str, Entry]]  # as the jump left them, by frame
    versions: dict[ArrayRef, Value]


class Trying(NumberErrors):
    """The part of the reader that knows exceptions."""

    stack: list[tuple[Any, Frame]]
    contexts: list[Context]
    guards: list[Guard]
    sites: list[Site]
    handling: list[Caught]
    sent: list[int]  # of all that was raised and is caught, the number of the context that catches it
    assign: Callable[[ast.expr, Entry], None]

    # What is caught.

    def handled(self, *kinds: type[BaseException]) -> bool:
        """Whether a handler around here catches any of some exceptions."""
        return any(issubclass(k, c.kinds) for k in kinds for c in self.contexts if not c.final)

    def caught(self, kind: type[BaseException]) -> bool:
        """Whether an exception goes to a handler or through a `finally`."""
        return any(issubclass(kind, context.kinds) for context in self.contexts)

    def code_of(self, site: Site) -> Value:
        """The code of what is raised, noted where it will be caught."""
        if site not in self.sites:
            self.sites.append(site)
        code = self.sites.index(site) + 1
        self.send(code)
        return literal(code)

    def send(self, code: int) -> None:
        """Notes a code where it will be caught."""
        kind = self.sites[code - 1].kind
        for depth, context in reversed(list(enumerate(self.contexts))):
            if issubclass(kind, context.kinds):
                context.codes += [] if code in context.codes else [code]
                self.sent.append(depth)
                return
            context.passing = True

    # Jumps and regions.

    @contextmanager
    def region(self) -> Iterator[None]:
        """A block to whose end jumps go."""
        outer, self.guards = self.guards, []
        try:
            with suppress(Jump):
                yield
            self.close()
        finally:
            for guard in reversed(self.guards):  # only after an error
                self.w.known.pop()
                self.w.block = guard.parent
            self.guards = outer

    def open(self, cond: Value, blocks: tuple[Block, Block], first: bool, names: Any, versions: Any) -> None:
        """Reads on in one branch of an `if`, whose other one has jumped."""
        self.guards.append(Guard(cond, *blocks, first, self.w.block, names, versions))
        self.w.block = blocks[1] if first else blocks[0]
        self.w.known.append({})

    def close(self) -> None:
        """Merges what the branches that have jumped left with what the others left."""
        while self.guards:
            guard = self.guards.pop()
            self.w.known.pop()
            self.w.block = guard.parent
            going = (self.frame.names, self.versions, self.dead)
            jumped = (guard.names[id(self.frame)], guard.versions, False)
            sides = [jumped, going] if guard.first else [going, jumped]
            self.join({}, dict(guard.versions), guard.cond, guard.then, guard.orelse, sides)

    def present(self) -> dict[int, dict[str, Entry]]:
        """What the names of all functions being read hold."""
        return {id(frame): dict(frame.names) for frame in (self.frame, *(frame for _, frame in self.stack))}

    def guard(self, failed: Value, code: Value) -> None:
        """Jumps with a code if something has failed, and reads on where it hasn't."""
        self.open(failed, (Block(), Block()), True, self.present(), {**self.versions, CODE: code})
        self.versions[CODE] = CLEAR

    def passed(self) -> None:
        """Behind a statement: what follows is for where nothing was raised."""
        code = self.versions[CODE]
        if code is CLEAR or self.dead:
            return
        if code.const is not None:
            raise Jump
        self.guard(self.w.op("ne", code, CLEAR), code)
        if len(self.guards) > DEEP:  # Python allows for a hundred levels
            self.close()
            self.guard(self.w.op("ne", self.versions[CODE], CLEAR), self.versions[CODE])

    def check(self, ok: Value, error: str, message: str) -> None:
        """Raises at run time unless `ok`."""
        if not (ok.const is not None and ok.const) and not any((id(ok), ok) in known for known in self.w.known):
            self.fail(self.w.op("not", ok), getattr(builtins, error), message)
            self.w.known[-1][id(ok), ok] = ok

    def fail(self, bad: Value, kind: type[BaseException], message: str) -> None:
        """Raises at run time if `bad`."""
        if self.caught(kind):
            code = self.code_of(Site(kind, message))
            if bad.const is None:
                self.guard(bad, code)
            elif bad.const:
                self.versions[CODE] = code
                raise Jump
            return
        then = Block()
        with self.w.inside(then):
            self.w.effect("raise", attrs=(kind.__name__, message), place=self.place())
        self.w.choose(bad, then, Block(), [])

    # Statements.

    def exec_Raise(self, node: ast.Raise) -> None:
        """A raise: nothing behind it runs but what catches it."""
        error = Static(RuntimeError) if node.exc is None else self.eval(node.exc)
        if node.exc is None and self.handling:
            error = self.handling[-1]
        if isinstance(error, Caught):
            self.raise_again(error)
            return
        if isinstance(error, Static) and isinstance(error.value, type) and issubclass(error.value, BaseException):
            error = Raised(error.value, "")
        if not isinstance(error, Raised):
            raise self.refuse(f"a raise of {self.describe(error)}", "raise an exception")
        if self.caught(error.kind):
            self.versions[CODE] = self.code_of(Site(error.kind, error.text))
            raise Jump
        self.raised(Site(error.kind, error.text))
        self.dead = True

    def raised(self, site: Site) -> None:
        """A raise that leaves the program."""
        name = site.kind.__name__
        if getattr(builtins, name, None) is not site.kind:
            raise self.refuse(f"a {name} that nothing here catches", "raise a built-in exception")
        self.w.effect("raise", attrs=(name, site.text), place=self.place())

    def raise_again(self, error: Caught) -> None:
        """Raises what was caught."""
        free = [code for code in error.codes if not self.caught(self.sites[code - 1].kind)]
        held = [code for code in error.codes if code not in free]
        for code in held:
            self.send(code)
        for n, code in enumerate(free):
            if not held and n == len(free) - 1:
                self.raised(self.sites[code - 1])
                self.dead = True
                return
            then = Block()
            with self.w.inside(then):
                self.raised(self.sites[code - 1])
            self.w.choose(self.w.op("eq", error.code, literal(code)), then, Block(), [])
        self.versions[CODE] = error.code
        raise Jump

    def exec_Try(self, node: ast.Try) -> None:
        """A `try`."""
        handlers = [(self.kinds(handler), handler.name, handler.body) for handler in node.handlers]
        attempt = partial(self.attempt, node.body, handlers, node.orelse)
        if node.finalbody:
            self.finish(attempt, node.finalbody)
        else:
            attempt()

    def kinds(self, handler: ast.ExceptHandler) -> Kinds:
        """The classes that a handler catches."""
        self.node = handler
        found = Static(BaseException) if handler.type is None else self.eval(handler.type)
        return tuple(map(self.kind, found if isinstance(found, tuple) else (found,)))

    def kind(self, entry: Entry) -> type[BaseException]:
        """A class of exceptions."""
        if (
            isinstance(entry, Static)
            and isinstance(entry.value, type)
            and issubclass(kind := entry.value, BaseException)
        ):
            return kind
        raise self.refuse(f"{self.describe(entry)} in an except", "name classes of exceptions")

    def attempt(
        self, body: list[ast.stmt], handlers: list[tuple[Kinds, str | None, list[ast.stmt]]], orelse: list[ast.stmt]
    ) -> None:
        """A `try` without `finally`."""
        context = Context(tuple(kind for kinds, _, _ in handlers for kind in kinds))
        self.contexts.append(context)
        try:
            with self.region():
                self.execute(body)
                self.contexts.remove(context)
                before = len(self.sent)
                self.execute(orelse)
                context.passing |= any(depth < len(self.contexts) for depth in self.sent[before:])
        finally:
            if context in self.contexts:
                self.contexts.remove(context)
        if not self.dead:
            self.handle(self.versions[CODE], list(context.codes), context.passing, handlers)

    def handle(self, code: Value, codes: list[int], passing: bool, handlers: list[Any]) -> None:
        """Chooses a handler by the code, if one of these was raised; other codes (`passing`) stay."""
        if not codes:
            self.versions[CODE] = code if passing else CLEAR
            return
        (kinds, name, body), *others = handlers
        mine = [k for k in codes if issubclass(self.sites[k - 1].kind, kinds)]
        others_codes = [k for k in codes if k not in mine]
        rest = partial(self.handle, code, others_codes, passing, others)
        cond = literal(False) if others_codes or passing else self.w.op("ne", code, CLEAR)
        for k in mine if others_codes or passing else ():
            cond = self.w.op("or", cond, self.w.op("eq", code, literal(k)))
        self.either(cond, partial(self.handler, Caught(code, tuple(mine)), name, body), rest)

    def handler(self, error: Caught, name: str | None, body: list[ast.stmt]) -> None:
        """What is done about an exception."""
        self.versions[CODE] = CLEAR
        self.handling.append(error)
        if name is not None:
            self.frame.names[name] = error
        try:
            self.execute(body)
        finally:
            self.handling.pop()
            if name is not None:
                self.frame.names[name] = UNBOUND

    def finish(self, act: Callable[[], None], finalbody: list[ast.stmt]) -> None:
        """A `finally`: it runs whatever was raised, which is then raised again."""
        context = Context((BaseException,), final=True)
        self.contexts.append(context)
        try:
            with self.region():
                act()
        finally:
            self.contexts.pop()
        code = self.versions[CODE]
        self.versions[CODE] = CLEAR
        self.execute(finalbody)
        if code is not CLEAR and not self.dead:
            again = partial(self.raise_again, Caught(code, tuple(context.codes)))
            self.either(self.w.op("ne", code, CLEAR), again, lambda: None)

    def exec_With(self, node: ast.With) -> None:
        """A `with`, of a manager that does nothing or suppresses exceptions."""
        (item,) = node.items
        manager = self.eval(item.context_expr)
        if not isinstance(manager, Manager):
            raise self.refuse(
                f"a with over {self.describe(manager)}",
                "the native route knows contextlib.nullcontext and suppress, and np.errstate; write try and finally",
            )
        if item.optional_vars is not None:
            self.assign(item.optional_vars, manager.entry)
        if manager.suppressed:
            self.attempt(node.body, [(manager.suppressed, None, [])], [])
        else:
            self.execute(node.body)


DEEP = 40
