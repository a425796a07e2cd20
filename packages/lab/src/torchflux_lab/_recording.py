"""Making a record of a run: only of one that is finished, clean, and still what lies here."""

import dataclasses
from pathlib import Path
from typing import Any

from ._error import LabError
from ._files import digests
from ._lockfile import unlocked
from ._packages import installed
from ._project import Project
from ._record import Record, read_run, with_tolerances

__all__ = ["record_of"]


def record_of(folder: Path, project: Project, dirty: bool = False) -> Record:
    """The record of a finished run, after checking that what it was made of is still here, unchanged.

    **Arguments:**

    - `folder`: the run's.
    - `project`: which the experiment belongs to.
    - `dirty`: also when the checkout had changes that no commit holds, which the record then names.

    **Raises:** `LabError`, which names everything that speaks against it.
    """
    record, about = read_run(folder)
    if not (about["finished"] and (folder / "results.json").exists()):
        raise LabError(f"The run in {folder} is not finished: it has no results, so there is nothing to record.")
    lock, unlocked = _lock(record, about, project)
    objections = [*_objections(record, about, project, dirty), *unlocked]
    if objections:
        raise LabError(f"The run in {folder} cannot be recorded:\n" + "\n".join(f"  - {each}" for each in objections))
    return with_tolerances(dataclasses.replace(record, lock=lock), project.root / record.run["script"])


def _objections(record: Record, about: dict[str, Any], project: Project, dirty: bool) -> list[str]:
    found = []
    if not dirty and record.run["commit"] is None:
        found.append("its project is no git checkout, so there is no commit to get the code from (--dirty records it)")
    if not dirty and record.run["changed"]:
        names = _few(record.run["changed"])
        found.append(f"the checkout had changes when it began: {names}. Commit them and run it again, or give --dirty")
    if about["altered"]:
        found.append(f"it changed while it ran, or before it was resumed: {_few(about['altered'])}")
    if about["elsewhere"]:
        found.append(f"it loaded files that belong to no package and not to the project: {_few(about['elsewhere'])}")
    files = digests(project.root, list(record.files))
    found += [f"{name} is not as it was when it ran" for name, is_ in record.files.items() if files.get(name) != is_]
    return found + _packages(record)


def _packages(record: Record) -> list[str]:
    """The packages that are not installed as they were, or not as they say themselves."""
    here, found = installed(), []
    for name, about in record.packages.items():
        if name not in here or (here[name].version, here[name].sha256) != (about["version"], about["sha256"]):
            is_ = f"{here[name].version} is" if name in here else "none is"
            found.append(f"{name} {about['version']} was loaded, and {is_} installed here")
        elif altered := list(here[name].altered()):
            found.append(f"{name}'s files are not as it was installed: {_few(altered)}")
    return found


def _lock(record: Record, about: dict[str, Any], project: Project) -> tuple[dict[str, str], list[str]]:
    """The lock file that holds every loaded package, or what the one that comes nearest lacks."""
    versions = {name: package["version"] for name, package in record.packages.items()}
    if not about["locks"]:
        return {}, ["its project has no lock file in lockfiles/, so its packages cannot be had again"]
    missing = {name: unlocked((project.root / name).read_text("utf-8"), versions) for name in project.locks}
    name = min(missing, key=lambda name: len(missing[name]))
    if about["locks"].get(name) != digests(project.root, [name])[name]:
        return {}, [f"{name} is not as it was when it ran"]
    lacks = [f"{name} does not hold what was loaded: {_few(missing[name])}"] if missing[name] else []
    return {"file": name, "sha256": about["locks"][name]}, lacks


def _few(names: list[str]) -> str:
    """Some names in one line.

    >>> _few(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
