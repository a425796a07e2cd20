"""One of the processes of a run: the first one writes the run's folder as ever, the others only compute."""

import atexit
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import typer

from . import _screen as screen
from ._error import LabError, ScriptError
from ._exit import FAILURE, MISUSE
from ._experiment import Experiment
from ._parameters import parameters_with
from ._resume import resumed_parameters
from ._run_command import begin, go_on
from ._runs import Run


def main(job: dict[str, Any]) -> int:
    """Carry out this process's part; returns its exit code."""
    script, folder = Path(job["script"]), Path(job["folder"])
    experiment, settings, board = Experiment(script.stem, script), job["settings"], job["tensorboard"]
    try:
        if rank := int(os.environ["RANK"]):
            _say_into(Path(job["logs"], f"worker-{rank}.txt"))
            _beside(experiment, settings, folder if job["resume"] else None)
        elif job["resume"]:
            go_on(experiment, settings, folder, job["anyway"], board)
        else:
            begin(experiment, settings, folder, board)
    except LabError as error:
        screen.error(str(error))
        return MISUSE
    except ScriptError as error:
        screen.raised(error)
        return FAILURE
    except typer.Exit as error:
        return error.exit_code
    finally:
        _leave()
    return 0


def _beside(experiment: Experiment, settings: list[str], resumed: Path | None) -> None:
    """The same work, with a folder that is thrown away: there is no run in it, so nothing of the lab writes there."""
    with experiment.loaded() as program, tempfile.TemporaryDirectory(prefix="torchflux-") as out:
        if resumed:
            values = resumed_parameters(program, Run.read(resumed), settings)
        else:
            values = parameters_with(program.parameters, settings)
        program.main(values, Path(out))


def _say_into(path: Path) -> None:
    """What this process prints goes into a file, also what libraries in it print."""
    with path.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def _end(code: int) -> NoReturn:
    """End at once, as gloo's threads outlive FSDP's group: one that takes the ending interpreter's lock aborts.

    pytorch/pytorch#179291.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _leave() -> None:
    """Leave the group of processes, if the script has entered one."""
    distributed = sys.modules.get("torch.distributed")
    if distributed and distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    _end(main(json.loads(sys.argv[1])))
