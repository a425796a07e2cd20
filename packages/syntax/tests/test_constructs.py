"""The table knows every construct of the interpreter that runs, and says the truth."""

import ast
from pathlib import Path

import pytest

from torchflux_syntax import CONSTRUCTS, construct_table
from torchflux_syntax._match import Matches

OLD = {"Num", "Str", "Bytes", "NameConstant", "Ellipsis", "Index", "ExtSlice"}  # aliases, gone from Python 3.14


def classes(base):
    return sorted({c.__name__ for c in base.__subclasses__() if c.__module__ in ("ast", "_ast")} - OLD)


@pytest.mark.parametrize("name", classes(ast.stmt) + classes(ast.expr))
def test_every_construct_is_in_the_table(name):
    assert name in CONSTRUCTS
    assert CONSTRUCTS[name].becomes


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_what_the_table_refuses_is_what_has_no_method(name):
    inside = {"FormattedValue", "Starred", "Slice"}  # read where they stand
    method = hasattr(Matches, f"do_{name}") or hasattr(Matches, f"value_{name}") or name in inside
    assert method != CONSTRUCTS[name].refused


def test_the_readme_shows_the_table():
    readme = Path(__file__).parents[1] / "README.md"
    assert construct_table() in readme.read_text()
