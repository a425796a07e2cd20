"""Forward mode of arrays that change in place: the tangent of their memory."""

import operator
from collections import deque
from typing import Any

from ._entries import copied
from ._in_place import IN_PLACE
from ._kinds import carries, fit
from ._memory import add_through, arrays_in, home, is_array, shared, view_like, zeros_for
from ._refuse import Refused
from ._registry import PUSH, constant, pushes, rule

__all__ = ["change_memory", "note_view", "snapshot"]


def snapshot(buffer: Any, x: Any) -> Any:
    """A copy of the tangent of x, from that of its memory."""
    return copied(window(buffer, x))


def window(buffer: Any, x: Any) -> Any:
    """The view of a memory's tangent that x is of the memory."""
    return view_like(buffer, x)


@rule(window)
def _window(buffer: Any, x: Any) -> Any:
    def back(ȳ: Any) -> tuple[Any, ...]:
        total = buffer * 0
        add_through(total, x, ȳ)
        return (total,)

    return view_like(buffer, x), back


@pushes(window)
def _push_window(push: Any, args: Any, dots: Any, names: Any) -> Any:
    buffer, x = args
    return window(buffer, x), None if dots[0] is None else window(dots[0], x)


@rule(copied)
def _copied(x: Any) -> Any:
    return copied(x), lambda ȳ: (fit(ȳ, x),)


@pushes(copied)
def _push_copied(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return copied(args[0]), None if dots[0] is None else copied(dots[0])


def is_view(y: Any, x: Any) -> bool:
    """Whether y looks at the memory of x."""
    return is_array(y) and is_array(x) and carries(x) and home(y) == home(x)


def check_owned(x: Any) -> None:
    """Refuses a change of memory that isn't an array's."""
    if shared(x):
        raise Refused("changing an array that shares its memory with something else", "change a copy of it")


constant(is_view, check_owned, arrays_in, zeros_for)


def note_view(push: Any, y: Any, x: Any, dot: Any) -> None:
    """Remembers what a view is a view of: a change of one changes the tangent of the other."""
    if is_view(y, x):
        key = home(x)
        if key not in push.sources:
            push.sources[key] = [(x, dot)]


def change_memory(push: Any, x: Any, dot: Any) -> Any:
    """The tangent of x, in that of its memory, to be written to."""
    check_owned(x)
    key = home(x)
    if key not in push.arrays:
        push.special = True
        buffer = zeros_for(x)
        for y, y_dot in [*push.sources.get(key, []), (x, dot)]:
            if y_dot is not None:
                part = window(buffer, y)
                part[...] = y_dot
        push.arrays[key] = buffer
        push.kept.append(x)
    return window(push.arrays[key], x)


@pushes(operator.setitem)
def _set_item(push: Any, args: Any, dots: Any, names: Any) -> Any:
    x, i, v = args
    if is_array(x):
        if carries(x):
            part = change_memory(push, x, dots[0])
            part[i] = 0 if dots[2] is None else dots[2]
        x[i] = v
        return None, None
    from ._forward_containers import set_in

    return set_in(push, x, i, v, dots[2])


def change_in_place(push: Any, act: Any, same: Any, args: Any, dots: Any, names: Any) -> Any:
    """`act(*args)` changes the first argument as `same` of a copy describes."""
    x = args[0]
    if carries(x):
        _, new = push(same, (copied(x), *args[1:]), dots, names)
        part = change_memory(push, x, dots[0])
        part[...] = 0 if new is None else new
    count = len(args) - len(names)
    act(*args[:count], **{names[i]: args[count + i] for i in range(len(names))})
    return x, None


def _in_place(iop: Any, op: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    x, v = args
    if is_array(x):
        return change_in_place(push, iop, op, args, dots, names)
    if isinstance(x, list | dict) or (iop is operator.iadd and isinstance(x, deque)):
        from ._forward_containers import extend_in_place, repeat_in_place

        return repeat_in_place(push, x, v) if iop is operator.imul else extend_in_place(push, x, v, dots[1])
    method = in_place_method(iop, x)
    if method is not None:
        return push(method, args, dots)
    return push(op, args, dots)


def in_place_method(iop: Any, x: Any) -> Any:
    """The method of a Python class for an operator in place."""
    method = getattr(type(x), f"__{iop.__name__}__", None)
    return method if hasattr(method, "__code__") else None


constant(in_place_method)


def _register() -> None:
    from functools import partial

    for iop, op in IN_PLACE.items():
        PUSH[iop] = partial(_in_place, iop, op)


_register()
