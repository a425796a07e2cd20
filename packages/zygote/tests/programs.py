"""Random programs of all that Python has, compared with Python, finite differences, forward mode and PyTorch.

    python packages/zygote/tests/programs.py 20000            # so many programs, from seed 0 on
    python packages/zygote/tests/programs.py 1 --seed 4711    # one, shown

The generator is that of the native route (`native/programs.py`) and more: lists, dicts, objects, tensors, aliases,
closures that assign, exceptions, comprehensions. A program that fails is reduced and printed.
"""

import copy
import functools
import linecache
import re
import signal
import sys
import traceback
import types
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parent / "native"), str(Path(__file__).parent)]

import programs as shared  # noqa: E402 - the native route's
from derivatives import dense, dotted, fresh, laid_out, on_copies, slope, vector  # noqa: E402
from native_check import Mismatch, close, floats, twin  # noqa: E402
from native_check import slope as along  # noqa: E402

from torchflux_zygote import Refused, gradient, pushforward, withgradient  # noqa: E402

__all__ = ["Outcome", "arguments", "attempt", "examine", "generate", "load"]

N, LIMIT, KEYS = shared.N, shared.LIMIT, ("p", "q", "r")


class Enough(Exception):
    """What programs raise and catch."""


@dataclass
class State:
    """An object of programs: numbers, a list, methods that change it, a property."""

    u: float
    v: float
    parts: list

    def norm(self):
        return (1.0 + self.u * self.u + self.v * self.v) ** 0.5

    def add(self, g):
        self.u = self.u + 0.3 * g
        self.parts.append(self.u * 0.5)
        return self.v * g

    @property
    def mean(self):
        return (self.u + self.v) * 0.5

    @mean.setter
    def mean(self, g):
        self.u, self.v = g + 0.1, g * 0.9

    def __mul__(self, g):
        return self.u * g - self.v


@dataclass
class Scope(shared.Scope):
    """What may be read at a place of the program."""

    lists: list[str] = field(default_factory=list)  # of two floats at least
    dicts: list[str] = field(default_factory=list)  # with all of KEYS
    objects: list[str] = field(default_factory=list)
    tensors: list[str] = field(default_factory=list)  # of N numbers

    def copy(self) -> "Scope":
        return Scope(*[copy.copy(getattr(self, f.name)) for f in fields(self)])

    def both(self, other: Any) -> None:
        super().both(other)
        for name in ("lists", "dicts", "objects", "tensors"):
            setattr(self, name, [x for x in getattr(self, name) if x in getattr(other, name)])


