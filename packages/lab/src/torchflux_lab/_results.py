"""Results as plain data, and as a file that is there as a whole or not at all."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

__all__ = ["plain", "write_json"]


def plain(value: Any, name: str = "results") -> Any:
    """A value as JSON holds it: mappings, lists, strings, numbers, booleans and None.

    Tensors and arrays become (nested) lists, dataclasses mappings, enums their names; NaN and the infinities,
    which JSON lacks, the strings that `float` reads.

    >>> plain({"loss": float("nan"), "sizes": (2, 3)})
    {'loss': 'NaN', 'sizes': [2, 3]}

    **Raises:** `TypeError`, which says where the thing is that JSON cannot hold.
    """
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str | bool | int | None):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _not_finite(value)
    if isinstance(value, Mapping):
        return {_key(key, name): plain(inner, f"{name}[{key!r}]") for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [plain(inner, f"{name}[{i}]") for i, inner in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, name)
    if hasattr(value, "tolist"):  # a tensor, an array, or NumPy's own scalar
        return plain(value.tolist(), name)
    raise TypeError(f"{name} is a {type(value).__name__}; JSON holds numbers, strings, lists and dicts.")


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _key(key: Any, name: str) -> str:
    if not isinstance(key, str | int):
        raise TypeError(f"{name} has the key {key!r}, a {type(key).__name__}; the keys of JSON are strings.")
    return str(key)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically: at every moment there is the old file, or the whole new one."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a text file atomically."""
    new = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
