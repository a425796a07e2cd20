"""Where in the user's file a refusal belongs."""

import sys

from ._refuse import Refused

__all__ = ["here", "placed"]


class placed:
    """A context that gives a refusal that passes through its `file:line:column`."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Refused) and not error.place:
            error.place = _place(error)


def _place(error: Refused) -> str:
    from ._transform import place_of

    found, trace = "", error.__traceback__
    while trace is not None:
        found = place_of(trace.tb_frame.f_code.co_filename, trace.tb_lineno) or found
        trace = trace.tb_next
    return found


def here() -> str:
    """The place in the user's file of the generated code that is running."""
    from ._transform import place_of

    frame = sys._getframe(1)
    while frame is not None:
        found = place_of(frame.f_code.co_filename, frame.f_lineno)
        if found:
            return found
        frame = frame.f_back  # type: ignore[assignment]
    return ""
