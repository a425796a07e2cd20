"""`push(f, args, dots) -> (y, y_dot)`: the one entry of forward mode.

A `Forward` is one forward run. Numbers, arrays and tuples have their tangents in variables of the generated
code, `None` where they are zero. References have theirs in *mirrors*, found by identity: of a list the list
of its entries' tangents, of an object a dict by attribute. Everything here is ordinary Python that can be
transformed in turn: that is how derivatives nest.
"""

import inspect
from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

from ._custom import carried
from ._kinds import SEQUENCES, inert, is_parameter
from ._making import _dataclass_init
from ._memory import home, is_array
from ._method import Method
from ._pull import C_FUNCTIONS, KINDS, library
from ._refuse import Refused, describe
from ._registry import FORWARD_LIBRARIES, PUSH, SUBSTITUTES, constant, pushes
from ._streams import Stream
from ._unruled import check_constants, check_still, no_rule, plain_numbers

__all__ = ["Forward"]

Pushed = tuple[Any, Any]
Function = Callable[..., Any]


class Forward:
    """One forward run: `push(f, args, dots, names)`, where the last arguments have keyword `names`.

    Attributes:
        special: whether there are tangents that belong to memory or to parameters, not to variables.
        parameters: tangents of parameters, by identity.
        arrays: tangents of memory that was changed in place, by home.
        sources: arrays that others are views of, with their tangents, by home.
        kept: what was changed in place: alive, so that nothing else has its home.
    """

    def __init__(self) -> None:
        self.special = False
        self.mirrors: dict[int, tuple[Any, Any]] = {}
        self.parameters: dict[int, Any] = {}
        self.arrays: dict[int, Any] = {}
        self.sources: dict[int, list[Any]] = {}
        self.kept: list[Any] = []

    def __call__(self, f: Any, args: tuple[Any, ...], dots: tuple[Any, ...], names: tuple[str, ...] = ()) -> Pushed:
        """`f(*args)` and its tangent."""
        if self.special:
            dots = self.current(args, dots)
        impl = forward_of(f, args, names)
        return impl(self, args, dots, names)

    def mirror(self, x: Any) -> Any:
        """The mirror of a reference: made where there is none, with no tangents in it."""
        found = self.mirrors.get(id(x))
        if found is None:
            found = self.mirrors[id(x)] = (x, [None] * len(x) if isinstance(x, SEQUENCES) else {})
        return found[1]

    def give(self, x: Any, key: Any, dot: Any) -> None:
        """Sets the tangent of a field of a reference."""
        if dot is not None or has_mirror(self, x):
            mirror = self.mirror(x)
            mirror[key] = dot

    def field(self, x: Any, key: Any) -> Any:
        """The tangent of a field of a reference."""
        if not has_mirror(self, x):
            return None
        return self.mirror(x).get(key)

    def fill(self, x: list[Any], dots: Any) -> None:
        """Sets the tangents of the entries of a new list."""
        if some(dots):
            mirror = self.mirror(x)
            mirror[:] = dots

    def current(self, args: tuple[Any, ...], dots: tuple[Any, ...]) -> tuple[Any, ...]:
        """The tangents of arguments, where they belong to memory or are parameters'."""
        return tuple([self.tangent(x, dot) for x, dot in zip(args, dots)])  # noqa: B905

    def tangent(self, x: Any, dot: Any) -> Any:
        """The tangent of a value."""
        if isinstance(x, tuple) and not hasattr(x, "_fields"):
            parts = tuple([self.tangent(p, None if dot is None else dot[i]) for i, p in enumerate(x)])
            return parts if some(parts) else None
        if is_parameter(x) and id(x) in self.parameters:
            return self.parameters[id(x)]
        if is_array(x) and home(x) in self.arrays:
            from ._forward_arrays import snapshot

            return snapshot(self.arrays[home(x)], x)
        return dot


def has_mirror(push: Forward, x: Any) -> bool:
    """Whether a reference has a mirror."""
    return id(x) in push.mirrors


def some(dots: Any) -> bool:
    """Whether any tangent isn't zero."""
    return any(dot is not None for dot in dots)


constant(Forward.mirror, has_mirror, some, is_parameter, is_array, home)


def forward_of(f: Any, args: tuple[Any, ...], names: tuple[str, ...]) -> Function:
    """The Python function that computes `f` and its tangent: `impl(push, args, dots, names)`."""
    try:
        known = PUSH.get(f)
    except TypeError:
        known = None
    return known if known is not None else _dispatch(f, args, names)


