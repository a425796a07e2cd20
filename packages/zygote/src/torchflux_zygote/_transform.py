"""Generated functions: read, prepared, written, compiled, and kept for the next call."""

import ast
import inspect
import linecache
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import CodeType, FunctionType
from typing import Any

from torchflux_syntax import Function, load, read

from ._forward import forward
from ._prepare import Prepared, prepare
from ._pull import TRANSFORM
from ._registry import NONES, constant, pushes, raw
from ._reverse import reverse
from ._run import STATE
from ._writer import Written

__all__ = ["Generated", "generated_pullback", "place_of", "prepared", "source_of"]

_PUSHFORWARDS: dict[tuple[int, int], "Generated"] = {}
_TAPED: dict[tuple[int, int], "Generated"] = {}
_PULLBACKS: dict[tuple[int, int], "Generated"] = {}
_NESTED: dict[int, tuple[CodeType, ast.FunctionDef, str]] = {}
_PLACES: dict[str, tuple[str, dict[int, tuple[int, int]]]] = {}


class Generated:
    """A generated function, for all closures of one code object.

    Attributes:
        made: the function for the closure that it was first made for.
        source: its text.
    """

    def __init__(self, written: Written, original: Any) -> None:
        self.begin = written.begin
        self.original = original  # keeps the code object alive, and so its identity
        function = written.function
        self.made: Any = load(function, **written.bindings)
        self.source = "".join(linecache.getlines(self.made.__code__.co_filename)).rstrip("\n")
        self.closure = dict(zip(self.made.__code__.co_freevars, self.made.__closure__ or (), strict=True))
        self.captured = set(function.cells)
        a = function.definition.args
        self.positional = len(a.posonlyargs) + len(a.args)
        self.names = [p.arg for p in (*a.posonlyargs, *a.args)]
        self.keywords = [p.arg for p in a.kwonlyargs]
        self.star, self.double_star = a.vararg is not None, a.kwarg is not None
        self.simple = not (self.star or self.double_star or self.keywords)
        _register(function, self.made.__code__, self.source)

    def bind(self, f: Any, defaults: bool = True) -> Callable[..., Any]:
        """The generated function with the cells (and the defaults) of the closure f."""
        made = self.made
        if f.__closure__ or (defaults and (f.__defaults__ or f.__kwdefaults__)):
            made = self._closed(f, defaults)
        return made if self.begin is None else partial(self.begin, made)

    def _closed(self, f: Any, defaults: bool) -> FunctionType:
        made = self.made
        cells = dict(zip(f.__code__.co_freevars, f.__closure__ or (), strict=True))
        closure = tuple(cells[n] if n in cells and n in self.captured else c for n, c in self.closure.items())
        new = FunctionType(made.__code__, f.__globals__, made.__name__, f.__defaults__ if defaults else None, closure)
        new.__kwdefaults__ = f.__kwdefaults__ if defaults else None
        return new

    def adapt(self, f: Any, count: int, keywords: tuple[str, ...], back: Any) -> Callable[[Any], tuple[Any, ...]]:
        """`back` for a call with `count` positional arguments and some keywords."""
        if self.simple and count == self.positional and not keywords:
            return back
        return lambda ȳ: self._arranged(f, count, keywords, back(ȳ))

    def _arranged(self, f: Any, count: int, keywords: tuple[str, ...], bars: tuple[Any, ...]) -> tuple[Any, ...]:
        found = dict(zip(self.names, bars, strict=False))
        given = [found.pop(name) for name in self.names[:count]]
        rest = bars[self.positional :]
        if self.star:
            extra = max(count - self.positional, 0)
            bar = rest[0]
            given += NONES[extra] if bar is None else (bar.value() if hasattr(bar, "value") else bar)
            rest = rest[1:]
        found.update(zip(self.keywords, rest, strict=False))
        if self.double_star:
            found.update(bars[-1])
        given += [found.pop(name, None) for name in keywords]
        for name, bar in found.items():
            STATE.sweep.give(f, name, bar)
        return tuple(given)


def generated_pullback(f: Any, taped: bool = False) -> Generated:
    """The generated pullback of a Python function; taped, if it may be interrupted."""
    kept, key = _TAPED if taped else _PULLBACKS, (id(f.__code__), id(f.__globals__))
    found = kept.get(key)
    if found is None:
        found = kept[key] = Generated(reverse(prepared(f), taped), f)
    return found


TRANSFORM.append(generated_pullback)


def pushforward_of(f: Any) -> Any:
    """The forward rule of a Python function: `impl(push, args, dots, names)`."""
    return partial(push_generated, generated_pushforward(f).bind(f, defaults=False), f)


def generated_pushforward(f: Any) -> Generated:
    """The generated pushforward of a Python function."""
    key = id(f.__code__), id(f.__globals__)
    found = _PUSHFORWARDS.get(key)
    if found is None:
        found = _PUSHFORWARDS[key] = Generated(forward(prepared(f)), f)
    return found