class Generator(shared.Generator):
    """Writes a program at random."""

    def take(self, s: Any, whole: Any) -> None:
        super().take(s, whole)
        s.lists, s.dicts, s.objects, s.tensors = whole.lists, whole.dicts, whole.objects, whole.tensors

    # Expressions.

    def leaf(self, s: Any) -> str:
        kinds: list[Callable[[], str]] = []
        if s.lists:
            kinds += [lambda: self.entry(s), lambda: f"{self.pick(s.lists)}[-1]"]
        if s.dicts:
            kinds += [lambda: f'{self.pick(s.dicts)}["{self.pick(KEYS)}"]']
        if s.objects:
            kinds += [lambda: f"{self.pick(s.objects)}.{self.pick(['u', 'v', 'mean', 'parts[0]', 'parts[-1]'])}"]
        if s.tensors:
            kinds += [lambda: f"{self.pick(s.tensors)}[{self.index(s)}].item()"]
        return self.pick(kinds)() if kinds and self.chance(0.5) else super().leaf(s)

    def entry(self, s: Any) -> str:
        xs = self.pick(s.lists)
        if s.ints and self.chance(0.5):
            return f"{xs}[{self.pick(s.ints)} % len({xs})]"
        return f"{xs}[{self.pick([0, 1, -1, -2])}]"

    def reduction(self, s: Any) -> str:
        e = lambda: self.leaf(s)
        kinds: list[Callable[[], str]] = [
            lambda: f"math.hypot({e()} + 2.0, {e()})",
            lambda: f"(lambda g, h={e()}: g * h + {e()})({e()})",
            lambda: f"({e()}, {e()}, {e()})[{self.pick([0, 1, -1])}]",
        ]
        if s.lists:
            xs, v = self.pick(s.lists), self.fresh("v")
            other = self.pick(s.lists)
            kinds += [
                lambda: f"sum({xs})",
                lambda: f"max({xs})",
                lambda: f"min({xs}, key=lambda v: -v)",
                lambda: f"sum([{v} * {e()} for {v} in {xs}])",
                lambda: f"sum([{v} for {v} in {xs} if {v} > {self.constant()}])",
                lambda: f"sum([{v} * w for {v}, w in zip({xs}, {other})])",
                lambda: f"sum(map(math.sin, {xs}))",
                lambda: f"sorted({xs})[{self.pick([0, -1])}]",
                lambda: f"functools.reduce(lambda g, h: 0.5 * g + h, {xs})",
                lambda: f"{xs}[1:][0]",
                lambda: f"({xs} + {other})[{self.pick([0, 2, -1])}]",
                lambda: f"{xs}[::-1][0]",
                lambda: f"weighed(*{xs})",
                lambda: f"sum([[g * {e()}, {e()}][i % 2] for i, g in enumerate({xs})])",
                lambda: f"sum(steps({xs}, {e()}))",
                lambda: f"sum([g * h for g, h in zip(endless({e()}), steps({xs}, {e()}))])",
                lambda: f"next(map(math.sin, ({v} * {e()} for {v} in {xs})))",
                lambda: f"list(steps({xs}, {e()}))[-1]",
            ]
        if s.dicts:
            d = self.pick(s.dicts)
            kinds += [
                lambda: f"sum({d}.values())",
                lambda: f'{{**{d}, "p": {e()}}}["{self.pick(KEYS)}"]',
                lambda: f'{d}.get("{self.pick([*KEYS, "absent"])}", {e()})',
                lambda: f"sum([g * {e()} for k, g in {d}.items() if k != 'q'])",
                lambda: f"named(**{d})",
            ]
        if s.objects:
            o = self.pick(s.objects)
            kinds += [
                lambda: f"{o}.norm()",
                lambda: f"{o}.add({e()})",
                lambda: f"{o} * {e()}",
                lambda: f"sum({o}.parts)",
                lambda: f"State({e()}, {e()}, []).norm()",
            ]
        if s.tensors:
            t = self.pick(s.tensors)
            kinds += [
                lambda: f"{t}.sum().item()",
                lambda: f"({t} @ {self.pick(s.tensors)}).item()",
                lambda: f"({self.tensor(s)}).mean().item()",
                lambda: f"{t}[1:].prod().item()",
                lambda: f"torch.relu({t}).sum().item()",
            ]
        return self.pick(kinds)() if self.chance(0.7) else super().reduction(s)

    def tensor(self, s: Any, depth: int = 1) -> str:
        """An expression for a tensor, which is a new one."""
        t = lambda: self.pick(s.tensors)
        e = lambda: f"({self.tensor(s, depth - 1)})" if depth else t()
        kinds: list[Callable[[], str]] = [
            lambda: f"torch.tensor([{', '.join(self.leaf(s) for _ in range(N))}], dtype=torch.float64)",
            lambda: f"{t()} * ({self.leaf(s)})",
            lambda: f"{t()} + {e()}",
            lambda: f"{t()} * {e()} * 0.5",
            lambda: f"torch.{self.pick(['sin', 'tanh', 'sigmoid', 'relu'])}({e()})",
            lambda: f"{t()}.clone()",
            lambda: f"{e()} / (2.0 + {t()} ** 2)",
            lambda: f"torch.where({t()} > {self.constant()}, {t()}, {e()})",
            lambda: f"torch.cat([{t()}[2:], {e()}[:2]])",
            lambda: f"torch.stack([{t()}, {e()}]).sum(0) * 0.5",
            lambda: f"torch.softmax({e()}, 0)",
            lambda: f"{self.constant()} - {t()}",
            lambda: f"{t()}.view(2, 2).T.reshape({N})",
            lambda: f"torch.clamp({t()}, -0.8, 0.9)",
            lambda: f"{t()}.expand(2, {N}).mean(0)",
            lambda: f"torch.cumsum({e()}, 0) * 0.3",
        ]
        return self.pick(kinds)()

    # Statements.

    def statement(self, s: Any) -> bool:
        own: list[tuple[int, Callable[[Any], bool | None]]] = []
        if s.lists:
            own += [(4, self.change_list), (2, self.new_list), (1, self.alias_list), (2, self.loop_over_list)]
        if s.dicts:
            own += [(3, self.change_dict), (1, self.loop_over_dict), (1, self.new_dict)]
        if s.objects:
            own += [(4, self.change_object), (1, self.new_object)]
        if s.tensors:
            own += [(4, self.change_tensor), (3, self.new_tensor), (1, self.alias_tensor)]
        if not self.inner:
            own += [(1, self.assigning_closure)]
        if self.depth < 5:
            own += [(2, self.attempt_block)]
        if self.chance(0.5) or not own:
            return super().statement(s)
        which = self.rng.randint(0, sum(w for w, _ in own) - 1)
        for weight, make in own:
            which -= weight
            if which < 0:
                return bool(make(s))
        raise AssertionError

    def change_list(self, s: Any) -> None:
        xs, e = self.pick(s.lists), lambda: self.number(s, 1)
        other = self.pick(s.lists)
        kinds: list[Callable[[], str]] = [
            lambda: f"{xs}.append({e()})",
            lambda: f"{xs}.insert({self.rng.randint(0, 3)}, {e()})",
            lambda: f"{self.entry(s)} = {e()}",
            lambda: f"{self.entry(s)} {self.pick(['+=', '-=', '*='])} {self.leaf(s)}",
            lambda: f"{xs} += [{e()}]",
            lambda: f"{xs}.extend({other}[:2])",
            lambda: f"{xs}.reverse()",
            lambda: f"{xs}.sort()",
            lambda: f"{xs}[:2] = [{e()}, {e()}]",
            lambda: f"{xs}[0], {xs}[1] = {xs}[1], {e()}",
        ]
        guarded: list[Callable[[], str]] = [lambda: f"{xs}.pop()", lambda: f"del {xs}[{self.pick([0, 1, -1])}]"]
        if s.floats:
            guarded += [lambda: f"{self.pick(s.floats)} = {xs}.pop({self.pick([0, 1, -1])})"] * 2
        if self.chance(0.25):
            self.line(f"if len({xs}) > 2:")
            self.line(f"    {self.pick(guarded)()}")
        else:
            self.line(f"if len({xs}) < 9:")
            self.line(f"    {self.pick(kinds)()}")

    def new_list(self, s: Any) -> None:
        name, xs = self.target(s, s.lists, "l"), self.pick(s.lists)
        e, v = lambda: self.leaf(s), self.fresh("v")
        kinds = [
            lambda: f"[{e()}, {self.number(s, 1)}]",
            lambda: f"{xs}[:]",
            lambda: f"list({xs})",
            lambda: f"[math.sin({v}) * {e()} for {v} in {xs}]",
            lambda: f"[{v} + 0.1 * i for i, {v} in enumerate({xs})]",
            lambda: f"[{e()}] * 2 + {xs}[:1]",
            lambda: f"sorted({xs})[:3]",
            lambda: f"[*{xs}[:2], {e()}]",
            lambda: f"list(reversed({xs}))",
            lambda: f"[w * {v} for {v} in {xs}[:2] for w in {xs}[:2]]",
        ]
        self.line(f"{name} = {self.pick(kinds)()}")
        if name not in s.lists:
            s.lists.append(name)

    def alias_list(self, s: Any) -> None:
        name = self.fresh("l")
        source = f"{self.pick(s.objects)}.parts" if s.objects and self.chance(0.4) else self.pick(s.lists)
        self.line(f"{name} = {source}")
        s.lists.append(name)

    def loop_over_list(self, s: Any) -> None:
        if self.depth > 4 or self.loops > 2:
            return
        inner, v = s.copy(), self.fresh("v")
        xs = self.pick(s.lists)
        kinds = [f"{xs}[:3]", f"tuple({xs})", f"sorted({xs})[:2]", f"steps({xs}, {self.leaf(s)})"]
        kinds += [f"first({self.rng.randint(1, 3)}, endless({self.leaf(s)}))"]
        self.line(f"for {v} in {self.pick(kinds)}:")
        inner.floats.append(v)
        self.body(inner, s)

    def change_dict(self, s: Any) -> None:
        d, k, e = self.pick(s.dicts), self.pick(KEYS), lambda: self.number(s, 1)
        kinds = [
            lambda: f'{d}["{k}"] = {e()}',
            lambda: f'{d}["{k}"] {self.pick(["+=", "*=", "-="])} {self.leaf(s)}',
            lambda: f"{d}.update({k}={e()})",
            lambda: f'{d}["{k}"] = {d}.pop("{self.pick(KEYS)}") * {self.leaf(s)}',
            lambda: f'{d}.setdefault("{self.pick([k, "s"])}", {e()})',
            lambda: f"{d} |= {{'{k}': {e()}}}",
        ]
        text = self.pick(kinds)()
        self.line(text)
        if ".pop(" in text:
            self.line(f'{d} = {{**{{key: {self.leaf(s)} for key in ("p", "q", "r")}}, **{d}}}')

    def loop_over_dict(self, s: Any) -> None:
        if self.depth > 4 or self.loops > 2 or not s.floats:
            return
        d, v = self.pick(s.dicts), self.fresh("v")
        self.line(f"for key, {v} in {d}.items():")
        self.line(f"    {self.pick(s.floats)} += {v} * ({self.leaf(s)}) if key != 'q' else {self.leaf(s)}")

    def new_dict(self, s: Any) -> None:
        d = self.target(s, s.dicts, "d")
        source = self.pick(s.dicts)
        e = lambda: self.leaf(s)
        kinds = [
            lambda: f"dict({source})",
            lambda: f"{source}.copy()",
            lambda: f"{{key: g * {e()} for key, g in {source}.items()}}",
            lambda: f'{{"p": {e()}, "q": {e()}, "r": {e()}}}',
            lambda: f"dict(zip(('p', 'q', 'r'), ({e()}, {e()}, {e()})))",
            lambda: source,
        ]
        self.line(f"{d} = {self.pick(kinds)()}")
        if d not in s.dicts:
            s.dicts.append(d)

    def change_object(self, s: Any) -> None:
        o, e = self.pick(s.objects), lambda: self.number(s, 1)
        kinds = [
            lambda: f"{o}.{self.pick(['u', 'v', 'mean'])} = {e()}",
            lambda: f"{o}.{self.pick(['u', 'v', 'mean'])} {self.pick(['+=', '*=', '-='])} {self.leaf(s)}",
            lambda: f"{o}.parts[{self.pick([0, -1])}] = {e()}",
            lambda: f"{o}.parts.append({e()})",
            lambda: f"{o}.add({e()})",
            lambda: f"{o}.u, {o}.v = {o}.v, {self.leaf(s)}",
            lambda: f"setattr({o}, '{self.pick(['u', 'v'])}', {e()})",
        ]
        if s.lists:
            kinds += [lambda: f"{o}.parts = {self.pick(s.lists)}"]
        self.line(self.pick(kinds)())

    def new_object(self, s: Any) -> None:
        o = self.target(s, s.objects, "o")
        source, e = self.pick(s.objects), lambda: self.leaf(s)
        parts = self.pick(s.lists) if s.lists and self.chance(0.5) else f"[{e()}, {e()}]"
        self.line(f"{o} = {self.pick([source, f'State({e()}, v={e()}, parts={parts})'])}")
        if o not in s.objects:
            s.objects.append(o)

    def change_tensor(self, s: Any) -> None:
        t, other, e = self.pick(s.tensors), self.pick(s.tensors), lambda: self.leaf(s)
        kinds = [
            lambda: f"{t}[{self.index(s)}] = {e()}",
            lambda: f"{t}[{self.index(s)}] {self.pick(['+=', '*='])} {e()}",
            lambda: f"{t} {self.pick(['+=', '-=', '*='])} {self.pick(['0.5 * ', ''])}{other}",
            lambda: f"{t} *= {e()}",
            lambda: f"{t}.add_({other} * 0.3)",
            lambda: f"{t}.mul_({e()})",
            lambda: f"{t}[1:] = {t}[:-1] * {e()}",
            lambda: f"{t}[:2] = {other}[2:].clone()",
            lambda: f"{t}.copy_({self.tensor(s)})",
            lambda: f"{t}.clamp_(-0.9, 0.8)",
            lambda: f"{t}[[0, 2]] = {other}[1:3] * 0.5",
        ]
        self.line(self.pick(kinds)())

    def new_tensor(self, s: Any) -> None:
        t = self.target(s, s.tensors, "z")
        self.line(f"{t} = {self.tensor(s)}")
        if t not in s.tensors:
            s.tensors.append(t)

    def alias_tensor(self, s: Any) -> None:
        t = self.fresh("z")
        source = self.pick(s.tensors)
        self.line(f"{t} = {self.pick([source, f'{source}.view(2, 2).T.T.view({N})', f'{source}[:]'])}")
        s.tensors.append(t)

    def assigning_closure(self, s: Any) -> None:
        """A function that changes what it captures."""
        own = [name for name in s.floats if not name.startswith("v")]
        if not own:
            return
        name, captured = self.fresh("f"), self.pick(own)
        self.line(f"def {name}(g, h):")
        self.line(f"    nonlocal {captured}")
        inner = Scope(floats=["g", "h", captured], lists=s.lists, dicts=s.dicts, objects=s.objects)
        keep, self.inner, self.depth, self.loops, loops = self.inner, True, self.depth + 1, 9, self.loops
        self.line(f"{captured} = {captured} * 0.5 + {self.number(inner, 1)}")
        if s.lists and self.chance(0.4):
            self.change_list(inner)
        if s.objects and self.chance(0.3):
            self.change_object(inner)
        self.line(f"return {self.number(inner, 1)}")
        self.inner, self.depth, self.loops = keep, self.depth - 1, loops
        s.functions.append(name)

    def attempt_block(self, s: Any) -> None:
        """A `try` that is left by an exception at random."""
        self.line("try:")
        body = s.copy()
        self.depth += 1
        start = len(self.lines)
        self.block(body, self.rng.randint(1, 2))
        kinds = [f"raise Enough({self.leaf(s)})", f"raise Enough({self.leaf(s)}, {self.leaf(s)})"]
        kinds += [f"stops({self.leaf(s)}, {self.pick(s.lists)})"] * 2 if s.lists else []
        if self.chance(0.8) and self.reachable(start):
            self.line(f"if {self.condition(s)}:")
            self.line(f"    {self.pick(kinds)}")
            if self.chance(0.5):
                self.block(body, 1)
        self.depth -= 1
        if len(self.lines) == start:
            self.line("    pass")
        self.line("except Enough as error:")
        name = self.pick(s.floats) if s.floats else None
        self.line(f"    {name} = error.args[0] * {self.leaf(s)}" if name else "    pass")
        self.indented(s.copy(), 1)
        if self.chance(0.3):
            self.line("finally:")
            self.finishing(s)

    def reachable(self, start: int) -> bool:
        last = self.lines[-1].strip() if len(self.lines) > start else ""
        return not re.match(r"(return|break|continue|raise)\b", last)

    def finishing(self, s: Any) -> None:
        self.depth += 1
        if s.lists and self.chance(0.5):
            self.change_list(s.copy())
        elif s.floats:
            self.line(f"{self.pick(s.floats)} {self.pick(['+=', '*='])} {self.leaf(s)}")
        else:
            self.line("pass")
        self.depth -= 1

    # Programs.

    def final(self, s: Any) -> str:
        parts = [super().final(s)]
        parts += [f"sum({xs})" for xs in s.lists[:3]] + [f'{d}["q"] * {d}["p"]' for d in s.dicts[:2]]
        parts += [f"{o}.norm() + {o}.parts[0]" for o in s.objects[:2]]
        parts += [f"({t} @ {t}).item()" for t in s.tensors[:2]]
        return " + ".join(parts)

    def program(self) -> str:
        self.lines += HELPERS.strip("\n").split("\n")
        functions, keep = [], self.inner
        self.inner = True
        if self.chance(0.4):
            self.function("def helper(g, h, n=2):", Scope(["g", "h"], ["n"]), self.rng.randint(1, 4))
            functions.append("helper")
        if self.chance(0.2):
            self.recursive()
            functions.append("climb")
        self.inner = keep
        self.result = self.final  # type: ignore[method-assign]
        self.function("def program(x, y, n, a, b, m, xs, d, o, t):", self.start(functions), self.rng.randint(3, 14))
        return "\n".join(self.lines) + "\n"

    def start(self, functions: list[str]) -> Scope:
        s = Scope(["x", "y"], ["n"], functions=functions)
        s.arrays, s.matrices = ({"a": N, "b": N}, ["m"]) if self.chance(0.3) else ({}, [])
        s.lists = ["xs"] if self.chance(0.7) else []
        s.dicts = ["d"] if self.chance(0.5) else []
        s.objects = ["o"] if self.chance(0.5) else []
        s.tensors = ["t"] if self.chance(0.5) else []
        return s

    def recursive(self) -> None:
        keep, shared.Scope = shared.Scope, Scope  # type: ignore[misc]
        super().recursive()
        shared.Scope = keep  # type: ignore[misc]


