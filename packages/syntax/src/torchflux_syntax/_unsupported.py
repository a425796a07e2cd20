"""How a program is refused: the place, what was found there, and what to write instead."""

import ast
import linecache
from typing import Self

__all__ = ["Unsupported"]


class Unsupported(SyntaxError):
    """A construct that no transform can read, with its place and what to write instead.

    It is a `SyntaxError`, so that tracebacks, editors and notebooks show the line with a mark under the construct.

    >>> node = ast.parse("yield x").body[0]
    >>> print(Unsupported.at(node, "model.py", "a generator", "return a list"))
    model.py:1:1: a generator is not supported; return a list
    """

    construct: str = ""
    advice: str = ""

    @classmethod
    def at(cls, node: ast.AST, file: str, construct: str, advice: str) -> Self:
        """The refusal of `node`, found in `file`.

        Args:
            node: what is refused; its place is the place shown.
            file: the file that the node's line numbers refer to.
            construct: what was found, as a noun.
            advice: what to write instead.
        """
        line = getattr(node, "lineno", 1)
        text = linecache.getline(file, line)
        column = _column(text, getattr(node, "col_offset", 0))
        end_line = getattr(node, "end_lineno", None) or line
        end_column = _column(linecache.getline(file, end_line), getattr(node, "end_col_offset", None) or 0)
        error = cls(f"{construct} is not supported; {advice}", (file, line, column, text, end_line, end_column))
        error.construct, error.advice = construct, advice
        return error

    def __str__(self) -> str:
        head = f"{self.filename}:{self.lineno}:{self.offset}: {self.msg}"
        if not (self.text or "").strip():
            return head
        text = (self.text or "").rstrip()
        indent = len(text) - len(text.lstrip())
        start = (self.offset or 1) - 1
        one_line = self.end_lineno == self.lineno and (self.end_offset or 0) - 1 > start
        end = (self.end_offset or 1) - 1 if one_line else len(text)
        mark = " " * (start - indent) + "^" * max(end - start, 1)
        return f"{head}\n    {text.lstrip()}\n    {mark}"


def _column(line: str, offset: int) -> int:
    """The column, counted from 1 in characters, of an offset that `ast` counts from 0 in UTF-8 bytes."""
    return len(line.encode()[:offset].decode(errors="ignore")) + 1 if line else offset + 1
