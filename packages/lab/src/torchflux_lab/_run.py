"""One run of an experiment, from its parameters to its results.json."""

import dataclasses
import platform
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ._code import code_of, commit_of
from ._error import LabError, ScriptError
from ._experiment import Program
from ._folder import CHECKPOINTS, FAILED, LOG, RESULTS, RUN
from ._log import Log
from ._metrics import cut_metrics
from ._parameters import settings_of
from ._provenance import provenance
from ._results import plain, write_json
from ._runs import Run
from ._tensorboard import followed
from ._versions import versions

__all__ = ["perform", "perform_on"]


def perform(program: Program, parameters: Any, folder: Path, *, tensorboard: bool = False) -> dict[str, Any]:
    """Run an experiment in this process: its run.json at once, its log on the way, its results.json when it is done.

    **Arguments:**

    - `program`: the loaded experiment.
    - `parameters`: an instance of its `Parameters`.
    - `folder`: where it writes, with no run in it yet.
    - `tensorboard`: whether its metrics become a TensorBoard log too.

    **Returns:** what results.json holds. No path of this machine is in it but those that the script returns.

    **Raises:** `ScriptError` when the script does; then failed.txt holds the traceback, and there is no
    results.json. `LabError` when something cannot be written, or another run holds the folder.
    """
    about = description(program, parameters) | {"tensorboard": tensorboard, "started": _now(), "resumed": []}
    with Log(folder / LOG) as log:
        if (folder / RUN).exists():
            raise LabError(f"There is a run in {folder} already. Name a folder that is new or empty: --out DIR.")
        return _performed(program, parameters, Run(folder, about), log)


def perform_on(
    program: Program, parameters: Any, run: Run, changed: list[str], *, tensorboard: bool = False
) -> dict[str, Any]:
    """Go on with a run that was cut short, from its checkpoints; without any it begins again.

    **Arguments:**

    - `run`: as it is found; its `parameters` are those that are given.
    - `changed`: what is known to be other than when it began.
    - `tensorboard`: whether its metrics become a TensorBoard log, even if they didn't.

    **Returns:** and raises as `perform`.
    """
    with Log(run.folder / LOG) as log:
        about = Run.read(run.folder).about  # as it is now that the folder is held
        if about["state"] == "done":
            raise LabError(f"The run in {run.folder} is done: there is nothing to resume.")
        _tidy(run.folder)
        session = {"at": _now(), "changed": changed}
        log.line(f"--- resumed {session['at']} ---")
        about = {key: x for key, x in about.items() if key not in ("ended", "seconds")}
        about |= {"resumed": [*about["resumed"], session], "tensorboard": tensorboard or about["tensorboard"]}
        return _performed(program, parameters, Run(run.folder, about), log)


def description(program: Program, parameters: Any) -> dict[str, Any]:
    """What run.json says of a run before it begins."""
    values = plain(dataclasses.asdict(parameters), "parameters")  # before the script can change them
    script = program.experiment.script
    return {
        "name": program.experiment.name,
        "parameters": values,
        "seed": values["seed"],
        "settings": settings_of(parameters),
        "device": values.get("device", "cpu"),
        "git": commit_of(script),
        **surroundings(script),
    }


def surroundings(script: Path) -> dict[str, Any]:
    """What a run's numbers depend on besides its parameters, as far as a few lines can say it."""
    return {"code": code_of(script), "versions": versions(), "platform": platform.platform(), "threads": _threads()}


def _tidy(folder: Path) -> None:
    """Take away what a run that was cut short has left half done."""
    (folder / FAILED).unlink(missing_ok=True)
    for torn in (*folder.glob(f".{RUN}-*"), *folder.glob(f".{RESULTS}-*"), *(folder / CHECKPOINTS).glob(".*")):
        torn.unlink()
    if not has_checkpoint(folder):
        cut_metrics(folder, 0)


def has_checkpoint(folder: Path) -> bool:
    """Whether a run has come as far as a checkpoint; without one it begins again."""
    return any((folder / CHECKPOINTS).glob("[!.]*"))


def _threads() -> int | None:
    """How many PyTorch computes with, if the script has imported it."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch else None


def _performed(program: Program, parameters: Any, run: Run, log: Log) -> dict[str, Any]:
    """The record of a run whose folder is held."""
    clock = time.perf_counter()
    run = _written(run, state="running")
    with _how_it_ends(run, clock), followed(run):
        with provenance(program.experiment, run.about["parameters"], run.folder):
            results = _results(program, parameters, run.folder, log)
        about = {name: run.about[name] for name in ("versions", "platform", "started")}
        record = {name: run.about[name] for name in ("name", "parameters", "seed")}
        record |= {"results": results, "seconds": round(time.perf_counter() - clock, 3)} | about
        _save(run.folder / RESULTS, record)
    _written(run, state="done", ended=_now(), seconds=record["seconds"])
    return record


@contextmanager
def _how_it_ends(run: Run, clock: float) -> Iterator[None]:
    """Write down how a run ends that is not done."""
    try:
        yield
    except BaseException as error:
        state = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
        with suppress(OSError):  # a disk may be full
            run.now(state=state, ended=_now(), seconds=round(time.perf_counter() - clock, 3))
        raise


def _results(program: Program, parameters: Any, folder: Path, log: Log) -> dict[str, Any]:
    try:
        returned = program.main(parameters, folder)
        if not isinstance(returned, dict):
            raise TypeError(f"main returned a {type(returned).__name__}; a dict of results was expected.")
        return plain(returned)
    except LabError:
        raise  # it says all itself
    except (Exception, SystemExit) as error:
        failure = ScriptError(program.experiment.script, error)
        frames = "".join(traceback.format_exception(error))
        for line in frames.splitlines():
            log.line(line)
        with suppress(OSError):  # the traceback is shown anyway
            (folder / FAILED).write_text(frames, encoding="utf-8")
        raise failure from error


def _written(run: Run, **changed: Any) -> Run:
    try:
        return run.now(**changed)
    except OSError as error:
        raise LabError(f"{run.folder / RUN} cannot be written: {error.strerror}.") from error


def _save(path: Path, record: dict[str, Any]) -> None:
    try:
        write_json(path, record)
    except OSError as error:
        # Hours of work may be in them: what cannot be written is at least shown.
        message = f"{path} cannot be written: {error.strerror}. The results were:\n\n{record['results']}"
        raise LabError(message) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
