"""What `torchflux run` does: it begins a run or goes on with one, and says how that ends."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from . import _screen as screen
from ._device import refuse_unavailable, refuse_undeclared
from ._error import ScriptError
from ._exit import FAILURE, INTERRUPTED
from ._experiment import Experiment, Program
from ._folder import FAILED, refuse_occupied, run_folder
from ._parameters import parameters_with
from ._resume import changes, refuse_changes, resumable, resumed_parameters
from ._run import has_checkpoint, perform, perform_on

__all__ = ["begin", "go_on"]


def begin(experiment: Experiment, settings: list[str], out: Path | None, tensorboard: bool) -> None:
    """Run an experiment in a new folder."""
    if out:
        refuse_occupied(out)  # before PyTorch is loaded, which takes seconds
    with experiment.loaded() as program:
        if any(setting.startswith("device=") for setting in settings):
            refuse_undeclared(experiment.name, program.parameters)
        values = parameters_with(program.parameters, settings)
        refuse_unavailable(values)
        folder = run_folder(experiment.name, out)
        with _shown(program, values, folder) as record:
            record |= perform(program, values, folder, tensorboard=tensorboard)


def go_on(experiment: Experiment, settings: list[str], out: Path | None, anyway: bool, tensorboard: bool) -> None:
    """Go on with a run that was cut short."""
    run = resumable(experiment.name, out)
    if run.state == "done":
        if settings:
            with experiment.loaded() as program:
                resumed_parameters(program, run, settings)
        screen.note(f"The run in {screen.near(run.folder)} is done: there is nothing to resume.")
        return
    with experiment.loaded() as program:
        values = resumed_parameters(program, run, settings)
        refuse_unavailable(values)
        changed = changes(program, run)
        if not anyway:
            refuse_changes(changed)
        if not has_checkpoint(run.folder):
            screen.note("There is no checkpoint to go on from: the run begins again.")
        with _shown(program, values, run.folder) as record:
            record |= perform_on(program, values, run, changed, tensorboard=tensorboard)


@contextmanager
def _shown(program: Program, values: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """Say what begins, and how it ends; inside, the record is to be filled in."""
    screen.begun(program.experiment.name, values, folder)
    began, record = time.monotonic(), dict[str, Any]()
    try:
        yield record
    except ScriptError as error:
        screen.raised(error)
        where = f"Its files and the traceback ({FAILED}) are in {screen.near(folder)}. {_how_to_go_on(program, folder)}"
        screen.note(f"Failed after {screen.duration(time.monotonic() - began)}; there is no results.json. {where}")
        raise typer.Exit(FAILURE) from error
    except KeyboardInterrupt as error:
        screen.note(f"Stopped after {screen.duration(time.monotonic() - began)}. {_how_to_go_on(program, folder)}")
        raise typer.Exit(INTERRUPTED) from error
    screen.ended(record, folder)


def _how_to_go_on(program: Program, folder: Path) -> str:
    if not has_checkpoint(folder):
        return "There is no checkpoint yet: --resume would begin again."
    return f"Go on with: torchflux run {program.experiment.name} --resume --out {screen.near(folder)}"
