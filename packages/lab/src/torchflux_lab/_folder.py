"""The folder of a run: what lies in it, and how a new one is made."""

import itertools
import os
from datetime import datetime
from pathlib import Path

from ._error import LabError

__all__ = ["CHECKPOINTS", "FAILED", "LOG", "METRICS", "RESULTS", "RUN", "RUNS", "refuse_occupied", "run_folder"]

#: What a run's folder holds from the start: what it is, and what its script prints.
RUN, LOG = "run.json", "log.txt"

#: What a script may leave in it on the way.
METRICS, CHECKPOINTS = "metrics.jsonl", "checkpoints"

#: What is there when the run is done, and when its script raised.
RESULTS, FAILED = "results.json", "failed.txt"

#: Where the folders are that nobody names, under the working directory.
RUNS = "runs"


def run_folder(name: str, out: Path | None = None) -> Path:
    """Make the folder that a run writes into.

    **Arguments:**

    - `name`: the experiment's.
    - `out`: this folder. Without it, a new one, `runs/NAME-YYYYmmdd-HHMMSS` under the working directory, with
      `-2`, `-3`, … behind it when it is taken.

    **Returns:** its absolute path.

    **Raises:** `LabError` when `out` holds something already, or the folder cannot be made or written.
    """
    try:
        folder = _named(out) if out else _new(Path(RUNS).resolve(), f"{name}-{datetime.now():%Y%m%d-%H%M%S}")
    except OSError as error:
        raise LabError(f"The run's folder cannot be made: {error.strerror}: {error.filename}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise LabError(f"{folder} cannot be written: it is read-only. Name another folder: --out DIR.")
    return folder


def _named(out: Path) -> Path:
    refuse_occupied(out)
    out.mkdir(parents=True, exist_ok=True)
    return out.resolve()


def _new(parent: Path, name: str) -> Path:
    """A folder that was not there: `mkdir` decides, so two runs at the same moment get two."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
            break
        except FileExistsError:
            continue
    return folder


def refuse_occupied(out: Path) -> None:
    """Raise `LabError` if a path is something else than a free name or an empty folder."""
    if out.exists() and not out.is_dir():
        raise LabError(f"--out {out} is a file. Name a folder that is new or empty.")
    first = next(iter(sorted(out.iterdir())), None) if out.exists() else None
    if first:
        hint = "Name a folder that is new or empty"
        hint += ", or go on with the run that is there: --resume." if (out / RUN).is_file() else "."
        raise LabError(f"--out {out} holds something already ({first.name}). {hint}")
