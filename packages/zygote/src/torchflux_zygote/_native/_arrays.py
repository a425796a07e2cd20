"""How arrays and numbers are read: operators, indices, attributes, iteration."""

import ast
import operator
from collections.abc import Callable
from typing import Any

from ._entries import ArrayRef, Listed, Message, Range, Static, View, Zipped
from ._ir import BOOL, INT, Array, Scalar, Value
from ._writer import Path, Writer, literal, rank

__all__ = ["ArrayReader", "Bound", "part_type"]

Entry = Any

OPERATORS = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "pow", ast.Mod: "mod",
    ast.FloorDiv: "floordiv",
    ast.BitAnd: "bitand", ast.BitOr: "bitor", ast.BitXor: "bitxor", ast.LShift: "lshift", ast.RShift: "rshift",
}  # fmt: skip
EXACT: dict[str, Callable[..., int]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "neg": operator.neg, "pow": operator.pow,
    "lshift": operator.lshift,
}  # fmt: skip
"""What may give a larger integer than it is given."""


def part_type(type: Any, path: Path) -> Any:
    """The type of a part of an array."""
    ndim = type.ndim
    for step in path:
        ndim = int(step[1]) if step[0] == "reshape" else ndim + step.count("n") - step.count("i")
    return Array(type.dtype, ndim) if ndim else type.dtype


