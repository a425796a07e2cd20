"""The operations: how each is written in Python, and its derivative.

A derivative is a formula for every operand, linear in `g`: read forwards, `g` is the operand's tangent and the
formula its share of the result's tangent; read backwards, `g` is the result's cotangent and the formula the operand's
share. `a`, `b`, `c` are the operands, `y` the result. One table serves both modes, scalars and arrays.
"""

import ast
from functools import cache

from ._ir import BOOL, F32, F64, INT, WEAK, Array, Scalar, Type, Value

__all__ = ["COSTLY", "DERIVATIVES", "SPELLING", "elementwise_type", "formula", "join"]

SPELLING = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}", "neg": "-{0}",
    "pow": "{0} ** {1}", "mod": "{0} % {1}", "floordiv": "{0} // {1}",
    "lt": "{0} < {1}", "le": "{0} <= {1}", "gt": "{0} > {1}", "ge": "{0} >= {1}",
    "eq": "{0} == {1}", "ne": "{0} != {1}", "not": "not {0}", "and": "{0} and {1}", "or": "{0} or {1}",
    "bitand": "{0} & {1}", "bitor": "{0} | {1}", "bitxor": "{0} ^ {1}", "invert": "~{0}",
    "lshift": "{0} << {1}", "rshift": "{0} >> {1}",
    "max": "max({0}, {1})", "min": "min({0}, {1})", "where": "{1} if {0} else {2}",
    "float": "float({0})", "int": "int({0})", "bool": "bool({0})", "float32": "np.float32({0})",
    "constant": "{0}",
}  # fmt: skip
"""How an operation on scalars is written; what isn't here is a function of `math`, or of `np` for arrays."""

DERIVATIVES: dict[str, tuple[str | None, ...]] = {
    "add": ("g", "g"),
    "sub": ("g", "-g"),
    "mul": ("g * b", "g * a"),
    "div": ("g / b", "-g * (y / b)"),
    "neg": ("-g",),
    "pow": (
        "g * (b * where(b == 0.0, 1.0, a) ** (b - 1.0))",
        "g * where(a == 0.0, 0.0, y * log(where(a == 0.0, 1.0, a)))",
    ),
    "mod": ("g", "-g * floor(a / b)"),
    "floordiv": (None, None),
    "abs": ("g * sign(a)",),
    "max": ("where(b > a, 0.0, g)", "where(b > a, g, 0.0)"),  # of equals Python takes the first
    "min": ("where(b < a, 0.0, g)", "where(b < a, g, 0.0)"),
    "maximum": ("where(a > b, g, where(a == b, 0.5 * g, 0.0))", "where(b > a, g, where(a == b, 0.5 * g, 0.0))"),
    "minimum": ("where(a < b, g, where(a == b, 0.5 * g, 0.0))", "where(b < a, g, where(a == b, 0.5 * g, 0.0))"),
    "where": (None, "where(a, g, 0.0)", "where(a, 0.0, g)"),
    "float": ("g",),
    "float32": ("g",),
    "sqrt": ("g * (0.5 / y)",),
    # a square root, with slope 0 at 0 as in PyTorch
    "norm": ("where(y == 0.0, 0.0, g * (0.5 / where(y == 0.0, 1.0, y)))",),
    "cbrt": ("g * (1.0 / (3.0 * y * y))",),
    "exp": ("g * y",),
    "exp2": (f"g * (y * {0.6931471805599453})",),
    "expm1": ("g * (y + 1.0)",),
    "log": ("g / a",),
    "log2": (f"g / (a * {0.6931471805599453})",),
    "log10": (f"g / (a * {2.302585092994046})",),
    "log1p": ("g / (1.0 + a)",),
    "sin": ("g * cos(a)",),
    "cos": ("-g * sin(a)",),
    "tan": ("g * (1.0 + y * y)",),
    "asin": ("g / sqrt(1.0 - a * a)",),
    "acos": ("-g / sqrt(1.0 - a * a)",),
    "atan": ("g / (1.0 + a * a)",),
    "atan2": ("g * (b / (a * a + b * b))", "-g * (a / (a * a + b * b))"),
    "hypot": ("g * (a / y)", "g * (b / y)"),
    "sinh": ("g * cosh(a)",),
    "cosh": ("g * sinh(a)",),
    "tanh": ("g * (1.0 - y * y)",),
    "asinh": ("g / sqrt(a * a + 1.0)",),
    "acosh": ("g / sqrt(a * a - 1.0)",),
    "atanh": ("g / (1.0 - a * a)",),
    "erf": (f"g * ({1.1283791670955126} * exp(-(a * a)))",),
    "erfc": (f"-g * ({1.1283791670955126} * exp(-(a * a)))",),
    "copysign": ("g * (sign(a) * sign(copysign(1.0, b)))", None),
    "constant": (None,),
    "sign": (None,),
    "floor": (None,),
    "ceil": (None,),
    "trunc": (None,),
    "round": (None,),
    "lt": (None, None), "le": (None, None), "gt": (None, None), "ge": (None, None),
    "eq": (None, None), "ne": (None, None),
    "isnan": (None,), "isinf": (None,), "isfinite": (None,),
    "not": (None,), "and": (None, None), "or": (None, None), "bool": (None,), "int": (None,),
    "bitand": (None, None), "bitor": (None, None), "bitxor": (None, None), "invert": (None,),
    "lshift": (None, None), "rshift": (None, None),
}  # fmt: skip
"""The derivatives of the element-wise operations; `None` where nothing flows. Standard calculus."""

