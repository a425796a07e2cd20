"""Rules for making objects: of Python classes, dataclasses, named tuples and exceptions."""

import dataclasses
from collections.abc import Callable
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

from torch import Tensor

from ._attributes import put
from ._cotangent import accum, value
from ._kinds import carries, inert, is_parameter
from ._pull import KINDS, library, pull
from ._refuse import Refused, describe
from ._registry import NONES, none, raw
from ._run import STATE, born, changed
from ._unruled import as_constants, plain_numbers

__all__: list[str] = []

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]


def _pull_class(cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pulled:
    count = len(args) + len(kwargs)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _named_tuple(cls, args, kwargs)
    if issubclass(cls, BaseException) and not isinstance(vars(cls).get("__init__"), FunctionType):
        return _exception(cls, args, kwargs)
    if type(cls).__call__ is not type.__call__ and isinstance(type(cls).__call__, FunctionType):
        if inert(args) and inert(tuple(kwargs.values())):
            return cls(*args, **kwargs), none(count)
        raise Refused(f"making a {describe(cls)}, whose class has its own way of being called", "make it outside")
    if library(cls) == "torch" and not dataclasses.is_dataclass(cls):
        return _of_torch(cls, args, kwargs)
    if isinstance(cls.__init__, FunctionType) or cls.__init__ is object.__init__:
        return _object(cls, args, kwargs)
    if plain_numbers((*args, *kwargs.values())):
        return as_constants(cls, args, kwargs, lambda _: _made_of_constants(cls))
    raise Refused(f"making a {describe(cls)}", "make it outside, or of Python classes")


def _made_of_constants(cls: type) -> Refused:
    return Refused(f"making a {describe(cls)} of what is differentiated", "make it outside, or of Python classes")


def _of_torch(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pulled:
    if any(carries(x) and not is_parameter(x) for x in (*args, *kwargs.values()) if isinstance(x, Tensor)):
        raise Refused(f"making a {describe(cls)} of a tensor", "make it outside and pass it as an argument")
    return as_constants(cls, args, kwargs, lambda _: _made_of_constants(cls))


def _named_tuple(cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pulled:
    y = cls(*args, **kwargs)
    spots = [*range(len(args)), *(cls._fields.index(name) for name in kwargs)]

    def back(ȳ: Any) -> tuple[Any, ...]:
        bars = (None,) * len(y) if ȳ is None else value(ȳ)
        return tuple(bars[i] for i in spots)

    return y, back


def _exception(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pulled:
    y = born(cls(*args, **kwargs))
    if not inert(args):
        changed(y)
    back = _exception_back(y, 1 + len(args), len(kwargs))
    return y, lambda ȳ: back(ȳ)[1:]


def _exception_back(x: Any, count: int, more: int) -> Callable[[Any], tuple[Any, ...]]:
    """What flowed to the `args` of an exception, to the arguments after its class or itself."""

    def back(_: Any) -> tuple[Any, ...]:
        bar = value(STATE.sweep.take(x, "args"))
        for name in ("value", "code"):  # other names of the first argument, of StopIteration and SystemExit
            first = STATE.sweep.take(x, name) if count > 1 and hasattr(type(x), name) else None
            if first is not None:
                bar = (first, *NONES[count - 2]) if bar is None else (accum(bar[0], first), *bar[1:])
        return (None, *(NONES[count - 1] if bar is None else bar), *NONES[more])

    return back


def pull_exception_init(f: Any, args: tuple[Any, ...]) -> Pulled:
    """`Exception.__init__(self, *args)`."""
    f(*args)
    return None, _exception_back(args[0], len(args), 0)


def _object(cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pulled:
    count = len(args) + len(kwargs)
    if isinstance(cls.__new__, FunctionType):
        x, back_new = pull(cls.__new__, cls, *args, **kwargs)
        if not isinstance(x, cls):
            return x, lambda ȳ: back_new(ȳ)[1:]
    elif issubclass(cls, BaseException):
        x = born(cls.__new__(cls, *args, **kwargs))
        back_new = _exception_back(x, 1 + len(args), len(kwargs))
    elif cls.__init__ is object.__init__:
        if cls.__new__ is not object.__new__ and not (inert(args) and inert(tuple(kwargs.values()))):
            raise Refused(f"making a {describe(cls)}", "make it outside, or of Python classes")
        return born(cls(*args, **kwargs)), none(count)
    else:
        x, back_new = born(cls.__new__(cls)), none(1 + count)
    init = _dataclass_init(cls) or cls.__init__
    if init is object.__init__:
        return x, lambda ȳ: back_new(ȳ)[1:]
    _, back = pull(init, x, *args, **kwargs)

    def back_both(ȳ: Any) -> tuple[Any, ...]:
        bars = back(None)[1:]
        return tuple(accum(a, b) for a, b in zip(bars, back_new(ȳ)[1:], strict=True))

    return x, back_both


_INITS: dict[type, Any] = {}


def _dataclass_init(cls: Any) -> Any:
    """The `__init__` that `dataclass` makes, as Python with a source."""
    init = cls.__init__
    generated = dataclasses.is_dataclass(cls) and init.__code__.co_filename.startswith("<")
    if not generated or init.__code__.co_filename.startswith("<torchflux"):
        return None
    owner = next(base for base in cls.__mro__ if vars(base).get("__init__") is init)
    if owner not in _INITS:
        _INITS[owner] = _write_init(owner)
    return _INITS[owner]


def _write_init(cls: Any) -> Any:
    bindings: dict[str, Any] = {}
    lines: list[str] = []
    parameters, keywords = ["self"], list[str]()
    handed: list[str] = []  # to `__post_init__`
    for field in cls.__dataclass_fields__.values():
        if field._field_type is dataclasses._FIELD_CLASSVAR:  # type: ignore[attr-defined]
            continue
        default = ""
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING:
            factory = field.default_factory is not dataclasses.MISSING
            bindings[f"default_{field.name}"] = field.default_factory if factory else field.default
            given = f"default_{field.name}() if {field.name} is MISSING else {field.name}" if factory else field.name
            default = "=MISSING" if factory else f"=default_{field.name}"
        else:
            given = field.name
        if field.init:
            (keywords if field.kw_only else parameters).append(f"{field.name}{default}")
        elif default:
            given = f"default_{field.name}()" if "MISSING" in default else f"default_{field.name}"
        if field._field_type is dataclasses._FIELD_INITVAR:  # type: ignore[attr-defined]
            handed.append(given)
        elif field.init or default:
            lines.append(f"put(self, {field.name!r}, {given})")
    if hasattr(cls, "__post_init__"):
        lines.append(f"self.__post_init__({', '.join(handed)})")
    return _compile_init(cls, [*parameters, *(["*"] if keywords else []), *keywords], lines, bindings)


def _compile_init(cls: Any, parameters: list[str], lines: list[str], bindings: Any) -> Any:
    import ast

    text = f"def __init__({', '.join(parameters)}):\n" + "".join(f"    {line}\n" for line in lines or ["pass"])
    namespace = {**bindings, "MISSING": dataclasses.MISSING, "put": put}
    file = f"<torchflux __init__ of {cls.__qualname__} {id(cls):x}>"
    import linecache

    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(ast.parse(text, file), file, "exec"), namespace)
    return namespace["__init__"]


@raw(MethodType)
def _method(f: Any, x: Any) -> Pulled:
    y = born(MethodType(f, x))
    return y, lambda _: (None, STATE.sweep.take(y, "__self__"))


@raw(SimpleNamespace)
def _namespace(*source: Any, **fields: Any) -> Pulled:
    if source:
        raise Refused("making a types.SimpleNamespace of a mapping", "write **mapping")
    y = born(SimpleNamespace(**fields))
    return y, lambda _: tuple([STATE.sweep.take(y, name) for name in fields])


KINDS.insert(0, (type, _pull_class))
