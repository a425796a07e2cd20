"""`ignore`, `checkpointed` and `hook` in native code: what stands still, what is a call, and what can't be there."""

from typing import Any

from .._tools import checkpointed, hook, ignore
from ._entries import ArrayRef, Closure, Static, View
from ._functions import Entry, known

__all__: list[str] = []


@known(ignore)
def _ignore(r: Any, x: Entry, *args: Entry) -> Entry:
    """Numbers, or what a call gives, as constants."""
    called = args or isinstance(x, Closure) or (isinstance(x, Static) and callable(x.value))
    return _constant(r, r.call(x, list(args), {}) if called else x)


def _constant(r: Any, x: Entry) -> Entry:
    if isinstance(x, tuple):
        return tuple(_constant(r, part) for part in x)
    if isinstance(x, ArrayRef | View):
        raise r.refuse(
            "ignore() of an array, which may change later and would take its derivative along",
            "take its numbers, as ignore(x[i])",
        )
    if isinstance(x, Static):
        return x
    value = r.as_value(x)
    return r.w.op("constant", value) if value.floats else value


@known(checkpointed)
def _checkpointed(r: Any, f: Entry, *args: Entry) -> Entry:
    """The call: native code keeps little of it, and `checkpoint=` is there for loops."""
    return r.call(f, list(args), {})


@known(hook)
def _hook(r: Any, f: Entry, x: Entry) -> Entry:
    raise r.refuse("hook()", "look at cotangents on the Python route: gradient(f, ...) without @native")
