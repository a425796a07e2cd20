"""The one check behind most tests: a function read, read and structured, and loaded again does what it did."""

import ast
import copy
import itertools
import linecache
from collections.abc import Callable, Generator
from types import FunctionType, GeneratorType
from typing import Any

import pytest

from torchflux_syntax import deviation, load, read, structure

_cells = itertools.count(1)


class Same:
    """Calls a function and its transforms, and compares what comes out, what is changed and what is noted."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def note(self, name: Any, value: Any = None) -> Any:
        """Notes that it was called; gives the value."""
        self.log.append(name)
        return value

    def __call__(self, f: Callable[..., Any], *calls: tuple[Any, ...], state: Callable[[], Any] | None = None) -> None:
        normal = read(f)
        structured = structure(normal)
        assert deviation(normal) is None
        assert deviation(structured, structured=True) is None
        _check_places(normal.definition)
        _check_places(structured.definition)
        for arguments in calls or ((),):
            expected = self.outcome(f, arguments, state)
            assert self.outcome(load(normal), arguments, state) == expected
            assert self.outcome(load(structured), arguments, state) == expected

    def outcome(self, f: Callable[..., Any], arguments: tuple[Any, ...], state: Callable[[], Any] | None) -> Any:
        """The result or the exception, the arguments afterwards, what was noted, and what `state` says afterwards."""
        self.log.clear()
        arguments = copy.deepcopy(arguments)
        try:
            result = f(*arguments)
            result = _driven(result) if isinstance(result, GeneratorType) else result
        except NameError:
            result = NameError  # whether it is called unbound or undefined is the interpreter's business
        except Exception as error:
            result = (type(error), [str(part) for part in error.args])
        after = repr(arguments) if all(isinstance(x, int | float | str | list | dict) for x in arguments) else None
        return _plain(result), after, list(self.log), state() if state else None


def _driven(steps: Generator[Any, Any, Any]) -> list[Any]:
    """What a generator yields when it is sent numbers, the next to last step an exception; and what it returns."""
    seen: list[Any] = []
    try:
        seen.append(next(steps))
        for i in range(8):
            seen.append(steps.send(i) if i < 6 else steps.throw(KeyError(i)))
        steps.close()
    except StopIteration as stop:
        seen.append(("returned", stop.value))
    except Exception as error:
        seen.append(type(error))
    return seen


def _plain(value: Any) -> Any:
    """Functions compare by what they give."""
    if isinstance(value, FunctionType):
        return value()
    return [type(value), *map(_plain, value)] if isinstance(value, list | tuple) else value


def _check_places(definition: ast.FunctionDef) -> None:
    for node in ast.walk(definition):
        if "lineno" in node._attributes:
            places = (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset)  # type: ignore[attr-defined]
            assert None not in places, ast.dump(node)


@pytest.fixture
def same() -> Same:
    return Same()


@pytest.fixture
def cell() -> Callable[..., dict[str, Any]]:
    """Runs text as a notebook does: under a file name that only `linecache` knows."""

    def run(text: str, name: str = "<cell {}>", **namespace: Any) -> dict[str, Any]:
        file = name.format(next(_cells))
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        exec(compile(text, file, "exec"), namespace)
        return namespace

    return run
