"""Writes programs: adds operations to the current block, folds constants and spares repetition."""

import ast
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._ir import BOOL, INT, WEAK, Array, Block, If, Item, Op, Scalar, Type, Value
from ._ops import DERIVATIVES, elementwise_type, formula

__all__ = ["Writer", "literal", "rank", "same_type", "shortened"]

Path = tuple[tuple[str, ...], ...]
"""How to come from an array to a part of it: steps of index items, e.g. `(("i", "s110"),)` for `a[i, lo:hi]`."""


def literal(x: bool | int | float, type: Scalar | None = None) -> Value:
    """A number as a value."""
    return Value(type or (BOOL if isinstance(x, bool) else INT if isinstance(x, int) else WEAK), const=x)


def same_type(a: Type, b: Type) -> bool:
    """Whether values of these types can stand in one variable as they are."""
    return str(a) == str(b)


_FOLD: dict[str, Any] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "neg": lambda a: -a,
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "not": lambda a: not a, "log": math.log, "sqrt": math.sqrt,
    "float": float, "floor": math.floor, "and": lambda a, b: a and b, "or": lambda a, b: a or b,
}  # fmt: skip


class Writer:
    """Where operations go, in order."""

    def __init__(self) -> None:
        self.block = Block()
        self.known: list[dict[Any, Value]] = [{}]
        self.sizes: dict[Value, tuple[Value, ...]] = {}  # of arrays whose shape is known

    @contextmanager
    def inside(self, block: Block) -> Iterator[Block]:
        """Writes into a block; what was computed outside of it is known there."""
        outer, self.block = self.block, block
        self.known.append({})
        try:
            yield block
        finally:
            self.block = outer
            self.known.pop()

    def add(self, item: Item) -> Item:
        """Adds an item as it is."""
        self.block.items.append(item)
        return item

    def emit(
        self,
        name: str,
        type: Type | None,
        *args: Value,
        attrs: Any = None,
        hint: str = "t",
        place: str = "",
        pure: bool = True,
    ) -> Value:
        """Adds an operation, or finds the equal one that is there already (no array: it may be changed in place)."""
        pure = pure and not isinstance(type, Array)
        key = (name, tuple(_identity(arg) for arg in args), attrs)
        if pure:
            for known in reversed(self.known):
                if key in known:
                    return known[key]
        assert type is not None
        out = Value(type, hint)
        self.add(Op(name, args, out, attrs, place))
        if isinstance(type, Array):
            self.measure(name, args, out, attrs)
        if pure:
            self.known[-1][key] = out
        return out

    def measure(self, name: str, args: tuple[Value, ...], out: Value, attrs: Any = None) -> None:
        """Notes the shape of a new array where it is known."""
        if name == "load":
            self.measure_part(args[0], args[1:], out, attrs)
        elif name == "transposed":
            self.sizes[out] = (self.shape(args[0], 1), self.shape(args[0], 0))
        elif name == "outer":
            self.sizes[out] = (self.shape(args[0], 0), self.shape(args[1], 0))
        elif name in ("zeros", "ones", "empty"):
            self.sizes[out] = args
        elif name in ("take", "take_last"):
            assert isinstance(args[1].type, Array)
            self.sizes[out] = tuple(self.shape(args[1], k) for k in range(args[1].type.ndim))
        elif name in (
            "copy",
            "zeros_like",
            "cast",
            "fill",
            "store",
            "accum",
            "neg",
            "cumsum",
            "argsort",
            "wrapped",
        ) or (len(args) == 1 and name in DERIVATIVES):
            assert isinstance(args[0].type, Array)
            self.sizes[out] = tuple(self.shape(args[0], k) for k in range(args[0].type.ndim))
        elif name in ("reshape", "on_diagonal"):
            self.sizes[out] = args[1:]
        elif name == "matmul" and out.is_array:
            left = [self.shape(args[0], 0)] if rank(args[0]) == 2 else []
            right = [self.shape(args[1], 1)] if rank(args[1]) == 2 else []
            self.sizes[out] = (*left, *right)
        elif name in ("solve", "inv"):
            self.sizes[out] = tuple(self.shape(args[-1], k) for k in range(rank(out)))
        elif name in DERIVATIVES:
            arrays = [arg for arg in args if isinstance(arg.type, Array)]
            shapes = [tuple(self.shape(arg, k) for k in range(rank(arg))) for arg in arrays]
            if all(shape == shapes[0] for shape in shapes) and len(shapes[0]) == rank(out):
                self.sizes[out] = shapes[0]

    def measure_part(self, array: Value, values: tuple[Value, ...], out: Value, path: Path) -> None:
        """Notes the shape of a part of an array, if its slices have constant ends."""
        sizes = [self.shape(array, k) for k in range(rank(array))]
        rest = list(values)
        for step in path:
            if step == ("T",):
                sizes.reverse()
                continue
            whole, sizes = iter(sizes), []
            for code in step:
                if code == "n":
                    sizes.append(literal(1))
                    continue
                n = next(whole)
                ends = [rest.pop(0) if bit == "1" else None for bit in code.removeprefix("i")[1:]]
                if code == "i":
                    rest.pop(0)
                    continue
                less = shortened(ends[0], ends[1]) if code[3:] == "0" else None
                if less is None:
                    return
                sizes.append(self.cut(n, less[1]))
        self.sizes[out] = tuple(sizes)

    def cut(self, n: Value, less: int) -> Value:
        """The length of what a slice leaves of `n` elements, of which it takes `less` away."""
        if less == 0:
            return n
        return self.emit("max", INT, self.op("sub", n, literal(less)), literal(0))

    def effect(self, name: str, *args: Value, attrs: Any = None, place: str = "") -> None:
        """Adds an operation that has no result."""
        self.add(Op(name, args, None, attrs, place))

    def op(self, name: str, *args: Value, hint: str = "t", place: str = "") -> Value:
        """An element-wise operation."""
        simple = _simplified(self, name, args)
        if simple is not None:
            return simple
        return self.emit(name, elementwise_type(name, args), *args, hint=hint, place=place)

    def formula(self, text: str, **names: Value) -> Value:
        """The value of a formula (as in the table of derivatives) with values for its names."""
        return self._formula(formula(text), names)

    def _formula(self, node: ast.expr, names: dict[str, Value]) -> Value:
        if isinstance(node, ast.Name):
            return names[node.id]
        if isinstance(node, ast.Constant):
            assert isinstance(node.value, int | float)
            return literal(node.value)
        if isinstance(node, ast.UnaryOp):
            return self.op("neg", self._formula(node.operand, names))
        if isinstance(node, ast.BinOp):
            kind = _BINARY[type(node.op)]
            return self.op(kind, self._formula(node.left, names), self._formula(node.right, names))
        if isinstance(node, ast.Compare):
            kind = _COMPARE[type(node.ops[0])]
            return self.op(kind, self._formula(node.left, names), self._formula(node.comparators[0], names))
        assert isinstance(node, ast.Call)
        assert isinstance(node.func, ast.Name)
        return self.op(node.func.id, *(self._formula(arg, names) for arg in node.args))

    def partial(self, op: Op, k: int, g: Value, values: list[Value], y: Value) -> Value | None:
        """The share of operand `k` of an element-wise operation: its derivative's formula with `g`."""
        text = DERIVATIVES[op.name][k]
        if text is None:
            return None
        return self.formula(text, g=g, y=y, **dict(zip("abc", values, strict=False)))

    def cast(self, value: Value, type: Type) -> Value:
        """The value as another type of number."""
        if value.const is not None and isinstance(type, Scalar):
            kinds = {"f": float, "i": int, "b": bool}
            return Value(type, const=kinds[type.kind](value.const))
        if same_type(value.type, type):
            return value
        return self.emit("cast", type, value, attrs=str(type), hint=value.name)

    def shape(self, array: Value, axis: int) -> Value:
        """The length of an array along an axis."""
        if array in self.sizes:
            return self.sizes[array][axis]
        return self.emit("shape", INT, array, attrs=axis, hint="n")

    def choose(self, cond: Value, then: Block, orelse: Block, outs: list[Value]) -> None:
        """Adds an `If`."""
        self.add(If(cond, then, orelse, outs))

    def zeros_like(self, value: Value, hint: str = "t") -> Value:
        """Zeros in the form of a value."""
        if isinstance(value.type, Array):
            return self.emit("zeros_like", value.type, value, hint=hint, pure=False)
        return Value(value.type, hint, const=0.0)


