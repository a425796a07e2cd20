"""Functions of the standard library that are said in other functions, and are transformed in their place."""

import cmath
import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

from ._cotangent import value
from ._dicts import del_key, get_key, set_key
from ._formulas import BINARY
from ._forward_containers import _from_dict, _from_list
from ._kinds import fit
from ._lists import del_item, get_item, set_item
from ._pull import KINDS, pull_function
from ._push import _KINDS
from ._refuse import Refused
from ._registry import NONES, PULL, PUSH, constant, finish, none, pushes, raw, substitute

__all__: list[str] = []

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]


# math and cmath.


def first_of(f: Any, slope: Any) -> None:
    """Registers a function of a number that returns a number with a slope, and a whole number."""

    @raw(f)
    def pulled(x: Any) -> Pulled:
        y = f(x)
        return y, lambda ȳ: NONES[1] if ȳ is None or value(ȳ)[0] is None else (fit(value(ȳ)[0] * slope(y), x),)

    @pushes(f)
    def pushed(push: Any, args: Any, dots: Any, names: Any) -> Any:
        y = f(*args)
        return y, None if dots[0] is None else (dots[0] * slope(y), None)


def unit(y: Any) -> float:
    """The slope of a fraction: x less a whole number."""
    return 1.0


def scale(y: Any) -> float:
    """The slope of a mantissa: x = m · 2ⁿ."""
    return math.ldexp(1.0, -y[1])


constant(unit, scale)
first_of(math.modf, unit)
first_of(math.frexp, scale)


@substitute(cmath.phase)
def phase(z: Any) -> Any:
    """`cmath.phase`."""
    return math.atan2(z.imag, z.real)


@substitute(cmath.polar)
def polar(z: Any) -> Any:
    """`cmath.polar`."""
    return abs(z), math.atan2(z.imag, z.real)


@substitute(cmath.rect)
def rect(r: Any, phi: Any) -> Any:
    """`cmath.rect`."""
    return complex(r * math.cos(phi), r * math.sin(phi))


# operator.


@substitute(operator.concat)
def concat(a: Any, b: Any) -> Any:
    """`operator.concat`."""
    return a + b


@substitute(operator.iconcat)
def iconcat(a: Any, b: Any) -> Any:
    """`operator.iconcat`."""
    a += b
    return a


if hasattr(operator, "call"):

    @substitute(operator.call)
    def call(f: Any, *args: Any, **options: Any) -> Any:
        """`operator.call`."""
        return f(*args, **options)


def items(names: Any, x: Any) -> Any:
    """`operator.itemgetter(*names)(x)`."""
    return x[names[0]] if len(names) == 1 else tuple([x[name] for name in names])


def attributes(names: Any, x: Any) -> Any:
    """`operator.attrgetter(*names)(x)`."""
    found = [attribute(x, name) for name in names]
    return found[0] if len(names) == 1 else tuple(found)


def attribute(x: Any, path: str) -> Any:
    for name in path.split("."):
        x = getattr(x, name)
    return x


def method(names: Any, x: Any) -> Any:
    """`operator.methodcaller(name, *args)(x)`, of what was made outside of differentiated code."""
    return getattr(x, names[0])(*names[1:])


def named_method(made: Any, x: Any) -> Any:
    """The same with keywords: `made` is a `partial` of the class, and the other arguments."""
    f, args = made
    return getattr(x, f.args[0])(*args, **f.keywords)


@substitute(operator.methodcaller)
def methodcaller(name: str, /, *args: Any, **options: Any) -> Any:
    """`operator.methodcaller`."""
    return lambda x: getattr(x, name)(*args, **options)


GETTERS: dict[type, Any] = {operator.itemgetter: items, operator.attrgetter: attributes, operator.methodcaller: method}
"""By class of C functions that are made of names: the same in Python, of these names and the argument."""


def getter_of(f: Any) -> tuple[Any, Any]:
    """What a getter does, as Python, and what it was made of."""
    made = f.__reduce__()
    return (named_method, made) if isinstance(made[0], partial) else (GETTERS[type(f)], made[1])


def _pull_getter(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pulled:
    getter, names = getter_of(f)
    y, back = pull_function(getter, (names, *args), kwargs)
    return y, lambda ȳ: back(ȳ)[1:]


def _getter_of(f: Any, args: Any) -> Any:
    def pushed(push: Any, args: Any, dots: Any, names: Any) -> Any:
        getter, made = getter_of(f)
        return push(getter, (made, *args), (None, *dots))

    return pushed


constant(getter_of, operator.itemgetter, operator.attrgetter)
KINDS.insert(0, (tuple(GETTERS), _pull_getter))
_KINDS.insert(0, (tuple(GETTERS), _getter_of))


# Methods of Python's own classes by their names: `x.__add__(y)`, `super().__getitem__(i)`.


def _pull_dunder(f: Any, op: Any, swapped: bool, x: Any, other: Any) -> Pulled:
    y = f(x, other)
    if y is NotImplemented:
        return y, none(2)
    a, b = (other, x) if swapped else (x, other)
    back = partial(finish, partial(BINARY[op][1], a, b, y), (a, b), y)
    return y, (lambda ȳ: back(ȳ)[::-1]) if swapped else back


def _push_dunder(f: Any, op: Any, swapped: bool, push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = f(*args)
    if y is NotImplemented:
        return y, None
    a, b = args[::-1] if swapped else args
    return push(op, (float(a), b), dots[::-1] if swapped else dots)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    for _prefix in ("", "r"):
        _f, _op = getattr(float, f"__{_prefix}{_name}__"), getattr(operator, _name)
        PULL[_f] = partial(_pull_dunder, _f, _op, bool(_prefix))
        PUSH[_f] = partial(_push_dunder, _f, _op, bool(_prefix))
for _name, _op in {"neg": operator.neg, "pos": operator.pos, "abs": abs, "float": float, "round": round}.items():
    _f = getattr(float, f"__{_name}__")
    PULL[_f], PUSH[_f] = PULL[_op], PUSH[_op]
constant(
    float.__int__, float.__trunc__, float.__floor__, float.__ceil__, float.__bool__, float.__hash__, float.__repr__
)
constant(*(getattr(float, f"__{name}__") for name in ("eq", "ne", "lt", "le", "gt", "ge", "str", "format")))


@pushes(list.__getitem__, tuple.__getitem__, dict.__getitem__)
def _push_get(push: Any, args: Any, dots: Any, names: Any) -> Any:
    x, i = args
    if isinstance(x, tuple):
        return x[i], None if dots[0] is None else dots[0][i]
    return (_from_list if isinstance(x, list) else _from_dict)(push, x, i)


PULL[list.__getitem__] = PULL[tuple.__getitem__] = get_item
PULL[list.__setitem__] = set_item
PULL[list.__delitem__] = del_item
PULL[dict.__getitem__], PULL[dict.__setitem__], PULL[dict.__delitem__] = get_key, set_key, del_key


# What can't be transformed, as it looks at the function that calls it.


def _looks_outside(f: Any) -> None:
    @raw(f)
    def pulled(*args: Any, **kwargs: Any) -> Pulled:
        raise Refused(f"{f.__name__}(...)", "write what it does")

    @pushes(f)
    def pushed(push: Any, args: Any, dots: Any, names: Any) -> Any:
        raise refused_code(f)


def refused_code(f: Any) -> Refused:
    return Refused(f"{f.__name__}(...)", "write what it does")


constant(refused_code)
for _f in (eval, exec):
    _looks_outside(_f)
