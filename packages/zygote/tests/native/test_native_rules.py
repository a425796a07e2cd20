"""Every rule of the tables against finite differences: numbers and arrays, broadcasting, several points and edges."""

import ast
import builtins
import itertools
import linecache
import math
import operator

import numpy as np
import pytest
from native_check import Mismatch, check, close, native, operation, plain, slope, tail

from torchflux_zygote._native import _ops
from torchflux_zygote._native._functions import FUNCTIONS, METHODS

POINTS = (-1.7, -0.6, 0.35, 1.4)


def made(text, **names):
    """A function from its text, whose source can be read."""
    file = f"<rule {len(linecache.cache)} {text.splitlines()[0]}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    space = {"math": math, "np": np, "operator": operator, **names}
    exec(compile(text, file, "exec"), space)
    return space["f"]


def unary(expression):
    return made(f"def f(x):\n    return {expression}\n")


def binary(expression):
    return made(f"def f(x, y):\n    return {expression}\n")


# The element-wise operations. How to write each one of DERIVATIVES for numbers and for arrays, and where it is defined.

EVERYWHERE, POSITIVE, INSIDE, ABOVE_ONE = POINTS, (0.2, 0.9, 1.7, 3.2), (-0.8, -0.3, 0.15, 0.7), (1.1, 1.9, 3.4)
UNARY = {
    "neg": ("-x", "-x", EVERYWHERE),
    "abs": ("abs(x)", "np.abs(x)", EVERYWHERE),
    "sqrt": ("math.sqrt(x)", "np.sqrt(x)", POSITIVE),
    "cbrt": ("math.cbrt(x)", "np.cbrt(x)", EVERYWHERE),
    "exp": ("math.exp(x)", "np.exp(x)", EVERYWHERE),
    "exp2": ("math.exp2(x)", "np.exp2(x)", EVERYWHERE),
    "expm1": ("math.expm1(x)", "np.expm1(x)", EVERYWHERE),
    "log": ("math.log(x)", "np.log(x)", POSITIVE),
    "log2": ("math.log2(x)", "np.log2(x)", POSITIVE),
    "log10": ("math.log10(x)", "np.log10(x)", POSITIVE),
    "log1p": ("math.log1p(x)", "np.log1p(x)", INSIDE),
    "sin": ("math.sin(x)", "np.sin(x)", EVERYWHERE),
    "cos": ("math.cos(x)", "np.cos(x)", EVERYWHERE),
    "tan": ("math.tan(x)", "np.tan(x)", INSIDE),
    "asin": ("math.asin(x)", "np.arcsin(x)", INSIDE),
    "acos": ("math.acos(x)", "np.arccos(x)", INSIDE),
    "atan": ("math.atan(x)", "np.arctan(x)", EVERYWHERE),
    "sinh": ("math.sinh(x)", "np.sinh(x)", EVERYWHERE),
    "cosh": ("math.cosh(x)", "np.cosh(x)", EVERYWHERE),
    "tanh": ("math.tanh(x)", "np.tanh(x)", EVERYWHERE),
    "asinh": ("math.asinh(x)", "np.arcsinh(x)", EVERYWHERE),
    "acosh": ("math.acosh(x)", "np.arccosh(x)", ABOVE_ONE),
    "atanh": ("math.atanh(x)", "np.arctanh(x)", INSIDE),
    "erf": ("math.erf(x)", None, EVERYWHERE),
    "erfc": ("math.erfc(x)", None, EVERYWHERE),
    "sign": ("np.sign(x)", "np.sign(x)", EVERYWHERE),
    "floor": ("math.floor(x) * 1.0", "np.floor(x)", EVERYWHERE),
    "ceil": ("math.ceil(x) * 1.0", "np.ceil(x)", EVERYWHERE),
    "trunc": ("math.trunc(x) * 1.0", "np.trunc(x)", EVERYWHERE),
    "round": ("round(x) * 1.0", None, EVERYWHERE),
    "float": ("float(x)", None, EVERYWHERE),
    "int": ("int(x) * x", None, EVERYWHERE),
    "bool": ("bool(x) * x", None, EVERYWHERE),
    "not": ("(not x > 0.0) * x", None, EVERYWHERE),
    "isnan": ("math.isnan(x) * x", "np.isnan(x) * x", EVERYWHERE),
    "isinf": ("math.isinf(x) * x", "np.isinf(x) * x", EVERYWHERE),
    "isfinite": ("math.isfinite(x) * x", "np.isfinite(x) * x", EVERYWHERE),
    "norm": (None, "np.linalg.norm(x) * 1.0", EVERYWHERE),
    "invert": ("~int(9 * x) * x", None, EVERYWHERE),
}
BINARY = {
    "add": ("x + y", "x + y"),
    "sub": ("x - y", "x - y"),
    "mul": ("x * y", "x * y"),
    "div": ("x / y", "x / y"),
    "pow": ("abs(x) ** y", "np.abs(x) ** y"),
    "mod": ("x % y", "x % y"),
    "floordiv": ("x // y * x", "x // y * x"),
    "max": ("max(x, y)", None),
    "min": ("min(x, y)", None),
    "maximum": ("np.maximum(x, y)", "np.maximum(x, y)"),
    "minimum": ("np.minimum(x, y)", "np.minimum(x, y)"),
    "where": ("x * y if x > y else x + y", "np.where(x > y, x * y, x + y)"),
    "atan2": ("math.atan2(x, y)", "np.arctan2(x, y)"),
    "hypot": ("math.hypot(x, y)", "np.hypot(x, y)"),
    "copysign": ("math.copysign(x, y)", "np.copysign(x, y)"),
    "lt": ("(x < y) * x", "(x < y) * x"),
    "le": ("(x <= y) * x", "(x <= y) * x"),
    "gt": ("(x > y) * x", "(x > y) * x"),
    "ge": ("(x >= y) * x", "(x >= y) * x"),
    "eq": ("(x == y) * x", "(x == y) * x"),
    "ne": ("(x != y) * x", "(x != y) * x"),
    "and": ("(x > 0.0 and y > 0.0) * x", None),
    "or": ("(x > 0.0 or y > 0.0) * x", None),
    "bitand": ("(int(9 * x) & int(9 * y)) * x", None),
    "bitor": ("(int(9 * x) | int(9 * y)) * x", None),
    "bitxor": ("(int(9 * x) ^ int(9 * y)) * x", None),
    "lshift": ("(int(9 * x) << 2) * y", None),
    "rshift": ("(int(77 * x) >> 2) * y", None),
}
WIDTHS = {"float32"}  # see test_float32


