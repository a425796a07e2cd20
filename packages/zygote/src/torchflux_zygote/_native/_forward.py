"""Forward mode: a program that carries `width` tangents along with every value that varies."""

from collections.abc import Callable

from ._analysis import STORES, varied_values
from ._ir import Block, Call, For, If, Op, Program, Scalar, Value, While
from ._ops import DERIVATIVES
from ._rewrite import fill, tidy
from ._writer import Writer, literal

__all__ = ["forward", "gradient"]

Tangents = list[Value | None]
LINEAR = {
    "load",
    "sum",
    "sum_axis",
    "copy",
    "cast",
    "fill",
    "spread",
    "unbroadcast",
    "transposed",
    "grow",
    "ravel",
    "reshape",
    "cumsum",
    "diagonal",
    "on_diagonal",
    "take",
    "take_last",
}
"""Operations that are linear in their float operands: the tangent is the operation on the tangents."""


def forward(program: Program, wrt: list[int], width: int) -> Program:
    """The program's value and tangents.

    Parameters: the program's own, then for every parameter in `wrt` its `width` tangents. Results: the program's own,
    then for every float result its `width` tangents.
    """
    key = ("forward", tuple(wrt), width)
    if key not in program.derived:
        promised = program.derived[key] = Program(
            f"{program.name}_forward", [], Block(), called=program.called, raises=program.raises
        )  # it may call itself
        fill(promised, tidy(_Forward(program, wrt, width).program()))
    return program.derived[key]


def gradient(program: Program, wrt: list[int]) -> Program:
    """The program's value and its slopes along every parameter in `wrt`, all of them numbers."""
    key = ("gradient", tuple(wrt))
    if key not in program.derived:
        promised = program.derived[key] = Program(f"{program.name}_gradient", [], Block())
        fill(promised, tidy(_Forward(program, wrt, len(wrt), units=True).program()))
    return program.derived[key]


