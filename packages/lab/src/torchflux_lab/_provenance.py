"""What a run is made of: written into its folder when it begins, and completed when it ends."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ._declared import data_files
from ._error import LabError
from ._experiment import Experiment
from ._files import digests, name_in
from ._git import changes, commit_of
from ._imports import imported, loaded_files
from ._machine import machine, settings
from ._packages import Installed, installed, packages_of
from ._processes import processes
from ._project import LAB, Project, of_the_lab
from ._results import write_json

__all__ = ["PROVENANCE", "provenance"]

#: The file in a run's folder.
PROVENANCE = "provenance.json"

HASHED = ("code", "data", "locks")


@contextmanager
def provenance(experiment: Experiment, parameters: dict[str, Any], folder: Path) -> Iterator[None]:
    """Write down what a run is made of, around the run: code, data, locks, packages, commit, machine.

    When it begins, the code is what the script's imports lead to, and of the packages there is one hash of all that are
    installed. When it ends, files that were loaded otherwise are added, and each package that was loaded. What changed
    in between, or since the run was first begun if it is resumed, is named under `altered`.

    **Raises:** `LabError` when it cannot be written, or the script's `DATA` names what is not there.
    """
    begun = _begun(experiment, parameters)
    begun["altered"] = _since(_earlier(folder), begun)
    _write(folder, begun)
    yield
    _write(folder, _ended(begun, Project.of(experiment.script)))


def _begun(experiment: Experiment, parameters: dict[str, Any]) -> dict[str, Any]:
    script = experiment.script.resolve()
    project = Project.of(script)
    code, data = imported(script, project.owns), data_files(script)
    return {
        "experiment": experiment.name,
        "script": name_in(project.root, script),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "finished": False,
        "commit": commit_of(project.root),
        "changed": [name for name in changes(project.root) if not _is_record(name)],
        "parameters": parameters,
        "code": _hashes(project, code),
        "data": _hashes(project, data),
        "locks": digests(project.root, project.locks),
        "local": _local(project, script, code),
        "installed": _installed(),
        "packages": {},
        "settings": settings(),
        "processes": processes(),
        "machine": machine(),
        "elsewhere": [],
    }


def _is_record(name: str) -> bool:
    """Records change no run."""
    return name.startswith("lockfiles/") and name.endswith(".toml")


def _hashes(project: Project, paths: Any) -> dict[str, str]:
    return digests(project.root, [name_in(project.root, path.resolve()) for path in paths])


def _local(project: Project, script: Path, code: set[Path]) -> list[str]:
    """The project's own packages that the run needs; the lab runs it."""
    return project.packages([LAB / "__init__.py", *(path for path in code if script.parent not in path.parents)])


def _ended(begun: dict[str, Any], project: Project) -> dict[str, Any]:
    files = {file for file in loaded_files() if not of_the_lab(file)}
    own = {Path(file) for file in files if file.startswith(str(project.root)) and project.owns(Path(file))}
    names, strangers = packages_of(files - set(map(str, own)), installed())
    script = project.root / begun["script"]
    now = {section: digests(project.root, list(begun[section])) for section in HASHED} | {"installed": _installed()}
    return begun | {
        "finished": True,
        "code": dict(sorted((_hashes(project, own) | begun["code"]).items())),
        "local": sorted({*begun["local"], *_local(project, script, own)}),
        "packages": {name: {"version": p.version, "sha256": p.sha256} for name, p in _sorted() if name in names},
        "machine": begun["machine"] | {"device": machine()["device"]},
        "elsewhere": sorted("/".join(Path(file).parts[-2:]) for file in strangers),
        "altered": sorted({*begun["altered"], *_since(begun, begun | now)}),
    }


def _since(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is not as it was: the names of files, and `parameters`, and `installed` for the packages."""
    if not earlier:
        return []
    names = [key for key in ("parameters", "installed") if earlier[key] != now[key]]
    for section in HASHED:
        both = set(earlier[section]) | set(now[section])
        names += [name for name in both if earlier[section].get(name) != now[section].get(name)]
    return sorted({*earlier["altered"], *names})


def _installed() -> str:
    """One hash of all that is installed."""
    lines = [f"{name} {package.version} {package.sha256}\n" for name, package in _sorted()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sorted() -> list[tuple[str, Installed]]:
    return sorted(installed().items())


def _earlier(folder: Path) -> dict[str, Any]:
    """What is there of a run that is resumed; what it has left half written is taken away."""
    for torn in folder.glob(f".{PROVENANCE}-*"):
        torn.unlink()
    try:
        return dict(json.loads((folder / PROVENANCE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise LabError(f"{folder / PROVENANCE} cannot be read: {error}. Begin the run anew.") from error


def _write(folder: Path, content: dict[str, Any]) -> None:
    try:
        write_json(folder / PROVENANCE, content)
    except OSError as error:
        raise LabError(f"{folder / PROVENANCE} cannot be written: {error.strerror}.") from error