def test_every_derivative_is_tested():
    assert set(_ops.DERIVATIVES) == {*UNARY, *BINARY, *WIDTHS, "constant"}  # the last in test_native_constants


SCALAR_UNARY = [pytest.param(text, points, id=name) for name, (text, _, points) in UNARY.items() if text]
ARRAY_UNARY = [pytest.param(text, points, id=name) for name, (_, text, points) in UNARY.items() if text]
SCALAR_BINARY = [pytest.param(text, id=name) for name, (text, _) in BINARY.items() if text]
ARRAY_BINARY = [pytest.param(text, id=name) for name, (_, text) in BINARY.items() if text]


@pytest.mark.parametrize(("text", "points"), SCALAR_UNARY)
def test_unary_of_numbers(text, points):
    f = unary(text)
    for x in points:
        check(f, x, rtol=1e-6)


@pytest.mark.parametrize(("text", "points"), ARRAY_UNARY)
def test_unary_of_arrays(text, points):
    f = unary(text)
    check(f, np.array(points), rtol=1e-6)
    check(f, np.array([points[:2], points[1:3], points[-2:]]), second=False, rtol=1e-6)
    check(f, np.array(points)[::2], second=False, rtol=1e-6)


@pytest.mark.parametrize("text", SCALAR_BINARY)
def test_binary_of_numbers(text):
    f = binary(text)
    for k, (x, y) in enumerate(itertools.product(POINTS, (-1.3, 0.55, 2.1))):
        check(f, x, y, second=k % 3 == 0, rtol=1e-6)


ROW, COLUMN = np.array([0.45, -1.15, 2.2]), np.array([[1.25], [-0.75]])
MATRIX = np.array([[0.65, -1.9, 1.05], [1.6, 0.3, -0.85]])


