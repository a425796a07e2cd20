"""One checker for native functions: what the generated code computes against Python itself and finite differences.

Generated source is run as plain Python by default (compiling takes 0.3 s, running the text takes nothing);
`compiled=True` runs the machine code as well and wants the same numbers from it.
"""

import ast
import inspect
import math
import os
import textwrap
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torchflux_zygote._native import _runtime
from torchflux_zygote._native._emit import source
from torchflux_zygote._native._native import native
from torchflux_zygote._native._operation import Operation

__all__ = [
    "Mismatch",
    "check",
    "check_modes",
    "close",
    "copied",
    "flatten",
    "interpreted",
    "like",
    "native",
    "operation",
    "plain",
    "seeds",
    "shaped",
    "slope",
    "tail",
    "torch_gradient",
    "twin",
    "vector",
]

COMPILE_ALL = bool(os.environ.get("TORCHFLUX_TEST_COMPILED"))
STEP = 1e-4
"""Of a difference of fourth order: 1e-16 times the fifth derivative, and 1e-12 from rounding."""


class Mismatch(AssertionError):
    """Generated code that computes something else than it should."""


# Generated source as plain Python.


def _plain_runtime() -> types.SimpleNamespace:
    """The functions that compiled programs call, not compiled."""
    text = Path(_runtime.__file__).read_text().replace("import numba\n", "")
    identity = lambda *args, **kwargs: args[0] if args and callable(args[0]) else (lambda f: f)
    space: dict[str, Any] = {"numba": types.SimpleNamespace(njit=identity), "__name__": "plain"}
    exec(compile(text, "plain runtime", "exec"), space)
    space["beyond_stack"] = lambda limit: False  # Python has a limit of its own
    return types.SimpleNamespace(**space)


RUNTIME = _plain_runtime()


def interpreted(text: str, name: str) -> Callable[..., Any]:
    """Stands in for the compiler: the text as plain Python."""
    stub = types.SimpleNamespace(njit=lambda *args, **kwargs: args[0] if args and callable(args[0]) else (lambda f: f))
    space: dict[str, Any] = {"math": math, "np": np, "rt": RUNTIME, "numba": stub}
    exec(compile(text, f"plain {name}", "exec"), space)
    made: Callable[..., Any] = space[name]
    return made


def plain(op: Operation) -> Callable[..., tuple[Any, ...]]:
    """The generated source of an operation, run as Python by NumPy's rules for division."""
    kept = op.__dict__.get("plain")
    if kept is None:
        kept = op.__dict__["plain"] = interpreted(source(op.program), op.program.name)

    def run(values: list[Any]) -> tuple[Any, ...]:
        values = [np.float64(x) if type(x) is float else copied(x) for x in values]
        with np.errstate(all="ignore"):
            found = kept(*values)
        return found if isinstance(found, tuple) else (found,)

    return run


def copied(x: Any) -> Any:
    """An argument that may be stored into."""
    if isinstance(x, tuple):
        return tuple(copied(part) for part in x)
    return x.copy() if isinstance(x, np.ndarray) else x


def operation(f: Callable[..., Any], *args: Any) -> tuple[Operation, list[Any], Any]:
    """The operation of a function for such arguments, all that it is called with, and its specialised form."""
    special, flat = native(f).specialised(native(f).arguments(args, {}))
    return special.operation, [*flat, *special.constants], special


# Flat vectors.


def flatten(x: Any) -> list[Any]:
    """Numbers and arrays in a result, in order (what is None or a string left out)."""
    if isinstance(x, tuple | list):
        return [leaf for part in x for leaf in flatten(part)]
    return [] if x is None or isinstance(x, str) else [x]


def floats(x: Any) -> bool:
    return np.asarray(x).dtype.kind == "f"


def vector(leaves: list[Any]) -> np.ndarray:
    """The floats of some leaves as one vector."""
    parts = [np.asarray(x, np.float64).ravel() for x in leaves if floats(x)]
    return np.concatenate(parts) if parts else np.zeros(0)


