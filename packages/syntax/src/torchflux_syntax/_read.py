"""A function's source, read into normal form."""

import ast
from types import FunctionType, MethodType
from typing import Any

from ._constructs import CONSTRUCTS
from ._function import Function
from ._locate import Located, locate
from ._mangle import mangle
from ._names import rebound
from ._normalise import normalise
from ._quote import copy
from ._unsupported import Unsupported

__all__ = ["read"]


def read(f: Any) -> Function:
    """The source of a function in normal form, with what its names refer to.

    Functions, lambdas (the very one, of several on a line), methods and closures, wherever they are defined: in files,
    in other functions, in notebooks. Decorators of `f` itself are dropped: what is read is what `f` runs.

    Raises:
        TypeError: `f` is no Python function. A callable object is read as `type(f).__call__`, by the caller.
        Unsupported: there is no source, or something in it that no transform can read; the message says what to write.

    >>> from torchflux_syntax import show
    >>> def f(x, n):
    ...     return [x ** i for i in range(n) if i > 1]
    >>> print(show(read(f)))
    def f(x, n):
        t1 = range(n)
        t2 = []
        for i in t1:
            t3 = i > 1
            if t3:
                t4 = x ** i
                t5 = t2.append
                t5(t4)
        return t2
    """
    if isinstance(f, MethodType) and isinstance(f.__func__, FunctionType):
        return _read(f.__func__, (f.__self__,))
    if not isinstance(f, FunctionType):
        raise TypeError(f"read takes a Python function or method, not {f!r} (of type {type(f).__name__})")
    return _read(f, ())


def _read(f: FunctionType, receiver: tuple[Any, ...]) -> Function:
    located = locate(f)
    if isinstance(located.node, ast.AsyncFunctionDef):
        row = CONSTRUCTS["AsyncFunctionDef"]
        raise Unsupported.at(located.node, located.file, row.title, row.becomes)
    node = mangle(copy(located.node), located.owner)
    cells = dict(zip(f.__code__.co_freevars, f.__closure__ or (), strict=True))
    raw = Function(
        definition=_definition(node, f),
        file=located.file,
        namespace=f.__globals__,
        cells=cells,
        defaults=f.__defaults__ or (),
        kwdefaults=dict(f.__kwdefaults__ or {}),
        name=f.__name__,
        qualname=f.__qualname__,
        receiver=receiver,
    )
    return normalise(raw, _rebound(located, set(cells)))


def _definition(node: Any, f: FunctionType) -> ast.FunctionDef:
    """The node as a plain definition, whose defaults show the values that the function has now."""
    if isinstance(node, ast.Lambda):
        body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node.body)]
        node = ast.copy_location(ast.FunctionDef("lambda_0", node.args, body, []), node)
    node.decorator_list = []
    node.args.defaults = [_shown(value, node) for value in f.__defaults__ or ()]
    keywords = f.__kwdefaults__ or {}
    node.args.kw_defaults = [_shown(keywords[p.arg], node) if p.arg in keywords else None for p in node.args.kwonlyargs]
    return node


def _shown(value: Any, at: ast.AST) -> ast.Constant:
    literal = value is None or type(value) in (bool, int, float, str)
    return ast.copy_location(ast.Constant(value if literal else ...), at)


def _rebound(located: Located, captured: set[str]) -> set[str]:
    """The variables of the function, or captured by it, that functions around it or in it rebind from within."""
    inside = rebound([located.node])
    if not captured:
        return inside
    line = located.node.lineno
    around = [node for node in located.module.body if node.lineno <= line <= (node.end_lineno or line)]
    return inside | (rebound(around) & captured)