BOOLEAN = {"lt", "le", "gt", "ge", "eq", "ne", "not", "and", "or", "bool", "isnan", "isinf", "isfinite"}
INTEGRAL = {
    "add", "sub", "mul", "neg", "pow", "mod", "floordiv", "abs", "max", "min", "maximum", "minimum", "where", "sign",
    "bitand", "bitor", "bitxor", "invert", "lshift", "rshift",
}  # fmt: skip
TRUTHS = {"bitand", "bitor", "bitxor"}
"""What gives truth values of truth values."""
COSTLY = {
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "atan2",
    "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "cbrt", "hypot", "pow", "mod", "sqrt", "div",
    "norm",
}  # fmt: skip
"""What is kept for the way back rather than computed again."""


def join(a: Type, b: Type) -> Type:
    """The type that holds both: numbers widen, literals give way, arrays broadcast."""
    if isinstance(a, Array) or isinstance(b, Array):
        x, y = (t.dtype if isinstance(t, Array) else t for t in (a, b))
        if isinstance(a, Array) != isinstance(b, Array):  # a scalar takes an array's width, as in NumPy
            inner, scalar = (x, y) if isinstance(a, Array) else (y, x)
            dtype = inner if inner.kind == scalar.kind or (inner.kind == "f") else join(inner, scalar)
        else:
            dtype = join(x, y)
        assert isinstance(dtype, Scalar)
        return Array(_strong(dtype), max(t.ndim for t in (a, b) if isinstance(t, Array)))
    kind = max(a.kind, b.kind, key="bif".index)
    if kind != "f":
        return BOOL if kind == "b" else INT
    floats = [t for t in (a, b) if t.kind == "f"]
    strong = [t for t in floats if not t.weak]
    return WEAK if not strong else F32 if all(t.bits == 32 for t in strong) else F64


def _strong(t: Scalar) -> Scalar:
    """The type of a number in an array."""
    return F64 if t.weak else t


def elementwise_type(name: str, args: tuple[Value, ...]) -> Type:
    """The type of an element-wise operation's result."""
    types = [arg.type for arg in (args[1:] if name == "where" else args)]
    whole: Type = types[0]
    for t in types[1:]:
        whole = join(whole, t)
    if name == "where" and isinstance(args[0].type, Array):
        ndim = max(args[0].type.ndim, whole.ndim if isinstance(whole, Array) else 0)
        whole = Array(_strong(whole.dtype if isinstance(whole, Array) else whole), ndim)
    dtype = whole.dtype if isinstance(whole, Array) else whole
    if name in BOOLEAN or (dtype == BOOL and (name in TRUTHS or (name == "invert" and isinstance(whole, Array)))):
        dtype = BOOL
    elif name == "int":
        dtype = INT
    elif name == "float32":
        dtype = F32
    elif name == "float":
        dtype = WEAK if dtype.kind != "f" else dtype
    elif dtype.kind != "f":
        dtype = INT if name in INTEGRAL else WEAK
    return Array(_strong(dtype), whole.ndim) if isinstance(whole, Array) else dtype


@cache
def formula(text: str) -> ast.expr:
    """A derivative's formula, parsed."""
    return ast.parse(text, mode="eval").body
