"""Loops whose way back is made trip by trip, in the loop itself: nothing is kept of a trip.

If a loop only adds up numbers (`total += f(x[i])`), their cotangents are the same in every trip. Where they are known
before the loop starts, each trip can be run backwards as soon as it has run forwards, while all it computed is there.
"""

from collections.abc import Callable

from ._adjoints import Adjoints
from ._halves import Scope, strong
from ._ir import Block, For, Item, Loop, Op, Value, While, defined, outs, used
from ._ops import DERIVATIVES
from ._rewrite import substitute
from ._sums import only_added_to
from ._tape import Tape

__all__ = ["AtOnce"]


class AtOnce(Adjoints, Tape):
    """The adjoints of loops that need no tape."""

    backward: Callable[[list[Item], Scope], None]

    def outer_of(self, item: Loop) -> list[Value]:
        """The values from outside of a loop that get cotangents in it."""
        body = item.body
        inner = defined(body) | set(item.carry) | (defined(item.head) if isinstance(item, While) else set())
        seen_inside = set(used(body.items)) | set(body.results)
        read = {**dict.fromkeys(used([item])), **dict.fromkeys(body.results)}
        found = [v for v in read if v in self.active and v not in inner and v not in item.inits]
        return found + [
            v for v in dict.fromkeys(item.inits) if v in self.active and v not in inner and v in seen_inside
        ]

    # Whether a loop can be run backwards at once.

    def seeds_of(self, item: Loop, scope: Scope) -> tuple[dict[int, Value], list[Op]] | None:
        """The cotangents of the sums that a loop leaves, by place, and what computes them; None if it isn't one."""
        if not isinstance(item, For) or item.halt is not None or scope.parent is not None:
            return None
        carried = [n for n, head in enumerate(item.carry) if head in self.active]
        if any(item.carry[n].is_array or str(item.inits[n].type) != str(item.carry[n].type) for n in carried):
            return None
        if not all(only_added_to(item.body, item.carry[n], item.body.results[n]) for n in carried):
            return None
        seeds = {n: self.adj[item.outs[n]] for n in carried if item.outs[n] in self.adj}
        made = self.known_before(item, list(seeds.values()), self.w.block)
        return None if made is None else (seeds, made)

    def known_before(self, item: For, values: list[Value], back: Block) -> list[Op] | None:
        """What has to be computed of the backward half for values to be there before a loop; None if that can't be."""
        block = self.home[id(item)]
        late = {out for other in block.items[block.items.index(item) :] for out in outs(other)}
        makers = {out: other for other in back.items for out in outs(other)}
        needed: set[Op] = set()
        todo = list(values)
        while todo:
            value = todo.pop()
            if value in late:
                return None
            op = makers.get(value)
            if op is None or op in needed:
                continue
            if not isinstance(op, Op) or value.is_array or not (op.name in DERIVATIVES or op.name == "cast"):
                return None
            needed.add(op)
            todo += op.args
        return [op for op in back.items if isinstance(op, Op) and op in needed]

    # How it is.

    def loop_at_once(self, item: For, seeds: dict[int, Value], made: list[Op]) -> None:
        """Has a loop run every trip backwards as soon as it has run forwards."""
        outer = self.outer_of(item)
        ahead, back = Block(list(made)), Block()
        around = self.w.block
        around.items = [op for op in around.items if op not in made]
        known, self.w.known = self.w.known, [{}]  # what the backward half has computed is not there yet
        with self.w.inside(ahead):
            seeds = {n: self.w.cast(seed, strong(item.carry[n].type)) for n, seed in seeds.items()}
            starts = [self.start_of(value, item, around) for value in outer]
        heads = [self.head(value) for value in outer]
        scope = self.opened(item)
        roots, self.roots = self.roots, {}
        saved, self.adj = self.adj, dict(zip(outer, heads, strict=True))
        here, self.here = self.here, scope
        with self.w.inside(back):
            for n, seed in seeds.items():
                self.accumulate(item.body.results[n], seed)
            self.backward(list(item.body.items), scope)
            ends = [self.ended(value, self.adj[value]) for value in outer]
        self.here, self.adj, self.roots, self.w.known = here, saved, roots, known
        item.body.items += back.items
        self.keep_tapes(item, ahead)
        self.put_before(item, ahead.items)
        sums = self.carry_along(item, heads, starts, ends, self.here)
        for value, start, out in zip(outer, starts, sums, strict=True):
            self.go_on(item, value, start, out)
        for n, seed in seeds.items():
            self.adj.pop(item.outs[n])
            self.accumulate(item.inits[n], seed)

    def start_of(self, value: Value, item: For, around: Block) -> Value:
        """The cotangent of a value to which a loop adds: what is there before it, or zero."""
        old, root = self.adj.get(value), self.roots.get(value)
        if old is not None and self.there_before(old, item, around):
            return self.own(old) if old.is_array else self.w.cast(old, strong(value.type))
        if old is not None and root is not None:
            for block in (around, self.home[id(item)]):
                self.w.block.items += [op for op in block.items if isinstance(op, Op) and op.out is root]
                block.items = [op for op in block.items if not (isinstance(op, Op) and op.out is root)]
            return root
        start = self.zero(value)
        if old is None and value.is_array:
            self.roots[value] = start
        return start

    def there_before(self, value: Value, item: For, around: Block) -> bool:
        """Whether a value is there before a loop, `around` which the backward half is being written."""
        made = self.known_before(item, [value], around)
        return made is not None and not made

    def go_on(self, item: For, value: Value, start: Value, out: Value) -> None:
        """Makes what a loop leaves part of a value's cotangent."""
        old = self.adj.get(value)
        self.owned.add(out)
        if old is not None and start is self.roots.get(value):  # what starts from zero later on starts from here
            block = self.home[id(item)]
            later = Block(block.items[block.items.index(item) + 1 :])
            for part in (later, Block(self.w.block.items)):
                substitute(part, {start: out})
            self.adj[value] = out if old is start else old
        elif old is None or self.there_before(old, item, self.w.block):
            self.adj[value] = out
        else:
            self.accumulate(value, out, True)

    def opened(self, item: For) -> Scope:
        """From here on a loop's body is like the outermost block: what it computes is there on the way back."""
        self.grounds.add(id(item.body))
        self.parents[id(item.body)] = None
        self.top |= {item.index, *item.carry, *(out for inner in item.body.items for out in outs(inner))}
        return Scope(self, None, item.body, set())

    def keep_tapes(self, item: For, ahead: Block) -> None:
        """Has a loop carry the tapes of the loops in it, rather than make new ones in every trip."""
        inside = defined(item.body) | {item.index, *item.carry}
        for op, final in self.tapes.pop(id(item.body), []):
            if inside.intersection(op.args):
                continue
            assert op.out is not None
            item.body.items.remove(op)
            ahead.items.append(op)
            head = Value(op.out.type, op.out.name)
            substitute(item.body, {op.out: head})
            self.carry_along(item, [head], [op.out], [final], self.here)

    def put_before(self, item: For, items: list[Item]) -> None:
        """Puts items before a loop."""
        block = self.home[id(item)]
        at = block.items.index(item)
        block.items[at:at] = items
        for new in items:
            self.register(new, block)
            for out in outs(new):
                self.note(out, block, self.here)
