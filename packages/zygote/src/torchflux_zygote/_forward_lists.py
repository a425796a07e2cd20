"""Forward rules of lists and tuples: what is done to a list is done to its mirror. All Python."""

from typing import Any

from ._lists import sort_by
from ._ordering import by_key, ordering, sorted_by
from ._registry import pushes
from ._streams import dots_in, each_pair, has, pairs_of

__all__: list[str] = []


@pushes(list.append)
def _append(push: Any, args: Any, dots: Any, names: Any) -> Any:
    xs, v = args
    if dots[1] is not None or has(push, xs):
        push.mirror(xs).append(dots[1])
    xs.append(v)
    return None, None


@pushes(list.insert)
def _insert(push: Any, args: Any, dots: Any, names: Any) -> Any:
    push.mirror(args[0]).insert(args[1], dots[2])
    args[0].insert(args[1], args[2])
    return None, None


@pushes(list.pop)
def _pop(push: Any, args: Any, dots: Any, names: Any) -> Any:
    xs = args[0]
    i = args[1] if len(args) > 1 else len(xs) - 1
    dot = push.mirror(xs).pop(i) if has(push, xs) else None
    return xs.pop(i), dot


@pushes(list.extend)
def _extend(push: Any, args: Any, dots: Any, names: Any) -> Any:
    xs = args[0]
    values, parts = pairs_of(push, args[1], dots[1])
    push.mirror(xs).extend(parts)
    xs.extend(values)
    return None, None


@pushes(list.clear)
def _clear(push: Any, args: Any, dots: Any, names: Any) -> Any:
    push.mirror(args[0]).clear()
    args[0].clear()
    return None, None


@pushes(list.reverse)
def _reverse(push: Any, args: Any, dots: Any, names: Any) -> Any:
    push.mirror(args[0]).reverse()
    args[0].reverse()
    return None, None


@pushes(list.remove)
def _remove(push: Any, args: Any, dots: Any, names: Any) -> Any:
    xs = args[0]
    i = xs.index(args[1])
    push.mirror(xs).pop(i)
    xs.pop(i)
    return None, None


@pushes(list.sort)
def _sort(push: Any, args: Any, dots: Any, names: Any) -> Any:
    xs, how = args[0], dict(zip(names, args[1:]))  # noqa: B905
    if by_key(how):
        return push(sort_by, args, dots, names)
    order = ordering(list(xs), **how)
    mirror = push.mirror(xs)
    mirror[:] = [mirror[i] for i in order]
    xs[:] = [xs[i] for i in order]
    return None, None


@pushes(list.copy)
def _copy(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = args[0].copy()
    push.fill(y, dots_in(push, args[0], None))
    return y, None


@pushes(list)
def _list(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if len(args) == 0:
        return [], None
    values, parts = pairs_of(push, args[0], dots[0])
    push.fill(values, parts)
    return values, None


@pushes(tuple)
def _tuple(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if len(args) == 0:
        return (), None
    values, parts = pairs_of(push, args[0], dots[0])
    return tuple(values), tuple(parts)


@pushes(sorted)
def _sorted(push: Any, args: Any, dots: Any, names: Any) -> Any:
    how = dict(zip(names, args[1:]))  # noqa: B905
    if by_key(how):
        return push(sorted_by, args, dots, names)
    values, parts = pairs_of(push, args[0], dots[0])
    order = ordering(values, **how)
    y = [values[i] for i in order]
    push.fill(y, [parts[i] for i in order])
    return y, None


@pushes(reversed)
def _reversed(push: Any, args: Any, dots: Any, names: Any) -> Any:
    values, parts = pairs_of(push, args[0], dots[0])
    y = values[::-1]
    push.fill(y, parts[::-1])
    return each_pair(push, y, None), None
