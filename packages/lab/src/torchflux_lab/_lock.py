"""One run in a folder at a time: the lock is the kernel's, on the open log, and goes when the process does."""

from pathlib import Path
from typing import IO, Any

from ._error import LabError
from ._folder import LOG

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


def lock(log: IO[Any], folder: Path) -> None:
    """Hold the folder of a run until its log is closed; a process that is killed leaves no lock behind.

    **Raises:** `LabError` when another process holds it.
    """
    if fcntl and not _locked(log, fcntl.LOCK_EX):
        raise LabError(f"Another run is writing into {folder}. Wait for it, or name another folder: --out DIR.")


def unlock(log: IO[Any]) -> None:
    """Let go of the folder, also where a forked process still has the log open."""
    if fcntl:
        fcntl.flock(log, fcntl.LOCK_UN)


def is_held(folder: Path) -> bool:
    """Whether a process is running in this folder."""
    if not fcntl or not (folder / LOG).is_file():
        return False
    with (folder / LOG).open("rb") as log:
        return not _locked(log, fcntl.LOCK_SH)


def _locked(log: IO[Any], kind: int) -> bool:
    try:
        fcntl.flock(log, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        advice = "Runs need a file system with locks: name a folder on another one, --out DIR."
        raise LabError(f"{log.name} cannot be locked: {error.strerror}. {advice}") from error
    return True
