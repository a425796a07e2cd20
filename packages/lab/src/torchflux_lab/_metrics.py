"""Numbers that a run measures on its way: a line each in metrics.jsonl, there as soon as it is given."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._error import LabError
from ._folder import METRICS, RUN
from ._results import plain

__all__ = ["Metrics"]

#: Who else is told each line, by the run's folder.
followers: dict[Path, Callable[[dict[str, Any]], None]] = {}


class Metrics:
    """Writes numbers into a run's metrics.jsonl, a line for each call.

    Outside of a run's folder it writes nothing: without the command, the script runs as if it were not there.

    **Arguments:**

    - `out`: the folder that `main` was given.
    - `always`: what every line holds. A string names a curve: lines that have another one are another curve.

    >>> import json, tempfile
    >>> out = Path(tempfile.mkdtemp())
    >>> _ = (out / "run.json").write_text("{}")  # as the lab makes it
    >>> metrics = Metrics(out, mode="plain")
    >>> metrics(step=1, loss=0.5)
    >>> (out / "metrics.jsonl").read_text()
    '{"mode": "plain", "step": 1, "loss": 0.5}\\n'

    **Raises:** `LabError` when the line cannot be written, and `TypeError` for what JSON cannot hold; the file is as
    it was then.
    """

    def __init__(self, out: Path, /, **always: Any) -> None:
        self._path = out / METRICS if (out / RUN).is_file() else None
        self._always = plain(always, "metrics")

    def __call__(self, /, **values: Any) -> None:
        """Write a line."""
        line = self._always | plain(values, "metrics")
        if self._path:
            _append(self._path, json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
            if follow := followers.get(self._path.parent):
                follow(line)


def _append(path: Path, line: str) -> None:
    """Add a line in one write, or leave the file as it was."""
    text = line.encode()
    with path.open("ab", buffering=0) as file:
        before = os.fstat(file.fileno()).st_size
        try:
            written = file.write(text)
            if written < len(text):  # what fitted on a disk that is full
                file.write(text[written:])
        except OSError as error:
            file.truncate(before)
            advice = "Make room, and go on from the last checkpoint: --resume."
            raise LabError(f"{path} cannot be written: {error.strerror}. {advice}") from error


def metrics_size(out: Path) -> int:
    """How many bytes of metrics there are, all of them on the disk."""
    path = out / METRICS
    if not path.is_file():
        return 0
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return path.stat().st_size


def cut_metrics(out: Path, size: int) -> None:
    """Take away what was measured after a checkpoint.

    **Raises:** `LabError` when there is less than the checkpoint has seen.
    """
    path = out / METRICS
    found = path.stat().st_size if path.is_file() else 0
    if found < size:
        raise LabError(
            f"{path} has {found} bytes, and the last checkpoint has seen {size}: it was cut. Begin a new run."
        )
    if found > size:
        os.truncate(path, size)
