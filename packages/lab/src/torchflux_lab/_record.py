"""A record: what a run was made of and what came out, as a file that people and programs read."""

import dataclasses
import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._agreement import UNCOMPARED, flat
from ._declared import tolerances
from ._error import LabError
from ._provenance import PROVENANCE
from ._toml import to_toml

__all__ = ["Record", "read_record", "read_run"]

HEADING = """\
# A record: what a run was made of, and what came out. `torchflux verify` says how this machine differs from it, and
# `torchflux reproduce` runs it again. Not to be edited: [digests] has a hash of every table.
"""
COMMENTS = {
    "run": "Which experiment, at which commit; what was changed beside it; the project's packages that it needs; "
    "settings of the process environment.",
    "parameters": "As they were set; `none` is None.",
    "code": "SHA-256 of the script and of every file of the project that it imports.",
    "data": "SHA-256 of the files that it reads.",
    "lock": "From where the packages come.",
    "packages": "Those that were loaded, each with the SHA-256 of the list of its files and their hashes.",
    "machine": "Where it ran.",
    "tolerances": "How results must agree: a relative tolerance, or a relative and an absolute one; the first name "
    "that fits counts. The last is for floats alone: what else it fits must be equal.",
    "results": "What came out.",
}


@dataclass(frozen=True)
class Record:
    """The tables of a record, and `written`: the digests that its file has of them."""

    run: dict[str, Any]
    parameters: dict[str, Any]
    code: dict[str, str]
    data: dict[str, str]
    lock: dict[str, str]
    packages: dict[str, dict[str, str]]
    machine: dict[str, Any]
    tolerances: dict[str, Any]
    results: dict[str, Any]
    written: dict[str, str] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def experiment(self) -> str:
        return str(self.run["experiment"])

    @property
    def files(self) -> dict[str, str]:
        """All files of the project, and of its data, with their SHA-256."""
        lock = {self.lock["file"]: self.lock["sha256"]} if self.lock else {}
        return self.code | self.data | lock

    @property
    def tables(self) -> dict[str, dict[str, Any]]:
        """What is written, by name."""
        return {name: getattr(self, name) for name in COMMENTS}

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of what each table says, however it is laid out."""
        return {name: _digest(table) for name, table in self.tables.items()}

    @property
    def edited(self) -> list[str]:
        """The tables that are not as they were recorded."""
        return [name for name, digest in self.digests.items() if self.written.get(name) != digest]

    def text(self) -> str:
        """The file's content. It is the same for the same run, whoever writes it."""
        tables = to_toml(self.tables | {"digests": self.digests}, COMMENTS | {"digests": "SHA-256 of the tables."})
        return f"{HEADING}\n{tables}\n"


def _digest(table: dict[str, Any]) -> str:
    """Of the values as they are read back: None is "none", and a tuple a list."""
    text = tomllib.loads(to_toml({"table": table}, {}))["table"]
    return hashlib.sha256(json.dumps(text, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def read_record(path: Path) -> Record:
    """Read a record's file.

    **Raises:** `LabError` when it is none.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return Record(**{name: dict(content[name]) for name in COMMENTS}, written=dict(content["digests"]))
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror}.") from error
    except KeyError as error:
        raise LabError(f"{path} is no record: it has no table [{error.args[0]}].") from error
    except (ValueError, TypeError) as error:
        raise LabError(f"{path} is no record: {error}.") from error


def read_run(folder: Path) -> tuple[Record, dict[str, Any]]:
    """A run's folder as a record, and its provenance. Nothing is checked; without results.json there are no results.

    **Raises:** `LabError` when the folder is no run's.
    """
    about = _json(folder / PROVENANCE)
    done = _json(folder / "results.json") if (folder / "results.json").exists() else {"results": {}, "seconds": None}
    run = {name: about[name] for name in ("experiment", "script", "commit", "changed", "local", "settings", "started")}
    run |= {"processes": about["processes"]} if about.get("processes", 1) > 1 else {}
    record = Record(
        run=run | {"seconds": done["seconds"]},
        parameters=about["parameters"],
        code=about["code"],
        data=about["data"],
        lock={},
        packages=about["packages"],
        machine=about["machine"],
        tolerances={},
        results=flat(done["results"]),
    )
    return record, about


def with_tolerances(record: Record, script: Path) -> Record:
    """A record with what the script declares of its results."""
    declared = {name: _written(value) for name, value in tolerances(script).items()}
    return dataclasses.replace(record, tolerances=declared)


def _written(tolerance: Any) -> Any:
    return UNCOMPARED if tolerance is None else list(tolerance) if isinstance(tolerance, tuple) else tolerance


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise LabError(f"{path.parent} is no run that can be recorded: it has no {path.name}.") from None
    except (OSError, ValueError) as error:
        raise LabError(f"{path} cannot be read: {error}.") from error
