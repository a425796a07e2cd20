"""In what two records differ, table by table: a record and a machine, a record and its reproduction, two runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ._record import Record

__all__ = ["Difference", "differences"]

HASHED = ("code", "data")
# When and for how long a run ran is never the same, and a lock is that of a record alone.
UNCOMPARED = ("started", "seconds", "local", "script")


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same in both; None stands for what is not there at all."""

    table: str
    name: str
    left: str | None
    right: str | None

    @property
    def matters(self) -> bool:
        """Whether it is part of what a record pins. Another machine can reproduce a result; another package may not."""
        return self.table != "machine" or self.name == "python"


def differences(left: Record, right: Record, tables: tuple[str, ...]) -> list[Difference]:
    """What differs in these tables. Results are compared by `agreements`, not here."""
    return [each for table in tables for each in _of(table, getattr(left, table), getattr(right, table))]


def _of(table: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[Difference]:
    for name in [*left, *(name for name in right if name not in left)]:
        if table == "run" and name in UNCOMPARED:
            continue
        a, b = (_shown(table, side.get(name)) for side in (left, right))
        if left.get(name) != right.get(name):
            yield Difference(table, name, a, b)


def _shown(table: str, value: Any) -> str | None:
    """A value in a few words.

    >>> _shown("code", "87ea423bc56f27fec510ea01aa791ca77911cb8351fa77b70949325e6560bcc8")
    '87ea423bc56f'
    """
    if value is None:
        return None
    if table == "packages":
        return f"{value['version']}, files {value['sha256'][:12]}"
    return str(value)[:12] if table in HASHED else str(value)
