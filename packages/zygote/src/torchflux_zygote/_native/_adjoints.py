"""The adjoints of what isn't element-wise: arrays and their parts, sums, linear algebra.

Source of the matrix rules: Giles (2008), Collected matrix derivative results for forward and reverse mode AD.
"""

import ast
from functools import cache
from typing import Any

from ._arrays import part_type
from ._cotangents import Cotangents
from ._halves import arg_dtype, ndim, strong
from ._ir import INT, Array, Op, Value
from ._ops import DERIVATIVES, formula

__all__ = ["Adjoints"]


class Adjoints(Cotangents):
    """One method for every operation: from the cotangent of its result to those of its operands."""

    def elementwise(self, item: Op, g: Value) -> None:
        """The table's formulas, with the cotangent of the result for `g`."""
        out = item.out
        assert out is not None
        for k, arg in enumerate(item.args):
            text = DERIVATIVES[item.name][k]
            if text is None or arg not in self.active:
                continue
            operands = dict(zip("abc", item.args, strict=False)) | {"y": out}
            names = {name: self.look(operands[name]) for name in sorted(_names(text) - {"g"})}
            share = self.w.formula(text, g=g, **names)
            self.accumulate(arg, *self.narrowed(share, g, arg, item))

    def narrowed(self, share: Value, g: Value, arg: Value, item: Op) -> tuple[Value, bool]:
        """A share in the shape of the operand that was broadcast, and whether it is nobody else's."""
        if not share.is_array:
            return share, False
        if not isinstance(arg.type, Array):
            return self.w.emit("sum", arg_dtype(arg), share, pure=False), False
        others = [x for x in item.args if x is not arg and x.is_array]
        if others and not self.same_shape(arg, item.out):
            sizes = [self.size(arg, k) for k in range(arg.type.ndim)]
            return self.w.emit("unbroadcast", arg.type, share, *sizes, pure=False), False
        return share, share is not g

    def pull_load(self, item: Op, g: Value) -> None:
        """A part that was read: its cotangent is added to that part of the array's."""
        array, *index = item.args
        if array not in self.active:
            return
        bar = self.own(self.adj[array]) if array in self.adj else self.root(array)
        self.adj[array] = self.add_at(bar, item.attrs, tuple(self.look(i) for i in index), g)

    def pull_store(self, item: Op, g: Value) -> None:
        """A part that was overwritten: its cotangent is the value's, and the old content gets none."""
        array, value, *index = item.args
        places = tuple(self.look(i) for i in index)
        bar = self.own(g)
        kind = part_type(array.type, item.attrs)
        if value in self.active:
            share = self.w.emit("load", kind, bar, *places, attrs=item.attrs, pure=False)
            if share.is_array:
                share = self.w.emit("copy", share.type, share, pure=False)
            self.accumulate(value, *self.fitted(share, value))
        if array in self.active:
            new = Value(bar.type, bar.name)
            self.w.add(Op("store", (bar, Value(arg_dtype(array), const=0.0), *places), new, item.attrs))
            self.owned.add(new)
            self.merge(array, new)

    def pull_accum(self, item: Op, g: Value) -> None:
        """A part that was added to: the value gets the part's cotangent, the array keeps all of it."""
        array, value, *index = item.args
        if value in self.active:
            places = tuple(self.look(i) for i in index)
            share = self.w.emit("load", part_type(array.type, item.attrs), g, *places, attrs=item.attrs, pure=False)
            if share.is_array:
                share = self.w.emit("copy", share.type, share, pure=False)
            self.accumulate(value, *self.fitted(share, value))
        if array in self.active:
            self.merge(array, self.own(g))

    def pull_copy(self, item: Op, g: Value) -> None:
        """A copy hands its cotangent on."""
        self.accumulate(item.args[0], g, g in self.owned)

    def pull_cast(self, item: Op, g: Value) -> None:
        """A cast back to the operand's type."""
        arg = item.args[0]
        self.accumulate(arg, self.w.cast(g, strong(arg.type)))

    def pull_sum(self, item: Op, g: Value) -> None:
        """Every element gets the sum's cotangent."""
        self.accumulate(item.args[0], self.full(item.args[0], g), True)

    def pull_sum_axis(self, item: Op, g: Value) -> None:
        """Every element along the axis gets the cotangent of its sum."""
        step = tuple("n" if k == item.attrs else "s000" for k in range(ndim(item.args[0])))
        row = self.w.emit("load", item.args[0].type, g, attrs=(step,), pure=False)
        zeros = self.zero(item.args[0])
        self.accumulate(item.args[0], self.add_at(zeros, (("s000",) * ndim(zeros),), (), row), True)

    def pull_fill(self, item: Op, g: Value) -> None:
        """The number gets the sum over all that was filled."""
        self.accumulate(item.args[1], *self.fitted(g, item.args[1]))

    def pull_unbroadcast(self, item: Op, g: Value) -> None:
        """The cotangent is broadcast again."""
        zeros = self.zero(item.args[0])
        self.accumulate(item.args[0], self.add_at(zeros, (("s000",) * ndim(zeros),), (), g), True)

    def pull_transposed(self, item: Op, g: Value) -> None:
        """The cotangent transposed."""
        self.accumulate(item.args[0], self.w.emit("transposed", item.args[0].type, g, pure=False))

    def pull_ravel(self, item: Op, g: Value) -> None:
        """The cotangent in the operand's shape."""
        sizes = [self.size(item.args[0], k) for k in range(ndim(item.args[0]))]
        self.accumulate(item.args[0], self.w.emit("reshape", item.args[0].type, g, *sizes, pure=False))

    def pull_reshape(self, item: Op, g: Value) -> None:
        """The cotangent in one row."""
        self.accumulate(item.args[0], self.w.emit("ravel", item.args[0].type, g, pure=False))

    def pull_cumsum(self, item: Op, g: Value) -> None:
        """The sums of the last elements."""
        row, end = item.args[0], Value(INT, const=-1)
        turned = self.w.emit("load", row.type, g, end, attrs=(("s001",),), pure=False)
        sums = self.w.emit("cumsum", row.type, turned, pure=False)
        back = self.w.emit("load", row.type, sums, end, attrs=(("s001",),), pure=False)
        self.accumulate(row, self.w.emit("copy", row.type, back, pure=False), True)

    def pull_diagonal(self, item: Op, g: Value) -> None:
        """A matrix with the cotangent on its diagonal."""
        matrix = item.args[0]
        sizes = [self.size(matrix, k) for k in range(2)]
        self.accumulate(matrix, self.w.emit("on_diagonal", matrix.type, g, *sizes, pure=False), True)

    def pull_on_diagonal(self, item: Op, g: Value) -> None:
        """The diagonal of the cotangent."""
        self.accumulate(item.args[0], self.w.emit("diagonal", item.args[0].type, g, pure=False), True)

    def pull_take(self, item: Op, g: Value) -> None:
        """What was read at some places: its cotangent is added there, as often as it was read."""
        array, places = item.args
        bar = self.adj.get(array)
        bar = self.zero(array) if bar is None else self.own(bar)
        self.adj[array] = self.stored("scatter", bar, g, (self.look(places),), ())

    def pull_put(self, item: Op, g: Value) -> None:
        """What was stored at some places gets the cotangent of where it stayed, and what had been there gets none."""
        array, value, *index = item.args
        *index, places = (self.look(i) for i in index)
        bar = self.own(g)
        if value in self.active:
            share = self.w.emit(
                "take_last", self.at_places(bar, places), self.part(bar, item, index), places, pure=False
            )
            self.accumulate(value, *self.fitted(share, value))
        if array in self.active:
            zero = Value(arg_dtype(array), const=0.0)
            self.merge(array, self.stored("put", bar, zero, (*index, places), item.attrs))

    def pull_scatter(self, item: Op, g: Value) -> None:
        """What was added at some places gets their cotangents; the array keeps all of it."""
        array, value, *index = item.args
        *index, places = (self.look(i) for i in index)
        if value in self.active:
            share = self.w.emit("take", self.at_places(g, places), self.part(g, item, index), places, pure=False)
            self.accumulate(value, *self.fitted(share, value))
        if array in self.active:
            self.merge(array, self.own(g))

    def pull_take_last(self, item: Op, g: Value) -> None:
        """What was taken where it was stored last: its cotangent goes there once."""
        array, places = item.args
        self.accumulate(array, self.stored("put", self.zero(array), g, (self.look(places),), ()), True)

    def stored(self, name: str, array: Value, value: Value, index: tuple[Value, ...], path: Any) -> Value:
        """An array of ours after a store at places of it."""
        out = Value(array.type, array.name)
        self.w.add(Op(name, (array, value, *index), out, path))
        self.owned.discard(array)
        self.owned.add(out)
        return out

    def part(self, array: Value, item: Op, index: list[Value]) -> Value:
        """The part of an array that a store at places goes to."""
        if not item.attrs:
            return array
        return self.w.emit("load", part_type(array.type, item.attrs), array, *index, attrs=item.attrs, pure=False)

    def at_places(self, array: Value, places: Value) -> Array:
        """The type of what is taken from an array."""
        return Array(arg_dtype(array), ndim(places))

    def pull_grow(self, item: Op, g: Value) -> None:
        """A tape that grew: the same cotangent, of which the old rows are the beginning."""
        tape = item.args[0]
        bar = self.own(g)
        self.merge(tape, bar)

    def pull_matmul(self, item: Op, g: Value) -> None:
        """A matrix product: products with the other factor, transposed."""
        a, b = item.args
        if a in self.active:
            self.accumulate(a, self.matmul_left(self.look(b), g, a), True)
        if b in self.active:
            self.accumulate(b, self.matmul_right(self.look(a), g, b), True)

    def pull_outer(self, item: Op, g: Value) -> None:
        """An outer product: the cotangent times the other vector."""
        a, b = item.args
        if a in self.active:
            self.accumulate(a, self.w.emit("matmul", a.type, g, self.look(b), pure=False), True)
        if b in self.active:
            self.accumulate(b, self.w.emit("matmul", b.type, self.look(a), g, pure=False), True)

    def pull_solve(self, item: Op, g: Value) -> None:
        """A linear system: another one, with the matrix transposed."""
        a, b = item.args
        out = item.out
        assert out is not None
        back = self.w.emit("solve", b.type, self.transposed(self.look(a)), g, pure=False)
        self.owned.add(back)
        if a in self.active:
            x = self.look(out)
            pair = ("outer", back, x) if ndim(b) == 1 else ("matmul", back, self.transposed(x))
            self.accumulate(a, self.w.op("neg", self.w.emit(pair[0], a.type, *pair[1:], pure=False)), True)
        self.accumulate(b, back)

    def pull_inv(self, item: Op, g: Value) -> None:
        """An inverse: the cotangent between two transposed inverses, negated."""
        out = item.out
        assert out is not None
        turned = self.transposed(self.look(out))
        inner = self.w.emit("matmul", out.type, g, turned, pure=False)
        self.accumulate(
            item.args[0], self.w.op("neg", self.w.emit("matmul", out.type, turned, inner, pure=False)), True
        )

    def pull_det(self, item: Op, g: Value) -> None:
        """A determinant: itself times the transposed inverse."""
        a, out = item.args[0], item.out
        assert out is not None
        turned = self.transposed(self.w.emit("inv", a.type, self.look(a), pure=False))
        self.accumulate(a, self.w.op("mul", turned, self.w.op("mul", g, self.look(out))), True)

    def matmul_left(self, b: Value, g: Value, a: Value) -> Value:
        """The share of a product's left factor `a`."""
        if not g.is_array:
            return self.w.op("mul", b, g)
        if ndim(a) == 2 and ndim(b) == 1:
            return self.w.emit("outer", a.type, g, b, pure=False)
        return (
            self.w.emit("matmul", a.type, g, self.transposed(b), pure=False)
            if ndim(a) == 2
            else self.w.emit("matmul", a.type, b, g, pure=False)
        )

    def matmul_right(self, a: Value, g: Value, b: Value) -> Value:
        """The share of a product's right factor `b`."""
        if not g.is_array:
            return self.w.op("mul", a, g)
        if ndim(a) == 1:
            return self.w.emit("outer", b.type, a, g, pure=False)
        return self.w.emit("matmul", b.type, self.transposed(a), g, pure=False)

    def transposed(self, a: Value) -> Value:
        """A matrix transposed."""
        return self.w.emit("transposed", a.type, a, pure=False)


@cache
def _names(text: str) -> set[str]:
    """The operands that a formula names."""
    calls = {
        node.func.id
        for node in ast.walk(formula(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return {node.id for node in ast.walk(formula(text)) if isinstance(node, ast.Name)} - calls
