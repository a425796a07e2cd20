"""A record held against a machine, or against the commit that it names."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from ._differences import Difference, differences
from ._error import LabError
from ._files import digests
from ._git import holds, unpack
from ._machine import machine
from ._packages import installed
from ._project import Project
from ._record import Record

__all__ = ["at_commit", "edited", "on_this_machine"]

FILES = ("code", "data", "lock")


def edited(record: Record) -> list[Difference]:
    """The tables of a record that somebody changed after it was made."""
    return [Difference("record", name, "as recorded", "edited") for name in record.edited]


def on_this_machine(record: Record, project: Project, deep: bool = False) -> list[Difference]:
    """What differs between a record and what lies and is installed here.

    **Arguments:**

    - `record`: the record.
    - `project`: its project, as it is checked out here.
    - `deep`: look into every installed file, not only into the packages' own lists of them. Takes some seconds.
    """
    here = installed()
    found = dataclasses.replace(
        record,
        **_files(record, project.root),
        packages={
            name: {"version": here[name].version, "sha256": here[name].sha256}
            for name in record.packages
            if name in here
        },
        machine=machine() | {name: record.machine.get(name) for name in ("device", "processors")},
    )
    altered = [
        Difference("packages", f"{name}: {file}", "as installed", "altered")
        for name in (record.packages if deep else ())
        if name in here
        for file in here[name].altered()
    ]
    return edited(record) + differences(record, found, (*FILES, "packages", "machine")) + altered


def at_commit(record: Record, project: Project) -> list[Difference]:
    """What differs between a record and the commit that it names: code, data, lock file.

    **Raises:** `LabError` when the commit is not in this repository.
    """
    commit = record.run["commit"]
    if not holds(project.root, commit):
        raise LabError(f"The commit {commit} is not in this repository (a shallow clone? `git fetch --unshallow`).")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        unpack(project.root, commit, folder)
        found = _files(record, folder)
        # Data need not be in a commit: what is large is often ignored, and lies in the checkout alone.
        found["data"] |= digests(project.root, [name for name in record.data if name not in found["data"]])
    return edited(record) + differences(record, dataclasses.replace(record, **found), FILES)


def _files(record: Record, root: Path) -> dict[str, Any]:
    """The tables of files as they lie in a folder."""
    lock = digests(root, [record.lock["file"]])
    return {
        "code": digests(root, list(record.code)),
        "data": digests(root, list(record.data)),
        "lock": {"file": name, "sha256": lock[name]} if (name := record.lock["file"]) in lock else {},
    }