def like(leaves: list[Any], flat: np.ndarray) -> list[Any]:
    """A vector in the form of some leaves (those that aren't floats stay)."""
    made, at = [], 0
    for x in leaves:
        if not floats(x):
            made.append(x)
            continue
        n = np.size(x)
        part = flat[at : at + n]
        at += n
        made.append(part.reshape(np.shape(x)).astype(x.dtype) if isinstance(x, np.ndarray) else float(part[0]))
    return made


def shaped(args: tuple[Any, ...], leaves: list[Any]) -> tuple[Any, ...]:
    """Leaves in the form of arguments."""
    following = iter(leaves)

    def form(x: Any) -> Any:
        if isinstance(x, tuple):
            return tuple(form(part) for part in x)
        return x if x is None or isinstance(x, str) or callable(x) else next(following)

    return tuple(form(x) for x in args)


def leaves_of(args: tuple[Any, ...]) -> list[Any]:
    return [x for x in flatten(args) if not callable(x)]


def slope(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, v: np.ndarray, h: float = STEP) -> np.ndarray:
    """The derivative of `f` at `x` along `v`, by differences of fourth order."""
    return (8.0 * (f(x + h * v) - f(x - h * v)) - (f(x + 2 * h * v) - f(x - 2 * h * v))) / (12.0 * h)


def close(what: str, found: Any, expected: Any, rtol: float = 1e-7, atol: float = 1e-8) -> None:
    """Refuses numbers that differ."""
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if a.shape != b.shape:
        raise Mismatch(f"{what}: shape {a.shape}, expected {b.shape}")
    scale = atol + rtol * (np.abs(b) + (np.abs(b[np.isfinite(b)]).max() if np.isfinite(b).any() else 0.0))
    with np.errstate(invalid="ignore"):
        wrong = ~((np.abs(a - b) <= scale) | (a == b) | (np.isnan(a) & np.isnan(b)))
    if wrong.any():
        raise Mismatch(f"{what}: {a.tolist()}, expected {b.tolist()}")


def same_form(what: str, found: Any, expected: Any) -> None:
    """Refuses a result of another structure, or a bool that isn't one."""
    if isinstance(expected, tuple):
        if not isinstance(found, tuple) or len(found) != len(expected):
            raise Mismatch(f"{what}: {found!r}, expected {expected!r}")
        for x, y in zip(found, expected, strict=True):
            same_form(what, x, y)
    elif expected is None or isinstance(expected, str | bool):
        kind = np.bool_ if type(expected) is bool else type(expected)
        if not isinstance(found, kind | type(expected)) or found != expected:
            raise Mismatch(f"{what}: {found!r}, expected {expected!r}")
    else:
        close(what, found, expected, 1e-12, 1e-13)


# The checker.


def check(
    f: Callable[..., Any],
    *args: Any,
    second: bool = True,
    compiled: bool = False,
    torch_twin: bool = False,
    rtol: float = 1e-7,
) -> None:
    """The value is Python's; reverse and forward mode are finite differences; so are the second derivatives."""
    op, values, special = operation(f, *args)
    leaves = leaves_of(args)
    given = len(leaves)
    expected = f(*copied(args))
    same_form("value", special.formed(list(plain(op)(values))), expected)
    x = vector(leaves)
    f_flat = lambda t: vector(flatten(f(*copied(shaped(args, like(leaves, t))))))
    rng = np.random.default_rng(0)
    jacobian = np.array([slope(f_flat, x, e) for e in np.eye(len(x))]).reshape(len(x), len(f_flat(x)))
    _first(op, values, given, jacobian, rng, rtol)
    if second:
        _second(op, values, given, rng, rtol)
    if torch_twin:
        _twin_agrees(f, args, op, values, rng)
    if compiled or COMPILE_ALL:
        _compiled(op, values, rng)


def _results(op: Operation, values: list[Any]) -> list[Any]:
    """A zero for every float result, in its form."""
    return [
        np.zeros(np.shape(y)) if np.ndim(y) else 0.0
        for y, t in zip(plain(op)(values), op.results, strict=True)
        if _is_float(t)
    ]


def _is_float(t: Any) -> bool:
    return getattr(t, "dtype", t).kind == "f"


def seeds(op: Operation, values: list[Any], rng: Any) -> list[Any]:
    """A random cotangent for every float result."""
    return [
        _cast(rng.normal(size=np.shape(y)), t)
        for y, t in zip(_results(op, values), [op.results[k] for k in op.floats], strict=True)
    ]


