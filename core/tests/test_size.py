"""The core stays small: code lines, which are neither blank nor comment nor docstring."""

import ast
import io
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "torchflux"
GLUE = ["walk", "treelike", "containers", "gradient", "adjoint", "optimise", "train", "data", "device", "save", "model"]
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def docstring_starts(source):
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        for statement in node.body if isinstance(node, holders) else []:
            value = getattr(statement, "value", None)
            if isinstance(statement, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement.lineno, statement.col_offset


def code_lines(source):
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    docstrings = set(docstring_starts(source))
    code = [t for t in tokens if t.type not in LAYOUT and t.start not in docstrings]
    return len({line for t in code for line in range(t.start[0], t.end[0] + 1)})


def size(paths):
    return sum(code_lines(path.read_text()) for path in paths)


MADE_UP = '''"""Module docstring,
of two lines."""

import os  # 1

# a comment
"""A string that documents what stands above it."""


class A:  # 2
    """Docstring."""

    x = """a text
    of two lines"""  # 3 and 4

    def f(self):  # 5
        """Docstring.

        Of three lines.
        """
        # another comment
        return [  # 6

            self.x,  # 7
        ]  # 8


async def g():  # 9
    """Docstring."""


def h(): """Docstring."""  # 10
'''


def test_the_counter_counts_a_made_up_file():
    assert code_lines(MADE_UP) == 10
    assert code_lines("") == code_lines("# comment\n\n") == code_lines('"""Docstring."""\n') == 0
    assert code_lines("x = 1; y = 2\n") == 1


def test_the_counter_sees_every_line_that_is_added():
    assert code_lines(MADE_UP + "x = 1\n") == 11


def test_the_core_stays_within_its_size(capsys):
    """The paper's thousand lines for the glue, and 1,800 with the catalogues of layers, losses, rules and the like."""
    glue = size([PACKAGE / "__init__.py", *(PACKAGE / f"_{name}.py" for name in GLUE)])
    whole = size(PACKAGE.rglob("*.py"))
    with capsys.disabled():
        print(f"\ncode lines: glue {glue} of 1000, whole core {whole} of 1800")
    assert glue <= 1000
    assert whole <= 1800
