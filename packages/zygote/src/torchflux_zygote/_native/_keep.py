"""What the way back needs of the way there: kept, or computed again."""

from ._analysis import recomputable
from ._cotangents import Cotangents
from ._halves import Scope
from ._ir import BOOL, F32, Array, Block, For, If, Item, Op, Type, Value, defined, outs, used, walk
from ._mincut import cheapest_cut, operands_first
from ._rewrite import clone, prune, substitute
from ._writer import literal

__all__ = ["Keeping"]


class Keeping(Cotangents):
    """Provides what the backward half of a block asked for."""

    def cut(self, scope: Scope) -> tuple[list[Value], list[Value]]:
        """What to keep of the values that a scope asked for, and what to compute again."""

        def sources(value: Value) -> list[Value] | None:
            if value not in self.where:
                return None
            item, k = self.where[value]
            if k == -1:
                return [] if isinstance(item, For) and value is item.index else None
            if not recomputable(item, self.memory, self.top):
                return None
            inputs = list(item.args) if isinstance(item, Op) else _inputs(item, k) if isinstance(item, If) else []
            return [x for x in map(self.unchecked, inputs) if x in scope.own]

        def cost(value: Value) -> int:
            if value.is_array:
                return 1000
            return 1 if value.type == BOOL else 4 if value.type == F32 else 8

        if not scope.requested:
            return [], []
        kept, again = cheapest_cut(scope.requested, sources, cost)
        for value in kept:
            scope.known.setdefault(value, Value(value.type, value.name))
        return kept, again

    def computed_again(self, scope: Scope, again: list[Value]) -> list[Item]:
        """Items that define what the scope promised, from what it has."""
        for value in again:
            scope.known.setdefault(value, Value(value.type, value.name))
        made: list[Item] = []
        done: set[int] = set()
        for value in again:
            item, k = self.where[value]
            if k == -1:
                continue  # the index
            if isinstance(item, Op):
                args = tuple(scope.lookup(arg) for arg in item.args)
                made.append(Op(item.name, args, scope.known[value], item.attrs, item.place))
            elif id(item) not in done:
                assert isinstance(item, If)
                done.add(id(item))
                made.append(self.branch_again(item, scope, again))
        makers = {value: n for n, item in enumerate(made) for value in outs(item)}

        def before(n: int) -> list[int]:
            """The items that make what one reads; a branch makes several values at once."""
            return [makers[value] for value in used([made[n]]) if makers.get(value, n) != n]

        return [made[n] for n in operands_first(range(len(made)), before)]

    def branch_again(self, item: If, scope: Scope, again: list[Value]) -> If:
        """A branch that computes the results in `again` once more."""
        which = [k for k, out in enumerate(item.outs) if out in again]
        sides = []
        for block in (item.then, item.orelse):
            copy = prune(clone(Block(list(block.items), [block.results[k] for k in which])))
            substitute(
                copy,
                {
                    i.out: self.unchecked(i.out)
                    for i in walk(copy)
                    if isinstance(i, Op) and i.out is not None and i.name == "within"
                },
            )
            copy = prune(copy)
            local = defined(copy)
            mapping = {
                v: scope.lookup(v) for v in [*used(copy.items), *copy.results] if v not in local and v.const is None
            }
            substitute(copy, mapping)
            fresh = {v: Value(v.type, v.name) for v in local}
            substitute(copy, fresh, define=True)
            sides.append(copy)
        then, orelse = sides
        return If(scope.lookup(item.cond), then, orelse, [scope.known[item.outs[k]] for k in which])

    def settle_branch(self, scope: Scope, item: If, n: int, side: Block) -> None:
        """Provides what the backward half of a branch asked for: computed again, or from the forward branch."""
        kept, again = self.cut(scope)
        parent = scope.parent
        assert parent is not None
        mapping: dict[Value, Value] = {}
        for value in kept:
            out = Value(value.type, value.name)
            other = (item.then, item.orelse)[1 - n]
            (item.then, item.orelse)[n].results.append(value)
            other.results.append(self.blank(value.type, other))
            item.outs.append(out)
            self.where[out] = (item, len(item.outs) - 1)
            self.note(out, self.home[id(item)], parent)
            mapping[scope.known[value]] = parent.lookup(out)
        prologue = self.computed_again(scope, again)
        side.items[0:0] = prologue
        substitute(side, mapping)
        for key, value in list(self.adj.items()):
            self.adj[key] = mapping.get(value, value)

    def blank(self, type: Type, block: Block) -> Value:
        """Something of a type, to stand where it isn't used."""
        if not isinstance(type, Array):
            return Value(type, const=False if type == BOOL else 0.0 if type.kind == "f" else 0)
        out = Value(type, "unused")
        block.items.append(Op("empty", tuple(literal(0) for _ in range(type.ndim)), out, str(type.dtype)))
        return out


def _inputs(item: If, k: int) -> list[Value]:
    """What one of the results of a branch is computed from."""
    found: dict[Value, None] = {item.cond: None}
    for block in (item.then, item.orelse):
        part = prune(clone(Block(list(block.items), [block.results[k]])))
        local = defined(part)
        for value in [*used(part.items), *part.results]:
            if value not in local and value.const is None:
                found[value] = None
    return list(found)
