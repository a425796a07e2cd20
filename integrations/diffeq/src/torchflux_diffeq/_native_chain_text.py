"""The text of a chain of dense layers, and of its pullback, for a state of few numbers.

What comes out of a hidden layer is an array, the state's numbers are variables. Weights have the longer of their axes
last, along which the loops run: those of hidden layers are transposed.
"""

import math
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch

from ._native_activations import exponential_text
from ._native_args import Leaf, NotNative
from ._native_chain import Affine, Each, Lowered
from ._native_slope import SlopeCode, exact, specialised
from ._native_text import Layout

__all__ = ["chain_leaves", "chain_slope"]


@cache
def chain_leaves(biases: tuple[bool, ...], dtype: torch.dtype) -> list[Leaf]:
    """The kinds of the weights of dense layers with and without biases: matrices of hidden layers are turned."""
    name, last = str(dtype).removeprefix("torch."), len(biases) - 1
    leaves = []
    for k, bias in enumerate(biases):
        leaves += [Leaf(None, 2, name, turned=k < last), *([Leaf(None, 1, name)] if bias else [])]
    return leaves


def chain_slope(chain: Lowered, n: int, dtype: Any, backward: bool) -> SlopeCode:
    """The code of a chain for states of `n` numbers."""
    layout, text = Layout(n), _Text(chain, n)
    functions, current = _functions(chain, dtype)
    params = text.params
    given = "".join(f", {name}" for name in (*params, *text.scratch))
    sums = "".join(f", {name}_sum" for name in params)
    sign = "-" if backward else ""
    calls = [f"{{ks}} = slope({{u}}{given})", *(["{k}@ = -{k}@"] if backward else [])]
    seeds = layout.names("m") if backward else "{gs}"
    pulls = [*(["m@ = -{g}@"] if sign else []), f"{layout.names('q')} = slope_reverse({{u}}{given}, {seeds}{sums})"]
    value = f"{functions}\n{FAST}\ndef slope({layout.names('y')}{given}):\n{text.value()}\n"
    back = f"{FAST}\ndef slope_reverse({layout.names('y')}{given}, {layout.names('g')}{sums}):\n{text.pull()}\n"
    return SlopeCode(
        layout,
        (value, back),
        params,
        [f"{name}_bar" for name in params],
        calls,
        pulls,
        room=text.room,
        zero_shared=[f"{name}_sum = {name}_bar[block]" for name in params],
        current=current,
    )


SCRATCH = ("hidden", "steep", "back")
"""A hidden layer's numbers, their derivatives by what the functions behind the layer are given, and its cotangents."""
EXACT = '@numba.njit(nogil=True, fastmath=False, cache=True, error_model="numpy", no_cfunc_wrapper=True)'
"""How functions of one number are compiled: as they are written, whatever calls them."""
FAST = '@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})'
"""How sums over a layer's numbers are compiled: they may be regrouped."""


def _functions(chain: Lowered, dtype: Any) -> tuple[str, Any]:
    """The functions of each number, `each_0` and `each_0_slope`, ..., and whether they are still those."""
    name = np.dtype(dtype).name
    parts = [f"{EXACT}\ndef number(x):\n    return np.{name}(x)\n\nT = np.{name}\n"]  # texts begin with an `@`
    parts.append(exponential_text(dtype is np.float64, EXACT))
    reads = []
    for k, layer in enumerate(layer for layer in chain.layers if isinstance(layer, Each)):
        if layer.known is not None:
            parts.append(f"{EXACT}\ndef each_{k}(x):\n    return {layer.known.value}\n")
            parts.append(f"{EXACT}\ndef each_{k}_slope(x, v):\n    return {layer.known.slope}\n")
            continue
        special = _read(layer.function, f"each_{k}", dtype)
        reads.append(special.reader.reads)
        parts += [exact(special.operation.program), exact(special.operation.forward(1).program)]
        parts.append(f"{EXACT}\ndef each_{k}_slope(x, v):\n    return each_{k}_forward(x, T(1.0))[1]\n")
    return "\n".join(parts), lambda: all(r.unchanged() for r in reads)


def _read(f: Any, name: str, dtype: Any) -> Any:
    """A function of each number, read from its source and compared with what PyTorch makes of it."""
    from torchflux_zygote import native

    one = dtype(0.5) if dtype is np.float32 else 0.5
    result = "np.float32(f(x))" if dtype is np.float32 else "float(f(x))"
    try:
        special = specialised(native(f), f"def {name}(x):\n    return {result}\n", [one])
    except Exception as error:  # whatever it is, PyTorch can call the function
        raise NotNative(f"{f.__name__} can't be read as a function of a number: {error}") from error
    if special.constants or special.form != "scalar":
        raise NotNative(f"{f.__name__} is more than a function of each number")
    try:
        same = _agree(f, special, name, dtype)
    except Exception as error:
        raise NotNative(f"{f.__name__} can't be called with a tensor of one axis: {error}") from error
    if not same:
        raise NotNative(f"{f.__name__} is more than a function of each number, or another one of tensors")
    return special


