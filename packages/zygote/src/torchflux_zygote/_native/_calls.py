"""How calls are read: by a rule, by the callee's body in place, or, of a function that calls itself, as a program."""

import ast
import inspect
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from torchflux_syntax import Function, read, structure

from ._arrays import Bound
from ._entries import ArrayRef, Closure, Maybe, Raised, Static, View
from ._frame import Callee, Frame, Reads, Unknown
from ._ir import F64, WEAK, Call, Program, Scalar, Value
from ._loops import Looping
from ._rewrite import fill, tidy
from ._writer import rank

__all__ = ["Calling"]

Entry = Any


class Calling(Looping):
    """The part of the reader that knows calls."""

    callees: dict[Any, Callee]
    reads: Reads
    stack: list[tuple[Any, Frame]]
    enter: Callable[[Any], Entry]
    starred: Callable[[list[ast.expr]], list[Entry]]
    constant_array: Callable[[np.ndarray], Entry]
    program: Callable[..., tuple[Program, Any]]
    stack_name: Callable[[Any], str]
    fresh: Callable[[], Any]
    store: Callable[..., None]

    def eval_Call(self, node: ast.Call) -> Entry:
        """A call: of a known function by its rule, of others by reading them."""
        function = self.atom(node.func)
        args = self.starred(node.args)
        keywords: dict[str, Entry] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise self.refuse("** in a call", "name the arguments")
            keywords[keyword.arg] = self.atom(keyword.value)
        return self.call(function, args, keywords)

    def call(self, function: Entry, args: list[Entry], keywords: dict[str, Entry]) -> Entry:
        """What a function returns."""
        if isinstance(function, Closure):
            return self.call_closure(function, args, keywords)
        if not isinstance(function, Static):
            raise self.refuse(f"a call of {self.describe(function)}", "call functions")
        f = function.value
        native = getattr(f, "__native__", None)
        if native is not None and hasattr(native, "function"):
            f = native.function
        if isinstance(f, Bound):
            return self.by_rule(f.method, f.method, [f.entry, *args], keywords)
        rule = self.rule(f)
        if rule is not None:
            return self.by_rule(rule, f, args, keywords)
        if isinstance(f, type) and issubclass(f, BaseException):
            return Raised(f, message(args))
        if isinstance(f, types.MethodType):
            return self.call_python(f.__func__, [self.enter(f.__self__), *args], keywords)
        if isinstance(f, types.FunctionType) and f.__module__.split(".")[0] not in ("numpy", "scipy", "torch"):
            return self.call_python(f, args, keywords)
        name = getattr(f, "__qualname__", repr(f))
        module = getattr(f, "__module__", None)
        raise self.refuse(
            f"a call of {f'{module}.' if module else ''}{name}",
            "the native route knows math, the builtins and NumPy functions of its table, and functions written in "
            "Python",
        )

    def by_rule(self, rule: Callable[..., Entry], f: Any, args: list[Entry], keywords: dict[str, Entry]) -> Entry:
        """What a known function returns."""
        try:
            inspect.signature(rule).bind(self, *args, **keywords)
        except TypeError as error:
            raise self.refuse(
                f"a call of {getattr(f, '__name__', f)}: {error}", "use the arguments that native code knows"
            ) from None
        if self.contexts:
            self.number_errors(f, args)
        if f in (np.linalg.solve, np.linalg.inv) and self.caught(np.linalg.LinAlgError):
            raise self.refuse("np.linalg in a try that catches its error", "call it outside of the try")
        return rule(self, *args, **keywords)

    def rule(self, f: Any) -> Callable[..., Entry] | None:
        """What is known of a function that isn't read."""
        from ._functions import FUNCTIONS

        try:
            return FUNCTIONS.get(f)
        except TypeError:
            return None

    def call_python(self, f: Any, args: list[Entry], keywords: dict[str, Entry]) -> Entry:
        """Reads a function's body here."""
        if any(g is f.__code__ for g, _ in self.stack):
            return self.call_itself(f, args, keywords)
        function = _structured(f)
        self.reads.attributes[id(f), "__code__"] = f, "__code__", f.__code__
        frame = Frame(function, None, function.definition, function.file, self.reads)
        defaults = [self.enter(x) for x in f.__defaults__ or ()]
        kwdefaults = {name: self.enter(x) for name, x in (f.__kwdefaults__ or {}).items()}
        self.bind(function.definition.args, defaults, kwdefaults, args, keywords, frame, f.__name__)
        return self.run(f.__code__, function.definition, frame)

    def call_closure(self, closure: Closure, args: list[Entry], keywords: dict[str, Entry]) -> Entry:
        """Reads the body of a function that was defined in the one being read."""
        definition = closure.definition
        if any(g is definition for g, _ in self.stack):
            raise self.refuse(f"recursion of {definition.name}", "write it as a loop")
        frame = Frame(None, closure.env, definition, closure.env.file, self.reads)
        defaults = [self.atom(x) for x in definition.args.defaults]
        kwdefaults = {
            arg.arg: self.atom(x)
            for arg, x in zip(definition.args.kwonlyargs, definition.args.kw_defaults, strict=True)
            if x
        }
        self.bind(definition.args, defaults, kwdefaults, args, keywords, frame, definition.name)
        return self.run(definition, definition, frame)

    def bind(
        self,
        spec: ast.arguments,
        defaults: list[Entry],
        kwdefaults: dict[str, Entry],
        args: list[Entry],
        keywords: dict[str, Entry],
        frame: Frame,
        name: str,
    ) -> None:
        """Puts arguments under the parameters' names."""
        positional = [arg.arg for arg in (*spec.posonlyargs, *spec.args)]
        named = dict(keywords)
        values = dict(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
        if len(args) > len(positional) and spec.vararg is None:
            raise self.refuse(f"{len(args)} arguments for {name}, which takes {len(positional)}", "check the call")
        values.update(zip(positional, args, strict=False))
        if spec.vararg is not None:
            values[spec.vararg.arg] = tuple(args[len(positional) :])
        values.update(kwdefaults)
        known = {*positional, *(arg.arg for arg in spec.kwonlyargs)}
        if unknown := named.keys() - known:
            raise self.refuse(f"{name} takes no {', '.join(sorted(unknown))}", "check the call")
        values.update(named)
        if missing := [p for p in (*positional, *(arg.arg for arg in spec.kwonlyargs)) if p not in values]:
            raise self.refuse(f"{name} needs {', '.join(missing)}", "check the call")
        for key, entry in values.items():
            frame.names[key] = entry
            if isinstance(entry, Value) and entry.const is None and entry.name in ("t", ""):
                entry.name = key

    def run(self, code: Any, definition: ast.FunctionDef, frame: Frame) -> Entry:
        """Runs a body whose only return is its last statement."""
        outer, place = self.frame, self.node
        self.stack.append((code, outer))
        self.frame = frame
        try:
            *body, last = definition.body
            self.execute(body)
            assert isinstance(last, ast.Return | ast.Raise), ast.dump(last)
            if isinstance(last, ast.Raise) and not self.dead:
                self.exec_Raise(last)
            if self.dead or isinstance(last, ast.Raise):
                return Static(None)
            self.node = last
            return self.eval(last.value) if last.value is not None else Static(None)
        finally:
            self.frame, self.node = outer, place
            self.stack.pop()

    def call_itself(self, f: Any, args: list[Entry], keywords: dict[str, Entry]) -> Entry:
        """A call of a function that is being read: of a program of its own."""
        if self.contexts:
            raise self.refuse(
                f"a call of {f.__name__}, which calls itself, in a try",
                "call it outside of the try, and let it return a flag or NaN where it would raise",
            )
        if keywords:
            bound = inspect.signature(f).bind(*args, **keywords)
            bound.apply_defaults()
            args = [self.enter(x) if not isinstance(x, _ENTRIES) else x for x in bound.args]
        values: list[Value] = []
        held: list[Entry] = []
        kinds = tuple(self.kind_of(self.settle(arg), values, held) for arg in args)
        callee = self.callees.get((f.__code__, kinds))
        if callee is None:
            callee = self.callees[f.__code__, kinds] = Callee(self.stack_name(f))
            callee.being_read = True
            self.read_callee(callee, f, kinds)
            callee.being_read = False
        elif callee.being_read:
            self.calls_alone(callee, f)
        if callee.form is None:
            raise Unknown
        outs = [Value(t, "t") for t in callee.results]
        types = [p.type for p in callee.program.params] or [v.type for v in values]
        given = [self.w.cast(v, t) if isinstance(t, Scalar) else v for v, t in zip(values, types, strict=False)]
        given += [self.version(self.constant_array(x)) for x in callee.constants]
        self.w.add(Call(callee.program, given, outs, self.place()))
        following = iter(outs)
        found = self.unflatten(callee.form, following)
        for k in sorted(callee.stored):
            self.store_back(held, k, next(following), f.__name__)
        return found

    def calls_alone(self, callee: Callee, f: Any) -> None:
        """Refuses programs that call themselves and each other: none of them could be compiled first."""
        every = list(self.callees.values())
        others = {x.program.name for x in every[every.index(callee) + 1 :] if x.being_read}
        if others == {callee.program.name}:
            raise self.refuse(
                f"{f.__name__}, which calls itself with numbers of other types in turn",
                "make them floats from the start",
            )
        if others:
            raise self.refuse(
                f"{f.__name__} and {others.pop()}, which call themselves and each other", "make them one function"
            )

    def store_back(self, args: list[Entry], k: int, value: Value, name: str) -> None:
        """What a function that calls itself leaves in an array argument: it has worked on a copy."""
        bases = [x.base if isinstance(x, View) else x for x in args]
        if any(n != k and isinstance(x, ArrayRef) and x.may_be(bases[k]) for n, x in enumerate(bases)):
            raise self.refuse(
                f"a store into an argument of {name}, which calls itself and is given that array twice", "pass a copy"
            )
        self.store(args[k], (("s000",) * rank(value),), (), value)

    def read_callee(self, callee: Callee, f: Any, kinds: Any) -> None:
        """Reads a function that calls itself, until it is known what it returns."""
        before = set(self.callees)
        for _ in range(8):
            for key in self.callees.keys() - before:  # those that were read when less was known of this one
                del self.callees[key]
            reader = self.fresh()
            params: list[Value] = []
            entries = [
                reader.param(kind, name, params) for kind, name in zip(kinds, f.__code__.co_varnames, strict=False)
            ]
            refs = reader.work_on_copies(params, callee.stored)
            try:
                program, form = reader.program(f, entries, params)
            except Unknown:
                raise self.refuse(f"{f.__name__} calls itself without end", "give it a case that returns") from None
            program.place = f"{f.__code__.co_filename}:{f.__code__.co_firstlineno}"
            stored = callee.stored | {k for k, (ref, first) in refs.items() if reader.versions[ref] is not first}
            if program.effects and stored == callee.stored:
                raise self.refuse(
                    f"a store into what may be an argument of {f.__name__}, which calls itself",
                    "store into a copy, and return it",
                )
            program.block.results = [reader.returned(r) for r in program.block.results]
            program.block.results += [reader.versions[refs[k][0]] for k in sorted(stored)]
            results = [F64 if r.type == WEAK else r.type for r in program.block.results]
            known = callee.form is not None and list(map(str, callee.results)) == list(map(str, results))
            known = known and stored == callee.stored
            callee.form, callee.results, callee.stored = form, results, stored
            callee.constants = [x for _, x in reader.constants]
            program.params = [*params, *(reader.firsts[ref] for ref, _ in reader.constants)]
            fill(callee.program, tidy(program))
            if known:
                return
        raise self.refuse(f"{f.__name__} returns ever other types", "return one type")

    def work_on_copies(self, params: list[Value], stored: set[int]) -> dict[int, tuple[ArrayRef, Value]]:
        """Makes copies of the array parameters that are stored into; all arrays, and what they hold at first."""
        refs = {params.index(self.versions[ref]): ref for ref in self.given}
        for k in stored:
            self.versions[refs[k]] = self.w.emit("copy", params[k].type, params[k], pure=False)
        return {k: (ref, self.versions[ref]) for k, ref in refs.items()}

    def returned(self, value: Value) -> Value:
        """A result that is nobody else's."""
        if not value.is_array:
            return value
        return self.w.emit("copy", value.type, value, pure=False)

    def kind_of(self, entry: Entry, values: list[Value], held: list[Entry]) -> Any:
        """What a program for an argument depends on; its values are collected, and what holds them."""
        if isinstance(entry, tuple):
            return tuple(self.kind_of(self.settle(part), values, held) for part in entry)
        if isinstance(entry, Value | ArrayRef | View):
            value = self.as_value(entry)
            values.append(value)
            held.append(entry)
            return F64 if value.type == WEAK else value.type
        if isinstance(entry, Static):
            return entry
        raise self.refuse(
            f"{self.describe(entry)} as an argument of a function that calls itself",
            "pass numbers, arrays and functions of a module",
        )

    def param(self, kind: Any, name: str, params: list[Value]) -> Entry:
        """A parameter of a kind, as names hold it."""
        if isinstance(kind, tuple):
            return tuple(self.param(part, f"{name}_{k}", params) for k, part in enumerate(kind))
        if isinstance(kind, Static):
            return kind
        value = Value(kind, name)
        params.append(value)
        return self.argument(value) if value.is_array else value

    def unflatten(self, form: Any, values: Any) -> Entry:
        """A result of a known form, from its values."""
        if isinstance(form, tuple):
            return tuple(self.unflatten(part, values) for part in form)
        return form if isinstance(form, Static) else self.entry(next(values))


def message(args: list[Entry]) -> str:
    """What an exception says, as far as it's known."""
    known = [a.value if isinstance(a, Static) else a.const if isinstance(a, Value) else None for a in args]
    return " ".join("{...}" if part is None else str(part) for part in known)


def _structured(f: Any) -> Function:
    """A function in structured normal form."""
    function = structure(read(f))
    for node in ast.walk(function.definition):
        if isinstance(node, ast.Yield | ast.YieldFrom):
            advice = "append to a list and return it, or, if it is endless, step it in the loop that uses it"
            raise function.refuse(node, "`yield` in native code", advice)
    return function


_ENTRIES = Value | ArrayRef | View | Static | Closure | Maybe | tuple