@pytest.mark.parametrize("text", ARRAY_BINARY)
def test_binary_of_arrays(text):
    f = binary(text)
    check(f, MATRIX, MATRIX[::-1] * 0.7, rtol=1e-6)
    for x, y in [
        (MATRIX, ROW),
        (ROW, MATRIX),
        (COLUMN, ROW[None]),
        (ROW[None], COLUMN),
        (MATRIX, COLUMN),
        (MATRIX, 0.55),
        (-1.31, MATRIX),
        (ROW, 0.53),
        (ROW[:1] + 0.2, ROW),
    ]:
        check(f, x, y, second=False, rtol=1e-6)


@pytest.mark.parametrize("text", ["x * y", "x / y", "np.arctan2(x, y)", "np.where(x > y, x, y)"])
def test_second_derivatives_through_broadcasting(text):
    f = binary(text)
    for x, y in [(MATRIX, ROW), (COLUMN, ROW[None]), (MATRIX, 0.55), (-1.3, ROW)]:
        check(f, x, y, rtol=1e-6)


def test_operands_that_are_one():
    for text in ("x * x", "x / x", "x - x", "x ** x", "max(x, x)", "math.hypot(x, x)", "math.atan2(x, x)"):
        check(unary(text), 0.7)
    for text in ("x * x", "x / x", "x + x", "np.maximum(x, x)", "np.where(x > 0, x, x)"):
        check(unary(text), np.abs(ROW))


# Edges: what the slope is where calculus leaves a choice. Values and slopes as in PyTorch or Python, in both modes.


def slopes(f, *args):
    """The gradient of a function of numbers, by reverse and by forward mode, which must agree."""
    op, values, _ = operation(f, *args)
    n = len(op.wrt)
    back = tail(op, plain(op.reverse)([*values, 1.0]))
    pushed = tail(op, plain(op.forward(n))([*values, *np.eye(n).ravel().tolist()]))
    close("the two modes at an edge", np.asarray(back, float), np.asarray(pushed, float))
    compiled = [g for g in native(f).gradient(*args) if g is not None]
    np.testing.assert_allclose(compiled, np.asarray(back, float))
    return tuple(float(g) for g in back)


def test_edges():
    assert slopes(unary("abs(x)"), 0.0) == (0.0,)
    assert slopes(binary("max(x, y)"), 1.0, 1.0) == (1.0, 0.0)  # Python's max returns the first
    assert slopes(binary("min(x, y)"), 1.0, 1.0) == (1.0, 0.0)
    assert slopes(binary("np.maximum(x, y)"), 1.0, 1.0) == (0.5, 0.5)
    assert slopes(binary("np.minimum(x, y)"), 1.0, 1.0) == (0.5, 0.5)
    assert slopes(unary("x ** 2"), 0.0) == (0.0,)
    assert slopes(unary("x ** 3"), 0.0) == (0.0,)
    assert slopes(unary("x ** 1"), 0.0) == (1.0,)
    assert slopes(unary("x ** 4"), -1.5)[0] == pytest.approx(4 * -(1.5**3))
    assert slopes(unary("max(x, 0.0)"), 0.0) == (1.0,)
    assert slopes(unary("max(0.0, x)"), 0.0) == (0.0,)


def test_powers_at_zero_and_below():
    x, y = slopes(binary("x ** y"), 0.0, 2.0)
    assert (x, y) == (0.0, 0.0)
    x, y = slopes(binary("x ** y"), 0.0, 1.0)
    assert (x, y) == (1.0, 0.0)
    f = made("def f(x, n):\n    return x ** n\n")
    for n in range(-3, 5):
        check(f, -1.3, n)
    check(f, 0.0, 3)
    check(f, 0.0, 1, second=False)
    check(binary("x ** y"), 2.0, -1.5)


def test_zeroth_power_at_zero():
    assert slopes(unary("x ** 0"), 0.0) == (0.0,)
    f = made("def f(x, n):\n    return x ** n\n")
    check(f, 0.0, 0)
    check(f, 0.0, 1)


def test_norm_at_zero():
    f = made("def f(a):\n    return np.linalg.norm(a)\n")
    assert native(f).gradient(np.zeros(3))[0].tolist() == [0.0, 0.0, 0.0]


def test_largest_of_equals_is_the_first():
    f = made("def f(a):\n    return a.max() * 2.0 + a.min()\n")
    assert native(f).gradient(np.array([1.0, 3.0, 3.0, 1.0]))[0].tolist() == [1.0, 2.0, 0.0, 0.0]


