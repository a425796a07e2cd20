"""How stores into arrays are read."""

from typing import Any

from ._arrays import Bound
from ._calls import Calling
from ._entries import ArrayRef, Closure, Maybe, Static, View
from ._ir import Array, Op, Scalar, Value
from ._writer import Path, literal, rank, same_type

__all__ = ["Storing"]

Entry = Any


class Storing(Calling):
    """The part of the reader that knows stores."""

    def store(
        self, entry: ArrayRef | View, path: Path, args: tuple[Value, ...], value: Value, name: str = "store"
    ) -> None:
        """`entry[path] = value`; for `accum`, `entry[path] += value`; `put` and `scatter` store at places of it."""
        base, steps, values = (entry, (), ()) if isinstance(entry, ArrayRef) else (entry.base, entry.path, entry.args)
        if any(base.may_be(other) for other in self.held() if other is not base):
            raise self.refuse(
                "a store into an array that may or may not be another one, depending on how the program went",
                "store into a copy (`u = u.copy()`)",
            )
        if any(ref in self.firsts for ref in base.family):
            raise self.refuse("a store into a captured array", "pass the array as an argument, or store into a copy")
        if any(ref in self.given for ref in base.entangled) and any(ref.loose for ref in base.family):
            raise self.refuse(
                "a store into what may be an argument that was reshaped (NumPy may have copied it or not), or one that "
                "a function which calls itself has returned",
                "reshape a copy (`a.copy().reshape(...)`), or store into the argument itself",
            )
        old = self.version(base)
        assert isinstance(old.type, Array)
        if isinstance(value.type, Array) and value.type.dtype.kind == "f" and old.type.dtype.kind != "f":
            raise self.refuse("a store of floats into an array of integers", "make the array one of floats")
        if isinstance(value.type, Scalar):
            value = self.w.cast(value, old.type.dtype)
        value = self.unshared(base, steps + path, value)
        if value.is_array and self.caught(ValueError) and name in ("store", "accum"):
            self.fits(self.at(entry, path, args), value)
        out = Value(old.type, old.name)
        self.w.add(Op(name, (old, value, *values, *args), out, steps + path, self.place()))
        self.w.measure("store", (old,), out)
        self.versions[base] = out

    def fits(self, part: Entry, value: Value) -> None:
        """Raises for an array that can't be stored into a part, where that is caught."""
        into = self.as_value(part)
        for k in range(1, rank(value) + 1):
            n, m = self.w.shape(value, rank(value) - k), self.w.shape(into, rank(into) - k)
            ok = self.w.op("or", self.w.op("eq", n, m), self.w.op("eq", n, literal(1)))
            self.check(ok, "ValueError", f"{self.place()}: shapes that don't fit")

    def put(self, base: ArrayRef | View, path: Path, args: tuple[Value, ...], value: Value) -> None:
        """`base[path] = value`; where the value is what stands there and something more, `+=`."""
        made = next((op for op in reversed(self.w.block.items) if isinstance(op, Op) and op.out is value), None)
        if made is not None and made.name == "add" and not value.is_array:
            there = self.at(base, path, args)
            old, more = made.args
            if old is there and same_type(value.type, old.type):
                self.store(base, path, args, more, "accum")
                return
        self.store(base, path, args, value)

    def unshared(self, base: ArrayRef, path: Path, value: Value) -> Value:
        """What is to be stored: a copy of an array that may overlap with where it goes, other than element by element.

        That is one that was just taken out of another one, all of it into a part, or an argument into another one.
        """
        if not value.is_array:
            return value
        taken = any(isinstance(op, Op) and op.out is value and op.name == "load" for op in self.w.block.items)
        if value is self.version(base):
            taken = path != (("s000",) * rank(value),)
        elif base in self.given:
            taken = taken or any(value is self.version(ref) for ref in self.given)
        return self.w.emit("copy", value.type, value) if taken else value

    def held(self) -> set[ArrayRef]:
        """The arrays that any name reaches which may be read again."""
        found: set[ArrayRef] = set()
        closures: set[int] = set()

        def reach(entry: Entry) -> None:
            if isinstance(entry, tuple):
                for part in entry:
                    reach(part)
            elif isinstance(entry, Maybe):
                reach(entry.entry)
            elif isinstance(entry, ArrayRef | View):
                found.add(entry if isinstance(entry, ArrayRef) else entry.base)
            elif isinstance(entry, Static) and isinstance(entry.value, Bound):
                reach(entry.value.entry)
            elif isinstance(entry, Closure) and id(entry.env) not in closures:
                closures.add(id(entry.env))
                for kept in entry.env.names.values():
                    reach(kept)
            if isinstance(entry, Closure):
                for kept in entry.kept:
                    reach(kept)

        for frame in (self.frame, *(frame for _, frame in self.stack)):
            for entry in frame.alive():
                reach(entry)
        return found
