"""What goes wrong, in two kinds: what the user can put right, and an experiment's own exception."""

from pathlib import Path
from types import TracebackType

__all__ = ["LabError", "ScriptError"]


class LabError(Exception):
    """Something that the user can put right: the message says what was given, what was expected, what to do.

    The command shows it without a traceback and ends with exit code 2.
    """


class ScriptError(Exception):
    """An experiment's script raised: the cause (`__cause__`) is its exception, with the script's frames only.

    The command shows the cause's traceback and ends with exit code 1.
    """

    def __init__(self, script: Path, cause: BaseException) -> None:
        super().__init__(f"{script.name} raised {type(cause).__name__}: {cause}")
        self.__cause__ = cause.with_traceback(_from(script, cause))


def _from(script: Path, error: BaseException) -> TracebackType | None:
    """The error's traceback without the frames above the script's own."""
    frames = error.__traceback__
    while frames and frames.tb_frame.f_code.co_filename != str(script):
        frames = frames.tb_next
    return frames
