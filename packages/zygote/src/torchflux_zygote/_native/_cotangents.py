"""Cotangents: how they add up, and when their arrays may be changed in place."""

from typing import Any

from ._halves import Halves, arg_dtype, ndim, strong
from ._ir import Array, Op, Scalar, Value

__all__ = ["Cotangents"]


class Cotangents(Halves):
    """The cotangent of every value of the forward half, as far as the way back has come."""

    def accumulate(self, value: Value, share: Value, fresh: bool = False) -> None:
        """Adds a share to a value's cotangent."""
        if value.const is not None or value not in self.active:
            return
        old = self.adj.get(value)
        if old is None:
            if share.is_array and not fresh:
                self.owned.discard(share)
            elif share.is_array:
                self.owned.add(share)
            if not share.is_array and share.const is None and share.name == "t":
                share.name = f"{value.name}_bar"
            self.adj[value] = share
        elif not old.is_array:
            self.adj[value] = self.w.op("add", old, share, hint=f"{value.name}_bar")
        else:
            self.adj[value] = self.add_at(self.own(old), (("s000",) * ndim(old),), (), share)

    def own(self, value: Value) -> Value:
        """An array that may be changed in place."""
        if not value.is_array or value in self.owned:
            return value
        copy = self.w.emit("copy", value.type, value, hint=value.name, pure=False)
        self.owned.add(copy)
        return copy

    def add_at(self, array: Value, path: Any, index: tuple[Value, ...], share: Value) -> Value:
        """`array[path] += share`."""
        out = Value(array.type, array.name)
        self.w.add(Op("accum", (array, share, *index), out, path))
        self.owned.discard(array)
        self.owned.add(out)
        return out

    def zero(self, value: Value) -> Value:
        """Zeros in the form of a value."""
        if not isinstance(value.type, Array):
            return Value(strong(value.type), f"{value.name}_bar", const=0.0)
        if value in self.top:
            made = self.w.emit("zeros_like", value.type, value, hint=f"{value.name}_bar", pure=False)
        else:
            sizes = [self.size(value, k) for k in range(value.type.ndim)]
            made = self.w.emit(
                "zeros", value.type, *sizes, attrs=str(value.type.dtype), hint=f"{value.name}_bar", pure=False
            )
        self.owned.add(made)
        return made

    def root(self, value: Value) -> Value:
        """Zeros from which the cotangent of a value is added up."""
        made = self.zero(value)
        if made.is_array and self.here.parent is None:
            self.roots[value] = made
        return made

    def gradient(self, param: Value) -> Value:
        """A parameter's gradient, in an array of its own."""
        found = self.adj.get(param)
        if found is None:
            return self.zero(param)
        if found.is_array and found not in self.owned:
            return self.w.emit("copy", found.type, found, pure=False)
        return self.w.cast(found, strong(param.type)) if isinstance(param.type, Scalar) else found

    def merge(self, value: Value, bar: Value) -> None:
        """Makes an array that is ours a value's cotangent."""
        old = self.adj.get(value)
        self.adj[value] = bar if old is None else self.add_at(bar, (("s000",) * ndim(bar),), (), old)

    def fitted(self, share: Value, value: Value) -> tuple[Value, bool]:
        """The cotangent of what was broadcast into a part of an array."""
        if not share.is_array:
            return share, False
        if not isinstance(value.type, Array):
            return self.w.emit("sum", arg_dtype(value), share, pure=False), False
        sizes = [self.size(value, k) for k in range(value.type.ndim)]
        return self.w.emit("unbroadcast", value.type, share, *sizes, pure=False), True

    def full(self, array: Value, g: Value) -> Value:
        """An array of the shape of one of the forward half, filled with a number."""
        zeros = self.zero(array)
        out = Value(zeros.type, zeros.name)
        self.w.add(Op("store", (zeros, self.w.cast(g, arg_dtype(array))), out, (("s000",) * ndim(array),)))
        return out

    def ended(self, value: Value, found: Value | None) -> Value:
        """The cotangent with which a trip of a backward loop ends, in the form in which it is carried."""
        if found is None:
            return self.zero(value)
        return self.own(found) if found.is_array else self.w.cast(found, strong(value.type))

    def head(self, value: Value) -> Value:
        """The name under which a backward loop carries the cotangent of a value."""
        head = Value(strong(value.type), f"{value.name}_bar")
        if head.is_array:
            self.owned.add(head)
        return head
