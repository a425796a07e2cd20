"""The slope as native programs call it: a `@native` function, read for a state in variables or in an array."""

import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from ._native_args import Leaf, NotNative, spelled
from ._native_text import Layout

__all__ = ["FEW", "SlopeCode", "exact", "native_slope", "specialised"]

FEW = 8
"""Up to so many numbers a state is kept in variables."""


@dataclass
class SlopeCode:
    """How generated programs call a slope and its pullback.

    Arguments:
        functions: the text of `slope`, and of `slope_reverse`.
        params, bars: what a program is given for the slope's arguments, and for their cotangents.
        room, unpack: the lines that make working memory, and take a sample's arguments.
        calls, pulls: the lines of a call, with `{t}`, `{u}`, `{k}` (and `{names of u}`) to be filled in, and of the
            pullback, with `{g}` for the cotangent of the slope and `{q}` for that of the state.
        zero_shared, store_shared, zero_own, store_own: the lines that begin and end the sums of cotangents, of what
            the samples share and of what each has for itself.
        inputs: what follows the arguments among `params`: captured arrays.
        current: whether the texts are still those of the function.
    """

    layout: Layout
    functions: tuple[str, str]
    params: list[str]
    bars: list[str]
    calls: list[str]
    pulls: list[str]
    room: list[str] = field(default_factory=list)
    unpack: list[str] = field(default_factory=list)
    zero_shared: list[str] = field(default_factory=list)
    store_shared: list[str] = field(default_factory=list)
    zero_own: list[str] = field(default_factory=list)
    store_own: list[str] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    current: Callable[[], bool] = lambda: True

    @property
    def keeps_slopes(self) -> bool:
        """Whether the slopes of every step are kept, rather than computed again."""
        return self.layout.n is not None

    def value(self, t: str, u: str, k: str) -> list[str]:
        """The lines that put the slope at `t` and `u` into `k`."""
        names = {"t": t, "u": self.layout.names(u), "k": k, "ks": self.layout.names(k)}
        return [line.format(**names) for line in self.calls]

    def pull(self, t: str, u: str, g: str, q: str) -> list[str]:
        """The lines that put the state's cotangent into `q` and add those of the arguments to their sums."""
        names = {"t": t, "u": self.layout.names(u), "g": g, "gs": self.layout.names(g), "q": q}
        return [line.format(**names) for line in self.pulls]


def native_slope(
    f: Any, n: int, whole: bool, dtype: Any, form: Any, leaves: Sequence[Leaf], backward: bool
) -> SlopeCode:
    """The code of a `@native` function for states of `n` numbers (`whole`: the state is one number, without axes)."""
    layout = Layout(n if n <= FEW else None)
    special = _read(f, layout, n, whole, dtype, form, leaves)
    operation = special.operation
    given = [name for k, leaf in enumerate(leaves) for name in leaf.names(f"a{k}")]
    captured = [f"captured_{k}" for k in range(len(special.constants))]
    arguments = "".join(f", {name}" for name in [*given, *captured])
    sign = "-" if backward else ""
    results = [f"_{k}" for k in range(len(operation.results))]
    cotangents = [name for k, leaf in enumerate(leaves) if leaf.floats for name in leaf.names(f"d{k}")]
    found = ", ".join([*results, "_t", layout.names("q"), *cotangents])
    if layout.n is None:
        calls = [f"slope_found = slope({sign}({{t}}), {{u}}{arguments})", *_CHECK, f"{{k}}@ = {sign}slope_found[#]"]
        pulls = [f"m@ = {sign}{{g}}@", f"{found} = slope_reverse({sign}({{t}}), {{u}}{arguments}, m)"]
    else:
        calls = [f"{{ks}} = slope({sign}({{t}}), {{u}}{arguments})"]
        calls += ["{k}@ = -{k}@"] if backward else []
        pulls = ["m@ = -{g}@"] if backward else []
        pulls.append(
            f"{found} = slope_reverse({sign}({{t}}), {{u}}{arguments}, {layout.names('m') if backward else '{gs}'})"
        )
    code = SlopeCode(
        layout,
        (exact(operation.program), exact(operation.reverse.program)),
        [*(f"a{k}" for k in range(len(leaves))), *captured],
        [f"a{k}_bar" for k, leaf in enumerate(leaves) if leaf.floats],
        calls,
        pulls,
        room=["m = np.empty(n, T)"] if layout.n is None else [],
        inputs=list(special.constants),
        current=special.reader.reads.unchanged,
    )
    for k, leaf in enumerate(leaves):
        _add_up(code, f"a{k}", leaf, k)
    return code


LENGTH = "f's slope has another length than its state: return one number for each"
_CHECK = ["if slope_found.shape[0] != n:", f"    raise ValueError({LENGTH!r})"]


def exact(program: Any) -> str:
    """A program's text, compiled where it stands as the native route compiles it.

    Where nothing is said of the arithmetic, Numba compiles it as loosely as what calls it.
    """
    from torchflux_zygote._native._emit import JIT, source

    text = source(program)
    return (text if text.startswith("@") else f"@{JIT}\n{text}").replace("nogil=True", "nogil=True, fastmath=False")


