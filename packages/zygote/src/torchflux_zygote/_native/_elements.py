"""Elements of the program's own arrays that are read where it is known what was stored: the number itself.

An array of a few numbers that is made, read and returned element by element is then not needed at all.
"""

from ._ir import Array, Op, Program, Value, walk
from ._rewrite import substitute
from ._writer import same_type

__all__ = ["elements_known"]


def elements_known(program: Program) -> Program:
    """The program without reads of elements that were stored before, at places that are literals."""
    made = {item.out: item for item in walk(program.block) if isinstance(item, Op) and item.out is not None}
    known: dict[Value, Value] = {}
    for out, op in made.items():
        if op.name == "load" and not out.is_array:
            found = _stored(made, op)
            if found is not None:
                known[out] = found
    substitute(program.block, known)
    return program


def _stored(made: dict[Value, Op], load: Op) -> Value | None:
    """What an element was given, if all stores since the array was made are known."""
    array, *place = load.args
    assert isinstance(array.type, Array)
    where = _place(load, place)
    step = made.get(array)
    while where is not None and step is not None and step.name == "store":
        there = _place(step, step.args[2:])
        if there is None:
            return None
        value = step.args[1]
        if there == where:
            return value if same_type(value.type, array.type.dtype) else None
        step = made.get(step.args[0])
    if where is None or step is None or step.name != "zeros":
        return None
    sizes = [n.const for n in step.args]
    inside = all(n is not None and 0 <= i < n for i, n in zip(where, sizes, strict=True))
    return (
        Value(array.type.dtype, const=0.0 if array.floats else 0) if inside and array.type.dtype.kind != "b" else None
    )


def _place(op: Op, index: list[Value] | tuple[Value, ...]) -> tuple[int, ...] | None:
    """The place of an element, if it is given by literals that aren't counted from the end."""
    array = op.args[0]
    assert isinstance(array.type, Array)
    places = [i.const for i in index]
    literal = all(type(i) is int and i >= 0 for i in places)
    return tuple(places) if op.attrs == (("i",) * array.type.ndim,) and literal else None
