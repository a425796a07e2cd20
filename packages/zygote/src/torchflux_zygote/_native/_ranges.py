"""What is known of the integers of a program before it runs: how low they can be, and what they stay below."""

from ._ir import INT, For, Op, Program, Value, walk

__all__ = ["SMALL", "Ranges"]

SMALL = 2**31
"""Literals up to here are added without a thought of overflow: no loop counts to 2**62, no array is as long."""


class Ranges:
    """The bounds of loop indices, of lengths, and of what literals are added to."""

    def __init__(self, program: Program) -> None:
        self.loops: dict[Value, For] = {}
        self.makers: dict[Value, Op] = {}
        for item in walk(program.block):
            if isinstance(item, For):
                self.loops[item.index] = item
            elif isinstance(item, Op) and item.out is not None and item.out.type == INT:
                self.makers[item.out] = item

    def moved(self, value: Value) -> tuple[Value | None, int]:
        """A value as another one (None: as nothing) and a literal that is added to it."""
        shift = 0
        while value.const is None:
            op = self.makers.get(value)
            if op is None or op.name not in ("add", "sub", "within"):
                return value, shift
            a, b = op.args if op.name != "within" else (op.args[0], Value(INT, const=0))
            if op.name == "add" and a.const is not None:
                a, b = b, a
            if b.const is None or abs(b.const) > SMALL:
                return value, shift
            value, shift = a, shift + (b.const if op.name != "sub" else -b.const)
        return None, shift + int(value.const)

    def lowest(self, value: Value) -> int | None:
        """A number that a value is never below, if one is known."""
        base, shift = self.moved(value)
        if base is None:
            return shift
        low = self._lowest(base)
        return None if low is None else low + shift

    def _lowest(self, base: Value) -> int | None:
        """The same of what nothing is added to."""
        if base in self.loops:
            loop = self.loops[base]
            if loop.step.const is None:
                return None
            if loop.step.const > 0:
                return self.lowest(loop.start)
            stop = self.lowest(loop.stop)
            return None if stop is None else stop + 1
        op = self.makers.get(base)
        if op is not None and op.name == "max":
            return max((x for x in map(self.lowest, op.args) if x is not None), default=None)
        return 0 if op is not None and op.name in ("shape", "range_length", "argmax", "argmin") else None

    def below(self, value: Value, n: Value, shift: int = 0) -> bool:
        """Whether `value + shift < n` for certain."""
        base, more = self.moved(value)
        length, less = self.moved(n)
        by = more + shift - less
        if base is length:
            return by < 0
        if base is None or base not in self.loops:
            return False
        loop = self.loops[base]
        if loop.step.const is None:
            return False
        if loop.step.const > 0:  # the index stays below the stop
            return self.below(loop.stop, n, more + shift - 1)
        return self.below(loop.start, n, more + shift)

    def within(self, i: Value, n: Value) -> bool:
        """Whether `0 <= i < n` for certain."""
        low = self.lowest(i)
        return low is not None and low >= 0 and self.below(i, n)