def _add_up(code: SlopeCode, name: str, leaf: Leaf, k: int) -> None:
    """The lines that take an argument apart, and add up its cotangents."""
    row = "s" if leaf.own else "block"
    zero, store = (code.zero_own, code.store_own) if leaf.own else (code.zero_shared, code.store_shared)
    if leaf.size is None:
        if leaf.own:
            code.unpack.append(f"{name}_0 = {name}[s]")
        if leaf.floats:
            add = f"rt.add_{leaf.ndim}{leaf.ndim}({name}_bar[{row}], d{k}_0)" if leaf.ndim <= 2 else ""
            code.pulls.append(add or f"{name}_bar[{row}] += d{k}_0")
        if not leaf.own:
            code.room.append(f"{name}_0 = {name}")
        return
    for i in range(leaf.size):
        (code.unpack if leaf.own else code.room).append(f"{name}_{i} = {name}[{'s, ' if leaf.own else ''}{i}]")
        if leaf.floats:
            zero.append(f"{name}_sum_{i} = T(0.0)")
            code.pulls.append(f"{name}_sum_{i} += d{k}_{i}")
            store.append(f"{name}_bar[{row}, {i}] = {name}_sum_{i}")


_numbers = count()


def _read(f: Any, layout: Layout, n: int, whole: bool, dtype: Any, form: Any, leaves: Sequence[Leaf]) -> Any:
    """The function, read for arguments of these kinds, as one that returns as many numbers as the state has."""
    examples = [dtype(1.0)] if dtype is np.float32 else [1.0]
    state = [np.ones(n + 2, dtype)] if layout.n is None else examples * n
    given = [x for leaf in leaves for x in leaf.examples(examples[0])]
    found = specialised(f, _wrapper(layout, whole, form, leaves, "k"), [examples[0], *state, *given])
    types = [str(t) for t in found.operation.results]
    name = f.function.__name__
    if layout.n is None:
        if found.form != "array" or found.operation.results[0].ndim != 1:
            raise NotNative(f"{name} returns {_described(found.form)} for a state of {n} numbers, not an array of them")
    elif whole:
        if found.form != "scalar":
            raise NotNative(f"{name} returns {_described(found.form)} for a state that is one number")
    elif found.form != "array" and found.form != ("scalar",) * n:
        raise NotNative(f"{name} returns {_described(found.form)} for a state of {n} numbers")
    if dtype is np.float32 and any("float64" in t for t, r in zip(types, found.operation.results, strict=True)
                                   if not getattr(r, "weak", False)):  # fmt: skip
        raise TypeError(f"{name}'s slope is torch.float64, its state torch.float32: convert one of them")
    if layout.n is not None:
        cast = "np.float32" if dtype is np.float32 else "float"
        parts = ["k"] if whole else [f"k[{i}]" for i in range(n)]
        result = f"({', '.join(f'{cast}({part})' for part in parts)},)"
        check = _length(found, n) if found.form == "array" else ""
        found = specialised(f, _wrapper(layout, whole, form, leaves, result, check), [examples[0], *state, *given])
    if found.program.effects:
        raise NotNative(f"{name} stores into its arguments: copy them first (`y = y.copy()`)")
    return found


def _length(special: Any, n: int) -> str:
    """The lines that compare the length of an array that is returned with the state's, unless that is known to fit."""
    length = special.program.sizes.get(special.program.block.results[0], (None,))[0]
    if length is None or length.const is None:
        return f"    if len(k) != {n}:\n        raise ValueError({LENGTH!r})\n"
    if length.const != n:
        raise ValueError(LENGTH)
    return ""


def _wrapper(layout: Layout, whole: bool, form: Any, leaves: Sequence[Leaf], result: str, check: str = "") -> str:
    """The text of a function of numbers and arrays, that calls `f` with the state and the arguments in their form."""
    parts = [name for k, leaf in enumerate(leaves) for name in leaf.names(f"a{k}")]
    state = layout.names("y")
    y = state if layout.n is None or whole else f"np.array([{state}])"
    given = spelled(form, [leaf.spelled(f"a{k}") for k, leaf in enumerate(leaves)])
    head = f"def slope({', '.join(['t', state, *parts])}):"
    return f"{head}\n    k = f(t, {y}, {given})\n{check}    return {result}\n"


def specialised(f: Any, text: str, values: list[Any]) -> Any:
    """The one function in a text, which calls a native `f`, read for such values."""
    from torchflux_zygote._native._native import Native

    file = f"<slope of {f.function.__name__} {next(_numbers)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    space: dict[str, Any] = {"f": f, "np": np, "__name__": f.function.__module__}
    exec(compile(text, file, "exec"), space)
    return Native(space[text[4 : text.index("(")]], f.bounds, f.checkpoint).specialised(tuple(values))[0]


def _described(form: Any) -> str:
    """A result's form in words."""
    return f"a tuple of {len(form)}" if isinstance(form, tuple) else {"scalar": "a number", "array": "an array"}[form]
