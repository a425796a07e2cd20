"""`pull(f, *args) -> (y, back)`: the one entry of reverse mode.

Generated code calls it for every operation and call. It finds the rule of `f`, or transforms `f`. What
`back(ȳ)` returns has one cotangent for each positional argument, then one for each keyword, as they were
given. References (see `_run`) get theirs through shadows and have `None` here, and so have functions: what
a closure captures lies in cells, which are references.
"""

import functools
import inspect
import os
import sys
from collections.abc import Callable
from functools import partial
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

import numpy as np
from torch import Tensor

from ._custom import custom_rule
from ._kinds import inert
from ._method import Method
from ._refuse import Refused, describe
from ._registry import PULL, SUBSTITUTES, none
from ._run import STATE
from ._unruled import as_constants, no_rule, plain_numbers

__all__ = ["dispatch", "library", "pull", "pull_function", "without_rule"]

Function = Callable[..., Any]
C_FUNCTIONS = (
    BuiltinFunctionType,
    MethodDescriptorType,
    WrapperDescriptorType,
    MethodWrapperType,
    ClassMethodDescriptorType,
    np.ufunc,
    type(np.sum),
)
KINDS: list[tuple[Any, Function]] = []
"""What is done with other callables, by type: the first that fits. Filled in by the modules that know."""


def pull(f: Any, /, *args: Any, **kwargs: Any) -> tuple[Any, Function]:
    """`y = f(*args, **kwargs)` and its pullback.

    Raises:
        Refused: `f` has no rule and can't be transformed.
    """
    try:
        known = PULL.get(f)
    except TypeError:  # a callable that can't be hashed
        known = None
    return known(*args, **kwargs) if known is not None else dispatch(f, args, kwargs)


def dispatch(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Function]:
    """Pulls what has no rule of its own."""
    kind = type(f)
    if kind is Method:
        return pull_method(f.name, args, kwargs)
    if kind is FunctionType:
        return _pull_python(f, args, kwargs)
    if kind is MethodType:
        return adapted(f.__func__, (f.__self__, *args), kwargs, args, tuple(kwargs), partial(_without_self, f))
    substitute = SUBSTITUTES.get(f) if kind in (type, type(np.sum)) else None
    if substitute is not None:
        return pull_function(substitute, args, kwargs)
    special = _BY_CLASS.get(kind)
    if special is None:
        special = next((special for types, special in KINDS if issubclass(kind, types)), _pull_object)
        _BY_CLASS[kind] = special
    return special(f, args, kwargs)


_BY_CLASS: dict[type, Function] = {}
"""What `KINDS` says of a class."""


def _without_self(method: Any, bars: tuple[Any, ...]) -> tuple[Any, ...]:
    STATE.sweep.give(method, "__self__", bars[0])
    return bars[1:]


def adapted(
    f: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    given: tuple[Any, ...],
    names: tuple[str, ...],
    arrange: Callable[[tuple[Any, ...]], tuple[Any, ...]],
) -> tuple[Any, Function]:
    """Pulls `f(*args, **kwargs)` for a call with the arguments `given` and `names`, whose cotangents `arrange` gives.

    Where the call is interrupted, what it has done so far is arranged in the same way.
    """
    try:
        y, back = pull(f, *args, **kwargs)
    except BaseException:
        partly = interrupted_back(args, tuple(kwargs))
        if partly is not None:
            STATE.interrupted = (given, names, lambda ȳ: arrange(partly(ȳ)))
        raise
    return y, lambda ȳ: arrange(back(ȳ))


def interrupted_back(args: tuple[Any, ...], names: tuple[str, ...]) -> Any:
    """The back of the call that was interrupted, if it is the call with these arguments (or its method's)."""
    if STATE.interrupted is None:
        return None
    (given, more, back), STATE.interrupted = STATE.interrupted, None
    if more != names or not all(x is y for x, y in zip(args[::-1], given[::-1], strict=False)):
        return None
    if len(given) == len(args):
        return back
    return (lambda ȳ: back(ȳ)[1:]) if len(given) == len(args) + 1 else None


def _pull_python(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Function]:
    rule = custom_rule(f)
    if rule is not None:
        return rule(*args, **kwargs)
    code = SUBSTITUTES.get(f, f)
    if code is f:
        package = library(f)
        if package in LIBRARIES:
            return LIBRARIES[package](f, args, kwargs)
        if package in STANDARD and is_standard(f) and inert(args) and inert(tuple(kwargs.values())):
            return f(*args, **kwargs), none(len(args) + len(kwargs))
    return pull_function(code, args, kwargs)


STANDARD = sys.stdlib_module_names
_STANDARD_FOLDER = os.path.dirname(os.__file__) + os.sep


def is_standard(f: FunctionType) -> bool:
    """Whether a function is the standard library's, and no closure: that may hold anything, a callback for example."""
    file = f.__code__.co_filename
    return f.__closure__ is None and file.startswith(("<frozen ", _STANDARD_FOLDER))


TRANSFORM: list[Function] = []
"""What generates the pullback of a function. Filled in by the module that does."""
LIBRARIES: dict[str, Function] = {}
"""What is done with the functions of some libraries, by top-level package."""


def library(f: Any) -> str:
    """The top-level package that a function is from."""
    module = getattr(f, "__module__", None) or getattr(getattr(f, "__objclass__", None), "__module__", None)
    if module is None:
        owner = getattr(f, "__self__", None)
        module = owner.__name__ if isinstance(owner, ModuleType) else getattr(owner, "__module__", None)
    return module.partition(".")[0] if isinstance(module, str) else ""


