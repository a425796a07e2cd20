"""Rules for the entries of anything: `x[i]`, `x[i] = v`, `del x[i]`."""

import operator
from collections import deque
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import _deques, _dicts, _lists
from ._cotangent import Scatter
from ._kinds import carries, fit, inert
from ._pull import pull
from ._refuse import Refused, describe
from ._registry import finish, none, raw
from ._run import STATE, mark

__all__ = ["copied"]

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]


@raw(operator.getitem)
def getitem(x: Any, i: Any) -> Pulled:
    kind = type(x)
    if kind is list or kind is tuple:
        return _lists.get_item(x, i)
    if isinstance(x, np.ndarray | Tensor):
        y = x[i]
        if not carries(x):
            return y, none(2)
        return y, partial(finish, lambda ȳ: (Scatter(x, i, fit(ȳ, y)), None), (x, i), y)
    method = getattr(kind, "__getitem__", None)
    if isinstance(method, FunctionType) and kind.__module__.partition(".")[0] != "torch":
        return pull(method, x, i)
    if isinstance(x, list | tuple | deque):
        return _lists.get_item(x, i)
    if isinstance(x, dict):
        return _dicts.get_key(x, i)
    y = x[i]
    if inert(x) or inert(y) or isinstance(y, torch.nn.Module | torch.nn.Parameter | type) or isinstance(x, type):
        return y, none(2)
    raise Refused(f"an entry of {describe(kind)}", "use a list, a dict or an array")


@raw(operator.setitem)
def setitem(x: Any, i: Any, v: Any) -> Pulled:
    kind = type(x)
    if kind is list:
        return _lists.set_item(x, i, v)
    if isinstance(x, np.ndarray | Tensor):
        return set_array(x, i, v)
    method = getattr(kind, "__setitem__", None)
    if isinstance(method, FunctionType):
        return pull(method, x, i, v)
    if isinstance(x, list):
        return _lists.set_item(x, i, v)
    if isinstance(x, deque):
        return _deques.set_item(x, i, v)
    if isinstance(x, dict):
        return _dicts.set_key(x, i, v)
    raise Refused(f"setting an entry of {describe(kind)}", "use a list, a dict or an array")


@raw(operator.delitem)
def delitem(x: Any, i: Any) -> Pulled:
    method = getattr(type(x), "__delitem__", None)
    if isinstance(method, FunctionType):
        return pull(method, x, i)
    if isinstance(x, list):
        return _lists.del_item(x, i)
    if isinstance(x, deque):
        return _deques.del_item(x, i)
    if isinstance(x, dict):
        return _dicts.del_key(x, i)
    raise Refused(f"deleting an entry of {describe(type(x))}", "use a list or a dict")


def copied(x: Any) -> Any:
    """A copy of an array; a number itself."""
    return x.clone() if isinstance(x, Tensor) else x.copy() if isinstance(x, np.ndarray) else x


def set_array(x: Any, i: Any, v: Any) -> Pulled:
    """`x[i] = v` of an array: the entries' cotangents go to v, and are zero before."""
    mark(x)
    old = copied(x[i])
    if isinstance(v, list | tuple):
        raise Refused("assigning a list to the entries of an array", "make an array of the list first")
    x[i] = v

    def back(_: Any) -> tuple[Any, ...]:
        sweep = STATE.sweep
        shadow = sweep.array(x) if carries(x) else None
        bar = None
        if shadow is not None:
            bar = copied(shadow[i])
            shadow[i] = 0
            bar = fit(_winners(x, i, bar), v)
        new = copied(x[i])
        _lists.undo(partial(operator.setitem, x, i, old), partial(operator.setitem, x, i, new))
        return None, None, sweep.arrive(v, bar)

    return None, back


def _winners(x: Any, i: Any, bar: Any) -> Any:
    """Of entries that are named twice, the last assignment counts."""
    parts = i if isinstance(i, tuple) else (i,)
    if not any(isinstance(part, list | np.ndarray | Tensor) for part in parts) or not hasattr(bar, "shape"):
        return bar
    order: Any
    places: Any
    if isinstance(x, Tensor):
        order = torch.arange(bar.numel(), device=x.device).reshape(bar.shape)
        places = torch.full(x.shape, -1, device=x.device)
    else:
        order, places = np.arange(bar.size).reshape(bar.shape), np.full(x.shape, -1)
    places[i] = order
    return bar * (places[i] == order)
