"""How expressions of the normal form are read."""

import ast
from typing import Any

import numpy as np

from ._arrays import Bound
from ._collected import append
from ._entries import ArrayRef, Found, Listed, Maybe, Message, Range, Static, View
from ._ir import BOOL, Array, Value
from ._kinds import DTYPES
from ._stores import Storing
from ._writer import literal

__all__ = ["Expressions"]

Entry = Any
FIXED = ("math", "numpy", "operator", "functools", "itertools", "builtins")
"""Modules whose attributes are taken to stay what they are."""
COMPARISONS = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne"}


class Expressions(Storing):
    """The part of the reader that knows expressions."""

    def eval(self, node: ast.expr) -> Entry:
        """An expression of the normal form."""
        if hasattr(node, "lineno"):
            self.node = node
        method = getattr(self, f"eval_{type(node).__name__}", None)
        if method is None:
            raise self.refuse(f"{type(node).__name__}", "the native route takes numbers, tuples and arrays only")
        return method(node)

    def atom(self, node: ast.expr) -> Entry:
        """A name or a constant, ready for use."""
        return self.settle(self.eval(node))

    def number(self, node: ast.expr) -> Value:
        """An atom that must be a number."""
        entry = self.atom(node)
        if not isinstance(entry, Value):
            raise self.refuse(f"{self.describe(entry)} where a number is due", "pass a float, an int or a bool")
        return entry

    def eval_Name(self, node: ast.Name) -> Entry:
        """A name."""
        entry = self.frame.find(node.id)
        return self.enter(entry.value) if isinstance(entry, Found) else entry

    def enter(self, x: Any) -> Entry:
        """Something of Python as an entry: numbers, tuples and arrays become values."""
        if isinstance(x, bool | int | float):
            return self.known_number(x)
        if isinstance(x, tuple):
            return tuple(self.enter(part) for part in x)
        if isinstance(x, np.number | np.bool_):
            if str(x.dtype) not in DTYPES:
                raise self.refuse(f"a number of {x.dtype}", f"convert it to one of {', '.join(DTYPES)}")
            return literal(x.item())
        if isinstance(x, np.ndarray):
            return self.constant_array(x)
        return Static(x)

    def known_number(self, x: bool | int | float) -> Value:
        """A number that is known when the function is read."""
        if isinstance(x, int) and not -(2**63) <= x < 2**63:
            raise self.refuse(f"the integer {x}, of more than 64 bits", "write it as a float")
        return literal(x)

    def constant_array(self, x: np.ndarray) -> Entry:
        """A captured array: part of the program, as it is now."""
        for ref, kept in self.constants:
            if kept is x:
                return ref
        if str(x.dtype) not in DTYPES:
            raise self.refuse(f"an array of {x.dtype}", f"convert it to one of {', '.join(DTYPES)}")
        if not x.ndim:
            return literal(x.item())
        type = Array(DTYPES[str(x.dtype)], x.ndim)
        first = Value(type, f"constant_{len(self.constants)}")
        ref = ArrayRef()
        self.firsts[ref] = first
        self.constants.append((ref, x))
        return ref

    def eval_Constant(self, node: ast.Constant) -> Entry:
        """A literal."""
        return self.known_number(node.value) if isinstance(node.value, bool | int | float) else Static(node.value)

    def eval_BinOp(self, node: ast.BinOp) -> Entry:
        """A binary operator."""
        return self.binary(type(node.op), self.atom(node.left), self.atom(node.right))

    def eval_UnaryOp(self, node: ast.UnaryOp) -> Entry:
        """A unary operator."""
        known = node.operand.value if isinstance(node.operand, ast.Constant) else None
        if isinstance(node.op, ast.USub) and type(known) is int:
            return self.known_number(-known)
        entry = self.atom(node.operand)
        if isinstance(node.op, ast.Not):
            return self.w.op("not", self.truth(entry))
        value = self.as_value(entry)
        if isinstance(node.op, ast.UAdd):
            return self.entry(self.w.op("int", value) if value.type == BOOL else value)
        if isinstance(node.op, ast.USub):
            return self.elementwise("neg", entry)
        if value.floats or value.type == BOOL:
            raise self.refuse(
                f"~ of {self.describe(entry)}", "write `not`; or ~ of an int or of a whole array of bools"
            )
        return self.entry(self.w.op("invert", value, place=self.place()))

    def eval_Compare(self, node: ast.Compare) -> Entry:
        """A comparison, decided here if it can be."""
        kind = type(node.ops[0])
        if (
            kind in (ast.Is, ast.IsNot)
            and isinstance(node.comparators[0], ast.Constant)
            and node.comparators[0].value is None
        ):
            return self.is_none(self.eval(node.left), kind)
        a, b = self.atom(node.left), self.atom(node.comparators[0])
        if kind in (ast.Is, ast.IsNot) or not all(isinstance(x, Value | ArrayRef | View) for x in (a, b)):
            return self.compare_static(kind, a, b)
        return self.entry(self.w.op(COMPARISONS[kind], self.as_value(a), self.as_value(b)))

    def is_none(self, entry: Entry, kind: type) -> Entry:
        """`entry is None`, also of something that is None on some paths only."""
        if isinstance(entry, Maybe) and entry.why.startswith("TypeError"):
            return self.w.op("not", entry.flag) if kind is ast.Is else entry.flag
        entry = self.settle(entry)
        return literal((isinstance(entry, Static) and entry.value is None) == (kind is ast.Is))

    def compare_static(self, kind: type, a: Entry, b: Entry) -> Entry:
        """A comparison of what isn't numbers or arrays."""
        if kind in (ast.Is, ast.IsNot):
            values = [x.value if isinstance(x, Static) else x for x in (a, b)]
            if not any(isinstance(x, Static) for x in (a, b)):
                raise self.refuse("`is` between numbers or arrays", "write ==")
            return literal((values[0] is values[1]) == (kind is ast.Is))
        if isinstance(a, tuple) and isinstance(b, tuple) and kind in (ast.Eq, ast.NotEq):
            same = literal(len(a) == len(b))
            for x, y in zip(a, b, strict=False):
                same = self.w.op("and", same, self.w.op("eq", self.as_value(x), self.as_value(y)))
            return same if kind is ast.Eq else self.w.op("not", same)
        if isinstance(a, Static) and isinstance(b, Static) and kind in (ast.Eq, ast.NotEq):
            return literal((self.known_text(a) == self.known_text(b)) == (kind is ast.Eq))
        if kind in (ast.In, ast.NotIn) and isinstance(b, tuple):
            found = literal(False)
            for x in b:
                found = self.w.op("or", found, self.w.op("eq", self.as_value(a), self.as_value(x)))
            return found if kind is ast.In else self.w.op("not", found)
        if kind in (ast.Eq, ast.NotEq) and isinstance(a, Static) != isinstance(b, Static):
            return literal(kind is ast.NotEq)
        raise self.refuse(f"a comparison of {self.describe(a)} with {self.describe(b)}", "compare numbers")

    def eval_Tuple(self, node: ast.Tuple | ast.List) -> Entry:
        """A tuple."""
        return tuple(self.starred(node.elts))

    def eval_List(self, node: ast.List) -> Entry:
        """A list."""
        return Listed(self.starred(node.elts))

    def starred(self, nodes: list[ast.expr]) -> list[Entry]:
        """Elements or arguments, with `*atom` taken apart."""
        found: list[Entry] = []
        for part in nodes:
            if isinstance(part, ast.Starred):
                found += self.elements(self.atom(part.value))
            else:
                found.append(self.atom(part))
        return found

    def elements(self, entry: Entry) -> list[Entry]:
        """The parts of something whose length is known when the function is read."""
        if isinstance(entry, tuple):
            return list(entry)
        if isinstance(entry, Range):
            ends = [entry.start.const, entry.stop.const, entry.step.const]
            if None not in ends:
                return [literal(i) for i in range(*ends)]
        raise self.refuse(f"{self.describe(entry)}, taken apart", "only tuples have a length that is known beforehand")

    def eval_JoinedStr(self, node: ast.JoinedStr) -> Entry:
        """A text that is put together: of a message, what is known."""
        parts = [self.piece(part) for part in node.values]
        text = "".join("{...}" if part is None else str(part) for part in parts)
        return Static(Message(text) if None in parts or any(isinstance(p, Message) for p in parts) else text)

    def piece(self, part: ast.expr) -> str | None:
        """A part of a text, if it is known."""
        if isinstance(part, ast.Constant):
            return str(part.value)
        assert isinstance(part, ast.FormattedValue)
        entry = self.eval(part.value)
        plain = part.conversion == -1 and part.format_spec is None
        return entry.value if plain and isinstance(entry, Static) and isinstance(entry.value, str) else None

    def eval_Subscript(self, node: ast.Subscript) -> Entry:
        """An element, or a part of an array."""
        entry = self.atom(node.value)
        if isinstance(entry, tuple):
            return self.pick(entry, node.slice)
        if isinstance(entry, ArrayRef | View):
            return self.part(entry, node.slice)
        raise self.refuse(f"an index into {self.describe(entry)}", "index tuples and arrays")

    def pick(self, entry: tuple[Entry, ...], index: ast.expr) -> Entry:
        """An element of a tuple."""
        if isinstance(index, ast.Slice):
            ends = [
                None if part is None else self.number(part).const for part in (index.lower, index.upper, index.step)
            ]
            return entry[slice(*ends)]
        i = self.number(index)
        if i.const is not None:
            if not -len(entry) <= i.const < len(entry):
                raise self.refuse(f"index {i.const} into a tuple of {len(entry)}", "stay within its length")
            return entry[i.const]
        n = len(entry)
        inside = self.w.op("and", self.w.op("ge", i, literal(-n)), self.w.op("lt", i, literal(n)))
        self.check(inside, "IndexError", f"{self.place()}: tuple index out of range")
        i = self.w.op("where", self.w.op("lt", i, literal(0)), self.w.op("add", i, literal(n)), i)
        found = entry[-1]
        for k in reversed(range(n - 1)):
            found = self.merged(self.w.op("eq", i, literal(k)), entry[k], found)
        return found

    def eval_Attribute(self, node: ast.Attribute) -> Entry:
        """An attribute, which is noted if it may change."""
        entry = self.atom(node.value)
        if isinstance(entry, Static):
            try:
                found = getattr(entry.value, node.attr)
                if getattr(entry.value, "__name__", "") not in FIXED:
                    self.reads.attributes[id(entry.value), node.attr] = entry.value, node.attr, found
                return self.enter(found)
            except AttributeError as error:
                raise self.refuse(str(error), "check the name") from None
        if node.attr == "append" and isinstance(node.value, ast.Name) and node.value.id in self.frame.collected:
            return Static(Bound(append, Static((self.frame, node.value.id))))
        if node.attr == "append" and isinstance(entry, tuple):
            advice = "fill it by one loop over a tuple and nothing else, or store into an array"
            raise self.refuse("a list that grows", advice)
        return self.attribute(entry, node.attr)