constant(forward_of)


def _dispatch(f: Any, args: tuple[Any, ...], names: tuple[str, ...]) -> Function:
    if type(f) is Method:
        return _method_of(f.name, args)
    rule = carried(f) if not isinstance(f, type) else None
    if rule is not None:
        return partial(push_custom, rule, getattr(f, "__pushforward__", None))
    if hasattr(getattr(f, "__native__", None), "tangent"):
        return partial(_push_native, f.__native__)
    if type(f) is MethodType:
        return partial(_push_bound, f.__func__, f)
    if type(f) is FunctionType or _substituted(f):
        return _function_of(f, args)
    for kind, found in _KINDS:
        if isinstance(f, kind):
            return found(f, args)
    call = inspect.getattr_static(type(f), "__call__", None)
    if isinstance(call, FunctionType):
        return partial(_push_method, call, f)
    if plain_numbers(args):
        return partial(_push_unruled, f)
    raise Refused(f"a call of {describe(f)}", "call a Python function, or give it a rule with torchflux_zygote.adjoint")


def _substituted(f: Any) -> bool:
    try:
        return f in SUBSTITUTES
    except TypeError:
        return False


def _function_of(f: Any, args: tuple[Any, ...]) -> Function:
    code = SUBSTITUTES.get(f, f)
    if code is f and (package := library(f)) in FORWARD_LIBRARIES:
        return FORWARD_LIBRARIES[package](f, args)
    from ._transform import pushforward_of

    return pushforward_of(code)


def _method_of(name: str, args: tuple[Any, ...]) -> Function:
    from ._pull import _PLAIN, _plain_method

    x = args[0]
    if name == "__next__" and isinstance(x, Stream):
        return forward_of(next, args, ())
    found = _PLAIN.get((type(x), name))
    found = _plain_method(type(x), name) if found is None else found
    if found is not False and name not in getattr(x, "__dict__", ()):
        return forward_of(found, args, ())
    return partial(_push_attribute, name)


def _push_attribute(name: str, push: Any, args: Any, dots: Any, names: Any) -> Pushed:
    """A call of an attribute that isn't a method."""
    f, _ = push(getattr, (args[0], name), (dots[0], None))
    return push(f, args[1:], dots[1:], names)


def _push_method(f: Any, owner: Any, push: Any, args: Any, dots: Any, names: Any) -> Pushed:
    """A call of a bound method."""
    return push(f, (owner, *args), (None, *dots), names)


def _push_bound(f: Any, method: Any, push: Any, args: Any, dots: Any, names: Any) -> Pushed:
    """A call of a bound method, which holds its owner and perhaps its tangent."""
    return push(f, (method.__self__, *args), (push.field(method, "__self__"), *dots), names)


def _c_function_of(f: Any, args: tuple[Any, ...]) -> Function:
    owner = getattr(f, "__self__", None)
    if hasattr(f, "__name__") and owner is not None and not inert(owner) and not isinstance(owner, type):
        descriptor = inspect.getattr_static(type(owner), f.__name__, None)
        objclass = getattr(f, "__objclass__", None)
        descriptor = vars(objclass).get(f.__name__, descriptor) if objclass is not None else descriptor
        if descriptor is not None:
            return partial(_push_bound, descriptor, f)
    if getattr(f, "__name__", "") == "__init__" and args and isinstance(args[0], BaseException):
        return partial(_push_exception_init, f)
    package = library(f) or library(type(f))
    if package in FORWARD_LIBRARIES:
        return FORWARD_LIBRARIES[package](f, args)
    if plain_numbers(args):
        return partial(_push_unruled, f)
    raise no_rule(f)


