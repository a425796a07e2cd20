"""Two runs, or records, side by side."""

import dataclasses
from pathlib import Path

from ._agreement import Agreement, agreements
from ._declared import DEFAULT
from ._differences import Difference, differences
from ._record import Record, read_record, read_run

__all__ = ["compared", "read"]

TABLES = ("run", "parameters", "code", "data", "lock", "packages", "machine")


def read(path: Path) -> Record:
    """A record's file, or a run's folder as a record.

    **Raises:** `LabError` when it is neither.
    """
    return read_run(path)[0] if path.is_dir() else read_record(path)


def compared(left: Record, right: Record) -> tuple[list[Difference], list[Agreement]]:
    """All that differs between two runs, and their results beside each other, by the tolerances of a record if one
    is among them."""
    if not (left.lock and right.lock):  # only a record knows its lock
        left, right = (dataclasses.replace(side, lock={}) for side in (left, right))
    if not (left.results and right.results):  # what an unfinished run has loaded is not known
        both = left.packages.keys() & right.packages.keys()
        left, right = (_with_packages(side, both) for side in (left, right))
    tolerances = left.tolerances or right.tolerances or {"*": DEFAULT}
    return differences(left, right, TABLES), agreements(left.results, right.results, tolerances)


def _with_packages(record: Record, names: set[str]) -> Record:
    return dataclasses.replace(record, packages={n: about for n, about in record.packages.items() if n in names})