def test_infinite_and_nan_values_go_through():
    for text, x in (("math.exp(x)", 1000.0), ("math.log(x)", 0.0), ("1.0 / x", 0.0), ("math.sqrt(x)", -1.0)):
        f = native(unary(text))
        with np.errstate(all="ignore"):
            expected = eval(text.replace("math.", "np."), {"np": np, "x": np.float64(x)})
        np.testing.assert_equal(f(x), float(expected))


# NumPy's functions and methods, and Python's own.

VECTOR, OTHER = np.array([0.7, -1.2, 2.3, 0.4]), np.array([1.5, 0.3, -0.8, 1.1])
SQUARE = np.array([[1.2, -0.4, 0.3], [0.5, 1.7, -0.2], [-0.1, 0.6, 2.1]])
WIDE = np.array([[0.2, 1.4, -0.7, 0.1], [0.9, -0.3, 0.5, 1.6]])

CALLS = {
    np.sum: ["np.sum(a)", "np.sum(m, axis=0) @ np.sum(m, axis=1)", "np.sum(m)", "np.sum(w, axis=-1)[0]"],
    np.mean: ["np.mean(a)", "np.mean(m, axis=0)[1]", "np.mean(w, axis=1)[1]", "np.mean(w)"],
    np.max: ["np.max(a)", "np.max(w)"],
    np.amax: ["np.amax(w)"],
    np.min: ["np.min(a)", "np.min(w)"],
    np.amin: ["np.amin(w)"],
    np.argmax: ["a[np.argmax(a)]"],
    np.argmin: ["a[np.argmin(a)]"],
    np.linalg.norm: ["np.linalg.norm(a)", "np.linalg.norm(w)"],
    np.zeros: ["np.zeros(4) + a", "np.zeros((2, 4)) * w"],
    np.empty: ["np.empty(0).sum() + x"],
    np.ones: ["np.ones(4) * a", "np.ones((2, 4)) * w"],
    np.full: ["np.full(4, x) * a", "np.full((2, 4), x) * w"],
    np.zeros_like: ["np.zeros_like(a) + a"],
    np.ones_like: ["np.ones_like(w) * w"],
    np.array: ["np.array((x, y, x * y)) @ m[0]", "np.array(((x, 1.0), (2.0, y))) @ a[:2]", "np.array(a) * a"],
    np.stack: ["np.stack((a, b))[1] @ np.stack((a, b))[0]"],
    np.concatenate: ["np.concatenate((a, b)) * 2.0", "np.concatenate((w, w)) * w[0]"],
    np.transpose: ["np.transpose(m) @ m"],
    np.outer: ["np.outer(a, b) * 2.0"],
    np.dot: ["np.dot(a, b)", "np.dot(w, a)", "np.dot(m, m)"],
    np.matmul: ["np.matmul(m, m)", "np.matmul(w, a)"],
    operator.matmul: ["operator.matmul(a, b)"],
    np.square: ["np.square(a)", "np.square(x)"],
    np.copy: ["np.copy(a) * a"],
    np.linalg.solve: ["np.linalg.solve(m, a[:3])", "np.linalg.solve(m, m.T)"],
    np.linalg.inv: ["np.linalg.inv(m)"],
    np.linalg.det: ["np.linalg.det(m)"],
    np.all: ["np.all(a > 0.0) * x"],
    np.any: ["np.any(a > 0.0) * x"],
    float: ["float(n) * x", "float(x)"],
    np.float64: ["np.float64(n) * x"],
    int: ["int(x * 10.0) * x"],
    np.int64: ["np.int64(x * 10.0) * x"],
    math.trunc: ["math.trunc(x * 10.0) * x"],
    math.floor: ["math.floor(x * 10.0) * x"],
    math.ceil: ["math.ceil(x * 10.0) * x"],
    round: ["round(x * 10.0) * x"],
    bool: ["bool(n) * x"],
    math.degrees: ["math.degrees(x)"],
    np.degrees: ["np.degrees(a)"],
    math.radians: ["math.radians(x)"],
    np.radians: ["np.radians(a)"],
    operator.not_: ["operator.not_(x > 0.0) * x + y"],
    divmod: ["divmod(n, 2)[0] * x + divmod(n, 2)[1]"],
    operator.getitem: ["operator.getitem(a, 2) * operator.getitem((x, y), 1)"],
    len: ["len(a) * x + len((x, y)) + len(m) + len(range(n))"],
    range: ["sum(range(4)) * x"],
    reversed: ["reversed((x, y, 2.0))[0] * x"],
    zip: ["zip((x, y), (y, 2.0))[1][0] * x"],
    enumerate: ["enumerate((x, y))[1][1] * x"],
    tuple: ["tuple((x, y))[1] * x"],
    list: ["list((x, y))[0]"],
    sum: ["sum((x, y, x * y))", "sum(a)", "sum((x, y), 1.0)", "sum(a, x)"],
    math.prod: ["math.prod((x, y, x))"],
    max: ["max(x, y, 0.1)", "max((x, y))", "max(a)"],
    min: ["min(x, y, 0.1)", "min((x, y))", "min(a)"],
    isinstance: ["x if isinstance(x, float) else y", "x if isinstance(n, float) else y"],
    map: ["tuple(map(math.sin, (x, y)))[1]"],
    all: ["all((x > 0.0, y > 0.0)) * x + y"],
    any: ["any((x > 0.0, y > 0.0)) * x + y"],
    builtins.pow: ["pow(y, 3) * x"],
    math.pow: ["math.pow(y, x)"],
    operator.pow: ["operator.pow(y, 2)"],
    np.power: ["np.power(b * b, 1.5)"],
    operator.add: ["operator.add(x, y)"],
    np.add: ["np.add(a, b)"],
    operator.sub: ["operator.sub(x, y)"],
    np.subtract: ["np.subtract(a, b)"],
    operator.mul: ["operator.mul(x, y)"],
    np.multiply: ["np.multiply(a, b)"],
    operator.neg: ["operator.neg(x)"],
    np.negative: ["np.negative(a)"],
    operator.truediv: ["operator.truediv(x, y)"],
    np.divide: ["np.divide(a, b)"],
    np.true_divide: ["np.true_divide(a, x)"],
    operator.mod: ["operator.mod(x, y)"],
    np.mod: ["np.mod(a, 0.37)"],
    operator.floordiv: ["operator.floordiv(x, y) * x"],
    np.floor_divide: ["np.floor_divide(a, 0.37) * a"],
    abs: ["abs(x)", "abs(a)"],
    operator.abs: ["operator.abs(x)"],
    math.fabs: ["math.fabs(x)"],
}
METHOD_CALLS = {
    "sum": ["a.sum()", "m.sum(axis=0)", "m.sum(1)", "w.sum(axis=-2)"],
    "mean": ["a.mean()", "w.mean(axis=1)", "w.mean(0)"],
    "max": ["a.max()", "w.max()"],
    "min": ["a.min()", "w.min()"],
    "argmax": ["a[a.argmax()]"],
    "argmin": ["a[a.argmin()]"],
    "dot": ["a.dot(b)", "m.dot(m)"],
    "all": ["(a > 0.0).all() * x"],
    "any": ["(a > 0.0).any() * x"],
    "copy": ["a.copy() * a"],
    "transpose": ["m.transpose() @ m"],
    "item": ["a[1:2].item() * x"],
    "astype": ["a.astype(np.float64) * a"],
    "fill": [],
    "ravel": ["w.ravel() * 2.0", "w.T.ravel() * 2.0"],
    "flatten": ["w.flatten() * 2.0"],
    "reshape": ["w.reshape(4, 2) * 2.0"],
    "cumsum": ["a.cumsum() * b"],
    "var": ["a.var()"],
    "std": ["a.std()"],
    "diagonal": ["m.diagonal() * x"],
    "trace": ["m.trace() * x"],
    "clip": ["a.clip(-0.5, 1.0)"],
    "argsort": ["a.argsort()[0] * x"],
}