class ArrayReader:
    """The part of the reader that knows arrays."""

    w: Writer
    refuse: Callable[..., TypeError]
    describe: Callable[[Entry], str]
    place: Callable[..., str]
    settle: Callable[[Entry], Entry]
    eval: Callable[[ast.expr], Entry]
    atom: Callable[[ast.expr], Entry]
    check: Callable[[Value, str, str], None]
    caught: Callable[[type[BaseException]], bool]
    arithmetic: Callable[[str, list[Value]], None]
    bounds: bool
    versions: dict[ArrayRef, Value]
    constants: list[Any]
    firsts: dict[ArrayRef, Value]
    given: set[ArrayRef]

    def new_array(self, value: Value) -> ArrayRef:
        """A name's hold on a fresh array."""
        ref = ArrayRef()
        self.versions[ref] = value
        return ref

    def argument(self, value: Value) -> ArrayRef:
        """A name's hold on an array of the caller."""
        ref = self.new_array(value)
        self.given.add(ref)
        return ref

    def version(self, ref: ArrayRef) -> Value:
        """The present contents of an array that names hold; a captured one is what it was given."""
        return self.versions[ref] if ref in self.versions else self.firsts[ref]

    def array(self, entry: ArrayRef | View) -> Value:
        """The present contents."""
        if isinstance(entry, ArrayRef):
            return self.version(entry)
        base = self.version(entry.base)
        return self.w.emit(
            "load", part_type(base.type, entry.path), base, *entry.args, attrs=entry.path, hint=base.name
        )

    def as_value(self, entry: Entry) -> Value:
        """A number or an array as a value."""
        entry = self.settle(entry)
        if isinstance(entry, Value):
            return entry
        if isinstance(entry, ArrayRef | View):
            return self.array(entry)
        raise self.refuse(f"{self.describe(entry)} where a number or an array is due", "pass a number or an array")

    def entry(self, value: Value) -> Entry:
        """A computed value as names hold it: never an array that another name holds, which `a * 1` may come to."""
        if not isinstance(value.type, Array):
            return value
        if any(value is held for held in (*self.versions.values(), *self.firsts.values())):
            value = self.w.emit("copy", value.type, value)
        return self.new_array(value)

    def truth(self, entry: Entry) -> Value:
        """A condition."""
        entry = self.settle(entry)
        if isinstance(entry, tuple):
            return literal(bool(entry))
        if isinstance(entry, Static):
            return literal(bool(self.known_text(entry)))
        value = self.as_value(entry)
        if isinstance(value.type, Array):
            raise self.refuse("an array as a condition", "write (x > 0).all() or .any()")
        if value.type == BOOL:
            return value
        return self.w.op("ne", value, literal(0) if value.type.kind != "f" else literal(0.0))

    def known_text(self, entry: Static) -> Any:
        """What something of Python is, if all of it is known."""
        if isinstance(entry.value, Message):
            raise self.refuse("a text that is put together as the function runs", "use it for messages only")
        return entry.value

    def binary(self, kind: type[ast.operator], a: Entry, b: Entry) -> Entry:
        """A binary operator."""
        if kind is ast.MatMult:
            return self.matmul(a, b)
        if kind is ast.Add and isinstance(a, tuple) and isinstance(b, tuple):
            return a + b
        if kind is ast.Mult and isinstance(a, tuple) and isinstance(b, Value) and isinstance(b.const, int):
            return a * b.const
        if kind is ast.Mult and isinstance(b, tuple):
            return self.binary(kind, b, a)
        if isinstance(a, Static) and isinstance(a.value, str) and kind in (ast.Add, ast.Mod):
            if kind is ast.Add and isinstance(b, Static) and isinstance(b.value, str):
                known = not isinstance(a.value, Message) and not isinstance(b.value, Message)
                return Static(a.value + b.value if known else Message(a.value + b.value))
            return Static(Message(a.value))
        return self.elementwise(OPERATORS[kind], a, b)

    def elementwise(self, name: str, *entries: Entry) -> Entry:
        """An element-wise operation on numbers and arrays."""
        values = [self.as_value(entry) for entry in entries]
        if name in ("floordiv", "mod", "div") and not any(value.is_array for value in values):
            self.nonzero(values[1])
        self.arithmetic(name, values)
        if name in ("bitand", "bitor", "bitxor") and any(value.floats for value in values):
            raise self.refuse("a bit operation on floats", "use integers")
        if name in ("pow", "lshift", "rshift") and not any(value.floats for value in values):
            self.natural(name, values[1])
        truths = all(self.scalar_of(value) == BOOL for value in values)
        if name in ("sub", "neg") and truths and any(value.is_array for value in values):
            raise self.refuse("- of arrays of bools", "write ^ or ~, or make them int64")
        if all(type(value.const) is int for value in values):
            self.small(name, [value.const for value in values])
        if name in ("lshift", "rshift"):
            return self.entry(self.shifted(name, *values))
        return self.entry(self.w.op(name, *values, place=self.place()))

    def shifted(self, name: str, a: Value, b: Value) -> Value:
        """A shift, also by 64 bits and more, of which processors take the remainder."""
        if b.const is not None and b.const < 64:
            return self.w.op(name, a, b, place=self.place())
        found = self.w.op(name, a, self.w.op("min", b, literal(63)) if b.const is None else literal(63))
        return found if name == "rshift" else self.w.op("where", self.w.op("lt", b, literal(64)), found, literal(0))

    def small(self, name: str, numbers: list[int]) -> None:
        """Refuses arithmetic of known integers that needs more than 64 bits."""
        if name not in EXACT:
            return
        vast = name in ("pow", "lshift") and numbers[1] > 64 and abs(numbers[0]) > 1  # takes long to compute
        if vast or not -(2**63) <= EXACT[name](*numbers) < 2**63:
            raise self.refuse("an integer of more than 64 bits", "make one of the numbers a float, as 2.0**70")

    def nonzero(self, b: Value) -> None:
        """Checks an integer that is divided by."""
        if b.floats or (b.const is not None and b.const != 0):
            return
        self.check(self.w.op("ne", b, literal(0)), "ZeroDivisionError", f"{self.place()}: integer division by zero")

    def natural(self, name: str, b: Value) -> None:
        """Checks integers that are exponents, or say how far to shift."""
        what, advice = "an integer to a negative power", "make the base a float"
        if name != "pow":
            what, advice = "negative shift count", "shift the other way"
        if b.const is not None:
            if b.const < 0:
                raise self.refuse(what, advice)
            return
        holds = self.w.op("ge", b, literal(0))
        if b.is_array:
            holds = self.w.emit("all", BOOL, holds)
        self.check(holds, "ValueError", f"{self.place()}: {what}; {advice}")

    def matmul(self, a: Entry, b: Entry) -> Entry:
        """`a @ b`."""
        x, y = self.as_value(a), self.as_value(b)
        if not isinstance(x.type, Array) or not isinstance(y.type, Array) or max(x.type.ndim, y.type.ndim) > 2:
            raise self.refuse(f"{self.describe(a)} @ {self.describe(b)}", "@ takes arrays of one or two dimensions")
        if not x.floats or not y.floats:
            raise self.refuse("@ of integers", "make the arrays float")
        axis = self.w.shape(x, x.type.ndim - 1)
        same = self.w.op("eq", axis, self.w.shape(y, 0))
        self.check(same, "ValueError", f"{self.place()}: the shapes don't fit for @")
        ndim = x.type.ndim + y.type.ndim - 2
        dtype = x.type.dtype if x.type.dtype == y.type.dtype else None
        if dtype is None:
            raise self.refuse(f"{x.type} @ {y.type}", "give both one dtype")
        return self.entry(self.w.emit("matmul", Array(dtype, ndim) if ndim else dtype, x, y))

    # Indices.

    def index(self, node: ast.expr) -> list[Any]:
        """The parts of an index: slices as they are, the others as entries."""
        if isinstance(node, ast.Tuple):
            entries = [part if isinstance(part, ast.Slice) else self.atom(part) for part in node.elts]
        else:
            found = node if isinstance(node, ast.Slice) else self.atom(node)
            entries = list(found) if isinstance(found, tuple) and not isinstance(found, Listed) else [found]
        return [Listed(e) if isinstance(e, tuple) else e for e in entries]

    def path(self, entries: list[Any], entry: ArrayRef | View) -> tuple[Path, tuple[Value, ...]]:
        """An index without arrays as a path of one step, and the values in it."""
        entries = list(entries)
        ndim = rank(self.array(entry))
        given = sum(1 for e in entries if not self._marks(e))
        if given > ndim:
            raise self.refuse(f"{given} indices into an array of {ndim} dimensions", "check the index")
        if not any(isinstance(e, Static) and e.value is Ellipsis for e in entries):
            entries.append(Static(Ellipsis))
        codes, values = [], []
        axis = 0
        for e in entries:
            if isinstance(e, Static) and e.value is Ellipsis:
                codes += ["s000"] * (ndim - given)
                axis += ndim - given
            elif isinstance(e, Static) and e.value is None:
                codes.append("n")
            elif isinstance(e, ast.Slice):
                ends = [None if end is None else self.atom(end) for end in (e.lower, e.upper, e.step)]
                ends = [None if isinstance(end, Static) and end.value is None else end for end in ends]
                codes.append("s" + "".join("0" if end is None else "1" for end in ends))
                values += [self.integer(end) for end in ends if end is not None]
                axis += 1
            else:
                codes.append("i")
                values.append(self.checked(self.integer(e), entry, axis))
                axis += 1
        return (tuple(codes),), tuple(values)

    def _marks(self, e: Any) -> bool:
        return isinstance(e, Static) and (e.value is None or e.value is Ellipsis)

    def integer(self, entry: Entry) -> Value:
        """An index."""
        value = self.settle(entry)
        if not isinstance(value, Value) or value.floats or value.type == BOOL:
            raise self.refuse(
                f"{self.describe(value)} as an index", "index with integers, slices and arrays of integers or bools"
            )
        return value

    def checked(self, i: Value, entry: ArrayRef | View, axis: int) -> Value:
        """An index that is known to be within bounds."""
        if not self.bounds:
            return i
        n = self.w.shape(self.array(entry), axis)
        if i.const is not None and n.const is not None and -n.const <= i.const < n.const:
            return literal(i.const % n.const)
        if self.caught(IndexError):
            inside = self.w.op("and", self.w.op("ge", i, self.w.op("neg", n)), self.w.op("lt", i, n))
            self.check(inside, "IndexError", f"{self.place()}: index out of bounds")
            return i
        return self.w.emit("within", INT, i, n, place=f"{self.place()}: index out of bounds", hint=i.name)

    def part(self, entry: ArrayRef | View, node: ast.expr) -> Entry:
        """`entry[index]`: a number, a view, or a new array."""
        from ._gather import chosen, take_at

        entries = self.index(node)
        return take_at(self, entry, entries) if chosen(entries) else self.part_of(entry, entries)

    def part_of(self, entry: ArrayRef | View, entries: list[Any]) -> Entry:
        """`entry[index]` of an index without arrays: a number, or a view."""
        path, args = self.path(entries, entry)
        return self.at(entry, path, args)

    def at(self, entry: ArrayRef | View, path: Path, args: tuple[Value, ...]) -> Entry:
        """The part of an array at a path."""
        base, steps, values = (entry, (), ()) if isinstance(entry, ArrayRef) else (entry.base, entry.path, entry.args)
        view = View(base, steps + path, (*values, *args))
        type = part_type(self.version(base).type, view.path)
        return view if isinstance(type, Array) else self.array(view)

    def part_at(self, entry: ArrayRef | View, i: Value) -> Entry:
        """`entry[i]` for an index that is within bounds."""
        rest = ("s000",) * (rank(self.array(entry)) - 1)
        return self.at(entry, (("i", *rest),), (i,))

    def iterated(self, entry: Entry) -> tuple[Range, Callable[[Value], Entry]]:
        """What a `for` runs over: a range, and what an index into it stands for."""
        if isinstance(entry, Range):
            return entry, lambda i: i
        if isinstance(entry, ArrayRef | View):
            whole = Range(literal(0), self.w.shape(self.array(entry), 0), literal(1))
            return whole, lambda i: self.part_at(entry, i)
        if isinstance(entry, Zipped):
            return self._zipped(entry)
        raise self.refuse(
            f"a loop over {self.describe(entry)}", "loop over a range, an array, a tuple, zip or enumerate of them"
        )

    def _zipped(self, entry: Zipped) -> tuple[Range, Callable[[Value], Entry]]:
        spans = [self.iterated(part) for part in entry.parts]
        length: Value | None = None
        for span, _ in spans:
            n = self.length_of(span)
            length = n if length is None else self.w.op("min", length, n)
        assert length is not None

        def element(i: Value) -> Entry:
            parts = []
            for span, each in spans:
                place = self.w.op("add", span.start, self.w.op("mul", i, span.step))
                parts.append(each(place))
            if entry.count is not None:
                return (self.w.op("add", entry.count, i), parts[0])
            return tuple(parts)

        return Range(literal(0), length, literal(1)), element

    def length_of(self, span: Range) -> Value:
        """How many numbers a range has."""
        if span.start.const == 0 and span.step.const == 1:
            return self.w.op("max", span.stop, literal(0))
        return self.w.emit("range_length", INT, span.start, span.stop, span.step)

    # Attributes.

    def attribute(self, entry: Entry, name: str) -> Entry:
        """An attribute of a number or an array."""
        if isinstance(entry, Value):
            if name in ("real", "T"):
                return entry
            raise self.refuse(f"attribute {name} of a number", "use operators and math")
        if isinstance(entry, ArrayRef | View):
            value = self.array(entry)
            assert isinstance(value.type, Array)
            if name == "shape":
                return tuple(self.w.shape(value, k) for k in range(value.type.ndim))
            if name == "ndim":
                return literal(value.type.ndim)
            if name == "size":
                return self.size(value)
            if name == "T":
                if value.type.ndim > 2:
                    raise self.refuse(f".T of {value.type.ndim} dimensions", "transpose arrays of two")
                return self.at(entry, (("T",),), ()) if value.type.ndim == 2 else entry
            if name == "dtype":
                return Static(str(value.type.dtype))
            method = self.method(name)
            if method is not None:
                return Static(Bound(method, entry))
        raise self.refuse(f"attribute {name} of {self.describe(entry)}", "see the table of what native code knows")

    def size(self, value: Value) -> Value:
        """The number of an array's elements."""
        assert isinstance(value.type, Array)
        n: Value = literal(1)
        for k in range(value.type.ndim):
            n = self.w.op("mul", n, self.w.shape(value, k))
        return n

    def method(self, name: str) -> Callable[..., Entry] | None:
        """A method of arrays."""
        from ._functions import METHODS

        return METHODS.get(name)

    def scalar_of(self, value: Value) -> Scalar:
        """The number type of an array or a number."""
        return value.type.dtype if isinstance(value.type, Array) else value.type


class Bound:
    """A method of an array, with the array."""

    def __init__(self, method: Callable[..., Entry], entry: Entry) -> None:
        self.method, self.entry = method, entry
