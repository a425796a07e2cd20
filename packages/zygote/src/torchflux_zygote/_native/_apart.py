"""The halves of a reverse program as programs of their own, for functions that call themselves.

What the backward half reads of the forward one is left on stacks by it, or computed again: a minimum cut decides which,
as in loops. Parameters are given to both.
"""

from dataclasses import dataclass, field

from ._analysis import recomputable
from ._at_once import AtOnce
from ._halves import Scope, strong
from ._ir import Block, Item, Loop, Op, Program, Scalar, Value, defined, used
from ._mincut import cheapest_cut
from ._rewrite import fill, tidy
from ._stacks import Stacks, Threading, kinds_of, pop, push
from ._writer import Writer

__all__ = ["Apart", "ForthAndBack"]


@dataclass
class ForthAndBack:
    """The two halves of a reverse program as programs of their own.

    The first is the program itself, but leaves what the second needs on stacks. The second takes those of the
    program's parameters that are `needed`, a cotangent for every float result and the stacks; its results are the
    gradients, and how high the stacks are below what it took off.
    """

    forth: Program
    back: Program
    needed: list[int] = field(default_factory=list)
    kinds: list[Scalar] = field(default_factory=list)  # of the stacks


class Apart(AtOnce):
    """Takes the halves apart."""

    def __init__(self, program: Program, wrt: list[int], apart: bool = False) -> None:
        super().__init__(program, wrt)
        self.apart = apart  # the halves are programs of their own
        self.callees: list[ForthAndBack] = []
        results = program.block.results
        self.seeds = [Value(strong(r.type), f"{r.name if r.const is None else 'y'}_bar") for r in results if r.floats]

    def write_apart(self, made: ForthAndBack, back: Block) -> None:
        """Writes the halves as programs of their own."""
        params = self.original.params
        kept, again, needed = self.crossing(back)
        made.needed = sorted({*made.needed, *(params.index(p) for p in needed)})
        kinds = {*made.kinds, *kinds_of(kept), *(kind for callee in self.callees for kind in callee.kinds)}
        made.kinds = sorted(kinds, key=str)
        self.write_forth(made, kept)
        self.write_back(made, kept, again, back)

    def write_forth(self, made: ForthAndBack, kept: list[Value]) -> None:
        """The forward half, which puts a frame on the stacks when it has run."""
        kinds, results = tuple(made.kinds), self.original.block.results
        given = Stacks.named(kinds)
        through = self.threading().through(self.forward, given)
        left = push(self.writer(self.forward), through, kept)
        self.forward.results = [*results, *left.parts(kinds, kinds)]
        added: dict[Value, int | None] = {s: len(results) + n for n, s in enumerate(given.parts(kinds, ()))}
        params = [*self.original.params, *given.parts(kinds, kinds)]
        self.finish(made.forth, params, self.forward, self.original.stacks | added)

    def write_back(self, made: ForthAndBack, kept: list[Value], again: list[Item], back: Block) -> None:
        """The backward half, which first takes the frame off the stacks."""
        kinds, whole = tuple(made.kinds), Block()
        given = Stacks.named(kinds)
        left = self.threading().through(back, pop(self.writer(whole), given, kept))
        whole.items += [*again, *back.items]
        whole.results = [*back.results, *left.parts((), kinds)]
        params = [self.original.params[k] for k in made.needed]
        read = [p for p in params if p in self.original.stacks] + given.parts(kinds, ())
        self.finish(made.back, [*params, *self.seeds, *given.parts(kinds, kinds)], whole, dict.fromkeys(read))

    def writer(self, block: Block) -> Writer:
        """A writer that adds to a block and knows the shapes that this one knows, but nothing that it has written."""
        w = Writer()
        w.sizes, w.block = self.w.sizes, block
        return w

    def finish(self, half: Program, params: list[Value], block: Block, stacks: dict[Value, int | None]) -> None:
        """Puts a half where it was promised to be."""
        made = Program(half.name, params, block, self.original.place, dict(self.w.sizes), stacks=stacks)
        fill(half, tidy(made))

    def crossing(self, back: Block) -> tuple[list[Value], list[Item], list[Value]]:
        """What the backward half reads of the forward one: what is kept, what is computed again, and parameters."""
        params, own = set(self.original.params), {*defined(back), *self.seeds}

        def sources(value: Value) -> list[Value] | None:
            """What a value is computed from, if it can be computed again."""
            if value in params:
                return []
            item, _ = self.where[value]
            if not isinstance(item, Op) or not recomputable(item, self.memory, params):
                return None
            return [self.unchecked(x) for x in item.args if x.const is None]

        def cost(value: Value) -> int:
            """What it takes to keep a value."""
            return 1000 if value.is_array else 8

        read = [*used(back.items), *(r for r in back.results if r.const is None)]
        read = [v for v in dict.fromkeys(read) if v not in own]
        kept, again = cheapest_cut(read, sources, cost)
        items: list[Item] = []
        for value in again:
            if value not in params:
                item, _ = self.where[value]
                assert isinstance(item, Op)
                items.append(Op(item.name, tuple(map(self.unchecked, item.args)), value, item.attrs, item.place))
        return kept, items, [v for v in again if v in params]

    def threading(self) -> Threading:
        """Takes stacks through the calls of functions that call themselves."""
        return Threading(
            {id(callee.forth): tuple(callee.kinds) for callee in self.callees},
            {id(callee.back): tuple(callee.kinds) for callee in self.callees},
        )

    def seeds_of(self, item: Loop, scope: Scope) -> tuple[dict[int, Value], list[Op]] | None:
        """Where the halves are apart, no loop can run backwards as soon as it has run forwards."""
        return None if self.apart else super().seeds_of(item, scope)