def pushes(op: Operation, values: list[Any], given: int, rng: Any) -> list[Any]:
    """A random tangent for every float input; none for what a function has captured."""
    made = [rng.normal(size=np.shape(values[k])) * (k < given) for k in op.wrt]
    return [_cast(v, op.params[k]) for v, k in zip(made, op.wrt, strict=True)]


def _cast(x: np.ndarray, t: Any) -> Any:
    dtype = getattr(t, "dtype", t)
    x = np.asarray(x, np.float32 if dtype.bits == 32 else np.float64)
    return x if x.ndim else float(x)


def tail(op: Operation, found: tuple[Any, ...]) -> list[Any]:
    """What a derivative returns behind the operation's own results."""
    return list(found[len(op.results) :])


def _first(op: Operation, values: list[Any], given: int, jacobian: np.ndarray, rng: Any, rtol: float) -> None:
    cotangents = seeds(op, values, rng)
    back = plain(op.reverse)([*values, *cotangents])
    close("value in reverse mode", vector(list(back[: len(op.results)])), vector(list(plain(op)(values))), 1e-12, 1e-13)
    grads = vector([g for g, k in zip(tail(op, back), op.wrt, strict=True) if k < given])
    close("reverse", grads, jacobian @ vector(cotangents), rtol)
    first, other = pushes(op, values, given, rng), pushes(op, values, given, rng)
    pairs = [t for pair in zip(first, other, strict=True) for t in pair]
    found = plain(op.forward(2))([*values, *pairs])
    close(
        "value in forward mode", vector(list(found[: len(op.results)])), vector(list(plain(op)(values))), 1e-12, 1e-13
    )
    tangents = tail(op, found)
    n = jacobian.shape[0]
    close("forward, first tangent", vector(tangents[0::2]), vector(first)[:n] @ jacobian, rtol)
    close("forward, second tangent", vector(tangents[1::2]), vector(other)[:n] @ jacobian, rtol)


def _second(op: Operation, values: list[Any], given: int, rng: Any, rtol: float) -> None:
    """Forward over reverse, reverse over reverse, reverse over forward: against differences of the first derivative."""
    _derivatives("of reverse", op.reverse, [*values, *seeds(op, values, rng)], given, rng, 10 * rtol, len(values))
    _derivatives(
        "of forward", op.forward(1), [*values, *pushes(op, values, given, rng)], given, rng, 10 * rtol, len(values)
    )


def _derivatives(what: str, op: Operation, values: list[Any], given: int, rng: Any, rtol: float, captured: int) -> None:
    """Both modes of an operation along one direction, against differences of the operation itself."""
    held = set(range(given, captured))
    run = plain(op)
    direction = [_cast(rng.normal(size=np.shape(values[k])) * (k not in held), op.params[k]) for k in op.wrt]
    x = vector([values[k] for k in op.wrt])
    moving = [values[k] for k in op.wrt]

    def at(t: np.ndarray) -> np.ndarray:
        new = list(values)
        for k, value in zip(op.wrt, like(moving, t), strict=True):
            new[k] = value
        return vector([y for y, kind in zip(run(new), op.results, strict=True) if _is_float(kind)])

    expected = slope(at, x, vector(direction))
    pushed = plain(op.forward(1))([*values, *direction])
    close(f"forward {what}", vector(tail(op, pushed)), expected, rtol, 1e-7)
    cotangents = seeds(op, values, rng)
    back = vector(tail(op, plain(op.reverse)([*values, *cotangents])))
    close(f"reverse {what}", back @ vector(direction), vector(cotangents) @ expected, rtol, 1e-7)


