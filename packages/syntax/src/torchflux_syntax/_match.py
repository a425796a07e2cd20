"""`match` becomes `if` statements, for the patterns that say what they test."""

import ast
from collections.abc import Callable, Sequence
from typing import Any

from ._comprehensions import Comprehensions
from ._statements import targets

__all__ = ["Matches"]

Captures = dict[str, ast.expr]
Then = Callable[[], None]

_THEMSELVES = (bool, bytearray, bytes, dict, float, frozenset, int, list, set, str, tuple)
"""The classes whose pattern `int(x)` captures the object itself."""


class Matches(Comprehensions):
    """A pattern becomes nested tests; the names that it captures are bound inside of them, when all of it matches."""

    def do_Match(self, node: ast.Match) -> None:
        subject = self.atom(node.subject)
        bound = {
            n.name for case in node.cases for n in ast.walk(case.pattern) if isinstance(n, ast.MatchAs | ast.MatchStar)
        }
        guards = [case.guard for case in node.cases]
        if isinstance(subject, ast.Name) and (subject.id in bound or self.may_change(subject.id, guards)):
            subject = self.named(subject, node)
        self._cases(subject, node.cases)

    def _cases(self, subject: ast.expr, cases: Sequence[ast.match_case]) -> None:
        """The first case, and in the `else` of its `if` the others."""
        if not cases:
            return
        case, captures = cases[0], Captures()
        if isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None and case.guard is None:
            if case.pattern.name:
                self.emit("$name = $subject", case.pattern, name=case.pattern.name, subject=subject)
            self.block += self.statements(case.body)
            return
        matched = self._tested(case.pattern, subject, captures, lambda matched: self._guarded(matched, case, captures))
        body = self.statements(case.body)
        with self.inner() as others:
            self._cases(subject, cases[1:])
        self.emit("if $test: $body", case.pattern, test=matched, body=body)
        self.block[-1].orelse = others  # type: ignore[attr-defined]

    def _tested(self, pattern: ast.pattern, subject: ast.expr, captures: Captures, then: Callable[[str], None]) -> str:
        """The name of a flag that is false unless the pattern matches; then `then` decides."""
        flag = self.fresh("matched")
        self.emit("$flag = False", pattern, flag=flag)
        self._pattern(pattern, subject, captures, lambda: then(flag))
        return flag

    def _guarded(self, flag: str, case: ast.match_case, captures: Captures) -> None:
        """Inside of all tests: the captures are bound, and the guard decides."""
        for name, value in captures.items():
            self.emit("$name = $value", case.pattern, name=name, value=value)
        self.emit("$flag = $test", case.pattern, flag=flag, test=self.test(case.guard) if case.guard else True)

    def _if(self, then: Then, template: str, at: ast.AST, **values: Any) -> None:
        """`then` where a test holds."""
        test = self.fresh()
        self.emit(f"$test = {template}", at, test=test, **values)
        with self.inner() as block:
            then()
        self.emit("if $test: $block", at, test=test, block=block)

    def _isinstance(self, then: Then, subject: ast.expr, kind: ast.expr, at: ast.AST) -> None:
        function = self.builtin("isinstance", at)
        self._if(then, "$function($subject, $kind)", at, function=function, subject=subject, kind=kind)

    def _pattern(self, pattern: ast.pattern, subject: ast.expr, captures: Captures, then: Then) -> None:
        """The tests of a pattern, with `then` inside of them."""
        match pattern:
            case ast.MatchValue(value=value):
                self._if(then, "$subject == $value", pattern, subject=subject, value=self.atom(value))
            case ast.MatchSingleton(value=value):
                self._if(then, "$subject is $value", pattern, subject=subject, value=value)
            case ast.MatchAs(pattern=None, name=name):
                captures |= {name: subject} if name else {}
                then()
            case ast.MatchAs(pattern=ast.pattern() as inner, name=str(name)):
                captures |= {name: subject}
                self._pattern(inner, subject, captures, then)
            case ast.MatchOr(patterns=choices) if not any(map(_captures, choices)):
                self._either(choices, subject, then)
            case ast.MatchClass(patterns=[], kwd_attrs=[]):
                self._isinstance(then, subject, self.atom(pattern.cls), pattern)
            case ast.MatchClass(patterns=[inner], kwd_attrs=[]) if self._holds_itself(pattern.cls):
                inside = lambda: self._pattern(inner, subject, captures, then)
                self._isinstance(inside, subject, self.atom(pattern.cls), pattern)
            case ast.MatchSequence():
                self._sequence(pattern, subject, captures, then)
            case _:
                raise self.refuse(pattern, "this pattern", "write `if` statements with isinstance and comparisons")

    def _holds_itself(self, kind: ast.expr) -> bool:
        found = self.static(kind)
        return any(found is builtin for builtin in _THEMSELVES)

    def _either(self, choices: Sequence[ast.pattern], subject: ast.expr, then: Then) -> None:
        """The first alternative, or else the others."""
        first, *others = choices
        flag = self._tested(first, subject, {}, lambda flag: self.emit("$flag = True", first, flag=flag))
        for choice in others:
            with self.inner() as block:
                self._pattern(choice, subject, {}, lambda: self.emit("$flag = True", first, flag=flag))
            self.emit("if $flag: pass\nelse: $block", choice, flag=flag, block=block)
        with self.inner() as block:
            then()
        self.emit("if $flag: $block", first, flag=flag, block=block)

    def _sequence(self, node: ast.MatchSequence, subject: ast.expr, captures: Captures, then: Then) -> None:
        """A sequence that isn't text, of the right length, is unpacked; its parts are matched one by one."""
        stars = [isinstance(pattern, ast.MatchStar) for pattern in node.patterns]

        def unpacked() -> None:
            parts = [self.fresh() for _ in stars]
            self.emit(f"{targets(parts, stars)} = $subject", node, subject=subject)
            self._parts(node.patterns, parts, captures, then)

        def sized() -> None:
            size = self.named(ast.Call(self.builtin("len", node), [subject], []), node)
            least = len(stars) - sum(stars)
            self._if(unpacked, "$size >= $least" if any(stars) else "$size == $least", node, size=size, least=least)

        sequence, text = self.fresh("Sequence"), self.fresh()
        self.emit(f"from collections.abc import Sequence as {sequence}", node)
        kinds = [self.builtin(name, node) for name in ("str", "bytes", "bytearray")]
        self.emit("$text = ($kinds,)", node, text=text, kinds=kinds)
        untyped = lambda: self._unless(sized, subject, self.name(text, node), node)
        self._isinstance(untyped, subject, self.name(sequence, node), node)

    def _unless(self, then: Then, subject: ast.expr, kind: ast.expr, at: ast.AST) -> None:
        test = self.named(ast.Call(self.builtin("isinstance", at), [subject, kind], []), at)
        with self.inner() as block:
            then()
        self.emit("if $test: pass\nelse: $block", at, test=test, block=block)

    def _parts(self, patterns: Sequence[ast.pattern], parts: Sequence[str], captures: Captures, then: Then) -> None:
        if not patterns:
            then()
        elif isinstance(patterns[0], ast.MatchStar):
            captures |= {patterns[0].name: self.name(parts[0], patterns[0])} if patterns[0].name else {}
            self._parts(patterns[1:], parts[1:], captures, then)
        else:
            rest = lambda: self._parts(patterns[1:], parts[1:], captures, then)
            self._pattern(patterns[0], self.name(parts[0], patterns[0]), captures, rest)


def _captures(pattern: ast.pattern) -> bool:
    return any(
        getattr(node, "name", None) for node in ast.walk(pattern) if isinstance(node, ast.MatchAs | ast.MatchStar)
    )