def _push_constant(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Pushed:
    count = len(args) - len(names)
    return f(*args[:count], **dict(zip(names, args[count:]))), None  # noqa: B905


def _push_unruled(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Pushed:
    """A function without a rule, of constants."""
    check_still(f, dots)
    return _push_constant(f, push, args, dots, names)


constant(check_constants, check_still)


def _partial_of(f: Any, args: tuple[Any, ...]) -> Function:
    return partial(_push_partial, f)


def _push_partial(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Pushed:
    """A call of a `functools.partial`."""
    count = len(args) - len(names)
    options, option_dots = dict(f.keywords), {name: push.field(f.keywords, name) for name in f.keywords}
    for i, name in enumerate(names):
        options[name], option_dots[name] = args[count + i], dots[count + i]
    held = push.field(f, "args") or (None,) * len(f.args)
    all_args = (*f.args, *args[:count], *options.values())
    all_dots = (*held, *dots[:count], *option_dots.values())
    return push(f.func, all_args, all_dots, tuple(options))


def _class_of(cls: Any, args: tuple[Any, ...]) -> Function:
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return partial(_push_named_tuple, cls, cls._fields)
    if issubclass(cls, BaseException) and not isinstance(vars(cls).get("__init__"), FunctionType):
        return partial(_push_exception, cls)
    plain = (
        (cls.__new__ is object.__new__ or issubclass(cls, BaseException))
        and type(cls).__call__ is type.__call__
        and library(cls) != "torch"
    )
    if plain and cls.__init__ is object.__init__:
        return partial(_push_constant, cls)
    if plain and isinstance(cls.__init__, FunctionType):
        return partial(_push_object, cls, _dataclass_init(cls) or cls.__init__)
    if plain_numbers(args):
        return partial(_push_unruled, cls)
    raise Refused(f"making a {describe(cls)}", "make it outside, or of Python classes")


def _push_named_tuple(cls: Any, fields: Any, push: Any, args: Any, dots: Any, names: Any) -> Pushed:
    count = len(args) - len(names)
    y = cls(*args[:count], **dict(zip(names, args[count:])))  # noqa: B905
    by_name = dict(zip((*fields[:count], *names), dots))  # noqa: B905
    return y, tuple([by_name.get(name) for name in fields])


def _push_exception(cls: Any, push: Any, args: Any, dots: Any, names: Any) -> Pushed:
    y = cls(*args)
    push.give(y, "args", dots)
    return y, None


def _push_object(cls: Any, init: Any, push: Any, args: Any, dots: Any, names: Any) -> Pushed:
    x = new_object(cls, *args) if issubclass(cls, BaseException) else new_object(cls)
    if isinstance(x, BaseException):
        push.give(x, "args", dots)
    push(init, (x, *args), (None, *dots), names)
    return x, None


def new_object(cls: Any, *args: Any) -> Any:
    """An object whose `__init__` hasn't run."""
    return cls.__new__(cls, *args)


@pushes(SimpleNamespace)
def _push_namespace(push: Any, args: Any, dots: Any, names: Any) -> Pushed:
    if len(args) > len(names):
        raise Refused("making a types.SimpleNamespace of a mapping", "write **mapping")
    y = new_namespace({names[i]: args[i] for i in range(len(names))})
    for i in range(len(names)):
        push.give(y, names[i], dots[i])
    return y, None


def new_namespace(fields: dict[str, Any]) -> Any:
    return SimpleNamespace(**fields)


@pushes(MethodType)
def _push_method_type(push: Any, args: Any, dots: Any, names: Any) -> Pushed:
    y = new_method(*args)
    push.give(y, "__self__", dots[1])
    return y, None


def new_method(f: Any, x: Any) -> Any:
    return MethodType(f, x)


def _push_exception_init(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Pushed:
    f(*args)
    push.give(args[0], "args", dots[1:])
    return None, None


constant(new_object, new_namespace, new_method)

_KINDS: list[tuple[Any, Function]] = [
    (type, _class_of),
    (partial, _partial_of),
    (KINDS[-2][0], lambda f, args: _function_of(f.__wrapped__, args)),
    (C_FUNCTIONS, _c_function_of),
]


def _push_native(native: Any, push: Any, args: Any, dots: Any, names: Any) -> Pushed:
    """A native function: its tangent is a native function of arguments and tangents."""
    if names:
        raise Refused(f"forward mode of {describe(native)} with keyword arguments", "give them by position")
    return native(*args), native.tangent(args, dots) if some(dots) else None


def push_custom(rule: Any, pushforward: Any, push: Any, args: Any, dots: Any, names: Any) -> Pushed:
    """A custom rule: its own pushforward, or the transpose of its pullback."""
    from ._nested import transposed

    count = len(args) - len(names)
    options = dict(zip(names, args[count:]))  # noqa: B905
    y, back = rule(*args[:count], **options)
    if pushforward is not None:
        return y, pushforward(args, dots)
    return y, transposed(back, y, dots) if some(dots) else None
