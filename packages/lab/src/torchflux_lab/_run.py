"""One run of an experiment, from its parameters to its results.json."""

import dataclasses
import platform
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ._error import LabError, ScriptError
from ._experiment import Program
from ._provenance import provenance
from ._results import plain, write_json
from ._versions import versions

__all__ = ["FAILED", "RESULTS", "perform"]

#: What a run leaves in its folder when it is done, and when its script raised.
RESULTS, FAILED = "results.json", "failed.txt"


def perform(program: Program, parameters: Any, folder: Path) -> dict[str, Any]:
    """Run an experiment in this process, and write its results.json when it is done.

    **Arguments:**

    - `program`: the loaded experiment.
    - `parameters`: an instance of its `Parameters`.
    - `folder`: where it writes; results.json comes there too.

    **Returns:** what results.json holds. No path of this machine is in it but those that the script returns.

    **Raises:** `ScriptError` when the script does; then failed.txt holds the traceback, and there is no
    results.json.
    """
    values = plain(dataclasses.asdict(parameters), "parameters")  # before the script can change them
    started, clock = datetime.now(UTC), time.perf_counter()
    with provenance(program.experiment, values, folder):
        results = _results(program, parameters, folder)
    record = {
        "name": program.experiment.name,
        "parameters": values,
        "seed": values["seed"],
        "results": results,
        "seconds": round(time.perf_counter() - clock, 3),
        "versions": versions(),
        "platform": platform.platform(),
        "started": started.isoformat(timespec="seconds"),
    }
    _save(folder / RESULTS, record)
    return record


def _results(program: Program, parameters: Any, folder: Path) -> dict[str, Any]:
    try:
        returned = program.main(parameters, folder)
        if not isinstance(returned, dict):
            raise TypeError(f"main returned a {type(returned).__name__}; a dict of results was expected.")
        return plain(returned)
    except (Exception, SystemExit) as error:
        failure = ScriptError(program.experiment.script, error)
        with suppress(OSError):  # the traceback is shown anyway
            (folder / FAILED).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        raise failure from error


def _save(path: Path, record: dict[str, Any]) -> None:
    try:
        write_json(path, record)
    except OSError as error:
        # Hours of work may be in them: what cannot be written is at least shown.
        message = f"{path} cannot be written: {error.strerror}. The results were:\n\n{record['results']}"
        raise LabError(message) from error
