"""The table of the functions that native code knows, by the function itself, and the element-wise ones."""

import builtins
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ._ops import DERIVATIVES

__all__ = ["FUNCTIONS", "METHODS", "Entry", "Rule", "known", "method", "table"]

Entry = Any
Rule = Callable[..., Entry]
FUNCTIONS: dict[Any, Rule] = {}
METHODS: dict[str, Rule] = {}


def known(*functions: Any) -> Callable[[Rule], Rule]:
    """Enters a rule for some functions."""

    def enter(rule: Rule) -> Rule:
        for f in functions:
            FUNCTIONS[f] = rule
        return rule

    return enter


def method(*names: str) -> Callable[[Rule], Rule]:
    """Enters a rule for some methods of arrays."""

    def enter(rule: Rule) -> Rule:
        for name in names:
            METHODS[name] = rule
        return rule

    return enter


def table() -> list[str]:
    """The names of what native code knows."""
    return sorted({f"{getattr(f, '__module__', '') or 'builtins'}.{getattr(f, '__name__', f)}" for f in FUNCTIONS})


def _elementwise(name: str) -> Rule:
    """The rule of an element-wise operation, of as many arguments as it has derivatives."""
    rules: dict[int, Rule] = {
        1: lambda r, a, /: r.elementwise(name, a),
        2: lambda r, a, b, /: r.elementwise(name, a, b),
        3: lambda r, a, b, c, /: r.elementwise(name, a, b, c),
    }
    return rules[len(DERIVATIVES[name])]


SAME = [
    "sqrt",
    "cbrt",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "hypot",
    "copysign",
    "floor",
    "ceil",
    "trunc",
    "isnan",
    "isinf",
    "isfinite",
]
for _name in SAME:
    for _module in (math, np):
        if hasattr(_module, _name):
            FUNCTIONS[getattr(_module, _name)] = _elementwise(_name)
for _name, _other in {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2",
    "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
}.items():  # fmt: skip
    FUNCTIONS[getattr(math, _name)] = FUNCTIONS[getattr(np, _other)] = _elementwise(_name)
for _name in ("erf", "erfc"):
    FUNCTIONS[getattr(math, _name)] = _elementwise(_name)
for _name, _functions in {
    "add": (operator.add, np.add), "sub": (operator.sub, np.subtract), "mul": (operator.mul, np.multiply),
    "neg": (operator.neg, np.negative), "div": (operator.truediv, np.divide, np.true_divide),
    "pow": (operator.pow, np.power, math.pow, builtins.pow), "abs": (abs, operator.abs, np.abs, math.fabs),
    "mod": (operator.mod, np.mod), "floordiv": (operator.floordiv, np.floor_divide),
    "maximum": (np.maximum,), "minimum": (np.minimum,), "sign": (np.sign,), "where": (np.where,),
    "lt": (operator.lt, np.less), "le": (operator.le, np.less_equal), "gt": (operator.gt, np.greater),
    "ge": (operator.ge, np.greater_equal), "eq": (operator.eq, np.equal), "ne": (operator.ne, np.not_equal),
}.items():  # fmt: skip
    for _f in _functions:
        FUNCTIONS[_f] = _elementwise(_name)
assert all(name in DERIVATIVES for name in (*SAME, "erf", "maximum"))