def pull_function(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Function]:
    """Pulls a Python function by the code that is generated for it."""
    if STATE.guarded:
        return _pull_guarded(f, args, kwargs)
    generated = TRANSFORM[0](f)
    y, back = generated.bind(f)(*args, **kwargs)
    return y, generated.adapt(f, len(args), tuple(kwargs), back)


def _pull_guarded(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Function]:
    """Pulls a function that may be interrupted: its back is there before it runs."""
    generated = TRANSFORM[0](f, taped=True)
    frame: list[Function] = []
    outer, STATE.frame = STATE.frame, frame
    try:
        y, back = generated.bind(f)(*args, **kwargs)
    except BaseException:
        partly = generated.adapt(f, len(args), tuple(kwargs), lambda _: frame[0](None)) if frame else None
        STATE.interrupted = (args, tuple(kwargs), partly) if partly else None
        raise
    finally:
        STATE.frame = outer
    return y, generated.adapt(f, len(args), tuple(kwargs), back)


# Methods: `pull(method.name, x, ...)` is `x.name(...)`.

_PLAIN: dict[tuple[type, str], Any] = {}


def pull_method(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Function]:
    """Pulls `args[0].name(*args[1:])`."""
    x = args[0]
    found = _PLAIN.get((type(x), name))
    if found is None:
        found = _plain_method(type(x), name)
    if found is not False and (type(x) is Tensor or name not in getattr(x, "__dict__", ())):
        return pull(found, *args, **kwargs)
    f, back_f = pull(getattr, x, name)
    return adapted(f, args[1:], kwargs, args, tuple(kwargs), lambda bars: (back_f(None)[0], *bars))


def _plain_method(kind: type, name: str) -> Any:
    """The function that `x.name(...)` calls for every x of a kind with x as its first argument; or False."""
    found: Any = inspect.getattr_static(kind, name, None)
    plain = isinstance(found, FunctionType | MethodDescriptorType | WrapperDescriptorType)
    plain = plain and not issubclass(kind, type | super) and "__getattribute__" not in _overridden(kind)
    _PLAIN[kind, name] = found if plain else False
    return _PLAIN[kind, name]


def _overridden(kind: type) -> set[str]:
    return {name for base in kind.__mro__[:-1] if base.__flags__ & (1 << 9) for name in vars(base)}


# Other callables.


def _pull_object(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Function]:
    rule = custom_rule(f)
    if rule is not None:
        return rule(*args, **kwargs)
    call = inspect.getattr_static(type(f), "__call__", None)
    if isinstance(call, FunctionType):
        return adapted(call, (f, *args), kwargs, args, tuple(kwargs), lambda bars: bars[1:])
    if plain_numbers((*args, *kwargs.values())):
        return as_constants(f, args, kwargs)
    raise Refused(f"a call of {describe(f)}", "call a Python function, or give it a rule with torchflux_zygote.adjoint")


def _pull_c(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Function]:
    """A C function without a rule: a constant where nothing that it takes has a derivative."""
    owner = getattr(f, "__self__", None)
    bound = isinstance(f, BuiltinFunctionType | MethodWrapperType) and owner is not None and not isinstance(owner, type)
    if bound and not inert(owner):
        return _pull_bound(f, owner, args, kwargs)
    if getattr(f, "__name__", "") == "__init__" and args and isinstance(args[0], BaseException):
        from ._making import pull_exception_init

        return pull_exception_init(f, args)
    substitute = SUBSTITUTES.get(f)
    if substitute is not None:
        return pull_function(substitute, args, kwargs)
    package = library(f) or library(type(f))
    if package in LIBRARIES:
        return LIBRARIES[package](f, args, kwargs)
    return without_rule(f, args, kwargs)


def without_rule(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Function]:
    """A function that nothing is known of: of numbers as constants; of anything else it is refused."""
    given = (*args, *kwargs.values())
    if inert(given):
        return f(*args, **kwargs), none(len(given))
    if plain_numbers(given):
        return as_constants(f, args, kwargs)
    raise no_rule(f)


def _pull_bound(f: Any, owner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Function]:
    descriptor = inspect.getattr_static(type(owner), f.__name__, None)
    objclass = getattr(f, "__objclass__", None)
    if objclass is not None:
        descriptor = vars(objclass).get(f.__name__, descriptor)
    if descriptor is None:
        raise no_rule(f)
    return adapted(descriptor, (owner, *args), kwargs, args, tuple(kwargs), partial(_without_self, f))


def _pull_partial(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Function]:
    named = {**f.keywords, **kwargs}
    held, given = len(f.args), len(f.args) + len(args)

    def arrange(bars: tuple[Any, ...]) -> tuple[Any, ...]:
        sweep, by_name = STATE.sweep, dict(zip(named, bars[given:], strict=True))
        if any(bar is not None for bar in bars[:held]):
            sweep.give(f, "args", bars[:held])
        for name in f.keywords:
            if name not in kwargs:
                sweep.give(f.keywords, name, by_name[name])
        return (*bars[held:given], *(by_name[name] for name in kwargs))

    return adapted(f.func, (*f.args, *args), named, args, tuple(kwargs), arrange)


def _pull_cached(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Function]:
    return pull(f.__wrapped__, *args, **kwargs)


KINDS.append((partial, _pull_partial))
KINDS.append((type(functools.lru_cache(lambda: 0)), _pull_cached))
KINDS.append((C_FUNCTIONS, _pull_c))