def shortened(first: Value | None, last: Value | None) -> tuple[int, int] | None:
    """Where a slice begins and how many elements it takes away, for constant ends from which that follows."""
    lo = 0 if first is None else first.const
    hi = 0 if last is None else last.const
    if not isinstance(lo, int) or not isinstance(hi, int) or lo < 0 or (last is not None and hi >= 0):
        return None
    return lo, lo - hi


def rank(value: Value) -> int:
    """The number of dimensions of an array."""
    assert isinstance(value.type, Array)
    return value.type.ndim


def _identity(value: Value) -> Any:
    """A key that operands have in common if they are the same."""
    if value.const is None:
        return id(value), value  # the value itself keeps its id from being used again
    return str(value.type), repr(value.const)


def _is(value: Value, number: float) -> bool:
    """Whether a value is this literal number."""
    return value.const is not None and value.const == number and not isinstance(value.const, bool)


def _simplified(w: Writer, name: str, args: tuple[Value, ...]) -> Value | None:
    """What an operation comes to without computing it, if anything."""
    a = args[0]
    if name in _FOLD and all(arg.const is not None for arg in args):
        try:
            return _number(_FOLD[name](*(arg.const for arg in args)), elementwise_type(name, args))
        except (ValueError, OverflowError):
            return None
    if name == "float" and a.floats:
        return a
    if name == "neg":
        return _negated(a)
    if name in ("and", "or") and any(arg.const is not None for arg in args):
        first, other = (args[0], args[1]) if args[0].const is not None else (args[1], args[0])
        return other if bool(first.const) == (name == "and") else first
    if name == "where":
        return _where(args)
    if len(args) != 2:
        return None
    b = args[1]
    if a is b and name in ("eq", "le", "ge") and not a.is_array and not a.floats:
        return literal(True)
    whole = same_type(elementwise_type(name, args), a.type)
    other_whole = same_type(elementwise_type(name, args), b.type)
    if name == "add":
        return b if _is(a, 0.0) and other_whole else a if _is(b, 0.0) and whole else _plus_negative(w, a, b)
    if name == "sub":
        return w.op("neg", b) if _is(a, 0.0) and other_whole else a if _is(b, 0.0) and whole else None
    if name == "mul":
        return b if _is(a, 1.0) and other_whole else a if _is(b, 1.0) and whole else None
    if name == "div":
        return a if _is(b, 1.0) and whole and a.floats else None
    return _power(w, a, b) if name == "pow" else None


