"""Random programs: branches, loops, calls, mutation and aliases, compared with Python, torch and finite differences.

    python packages/zygote/tests/native/programs.py 20000          # so many programs, from seed 0 on
    python packages/zygote/tests/native/programs.py 1 --seed 4711  # one, shown

A program that fails is reduced (statements are left out while it fails in the same way) and printed. The generated
source is run as plain Python, so that a program takes tens of milliseconds and not seconds.
"""

import argparse
import ast
import collections
import linecache
import math
import random
import re
import signal
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

from native_check import (
    Mismatch,
    check_modes,
    close,
    copied,
    flatten,
    like,
    operation,
    plain,
    shaped,
    slope,
    tail,
    torch_gradient,
    twin,
    vector,
)

from torchflux_zygote._native._entries import Refused

__all__ = ["Outcome", "examine", "generate", "load", "shrink"]

N = 4
"""The length of vectors, and of the sides of matrices."""
LIMIT = 1e6


@dataclass
class Scope:
    """What may be read at a place of the program."""

    floats: list[str] = field(default_factory=list)
    ints: list[str] = field(default_factory=list)
    bools: list[str] = field(default_factory=list)
    pairs: list[str] = field(default_factory=list)
    arrays: dict[str, int] = field(default_factory=dict)  # vectors, by name, with their lengths
    matrices: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)  # of two floats
    changers: list[str] = field(default_factory=list)  # of a vector and a float, which change the vector

    def copy(self) -> "Scope":
        return Scope(
            list(self.floats),
            list(self.ints),
            list(self.bools),
            list(self.pairs),
            dict(self.arrays),
            list(self.matrices),
            list(self.functions),
            list(self.changers),
        )

    def both(self, other: "Scope") -> None:
        """What is there on both of two paths."""
        for name in ("floats", "ints", "bools", "pairs", "matrices"):
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, [x for x in mine if x in theirs])
        self.arrays = {k: v for k, v in self.arrays.items() if other.arrays.get(k) == v}


