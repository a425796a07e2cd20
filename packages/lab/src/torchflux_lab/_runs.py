"""Runs that are there: what each is, in which state, and what it has measured."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._error import LabError
from ._folder import METRICS, RESULTS, RUN, RUNS
from ._lock import is_held
from ._results import write_json

__all__ = ["Run", "find_run", "runs"]

NEEDED = {"name", "state", "started", "resumed", "parameters", "settings"}


@dataclass(frozen=True)
class Run:
    """A run by its folder, and what run.json there says."""

    folder: Path
    about: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """The run of a folder.

        **Raises:** `LabError` when there is none.
        """
        try:
            about = json.loads((folder / RUN).read_text(encoding="utf-8"))
        except OSError as error:
            raise LabError(f"{folder} is no run's folder: {RUN}: {error.strerror}.") from error
        except ValueError as error:
            raise LabError(f"{folder / RUN} cannot be read: {error}.") from error
        if not isinstance(about, dict) or not about.keys() >= NEEDED:
            raise LabError(f"{folder / RUN} is no description of a run: it has to hold {', '.join(sorted(NEEDED))}.")
        return cls(folder.resolve(), about)

    @property
    def name(self) -> str:
        """The experiment's."""
        return str(self.about["name"])

    @property
    def state(self) -> str:
        """`running`, `done`, `failed` (its script raised), `stopped` (by Ctrl-C) or `killed`.

        A run that was killed could not write it down: its run.json says `running`, and nothing runs there.
        """
        state = str(self.about["state"])
        return "killed" if state == "running" and not is_held(self.folder) else state

    @property
    def results(self) -> dict[str, Any] | None:
        """What results.json holds, if the run is done."""
        path = self.folder / RESULTS
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl so far; a last one that is being written, or was cut short, is left out."""
        path = self.folder / METRICS
        if not path.is_file():
            return []
        *lines, _ = path.read_text(encoding="utf-8", errors="replace").split("\n")
        try:
            return [json.loads(line) for line in lines]
        except ValueError as error:
            raise LabError(f"{path} holds something else than lines of JSON: {error}.") from error

    def now(self, **changed: Any) -> "Run":
        """The run with something else to say of it, written down."""
        run = Run(self.folder, self.about | changed)
        write_json(self.folder / RUN, run.about)
        return run


def runs(parent: Path | None = None) -> list[Run]:
    """The runs whose folders lie in one folder, `runs` if it is not named, the last begun first."""
    return sorted(_runs(parent or Path(RUNS)), key=lambda run: run.about["started"], reverse=True)


def _runs(parent: Path) -> Iterator[Run]:
    for file in parent.glob(f"*/{RUN}"):
        try:
            yield Run.read(file.parent)
        except LabError:
            continue  # it says so when it is asked for by name


def find_run(given: str) -> Run:
    """The run that is meant by a folder, by a folder's name in `runs`, or the last run of an experiment by its name.

    **Raises:** `LabError`, which names some that there are.
    """
    for folder in (Path(given), Path(RUNS, given)):
        if (folder / RUN).is_file():
            return Run.read(folder)
    known = runs()
    for run in known:
        if run.name == given:
            return run
    some = ", ".join(run.folder.name for run in known[:5])
    here = f"The last ones in {RUNS}: {some}." if known else f"There are none in {Path(RUNS).resolve()}."
    raise LabError(f"'{given}' is no run: name its folder, or an experiment for its last run.\n{here}")