def with_all(expression):
    return made(f"def f(x, y, n, a, b, m, w):\n    return {expression}\n")


ALL = (0.43, 1.27, 3, VECTOR, OTHER, SQUARE, WIDE)
CASES = [text for texts in (*CALLS.values(), *METHOD_CALLS.values()) for text in texts]


@pytest.mark.parametrize("text", CASES)
def test_functions_and_methods(text):
    f = with_all(text)
    python = text
    for name in ("reversed", "zip", "enumerate"):  # tuples to native code
        if text.startswith(f"{name}("):
            python = f"tuple({text.split(')[')[0]}))[{text.split(')[', 1)[1]}"
    if python != text:
        f = with_all(python)
    check(f, *ALL, second="linalg" not in text, rtol=1e-6)


def test_second_derivatives_of_linear_algebra():
    for text in (
        "np.linalg.solve(m, a[:3])",
        "np.linalg.inv(m)",
        "np.linalg.det(m)",
        "np.linalg.norm(w)",
        "np.linalg.solve(m, m.T)",
    ):
        check(with_all(text), *ALL, rtol=1e-5)


def spelled(function):
    """Whether a function's name occurs in what is tested."""
    name = getattr(function, "__name__", "")
    names = {
        part
        for text in [
            *CASES,
            *(t for pair in UNARY.values() for t in pair[:2] if t),
            *(t for pair in BINARY.values() for t in pair if t),
        ]
        for part in _words(text)
    }
    return name in names


