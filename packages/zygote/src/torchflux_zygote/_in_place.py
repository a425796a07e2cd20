"""Rules for `x op= v`, and for all that changes an array in place."""

import operator
from collections import deque
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
from torch import Tensor

from . import _deques, _lists
from ._cotangent import Refusal, value
from ._entries import copied
from ._kinds import NUMBERS, carries
from ._pull import pull
from ._registry import NONES, PULL
from ._run import STATE, mark

__all__ = ["IN_PLACE", "change"]

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]

IN_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    operator.ifloordiv: operator.floordiv,
    operator.imod: operator.mod,
    operator.ipow: operator.pow,
    operator.imatmul: operator.matmul,
    operator.iand: operator.and_,
    operator.ior: operator.or_,
    operator.ixor: operator.xor,
    operator.ilshift: operator.lshift,
    operator.irshift: operator.rshift,
}


def in_place(iop: Any, x: Any, v: Any) -> Pulled:
    """`x op= v`: a change of an array or a list, a new value for everything else."""
    op = IN_PLACE[iop]
    if type(x) in NUMBERS:
        return PULL[op](x, v)
    if isinstance(x, np.ndarray | Tensor):
        return change(x, lambda: iop(x, v), lambda old: pull(op, old, v))
    if iop is operator.iadd and isinstance(x, list):
        return _lists.extend_in_place(x, v)
    if iop is operator.iadd and isinstance(x, deque):
        return _deques.extend_in_place(x, v)
    if iop is operator.ior and isinstance(x, dict):
        _, back = pull(dict.update, x, v)
        return x, back
    if iop is operator.imul and isinstance(x, list):
        return _lists.repeat_in_place(x, v)
    method = getattr(type(x), f"__{iop.__name__}__", None)
    if isinstance(method, FunctionType):
        return pull(method, x, v)
    return PULL[op](x, v)


def change(x: Any, act: Callable[[], Any], same: Callable[[Any], Pulled], count: int = 2) -> Pulled:
    """An operation that changes the array x in place: `act()` does it, `same(old)` pulls it on a copy.

    The cotangent of the new x, in its memory's shadow, becomes that of the old one.
    """
    mark(x)
    old = copied(x)
    act()

    def back(ȳ: Any) -> tuple[Any, ...]:
        sweep = STATE.sweep
        new = copied(x)
        _lists.undo(lambda: _overwrite(x, old), lambda: _overwrite(x, new))
        if not carries(x):
            return NONES[count]
        shadow = sweep.array(x)
        _, back_same = same(old)
        bar = copied(shadow)
        shadow[...] = 0  # before the back: v may look at the same memory
        before, *bars = back_same(bar)
        if before is not None:
            shadow += value(before)
        return (None, *(bar if isinstance(bar, Refusal) else value(bar) for bar in bars))

    return x, back


def _overwrite(x: Any, content: Any) -> None:
    x[...] = content


for _op in IN_PLACE:
    PULL[_op] = partial(in_place, _op)
