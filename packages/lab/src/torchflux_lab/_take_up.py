"""Taking up the folder of a run, whatever is in it: begin, go on, or leave it, as it is done."""

import re
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ._folder import LOG, RUN
from ._runs import Run

__all__ = ["command_for", "has_run", "is_done", "run_state"]


def command_for(name: str, experiments: Path, folder: Path, settings: Sequence[str]) -> list[str]:
    """The command that begins a run in a folder, or goes on with the one that is there."""
    begun = has_run(folder)
    options = ["--experiments", str(experiments), "--out", str(folder), *(["--resume"] if begun else [])]
    values = [part for setting in settings for part in ("--set", setting)]
    return [sys.executable, "-m", "torchflux_lab", "run", name, *options, *values]


def has_run(folder: Path) -> bool:
    """Whether a run has begun there. One that was killed before it could say what it is leaves an empty log."""
    if (folder / RUN).is_file():
        return True
    torn = re.compile(rf"{LOG}|\.{RUN}-.*|worker-\d+\.txt")
    if folder.is_dir() and all(torn.fullmatch(path.name) for path in folder.iterdir()):
        shutil.rmtree(folder)
    return False


def run_state(folder: Path) -> str:
    """A run's state, or `missing`."""
    return Run.read(folder).state if (folder / RUN).is_file() else "missing"


def is_done(folder: Path, wait: bool = False) -> bool:
    """Whether a run is done; with `wait` one that is still being carried out is waited for."""
    while wait and run_state(folder) == "running":
        time.sleep(0.2)
    return run_state(folder) == "done"
