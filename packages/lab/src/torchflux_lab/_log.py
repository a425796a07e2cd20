"""What a script prints, on the screen and in the run's log.

The screen gets everything as it comes: it stays the terminal that it was, for progress bars too. The log gets whole
lines, each as a terminal shows it in the end: of a bar that is drawn over and over, its last state.
"""

import re
import sys
from pathlib import Path
from typing import IO, Any

from ._error import LabError
from ._lock import lock, unlock

COLOURS_AND_MOVES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Log:
    """The log of a run, as a context: inside, `print` writes to it too, and the run's folder is locked.

    **Raises:** `LabError` when another run holds the folder, or the file cannot be opened. What cannot be written
    later is said once, and stops no run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken = False

    def __enter__(self) -> "Log":
        try:
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise LabError(f"{self.path} cannot be written: {error.strerror}.") from error
        try:
            lock(self._file, self.path.parent)
        except BaseException:
            self._file.close()
            raise
        self._screen, self._tees = (sys.stdout, sys.stderr), (Tee(sys.stdout, self), Tee(sys.stderr, self))
        sys.stdout, sys.stderr = self._tees
        return self

    def __exit__(self, *raised: object) -> None:
        sys.stdout, sys.stderr = self._screen
        for tee in self._tees:
            tee.finish()
        unlock(self._file)
        self._file.close()

    def line(self, text: str) -> None:
        """Write a line."""
        if self.broken:
            return
        try:
            self._file.write(f"{as_shown(text)}\n".encode(errors="backslashreplace"))
        except OSError as error:
            self.broken = True
            said = f"{self.path.name} cannot be written any more: {error.strerror}. The run goes on without it."
            print(said, file=self._screen[1])


class Tee:
    """A text stream that is also logged. It says of itself what the stream says: its width, if it is a terminal."""

    def __init__(self, stream: IO[str], log: Log) -> None:
        self._stream, self._log, self._pending = stream, log, ""

    def write(self, text: str) -> int:
        """Write to the screen at once, and to the log when a line is complete."""
        written = self._stream.write(text)
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            self._log.line(line)
        if "\r" in self._pending:  # of a bar that is drawn for hours, the last state is kept
            self._pending = as_shown(self._pending) + ("\r" if self._pending.endswith("\r") else "")
        return written

    def writelines(self, lines: Any) -> None:
        """Write each of some texts."""
        for line in lines:
            self.write(line)

    def finish(self) -> None:
        """Log what no end of line came behind."""
        if as_shown(self._pending):
            self._log.line(self._pending)
        self._pending = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def as_shown(line: str) -> str:
    r"""A line as a terminal shows it in the end.

    >>> as_shown("  0%|     |\r 50%|##   |\r100%|#####|"), as_shown("\x1b[31mred\x1b[0m"), as_shown("done\r")
    ('100%|#####|', 'red', 'done')
    """
    parts = [part.rstrip() for part in COLOURS_AND_MOVES.sub("", line).split("\r")]
    return next((part for part in reversed(parts) if part), "")
