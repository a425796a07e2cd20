"""Writes a program as Python that Numba compiles and a person can read."""

import ast
import keyword

from ._analysis import Memory
from ._any_order import in_any_order
from ._arrays import part_type
from ._fuse import fused
from ._ir import (
    F32,
    INT,
    Array,
    Block,
    Call,
    For,
    If,
    Item,
    Op,
    Program,
    Scalar,
    Type,
    Value,
    While,
    blocks,
    operands,
    outs,
    walk,
)
from ._ops import DERIVATIVES, SPELLING

__all__ = ["calls_itself", "source"]

RESERVED = {"math", "np", "rt", "max", "min", "abs", "float", "int", "bool", "round", "range", "len"}
LOOPS = {"assign": {(1, 1), (2, 2), (2, 1)}, "add": {(1, 1), (2, 2)}}
ON_ARRAYS = {
    "max": "np.maximum", "min": "np.minimum", "not": "np.logical_not", "and": "np.logical_and", "or": "np.logical_or",
    "round": "np.round_", "norm": "np.sqrt", "abs": "np.abs",
    "asin": "np.arcsin", "acos": "np.arccos", "atan": "np.arctan", "atan2": "np.arctan2", "asinh": "np.arcsinh",
    "acosh": "np.arccosh", "atanh": "np.arctanh",
}  # fmt: skip
ON_SCALARS = {
    "sign": "np.sign", "abs": "abs", "cbrt": "np.cbrt", "exp2": "np.exp2", "log2": "np.log2", "norm": "math.sqrt",
    "maximum": "rt.maximum", "minimum": "rt.minimum", "round": "round", "floor": "math.floor", "ceil": "math.ceil",
    "hypot": "math.hypot", "floordiv": "", "mod": "",
}  # fmt: skip


def source(program: Program, doc: str = "") -> str:
    """The program as a Python function, behind those that it calls."""
    names: dict[int, str] = {}
    called = [p for p in _reached(program) if p is not program]
    for p in (program, *called):
        name, n = p.name, 1
        while name in names.values():
            n += 1
            name = f"{p.name}_{n}"
        names[id(p)] = name

    def text(p: Program, doc: str = "") -> str:
        return _Emitter(p, names[id(p)], names).function(doc)

    texts = [f"@{signed(p) if p.called else JIT}\n{text(p)}" for p in called]
    own = text(program, doc)
    if called:
        own = f"@{signed(program) if program.called else JIT}\n{own}"
    return "\n".join([*texts, own])


JIT = 'numba.njit(nogil=True, cache=True, error_model="numpy", no_cfunc_wrapper=True, pipeline_class=rt.Generated)'


def signed(program: Program) -> str:
    """Numba's decorator, with the types of a program that may call itself."""
    params = ", ".join([*(_declared(p.type, "::1" if p in program.stacks else "") for p in program.params), "int64"])
    results = [_declared(r.type, "::1") for r in program.block.results]
    result = results[0] if len(results) == 1 else f"Tuple(({', '.join(results)},))"
    return JIT.replace("(", f'("{result}({params})", ', 1)


def _declared(t: Type, contiguous: str = "") -> str:
    """A type as Numba declares it."""
    if isinstance(t, Scalar):
        return {"bool_": "boolean"}.get(str(t), str(t))
    dims = [":"] * t.ndim
    if contiguous:
        dims[-1] = contiguous
    return f"{ {'bool_': 'boolean'}.get(str(t.dtype), str(t.dtype)) }[{', '.join(dims)}]".replace(" ", "")


def calls_itself(program: Program) -> bool:
    """Whether functions that call themselves are in a program, so that it takes `limit` behind its arguments."""
    return any(p.called for p in _reached(program))


def _reached(program: Program) -> list[Program]:
    """The programs that are called by one, and it."""
    found: dict[int, Program] = {}

    def visit(p: Program) -> None:
        if id(p) not in found:
            found[id(p)] = p
            for item in walk(p.block):
                if isinstance(item, Call):
                    visit(item.program)

    visit(program)
    return list(found.values())