class _Forward:
    """Writes the program again, with tangents."""

    def __init__(self, program: Program, wrt: list[int], width: int, units: bool = False) -> None:
        self.original, self.width, self.w = program, width, Writer()
        self.w.sizes = dict(program.sizes)
        seeds = [program.params[k] for k in wrt]
        self.varied = varied_values(program, seeds)
        self.tangents: dict[Value, Tangents] = {}
        for n, p in enumerate(seeds):
            named: Tangents = [Value(p.type, f"d{p.name}_{k}") for k in range(width)]
            self.tangents[p] = [literal(1.0) if n == k else None for k in range(width)] if units else named
        self.seeds = [] if units else [t for p in seeds for t in self.tangents[p] if t is not None]

    def program(self) -> Program:
        """The whole program."""
        params = [*self.original.params, *self.seeds]
        self.block(self.original.block)
        results, like = list(self.original.block.results), dict(self.original.like)
        for r in self.original.block.results:
            if r.floats:
                results += [self.tangent(r, k) for k in range(self.width)]
                like |= dict.fromkeys(results[-self.width :], r)
        self.w.block.results = results
        return Program(
            f"{self.original.name}_forward",
            params,
            self.w.block,
            self.original.place,
            self.w.sizes,
            like=like,
            effects=self.original.effects,
            stacks=self.stacks(),
        )

    def stacks(self) -> dict[Value, int | None]:
        """The stacks, and those of their tangents."""
        found, results = dict(self.original.stacks), self.original.block.results
        floats = [r for r in results if r.floats]
        for param, k in self.original.stacks.items():
            for n, tangent in enumerate(self.tangents.get(param, ())):
                at = None if k is None else len(results) + self.width * floats.index(results[k]) + n
                if tangent is not None:
                    found[tangent] = at
        return found

    def tangent(self, value: Value, k: int) -> Value:
        """The tangent, or zeros."""
        found = self.tangents[value][k] if value in self.tangents else None
        if found is None:
            found = self.w.zeros_like(value, f"d{value.name}_{k}")
        return found

    def has(self, value: Value) -> bool:
        """Whether a value varies."""
        return value in self.varied

    def block(self, block: Block) -> None:
        """Writes a block's items."""
        for item in block.items:
            if isinstance(item, Op):
                self.op(item)
            elif isinstance(item, Call):
                self.call(item)
            elif isinstance(item, If):
                self.branch(item)
            else:
                self.loop(item)

    def op(self, item: Op) -> None:
        """Writes an operation and the tangents of its result."""
        w = self.w
        w.add(item)
        if item.out is None or item.out not in self.varied:
            return
        if item.name in STORES:
            self.store(item)
        elif item.name in DERIVATIVES:
            self.tangents[item.out] = [self.elementwise(item, k) for k in range(self.width)]
        elif item.name in LINEAR:
            self.tangents[item.out] = [self.linear(item, k) for k in range(self.width)]
        else:
            rule: Callable[[Op, int], Value] = getattr(self, f"push_{item.name}")
            self.tangents[item.out] = [rule(item, k) for k in range(self.width)]

    def elementwise(self, item: Op, k: int) -> Value | None:
        """The table's formulas, with the operand's tangent for `g`."""
        total: Value | None = None
        out = item.out
        assert out is not None
        for n, arg in enumerate(item.args):
            tangent = self.tangents.get(arg, [None] * self.width)[k] if arg in self.varied else None
            if tangent is None:
                continue
            share = self.w.partial(item, n, tangent, list(item.args), out)
            if share is not None:
                total = share if total is None else self.w.op("add", total, share, hint=f"d{out.name}_{k}")
        if total is not None and out.is_array:
            arrays = [arg for arg in item.args if arg.is_array]
            if not total.is_array or not all(self.same_shape(arg, out) for arg in arrays):
                total = self.w.emit("fill", out.type, out, total, pure=False)
            elif any(total is t for arg in arrays for t in self.tangents.get(arg, [])):
                total = self.w.emit("copy", out.type, total, pure=False)
        elif total is not None and total.name == "t" and total.const is None:
            total.name = f"d{out.name}_{k}"
        return total

    def same_shape(self, arg: Value, out: Value) -> bool:
        """Whether an operand is certainly not broadcast."""
        a, b = self.original.sizes.get(arg), self.original.sizes.get(out)
        return a is not None and b is not None and _keys(a) == _keys(b)

    def linear(self, item: Op, k: int) -> Value:
        """The operation on the tangents."""
        out = item.out
        assert out is not None
        args = [
            self.tangent(arg, k) if arg.floats and not self.shape_only(item, n) else arg
            for n, arg in enumerate(item.args)
        ]
        return self.w.emit(item.name, out.type, *args, attrs=item.attrs, hint=f"d{out.name}_{k}", pure=False)

    def shape_only(self, item: Op, n: int) -> bool:
        """Whether an operand only lends its shape."""
        return item.name in ("fill", "spread") and n == 0

    def store(self, item: Op) -> None:
        """A store into the array's tangents."""
        array, value, *index = item.args
        out = item.out
        assert out is not None
        made: Tangents = []
        for k in range(self.width):
            into = self.tangent(array, k)
            what = self.tangent(value, k)
            if value.floats is False:
                what = literal(0.0)
            new = Value(out.type, into.name)
            self.w.add(Op(item.name, (into, what, *index), new, item.attrs, item.place))
            made.append(new)
        self.tangents[out] = made

    def push_matmul(self, item: Op, k: int) -> Value:
        """A matrix product: the product rule."""
        a, b = item.args
        out = item.out
        assert out is not None
        total = self.w.emit("matmul", out.type, self.tangent(a, k), b, pure=False) if self.has(a) else None
        if self.has(b):
            share = self.w.emit("matmul", out.type, a, self.tangent(b, k), pure=False)
            total = share if total is None else self.w.op("add", total, share)
        assert total is not None
        return total

    def push_solve(self, item: Op, k: int) -> Value:
        """A linear system: one with the same matrix."""
        a, b = item.args
        out = item.out
        assert out is not None
        right = self.tangent(b, k)
        if self.has(a):
            right = self.w.op("sub", right, self.w.emit("matmul", out.type, self.tangent(a, k), out, pure=False))
        return self.w.emit("solve", out.type, a, right, pure=False)

    def push_inv(self, item: Op, k: int) -> Value:
        """An inverse: the tangent between two inverses, negated."""
        out = item.out
        assert out is not None
        inner = self.w.emit("matmul", out.type, self.tangent(item.args[0], k), out, pure=False)
        return self.w.op("neg", self.w.emit("matmul", out.type, out, inner, pure=False))

    def push_det(self, item: Op, k: int) -> Value:
        """A determinant: itself times the trace of the inverse times the tangent."""
        a, out = item.args[0], item.out
        assert out is not None
        inverse = self.w.emit("inv", a.type, a, pure=False)
        turned = self.w.emit("transposed", a.type, inverse, pure=False)
        return self.w.op(
            "mul", out, self.w.emit("sum", out.type, self.w.op("mul", turned, self.tangent(a, k)), pure=False)
        )

    def push_outer(self, item: Op, k: int) -> Value:
        """An outer product: the product rule."""
        a, b = item.args
        out = item.out
        assert out is not None
        first = self.w.emit("outer", out.type, self.tangent(a, k), b, pure=False)
        return self.w.op("add", first, self.w.emit("outer", out.type, a, self.tangent(b, k), pure=False))

    def call(self, item: Call) -> None:
        """A call, with tangents for all its floats."""
        if not any(arg in self.varied for arg in item.args):
            self.w.add(item)
            return
        wrt = [n for n, p in enumerate(item.program.params) if p.floats]
        callee = forward(item.program, wrt, self.width)
        pushes = [self.started(item.args[n], k) for n in wrt for k in range(self.width)]
        made = [out for out in item.outs if out.floats]
        for out in made:
            self.tangents[out] = list(self.names(out))
        names = [t for out in made for t in self.tangents[out] if t is not None]
        self.w.add(Call(callee, [*item.args, *pushes], [*item.outs, *names], item.place))

    # Control flow: tangents are carried beside the values.

    def carried(self, values: list[Value]) -> list[int]:
        """The places of the values that vary."""
        return [n for n, value in enumerate(values) if value in self.varied]

    def names(self, value: Value) -> list[Value]:
        """New values for the tangents of one."""
        return [Value(value.type, f"d{value.name}_{k}") for k in range(self.width)]

    def branch(self, item: If) -> None:
        """An `if` whose sides hand on tangents too."""
        which = self.carried(item.outs)
        sides = []
        for block in (item.then, item.orelse):
            with self.w.inside(Block(results=list(block.results))) as new:
                self.block(block)
                for n in which:
                    new.results += [self.tangent(block.results[n], k) for k in range(self.width)]
            sides.append(new)
        made = list(item.outs)
        for n in which:
            names = self.names(item.outs[n])
            self.tangents[item.outs[n]] = list(names)
            made += names
        then, orelse = sides
        self.w.choose(item.cond, then, orelse, made)

    def loop(self, item: For | While) -> None:
        """A loop that carries tangents too."""
        which = self.carried(item.carry)
        carry, inits = list(item.carry), list(item.inits)
        for n in which:
            inits += [self.started(item.inits[n], k) for k in range(self.width)]
            names = self.names(item.carry[n])
            self.tangents[item.carry[n]] = list(names)
            carry += names
        if isinstance(item, For):
            body = self.loop_body(item.body, which)
            loop: For | While = For(
                item.index,
                item.start,
                item.stop,
                item.step,
                carry,
                inits,
                body,
                list(item.outs),
                item.halt,
                item.backward,
            )
            self.w.add(loop)
            for n in which:
                self.leave(loop, item.outs[n])
            return
        head = Block(results=list(item.head.results))
        with self.w.inside(head):
            self.block(item.head)
            leaving = self.carried(item.outs)
            for n in leaving:
                head.results += [self.tangent(item.head.results[n], k) for k in range(self.width)]
            body = self.loop_body(item.body, which)
        loop = While(carry, inits, head, item.cond, body, list(item.outs))
        self.w.add(loop)
        for n in leaving:
            self.leave(loop, item.outs[n])

    def started(self, init: Value, k: int) -> Value:
        """A tangent to start a loop or a call with, in the value's own type."""
        value = self.tangent(init, k)
        return self.w.cast(value, init.type) if isinstance(init.type, Scalar) else value

    def loop_body(self, block: Block, which: list[int]) -> Block:
        """A loop's body, which hands on the tangents of the carried places `which`."""
        with self.w.inside(Block(results=list(block.results))) as body:
            self.block(block)
            for n in which:
                body.results += [self.tangent(block.results[n], k) for k in range(self.width)]
        return body

    def leave(self, loop: For | While, out: Value) -> None:
        """Makes a loop hand out the tangents of what it carries."""
        names = self.names(out)
        self.tangents[out] = list(names)
        loop.outs += names


def _keys(shape: tuple[Value, ...]) -> tuple[object, ...]:
    """A shape to compare."""
    return tuple(n if n.const is None else n.const for n in shape)
