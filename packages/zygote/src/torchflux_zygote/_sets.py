"""Rules for sets, whose members carry no gradients."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ._elements import elements
from ._kinds import carries
from ._lists import undo
from ._refuse import Refused
from ._registry import PULL, PUSH, raw
from ._run import born, changed
from ._streams import stepped

__all__: list[str] = []

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]


def _members(xs: Any) -> tuple[set[Any], Callable[[], Any]]:
    found, give = elements(xs)
    if any(carries(x) for x in found):
        raise Refused("a set of numbers with derivatives", "use a list or a dict")
    return set(found), lambda: give([None] * len(found))


def _make(kind: Any, *xs: Any) -> Pulled:
    several = [_members(x) for x in xs]
    y = born(kind(*(members for members, _ in several)))
    return y, lambda _: tuple([back() for _, back in reversed(several)][::-1])


def _change(f: Any, x: set[Any], *args: Any) -> Pulled:
    if any(carries(a) for a in args):
        raise Refused("a set of numbers with derivatives", "use a list or a dict")
    changed(x)
    old = set(x)
    y = f(x, *args)
    new = set(x)

    def back(_: Any) -> tuple[Any, ...]:
        undo(partial(_become, x, old), partial(_become, x, new))
        return (None,) * (1 + len(args))

    return y, back


def _become(x: set[Any], members: set[Any]) -> None:
    x.clear()
    x.update(members)


def _look(f: Any, x: Any, *args: Any) -> Pulled:
    several = [_members(a) for a in args]
    y = f(x, *(members for members, _ in several))
    return y, lambda _: (None, *[back() for _, back in reversed(several)][::-1])


def _push(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    return _checked(f, *[stepped(push, x) for x in args]), None


def _checked(f: Any, *args: Any) -> Any:
    if any(carries(a) for a in args):
        raise Refused("a set of numbers with derivatives", "use a list or a dict")
    return f(*args)


@raw(_checked)
def _pull_checked(f: Any, *args: Any) -> Pulled:
    y, back = PULL[f](*args)
    return y, lambda ȳ: (None, *back(ȳ))


for _kind in (set, frozenset):
    PULL[_kind] = partial(_make, _kind)
    PUSH[_kind] = partial(_push, _kind)
for _name in ("add", "discard", "remove", "pop", "clear", "update", "difference_update", "intersection_update"):
    PULL[getattr(set, _name)] = partial(_change, getattr(set, _name))
    PUSH[getattr(set, _name)] = partial(_push, getattr(set, _name))
for _name in ("union", "intersection", "difference", "issubset", "issuperset", "isdisjoint", "symmetric_difference"):
    for _kind in (set, frozenset):
        PULL[getattr(_kind, _name)] = partial(_look, getattr(_kind, _name))
        PUSH[getattr(_kind, _name)] = partial(_push, getattr(_kind, _name))
