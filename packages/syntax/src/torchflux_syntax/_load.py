"""A tree made into a function again."""

import ast
import itertools
import linecache
import warnings
from collections.abc import Callable
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

from ._function import Function
from ._names import local_names, names
from ._show import show

__all__ = ["load"]

_numbers = itertools.count(1)


def load(tree: Function | ast.FunctionDef, /, **bindings: Any) -> Callable[..., Any]:
    """The function that a tree describes, compiled from its printed text.

    The text stays in `linecache`, under a name such as `<torchflux f #3>`, as long as the process runs: tracebacks,
    debuggers and `inspect.getsource` show it. Globals and captured variables are the original's own, not copies: what
    is bound to them later is seen. A bound method stays bound to its object.

    Args:
        tree: what `read` gave, transformed or not; or a definition that needs nothing but builtins and `bindings`.
        **bindings: further names that the tree uses, with their values. They become captured variables, so no module
            sees them.

    Raises:
        ValueError: a binding has the name of a captured variable, a parameter or a local variable of the tree.

    >>> from torchflux_syntax import quote, read
    >>> [definition] = quote("def add(x): return x + amount")
    >>> load(definition, amount=2)(40)
    42
    """
    function = tree if isinstance(tree, Function) else Function(tree, "", {}, name=tree.name, qualname=tree.name)
    taken = local_names(function.definition) | function.cells.keys()
    if clash := sorted(taken & bindings.keys()):
        raise ValueError(f"bindings {clash} have the names of variables of {function.name}; take others (see Fresh)")
    text = show(function) + "\n"
    file = f"<torchflux {function.definition.name} #{next(_numbers)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    cells = function.cells | {name: CellType(value) for name, value in bindings.items()}
    code = _compiled(text, file, sorted(cells.keys() & names(function.definition)))
    return _function(function, code, cells)


def is_loaded(file: str) -> bool:
    """Whether a file name is one that `load` made."""
    return file.startswith("<torchflux ")


def _compiled(text: str, file: str, captured: list[str]) -> CodeType:
    """The code object of the one function in `text`, in which the names `captured` are captured variables.

    It is compiled inside of a function that has these as parameters, and under a name that no program can say: its own
    name means there what it means outside.
    """
    module = ast.parse(text, file)
    [definition] = module.body
    assert isinstance(definition, ast.FunctionDef)
    definition.name = "<function>"
    around = ast.FunctionDef(
        name="around",
        args=ast.arguments([], [ast.arg(name) for name in captured], None, [], [], None, []),
        body=[definition],
        decorator_list=[],
    )
    if "type_params" in ast.FunctionDef._fields:  # Python 3.12
        around.type_params = []  # type: ignore[attr-defined]
    module.body = [around]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # they were shown when the original was compiled
        outer = _only_code(compile(ast.fix_missing_locations(module), file, "exec", dont_inherit=True))
    return _only_code(outer)


def _only_code(code: CodeType) -> CodeType:
    [inner] = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return inner


def _function(function: Function, code: CodeType, cells: dict[str, CellType]) -> Callable[..., Any]:
    closure = tuple(cells[name] for name in code.co_freevars)
    name = function.name or function.definition.name
    code = _renamed(code, code.co_qualname, function.qualname or name).replace(co_name=name)
    made = FunctionType(code, function.namespace, name, function.defaults or None, closure)
    made.__kwdefaults__ = function.kwdefaults or None
    made.__qualname__ = function.qualname or name
    made.__module__ = function.namespace.get("__name__", __name__)
    for receiver in function.receiver:
        return MethodType(made, receiver)
    return made


def _renamed(code: CodeType, old: str, new: str) -> CodeType:
    """The code with another qualified name, which the functions nested in it have in theirs."""
    inner = [_renamed(c, old, new) if isinstance(c, CodeType) else c for c in code.co_consts]
    return code.replace(co_consts=tuple(inner), co_qualname=new + code.co_qualname.removeprefix(old))
