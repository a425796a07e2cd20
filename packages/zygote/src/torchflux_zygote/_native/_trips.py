"""What the trips of a backward loop do to each other: whether they can run in any order."""

from dataclasses import dataclass, field

from ._analysis import STORES, Memory
from ._ir import Array, For, Op, Scalar, Value
from ._ops import DERIVATIVES
from ._ranges import Ranges

__all__ = ["Access", "Trips", "independent"]

Place = tuple[tuple[Value | None, int], ...]
"""An index, each part as a value and a literal that is added to it."""


@dataclass(eq=False)
class Access:
    """An operation that reads or changes one element of an array."""

    op: Op
    group: Value  # stands for the array's memory
    place: Place | None  # None: not known


@dataclass
class Trips:
    """The operations of a loop whose trips only meet in sums of cotangents."""

    loop: For
    accesses: list[Access]
    sums: dict[int, list[Op]]  # the additions to each number that the loop carries
    written: set[Value] = field(default_factory=set)  # memory that is changed other than by adding to it
    added: set[Value] = field(default_factory=set)  # memory that is only added to


def independent(loop: For, memory: Memory, ranges: Ranges) -> Trips | None:
    """The loop's operations, if its trips can run in any order: all that they share are sums of cotangents.

    An element is shared between trips only if all that is done to the array is to add to it; otherwise every
    trip must stay with an element of its own. What one trip leaves to the next must be a sum.
    """
    if not loop.backward or loop.halt is not None or not all(isinstance(item, Op) for item in loop.body.items):
        return None
    found = Trips(loop, [], {})
    inside = {op.out for op in loop.body.items} | {*loop.carry}
    for op in loop.body.items:
        array = op.args[0] if op.args and op.args[0].is_array else None
        if array is None:
            if op.out is None or not (op.name in DERIVATIVES or op.name == "cast") or op.out.is_array:
                return None
            continue
        if op.name == "shape" and array not in inside:
            continue
        if not _one_element(op):
            return None
        index = op.args[1:] if op.name == "load" else op.args[2:]
        place: Place | None = tuple(map(ranges.moved, index))
        if any(base in inside for base, _ in place or ()):
            place = None
        found.accesses.append(Access(op, memory.group(array), place))
    return found if _memory_apart(found) and _only_sums(found) else None


def _one_element(op: Op) -> bool:
    """Whether an operation reads, stores or adds to one element of an array."""
    if op.name not in ("load", "store", "accum"):
        return False
    array, value = op.args[0], op.out if op.name == "load" else op.args[1]
    assert isinstance(array.type, Array)
    assert value is not None
    return isinstance(value.type, Scalar) and op.attrs == (("i",) * array.type.ndim,)


def _memory_apart(found: Trips) -> bool:
    """Whether each trip has elements of its own, but for those that are only added to."""
    changed = {a.group for a in found.accesses if a.op.name in STORES}
    arrays = [value for value in found.loop.carry if value.is_array]
    if len(changed) != len(arrays):  # every array has a place of its own among what is carried
        return False
    for group in changed:
        here = [a for a in found.accesses if a.group is group]
        if all(a.op.name == "accum" for a in here):
            found.added.add(group)
            continue
        found.written.add(group)
        place = here[0].place
        if place is None or any(a.place != place for a in here):
            return False
        if all(base is not found.loop.index for base, _ in place):
            return False
    return True


def _only_sums(found: Trips) -> bool:
    """Whether the numbers that are carried are only added to."""
    loop = found.loop
    readers: dict[Value, list[Op | None]] = {}
    for op in loop.body.items:
        for value in op.args:
            readers.setdefault(value, []).append(op)
    for value in loop.body.results:
        readers.setdefault(value, []).append(None)
    for k, head in enumerate(loop.carry):
        if head.is_array:
            continue
        if not head.floats:
            return False
        steps: list[Op] = []
        value = head
        while value is not loop.body.results[k]:
            step = readers.get(value, [])
            if len(step) != 1 or step[0] is None or not _adds_to(step[0], value):
                return False
            steps.append(step[0])
            assert step[0].out is not None
            value = step[0].out
        if not steps or readers[value] != [None]:
            return False
        found.sums[k] = steps
    return True


def _adds_to(op: Op, value: Value) -> bool:
    """Whether an operation adds to a value or subtracts from it, in the value's own width."""
    a = op.args[0]
    same = op.out is not None and str(op.out.type) == str(value.type)
    return same and (op.name == "add" or (op.name == "sub" and a is value))