HELPERS = """
def weighed(first, *rest, last=0.5):
    return first * last + sum(rest)
def named(p, q, r=0.3, **more):
    return p * q + r + sum(more.values())
def stops(g, xs):
    xs[0] = xs[0] * 0.5 + g
    raise Enough(xs[0], g)
def steps(xs, g):
    for h in list(xs):
        xs[0] = xs[0] * 0.5 + 0.1 * h
        g = g * 0.5 + h
        yield g
    xs[-1] = xs[-1] * 0.5 + 0.1 * g
def endless(g):
    while True:
        yield g
        g = g * 0.5 + 0.3
def first(n, xs):
    for x in xs:
        if n == 0:
            return
        n = n - 1
        yield x
"""


def generate(rng: Any) -> str:
    """The text of a random program; every fourth is one of the native route's."""
    if rng.randint(0, 3):
        return Generator(rng).program()
    return shared.generate(rng).replace("def program(x, y, n, a, b, m):", "def program(x, y, n, a, b, m, *rest):")


def arguments(rng: Any) -> tuple[Any, ...]:
    """Arguments for a program."""
    draw = lambda: rng.randint(-1500, 1500) / 1000.0 + 0.0003
    tensor = torch.tensor([draw() for _ in range(N)], dtype=torch.float64)
    entries = {key: draw() for key in KEYS}
    return (*shared.arguments(rng), [draw() for _ in range(3)], entries, State(draw(), draw(), [draw()] * 2), tensor)