def check_modes(what: str, op: Operation, values: list[Any], rng: Any, rtol: float = 1e-8) -> None:
    """Forward mode along a direction and reverse mode from a cotangent are one bilinear form."""
    cotangents, direction = seeds(op, values, rng), pushes(op, values, len(values), rng)
    found = plain(op)(values)
    pushed = plain(op.forward(1))([*values, *direction])
    back = plain(op.reverse)([*values, *cotangents])
    if not all(np.isfinite(np.asarray(x, np.float64)).all() for x in (*found, *pushed, *back)):
        return
    close(f"{what}: value in forward mode", vector(list(pushed[: len(op.results)])), vector(list(found)), 1e-12, 1e-13)
    close(f"{what}: value in reverse mode", vector(list(back[: len(op.results)])), vector(list(found)), 1e-12, 1e-13)
    terms = vector(tail(op, back)) * vector(direction)
    others = vector(cotangents) * vector(tail(op, pushed))
    scale = np.abs(terms).sum() + np.abs(others).sum()
    close(f"{what}: reverse against forward", [terms.sum()], [others.sum()], rtol, rtol * scale + 1e-9)


def _compiled(op: Operation, values: list[Any], rng: Any) -> None:
    """Machine code and plain Python agree."""
    fresh = lambda xs: [copied(x) for x in xs]
    cotangents = seeds(op, values, rng)
    tangents = pushes(op, values, len(values), rng)
    for what, one, inputs in (
        ("value", op, values),
        ("reverse", op.reverse, [*values, *cotangents]),
        ("forward", op.forward(1), [*values, *tangents]),
    ):
        found, expected = one(fresh(inputs)), plain(one)(inputs)
        close(f"compiled {what}", vector(list(found)), vector(list(expected)), 1e-10, 1e-11)


# A second opinion: the same function on tensors, differentiated by torch.


class _Reads(ast.NodeTransformer):
    """Reads of one element become copies, as they are in Python (in torch they are views)."""

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            return node
        return ast.copy_location(ast.Call(ast.Name("_read_", ast.Load()), [node], []), node)

    def visit_Assign(self, node: ast.Assign) -> Any:
        self.generic_visit(node)
        if isinstance(node.targets[0], ast.Subscript):  # torch doesn't see that the two overlap
            node.value = ast.copy_location(ast.Call(ast.Name("_fresh_", ast.Load()), [node.value], []), node.value)
        return node

    def visit_For(self, node: ast.For) -> Any:
        self.generic_visit(node)
        parts = (
            node.iter.args
            if isinstance(node.iter, ast.Call) and ast.unparse(node.iter.func) in ("zip", "enumerate")
            else None
        )
        wrap = lambda x: ast.copy_location(ast.Call(ast.Name("_iterate_", ast.Load()), [x], []), x)
        if parts is None:
            node.iter = wrap(node.iter)
        else:
            parts[:] = [wrap(x) for x in parts]
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        """`s += x` binds a new number, but changes an array."""
        old = ast.parse(ast.unparse(node.target), mode="eval").body
        old = self.visit(ast.copy_location(old, node))
        change = ast.Call(
            ast.Name("_change_", ast.Load()), [old, self.visit(node.value), ast.Constant(type(node.op).__name__)], []
        )
        return ast.copy_location(ast.Assign([node.target], change), node)


def _read(x: Any) -> Any:
    return x.clone() if isinstance(x, torch.Tensor) and x.ndim == 0 else x


def _fresh(x: Any) -> Any:
    return x.clone() if isinstance(x, torch.Tensor) else x


def _iterate(x: Any) -> Any:
    return (_read(x[i]) for i in range(len(x))) if isinstance(x, torch.Tensor) else x


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "Add": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mult": lambda a, b: a * b, "Div": lambda a, b: a / b,
    "Pow": lambda a, b: a**b, "FloorDiv": lambda a, b: a // b, "Mod": lambda a, b: a % b,
}  # fmt: skip


def _change(old: Any, by: Any, kind: str) -> Any:
    if isinstance(old, dict):  # `|=`; a KeyError of the table below would be caught by the program
        old.update(by)
        return old
    new = _OPERATORS[kind](old, by)
    if isinstance(old, torch.Tensor) and old.ndim:
        old[...] = new
        return old
    return new


def _of(name: str) -> Callable[..., Any]:
    return lambda *xs: getattr(torch, name)(*(torch.as_tensor(x, dtype=torch.float64) for x in xs))


