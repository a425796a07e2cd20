"""What Python raises about numbers, where that is caught: elsewhere they are infinite or NaN."""

import math
import operator
import sys
from collections.abc import Callable
from typing import Any

from ._ir import WEAK, Block, Value
from ._merge import Merging
from ._writer import literal, rank

__all__ = ["NUMBER_ERRORS", "NumberErrors"]

Entry = Any


class NumberErrors(Merging):
    """The part of the reader that knows when Python's own operations raise."""

    contexts: list[Any]
    caught: Callable[[type[BaseException]], bool]
    handled: Callable[..., bool]
    fail: Callable[[Value, type[BaseException], str], None]

    def outside(self, text: str, kind: type[BaseException], **names: Value) -> None:
        """Raises where a formula holds."""
        self.fail(self.w.formula(text, **names), kind, f"{self.place()}: {WHY[kind]}")

    def arithmetic(self, name: str, values: list[Value]) -> None:
        """Raises for divisors of zero where that is caught, as Python does for its own numbers."""
        if name in BROADCAST_FREE or not self.contexts:
            return
        arrays = [v for v in values if v.is_array]
        if arrays:
            self.broadcast(arrays)
        elif name in ("div", "floordiv", "mod", "pow") and any(v.floats for v in values):
            if not self.handled(ZeroDivisionError, *([OverflowError] if name == "pow" else [])):
                return
            if any(v.floats and v.type != WEAK for v in values):
                raise self.refuse(
                    "a division of numbers from arrays where a ZeroDivisionError is caught (NumPy gives inf)",
                    "test for zero, or take float(x) of each",
                )
            if name == "pow":
                self.number_errors(operator.pow, values)
            else:
                self.outside("a == 0.0", ZeroDivisionError, a=values[1])

    def broadcast(self, arrays: list[Value]) -> None:
        """Raises for shapes that don't fit, where that is caught."""
        if not self.caught(ValueError):
            return
        first, *others = arrays
        for other in others:
            for k in range(1, min(rank(first), rank(other)) + 1):
                n, m = self.w.shape(first, rank(first) - k), self.w.shape(other, rank(other) - k)
                fits = self.w.op("eq", n, m)
                if fits.const is None:
                    one = self.w.op("or", self.w.op("eq", n, literal(1)), self.w.op("eq", m, literal(1)))
                    self.check(self.w.op("or", fits, one), "ValueError", f"{self.place()}: shapes that don't fit")

    def integral(self, x: Value) -> None:
        """Raises for a float that no integer of 64 bits is."""
        within = self.w.op("lt", self.w.op("abs", x), literal(LIMIT))
        if within.const:
            return
        nan, beyond = (f"{self.place()}: {what} as an integer" for what in ("NaN", "a number beyond 64 bits"))
        if self.caught(ValueError) or self.caught(OverflowError):
            self.fail(self.w.op("ne", x, x), ValueError, nan)
            outside = self.w.op("and", self.w.op("not", within), self.w.op("ne", x, literal(-LIMIT)))
            self.fail(outside, OverflowError, beyond)
            return
        bad = Block()
        with self.w.inside(bad):  # one comparison where all is well
            self.fail(self.w.op("ne", x, x), ValueError, nan)
            self.fail(self.w.op("ne", x, literal(-LIMIT)), OverflowError, beyond)
        self.w.choose(self.w.op("not", within), bad, Block(), [])

    def number_errors(self, f: Any, args: list[Entry]) -> None:
        """Raises for numbers outside of a function's domain or results out of range, where that is caught."""
        values = [x for x in args if isinstance(x, Value)]
        if f not in ERRORS or len(values) != len(args):
            return
        for text, kind in ERRORS[f]:
            if self.handled(kind):
                self.outside(text, kind, **dict(zip("ab", values, strict=False)))


NUMBER_ERRORS = (ValueError, OverflowError, ZeroDivisionError)
"""What Python raises about numbers, and native code where that is handled."""
LIMIT = 2.0**63
BROADCAST_FREE = {"float", "int", "not"}
WHY: dict[type[BaseException], str] = {
    ValueError: "math domain error",
    OverflowError: "math range error",
    ZeroDivisionError: "division by zero",
}
LARGEST = math.log(sys.float_info.max)
_POWER = f"where(isinf(a) + isinf(b) > 0, 0.0, b * log(where(a == 0.0, 1.0, abs(a)))) > {LARGEST}"
ERRORS: dict[Any, list[tuple[str, type[BaseException]]]] = {
    math.sqrt: [("a < 0.0", ValueError)],
    math.log: [("a <= 0.0", ValueError)],
    math.log2: [("a <= 0.0", ValueError)],
    math.log10: [("a <= 0.0", ValueError)],
    math.log1p: [("a <= -1.0", ValueError)],
    math.asin: [("abs(a) > 1.0", ValueError)],
    math.acos: [("abs(a) > 1.0", ValueError)],
    math.acosh: [("a < 1.0", ValueError)],
    math.atanh: [("abs(a) >= 1.0", ValueError)],
    math.sin: [("isinf(a)", ValueError)],
    math.cos: [("isinf(a)", ValueError)],
    math.tan: [("isinf(a)", ValueError)],
    math.pow: [
        ("where(a == 0.0, b, 0.0) < 0.0", ValueError),
        ("where(a < 0.0, where(isinf(b), 0.0, b - floor(b)), 0.0) != 0.0", ValueError),
        (_POWER, OverflowError),
    ],
    operator.pow: [("where(a == 0.0, b, 0.0) < 0.0", ZeroDivisionError), (_POWER, OverflowError)],
    **{f: [(f"where(isinf(a), 0.0, a) > {LARGEST}", OverflowError)] for f in (math.exp, math.expm1)},
    **{
        f: [(f"where(isinf(a), 0.0, abs(a)) > {LARGEST + math.log(2.0)}", OverflowError)]
        for f in (math.sinh, math.cosh)
    },
    math.exp2: [("where(isinf(a), 0.0, a) >= 1024.0", OverflowError)],
}
"""When Python's functions raise, as formulas in terms of their operands."""
