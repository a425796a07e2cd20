"""Sorting and choosing by a key written in Python, which is differentiated like any function: it may change things."""

from types import FunctionType, MethodType
from typing import Any

from ._registry import constant

__all__ = ["by_key", "chosen", "chosen_by", "ordering", "sorted_by"]


def by_key(options: Any) -> bool:
    """Whether the options of `sorted`, `max` or `min` have a key that is written in Python."""
    return isinstance(options.get("key"), FunctionType | MethodType)


def ordering(parts: list[Any], key: Any = None, reverse: bool = False) -> list[int]:
    """The order in which the parts are sorted."""
    keys = parts if key is None else [key(x) for x in parts]
    return sorted(range(len(parts)), key=keys.__getitem__, reverse=reverse)


def chosen(which: Any, parts: list[Any], key: Any = None) -> int:
    """The index of the least or greatest part, the first of equal ones."""
    keys = parts if key is None else [key(x) for x in parts]
    found: int = which(range(len(parts)), key=keys.__getitem__)
    return found


def sorted_by(xs: Any, key: Any, reverse: bool = False) -> list[Any]:
    parts = list(xs)
    keys = [key(x) for x in parts]
    return [parts[i] for i in ordering(keys, None, reverse)]


def chosen_by(which: Any, xs: Any, key: Any, **default: Any) -> Any:
    parts = list(xs)
    keys = [key(x) for x in parts]
    if not keys and "default" in default:
        return default["default"]
    return parts[chosen(which, keys)]


constant(by_key, ordering, chosen)
