"""Texts of programs, written once for states in variables and states in arrays."""

import re
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._tableau import Tableau

__all__ = ["Layout", "constants", "dense_weights", "indented", "weighted"]


@dataclass(frozen=True)
class Layout:
    """How a program holds a state of `n` numbers: each in a variable of its own, or in an array (`n` is `None`).

    A line with an `@` in it stands for one line a number: `u@ = y@` for `u_0 = y_0`, `u_1 = y_1`, ..., or for
    `u[i] = y[i]` in a loop; a `#` is the number's index. Such lines that follow each other share their loop.
    """

    n: int | None

    def names(self, name: str) -> str:
        """All of a state, as arguments or targets."""
        return name if self.n is None else ", ".join(f"{name}_{i}" for i in range(self.n))

    def room(self, *names: str) -> list[str]:
        """The lines that make arrays of these names, where there are any."""
        return [f"{name} = np.empty(n, T)" for name in names] if self.n is None else []

    def text(self, template: str) -> str:
        """A template as Python."""
        lines: list[str] = []
        for margin, group in groupby(template.splitlines(), _margin):
            together = list(group)
            lines += together if margin is None else self._each(together)
        return "\n".join(lines) + "\n"

    def _each(self, lines: list[str]) -> list[str]:
        """Lines for every number of the state."""
        if self.n is not None:
            return [line.replace("@", f"_{i}").replace("#", str(i)) for i in range(self.n) for line in lines]
        inside = ["    " + line.replace("@", "[i]").replace("#", "i") for line in lines]
        return [f"{_margin(lines[0])}for i in range(n):", *inside]


def _margin(line: str) -> str | None:
    """The indentation of a line that stands for several, which those that share a loop with it have too."""
    return line[: len(line) - len(line.lstrip())] if re.search("[@#]", line) else None


def indented(lines: list[str], depth: int) -> str:
    """Lines at a depth, for the place that a template has for them."""
    return "\n".join("    " * depth + line for text in lines for line in text.splitlines())


def weighted(weights: NDArray[np.float64], name: str, slopes: str = "k{}@") -> str:
    """The weighted sum of slopes: `name_0 * k0@ + ...`, without the weights that are zero."""
    terms = [f"{name}_{j} * {slopes.format(j)}" for j, weight in enumerate(weights) if weight]
    return " + ".join(terms) or "T(0.0)"


def constants(tableau: Tableau) -> str:
    """A tableau's numbers, as the constants of a program."""
    lines = [f"c_{i} = T({float(c)!r})" for i, c in enumerate(tableau.c) if i]
    lines += [f"a_{i}_{j} = T({float(a)!r})" for (i, j), a in np.ndenumerate(tableau.a) if a]
    lines += [f"d_{i}_{j + 1} = T({float(d)!r})" for (i, j), d in np.ndenumerate(tableau.dense) if d]
    error: Any = [] if tableau.error is None else tableau.error
    lines += [f"e_{i} = T({float(e)!r})" for i, e in enumerate(error) if e]
    return "\n".join(lines) + "\n"


def dense_weights(tableau: Tableau) -> list[str]:
    """What the slopes count at the part `x` of a step of length `h`: `b0 = h * (...)`, by Horner's rule."""
    lines = []
    for i, row in enumerate(tableau.dense):
        text = ""
        for j in reversed(range(len(row))):
            if row[j]:
                text = f"x * (d_{i}_{j + 1} + {text})" if text else f"x * d_{i}_{j + 1}"
            elif text:
                text = f"x * ({text})"
        if text:
            lines.append(f"b_{i} = h * ({text})")
    return lines