class Generator:
    """Writes a program at random."""

    def __init__(self, rng: Any) -> None:
        self.rng = rng
        self.lines: list[str] = []
        self.depth = 0
        self.loops = 0
        self.budget = 0
        self.count = 0
        self.inner = False
        self.raising = 0  # so many try statements around
        self.final_block = False

    def pick(self, xs: Any) -> Any:
        return self.rng.choice(list(xs))

    def chance(self, p: float) -> bool:
        return self.rng.randint(0, 999) < 1000 * p

    def fresh(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    # Expressions.

    def constant(self) -> str:
        return str(self.rng.randint(-15, 15) / 10.0) if self.chance(0.8) else str(self.rng.randint(1, 3))

    def number(self, s: Scope, depth: int = 2) -> str:
        """An expression for a float."""
        if depth <= 0 or self.chance(0.15):
            return self.leaf(s)
        e = lambda: self.number(s, depth - 1)
        kinds = [
            lambda: f"{e()} + {e()}",
            lambda: f"({e()}) * ({e()})",
            lambda: f"{e()} - ({e()})",
            lambda: f"0.5 * ({e()})",
            lambda: f"math.{self.pick(['sin', 'cos', 'tanh', 'atan'])}({e()})",
            lambda: f"math.exp(math.sin({e()}))",
            lambda: f"math.sqrt(1.0 + ({e()}) ** 2)",
            lambda: f"math.log(2.5 + math.sin({e()}))",
            lambda: f"({e()}) / (1.5 + ({self.leaf(s)}) ** 2)",
            lambda: f"(1.2 + math.cos({self.leaf(s)})) ** {self.pick(['2', '3', '0.7', '-1'])}",
            lambda: f"-({e()})",
            lambda: f"({e()} if {self.condition(s)} else {e()})",
            lambda: f"{self.pick(['max', 'min'])}({e()}, {e()})",
            lambda: f"abs({e()})",
            lambda: self.reduction(s),
            lambda: self.reduction(s),
        ]
        if s.functions:
            kinds += [lambda: f"{self.pick(s.functions)}({e()}, {self.leaf(s)})"] * 2
        if s.changers and s.arrays:
            kinds += [lambda: f"{self.pick(s.changers)}({self.vector_name(s)}, {self.leaf(s)})"]
        return self.pick(kinds)()

    def leaf(self, s: Scope) -> str:
        kinds = [self.constant]
        if s.floats:
            kinds += [lambda: self.pick(s.floats)] * 5
        if s.arrays:
            kinds += [lambda: self.element(s)] * 2
        if s.matrices:
            kinds += [lambda: f"{self.pick(s.matrices)}[{self.index(s)}, {self.index(s)}]"]
        if s.pairs:
            kinds += [lambda: f"{self.pick(s.pairs)}[{self.rng.randint(0, 1)}]"]
        if s.ints:
            kinds += [lambda: f"0.3 * {self.pick(s.ints)}"]
        return self.pick(kinds)()

    def index(self, s: Scope, n: int = N) -> str:
        if s.ints and self.chance(0.6):
            name = self.pick(s.ints)
            return self.pick([f"{name} % {n}", f"({name} + 1) % {n}", f"-1 - {name} % {n}"])
        return str(self.rng.randint(-n, n - 1))

    def element(self, s: Scope) -> str:
        name = self.vector_name(s)
        return f"{name}[{self.index(s, s.arrays[name])}]"

    def vector_name(self, s: Scope, n: int | None = None) -> str:
        names = [k for k, v in s.arrays.items() if n is None or v == n]
        return self.pick(names)

    def reduction(self, s: Scope) -> str:
        kinds = []
        if s.arrays:
            name = self.vector_name(s)
            n = s.arrays[name]
            kinds += [
                lambda: f"{name}.sum()",
                lambda: f"{name} @ {self.vector_name(s, n)}",
                lambda: f"{name}.mean()",
                lambda: f"np.linalg.norm({name})",
                lambda: f"{name}.max()",
                lambda: f"({self.vector(s, n)}).sum()",
                lambda: f"{name}[1:].sum()",
                lambda: f"{name}[{name} > {self.constant()}].sum()",
            ]
        if s.matrices:
            m = self.pick(s.matrices)
            kinds += [lambda: f"{m}.sum()", lambda: f"{m}[{self.index(s)}].sum()", lambda: f"{m}.T[{self.index(s)}, 0]"]
        return self.pick(kinds)() if kinds else self.leaf(s)

    def vector(self, s: Scope, n: int = N, depth: int = 2) -> str:
        """An expression for a vector, which is a new one."""
        has = [k for k, v in s.arrays.items() if v == n]
        name = lambda: self.pick(has)
        e = (lambda: f"({self.vector(s, n, depth - 1)})") if depth > 1 else name
        kinds: list[Callable[[], str]] = [lambda: f"np.zeros({n}) + {self.number(s, 1)}"]
        if has:
            kinds += [
                lambda: f"{name()} * ({self.number(s, 1)})",
                lambda: f"{name()} + {e()}",
                lambda: f"{name()} * {e()} * 0.5",
                lambda: f"np.{self.pick(['sin', 'tanh', 'cos'])}({e()})",
                lambda: f"{name()}.copy()",
                lambda: f"{e()} / (2.0 + {name()} ** 2)",
                lambda: f"np.where({name()} > {self.constant()}, {name()}, {e()})",
                lambda: f"{self.constant()} - {name()}",
                lambda: f"0.5 * np.cumsum({e()})",
                lambda: f"{name()}[[{', '.join(self.index(s, n) for _ in range(n))}]]",
            ]
        if s.matrices and n == N:
            m = self.pick(s.matrices)
            if has:
                kinds += [
                    lambda: f"0.3 * ({m} @ {name()})",
                    lambda: f"0.3 * ({name()} @ {m})",
                    lambda: f"0.3 * ({m}.T @ {e()})",
                ]
            kinds += [lambda: f"{m}.sum(axis={self.rng.randint(0, 1)}) * 0.3", lambda: f"{m}[{self.index(s)}] * 0.5"]
        if n == N and has:
            kinds += [
                lambda: f"np.concatenate(({name()}[2:], {name()}[:2]))",
                lambda: f"np.array(({', '.join(self.leaf(s) for _ in range(n))}))",
                lambda: f"({e()}.reshape(2, 2) @ {e()}.reshape(2, -1)).ravel() * 0.4",
            ]
        if n > 1:
            longer = [k for k, v in s.arrays.items() if v == n + 1]
            if longer:
                kinds += [
                    lambda: f"{self.pick(longer)}[1:] * {self.constant()}",
                    lambda: f"{self.pick(longer)}[:-1] + {self.leaf(s)}",
                ]
        return self.pick(kinds)()

    def condition(self, s: Scope, depth: int = 1) -> str:
        kinds = [
            lambda: f"{self.leaf(s)} {self.pick(['<', '>', '<=', '>='])} {self.constant()}",
            lambda: f"{self.leaf(s)} < {self.leaf(s)}",
        ]
        if s.ints:
            kinds += [
                lambda: f"{self.pick(s.ints)} % {self.pick([2, 3])} {self.pick(['==', '!='])} {self.rng.randint(0, 1)}"
            ] * 2
        if s.bools:
            kinds += [lambda: self.pick(s.bools), lambda: f"not {self.pick(s.bools)}"]
        if s.floats:
            kinds += [lambda: f"-0.8 < {self.pick(s.floats)} < 1.1"]
        if depth:
            kinds += [lambda: f"({self.condition(s, 0)} {self.pick(['and', 'or'])} {self.condition(s, 0)})"]
        return self.pick(kinds)()

    # Statements.

    def block(self, s: Scope, size: int) -> bool:
        """Some statements; whether the block ends here for certain (return, break, continue)."""
        for _ in range(size):
            if self.budget <= 0:
                break
            self.budget -= 1
            if self.statement(s):
                return True
        return False

    def statement(self, s: Scope) -> bool:
        weighted: list[tuple[int, Callable[[Scope], bool | None]]] = [
            (5, self.assign),
            (4, self.augment),
            (1, self.swap),
            (2, self.pair),
            (1, self.flag),
            (2, self.count_up),
        ]
        if self.depth < 5:
            weighted += [(6, self.branch)]
            weighted += [(3, self.attempt)]
            if self.loops < 3:
                weighted += [(4, self.for_loop), (2, self.while_loop)]
        if s.arrays:
            weighted += [
                (7, self.store),
                (3, self.new_array),
                (2, self.alias),
                (2, self.augment_array),
                (1, self.swap_arrays),
            ]
        if s.matrices:
            weighted += [(2, self.store_matrix), (1, self.row), (1, self.change_matrix)]
        if not self.inner:
            weighted += [(1, self.closure)]
        if self.depth > 1 and not self.final_block:
            weighted += [(1, self.leave)]
        if self.raising:
            weighted += [(5, self.raise_one)]
        which = self.rng.randint(0, sum(w for w, _ in weighted) - 1)
        for weight, make in weighted:
            which -= weight
            if which < 0:
                return bool(make(s))
        raise AssertionError

    def target(self, s: Scope, names: list[str], letter: str) -> str:
        if names and self.chance(0.7):
            return self.pick(names)
        return self.fresh(letter)

    def assign(self, s: Scope) -> None:
        name = self.target(s, s.floats, "t")
        self.line(f"{name} = {self.bounded(s)}")
        if name not in s.floats:
            s.floats.append(name)

    def bounded(self, s: Scope) -> str:
        text = self.number(s)
        return text if self.chance(0.5) else f"math.tanh({text})"

    def augment(self, s: Scope) -> None:
        if s.floats:
            by = self.number(s, 1)
            kind = self.pick(["+=", "-=", "*=", "/="])
            self.line(f"{self.pick(s.floats)} {kind} {by if kind in ('+=', '-=') else f'1.2 + math.sin({by})'}")

    def swap(self, s: Scope) -> None:
        if len(s.floats) > 1:
            a, b = self.pick(s.floats), self.pick(s.floats)
            self.line(f"{a}, {b} = {b}, {a}" if self.chance(0.5) else f"{a}, {b} = {b} * 0.5, {a} + {self.leaf(s)}")

    def pair(self, s: Scope) -> None:
        if s.pairs and self.chance(0.4) and s.floats:
            self.line(f"{self.pick(s.floats)}, {self.pick(s.floats)} = {self.pick(s.pairs)}")
            return
        name = self.target(s, s.pairs, "p")
        self.line(f"{name} = ({self.number(s, 1)}, {self.number(s, 1)})")
        if name not in s.pairs:
            s.pairs.append(name)

    def flag(self, s: Scope) -> None:
        name = self.target(s, s.bools, "c")
        self.line(f"{name} = {self.condition(s)}")
        if name not in s.bools:
            s.bools.append(name)

    def count_up(self, s: Scope) -> None:
        mine = [name for name in s.ints if name.startswith("k")]
        if mine and self.chance(0.7):
            self.line(f"{self.pick(mine)} += {self.rng.randint(1, 3)}")
            return
        name = self.fresh("k")
        self.line(f"{name} = {self.rng.randint(0, 3)}")
        s.ints.append(name)

    def branch(self, s: Scope) -> bool:
        self.line(f"if {self.condition(s)}:")
        ends, scopes = [], []
        sides = self.pick([1, 2, 2, 3])
        for k in range(sides):
            if k:
                self.line(f"elif {self.condition(s)}:" if k < sides - 1 else "else:")
            inner = s.copy()
            ends.append(self.indented(inner, self.rng.randint(1, 3)))
            scopes.append(inner)
        if sides == 1:
            ends.append(False)
            scopes.append(s.copy())
        through = [x for x, end in zip(scopes, ends, strict=True) if not end]
        if not through:
            return True
        whole = through[0]
        for other in through[1:]:
            whole.both(other)
        self.take(s, whole)
        return False

    def attempt(self, s: Scope) -> bool:
        """try, with some of except, else and finally; what may be raised in it is raised on purpose, or checked."""
        kinds = ["ValueError", "IndexError", "ZeroDivisionError", "LookupError", "ArithmeticError", "Exception"]
        self.line("try:")
        self.raising += 1
        body = s.copy()
        ended = self.indented(body, self.rng.randint(1, 4))
        self.raising -= 1
        scopes, ends = [body], [ended]
        caught = self.rng.sample(kinds, self.rng.randint(1, 2)) if self.chance(0.85) else []
        for kind in caught:
            self.line(f"except {kind}:" if self.chance(0.8) else f"except ({kind}, KeyError) as error:")
            inner = s.copy()
            ends.append(self.indented(inner, self.rng.randint(1, 2)))
            scopes.append(inner)
        if caught and self.chance(0.3):
            self.line("else:")
            ends[0] = self.indented(body, 1) or ends[0]
        if not caught or self.chance(0.3):
            self.line("finally:")
            keep, self.loops, self.final_block = self.loops, 0, True
            self.indented(s.copy(), 1)
            self.loops, self.final_block = keep, False
        through = [x for x, end in zip(scopes, ends, strict=True) if not end]
        if not through:
            return True
        whole = through[0]
        for other in through[1:]:
            whole.both(other)
        self.take(s, whole)
        return False

    def raise_one(self, s: Scope) -> bool:
        """A raise, mostly on a condition."""
        kind = self.pick(["ValueError", "IndexError", "ZeroDivisionError"])
        if self.chance(0.1):
            self.line(f"raise {kind}")
            return True
        lines = [f"if {self.condition(s)}:", f"    raise {kind}('no')"]
        if s.arrays and self.chance(0.3):
            lines = [f"{self.vector_name(s)}[n + {self.rng.randint(0, 3)}] += {self.leaf(s)}"]
        elif s.ints and self.chance(0.3):
            lines = [f"{self.fresh('k')} = 5 // {self.pick(s.ints)}"]
        for line in lines:
            self.line(line)
        return False

    def take(self, s: Scope, whole: Scope) -> None:
        s.floats, s.ints, s.bools, s.pairs, s.arrays, s.matrices = (
            whole.floats,
            whole.ints,
            whole.bools,
            whole.pairs,
            whole.arrays,
            whole.matrices,
        )

    def indented(self, s: Scope, size: int) -> bool:
        self.depth += 1
        start = len(self.lines)
        ended = self.block(s, size)
        if len(self.lines) == start:
            self.line("pass")
        self.depth -= 1
        return ended

    def for_loop(self, s: Scope) -> None:
        inner = s.copy()
        i = self.fresh("i")
        kinds = [
            lambda: f"for {i} in range({self.rng.randint(0, 4)}):",
            lambda: f"for {i} in range(n):",
            lambda: f"for {i} in range({self.rng.randint(-1, 2)}, {self.rng.randint(1, 6)}, {self.rng.randint(1, 2)}):",
            lambda: f"for {i} in range({self.rng.randint(2, 4)}, {self.rng.randint(-1, 1)}, -1):",
            lambda: f"for {i} in reversed(range(n)):",
        ]
        if any(name.startswith("i") for name in s.ints):
            outer = self.pick([name for name in s.ints if name.startswith("i")])
            kinds += [lambda: f"for {i} in range({outer}):"] * 2
        named = self.chance(0.3) and s.arrays
        if named:
            v, name = self.fresh("v"), self.vector_name(s)
            others = [k for k in s.arrays if k != name]
            text = self.pick([f"for {v} in {name}:", f"for {i}, {v} in enumerate({name}):"])
            if others and self.chance(0.3):
                w = self.fresh("v")
                text = f"for {v}, {w} in zip({name}, {self.pick(others)}):"
                inner.floats.append(w)
            inner.floats.append(v)
            if "enumerate" in text:
                inner.ints.append(i)
            self.line(text)
        else:
            self.line(self.pick(kinds)())
            inner.ints.append(i)
        self.body(inner, s)

    def body(self, inner: Scope, s: Scope, tail: str = "") -> None:
        self.loops += 1
        start = len(self.lines)
        self.indented(inner, self.rng.randint(1, 4))
        if tail:
            self.lines.insert(start, "    " * (self.depth + 1) + tail)
        self.loops -= 1
        if self.chance(0.15):
            self.line("else:")
            self.indented(s.copy(), 1)

    def while_loop(self, s: Scope) -> None:
        k = self.fresh("w")
        self.line(f"{k} = 0")
        more = f" and {self.condition(s)}" if self.chance(0.6) else ""
        self.line(f"while {k} < {self.rng.randint(1, 5)}{more}:")
        inner = s.copy()
        inner.ints.append(k)
        self.body(inner, s, f"{k} += 1")
        s.ints.append(k)

    def leave(self, s: Scope) -> bool:
        kinds = [lambda: f"return {self.result(s)}"]
        if self.loops:
            kinds += [lambda: "break", lambda: "continue"] * 2
        self.line(self.pick(kinds)())
        return True

    def result(self, s: Scope) -> str:
        return self.number(s, 1)

    def closure(self, s: Scope) -> None:
        name = self.fresh("f")
        self.line(f"def {name}(g, h):")
        keep = self.loops, self.inner, self.result
        self.loops, self.inner = 0, True
        inner = s.copy()
        inner.arrays, inner.matrices, inner.changers = {}, [], []  # read, not changed
        inner.floats += ["g", "h"]
        self.depth += 1
        if self.chance(0.3):
            self.line(f"if {self.condition(inner, 0)}:")
            self.line(f"    return {self.number(inner, 1)}")
        self.line(f"return {self.number(inner, 1)}")
        self.depth -= 1
        self.loops, self.inner, self.result = keep  # type: ignore[method-assign]
        s.functions.append(name)

    # Arrays.

    def store(self, s: Scope) -> None:
        name = self.vector_name(s)
        n = s.arrays[name]
        kind = self.rng.randint(0, 11)
        if kind == 10:
            sign, which = (
                self.pick(["=", "+=", "*="]),
                ", ".join(self.index(s, n) for _ in range(self.rng.randint(1, 4))),
            )
            self.line(f"{name}[[{which}]] {sign} {self.leaf(s)}")
        elif kind == 11:
            which = f"{self.vector_name(s, n)} {self.pick(['<', '>'])} {self.constant()}"
            self.line(f"{name}[{which}] {self.pick(['=', '+=', '*='])} {self.leaf(s)}")
        elif kind < 6:
            sign = self.pick(["=", "=", "+=", "-=", "*=", "/="])
            value = self.number(s, 1) if sign in ("=", "+=", "-=") else f"1.2 + math.sin({self.number(s, 1)})"
            self.line(f"{name}[{self.index(s, n)}] {sign} {value}")
        elif kind == 6:
            self.line(f"{name}[:] = {self.vector(s, n)}")
        elif kind == 7 and n > 2:
            values = [f"{name}[:-1] * {self.leaf(s)}", f"{name}[:-1]", self.leaf(s), f"{name}[1:] * {name}[:-1] * 0.5"]
            self.line(f"{name}[1:] = {self.pick(values)}")
        elif kind == 8 and n > 2:
            self.line(
                f"{name}[:2] {self.pick(['=', '+=', '*='])} {self.pick([f'{name}[-2:]', self.leaf(s), f'{name}[1:3]'])}"
            )
        else:
            a, b = self.index(s, n), self.index(s, n)
            self.line(f"{name}[{a}], {name}[{b}] = {name}[{b}], {name}[{a}]")

    def augment_array(self, s: Scope) -> None:
        name = self.vector_name(s)
        by = self.pick([self.leaf(s), self.vector_name(s, s.arrays[name]), self.vector(s, s.arrays[name], 1)])
        self.line(f"{name} {self.pick(['+=', '-=', '*='])} {self.pick(['', '0.5 * '])}({by})")

    def new_array(self, s: Scope) -> None:
        same = [k for k, v in s.arrays.items() if v == N]
        name = self.target(s, same, "a")
        self.line(f"{name} = {self.vector(s)}")
        s.arrays[name] = N

    def alias(self, s: Scope) -> None:
        name = self.vector_name(s)
        n = s.arrays[name]
        new = self.fresh("b")
        if self.chance(0.3):
            kinds = [(f"{name}.reshape({n})", n), (f"({name} * {self.leaf(s)}).reshape(-1)", n)]
            if s.matrices:
                m = self.pick(s.matrices)
                kinds += [(f"({m} * {self.leaf(s)}).T.ravel()", N * N), (f"{m}.reshape(-1)", N * N)]
            text, s.arrays[new] = self.pick(kinds)
            self.line(f"{new} = {text}")
        elif n > 2 and self.chance(0.5):
            part, length = self.pick([("[1:]", n - 1), ("[:-1]", n - 1), ("[1:3]", 2), ("[::2]", (n + 1) // 2)])
            self.line(f"{new} = {name}{part}")
            s.arrays[new] = length
        else:
            self.line(f"{new} = {name}")
            s.arrays[new] = n

    def swap_arrays(self, s: Scope) -> None:
        full = [k for k, v in s.arrays.items() if v == N]
        if len(full) > 1:
            a, b = self.rng.sample(full, 2)
            self.line(f"{a}, {b} = {b}, {a}")

    def store_matrix(self, s: Scope) -> None:
        m = self.pick(s.matrices)
        i, j = self.index(s), self.index(s)
        full = [k for k, v in s.arrays.items() if v == N]
        kinds = [
            lambda: f"{m}[{i}, {j}] = {self.number(s, 1)}",
            lambda: f"{m}[{i}, {j}] += {self.number(s, 1)}",
            lambda: f"{m}[{i}][{j}] *= 0.7",
            lambda: f"{m}[{i}] = {self.leaf(s)}",
            lambda: f"{m}[{i}] = {m}[{j}]",
            lambda: f"{m}[:, {i}] *= {self.leaf(s)}",
            lambda: f"{m}[[{i}, {j}], [{j}, 1]] = {self.leaf(s)}",
            lambda: f"{m}[[{i}, {j}]] *= 0.8",
            lambda: f"{m}[:, [3, 0]] = {m}[:, 1:3]",
            lambda: f"{m}[{m} > {self.constant()}] *= {self.leaf(s)}",
        ]
        if full:
            kinds += [lambda: f"{m}[{i}] = {self.pick(full)}", lambda: f"{m}[:, {j}] = {self.pick(full)} * 0.5"]
        self.line(self.pick(kinds)())

    def row(self, s: Scope) -> None:
        name = self.fresh("r")
        m = self.pick(s.matrices)
        self.line(
            f"{name} = {self.pick([f'{m}[{self.index(s)}]', f'{m}[:, {self.index(s)}]', f'{m}.T[{self.index(s)}]'])}"
        )
        s.arrays[name] = N

    def change_matrix(self, s: Scope) -> None:
        m = self.pick(s.matrices)
        full = [k for k, v in s.arrays.items() if v == N]
        other = self.pick(s.matrices)
        kinds = [f"{m} = 0.3 * ({m} @ {other})", f"{m} *= {self.leaf(s)}", f"{m} = {m} + 0.2 * {other}.T"]
        if full:
            kinds += [
                f"{m} = {m} * {self.pick(full)}",
                f"{m} = {m} + {self.pick(full)}[:, None]",
                f"{m} += {self.pick(full)}",
                f"{m} = np.outer({self.pick(full)}, {self.pick(full)})",
            ]
        self.line(self.pick(kinds))

    # Programs.

    def function(self, head: str, s: Scope, size: int) -> None:
        self.line(head)
        self.depth += 1
        self.budget = size
        if not self.block(s, size):
            self.line(f"return {self.result(s)}")
        self.depth -= 1

    def recursive(self) -> None:
        """A function of two floats that calls itself a few times, or two that call themselves and each other."""
        names = self.pick([("climb",), ("climb",), ("climb", "swing")])
        for name in names:
            self.climbing(name, names)

    def climbing(self, name: str, names: tuple[str, ...]) -> None:
        """One of them; it may have a nested one, and may call itself in a `try`."""
        self.line(f"def {name}(g, h, d=3, n=2):")
        s = Scope(["g", "h"], ["d", "n"])
        self.depth += 1
        self.line("if d <= 0:")
        self.line(f"    return {self.number(s, 1)}")
        self.budget = 2
        self.block(s, self.rng.randint(0, 2))
        more = self.nested(s) if self.chance(0.3) else self.leaf(s)
        call = f"{self.pick(names)}({self.number(s, 1)}, {self.leaf(s)}, d - {self.rng.randint(1, 2)})"
        kinds = [call, f"{call} * {more}", f"math.sin({call}) + {more}", f"0.5 * {call} - {call}"]
        if self.chance(0.4):
            lines = [
                "try:",
                f"    if {self.condition(s)}:",
                "        raise ValueError",
                f"    return {self.pick(kinds)}",
            ]
            for line in [*lines, f"except {self.pick(['ValueError', 'Exception', 'KeyError'])}:"]:
                self.line(line)
            self.line(f"    return {self.number(s, 1)}")
        else:
            self.line(f"return {self.pick(kinds)}")
        self.depth -= 1

    def nested(self, s: Scope) -> str:
        """A nested function that calls itself and sees what is around it; a call of it."""
        inner = s.copy()
        inner.floats.append("t")
        self.line("def steps(t, k):")
        end, next_one = self.number(inner, 1), self.number(inner, 1)
        self.line(f"    return {end} if k <= 0 else steps({next_one}, k - 1) * {self.leaf(inner)}")
        return f"steps({self.leaf(s)}, d)"

    def program(self) -> str:
        functions, changers = [], []
        keep = self.inner
        self.inner = True
        if self.chance(0.4):
            self.function("def helper(g, h, n=2):", Scope(["g", "h"], ["n"]), self.rng.randint(1, 4))
            functions.append("helper")
        if self.chance(0.3):
            self.function("def change(q, h, n=2):", Scope(["h"], ["n"], arrays={"q": 2}), self.rng.randint(1, 3))
            changers.append("change")
        if self.chance(0.2):
            self.recursive()
            functions.append("climb")
        self.inner = keep
        self.result = self.final  # type: ignore[method-assign]
        start = Scope(
            ["x", "y"], ["n"], arrays={"a": N, "b": N}, matrices=["m"], functions=functions, changers=changers
        )
        if self.chance(0.3):
            start.matrices = []
        self.function("def program(x, y, n, a, b, m):", start, self.rng.randint(3, 14))
        return "\n".join(self.lines) + "\n"

    def final(self, s: Scope) -> str:
        parts = [self.number(s, 1), self.pick(s.floats), *(f"{k} @ {k}" for k in list(s.arrays)[:3])]
        parts += ["(m * m).sum()"] if s.matrices and self.chance(0.5) else []
        return " + ".join(parts)


def generate(rng: Any) -> str:
    """The text of a random program."""
    return Generator(rng).program()


def arguments(rng: Any) -> tuple[Any, ...]:
    """Arguments for a program."""
    draw = lambda *shape: np.array(
        [rng.randint(-1500, 1500) / 1000.0 + 0.0003 for _ in range(math.prod(shape))]
    ).reshape(shape)
    return (
        rng.randint(-1500, 1500) / 1000.0 + 0.0001,
        rng.randint(-1500, 1500) / 1000.0 + 0.0002,
        rng.randint(0, 4),
        draw(N),
        draw(N),
        draw(N, N),
    )


_loaded = 0


def load(text: str) -> Callable[..., Any]:
    """A program as a function whose source can be read."""
    global _loaded
    _loaded += 1
    file = f"<random program {_loaded}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    module = types.ModuleType(f"random_program_{_loaded}")
    space = module.__dict__
    space.update(math=math, np=np)
    exec(compile(text, file, "exec"), space)
    made: Callable[..., Any] = space["program"]
    return made


# The comparison.


@dataclass(frozen=True)
class Outcome:
    """What came of a program: "agrees", "refused", "wild" (too large, or Python itself raises) or "fails"; and why.

    `smooth` and `torch`: whether it was compared with differences, and with torch.
    """

    kind: str
    why: str = ""
    smooth: bool = False
    torch: bool = False


def examine(text: str, args: tuple[Any, ...], second: bool = True) -> Outcome:
    """Compares a program with Python, torch and differences; raises `Mismatch`."""
    f = load(text)
    try:
        with np.errstate(all="raise", under="ignore"):
            expected = f(*copied(args))
    except (ArithmeticError, ValueError, IndexError, UnboundLocalError, NameError, TypeError) as error:
        return Outcome("wild", type(error).__name__)
    if not np.isfinite(expected) or abs(expected) > LIMIT:
        return Outcome("wild", "too large")
    try:
        op, values, special = operation(f, *args)
    except Refused as error:
        return Outcome("refused", str(error).split("native code: ")[-1])
    found = special.formed(list(plain(op)(values)))
    close("value", found, expected, 1e-11, 1e-12)
    rng = np.random.default_rng(0)
    leaves = flatten(args)
    at = vector(leaves)
    check_modes("first derivative", op, values, rng)
    gradient = vector(tail(op, plain(op.reverse)([*values, 1.0])))
    torch = _torch(text, f, args, gradient)
    smooth = _smooth(lambda t: vector([f(*copied(shaped(args, like(leaves, t))))]), at, gradient, rng)
    if second and np.isfinite(gradient).all() and np.abs(gradient).max() < LIMIT:
        both = [*values, float(rng.normal())]
        check_modes("second derivative, of reverse", op.reverse, both, rng)
        inputs = [
            *values,
            *(rng.normal(size=np.shape(values[k])) if np.ndim(values[k]) else float(rng.normal()) for k in op.wrt),
        ]
        check_modes("second derivative, of forward", op.forward(1), inputs, rng)
        _second_smooth(op, values, leaves, at, rng)
    return Outcome("agrees", smooth=smooth, torch=torch)


STORES_BY_LISTS = re.compile(r"\[\[.*\]\]? (=|[-+*]=)")
"""Where torch leaves open which of several stores to one place stays, and takes the derivatives of all."""


def _torch(text: str, f: Callable[..., Any], args: tuple[Any, ...], gradient: np.ndarray) -> bool:
    """Compares with torch, where torch can do it (it refuses changes of what it has kept, and negative steps)."""
    if STORES_BY_LISTS.search(text):
        return False
    try:
        expected = torch_gradient(twin(f, text), args, [1.0])
    except (RuntimeError, ValueError, TypeError, AttributeError):
        return False
    if not np.isfinite(expected).all():
        return False
    close("torch's gradient", gradient, expected, 1e-8, 1e-9)
    return True


def _smooth(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, gradient: np.ndarray, rng: Any) -> bool:
    """Compares with differences along a direction, unless two step sizes show a kink nearby."""
    v = rng.normal(size=x.shape)
    try:
        a, b = slope(f, x, v, 1e-5), slope(f, x, v, 4e-6)
    except (ArithmeticError, ValueError):
        return False
    if not np.allclose(a, b, 1e-5, 1e-6):
        return False
    close("differences", [gradient @ v], b, 1e-4, 1e-5)
    return True


def _second_smooth(op: Any, values: list[Any], leaves: list[Any], x: np.ndarray, rng: Any) -> None:
    """Forward over reverse against differences of reverse."""
    run = plain(op.reverse)
    v = rng.normal(size=x.shape)
    at = lambda t: vector(tail(op, run([*like(leaves, t), *values[len(leaves) :], 1.0])))
    a, b = slope(at, x, v, 1e-5), slope(at, x, v, 4e-6)
    if not np.isfinite(a).all() or not np.allclose(a, b, 1e-5, 1e-5):
        return
    pushed = plain(op.reverse.forward(1))([*values, 1.0, *like([y for y in leaves if not isinstance(y, int)], v), 0.0])
    close("differences of the gradient", vector(tail(op.reverse, pushed)[1:]), b, 1e-4, 1e-4)


# Reduction of a program that fails.


def shrink(text: str, fails: Callable[[str], bool]) -> str:
    """Leaves out statements, and puts blocks in the place of what they are in, as long as the program fails."""
    better = True
    while better:
        better = False
        for candidate in _smaller(text):
            if len(candidate) < len(text) and fails(candidate):
                text, better = candidate, True
                break
    return text


def _smaller(text: str) -> Iterator[str]:
    count = sum(
        isinstance(getattr(node, name, None), list) for node in ast.walk(ast.parse(text)) for name in ("body", "orelse")
    )
    for which in range(count):
        for k in range(20):
            for mode in range(5):
                tree = ast.parse(text)
                lists = [
                    (node, name)
                    for node in ast.walk(tree)
                    for name in ("body", "orelse")
                    if isinstance(getattr(node, name, None), list)
                ]
                node, name = lists[which]
                body = getattr(node, name)
                if k >= len(body):
                    break
                new = _edited(body[k], mode)
                if new is None:
                    continue
                body[k : k + 1] = new
                if not body and name == "body":
                    if isinstance(node, ast.Module):
                        continue
                    body.append(ast.Pass())
                yield ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _edited(statement: ast.stmt, mode: int) -> list[ast.stmt] | None:
    if mode == 0:
        counts = isinstance(statement, ast.AugAssign) and ast.unparse(statement.target).startswith(
            "w"
        )  # it ends a loop
        return None if counts else []
    if mode == 1:
        return list(statement.body) if isinstance(statement, ast.If | ast.For | ast.While | ast.Try) else None
    if mode == 2:
        return list(statement.orelse) if isinstance(statement, ast.If) and statement.orelse else None
    value = getattr(statement, "value", None)
    if not isinstance(statement, ast.Assign | ast.AugAssign | ast.Return) or value is None:
        return None
    simple: Any = None
    if isinstance(value, ast.BinOp):
        simple = value.left if mode == 3 else value.right
    elif isinstance(value, ast.IfExp):
        simple = value.body if mode == 3 else value.orelse
    elif isinstance(value, ast.Call) and value.args and mode == 3:
        simple = value.args[0]
    elif isinstance(value, ast.UnaryOp) and mode == 3:
        simple = value.operand
    if simple is None:
        return None
    statement.value = simple
    return [statement]


# The command.


def expired(*_: Any) -> None:
    """Ends what runs for too long."""
    raise TimeoutError("a program that doesn't end")


def attempt(text: str, args: tuple[Any, ...], second: bool, seconds: float = 30.0) -> Outcome:
    """Examines a program; what goes wrong is an outcome as well."""
    signal.signal(signal.SIGPROF, expired)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return examine(text, args, second)
    except Mismatch as error:
        parts = str(error).split(":")
        return Outcome("fails", ":".join(parts[: 2 if "derivative" in parts[0] else 1]))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = "generated code" if last.filename.startswith("plain") else f"{Path(last.filename).name}:{last.name}"
        return Outcome("fails", f"{type(error).__name__} in {place}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)


def command(
    description: str | None,
    generate: Callable[[random.Random], str],
    arguments: Callable[[random.Random], tuple[Any, ...]],
    attempt: Callable[..., Outcome],
) -> None:
    """Runs so many programs, and tells what came of them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=20000)
    parser.add_argument("--seed", type=int, default=0, help="the first program's")
    parser.add_argument("--reports", type=int, default=3, help="how many failures of a kind to reduce and show")
    options = parser.parse_args()
    outcomes: collections.Counter[str] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    failures: dict[str, list[int]] = collections.defaultdict(list)
    for seed in range(options.seed, options.seed + options.count):
        rng = random.Random(seed)
        text, args = generate(rng), arguments(rng)
        if options.count == 1:
            print(text, args)
        outcome = attempt(text, args, seed % 3 == 0)
        if outcome.kind == "fails":
            failures[outcome.why].append(seed)
            if len(failures[outcome.why]) <= options.reports:
                small = shrink(text, lambda t, wanted=outcome: attempt(t, args, seed % 3 == 0, 5.0) == wanted)  # noqa: B023
                print(f"\n# seed {seed}: {outcome.why}\n{small}", flush=True)
        outcomes[outcome.kind] += 1
        outcomes["compared with differences"] += outcome.smooth
        outcomes["compared with torch"] += outcome.torch
        reasons[f"{outcome.kind}: {outcome.why}"] += outcome.kind in ("refused", "wild")
        done = seed - options.seed + 1
        if done % 500 == 0 or done == options.count:
            print(f"{done}: {dict(outcomes)}; failures { ({k: len(v) for k, v in failures.items()}) }", flush=True)
    print(*(f"{n:5} {why}" for why, n in reasons.most_common(20) if n), sep="\n")
    for kind, which in failures.items():
        print(f"{kind}: {len(which)}, seeds {which[:10]}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    command(__doc__, generate, arguments, attempt)
