"""The folder of a run: a new one, or an empty one that the user names."""

import itertools
from datetime import datetime
from pathlib import Path

from ._error import LabError

__all__ = ["refuse_occupied", "run_folder"]


def run_folder(name: str, out: Path | None = None) -> Path:
    """Make the folder that a run writes into.

    **Arguments:**

    - `name`: the experiment's.
    - `out`: this folder. Without it, a new one, `runs/NAME-YYYYmmdd-HHMMSS` under the working directory, with
      `-2`, `-3`, … behind it when it is taken.

    **Returns:** its absolute path.

    **Raises:** `LabError` when `out` holds something already, or the folder cannot be made.
    """
    try:
        if out is None:
            return _new(Path("runs").resolve(), f"{name}-{datetime.now():%Y%m%d-%H%M%S}")
        refuse_occupied(out)
        out.mkdir(parents=True, exist_ok=True)
        return out.resolve()
    except OSError as error:
        raise LabError(f"The run's folder cannot be made: {error.strerror}: {error.filename}.") from error


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
        raise LabError(f"--out {out} holds something already ({first.name}). Name a folder that is new or empty.")