def _number(x: Any, type: Type) -> Value:
    """A folded number as a value."""
    assert isinstance(type, Scalar)
    return Value(type, const=x if type.kind != "f" else float(x))


def _negated(a: Value) -> Value | None:
    """A literal with the other sign."""
    if a.const is not None and isinstance(a.type, Scalar) and a.type.kind != "b":
        return Value(a.type, const=-a.const)
    return None


def _plus_negative(w: Writer, a: Value, b: Value) -> Value | None:
    """`a + (-b)` as a difference, where the sign was just written."""
    last = w.block.items[-1] if w.block.items else None
    if isinstance(last, Op) and last.name == "neg" and last.out is b and b is not a:
        return w.op("sub", a, last.args[0])
    return None


def _where(args: tuple[Value, ...]) -> Value | None:
    """A choice that is known already."""
    cond, x, y = args
    if isinstance(cond.type, Array) or not same_type(x.type, y.type):
        return None
    if cond.const is not None:
        return x if cond.const else y
    return x if x is y else None


def _power(w: Writer, a: Value, b: Value) -> Value | None:
    """Small constant powers as products."""
    if b.const is None or not (a.floats or float(b.const) >= 0):
        return None
    if _is(b, 0.0):
        return None
    if _is(b, 1.0):
        return a if same_type(elementwise_type("pow", (a, b)), a.type) else w.op("float", a)
    if _is(b, 2.0) and (a.floats or isinstance(b.const, int)):
        return w.op("mul", a, a)
    if _is(b, 3.0) and (a.floats or isinstance(b.const, int)):
        return w.op("mul", w.op("mul", a, a), a)
    if _is(b, -1.0):
        return w.op("div", literal(1.0), a)
    return None


_BINARY = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
    ast.Mod: "mod",
    ast.FloorDiv: "floordiv",
}
_COMPARE = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne"}
