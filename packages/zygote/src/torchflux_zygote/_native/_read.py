"""Reads a Python function in normal form, for arguments of known types, into a program.

Reading is running with values that stand for the numbers: an `if` runs both branches and merges what they
leave, a loop runs its body until the types of what it carries settle, a call runs the callee's body in
place. Tuples, functions, modules and strings exist only here.
"""

import ast
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _array_functions, _gather, _number_functions, _python_functions, _shapes  # noqa: F401  # their rules
from ._analysis import stores_into
from ._arrays import Bound
from ._calls import Calling
from ._entries import UNBOUND, ArrayRef, Caught, Closure, Conflict, Found, Listed, Maybe, Range, Refused, Static, View
from ._frame import Callee, Frame, Reads
from ._gather import chosen, put_at
from ._ir import Array, Op, Program, Scalar, Value
from ._kinds import DTYPES
from ._merge import CLEAR, CODE
from ._writer import Path, Writer, literal, rank, same_type

__all__ = ["Reader"]

Entry = Any
FIXED = ("math", "numpy", "operator", "functools", "itertools", "builtins")
"""Modules whose attributes are taken to stay what they are."""


class Reader(Calling):
    """Reads functions into one program."""

    def __init__(
        self, bounds: bool = True, callees: dict[Any, Callee] | None = None, reads: Reads | None = None
    ) -> None:
        self.reads = reads or Reads()
        self.w = Writer()
        self.bounds = bounds
        self.callees = {} if callees is None else callees
        self.versions: dict[ArrayRef, Value] = {}
        self.stack: list[tuple[Any, Frame]] = []
        self.frame: Frame = Frame(None, None, None, "", self.reads)
        self.node: ast.AST | None = None
        self.dead = False  # behind a raise
        self.constants: list[Any] = []
        self.firsts: dict[ArrayRef, Value] = {}
        self.given: set[ArrayRef] = set()  # the caller's arrays
        self.contexts, self.guards, self.sites, self.handling = [], [], [], []
        self.sent, self.joined = [], []
        self.versions[CODE] = CLEAR

    def program(self, f: Callable[..., Any], entries: list[Entry], params: list[Value]) -> tuple[Program, Entry]:
        """The program of `f` called with these arguments, and the form of its result."""
        result = self.call_python(f, entries, {})
        assert not self.guards
        flat: list[Value] = []
        form = self.flatten(result, flat)
        self.w.block.results = flat
        function = self.stack_name(f)
        stored = stores_into(self.w.block, params)
        return Program(function, params, self.w.block, sizes=self.w.sizes, effects=stored), form

    def fresh(self) -> "Reader":
        """A reader for a program of its own, with the same knowledge."""
        return Reader(self.bounds, self.callees, self.reads)

    def stack_name(self, f: Any) -> str:
        """A function's name, as the name of a program."""
        name = getattr(f, "__name__", "f")
        return name if name.isidentifier() else "function"

    def flatten(self, entry: Entry, flat: list[Value]) -> Any:
        """The form of a result, its values collected: "scalar", "array", a tuple of forms, or a constant."""
        entry = self.settle(entry)
        if isinstance(entry, tuple):
            return tuple(self.flatten(part, flat) for part in entry)
        if isinstance(entry, Static):
            return entry
        if isinstance(entry, Value):
            flat.append(entry)
            return "scalar"
        if isinstance(entry, ArrayRef | View):
            flat.append(self.array(entry))
            return "array"
        raise self.refuse(f"can't return {self.describe(entry)}", "return numbers, arrays or tuples of them")

    def refuse(self, what: str, instead: str, node: ast.AST | None = None) -> Refused:
        """An error that says where, what and what to do."""
        return Refused(f"{self.place(node)}: native code: {what}; {instead}")

    def place(self, node: ast.AST | None = None) -> str:
        """`file:line:column` of what is being read."""
        node = node or self.node
        line, column = getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
        return f"{self.frame.file}:{line}:{column + 1}"

    def describe(self, entry: Entry) -> str:
        """An entry in words."""
        if isinstance(entry, Value):
            return f"a number ({entry.type})"
        if isinstance(entry, ArrayRef | View):
            return f"an array ({self.array(entry).type})"
        if isinstance(entry, tuple):
            return f"a tuple of {len(entry)}"
        if isinstance(entry, Static):
            return f"{entry.value!r}"
        return "an exception" if isinstance(entry, Caught) else type(entry).__name__.lower()

    def store(
        self, entry: ArrayRef | View, path: Path, args: tuple[Value, ...], value: Value, name: str = "store"
    ) -> None:
        """`entry[path] = value`; for `accum`, `entry[path] += value`; `put` and `scatter` store at places of it."""
        base, steps, values = (entry, (), ()) if isinstance(entry, ArrayRef) else (entry.base, entry.path, entry.args)
        if any(base.may_be(other) for other in self.held() if other is not base):
            raise self.refuse(
                "a store into an array that may or may not be another one, depending on how the program went",
                "store into a copy (`u = u.copy()`)",
            )
        if any(ref in self.firsts for ref in base.family):
            raise self.refuse("a store into a captured array", "pass the array as an argument, or store into a copy")
        if any(ref in self.given for ref in base.entangled) and any(ref.loose for ref in base.family):
            raise self.refuse(
                "a store into an argument that was reshaped, which NumPy may have copied or not",
                "reshape a copy (`a.copy().reshape(...)`), or store into the argument itself",
            )
        old = self.version(base)
        assert isinstance(old.type, Array)
        if isinstance(value.type, Array) and value.type.dtype.kind == "f" and old.type.dtype.kind != "f":
            raise self.refuse("a store of floats into an array of integers", "make the array one of floats")
        if isinstance(value.type, Scalar):
            value = self.w.cast(value, old.type.dtype)
        value = self.unshared(value)
        if value.is_array and self.caught(ValueError) and name in ("store", "accum"):
            self.fits(self.at(entry, path, args), value)
        out = Value(old.type, old.name)
        self.w.add(Op(name, (old, value, *values, *args), out, steps + path, self.place()))
        self.w.measure("store", (old,), out)
        self.versions[base] = out

    def fits(self, part: Entry, value: Value) -> None:
        """Raises for an array that can't be stored into a part, where that is caught."""
        into = self.as_value(part)
        for k in range(1, rank(value) + 1):
            n, m = self.w.shape(value, rank(value) - k), self.w.shape(into, rank(into) - k)
            ok = self.w.op("or", self.w.op("eq", n, m), self.w.op("eq", n, literal(1)))
            self.check(ok, "ValueError", f"{self.place()}: shapes that don't fit")

    def put(self, base: ArrayRef | View, path: Path, args: tuple[Value, ...], value: Value) -> None:
        """`base[path] = value`; where the value is what stands there and something more, `+=`."""
        made = next((op for op in reversed(self.w.block.items) if isinstance(op, Op) and op.out is value), None)
        if made is not None and made.name == "add" and not value.is_array:
            there = self.at(base, path, args)
            old, more = made.args
            if old is there and same_type(value.type, old.type):
                self.store(base, path, args, more, "accum")
                return
        self.store(base, path, args, value)

    def unshared(self, value: Value) -> Value:
        """What is to be stored: a copy of an array that was just taken out of another one, which it may overlap."""
        if not value.is_array:
            return value
        taken = any(isinstance(op, Op) and op.out is value and op.name == "load" for op in self.w.block.items)
        return self.w.emit("copy", value.type, value) if taken else value

    def held(self) -> set[ArrayRef]:
        """The arrays that any name reaches which may be read again."""
        found: set[ArrayRef] = set()
        closures: set[int] = set()

        def reach(entry: Entry) -> None:
            if isinstance(entry, tuple):
                for part in entry:
                    reach(part)
            elif isinstance(entry, Maybe):
                reach(entry.entry)
            elif isinstance(entry, ArrayRef | View):
                found.add(entry if isinstance(entry, ArrayRef) else entry.base)
            elif isinstance(entry, Static) and isinstance(entry.value, Bound):
                reach(entry.value.entry)
            elif isinstance(entry, Closure) and id(entry.env) not in closures:
                closures.add(id(entry.env))
                for kept in entry.env.names.values():
                    reach(kept)

        for frame in (self.frame, *(frame for _, frame in self.stack)):
            for entry in frame.alive():
                reach(entry)
        return found

    def settle(self, entry: Entry) -> Entry:
        """An entry that may be used: one that may be missing is checked here."""
        if isinstance(entry, Conflict):
            raise self.refuse(entry.why, "give it one type on every path")
        if isinstance(entry, Maybe):
            self.check(entry.flag, entry.why.split(":")[0], f"{self.place()}: {entry.why.split(':', 1)[1].strip()}")
            return self.settle(entry.entry)
        if entry is UNBOUND:
            raise self.refuse("a name that isn't bound here", "bind it on every path")
        return entry

    def eval(self, node: ast.expr) -> Entry:
        """An expression of the normal form."""
        if hasattr(node, "lineno"):
            self.node = node
        method = getattr(self, f"eval_{type(node).__name__}", None)
        if method is None:
            raise self.refuse(f"{type(node).__name__}", "the native route takes numbers, tuples and arrays only")
        return method(node)

    def atom(self, node: ast.expr) -> Entry:
        """A name or a constant, ready for use."""
        return self.settle(self.eval(node))

    def number(self, node: ast.expr) -> Value:
        """An atom that must be a number."""
        entry = self.atom(node)
        if not isinstance(entry, Value):
            raise self.refuse(f"{self.describe(entry)} where a number is due", "pass a float, an int or a bool")
        return entry

    def eval_Name(self, node: ast.Name) -> Entry:
        """A name."""
        entry = self.frame.find(node.id)
        return self.enter(entry.value) if isinstance(entry, Found) else entry

    def enter(self, x: Any) -> Entry:
        """Something of Python as an entry: numbers, tuples and arrays become values."""
        if isinstance(x, bool | int | float):
            return literal(x)
        if isinstance(x, tuple):
            return tuple(self.enter(part) for part in x)
        if isinstance(x, np.number | np.bool_):
            return literal(x.item())
        if isinstance(x, np.ndarray):
            return self.constant_array(x)
        return Static(x)

    def constant_array(self, x: np.ndarray) -> Entry:
        """A captured array: part of the program, as it is now."""
        for ref, kept in self.constants:
            if kept is x:
                return ref
        if str(x.dtype) not in DTYPES:
            raise self.refuse(f"an array of {x.dtype}", f"convert it to one of {', '.join(DTYPES)}")
        if not x.ndim:
            return literal(x.item())
        type = Array(DTYPES[str(x.dtype)], x.ndim)
        first = Value(type, f"constant_{len(self.constants)}")
        ref = ArrayRef()
        self.firsts[ref] = first
        self.constants.append((ref, x))
        return ref

    def eval_Constant(self, node: ast.Constant) -> Entry:
        """A literal."""
        return literal(node.value) if isinstance(node.value, bool | int | float) else Static(node.value)

    def eval_BinOp(self, node: ast.BinOp) -> Entry:
        """A binary operator."""
        return self.binary(type(node.op), self.atom(node.left), self.atom(node.right))

    def eval_UnaryOp(self, node: ast.UnaryOp) -> Entry:
        """A unary operator."""
        entry = self.atom(node.operand)
        if isinstance(node.op, ast.Not):
            return self.w.op("not", self.truth(entry))
        value = self.as_value(entry)
        if isinstance(node.op, ast.UAdd):
            return self.entry(value)
        return self.entry(self.w.op("neg" if isinstance(node.op, ast.USub) else "invert", value, place=self.place()))

    def eval_Compare(self, node: ast.Compare) -> Entry:
        """A comparison, decided here if it can be."""
        kind = type(node.ops[0])
        if (
            kind in (ast.Is, ast.IsNot)
            and isinstance(node.comparators[0], ast.Constant)
            and node.comparators[0].value is None
        ):
            return self.is_none(self.eval(node.left), kind)
        a, b = self.atom(node.left), self.atom(node.comparators[0])
        if kind in (ast.Is, ast.IsNot) or not all(isinstance(x, Value | ArrayRef | View) for x in (a, b)):
            return self.compare_static(kind, a, b)
        return self.entry(self.w.op(COMPARISONS[kind], self.as_value(a), self.as_value(b)))

    def is_none(self, entry: Entry, kind: type) -> Entry:
        """`entry is None`, also of something that is None on some paths only."""
        if isinstance(entry, Maybe) and entry.why.startswith("TypeError"):
            return self.w.op("not", entry.flag) if kind is ast.Is else entry.flag
        entry = self.settle(entry)
        return literal((isinstance(entry, Static) and entry.value is None) == (kind is ast.Is))

    def compare_static(self, kind: type, a: Entry, b: Entry) -> Entry:
        """A comparison of what isn't numbers or arrays."""
        if kind in (ast.Is, ast.IsNot):
            values = [x.value if isinstance(x, Static) else x for x in (a, b)]
            if not any(isinstance(x, Static) for x in (a, b)):
                raise self.refuse("`is` between numbers or arrays", "write ==")
            return literal((values[0] is values[1]) == (kind is ast.Is))
        if isinstance(a, tuple) and isinstance(b, tuple) and kind in (ast.Eq, ast.NotEq):
            same = literal(len(a) == len(b))
            for x, y in zip(a, b, strict=False):
                same = self.w.op("and", same, self.w.op("eq", self.as_value(x), self.as_value(y)))
            return same if kind is ast.Eq else self.w.op("not", same)
        if isinstance(a, Static) and isinstance(b, Static) and kind in (ast.Eq, ast.NotEq):
            return literal((a.value == b.value) == (kind is ast.Eq))
        if kind in (ast.In, ast.NotIn) and isinstance(b, tuple):
            found = literal(False)
            for x in b:
                found = self.w.op("or", found, self.w.op("eq", self.as_value(a), self.as_value(x)))
            return found if kind is ast.In else self.w.op("not", found)
        if kind in (ast.Eq, ast.NotEq) and isinstance(a, Static) != isinstance(b, Static):
            return literal(kind is ast.NotEq)
        raise self.refuse(f"a comparison of {self.describe(a)} with {self.describe(b)}", "compare numbers")

    def eval_Tuple(self, node: ast.Tuple | ast.List) -> Entry:
        """A tuple."""
        return tuple(self.starred(node.elts))

    def eval_List(self, node: ast.List) -> Entry:
        """A list."""
        return Listed(self.starred(node.elts))

    def starred(self, nodes: list[ast.expr]) -> list[Entry]:
        """Elements or arguments, with `*atom` taken apart."""
        found: list[Entry] = []
        for part in nodes:
            if isinstance(part, ast.Starred):
                found += self.elements(self.atom(part.value))
            else:
                found.append(self.atom(part))
        return found

    def elements(self, entry: Entry) -> list[Entry]:
        """The parts of something whose length is known when the function is read."""
        if isinstance(entry, tuple):
            return list(entry)
        if isinstance(entry, Range):
            ends = [entry.start.const, entry.stop.const, entry.step.const]
            if None not in ends:
                return [literal(i) for i in range(*ends)]
        raise self.refuse(f"{self.describe(entry)}, taken apart", "only tuples have a length that is known beforehand")

    def eval_JoinedStr(self, node: ast.JoinedStr) -> Entry:
        """A message that is put together: its constant parts."""
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{...}" for part in node.values)
        return Static(text)

    def eval_Subscript(self, node: ast.Subscript) -> Entry:
        """An element, or a part of an array."""
        entry = self.atom(node.value)
        if isinstance(entry, tuple):
            return self.pick(entry, node.slice)
        if isinstance(entry, ArrayRef | View):
            return self.part(entry, node.slice)
        raise self.refuse(f"an index into {self.describe(entry)}", "index tuples and arrays")

    def pick(self, entry: tuple[Entry, ...], index: ast.expr) -> Entry:
        """An element of a tuple."""
        if isinstance(index, ast.Slice):
            ends = [
                None if part is None else self.number(part).const for part in (index.lower, index.upper, index.step)
            ]
            return entry[slice(*ends)]
        i = self.number(index)
        if i.const is not None:
            if not -len(entry) <= i.const < len(entry):
                raise self.refuse(f"index {i.const} into a tuple of {len(entry)}", "stay within its length")
            return entry[i.const]
        n = len(entry)
        inside = self.w.op("and", self.w.op("ge", i, literal(-n)), self.w.op("lt", i, literal(n)))
        self.check(inside, "IndexError", f"{self.place()}: tuple index out of range")
        i = self.w.op("where", self.w.op("lt", i, literal(0)), self.w.op("add", i, literal(n)), i)
        found = entry[-1]
        for k in reversed(range(n - 1)):
            found = self.merged(self.w.op("eq", i, literal(k)), entry[k], found)
        return found

    def eval_Attribute(self, node: ast.Attribute) -> Entry:
        """An attribute, which is noted if it may change."""
        entry = self.atom(node.value)
        if isinstance(entry, Static):
            try:
                found = getattr(entry.value, node.attr)
                if getattr(entry.value, "__name__", "") not in FIXED:
                    self.reads.attributes[id(entry.value), node.attr] = entry.value, node.attr, found
                return self.enter(found)
            except AttributeError as error:
                raise self.refuse(str(error), "check the name") from None
        return self.attribute(entry, node.attr)

    def execute(self, body: list[ast.stmt]) -> None:
        """A block of statements."""
        for statement in body:
            if self.dead:
                return
            self.node = self.frame.at = statement
            method = getattr(self, f"exec_{type(statement).__name__}", None)
            if method is None:
                what = WORDS.get(type(statement).__name__, type(statement).__name__.lower())
                raise self.refuse(what, "the native route takes numbers, tuples, arrays, branches, loops and calls")
            method(statement)
            self.passed()

    def exec_Assign(self, node: ast.Assign) -> None:
        """An assignment."""
        (target,) = node.targets
        entry = self.settle_soft(self.eval(node.value))
        self.assign(target, entry)

    def settle_soft(self, entry: Entry) -> Entry:
        """An entry to assign, which may be unusable as long as it isn't used."""
        return entry if isinstance(entry, Maybe | Conflict) else self.settle(entry)

    def assign(self, target: ast.expr, entry: Entry) -> None:
        """Binds a target of the normal form."""
        if isinstance(target, ast.Name):
            if isinstance(entry, Value) and entry.name == "t" and entry.const is None:
                entry.name = target.id
            self.frame.names[target.id] = entry
        elif isinstance(target, ast.Tuple | ast.List):
            self.unpack(target.elts, self.settle(entry))
        elif isinstance(target, ast.Subscript):
            base = self.atom(target.value)
            if not isinstance(base, ArrayRef | View):
                raise self.refuse(f"a store into {self.describe(base)}", "store into arrays")
            entries = self.index(target.slice)
            if chosen(entries):
                put_at(self, base, entries, self.as_value(self.settle(entry)))
                return
            path, args = self.path(entries, base)
            if isinstance(entry, View) and entry.same(self.at(base, path, args)):
                return  # the end of `a[...] += b`, which has changed the array already
            self.put(base, path, args, self.as_value(self.settle(entry)))
        else:
            raise self.refuse("an assignment to an attribute", "keep state in names, tuples or arrays")

    def unpack(self, targets: list[ast.expr], entry: Entry) -> None:
        """Binds targets to the elements of an entry."""
        if isinstance(entry, ArrayRef | View) and not any(isinstance(t, ast.Starred) for t in targets):
            n = self.w.shape(self.array(entry), 0)
            self.check(
                self.w.op("eq", n, literal(len(targets))),
                "ValueError",
                f"{self.place()}: can't unpack into {len(targets)}",
            )
            parts = [self.part_at(entry, literal(k)) for k in range(len(targets))]
        else:
            parts = self.elements(entry)
        stars = [k for k, t in enumerate(targets) if isinstance(t, ast.Starred)]
        if stars:
            k, after = stars[0], len(targets) - stars[0] - 1
            if len(parts) < len(targets) - 1:
                raise self.refuse(f"{len(parts)} values for {len(targets)} names", "check the lengths")
            starred = targets[k]
            assert isinstance(starred, ast.Starred)
            parts = [*parts[:k], tuple(parts[k : len(parts) - after]), *parts[len(parts) - after :]]
            targets = [*targets[:k], starred.value, *targets[k + 1 :]]
        if len(parts) != len(targets):
            raise self.refuse(f"{len(parts)} values for {len(targets)} names", "check the lengths")
        for target, part in zip(targets, parts, strict=True):
            self.assign(target, part)

    def exec_AugAssign(self, node: ast.AugAssign) -> None:
        """`x += y`: into an array in place."""
        assert isinstance(node.target, ast.Name)
        old, change = self.settle(self.frame.find(node.target.id)), self.atom(node.value)
        if isinstance(old, ArrayRef | View):
            whole = (("s000",) * self.array_type(old).ndim,)
            if isinstance(node.op, ast.Add):
                self.store(old, whole, (), self.as_value(change), "accum")
            else:
                self.store(old, whole, (), self.as_value(self.binary(type(node.op), old, change)))
            return
        self.assign(
            node.target,
            self.binary(type(node.op), old if not isinstance(old, Static) else self.enter(old.value), change),
        )

    def exec_Expr(self, node: ast.Expr) -> None:
        """An expression whose value isn't used."""
        self.eval(node.value)

    def exec_Pass(self, node: ast.Pass) -> None:
        """Nothing."""

    def exec_Import(self, node: ast.Import) -> None:
        """An import."""
        for alias in node.names:
            module = __import__(alias.name)
            name = alias.asname or alias.name.split(".")[0]
            if alias.asname:
                for part in alias.name.split(".")[1:]:
                    module = getattr(module, part)
            self.frame.names[name] = Static(module)

    def exec_ImportFrom(self, node: ast.ImportFrom) -> None:
        """An import of names."""
        module = __import__(node.module or "", fromlist=[alias.name for alias in node.names], level=node.level)
        for alias in node.names:
            self.frame.names[alias.asname or alias.name] = self.enter(getattr(module, alias.name))

    def exec_FunctionDef(self, node: ast.FunctionDef) -> None:
        """A function that is defined here."""
        self.frame.names[node.name] = Closure(node, self.frame)


COMPARISONS = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne"}
WORDS = {"Nonlocal": "nonlocal", "Global": "global", "Delete": "del"}