_loaded = 0


def load(text: str) -> Callable[..., Any]:
    """A program as a function whose source can be read."""
    global _loaded
    _loaded += 1
    file = f"<random Python program {_loaded}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    space = types.ModuleType(f"random_python_program_{_loaded}").__dict__
    space.update(math=shared.math, np=np, torch=torch, functools=functools, State=State, Enough=Enough)
    exec(compile(text, file, "exec"), space)
    made: Callable[..., Any] = space["program"]
    return made


# The comparison.


Outcome = shared.Outcome
WILD = (ArithmeticError, ValueError, IndexError, UnboundLocalError, NameError, TypeError, KeyError, RuntimeError)


def examine(text: str, args: tuple[Any, ...], second: bool = True) -> Outcome:
    """Compares a program with Python, differences, forward mode and torch; raises `Mismatch`."""
    f, again = load(text), lambda: fresh(args, vector(args))
    changed = again()
    try:
        with np.errstate(all="raise", under="ignore"):
            expected = f(*changed)
    except (*WILD, Enough) as error:
        return Outcome("wild", type(error).__name__)
    if not np.isfinite(expected) or abs(expected) > LIMIT:
        return Outcome("wild", "too large")
    mine = again()
    try:
        found, grads = withgradient(f, *mine)
    except Refused as error:
        return Outcome("refused", error.found)
    close("value", found, expected, 1e-14, 1e-15)
    close("arguments afterwards", vector(mine), vector(changed), 1e-14, 1e-15)
    rng, at = np.random.default_rng(0), vector(args)
    reverse = dense(grads, args)
    if not np.isfinite(reverse).all() or np.abs(reverse).max() > LIMIT:
        return Outcome("wild", "a large gradient")
    w = rng.normal(size=at.shape)
    try:
        forward = pushforward(f, *again())(*laid_out(args, iter(w.tolist())))
    except Refused as error:
        return Outcome("refused", error.found)
    close("forward mode", float(forward), reverse @ w, 1e-8, 1e-8)
    smooth = shared._smooth(lambda v: np.array([float(f(*fresh(args, v)))]), at, reverse, rng)
    torch_too = by_torch(text, f, args, reverse)
    if second and smooth:
        curvature(f, args, at, rng)
    return Outcome("agrees", smooth=smooth, torch=torch_too)


