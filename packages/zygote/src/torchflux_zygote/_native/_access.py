"""Where the elements of a part of an array lie: for every axis of the array a fixed index, or one that moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ._ir import Op, Value
from ._lengths import Key, Shapes, shorter
from ._writer import Writer, literal, rank, shortened

__all__ = ["Access", "Along", "Parts", "part"]


@dataclass(frozen=True)
class Along:
    """An index that moves along an axis of the part, from an offset on."""

    axis: int
    offset: Value | None = None


@dataclass(frozen=True)
class Access:
    """A part of `base`: an index for each of its axes; and for each of the part's, how long it is.

    The lengths are there as keys and as what writes them, and whether a slice has cut them.
    """

    base: Value
    index: tuple[Value | Along, ...]
    shape: tuple[Key, ...]
    sizes: tuple[Callable[[Writer], Value], ...]
    cut: tuple[bool, ...]

    def at(self, w: Writer, place: tuple[Value, ...]) -> tuple[Value, ...]:
        """The index of one element."""
        return tuple(_moved(w, place[i.axis], i.offset) if isinstance(i, Along) else i for i in self.index)

    @property
    def whole(self) -> bool:
        """Whether it is certainly all of the array, as it is."""
        return not any(self.cut) and self.index == tuple(map(Along, range(len(self.shape))))

    def pattern(self, axes: tuple[int | None, ...]) -> tuple[object, ...]:
        """How it moves in a nest of loops, of which its own axes are `axes` (`None`: it may stand still)."""

        def shown(i: Value | Along) -> object:
            if not isinstance(i, Along):
                return "fixed"
            offset = None if i.offset is None else i.offset if i.offset.const is None else i.offset.const
            return axes[i.axis], offset

        return tuple(map(shown, self.index))


def _moved(w: Writer, i: Value, offset: Value | None) -> Value:
    """An index from an offset on."""
    return i if offset is None else w.op("add", i, offset)


class Parts(Shapes):
    """The shapes of a program's arrays, and what they are parts of."""

    def access(self, value: Value) -> Access:
        """The part that an array is of what it is a view of."""
        item, _ = self.memory.where.get(value, (None, 0))
        if isinstance(item, Op) and item.name in ("load", "transposed", "ravel", "reshape"):
            found = self.viewed(item, value)
            if found is not None:
                return found
        return self.own(value)

    def own(self, value: Value) -> Access:
        """All of an array, under its own name."""
        axes = range(rank(value))
        sizes = tuple(_length(value, k) for k in axes)
        return Access(value, tuple(map(Along, axes)), self.of(value), sizes, (False,) * rank(value))

    def viewed(self, op: Op, value: Value) -> Access | None:
        """The same of what an operation makes, if it is a view."""
        whole = self.access(op.args[0])
        if op.name == "load":
            return part(whole, op.attrs, op.args[1:])
        if op.name == "transposed":
            return _turned(whole)
        if rank(op.args[0]) != 1 or rank(value) != 1:
            return None
        if op.name == "ravel":
            return whole
        size = op.args[1]
        return Access(whole.base, whole.index, (self.key(size),), (lambda w: size,), (True,))

    def made(self, op: Op) -> tuple[Key, ...] | None:
        """The shape of an operation's result."""
        if op.name == "load" and op.out is not None:
            found = self.viewed(op, op.out)
            return None if found is None else found.shape
        return super().made(op)


def _length(array: Value, axis: int) -> Callable[[Writer], Value]:
    return lambda w: w.shape(array, axis)


def _turned(a: Access) -> Access:
    """The transposed part."""
    last = len(a.shape) - 1
    index = tuple(Along(last - i.axis, i.offset) if isinstance(i, Along) else i for i in a.index)
    return Access(a.base, index, a.shape[::-1], a.sizes[::-1], a.cut[::-1])


def part(whole: Access, path: tuple[tuple[str, ...], ...], values: tuple[Value, ...]) -> Access | None:
    """The part at a path, unless a slice of it has steps."""
    rest = list(values)
    for step in path:
        if step == ("T",):
            whole = _turned(whole)
            continue
        found = _stepped(whole, step, rest)
        if found is None:
            return None
        whole = found
    return whole


def _stepped(whole: Access, step: tuple[str, ...], values: list[Value]) -> Access | None:
    """The part at one step of a path, whose values are taken from the list."""
    index: dict[int, Value | Along] = {}  # what becomes of an axis
    shape: list[Key] = []
    sizes: list[Callable[[Writer], Value]] = []
    cuts: list[bool] = []
    axis = 0
    for code in step:
        if code == "n":
            shape.append(1)
            sizes.append(lambda w: literal(1))
            cuts.append(False)
            continue
        if code == "i":
            index[axis] = values.pop(0)
            i = index[axis]
            assert isinstance(i, Value)
            if whole.cut[axis] and not (isinstance(i.const, int) and i.const >= 0):
                return None  # from the end of a slice, perhaps
        elif code in ("s000", "s100", "s010", "s110"):
            lo = values.pop(0) if code[1] == "1" else None
            hi = values.pop(0) if code[2] == "1" else None
            cut = _cut(whole.shape[axis], whole.sizes[axis], lo, hi)
            if cut is None:
                return None
            offset, key, size = cut
            index[axis] = Along(len(shape), offset)
            shape.append(key)
            sizes.append(size)
            cuts.append(whole.cut[axis] or code != "s000")
        else:
            return None
        axis += 1
    placed = tuple(_through(i, index) for i in whole.index)
    if any(i is None for i in placed):
        return None
    return Access(whole.base, tuple(i for i in placed if i is not None), tuple(shape), tuple(sizes), tuple(cuts))


def _through(i: Value | Along, index: dict[int, Value | Along]) -> Value | Along | None:
    """An index of the array, from what becomes of the part's axes; `None` if two offsets don't add up yet."""
    if not isinstance(i, Along):
        return i
    new = index[i.axis]
    if i.offset is None:
        return new
    inner = new.offset if isinstance(new, Along) else new
    if inner is None:
        return Along(new.axis, i.offset) if isinstance(new, Along) else None
    if i.offset.const is None or inner.const is None:
        return None
    total = literal(i.offset.const + inner.const)
    return Along(new.axis, total) if isinstance(new, Along) else total


Cut = tuple[Value | None, Key, Callable[[Writer], Value]]


def _cut(key: Key, size: Callable[[Writer], Value], lo: Value | None, hi: Value | None) -> Cut | None:
    """Where a slice begins, the key of its length, and its length; for constant ends."""
    if lo is None and hi is None:
        return None, key, size
    taken = shortened(lo, hi)
    if taken is None:
        return None
    first, less = taken
    return (literal(first) if first else None), shorter(key, less), lambda w: w.cut(size(w), less)
