"""Reverse mode: a program's value and the gradients of what it returns, as one program.

The forward half is the program itself. The backward half is the program read from its end: every operation is
replaced by its adjoint, an `if` by an `if` on the same condition, a loop by a loop over the same trips backwards.

What the adjoint of a loop's body needs of a trip is taken from a tape, which the forward loop writes row by row, or
computed again from what is on the tape: a minimum cut decides which, so that the tape is as narrow as can be. What was
computed outside of loops is simply still there.

The adjoint of a call runs the call's program again, and backwards. Of a function that calls itself, though, the two
halves are programs of their own (`halves`), and what the second needs of the first lies on stacks: or every call would
run all those below it again.

Source: Griewank and Walther (2008), Evaluating Derivatives, doi:10.1137/1.9780898717761, chapters 3 and 5.
"""

from ._apart import Apart, ForthAndBack
from ._halves import Scope, strong
from ._ir import INT, Block, Call, For, If, Item, Loop, Op, Program, Scalar, Value, While, defined, outs
from ._ops import DERIVATIVES
from ._rewrite import fill, tidy
from ._stacks import Stacks
from ._writer import Writer, literal

__all__ = ["reverse"]

ONE = literal(1)


def reverse(program: Program, wrt: list[int]) -> Program:
    """The program's value and gradient.

    Parameters: the program's own, then a cotangent for every float result. Results: the program's own, then the
    gradient for every parameter in `wrt`.
    """
    key = ("reverse", tuple(wrt))
    if key not in program.derived:
        promised = program.derived[key] = Program(
            f"{program.name}_reverse", [], Block(), called=program.called, raises=program.raises
        )  # it may call itself
        fill(promised, tidy(_Reverse(program, wrt).program()))
    made: Program = program.derived[key]
    return made


def halves(program: Program, wrt: list[int]) -> ForthAndBack:
    """A program that calls itself in two halves.

    What it needs of its parameters and which stacks it takes depends on what the calls in it do, which are calls of
    itself: it is written again until nothing is added.
    """
    key = ("halves", tuple(wrt))
    if key not in program.derived:
        forth, back = (Program(f"{program.name}_{name}", [], Block(), called=True) for name in ("forth", "back"))
        forth.raises = program.raises
        found = program.derived[key] = ForthAndBack(forth, back)  # it calls itself
        while True:
            before = list(found.needed), list(found.kinds)
            run = _Reverse(program, wrt, apart=True)
            run.write_apart(found, run.written())
            if before == (found.needed, found.kinds):
                break
    made: ForthAndBack = program.derived[key]
    return made


