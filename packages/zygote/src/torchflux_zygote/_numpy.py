"""Rules for NumPy: operators, constants, numbers; and what becomes of a function without a rule.

The element-wise functions are in `_elementwise`, what can be said in other functions in `_numpy_functions`.
"""

import inspect
import operator
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from . import _numpy_arrays, _numpy_functions, _numpy_linalg, _numpy_shapes  # noqa: F401 - their rules, which come first
from ._forward_rules import spread
from ._kinds import fit, inert
from ._pull import LIBRARIES, library, pull_function, without_rule
from ._refuse import Refused, describe
from ._registry import FORWARD_LIBRARIES, PULL, PUSH, SUBSTITUTES, _constant, constant, finish, none
from ._torch import same_as
from ._unruled import no_rule, plain_numbers

__all__: list[str] = []

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]
Array = np.ndarray

same_as(operator.add, np.add)
same_as(operator.sub, np.subtract)
same_as(operator.mul, np.multiply)
same_as(operator.truediv, np.divide)
same_as(operator.pow, np.power, np.float_power)
same_as(operator.matmul, np.matmul)
same_as(operator.mod, np.mod)
same_as(operator.floordiv, np.floor_divide)
for _f, _op in (
    *((np.add, operator.add), (np.subtract, operator.sub), (np.multiply, operator.mul), (np.divide, operator.truediv)),
    *((np.power, operator.pow), (np.float_power, operator.pow), (np.matmul, operator.matmul), (np.mod, operator.mod)),
    *((np.floor_divide, operator.floordiv), (np.abs, abs), (np.negative, operator.neg)),
):
    PUSH[_f] = PUSH[_op]
PULL[np.abs] = PULL[abs]


def _of_numpy(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pulled:
    """A NumPy function without a rule."""
    if (inert(args) and inert(tuple(kwargs.values()))) or _without_numbers(args, kwargs):
        return f(*args, **kwargs), none(len(args) + len(kwargs))
    return without_rule(f, args, kwargs)


def _without_numbers(args: Any, kwargs: Any) -> bool:
    return _numberless((*args, *kwargs.values()))


def _numberless(x: Any) -> bool:
    return all(_numberless(part) if isinstance(part, list | tuple | deque) else inert(part) for part in x)


LIBRARIES["numpy"] = _of_numpy


def _forward_of_numpy(f: Any, args: Any) -> Any:
    from ._push import _push_constant, _push_unruled

    if _without_numbers(args, {}):
        return partial(_push_constant, f)
    if plain_numbers(args):
        return partial(_push_unruled, f)
    raise no_rule(f)


FORWARD_LIBRARIES["numpy"] = _forward_of_numpy


constant(
    *(np.zeros_like, np.ones_like, np.empty_like, np.argmax, np.argmin, np.argsort, np.shape, np.ndim, np.size, np.any),
    *(np.all, np.allclose, np.isclose, np.array_equal, np.nonzero, np.count_nonzero, np.unravel_index, np.result_type),
    *(Array.argmax, Array.argmin, Array.argsort, Array.any, Array.all, Array.nonzero, Array.__len__, np.searchsorted),
    *(np.iscomplexobj, np.round, Array.round, np.equal, np.not_equal, np.less, np.less_equal, np.greater),
    *(np.greater_equal, np.logical_and, np.logical_or, np.logical_not, np.isscalar),
)


# Numbers of NumPy's.


def _number(kind: Any, x: Any = 0.0) -> Pulled:
    y = kind(x)
    return y, partial(finish, lambda ȳ: (fit(ȳ, x),), (x,), y)


def _push_number(kind: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = made(kind, *args)
    return y, None if dots[0] is None else spread(dots[0], y)


def made(kind: Any, *args: Any) -> Any:
    return kind(*args)


constant(made)
for _kind in (np.float64, np.float32):
    PULL[_kind], PUSH[_kind] = partial(_number, _kind), partial(_push_number, _kind)


# Lists of numbers: NumPy makes arrays of them, but a list's cotangents go another way than an array's.


def _no_lists(f: Any, *args: Any) -> None:
    """Refuses lists and tuples of numbers with derivatives."""
    for x in args:
        if isinstance(x, list | tuple | deque) and not _numberless(x):
            raise Refused(f"{describe(f)} of a {type(x).__name__}", "make an array of it first, by np.array(...)")


constant(_no_lists)


def _pull_arrays(f: Any, known: Any, *args: Any, **kwargs: Any) -> Pulled:
    _no_lists(f, *args, *kwargs.values())
    return _pull_with_options(f, known, *args, **kwargs)


def check_options(f: Any, error: TypeError, args: Any, kwargs: Any) -> None:
    """Refuses the options of a function that its rule, which raised an error, doesn't know."""
    if "argument" in str(error):
        f(*args, **kwargs)  # for its own error
        raise with_options(f) from error


def with_options(f: Any) -> Refused:
    return Refused(f"{describe(f)} with these options", "leave them out, and apply them by separate functions")


@cache
def before_out(f: Any) -> int:
    """How many arguments a function takes by position before `out`; a method has those of the function of its name."""
    try:
        parameters = inspect.signature(getattr(np, f.__name__, f)).parameters
    except (TypeError, ValueError):  # it has no signature
        return 99
    by_position = "out" in parameters and parameters["out"].kind is not inspect.Parameter.KEYWORD_ONLY
    return list(parameters).index("out") if by_position else 99


constant(check_options, with_options, before_out)


def _pull_with_options(f: Any, known: Any, *args: Any, **kwargs: Any) -> Pulled:
    """What is known of a function, if that knows of its options, too."""
    try:
        return known(*args, **kwargs)
    except TypeError as error:
        check_options(f, error, args, kwargs)
        raise


def _pull_substitute(f: Any, *args: Any, **kwargs: Any) -> Pulled:
    return pull_function(SUBSTITUTES[f], args, kwargs)


def _push_substitute(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    return push(substitute_of(f), args, dots, names)


def substitute_of(f: Any) -> Any:
    return SUBSTITUTES[f]


constant(substitute_of)
for _f in [f for f in SUBSTITUTES if (library(f) or library(type(f))) == "numpy"]:
    PULL[_f], PUSH[_f] = partial(_pull_substitute, _f), partial(_push_substitute, _f)


def _push_arrays(f: Any, known: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    _no_lists(f, *args)
    return _push_with_options(f, known, push, args, dots, names)


def _push_with_options(f: Any, known: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    if "out" in names or "initial" in names or "where" in names or len(args) - len(names) > before_out(f):
        raise with_options(f)
    try:
        return known(push, args, dots, names)
    except TypeError as error:
        count = len(args) - len(names)
        check_options(f, error, args[:count], {names[i]: args[count + i] for i in range(len(names))})
        raise


_OF_LISTS: tuple[Any, ...] = (
    *(np.array, np.asarray, np.asanyarray, np.concatenate, np.stack, np.hstack, np.vstack, np.column_stack, np.dstack),
    *(np.linalg.multi_dot, np.select, np.interp),
)
for _f in [f for f in PULL if (library(f) or library(type(f))) == "numpy" and f not in _OF_LISTS]:
    if getattr(PULL[_f], "func", None) is not _constant:
        PULL[_f] = partial(_pull_arrays, _f, PULL[_f])
        if _f in PUSH:
            PUSH[_f] = partial(_push_arrays, _f, PUSH[_f])
for _f in _OF_LISTS:
    PULL[_f], PUSH[_f] = partial(_pull_with_options, _f, PULL[_f]), partial(_push_with_options, _f, PUSH[_f])
