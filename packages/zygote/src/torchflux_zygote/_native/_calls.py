"""How calls are read: by a rule, or by the callee's body in place."""

import ast
import inspect
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from torchflux_syntax import Function, read, structure

from .._custom import custom_rule
from .._registry import PULL
from ._arrays import Bound
from ._entries import Closure, Raised, Static
from ._frame import Frame
from ._ir import Value
from ._recursion import Recursing

__all__ = ["Calling"]

Entry = Any


class Calling(Recursing):
    """The part of the reader that knows calls."""

    enter: Callable[[Any], Entry]
    starred: Callable[[list[ast.expr]], list[Entry]]

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
        if custom_rule(f) is not None or (isinstance(f, types.FunctionType) and f in PULL):
            raise self.refuse(
                f"a call of {f.__name__}, which has a derivative of its own",
                "call it outside of native code; or call a function without such a rule, of which the body's is meant",
            )
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
        function = _structured(f)
        self.reads.attributes[id(f), "__code__"] = f, "__code__", f.__code__
        frame = Frame(function, None, function.definition, function.file, self.reads)
        if not self.stack:  # the function that is compiled: where to place what is found behind its body
            self.frame.file, self.node = function.file, function.definition
        for part in ("__defaults__", "__kwdefaults__"):
            self.reads.attributes[id(f), part] = f, part, getattr(f, part)
        defaults = [self.enter(x) for x in f.__defaults__ or ()]
        kwdefaults = {name: self.enter(x) for name, x in (f.__kwdefaults__ or {}).items()}
        for name, x in (f.__kwdefaults__ or {}).items():
            self.reads.globals[id(f.__kwdefaults__), name] = f.__kwdefaults__, name, x
        self.bind(function.definition.args, defaults, kwdefaults, args, keywords, frame, f.__name__)
        if self.being_read(f.__code__):
            return self.call_itself(f.__code__, f, frame)
        return self.run(f.__code__, frame)

    def call_closure(self, closure: Closure, args: list[Entry], keywords: dict[str, Entry]) -> Entry:
        """Reads the body of a function that was defined in the one being read."""
        definition = closure.definition
        frame = Frame(None, closure.env, definition, closure.env.file, self.reads)
        defaults, kwdefaults = list(closure.defaults), dict(closure.kwdefaults)
        self.bind(definition.args, defaults, kwdefaults, args, keywords, frame, definition.name)
        if self.being_read(definition):
            return self.call_itself(definition, definition, frame)
        return self.run(definition, frame)

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

    def run(self, code: Any, frame: Frame) -> Entry:
        """Runs a body whose only return is its last statement."""
        outer, place = self.frame, self.node
        self.stack.append((code, outer))
        self.frame = frame
        try:
            *body, last = frame.definition.body
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
