"""Records as text: TOML, with a line for each value and a fixed order."""

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

__all__ = ["to_toml"]

WIDTH = 116


def to_toml(tables: Mapping[str, Mapping[str, Any]], comments: Mapping[str, str]) -> str:
    """TOML of tables of values, each below a comment. None is written as the text "none", as on a command line.

    >>> print(to_toml({"run": {"seed": 0, "λ": [0.1, 1.0]}}, {"run": "What ran."}))
    # What ran.
    [run]
    seed = 0
    "λ" = [0.1, 1.0]
    """
    return "\n\n".join(_table(name, table, comments.get(name, "")) for name, table in tables.items())


def _table(name: str, table: Mapping[str, Any], comment: str) -> str:
    above = [f"# {line}" for line in textwrap.wrap(comment, WIDTH)]
    return "\n".join([*above, f"[{name}]", *(f"{_key(key)} = {_broken(value)}" for key, value in table.items())])


def _broken(value: Any) -> str:
    """A value, with line breaks in a long list."""
    text = _value(value)
    if len(text) < WIDTH - 20 or not isinstance(value, list):
        return text
    items = [_value(item) + "," for item in value]
    lines = textwrap.wrap(" ".join(items), WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(["[", *(f"  {line}" for line in (lines if _numbers(value) else items)), "]"])


def _numbers(values: list[Any]) -> bool:
    """Whether these may be wrapped like words."""
    return all(isinstance(value, int | float) for value in values)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if value is None or isinstance(value, str):
        return json.dumps("none" if value is None else value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)
