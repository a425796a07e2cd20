"""How calls of functions that call themselves are read: as calls of programs of their own.

A program is made for every set of kinds that such a function is called with. What it returns is found by reading it
again and again: a call of what is being read is unknown at first, and the branches with such calls are left out.

Inside of a `try` that catches something, an exception that leaves the function comes back beside what it returns, as
the code of what was raised (see `_tries`): the caller jumps to its handler, or hands it on, or raises it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ._analysis import stores_into
from ._entries import ArrayRef, Caught, Maybe, Static, View
from ._frame import Callee, Frame, Reads, Unknown
from ._given import Given
from ._ir import F64, INT, WEAK, Call, Program, Scalar, Type, Value
from ._loops import Looping
from ._merge import CODE
from ._number_errors import NUMBER_ERRORS
from ._rewrite import fill
from ._writer import rank

__all__ = ["Recursing"]

Entry = Any


class Recursing(Looping):
    """The part of the reader that knows functions that call themselves."""

    callees: dict[Any, Callee]
    reads: Reads
    stack: list[tuple[Any, Frame]]
    constant_array: Callable[[np.ndarray], Entry]
    flatten: Callable[..., Any]
    fresh: Callable[[], Any]
    run: Callable[[Any, Frame], Entry]
    store: Callable[..., None]

    def being_read(self, code: Any) -> bool:
        """Whether a function is being read, here or as a program."""
        return any(g is code for g, _ in self.stack) or any(c.code is code and c.round for c in self.callees.values())

    def call_itself(self, code: Any, function: Any, frame: Frame) -> Entry:
        """A call of a function that is being read, with its arguments in a frame: of a program of its own."""
        given = Given(self, frame)
        tried = tuple(k for k in NUMBER_ERRORS if self.handled(k)) if self.contexts else None
        key = (function, given.kinds, tried)
        if key not in self.callees:
            if sum(c.code is code and c.round > 0 for c in self.callees.values()) > MANY:
                raise self.refuse(
                    f"{given.name}, which calls itself with arguments of ever other kinds", "give it the same kinds"
                )
            self.callees[key] = Callee(given.name, code, tried)
            try:
                self.read_callee(self.callees[key], frame, given)
            except Unknown:
                del self.callees[key]
                raise
        return self.called(self.callees[key], given)

    def called(self, callee: Callee, given: Given) -> Entry:
        """What a call of a program gives, stores and raises."""
        if callee.form is None:
            if callee.codes:  # that much is known
                self.hand_on(Caught(Value(INT, "raised"), callee.codes), callee.sure)
            raise Unknown
        outs = [Value(t, "t") for t in callee.results]
        types = [p.type for p in callee.program.params] or [v.type for v in given.values]
        args = [self.w.cast(v, t) if isinstance(t, Scalar) else v for v, t in zip(given.values, types, strict=False)]
        refs = [self.constant_array(x) for x in callee.constants]
        self.w.add(Call(callee.program, [*args, *map(self.version, refs)], outs, self.place()))
        following = iter(outs)
        found = self.returned(callee, [next(following) for _ in callee.shares], [*given.held, *refs])
        for k in sorted(callee.stored):
            self.store_back(given.held, k, next(following), given.name)
        if callee.codes:
            code = next(following)
            code.name = "raised"
            self.hand_on(Caught(code, callee.codes), callee.sure)
        return found

    def returned(self, callee: Callee, values: list[Value], holders: list[Entry]) -> Entry:
        """Results as names hold them: arguments themselves, or copies, which may be of arguments or of each other."""
        made = [self.entry(v) if k is None else holders[k] for v, k in zip(values, callee.same, strict=True)]
        for entry, shares, same in zip(made, callee.shares, callee.same, strict=True):
            if shares and same is None:
                others = [holders[k] if k < len(holders) else made[k - len(holders)] for k in sorted(shares)]
                entry.entangled, entry.loose = tuple({ref for x in map(_base, others) for ref in x.family}), True
        return self.unflatten(callee.form, iter(made))

    def store_back(self, args: list[Entry], k: int, value: Value, name: str) -> None:
        """What a function that calls itself leaves in an array argument: it has worked on a copy."""
        bases = list(map(_base, args))
        if any(n != k and isinstance(x, ArrayRef) and x.may_be(bases[k]) for n, x in enumerate(bases)):
            raise self.refuse(
                f"a store into an argument of {name}, which calls itself and is given that array twice", "pass a copy"
            )
        self.store(args[k], (("s000",) * rank(value),), (), value)

    def unflatten(self, form: Any, entries: Iterator[Entry]) -> Entry:
        """A result of a known form, from its numbers and arrays."""
        if isinstance(form, tuple):
            return type(form)(self.unflatten(part, entries) for part in form)
        return form if isinstance(form, Static) else next(entries)

    def read_callee(self, callee: Callee, frame: Frame, given: Given) -> None:
        """Reads a function that calls itself, until it is known what it returns."""
        before = set(self.callees)
        for callee.round in range(1, ROUNDS):
            for key in self.callees.keys() - before:  # those that were read when less was known of this one
                del self.callees[key]
            known = callee.known
            try:
                self.fresh().read_as(callee, frame, given)
            except Unknown:
                if any(c.round and c.form is None for c in self.callees.values() if c is not callee):
                    raise  # another one has to be known first
                if callee.known != known or (callee.codes and not callee.sure):
                    callee.sure = callee.known == known
                    continue
                raise self.refuse(f"{given.name} calls itself without end", "give it a case that returns") from None
            if callee.known == known:
                callee.round = 0
                return
            if known[0] is None and not callee.sure:
                callee.codes = ()  # found again, without those of paths that were not known
        raise self.refuse(f"{given.name} returns ever other types", "return one type")

    def read_as(self, callee: Callee, frame: Frame, given: Given) -> None:
        """Reads a function as a program, and notes what is known of it then."""
        params: list[Value] = []
        self.frame, self.node = Frame(None, None, None, frame.file, self.reads), frame.definition
        inner = given.entered(self, params)
        refs = self.work_on_copies(params, callee.stored)
        self.contexts += callee.contexts()
        outermost = list(self.contexts)
        try:
            callee.form, found = self.result(partial(self.run, callee.code, inner), callee.sure)
            callee.sure = callee.sure and "result" not in self.frame.names
        finally:
            callee.codes = tuple(sorted({*callee.codes, *(code for c in outermost for code in c.codes)}))
        block, constants = self.w.block, [ref for ref, _ in self.constants]
        stored = callee.stored | {k for k, (ref, first) in refs.items() if self.versions[ref] is not first}
        if stored == callee.stored and stores_into(block, params):
            raise self.refuse(
                f"a store into what may be an argument of {given.name}, which calls itself",
                "store into a copy, and return it",
            )
        block.results = [self.own(self.as_value(x)) for x in found]
        block.results += [self.versions[refs[k][0]] for k in sorted(stored)]
        block.results += [self.versions[CODE]] if callee.codes else []
        callee.results = [self.own_type(r.type) for r in block.results]
        callee.stored, callee.constants = stored, [x for _, x in self.constants]
        holders = [*(refs[k][0] if k in refs else None for k in range(len(params))), *constants]
        callee.shares = [_shares(n, found, holders) for n in range(len(found))]
        callee.same = [holders.index(x) if isinstance(x, ArrayRef) and x in holders else None for x in found]
        params += [self.firsts[ref] for ref in constants]
        place = f"{frame.file}:{frame.definition.lineno}"
        fill(callee.program, Program(callee.program.name, params, block, place, self.w.sizes))

    def result(self, act: Callable[[], Entry], sure: bool) -> tuple[Any, list[Entry]]:
        """The form of what a function returns, and the numbers and arrays in it: blanks where it raises.

        It may be `sure` to raise.
        """
        found: list[Entry] = []
        with self.region():
            form = self.flatten(act(), found)
            self.frame.names["result"] = tuple(found)
        if "result" not in self.frame.names:
            if sure and self.jumped:
                return Static(None), []
            raise Unknown
        entry = self.frame.names["result"]
        return form, list(entry.entry if isinstance(entry, Maybe) else entry)

    def own_type(self, type: Type) -> Type:
        """The type of a number that is given to a program or comes from it.

        Python's own numbers become those of arrays, so that one program serves for both, but not in a `try`: there
        divisions by zero of the ones and the others aren't the same.
        """
        return F64 if type == WEAK and not self.contexts else type

    def work_on_copies(self, params: list[Value], stored: set[int]) -> dict[int, tuple[ArrayRef, Value]]:
        """Makes copies of the array parameters that are stored into; all arrays, and what they hold at first."""
        refs = {params.index(self.versions[ref]): ref for ref in self.given}
        for k in stored:
            self.versions[refs[k]] = self.w.emit("copy", params[k].type, params[k], pure=False)
        return {k: (ref, self.versions[ref]) for k, ref in refs.items()}

    def own(self, value: Value) -> Value:
        """A result that is nobody else's."""
        if not value.is_array:
            return value
        return self.w.emit("copy", value.type, value, pure=False)


def _base(entry: Entry) -> Entry:
    """The array that an entry is a part of."""
    return entry.base if isinstance(entry, View) else entry


def _shares(n: int, found: list[Entry], holders: list[ArrayRef | None]) -> set[int]:
    """What a result may share memory with: the numbers of arguments, and behind them those of other results."""
    base = _base(found[n])
    if not isinstance(base, ArrayRef):
        return set()
    arguments = {k for k, ref in enumerate(holders) if ref is not None and ref.may_be(base)}
    others = {k for k, x in enumerate(map(_base, found)) if k != n and isinstance(x, ArrayRef) and x.may_be(base)}
    return arguments | {len(holders) + k for k in others}


ROUNDS = 12
MANY = 8
"""Kinds of arguments with which one function may be in the course of being read."""
