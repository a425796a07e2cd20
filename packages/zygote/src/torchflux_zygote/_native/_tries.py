"""How `try` is read: a raise that is caught here is a jump, of which a code says what was raised.

What can be raised is known when a function is read: `raise`, and the checks of indices, divisors, shapes and domains.
Where one is caught, what follows it stands in the other branch of an `if`, up to the end of the block in which it is
(a region). There both branches are merged, with the code among what they leave: 0 where nothing was raised. Behind
the `try` the handlers are branches on the code. So names and arrays are in each handler as the raise left them, and
derivatives know of nothing but branches.
"""

import ast
import builtins
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ._entries import UNBOUND, Caught, Manager, Raised, Static
from ._frame import Context, Kinds
from ._ir import Block, Value
from ._merge import CLEAR, CODE, Jump
from ._regions import Regions
from ._writer import literal

__all__ = ["Trying"]

Entry = Any


@dataclass(frozen=True)
class Site:
    """What is raised somewhere: its class and what it says."""

    kind: type[BaseException]
    text: str


class Trying(Regions):
    """The part of the reader that knows exceptions."""

    contexts: list[Context]
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

    # Checks.

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
        held = self.send_all(error.codes)
        free = [code for code in error.codes if code not in held]
        self.raise_if(error.code, free if held else free[:-1])
        if held:
            self.versions[CODE] = error.code
            raise Jump
        self.raised(self.sites[free[-1] - 1])
        self.dead = True

    def hand_on(self, error: Caught, sure: bool) -> None:
        """Raises here what was raised elsewhere, if anything was, or it is `sure`."""
        if sure:
            self.raise_again(error)
        if sure or error.code is CLEAR:
            return
        held = self.send_all(error.codes)
        self.raise_if(error.code, [code for code in error.codes if code not in held])
        if held:
            self.jump_if_raised(error.code)

    def send_all(self, codes: tuple[int, ...]) -> list[int]:
        """Notes the codes that will be caught, and returns them."""
        held = [code for code in codes if self.caught(self.sites[code - 1].kind)]
        for code in held:
            self.send(code)
        return held

    def raise_if(self, code: Value, codes: list[int]) -> None:
        """Raises what has one of some codes, out of the program."""
        for k in codes:
            then = Block()
            with self.w.inside(then):
                self.raised(self.sites[k - 1])
            self.w.choose(self.w.op("eq", code, literal(k)), then, Block(), [])

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
            self.handle(self.versions[CODE], list(context.codes), context.passing, handlers, self.jumped)

    def handle(self, code: Value, codes: list[int], passing: bool, handlers: list[Any], sure: bool) -> None:
        """Chooses a handler by the code, if one of these was raised; other codes (`passing`) stay.

        Where it is `sure` that something was raised, nothing but handlers leads on.
        """
        if not codes:
            self.versions[CODE] = code if passing else CLEAR
            if sure:
                raise Jump
            if not passing:
                self.there(self.tied.get(code, set()))
            return
        (kinds, name, body), *others = handlers
        mine = [k for k in codes if issubclass(self.sites[k - 1].kind, kinds)]
        others_codes = [k for k in codes if k not in mine]
        rest = partial(self.handle, code, others_codes, passing, others, sure)
        cond = literal(sure and not others_codes and not passing)
        if not (others_codes or passing or sure):
            cond = self.w.op("ne", code, CLEAR)
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
        code, sure = self.versions[CODE], self.jumped
        self.versions[CODE] = CLEAR
        self.execute(finalbody)
        if not self.dead:
            self.hand_on(Caught(code, tuple(context.codes)), sure)

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
