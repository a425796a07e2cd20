"""Operations as statements of generated Python: stores, raises, growing tapes."""

from ._arrays import part_type
from ._emit_expressions import Expressions
from ._ir import F32, Array, Op, Scalar, Value

__all__ = ["Operations"]

LOOPS = {"assign": {(1, 1), (2, 2), (2, 1)}, "add": {(1, 1), (2, 2)}}


class Operations(Expressions):
    """The part of the writer that knows statements."""

    def op(self, item: Op) -> None:
        """Writes an operation, or keeps it to write it where it is used."""
        handler = getattr(self, f"op_{item.name}", None)
        if handler is not None:
            handler(item)
            return
        assert item.out is not None
        text = self.expression(item)
        here = self.uses.get(item.out, [])
        if not here:
            return
        simple = not item.out.is_array and not any(arg.is_array for arg in item.args)
        if simple and len(here) == 1 and here[0] == self.homes[item.out] and len(text) < 60:
            self.inlined[item.out] = text
            if item.name == "neg":
                self.negated[item.out] = item.args[0]
            return
        self.line(f"{self.name(item.out)} = {text}")

    def path(self, item: Op, values: list[Value]) -> str:
        """An index chain, e.g. `[i, :][lo:hi]`."""
        rest = iter(values)
        text = ""
        for step in item.attrs:
            if step == ("T",):
                text += ".T"
                continue
            parts = []
            for code in step:
                if code == "i":
                    parts.append(self.text(next(rest)))
                elif code == "n":
                    parts.append("np.newaxis")
                else:
                    ends = [self.text(next(rest)) if bit == "1" else "" for bit in code[1:]]
                    parts.append(":".join(ends[:2]) + (f":{ends[2]}" if ends[2] else ""))
            text += f"[{', '.join(parts)}]"
        return text

    def op_load(self, item: Op) -> None:
        """A part of an array, written where it is read."""
        assert item.out is not None
        if self.uses.get(item.out):
            self.line(f"{self.name(item.out)} = {self.text(item.args[0])}{self.path(item, list(item.args[1:]))}")

    def op_store(self, item: Op) -> None:
        """A store."""
        self.put(item, "=", "assign")

    def op_accum(self, item: Op) -> None:
        """A store that adds, or subtracts."""
        positive = self.negated.get(item.args[1])
        if positive is None or item.args[0].type.dtype == F32:  # type: ignore[union-attr]
            self.put(item, "+=", "add")
        else:
            self.line(f"{self.target(item)} -= {self.text(positive)}")

    def put(self, item: Op, sign: str, helper: str) -> None:
        """A store: of a number as it is, of an array by a loop that is compiled already."""
        part = part_type(item.args[0].type, item.attrs)
        value = item.args[1].type
        if isinstance(part, Array) and isinstance(value, Array) and (part.ndim, value.ndim) in LOOPS[helper]:
            self.line(f"rt.{helper}_{part.ndim}{value.ndim}({self.target(item)}, {self.stored(item)})")
        elif isinstance(part, Array) and isinstance(value, Scalar) and sign == "=":
            self.line(f"rt.fill({self.target(item)}, {self.stored(item)})")
        else:
            self.line(f"{self.target(item)} {sign} {self.stored(item)}")

    def target(self, item: Op) -> str:
        """The part of an array that is stored into."""
        whole = "[:, :]" if item.attrs[-1] == ("T",) else ""
        return f"{self.text(item.args[0])}{self.path(item, list(item.args[2:]))}{whole}"

    def stored(self, item: Op) -> str:
        """What is stored, as narrow as the array."""
        return self.operand(item.args[1], item.args[0], "store")

    def op_raise(self, item: Op) -> None:
        """A raise."""
        kind, message = item.attrs
        self.line(f"raise {kind}({message!r})" if message else f"raise {kind}")

    def op_grow(self, item: Op) -> None:
        """Room for more rows, if they don't fit."""
        if item in self.ahead:
            return
        assert item.out is not None
        tape, rows = (self.text(a) for a in item.args)
        if self.name(item.out) != tape:
            self.line(f"{self.name(item.out)} = {tape}")
        self.line(f"if {rows} > {self.name(item.out)}.shape[0]:")
        self.line(f"    {self.name(item.out)} = rt.grow({tape}, {rows})")

    def op_equal(self, item: Op) -> None:
        """Raises if two lengths differ."""
        n, m = (self.text(a) for a in item.args)
        self.line(f"if {n} != {m}:")
        self.line(f"    raise ValueError({f'{item.place}: the shapes do not fit'.removeprefix(': ')!r})")

    def op_within(self, item: Op) -> None:
        """Raises here, with a constant message, which is quick to compile."""
        assert item.out is not None
        i, n = (self.text(a) for a in item.args)
        self.alias_of[item.out] = item.args[0]
        self.line(f"if {i} >= {n}:" if item.attrs == "from 0" else f"if {i} < -{n} or {i} >= {n}:")
        self.line(f"    raise IndexError({item.place!r})")

    def op_put(self, item: Op) -> None:
        """A store at some places."""
        *index, places = item.args[2:]
        name = "put" if item.args[1].is_array else "put_number"
        part = f"{self.text(item.args[0])}{self.path(item, index)}"
        self.line(f"rt.{name}({part}, {self.stored(item)}, {self.text(places)})")

    def op_scatter(self, item: Op) -> None:
        """Adds at some places, as often as they occur."""
        *index, places = item.args[2:]
        name = "scatter" if item.args[1].is_array else "scatter_number"
        part = f"{self.text(item.args[0])}{self.path(item, index)}"
        self.line(f"rt.{name}({part}, {self.stored(item)}, {self.text(places)})")
