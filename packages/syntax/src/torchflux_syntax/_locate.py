"""Where a function was written: its file, its syntax tree, and the node in it that it was made from."""

import ast
import linecache
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from ._load import is_loaded
from ._unsupported import Unsupported

__all__ = ["Located", "locate"]

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_FUTURE = 0x1FE0000  # the flags in which code objects note the `from __future__ import` that they were compiled with


@dataclass(frozen=True)
class Located:
    """A function's node in the tree of its file; `owner` is the class around it, which mangles private names."""

    node: Definition
    owner: str
    module: ast.Module
    file: str


@dataclass(frozen=True)
class _File:
    """A file read: its definitions by their first line, and the code that compiling it gives, by name and line.

    There is no code for what `load` made, as that text can't have changed.
    """

    module: ast.Module
    definitions: dict[int, list[tuple[Definition, str]]]
    codes: dict[tuple[str, int], list[CodeType]] | None


def locate(function: FunctionType) -> Located:
    """The node that `function` was made from.

    Raises:
        Unsupported: there is no source, or it is not what is running.
    """
    code = function.__code__
    for text in _texts(function):
        file = _parsed(text, code.co_filename, code.co_flags & _FUTURE)
        found = _found(file, code)
        if found and (file.codes is None or _instrumented(code) or _contains(file.codes, code)):
            node, owner = found
            return Located(node, owner, file.module, code.co_filename)
    raise _sourceless(function)


def _texts(function: FunctionType) -> Iterator[str]:
    """The source as it was when it was last looked at, and then as it is now."""
    file = function.__code__.co_filename
    yield "".join(linecache.getlines(file, function.__globals__))
    linecache.checkcache(file)
    yield "".join(linecache.getlines(file, function.__globals__))


@lru_cache(maxsize=64)
def _parsed(text: str, file: str, flags: int) -> _File:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # these were shown when the file was imported
            module = ast.parse(text, file)
            compiled = None if is_loaded(file) else compile(text, file, "exec", flags, dont_inherit=True)
    except SyntaxError:
        return _File(ast.Module([], []), {}, {})
    definitions: dict[int, list[tuple[Definition, str]]] = {}
    for node, owner in _definitions(module, ""):
        definitions.setdefault(_first_line(node), []).append((node, owner))
    return _File(module, definitions, _codes(compiled) if compiled else None)


def _codes(compiled: CodeType) -> dict[tuple[str, int], list[CodeType]]:
    found: dict[tuple[str, int], list[CodeType]] = {}
    pending = [compiled]
    while pending:
        code = pending.pop()
        found.setdefault((code.co_name, code.co_firstlineno), []).append(code)
        pending += _nested(code)
    return found


def _found(file: _File, code: CodeType) -> tuple[Definition, str] | None:
    there = file.definitions.get(code.co_firstlineno, [])
    if code.co_name != "<lambda>" or is_loaded(code.co_filename):
        return next((found for found in there if _is_named(found[0], code)), None)
    around = [(node, owner) for node, owner in there if isinstance(node, ast.Lambda) and _covers(node.body, code)]
    if not any(column for _, _, column, _ in code.co_positions()) and len(around) > 1:
        return None  # several on a line, and an interpreter that was told to keep no columns
    return min(around, key=lambda found: _extent(found[0]), default=None)


def _is_named(node: Definition, code: CodeType) -> bool:
    """Whether a node is the definition of `code`; what `load` made may have another name, but has its line alone."""
    return not isinstance(node, ast.Lambda) and (node.name == code.co_name or is_loaded(code.co_filename))


def _definitions(node: ast.AST, owner: str) -> Iterator[tuple[Definition, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            yield child, owner
        yield from _definitions(child, child.name if isinstance(child, ast.ClassDef) else owner)


def _first_line(node: Definition) -> int:
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _covers(body: ast.expr, code: CodeType) -> bool:
    """Whether every instruction of `code` comes from the expression `body`."""
    start, end = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
    for line, end_line, column, end_column in code.co_positions():
        if None in (line, end_line, column, end_column) or (column, end_column) == (0, 0):
            continue  # the function's prologue
        if (line, column) < start or (end_line, end_column) > end:
            return False
    return True


def _extent(node: Definition) -> tuple[int, int]:
    lines = (node.end_lineno or 0) - node.lineno
    return lines, (node.end_col_offset or 0) - node.col_offset


def _contains(codes: dict[tuple[str, int], list[CodeType]], code: CodeType) -> bool:
    """Whether `code` is what compiling its file gives: if not, the file has changed since it was imported."""
    there = codes.get((code.co_name, code.co_firstlineno), [])
    return any(_content(candidate) == _content(code) for candidate in there)


def _content(code: CodeType) -> tuple[Any, ...]:
    constants = [(type(c), repr(c)) for c in code.co_consts if not isinstance(c, CodeType | frozenset)]
    variables = (code.co_varnames, code.co_freevars, code.co_cellvars)
    return code.co_code, code.co_names, variables, constants, [_content(inner) for inner in _nested(code)]


def _nested(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _instrumented(code: CodeType) -> bool:
    """Whether pytest rewrote an `assert` in it: its code is then not what compiling its file gives."""
    rewritten = any(name.startswith("@py") for name in code.co_names + code.co_varnames)
    return rewritten or any(map(_instrumented, _nested(code)))


def _sourceless(function: FunctionType) -> Unsupported:
    code = function.__code__
    place = ast.Constant(None, lineno=code.co_firstlineno, col_offset=0)
    construct, advice = "a function whose source is not what is running", "import or define it again"
    if not linecache.getlines(code.co_filename, function.__globals__):
        construct, advice = "a function without its source", "define it in a file or in a notebook cell"
    elif code.co_name == "<genexpr>":
        construct, advice = "a generator expression", "write a list comprehension"
    elif code.co_name == "<lambda>":
        construct = "a lambda that can't be found in its source"
        advice = "define it again, or with `def`; Python can have been told to keep no columns (-X no_debug_ranges)"
    return Unsupported.at(place, code.co_filename, f"{construct} ({function.__qualname__})", advice)
