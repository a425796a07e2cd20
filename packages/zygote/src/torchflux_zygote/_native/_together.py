"""Functions that call each other as one function, which is told which of them it is.

Numba compiles a function when all that it calls are compiled, but for itself. So programs that call each other become
one, of which a first parameter says whose block is to run. Parameters and results of the same type share a place; a
call leaves blanks in those that its function doesn't have. All that is made of programs later on (derivatives, stacks)
knows of functions that call themselves only.
"""

from collections.abc import Iterable

from ._emit_calls import reached
from ._halves import strong
from ._ir import BOOL, INT, Array, Block, Call, If, Item, Op, Program, Type, Value, blocks, walk
from ._rewrite import acts, substitute, tidy
from ._writer import literal

__all__ = ["together"]


def together(program: Program) -> Program:
    """The program with those that call each other made one, and all that it calls without what nobody reads."""
    for group in _groups(program):
        one = _One(group)
        for p in [*reached(program), one.program]:
            _redirect(p.block, one)
    called = [p for p in reached(program) if p is not program]
    for p in called:
        p.raises = any(acts(item) for q in reached(p) for item in walk(q.block))
    for p in called:
        tidy(p)
    return program


def _groups(program: Program) -> list[list[Program]]:
    """The programs of which each calls all others, itself or through them; more than one."""
    every = reached(program)
    below = {id(p): _below(p) for p in every}
    groups: list[list[Program]] = []
    for p in every:
        group = [q for q in every if id(q) in below[id(p)] and id(p) in below[id(q)]]
        if len(group) > 1 and group not in groups:
            groups.append(group)
    return groups


def _below(program: Program) -> set[int]:
    """The programs that are called in one, by their ids."""
    return {id(q) for item in walk(program.block) if isinstance(item, Call) for q in reached(item.program)}


class _One:
    """The function that several become."""

    def __init__(self, members: list[Program]) -> None:
        self.members = members
        which = Value(INT, "which")
        self.params, self.takes = _shared([p.params for p in members])
        self.outs, self.gives = _shared([p.block.results for p in members])
        name = "_or_".join(dict.fromkeys(p.name for p in members))
        sides = []
        sizes: dict[Value, tuple[Value, ...]] = {}
        for n, p in enumerate(members):
            substitute(p.block, {param: self.params[k] for param, k in zip(p.params, self.takes[n], strict=True)})
            side = Block(p.block.items)
            side.results = self.filled(p.block.results, self.gives[n], self.outs, side.items)
            sides.append(side)
            own = set(p.params)
            sizes |= {a: shape for a, shape in p.sizes.items() if a not in own and not own.intersection(shape)}
        block = self.chosen(which, sides, 0)
        self.program = Program(name, [which, *self.params], block, members[0].place, sizes, called=True)

    def chosen(self, which: Value, sides: list[Block], n: int) -> Block:
        """The block that is to run, of those from `n` on."""
        if n == len(sides) - 1:
            return sides[n]
        cond, outs = Value(BOOL, "first"), [Value(v.type, v.name) for v in self.outs]
        orelse = self.chosen(which, sides, n + 1)
        return Block([Op("eq", (which, literal(n)), cond), If(cond, sides[n], orelse, outs)], list(outs))

    def filled(self, values: list[Value], places: list[int], like: list[Value], items: list[Item]) -> list[Value]:
        """Values in their places, with blanks in the others."""
        there = dict(zip(places, values, strict=True))
        return [there[k] if k in there else _blank(v.type, items) for k, v in enumerate(like)]

    def call(self, call: Call) -> list[Item]:
        """A call of a member as one of the whole."""
        n = next(n for n, p in enumerate(self.members) if p is call.program)
        items: list[Item] = []
        args = [literal(n), *self.filled(call.args, self.takes[n], self.params, items)]
        there = dict(zip(self.gives[n], call.outs, strict=True))
        outs = [there[k] if k in there else Value(v.type, "unused") for k, v in enumerate(self.outs)]
        return [*items, Call(self.program, args, outs, call.place)]


def _redirect(block: Block, one: _One) -> None:
    """Puts calls of the whole in the place of calls of its members."""
    items: list[Item] = []
    for item in block.items:
        for inner in blocks(item):
            _redirect(inner, one)
        items += one.call(item) if isinstance(item, Call) and item.program in one.members else [item]
    block.items = items


def _shared(lists: Iterable[list[Value]]) -> tuple[list[Value], list[list[int]]]:
    """Places for lists of values, those of the same type shared, and where the values of each list go."""
    made: list[Value] = []
    places: list[list[int]] = []
    for values in lists:
        taken: list[int] = []
        for value in values:
            free = [k for k, v in enumerate(made) if str(v.type) == str(value.type) and k not in taken]
            if not free:
                free = [len(made)]
                made.append(Value(strong(value.type), value.name if value.const is None else "y"))
            taken.append(free[0])
        places.append(taken)
    return made, places


def _blank(type: Type, items: list[Item]) -> Value:
    """Something of a type, to stand where nothing is."""
    if not isinstance(type, Array):
        return Value(type, const=False if type == BOOL else 0.0 if type.kind == "f" else 0)
    out = Value(type, "blank")
    items.append(Op("empty", tuple(literal(0) for _ in range(type.ndim)), out, str(type.dtype)))
    return out