def _agree(f: Any, special: Any, name: str, dtype: Any) -> bool:
    """Whether PyTorch finds the same values and slopes, of many numbers at once and one by one."""
    x = torch.linspace(-1.3, 1.7, 8, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        y = f(x)
        (slopes,) = torch.autograd.grad(y.sum(), x)
    alone = torch.cat([f(row) for row in x.split(1)])
    forward = _interpreted(exact(special.operation.forward(1).program), f"{name}_forward")
    with np.errstate(all="ignore"):
        found = torch.tensor([forward(dtype(one), dtype(1.0)) for one in x.tolist()], dtype=x.dtype)
    tolerance = 1e3 * float(np.finfo(dtype).eps)
    expected = torch.stack([y, slopes], 1)
    return torch.equal(y, alone) and torch.allclose(found, expected, rtol=tolerance, atol=tolerance)


def _interpreted(text: str, name: str) -> Any:
    """A function of a generated text, run as it is rather than compiled."""
    from torchflux_zygote._native import _runtime

    as_it_is = lambda **options: lambda f: f
    space: dict[str, Any] = {"math": math, "np": np, "rt": _runtime, "numba": SimpleNamespace(njit=as_it_is)}
    exec(text, space)
    return space[name]


class Stage(NamedTuple):
    """A dense layer by number (`None`: what is before the first), what it is given, and the slopes behind it."""

    layer: int | None
    before: str | list[str]
    derivatives: list[list[str]]


class _Text:
    """Writes a chain's value and its pullback."""

    def __init__(self, chain: Lowered, n: int) -> None:
        self.n, self.chain = n, chain
        self.each = {id(layer): k for k, layer in enumerate(x for x in chain.layers if isinstance(x, Each))}
        self.last = len(chain.affine) - 1
        self.params = [
            name
            for k, layer in enumerate(chain.affine)
            for name in ([f"w{k}"] if layer.bias is None else [f"w{k}", f"b{k}"])
        ]
        hidden = range(self.last)
        self.scratch = [f"{name}{k}" for k in hidden for name in SCRATCH]
        self.room = [f"{name}{k} = np.empty(w{k}.shape[1], T)" for k in hidden for name in SCRATCH]
        self.lines: list[str] = []

    def groups(self) -> list[tuple[int | None, list[int]]]:
        """Dense layers by number (`None`: nothing yet), each with the functions that follow it."""
        found: list[tuple[int | None, list[int]]] = [(None, [])]
        count = each = 0
        for layer in self.chain.layers:
            if isinstance(layer, Affine):
                found.append((count, []))
                count += 1
            else:
                found[-1][1].append(each)
                each += 1
        return found

    def add(self, *lines: str) -> None:
        """Adds lines of the function's body."""
        self.lines += [f"    {line}" for line in lines]

    def value(self) -> str:
        """The body of `slope`."""
        self.lines = []
        x, _ = self.forward(False)
        self.add(f"return {', '.join(x)}")
        return "\n".join(self.lines)

    def forward(self, slopes: bool) -> tuple[list[str], list[Stage]]:
        """From the state's numbers to the slope's; with the functions' own slopes, for the way back."""
        x, array, stages = [f"y_{i}" for i in range(self.n)], "", []
        for k, each in self.groups():
            before: str | list[str] = array or x
            if k is not None and k < self.last:
                self.hidden(k, array, x, each, slopes)
                array = f"hidden{k}"
                stages.append(Stage(k, before, []))
                continue
            if k is not None:
                x, array = self.final(k, array, x), ""
            x, derivatives = self.numbers(x, each, slopes)
            stages.append(Stage(k, before, derivatives))
        return x, stages

    def numbers(self, x: list[str], each: list[int], slopes: bool) -> tuple[list[str], list[list[str]]]:
        """Functions of numbers in variables."""
        derivatives = []
        for e in each:
            y = [f"x{e}_{i}" for i in range(self.n)]
            self.add(*(f"{b} = each_{e}({a})" for a, b in zip(x, y, strict=True)))
            if slopes:
                d = [f"s{e}_{i}" for i in range(self.n)]
                self.add(*(f"{c} = each_{e}_slope({a}, {b})" for a, b, c in zip(x, y, d, strict=True)))
                derivatives.append(d)
            x = y
        return x, derivatives

    def hidden(self, k: int, array: str, x: list[str], each: list[int], slopes: bool) -> None:
        """A layer whose numbers are an array."""
        bias = f"b{k}[i]" if f"b{k}" in self.params else "T(0.0)"
        if array:
            self.add(f"for i in range(hidden{k}.shape[0]):", f"    hidden{k}[i] = {bias}")
            self.add(f"for j in range({array}.shape[0]):", f"    a = {array}[j]")
            self.add(f"    for i in range(hidden{k}.shape[0]):", f"        hidden{k}[i] += w{k}[j, i] * a")
            total = f"hidden{k}[i]"
        else:
            total = " + ".join([bias, *(f"w{k}[{j}, i] * {name}" for j, name in enumerate(x))])
        self.add(f"for i in range(hidden{k}.shape[0]):", f"    v = {total}")
        if slopes:
            self.add("    d = T(1.0)")
        for e in each:
            self.add("    x = v", f"    v = each_{e}(x)", *([f"    d = d * each_{e}_slope(x, v)"] if slopes else []))
        self.add(f"    hidden{k}[i] = v", *([f"    steep{k}[i] = d"] if slopes else []))

    def final(self, k: int, array: str, x: list[str]) -> list[str]:
        """The last layer, whose numbers are the slope's."""
        bias = [f"b{k}[{i}]" if f"b{k}" in self.params else "T(0.0)" for i in range(self.n)]
        y = [f"z_{i}" for i in range(self.n)]
        if array:
            self.add(*(f"{name} = {b}" for name, b in zip(y, bias, strict=True)))
            self.add(f"for j in range({array}.shape[0]):", f"    a = {array}[j]")
            self.add(*(f"    {name} += w{k}[{i}, j] * a" for i, name in enumerate(y)))
        else:
            sums = [" + ".join(f"w{k}[{i}, {j}] * {name}" for j, name in enumerate(x)) for i in range(self.n)]
            self.add(*(f"{name} = {b} + {total}" for name, b, total in zip(y, bias, sums, strict=True)))
        return y

    def pull(self) -> str:
        """The body of `slope_reverse`."""
        self.lines = []
        _, stages = self.forward(True)
        c = [f"g_{i}" for i in range(self.n)]
        for k, before, derivatives in reversed(stages):
            for number, d in enumerate(reversed(derivatives)):
                made = [f"c{'' if k is None else k}_{number}_{i}" for i in range(self.n)]
                self.add(*(f"{a} = {b} * {s}" for a, b, s in zip(made, c, d, strict=True)))
                c = made
            if k is None:
                break
            if k == self.last:
                c = self.final_back(k, before, c)
            else:
                c = self.hidden_back(k, before)
        self.add(f"return {', '.join(c)}")
        return "\n".join(self.lines)

    def final_back(self, k: int, before: Any, c: list[str]) -> list[str]:
        """Back through the last layer: cotangents of its array in `back`, or of numbers."""
        if f"b{k}" in self.params:
            self.add(*(f"b{k}_sum[{i}] += {name}" for i, name in enumerate(c)))
        if isinstance(before, str):
            j = before.removeprefix("hidden")
            self.add(f"for j in range({before}.shape[0]):", f"    a = {before}[j]")
            self.add(*(f"    w{k}_sum[{i}, j] += {name} * a" for i, name in enumerate(c)))
            total = " + ".join(f"w{k}[{i}, j] * {name}" for i, name in enumerate(c))
            self.add(f"    back{j}[j] = ({total}) * steep{j}[j]")
            return c
        self.add(*(f"w{k}_sum[{i}, {j}] += {a} * {b}" for i, a in enumerate(c) for j, b in enumerate(before)))
        made = [f"r{k}_{j}" for j in range(self.n)]
        sums = [" + ".join(f"w{k}[{i}, {j}] * {a}" for i, a in enumerate(c)) for j in range(self.n)]
        self.add(*(f"{name} = {total}" for name, total in zip(made, sums, strict=True)))
        return made

    def hidden_back(self, k: int, before: Any) -> list[str]:
        """Back through a layer whose numbers are an array, from their cotangents in `back`."""
        bias = f"b{k}" in self.params
        if isinstance(before, str):
            j = before.removeprefix("hidden")
            if bias:
                self.add(f"for i in range(hidden{k}.shape[0]):", f"    b{k}_sum[i] += back{k}[i]")
            self.add(f"for j in range({before}.shape[0]):", f"    a, r = {before}[j], T(0.0)")
            self.add(f"    for i in range(hidden{k}.shape[0]):", f"        r += w{k}[j, i] * back{k}[i]")
            self.add(f"        w{k}_sum[j, i] += back{k}[i] * a", f"    back{j}[j] = r * steep{j}[j]")
            return []
        made = [f"r{k}_{j}" for j in range(self.n)]
        self.add(*(f"{name} = T(0.0)" for name in made), f"for i in range(hidden{k}.shape[0]):", f"    a = back{k}[i]")
        if bias:
            self.add(f"    b{k}_sum[i] += a")
        self.add(*(f"    w{k}_sum[{j}, i] += a * {name}" for j, name in enumerate(before)))
        self.add(*(f"    {name} += w{k}[{j}, i] * a" for j, name in enumerate(made)))
        return made