def curvature(f: Any, args: tuple[Any, ...], at: np.ndarray, rng: Any) -> None:
    """Second derivatives: reverse over reverse, forward over reverse, and differences of the gradient."""
    v, u = rng.normal(size=at.shape), rng.normal(size=at.shape)
    bent = functools.partial(slope, functools.partial(on_copies, f), tuple(laid_out(args, iter(v.tolist()))))
    try:
        reverse = dense(gradient(bent, *fresh(args, at)), args)
        forward = pushforward(bent, *fresh(args, at))(*laid_out(args, iter(u.tolist())))
    except Refused:
        return
    forward = 0.0 if forward is None else float(forward)
    close("second derivative: forward over reverse", forward, reverse @ u, 1e-7, 1e-6)
    value = lambda x: np.array([float(dotted(gradient(f, *fresh(args, x)), bent.args[1]))])
    a, b = along(value, at, u, 1e-5), along(value, at, u, 4e-6)
    if np.isfinite(a).all() and np.allclose(a, b, 1e-5, 1e-5):
        close("second derivative: differences of the gradient", [reverse @ u], b, 1e-4, 1e-4)


class Stacked:
    """`torch` in which tensors may be made of tensors."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def tensor(self, parts: Any, dtype: Any) -> torch.Tensor:
        return torch.stack([torch.as_tensor(part, dtype=dtype) for part in parts])


def by_torch(text: str, f: Any, args: tuple[Any, ...], found: np.ndarray) -> bool:
    """Compares with PyTorch's tape, floats being tensors there; where it can't do that, `False`."""
    if shared.STORES_BY_LISTS.search(text):
        return False
    leaves: list[torch.Tensor] = []

    def leaf(x: Any) -> Any:
        if isinstance(x, list):
            return [leaf(part) for part in x]
        if isinstance(x, dict):
            return {key: leaf(part) for key, part in x.items()}
        if isinstance(x, State):
            return State(leaf(x.u), leaf(x.v), leaf(x.parts))
        if not floats(x):
            return x
        leaves.append(torch.as_tensor(x, dtype=torch.float64).clone().requires_grad_())
        return leaves[-1].clone()

    given = [leaf(x) for x in args]
    try:
        extended = re.sub(r"^( *\w+) \+= \[(.*)\]$", r"\1.extend([\2])", text, flags=re.MULTILINE)  # the same list
        other = twin(f, extended.replace(".item()", ""))
        other.__globals__["torch"] = Stacked()
        torch.Tensor.copy = torch.Tensor.clone  # type: ignore[attr-defined]
        y = other(*given)
        grads = torch.autograd.grad(y, leaves, allow_unused=True, materialize_grads=True)
    except (*WILD, AttributeError, Enough):
        return False
    finally:
        if hasattr(torch.Tensor, "copy"):
            del torch.Tensor.copy
    expected = torch.cat([g.reshape(-1) for g in grads]).numpy()
    if not np.isfinite(expected).all():
        return False
    close("torch's gradient", found, expected, 1e-8, 1e-9)
    return True


# The command.


def attempt(text: str, args: tuple[Any, ...], second: bool, seconds: float = 30.0) -> Outcome:
    """Examines a program; what goes wrong is an outcome as well."""
    signal.signal(signal.SIGPROF, shared.expired)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return examine(text, args, second)
    except Mismatch as error:
        return Outcome("fails", re.split(r": [-\d\[]", str(error))[0])
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = "generated code" if last.filename.startswith("<") else f"{Path(last.filename).name}:{last.name}"
        return Outcome("fails", f"{type(error).__name__} in {place}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)


if __name__ == "__main__":
    shared.command(__doc__, generate, arguments, attempt)
