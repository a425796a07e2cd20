"""`torchflux run NAME --nproc N`: torchrun's own launcher; when a process is killed, all go on."""

import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from . import _screen as screen
from ._device import refuse_unavailable, refuse_undeclared
from ._error import LabError
from ._exit import FAILURE
from ._experiment import Experiment
from ._folder import refuse_occupied, run_folder
from ._machine import processors
from ._parameters import parameters_with
from ._processes import FOLDER
from ._resume import resumable
from ._take_up import has_run

__all__ = ["in_processes"]

RESTARTS = 10  # how often a run goes on after one of its processes was killed

LINES = 30  # of a failed process's last words, on the screen

# Ranks meet in a store of their own at each start: one that is shared with the launcher still knows the last start's.
APART = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"}


def in_processes(
    count: int,
    experiment: Experiment,
    settings: list[str],
    out: Path | None,
    resume: bool,
    anyway: bool,
    tensorboard: bool,
) -> None:
    """Begin a run in several processes, or go on with one; its folder is written by the first of them."""
    if out and not resume:
        refuse_occupied(out)
    if anyway and not resume:
        raise LabError("--anyway resumes a run though something has changed: it goes with --resume.")
    folder = resumable(experiment.name, out).folder if resume else _new(experiment, settings, out)
    job = {"script": str(experiment.script), "settings": settings, "anyway": anyway, "tensorboard": tensorboard}
    for left in reversed(range(RESTARTS + 1)):
        resume = folder.is_dir() and has_run(folder)
        ended = _launched(count, {"folder": str(folder), "resume": resume, **job}, folder)
        if not any(code < 0 for code in ended.values()):
            break
        number = next(rank for rank, code in ended.items() if code < 0)
        screen.note(f"Process {number} was killed by signal {-ended[number]}.{' All go on.' if left else ''}")
    if ended:
        _say_why(ended, folder)
        raise typer.Exit(next((code for code in ended.values() if code > 0), FAILURE))


def _new(experiment: Experiment, settings: list[str], out: Path | None) -> Path:
    """The folder of a new run, made when the settings are found to be right."""
    with experiment.loaded() as program:
        if any(setting.startswith("device=") for setting in settings):
            refuse_undeclared(experiment.name, program.parameters)
        refuse_unavailable(parameters_with(program.parameters, settings))
    return run_folder(experiment.name, out)


def _launched(count: int, job: dict[str, Any], folder: Path) -> dict[int, int]:
    """Carry a run out, as `torchrun --standalone` does; the exit codes of the processes that failed, by rank.

    Those that the launcher itself ended because another failed are left out.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(prefix="torchflux-") as logs, _surroundings(count, folder):
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            run_id="torchflux",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "torchflux_lab._worker", json.dumps(job | {"logs": logs}))
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            own = {rank: code for rank, code in codes.items() if code != -signal.SIGTERM}
            return dict(sorted((own or codes).items()))
        except SignalException as error:
            raise KeyboardInterrupt from error
        finally:
            _keep(Path(logs), folder)
    return {}


def _keep(logs: Path, folder: Path) -> None:
    """What the other processes printed, behind what is there of earlier starts."""
    for path in logs.glob("worker-*.txt"):
        if path.stat().st_size and folder.is_dir():
            with path.open("rb") as said, (folder / path.name).open("ab") as kept:
                shutil.copyfileobj(said, kept)


def _say_why(ended: dict[int, int], folder: Path) -> None:
    """What a process said before it failed, unless it is the first one, which has shown it."""
    for rank in (rank for rank, code in ended.items() if rank and code > 0):
        path = folder / f"worker-{rank}.txt"
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        screen.note("\n".join([f"Process {rank} failed; all it said is in {screen.near(path)}:", *lines[-LINES:]]))


@contextmanager
def _surroundings(count: int, folder: Path) -> Iterator[None]:
    """The variables for the workers; and the launcher's handlers of signals go when it does."""
    kinds = signal.SIGINT, signal.SIGTERM
    before, handlers = dict(os.environ), {kind: signal.getsignal(kind) for kind in kinds}
    share = {"OMP_NUM_THREADS": str(max(1, processors() // count))}
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # this says it in its own words
    os.environ.update(share | APART | before | {FOLDER: str(folder)})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        for kind, handler in handlers.items():
            signal.signal(kind, handler)