def _words(text):
    for node in ast.walk(ast.parse(text, mode="eval")):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


ELSEWHERE = {
    "ignore",
    "checkpointed",
    "hook",
    "reduce",
    "arange",
    "eye",
    "print",
    "identity",
    "float32",
    "empty_like",
    "ascontiguousarray",
    "asarray",
    *("reshape", "flip", "vstack", "hstack", "column_stack", "diff", "diag", "inner", "vdot", "linspace"),
    *("logical_and", "logical_or", "logical_not"),  # test_native_shapes.py
    *("take", "sort", "flatnonzero", "at"),  # test_native_gather.py
    *("nullcontext", "suppress", "errstate"),  # test_native_exceptions.py
}  # features, and what came later
ERRORS = {f for f in FUNCTIONS if isinstance(f, type) and issubclass(f, BaseException)}
ALIASES = {
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "equal",
    "not_equal",
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
    "absolute",
    "remainder",
    "divide",
    "acos",
    "asin",
    "atan",
    "atan2",
    "acosh",
    "asinh",
    "atanh",
    "pow",
}


def test_every_function_is_tested():
    missing = [
        getattr(f, "__name__", f)
        for f in FUNCTIONS
        if f not in ERRORS and not spelled(f) and getattr(f, "__name__", "") not in ELSEWHERE | ALIASES
    ]
    assert missing == []


def test_every_method_is_tested():
    assert set(METHODS) <= set(METHOD_CALLS)


@pytest.mark.parametrize("name", ["less", "less_equal", "greater", "greater_equal", "equal", "not_equal"])
def test_comparisons_of_numpy(name):
    check(with_all(f"(np.{name}(a, b) * a).sum() + np.{name}(x, y) * x"), *ALL, second=False)