def push_generated(generated: Any, f: Any, push: Any, args: Any, dots: Any, names: Any = ()) -> Any:
    """A call of a generated pushforward, with the arguments in the order of the parameters."""
    plan = plan_of(f, len(args), names)
    if plan is not None:
        given = (*args, *[default_of(f, name) for name in plan.defaults])
        given_dots = (*dots, *[push.field(f, name) for name in plan.defaults])
        args, dots = arranged(plan, given), arranged(plan, given_dots)
        if plan.options:
            set_options(push, args[-1], plan.options, dots[-1])
            dots = (*dots[:-1], None)
    return generated(push, args, dots)


def default_of(f: Any, name: str) -> Any:
    """The default of a parameter."""
    return inspect.signature(f, follow_wrapped=False).parameters[name].default


@raw(default_of)
def _default_of(f: Any, name: str) -> Any:
    return default_of(f, name), lambda ȳ: STATE.sweep.give(f, name, ȳ) or NONES[2]


@pushes(default_of)
def _push_default_of(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return default_of(*args), push.field(args[0], args[1])


@dataclass(frozen=True)
class Plan:
    """Where the parameters of a function come from: an index, several of them, or a dict of them."""

    spots: tuple[Any, ...]
    defaults: tuple[str, ...]
    options: tuple[str, ...]


def plan_of(f: Any, count: int, names: tuple[str, ...]) -> Plan | None:
    """How arguments are bound to parameters; None where they are as they come."""
    signature = inspect.signature(f, follow_wrapped=False)
    kinds = [p.kind for p in signature.parameters.values()]
    by_position = count - len(names)
    if not names and by_position == len(kinds) and all(k in (0, 1) for k in kinds):
        return None
    bound = signature.bind(*range(by_position), **{name: by_position + i for i, name in enumerate(names)})
    spots: list[Any] = []
    defaults: list[str] = []
    options: tuple[str, ...] = ()
    order: list[Any] = []
    for name, p in signature.parameters.items():
        if name in bound.arguments:
            spots.append(bound.arguments[name])
            options = tuple(bound.arguments[name]) if p.kind is p.VAR_KEYWORD else options
        elif p.kind is p.VAR_POSITIONAL:
            spots.append(())
        elif p.kind is p.VAR_KEYWORD:
            spots.append({})
        else:
            spots.append(count + len(defaults))
            defaults.append(name)
        order.append(p.kind)
    ranked = sorted(range(len(spots)), key=lambda i: int(order[i]))
    return Plan(tuple(spots[i] for i in ranked), tuple(defaults), options)


def arranged(plan: Plan, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments in the order of the parameters."""
    return tuple([picked(spot, given) for spot in plan.spots])


def picked(spot: Any, given: tuple[Any, ...]) -> Any:
    if isinstance(spot, int):
        return given[spot]
    if isinstance(spot, tuple):
        return tuple([given[i] for i in spot])
    return {name: given[i] for name, i in spot.items()}


def set_options(push: Any, options: Any, names: tuple[str, ...], dots: Any) -> None:
    """Gives `**options` their tangents."""
    for name in names:
        push.give(options, name, dots[name])


constant(plan_of)


def prepared(f: Any) -> Prepared:
    """A function, read and prepared; also one that was made inside a generated function."""
    nested = _NESTED.get(id(f.__code__))
    if nested is None:
        return prepare(read(f))
    _, definition, file = nested
    cells = dict(zip(f.__code__.co_freevars, f.__closure__ or (), strict=True))
    function = Function(
        *(definition, file, f.__globals__, cells, f.__defaults__ or (), dict(f.__kwdefaults__ or {})),
        name=f.__name__,
        qualname=f.__qualname__,
    )
    return prepare(function, structured=True)


def _register(function: Function, code: CodeType, text: str) -> None:
    """Remembers the nested functions of a generated one, and the places of its lines in the user's file."""
    _register_nested(function.definition, code, function.file)
    tree = ast.parse(text)
    places = {
        new.lineno: (old.lineno, old.col_offset)
        for new, old in zip(_lines(tree.body), _lines([function.definition]), strict=False)
        if getattr(old, "lineno", None)
    }
    _PLACES[code.co_filename] = (function.file, places)


def _lines(block: list[ast.stmt]) -> list[Any]:
    found: list[Any] = []
    for statement in block:
        found.append(statement)
        for name in ("body", "handlers", "orelse", "finalbody"):
            found += _lines(getattr(statement, name, []))
    return found


def _register_nested(definition: ast.FunctionDef, code: CodeType, file: str) -> None:
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    for node in _definitions(definition.body):
        match = next((c for c in inner if c.co_name == node.name), None)
        if match is not None:
            inner.remove(match)
            _NESTED[id(match)] = (match, node, file)
            _register_nested(node, match, file)


def _definitions(block: list[ast.stmt]) -> list[ast.FunctionDef]:
    found = []
    for statement in block:
        if isinstance(statement, ast.FunctionDef):
            found.append(statement)
            continue
        for name in ("body", "handlers", "orelse", "finalbody"):
            found += _definitions(getattr(statement, name, []))
    return found


def place_of(file: str, line: int) -> str | None:
    """`file:line:column` in the user's file of a line of generated code."""
    if file not in _PLACES:
        return None
    original, places = _PLACES[file]
    found = places.get(line)
    return None if found is None else f"{original}:{found[0]}:{found[1] + 1}"


def source_of(generated: Generated) -> str:
    """The text of a generated function."""
    return generated.source