class _Emitter:
    """Writes the text of one program."""

    def __init__(self, program: Program, title: str, functions: dict[int, str]) -> None:
        program = self.program = in_any_order(fused(program))
        self.title, self.functions = title, functions
        self.memory = Memory(program.block)
        self.names: dict[Value, str] = {}
        self.taken = {*RESERVED, *functions.values()}
        self.lines: list[str] = []
        self.depth = 1
        self.inlined: dict[Value, str] = {}
        self.negated: dict[Value, Value] = {}  # of those, what has the other sign
        self.ahead: set[Op] = set()  # tapes that grow before the loop that writes them
        self.alias_of: dict[Value, Value] = {}  # an index within bounds is the index
        self.limit = ""  # where the thread's stack ends, in functions that call themselves
        self.uses: dict[Value, list[int]] = {}
        self.homes: dict[Value, int] = {}
        self.count(program.block)

    # How often and where a value is used: what is used once, in its own block, is written where it is used.

    def count(self, block: Block) -> None:
        """Notes where values are made and read."""
        for item in block.items:
            for value in operands(item):
                self.uses.setdefault(value, []).append(id(block))
                if isinstance(item, Op) and item.name == "within":
                    self.uses[value].append(0)  # written more than once
            for value in outs(item):
                self.homes[value] = id(block)
            for inner in blocks(item):
                self.count(inner)
            for value, home in _handed_on(item):
                self.uses.setdefault(value, []).append(home)
        if block is self.program.block:
            for value in block.results:
                self.uses.setdefault(value, []).append(id(block))

    def function(self, doc: str) -> str:
        """The text of the whole function."""
        params = [self.name(p) for p in self.program.params]
        if calls_itself(self.program):
            self.limit = self.fresh("limit")
            params.append(self.limit if self.program.called else f"{self.limit}=0")
        if self.program.called:
            self.line(f"if rt.beyond_stack({self.limit}):")
            self.line(f"    raise RecursionError({_too_deep(self.program)!r})")
        self.body(self.program.block)
        results = ", ".join(self.text(r) for r in self.program.block.results)
        many = len(self.program.block.results) != 1
        self.line(f"return ({results}{',' if many and results else ''})" if many else f"return {results}")
        head = f"def {self.title}({', '.join(params)}):"
        text = [head, f"    {doc!r}"] if doc else [head]
        return ast.unparse(ast.parse("\n".join([*text, *self.lines]))) + "\n"

    def line(self, text: str) -> None:
        """Adds a line."""
        self.lines.append("    " * self.depth + text)

    # Names.

    def name(self, value: Value) -> str:
        """The variable of a value: versions of an array share one."""
        root = self.memory.storage(value) if value.is_array else value
        if root not in self.names:
            base = root.name if root.name.isidentifier() and not keyword.iskeyword(root.name) else "t"
            self.names[root] = self.fresh(base)
        return self.names[root]

    def alias(self, value: Value, other: Value) -> None:
        """Gives a value the variable of another."""
        self.names[value] = self.name(other)

    def text(self, value: Value) -> str:
        """A value as it stands in an expression."""
        if value.const is not None:
            return self.constant(value)
        if value in self.alias_of:
            return self.text(self.alias_of[value])
        if value in self.inlined:
            return f"({self.inlined[value]})"
        return self.name(value)

    def constant(self, value: Value) -> str:
        """A literal."""
        x = value.const
        if isinstance(value.type, Scalar) and value.type.kind == "f":
            x = float(x)
            text = f"math.{'nan' if x != x else 'inf'}" if x != x or abs(x) == float("inf") else repr(abs(x))
            text = f"-{text}" if x < 0 or str(x).startswith("-") else text
            return f"np.float32({text})" if value.type == F32 else text
        return repr(x)

    # Blocks.

    def body(self, block: Block) -> None:
        """Writes a block's items."""
        for item in block.items:
            if isinstance(item, Op):
                self.op(item)
            elif isinstance(item, Call):
                self.call_program(item)
            elif isinstance(item, If):
                self.branch(item)
            elif isinstance(item, For):
                self.for_loop(item)
            else:
                self.while_loop(item)

    def call_program(self, item: Call) -> None:
        """Writes a call of another program."""
        args = [self.text(a) for a in item.args]
        if calls_itself(item.program):
            args.append(self.limit)
        outs = ", ".join(self.name(out) for out in item.outs)
        self.line(f"{outs} = {self.functions[id(item.program)]}({', '.join(args)})")

    def branch(self, item: If) -> None:
        """Writes an `if`."""
        live = [k for k, out in enumerate(item.outs) if self.uses.get(out)]
        sides = []
        for block in (item.then, item.orelse):
            mark = len(self.lines)
            self.depth += 1
            self.body(block)
            for k in live:
                self.assign([(item.outs[k], block.results[k])])
            self.depth -= 1
            sides.append(self.lines[mark:])
            del self.lines[mark:]
        then, orelse = sides
        cond = self.text(item.cond)
        if not then and not orelse:
            return
        self.line(f"if {cond}:" if then else f"if not {cond}:")
        self.lines += then or orelse
        if then and orelse:
            self.line("else:")
            self.lines += orelse

    def assign(self, pairs: list[tuple[Value, Value]]) -> None:
        """Assigns values to variables, all at once."""
        pairs = [(target, value) for target, value in pairs if self.text(value) != self.name(target)]
        texts = [(self.name(target), self.text(value)) for target, value in pairs]
        used = {name: _names_in(text) for name, text in texts}
        waiting = dict(texts)
        while waiting:
            free = [n for n in waiting if not any(n in used[other] for other in waiting if other != n)]
            if not free:  # a swap
                self.line(f"{', '.join(waiting)} = {', '.join(waiting.values())}")
                return
            self.line(f"{free[0]} = {waiting.pop(free[0])}")

    def open_loop(self, item: For | While) -> None:
        """Writes what a loop carries at first."""
        self.assign(list(zip(item.carry, item.inits, strict=True)))

    def for_loop(self, item: For) -> None:
        """Writes a `for`."""
        self.open_loop(item)
        for out, head in zip(item.outs, item.carry, strict=True):
            self.alias(out, head)
        start, stop, step = (self.text(x) for x in (item.start, item.stop, item.step))
        span = (
            stop if (start, step) == ("0", "1") else f"{start}, {stop}" if step == "1" else f"{start}, {stop}, {step}"
        )
        self.line(f"for {self.name(item.index)} in range({span}):")
        self.depth += 1
        self.body(item.body)
        halt = None
        if item.halt is not None:
            halt = self.text(item.halt)
            if item.halt in item.carry or not halt.isidentifier():  # taken before the names move on
                self.line(f"halt = {halt}")
                halt = "halt"
        self.assign(list(zip(item.carry, item.body.results, strict=True)))
        if halt is not None:
            self.line(f"if {halt}:")
            self.line("    break")
        if self.lines[-1].endswith("):") and self.lines[-1].lstrip().startswith("for"):
            self.line("pass")
        self.depth -= 1

    def while_loop(self, item: While) -> None:
        """Writes a `while`."""
        self.open_loop(item)
        grows = [op for op in item.body.items if isinstance(op, Op) and op.name == "grow" and op.attrs]
        if not grows:
            self.while_body(item, [])
            return
        # An array that gets another value inside of a loop is slow: the tapes grow between two runs of the loop.
        room, full = self.fresh("room"), self.fresh("full")
        tapes = [self.name(op.args[0]) for op in grows]
        for op in grows:
            assert op.out is not None
            self.names[op.out] = self.name(op.args[0])
            self.ahead.add(op)
            self.uses[op.args[1]] = []
        rows = grows[0].args[1]
        row = self.row_ahead(item, next(op.args[0] for op in item.body.items if isinstance(op, Op) and op.out is rows))
        self.line("while True:")
        self.depth += 1
        sizes = ", ".join(f"{tape}.shape[0]" for tape in tapes)
        self.line(f"{room} = min({sizes})" if len(tapes) > 1 else f"{room} = {sizes}")
        self.line(f"{full} = False")
        self.while_body(item, [f"if {row} >= {room}:", f"    {full} = True", "    break"])
        self.line(f"if not {full}:")
        self.line("    break")
        for tape in tapes:
            self.line(f"{tape} = rt.grow({tape}, {row} + 1)")
        self.depth -= 1

    def row_ahead(self, item: While, row: Value) -> str:
        """The number of a row before the trip that writes it."""
        makers = {op.out: op for op in item.body.items if isinstance(op, Op)}
        return " + ".join(self.text(arg) for arg in makers[row].args) if row in makers else self.text(row)

    def while_body(self, item: While, guard: list[str]) -> None:
        """Writes the loop itself, with `guard` between head and body."""
        self.line("while True:")
        self.depth += 1
        self.body(item.head)
        for out, last in zip(item.outs, item.head.results, strict=True):
            if last in item.carry:
                self.alias(out, last)
            elif last.const is not None or self.memory.storage(out) is not out:
                self.assign([(out, last)])
            else:
                self.alias(out, last)
        self.line(f"if not {self.text(item.cond)}:")
        self.line("    break")
        for text in guard:
            self.line(text)
        self.body(item.body)
        self.assign(list(zip(item.carry, item.body.results, strict=True)))
        self.depth -= 1

    def fresh(self, base: str) -> str:
        """A name that nothing has."""
        name, n = base, 0
        while name in self.taken:
            n += 1
            name = f"{base}_{n}"
        self.taken.add(name)
        return name

    # Operations.

    def op(self, item: Op) -> None:
        """Writes an operation, or keeps it to write it where it is used."""
        handler = getattr(self, f"op_{item.name}", None)
        if handler is not None:
            handler(item)
            return
        assert item.out is not None
        text = self.expression(item)
        here = self.uses.get(item.out, [])
        if not here:
            return
        simple = not item.out.is_array and not any(arg.is_array for arg in item.args)
        if simple and len(here) == 1 and here[0] == self.homes[item.out] and len(text) < 60:
            self.inlined[item.out] = text
            if item.name == "neg":
                self.negated[item.out] = item.args[0]
            return
        self.line(f"{self.name(item.out)} = {text}")

    def expression(self, item: Op) -> str:
        """An operation as an expression."""
        assert item.out is not None
        if item.name in DERIVATIVES:
            return self.elementwise(item)
        return str(getattr(self, f"text_{item.name}")(item))

    def elementwise(self, item: Op) -> str:
        """An element-wise operation as an expression."""
        out = item.out
        assert out is not None
        args = [self.operand(arg, out, item.name) for arg in item.args]
        name = item.name
        if (
            name in ("add", "sub")
            and not out.is_array
            and len(args[1]) > 2
            and args[1].startswith("-")
            and args[1][1:].replace(".", "").isdigit()
        ):
            args[1] = f"({args[1]})"
        if out.is_array or any(arg.is_array for arg in item.args):
            if name in ("float", "float32", "int", "bool"):
                kind = {"float": "np.float64", "float32": "np.float32", "int": "np.int64", "bool": "np.bool_"}[name]
                return f"{args[0]}.astype({kind})"
            if name in ON_ARRAYS:
                return f"{ON_ARRAYS[name]}({', '.join(args)})"
            return SPELLING[name].format(*args) if name in SPELLING else f"np.{name}({', '.join(args)})"
        if name == "floordiv" and out.type == INT and item.args[1].const in (None, -1):
            return f"rt.floordiv({', '.join(args)})"  # -2**63 // -1 wraps around
        if name in SPELLING:
            return SPELLING[name].format(*args)
        return f"{ON_SCALARS.get(name) or f'math.{name}'}({', '.join(args)})"

    def operand(self, arg: Value, out: Value, name: str) -> str:
        """An operand, as narrow as the result where that is float32."""
        text = self.text(arg)
        dtype = out.type.dtype if isinstance(out.type, Array) else out.type
        if (
            dtype != F32
            or arg.is_array
            or arg.type == F32
            or not isinstance(arg.type, Scalar)
            or arg.type.kind == "b"
            or name == "float32"
        ):
            return text
        return f"np.float32({text})"

    def path(self, item: Op, values: list[Value]) -> str:
        """An index chain, e.g. `[i, :][lo:hi]`."""
        rest = iter(values)
        text = ""
        for step in item.attrs:
            if step == ("T",):
                text += ".T"
                continue
            parts = []
            for code in step:
                if code == "i":
                    parts.append(self.text(next(rest)))
                elif code == "n":
                    parts.append("np.newaxis")
                else:
                    ends = [self.text(next(rest)) if bit == "1" else "" for bit in code[1:]]
                    parts.append(":".join(ends[:2]) + (f":{ends[2]}" if ends[2] else ""))
            text += f"[{', '.join(parts)}]"
        return text

    def op_load(self, item: Op) -> None:
        """A part of an array, written where it is read."""
        assert item.out is not None
        if self.uses.get(item.out):
            self.line(f"{self.name(item.out)} = {self.text(item.args[0])}{self.path(item, list(item.args[1:]))}")

    def op_store(self, item: Op) -> None:
        """A store."""
        self.put(item, "=", "assign")

    def op_accum(self, item: Op) -> None:
        """A store that adds, or subtracts."""
        positive = self.negated.get(item.args[1])
        if positive is None or item.args[0].type.dtype == F32:  # type: ignore[union-attr]
            self.put(item, "+=", "add")
        else:
            self.line(f"{self.target(item)} -= {self.text(positive)}")

    def put(self, item: Op, sign: str, helper: str) -> None:
        """A store: of a number as it is, of an array by a loop that is compiled already."""
        part = part_type(item.args[0].type, item.attrs)
        value = item.args[1].type
        if isinstance(part, Array) and isinstance(value, Array) and (part.ndim, value.ndim) in LOOPS[helper]:
            self.line(f"rt.{helper}_{part.ndim}{value.ndim}({self.target(item)}, {self.stored(item)})")
        elif isinstance(part, Array) and isinstance(value, Scalar) and sign == "=":
            self.line(f"rt.fill({self.target(item)}, {self.stored(item)})")
        else:
            self.line(f"{self.target(item)} {sign} {self.stored(item)}")

    def target(self, item: Op) -> str:
        """The part of an array that is stored into."""
        whole = "[:, :]" if item.attrs[-1] == ("T",) else ""
        return f"{self.text(item.args[0])}{self.path(item, list(item.args[2:]))}{whole}"

    def stored(self, item: Op) -> str:
        """What is stored, as narrow as the array."""
        return self.operand(item.args[1], item.args[0], "store")

    def op_raise(self, item: Op) -> None:
        """A raise."""
        kind, message = item.attrs
        self.line(f"raise {kind}({message!r})" if message else f"raise {kind}")

    def op_grow(self, item: Op) -> None:
        """Room for more rows, if they don't fit."""
        if item in self.ahead:
            return
        assert item.out is not None
        tape, rows = (self.text(a) for a in item.args)
        if self.name(item.out) != tape:
            self.line(f"{self.name(item.out)} = {tape}")
        self.line(f"if {rows} > {self.name(item.out)}.shape[0]:")
        self.line(f"    {self.name(item.out)} = rt.grow({tape}, {rows})")

    def op_equal(self, item: Op) -> None:
        """Raises if two lengths differ."""
        n, m = (self.text(a) for a in item.args)
        self.line(f"if {n} != {m}:")
        self.line(f"    raise ValueError({f'{item.place}: the shapes do not fit'.removeprefix(': ')!r})")

    def op_within(self, item: Op) -> None:
        """Raises here, with a constant message, which is quick to compile."""
        assert item.out is not None
        i, n = (self.text(a) for a in item.args)
        self.alias_of[item.out] = item.args[0]
        self.line(f"if {i} >= {n}:" if item.attrs == "from 0" else f"if {i} < -{n} or {i} >= {n}:")
        self.line(f"    raise IndexError({item.place!r})")

    def text_outside(self, item: Op) -> str:
        """Whether any index of a range is out of bounds."""
        return self.call(item, "rt.outside")

    def text_broadcast(self, item: Op) -> str:
        """The length that two broadcast to."""
        return self.call(item, "rt.broadcast")

    def text_stride(self, item: Op) -> str:
        """How a length moves along another."""
        return self.call(item, "rt.stride")

    def text_shape(self, item: Op) -> str:
        """A length along an axis."""
        return f"{self.text(item.args[0])}.shape[{item.attrs}]"

    def text_range_length(self, item: Op) -> str:
        """The number of trips of a range."""
        return f"rt.range_length({', '.join(self.text(a) for a in item.args)})"

    def text_cast(self, item: Op) -> str:
        """A change of the number type."""
        assert item.out is not None
        x = self.text(item.args[0])
        if isinstance(item.out.type, Array):
            return f"{x}.astype(np.{item.out.type.dtype})"
        return {"float64": f"float({x})", "float32": f"np.float32({x})", "int64": f"int({x})", "bool_": f"bool({x})"}[
            str(item.out.type)
        ]

    def text_zeros(self, item: Op) -> str:
        """A new array."""
        shape = ", ".join(self.text(a) for a in item.args)
        if item.name == "zeros" and item.attrs == "float64" and len(item.args) < 3:
            return f"rt.zeros_{len(item.args)}({shape})"
        return f"np.{item.name}(({shape}{',' if len(item.args) == 1 else ''}), np.{item.attrs})"

    text_ones = text_empty = text_zeros

    def text_zeros_like(self, item: Op) -> str:
        """Zeros in the shape of an array."""
        return f"rt.zeros_like({self.text(item.args[0])})"

    def call(self, item: Op, name: str) -> str:
        """An operation as a call of a function of its operands."""
        return f"{name}({', '.join(self.text(a) for a in item.args)})"

    def text_copy(self, item: Op) -> str:
        """A copy."""
        return f"{self.text(item.args[0])}.copy()"

    def text_sum(self, item: Op) -> str:
        """A sum over everything."""
        return self.call(item, "rt.total")

    def text_sum_axis(self, item: Op) -> str:
        """A sum along an axis."""
        return f"{self.text(item.args[0])}.sum(axis={item.attrs})"

    def text_all(self, item: Op) -> str:
        """NumPy's function of the same name."""
        return self.call(item, f"np.{item.name}")

    text_any = text_argmax = text_argmin = text_all

    def text_plus(self, item: Op) -> str:
        """A step of a sum of cotangents."""
        assert item.out is not None
        return f"rt.plus({', '.join(self.operand(arg, item.out, 'plus') for arg in item.args)})"

    def text_matmul(self, item: Op) -> str:
        """A matrix product."""
        return self.call(item, "rt.matmul")

    def text_solve(self, item: Op) -> str:
        """The solution of a linear system."""
        return self.call(item, "np.linalg.solve")

    def text_inv(self, item: Op) -> str:
        """An inverse."""
        return self.call(item, "np.linalg.inv")

    def text_det(self, item: Op) -> str:
        """A determinant."""
        return self.call(item, "np.linalg.det")

    def text_fill(self, item: Op) -> str:
        """An array filled with a number."""
        return self.call(item, "rt.full_like")

    def text_spread(self, item: Op) -> str:
        """An array repeated along an axis."""
        return f"rt.spread({self.text(item.args[0])}, {self.text(item.args[1])}, {item.attrs})"

    def text_unbroadcast(self, item: Op) -> str:
        """The sum over what was broadcast."""
        shape = ", ".join(self.text(a) for a in item.args[1:])
        return f"rt.unbroadcast{len(item.args) - 1}({self.text(item.args[0])}, {shape})"

    def text_transposed(self, item: Op) -> str:
        """A transposed view."""
        return f"{self.text(item.args[0])}.T"

    def text_eye(self, item: Op) -> str:
        """The unit matrix."""
        return self.call(item, "np.eye")

    def text_arange(self, item: Op) -> str:
        """The numbers of a range."""
        return self.call(item, "np.arange")

    def text_ravel(self, item: Op) -> str:
        """An array in one row."""
        return self.call(item, "rt.ravel")

    def text_reshape(self, item: Op) -> str:
        """An array in another shape."""
        sizes = ", ".join(self.text(a) for a in item.args[1:])
        return f"{self.text(item.args[0])}.reshape(({sizes}{',' if len(item.args) == 2 else ''}))"

    def text_cumsum(self, item: Op) -> str:
        """Running sums."""
        return self.call(item, "rt.cumsum")

    def text_argsort(self, item: Op) -> str:
        """The places of elements in order."""
        return f"np.argsort({self.text(item.args[0])}, kind='mergesort')"

    def text_diagonal(self, item: Op) -> str:
        """A diagonal."""
        return self.call(item, "rt.diagonal")

    def text_on_diagonal(self, item: Op) -> str:
        """A matrix with a diagonal."""
        return self.call(item, "rt.on_diagonal")

    def text_take(self, item: Op) -> str:
        """The elements at some places."""
        return self.call(item, f"rt.{item.name}")

    text_take_last = text_beyond = text_wrapped = text_nonzero = text_take

    def op_put(self, item: Op) -> None:
        """A store at some places."""
        *index, places = item.args[2:]
        name = "put" if item.args[1].is_array else "put_number"
        part = f"{self.text(item.args[0])}{self.path(item, index)}"
        self.line(f"rt.{name}({part}, {self.stored(item)}, {self.text(places)})")

    def op_scatter(self, item: Op) -> None:
        """Adds at some places, as often as they occur."""
        *index, places = item.args[2:]
        name = "scatter" if item.args[1].is_array else "scatter_number"
        part = f"{self.text(item.args[0])}{self.path(item, index)}"
        self.line(f"rt.{name}({part}, {self.stored(item)}, {self.text(places)})")

    def text_outer(self, item: Op) -> str:
        """An outer product."""
        return self.call(item, "rt.outer")


def _too_deep(program: Program) -> str:
    """What is raised where a call no longer fits on the stack."""
    return (
        f"{program.place}: the calls of this function nest too deep for the thread's stack; write it as a loop, or "
        "call it in a thread with a larger stack (threading.stack_size)"
    )


def _names_in(text: str) -> set[str]:
    """The names that an expression reads."""
    return {node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)}


def _handed_on(item: Item) -> list[tuple[Value, int]]:
    """What an item's blocks hand on, with the block at whose end it is read (0: elsewhere)."""
    if isinstance(item, If):
        return [(value, id(block)) for block in blocks(item) for value in block.results]
    if isinstance(item, For):
        halt = [] if item.halt is None else [item.halt]
        return [(value, id(item.body)) for value in (*item.body.results, *halt)]
    if isinstance(item, While):
        ends = [(value, 0) for value in item.head.results]
        return [*ends, (item.cond, id(item.head)), *((value, id(item.body)) for value in item.body.results)]
    return []