@pytest.mark.parametrize("name", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_comparisons_of_operator(name):
    check(with_all(f"operator.{name}(x, y) * x + y"), *ALL, second=False)


# Widths.


def test_float32():
    """float32 stays float32, in the value and in every gradient."""
    a, x = VECTOR.astype(np.float32), np.float32(0.6)
    for text in (
        "(a * x + 1.0).sum()",
        "(np.sin(a) * 2.0 + x ** 2).sum()",
        "np.linalg.norm(a) * x",
        "(a @ a) / 3 + x",
        "a.mean() * max(x, 0.1) + a.max()",
    ):
        f = made(f"def f(a, x):\n    return {text}\n")
        op, values, _ = operation(f, a, x)
        (y,) = plain(op)([values[0], np.float32(x)])
        back = plain(op.reverse)([values[0], np.float32(x), np.float32(1.0)])
        assert [str(t) for t in op.results] == ["float32"], text
        assert [str(t) for t in op.reverse.results] == ["float32", "float32[:]", "float32"], text
        assert back[1].dtype == np.float32, text
        wide = f(a.astype(float), float(x))
        assert y == pytest.approx(wide, rel=1e-5)
        exact = plain(operation(f, a.astype(float), float(x))[0].reverse)([a.astype(float), float(x), 1.0])
        np.testing.assert_allclose(back[1], exact[1], rtol=1e-4, atol=1e-6)
        assert back[2] == pytest.approx(exact[2], rel=1e-4)


def test_float32_compiled():
    @native
    def f(a, x):
        b = np.zeros(len(a), np.float32)
        for i in range(len(a)):
            b[i] = a[i] * x + 0.5
        return b * 2.0

    a = VECTOR.astype(np.float32)
    assert f(a, np.float32(0.5)).dtype == np.float32
    g = native(lambda a: (a * a).sum())
    value, (slope_,) = g.withgradient(a)
    assert slope_.dtype == np.float32
    np.testing.assert_allclose(slope_, 2 * a, rtol=1e-6)
    assert value == pytest.approx(float((a * a).sum()), rel=1e-6)


def test_float32_and_float64_together():
    f = made("def f(a, b):\n    return (a * b).sum()\n")
    op, _, _ = operation(f, VECTOR.astype(np.float32), OTHER)
    assert [str(t) for t in op.results] == ["float64"]
    assert [str(t) for t in op.reverse.results] == ["float64", "float32[:]", "float64[:]"]


def test_float32_is_kept_by_explicit_conversion():
    f = made("def f(x):\n    return np.float32(x) * 2.0\n")
    op, values, _ = operation(f, 0.3)
    assert str(op.results[0]) == "float32"
    assert plain(op.reverse)([*values, np.float32(1.0)])[1] == pytest.approx(2.0)
    assert str(op.reverse.results[1]) == "float64"


# Canaries: a wrong rule makes the checks fail.

CANARIES = {
    "sin": ("math.sin(x)", ("g * cos(a) * 1.000001",)),
    "mul": ("x * math.sin(x)", ("g * b", "g * b")),
    "div": ("x / (1.0 + x)", ("g / b", "g * (y / b)")),
    "exp": ("math.exp(x)", ("g",)),
    "sqrt": ("math.sqrt(x)", ("g / y",)),
    "tanh": ("math.tanh(x)", ("g * (1.0 - y)",)),
    "sub": ("1.0 - math.sin(x)", ("g", "g")),
    "max": ("max(x * x, 0.1)", ("where(b > a, g, 0.0)", "where(b > a, 0.0, g)")),
    "log": ("math.log(x)", (None,)),
}


@pytest.mark.parametrize("name", CANARIES)
def test_canary_a_wrong_rule_is_found(name, monkeypatch):
    text, wrong = CANARIES[name]
    check(unary(text), 0.7)
    monkeypatch.setitem(_ops.DERIVATIVES, name, wrong)
    with pytest.raises(Mismatch, match=r"^(reverse|forward)"):
        check(unary(text), 0.7)


def test_canary_a_rule_that_is_wrong_in_the_second_derivative_only(monkeypatch):
    """cos' = -sin is used by the second derivative of sin alone."""
    monkeypatch.setitem(_ops.DERIVATIVES, "cos", ("g * sin(a)",))
    check(unary("math.sin(x)"), 0.7, second=False)
    with pytest.raises(Mismatch, match=r"of (reverse|forward)"):
        check(unary("math.sin(x)"), 0.7)


def test_canary_a_wrong_value_is_found(monkeypatch):
    monkeypatch.setitem(_ops.SPELLING, "sub", "{0} + {1}")
    with pytest.raises(Mismatch, match=r"^value"):
        check(unary("x - 0.3 * x"), 0.7)


def test_canary_the_comparison_with_torch(monkeypatch):
    def f(x):
        return x * math.sin(x)

    check(f, 0.7, torch_twin=True)
    monkeypatch.setattr("native_check.torch_gradient", lambda *args: np.array([0.7]))
    with pytest.raises(Mismatch, match="torch"):
        check(f, 0.7, torch_twin=True)


def test_canary_the_comparison_with_machine_code(monkeypatch):
    f = unary("x * 3.25 - 1.0")
    check(f, 0.7, compiled=True)
    monkeypatch.setattr(
        "torchflux_zygote._native._operation.compiled",
        lambda text, name: lambda *args: tuple(0.0 for _ in range(9)) if "reverse" in name else f(*args),
    )
    with pytest.raises(Mismatch, match="compiled"):
        check(unary("x * 3.25 - 1.0"), 0.7, compiled=True)


def test_the_difference_quotient_itself():
    """Against closed forms."""
    for f, df in ((np.sin, np.cos), (np.exp, np.exp), (lambda t: t**5, lambda t: 5 * t**4)):
        np.testing.assert_allclose(slope(f, np.array([0.7]), np.array([1.0])), df(np.array([0.7])), rtol=1e-10)