class _Reverse(Apart):
    """Writes the backward half."""

    def program(self) -> Program:
        """The whole program: the forward half, then the backward half."""
        back = self.written()
        self.forward.items += back.items
        self.forward.results = [*self.original.block.results, *back.results]
        kinds = {kind for callee in self.callees for kind in callee.kinds}
        if kinds:
            w = Writer()
            self.threading().through(self.forward, Stacks.new(tuple(sorted(kinds, key=str)), w))
            self.forward.items[0:0] = w.block.items
        pairs = zip(back.results, self.wrt, strict=True)
        return Program(
            f"{self.original.name}_reverse",
            [*self.original.params, *self.seeds],
            self.forward,
            self.original.place,
            self.w.sizes,
            like=self.original.like | {g: self.original.params[k] for g, k in pairs},
            effects=self.original.effects,
            stacks=self.original.stacks,
        )

    def written(self) -> Block:
        """The backward half, whose results are the gradients."""
        results = [r for r in self.original.block.results if r.floats]
        self.w.block = self.forward
        scope = Scope(self, None, self.forward, set())
        self.here = scope
        forward_items = list(self.forward.items)
        back = Block()
        with self.w.inside(back):
            for r, seed in zip(results, self.seeds, strict=True):
                self.accumulate(r, seed)
            self.backward(forward_items, scope)
            back.results = [self.gradient(self.original.params[k]) for k in self.wrt]
        return back

    def backward(self, items: list[Item], scope: Scope) -> None:
        """The adjoints of items, from the last to the first."""
        outer, self.here = self.here, scope
        for item in reversed(items):
            if isinstance(item, Op):
                self.op(item)
            elif isinstance(item, Call):
                self.call(item)
            elif isinstance(item, If):
                self.branch(item, scope)
            else:
                self.loop(item, scope)
        self.here = outer

    def op(self, item: Op) -> None:
        """An operation backwards, if its result has a cotangent."""
        if item.out is None or item.out not in self.active:
            return
        g = self.adj.pop(item.out, None)
        if g is None:
            return
        if item.name in DERIVATIVES:
            self.elementwise(item, g)
        else:
            getattr(self, f"pull_{item.name}", self.unknown)(item, g)

    def call(self, item: Call) -> None:
        """A call backwards: its program is run again and back, or back alone from what it has left on the stacks."""
        shares = [self.adj.pop(out, None) if out in self.active else None for out in item.outs]
        if all(share is None for share in shares):
            return
        wrt = [n for n, p in enumerate(item.program.params) if p.floats]
        seeds = [
            self.zero(out) if share is None else share
            for out, share in zip(item.outs, shares, strict=True)
            if out.floats
        ]
        seeds = [
            self.w.cast(s, strong(out.type)) if not s.is_array else s
            for s, out in zip(seeds, [o for o in item.outs if o.floats], strict=True)
        ]
        grads = [Value(strong(item.program.params[n].type), f"{item.args[n].name}_bar") for n in wrt]
        if item.program.called:
            callee = halves(item.program, wrt)
            self.callees.append(callee)
            self.w.add(
                Call(callee.back, [*(self.look(item.args[n]) for n in callee.needed), *seeds], grads, item.place)
            )
            item.program = callee.forth
        else:
            again = [Value(out.type, out.name) for out in item.outs]
            args = [*(self.look(arg) for arg in item.args), *seeds]
            self.w.add(Call(reverse(item.program, wrt), args, [*again, *grads], item.place))
        for n, grad in zip(wrt, grads, strict=True):
            self.accumulate(item.args[n], grad, True)

    def unknown(self, item: Op, g: Value) -> None:
        """Stands for the adjoints that are missing."""
        raise NotImplementedError(f"no adjoint of {item.name}")

    def branch(self, item: If, scope: Scope) -> None:
        """An `if` backwards: an `if` on the same condition."""
        shares = [self.adj.pop(out, None) if out in self.active else None for out in item.outs]
        if all(share is None for share in shares):
            return
        cond = scope.lookup(item.cond)
        before, ends, sides = self.adj, [], []
        owned, ours = self.owned, []
        inside = defined(item.then) | defined(item.orelse)
        for n, block in enumerate((item.then, item.orelse)):
            child = Scope(self, scope, block, {v for inner in block.items for v in outs(inner)})
            side = Block()
            self.adj, self.owned = dict(before), set(owned)
            here, self.here = self.here, child
            with self.w.inside(side):
                for result, share in zip(block.results, shares, strict=False):
                    if share is not None:
                        self.accumulate(result, share, share in self.owned)
                self.backward(list(block.items), child)
            self.here = here
            self.settle_branch(child, item, n, side)
            ends.append(self.adj)
            sides.append(side)
            ours.append(self.owned)
        self.adj, self.owned = before, owned
        self.join(cond, sides, ends, inside, ours)

    def join(
        self,
        cond: Value,
        sides: list[Block],
        ends: list[dict[Value, Value]],
        inside: set[Value],
        ours: list[set[Value]],
    ) -> None:
        """The cotangents behind a branch, from those that its two sides leave."""
        made: list[Value] = []
        for value in {**ends[0], **ends[1]}:
            a, b = ends[0].get(value), ends[1].get(value)
            if value in inside:
                continue
            if a is b:  # untouched, or the same share on both sides
                assert a is not None
                if not all(a in owned for owned in ours):
                    self.owned.discard(a)
                self.adj[value] = a
                continue
            results = []
            for found, side, owned in ((a, sides[0], ours[0]), (b, sides[1], ours[1])):
                with self.w.inside(side):
                    results.append(self.zero(value) if found is None else found)
                if found is None:
                    owned.add(results[-1])
            type = strong(value.type)
            out = Value(type, f"{value.name}_bar")
            for result, side in zip(results, sides, strict=True):
                with self.w.inside(side):
                    side.results.append(self.w.cast(result, type) if isinstance(type, Scalar) else result)
            if all(r in owned for r, owned in zip(results, ours, strict=True)):
                self.owned.add(out)
            made.append(out)
            self.adj[value] = out
        then, orelse = sides
        self.w.choose(cond, then, orelse, made)

    def loop(self, item: Loop, scope: Scope) -> None:
        """A loop backwards: a loop over the same trips from the last to the first."""
        for out in item.outs:
            if out in self.active and self.adj.get(out) is not None:
                break
        else:
            return
        at_once = self.seeds_of(item, scope)
        if at_once is not None:
            assert isinstance(item, For)
            self.loop_at_once(item, *at_once)
            return
        body = item.body
        carried = [n for n, head in enumerate(item.carry) if head in self.active]
        outer = self.outer_of(item)
        heads, starts = [], []
        for n in carried:
            share = None
            for out, last in zip(item.outs, item.head.results if isinstance(item, While) else item.carry, strict=False):
                if last is item.carry[n] and out in self.active and out in self.adj:
                    more = self.adj.pop(out)
                    share = more if share is None else self.w.op("add", share, more)
            starts.append(self.zero(_out_of(item, n)) if share is None else self.own(share))
            heads.append(self.head(item.carry[n]))
        for value in outer:
            starts.append(self.own(self.adj[value]) if value in self.adj else self.root(value))
            heads.append(self.head(value))
        child = Scope(self, scope, body, {*item.carry, *(v for inner_item in body.items for v in outs(inner_item))})
        if isinstance(item, While):
            child.own |= {v for inner_item in item.head.items for v in outs(inner_item)}
            child.head = item.head
        else:
            child.own.add(item.index)
        index = child.trip = Value(INT, "k")
        saved, self.adj = self.adj, dict(zip(outer, heads[len(carried) :], strict=True))
        back = Block()
        here, self.here = self.here, child
        with self.w.inside(back):
            for n, head in zip(carried, heads, strict=False):
                self.accumulate(body.results[n], head, True)
            self.backward([*(item.head.items if isinstance(item, While) else []), *body.items], child)
            for n in carried:
                found = self.adj.pop(item.carry[n], None)
                back.results.append(self.ended(item.carry[n], found))
            for value in outer:
                back.results.append(self.ended(value, self.adj[value]))
        self.here = here
        self.adj = saved
        trips = self.trips(item, scope)
        self.settle_loop(child, item, index, back, scope)
        ends = [Value(head.type, head.name) for head in heads]
        self.owned.update(e for e in ends if e.is_array)
        last = literal(trips.const - 1) if trips.const is not None else self.w.emit("sub", INT, trips, ONE, pure=False)
        self.w.add(For(index, last, literal(-1), literal(-1), heads, starts, back, ends, backward=True))
        for value, end in zip(outer, ends[len(carried) :], strict=True):
            self.adj[value] = end
        for n, end in zip(carried, ends, strict=False):
            self.accumulate(item.inits[n], end, True)


def _out_of(item: Loop, n: int) -> Value:
    """What a loop leaves of the place `n` that it carries."""
    if isinstance(item, For):
        return item.outs[n]
    for out, last in zip(item.outs, item.head.results, strict=False):
        if last is item.carry[n]:
            return out
    return item.inits[n]
