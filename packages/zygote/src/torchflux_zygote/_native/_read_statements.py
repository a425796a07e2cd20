"""How statements of the normal form are read; branches, loops and `try` have files of their own."""

import ast
from typing import Any

from ._entries import ArrayRef, Closure, Conflict, Maybe, Static, View
from ._gather import chosen, put_at
from ._ir import Array, Value
from ._read_expressions import Expressions
from ._writer import literal, rank

__all__ = ["Statements"]

Entry = Any
WORDS = {"Nonlocal": "nonlocal", "Global": "global", "Delete": "del"}


class Statements(Expressions):
    """The part of the reader that knows statements."""

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
            self.in_place(self.array_type(old), change)
            if isinstance(node.op, ast.Add):
                self.store(old, whole, (), self.as_value(change), "accum")
            else:
                self.store(old, whole, (), self.as_value(self.binary(type(node.op), old, change)))
            return
        self.assign(
            node.target,
            self.binary(type(node.op), old if not isinstance(old, Static) else self.enter(old.value), change),
        )

    def in_place(self, type: Array, change: Entry) -> None:
        """Refuses what NumPy can't put into an array in place: more dimensions, or numbers of another kind."""
        value = self.as_value(change)
        if value.is_array and rank(value) > type.ndim:
            raise self.refuse(f"{self.describe(change)} into one of {type.ndim} in place", "make a new array")
        if "bif".index(self.scalar_of(value).kind) > "bif".index(type.dtype.kind):
            raise self.refuse(
                f"{self.describe(change)} into an array of {type.dtype} in place", f"make the array one of {value.type}"
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
        args = node.args
        pairs = [(arg.arg, x) for arg, x in zip(args.kwonlyargs, args.kw_defaults, strict=True) if x is not None]
        defaults, kwdefaults = map(self.atom, args.defaults), ((name, self.atom(x)) for name, x in pairs)
        self.frame.names[node.name] = Closure(node, self.frame, tuple(defaults), tuple(kwdefaults))
