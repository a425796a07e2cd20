"""`a[i] = a[i] - x` as what it is, an addition to an element: its adjoint then leaves the element's cotangent alone."""

from ._ir import Array, Block, Item, Op, Program, Value, blocks, operands, outs, walk

__all__ = ["with_additions"]


def with_additions(program: Program) -> Program:
    """The program with every element that is read, added to and stored again as one addition."""
    readers: dict[Value, int] = {}
    for block in _all(program.block):
        for item in block.items:
            for value in operands(item):
                readers[value] = readers.get(value, 0) + 1
        for value in block.results:
            readers[value] = readers.get(value, 0) + 1
    for block in _all(program.block):
        for item in list(block.items):
            if isinstance(item, Op) and item.name == "store":
                _rewrite(block, item, readers)
    return program


def _all(block: Block) -> list[Block]:
    """A block and all that are in it."""
    return [block, *(inner for item in walk(block) for inner in blocks(item))]


def _rewrite(block: Block, store: Op, readers: dict[Value, int]) -> None:
    """Makes a store an addition, if that is what it is."""
    array, new, *index = store.args
    makers = {out: item for item in block.items for out in outs(item)}
    change = makers.get(new)
    if not _element_of_floats(store) or not isinstance(change, Op) or change.name not in ("add", "sub"):
        return
    old, share = change.args
    if change.name == "add" and not _read_for(makers.get(old), store):
        old, share = share, old
    load = makers.get(old)
    if not _read_for(load, store) or readers[new] != 1 or readers[old] != 1 or not share.floats:
        return
    assert isinstance(array.type, Array)
    if str(new.type) != str(array.type.dtype):
        return
    if change.name == "sub":
        minus = Value(share.type)
        block.items[block.items.index(change)] = Op("neg", (share,), minus, place=change.place)
        share = minus
    else:
        block.items.remove(change)
    block.items.remove(load)
    block.items[block.items.index(store)] = Op("accum", (array, share, *index), store.out, store.attrs, store.place)


def _element_of_floats(store: Op) -> bool:
    """Whether one float is stored."""
    array, new = store.args[:2]
    return array.floats and not new.is_array and len(store.attrs) == 1 and set(store.attrs[0]) == {"i"}


def _read_for(item: Item | None, store: Op) -> bool:
    """Whether an item reads the element that is stored, with nothing stored into the array in between."""
    array, _, *index = store.args
    if not isinstance(item, Op) or item.name != "load" or item.attrs != store.attrs:
        return False
    return len(item.args) == len(index) + 1 and all(a is b for a, b in zip(item.args, (array, *index), strict=True))