MATH = types.SimpleNamespace(
    pi=math.pi,
    e=math.e,
    inf=math.inf,
    fabs=_of("abs"),
    pow=_of("pow"),
    erf=torch.erf,
    floor=lambda x: math.floor(x),
    **{
        name: _of(name)
        for name in [
            "sin",
            "cos",
            "tan",
            "exp",
            "log",
            "log1p",
            "expm1",
            "sqrt",
            "tanh",
            "sinh",
            "cosh",
            "asin",
            "acos",
            "atan",
            "atan2",
            "hypot",
        ]
    },
)
NUMPY = types.SimpleNamespace(
    float64=torch.float64,
    newaxis=None,
    zeros=lambda *s, dtype=None: torch.zeros(*s, dtype=torch.float64),
    ones=lambda *s, dtype=None: torch.ones(*s, dtype=torch.float64),
    empty=lambda *s: torch.zeros(*s, dtype=torch.float64),
    zeros_like=torch.zeros_like,
    dot=torch.matmul,
    sum=torch.sum,
    mean=torch.mean,
    max=torch.max,
    min=torch.min,
    where=torch.where,
    array=lambda xs: torch.stack([torch.as_tensor(x, dtype=torch.float64) for x in xs]),
    concatenate=torch.cat,
    cumsum=lambda a: torch.cumsum(a, 0),
    stack=torch.stack,
    maximum=_of("maximum"),
    minimum=_of("minimum"),
    abs=torch.abs,
    outer=torch.outer,
    linalg=types.SimpleNamespace(
        norm=torch.linalg.norm, solve=torch.linalg.solve, inv=torch.linalg.inv, det=torch.linalg.det
    ),
    **{name: _of(name) for name in ["sin", "cos", "tan", "exp", "log", "sqrt", "tanh"]},
)


def twin(f: Callable[..., Any], text: str | None = None) -> Callable[..., Any]:
    """The function on tensors: `math` and `np` replaced by torch's, reads of numbers copied."""
    text = textwrap.dedent(inspect.getsource(f)) if text is None else text
    tree = ast.parse(text)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
    tree = ast.fix_missing_locations(_Reads().visit(tree))
    captured = {n: c.cell_contents for n, c in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)}
    space = {
        **f.__globals__,
        **captured,
        "math": MATH,
        "np": NUMPY,
        "_read_": _read,
        "_fresh_": _fresh,
        "_change_": _change,
        "_iterate_": _iterate,
    }
    exec(compile(tree, f"twin of {f.__name__}", "exec"), space)
    made: Callable[..., Any] = space[f.__name__]
    return made


def torch_gradient(f: Callable[..., Any], args: tuple[Any, ...], weights: list[Any]) -> np.ndarray:
    """The gradient by torch of the twin's float results, weighted."""
    leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) if floats(x) else x for x in leaves_of(args)]
    inputs = shaped(args, [x.clone() if isinstance(x, torch.Tensor) else x for x in leaves])
    torch.Tensor.copy = torch.Tensor.clone  # type: ignore[attr-defined]
    try:
        results = [y for y in flatten(f(*inputs)) if not isinstance(y, bool | int)]
    finally:
        del torch.Tensor.copy  # type: ignore[attr-defined]
    results = [y for y in results if not (isinstance(y, torch.Tensor) and not y.is_floating_point())]
    total = sum((torch.as_tensor(w, dtype=torch.float64) * y).sum() for w, y in zip(weights, results, strict=True))
    moving = [x for x in leaves if isinstance(x, torch.Tensor)]
    if not isinstance(total, torch.Tensor) or not total.requires_grad:
        return np.zeros(sum(x.numel() for x in moving))
    grads = torch.autograd.grad(total, moving, allow_unused=True, materialize_grads=True)
    return np.concatenate([g.detach().numpy().ravel() for g in grads]) if grads else np.zeros(0)


def _twin_agrees(f: Callable[..., Any], args: tuple[Any, ...], op: Operation, values: list[Any], rng: Any) -> None:
    weights = seeds(op, values, rng)
    grads = tail(op, plain(op.reverse)([*values, *weights]))
    given = len(leaves_of(args))
    found = vector([g for g, k in zip(grads, op.wrt, strict=True) if k < given])
    close("torch's gradient", found, torch_gradient(twin(f), args, weights), 1e-10, 1e-12)
