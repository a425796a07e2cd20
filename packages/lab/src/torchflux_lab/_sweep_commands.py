"""`torchflux sweep`: a grid of values times seeds, run in parallel, with one table at the end."""

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from . import _screen as screen
from . import _sweep_screen as shown
from ._error import LabError
from ._exit import FAILURE
from ._experiment import Experiment
from ._find import VARIABLE, experiments_folder, find
from ._folder import FAILED, refuse_occupied
from ._grid import grid
from ._jobs import Here, Job, last_line
from ._machine import processors
from ._statistics import wanted
from ._sweep import Sweep
from ._take_up import run_state

sweeps = typer.Typer()


@sweeps.command()
def sweep(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The experiment's name.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="KEY=VALUES", help="Values with commas between: lr=0.1,0.01; or with ; between."
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", metavar="N", help="The seeds 0 to N-1.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="A new or empty folder for all of it.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, metavar="N", help="Runs at a time; as many as processors.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last sweep of NAME, or --out's.")] = False,
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="Run on Ray's cluster; auto: the one begun here.")
    ] = None,
    smallest: Annotated[str | None, typer.Option("--min", metavar="RESULT", help="Best is where it is small.")] = None,
    largest: Annotated[str | None, typer.Option("--max", metavar="RESULT", help="Best is where it is large.")] = None,
    experiments_dir: Annotated[
        Path | None, typer.Option("--experiments", envvar=VARIABLE, metavar="DIR", help="The experiments folder.")
    ] = None,
) -> None:
    """Run an experiment for every combination of values, with several seeds; one table at the end."""
    if smallest and largest:
        raise LabError(f"--min {smallest} and --max {largest}: one result says which row is best.")
    if ray and jobs:
        raise LabError("--jobs is for this machine; on Ray as many runs go at a time as its processors allow.")
    experiment = find(name, experiments_folder(experiments_dir))
    known = (Sweep.read(out) if out else Sweep.last(name)) if resume else None
    if out and not resume:
        refuse_occupied(out)
    jobs = jobs or processors()
    place = _place(ray, jobs, known.threads if known else _threads(1 if ray else max(1, processors() // jobs)))
    planned = known or _planned(experiment, settings or [], seeds, place.threads, out)
    if known:
        _refuse_other(experiment, known, settings or [], seeds)
    _carried_out(planned, experiment, place, smallest or largest, bool(largest))


def _threads(share: int) -> int:
    """How many each run computes with: its share of the processors, or what OMP_NUM_THREADS says."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else share


def _place(ray: str | None, jobs: int, threads: int) -> Any:
    """Where the runs are carried out."""
    if ray is None:
        return Here(jobs, threads)
    from ._ray import Cluster

    return Cluster(ray, threads)


def _planned(experiment: Experiment, settings: list[str], seeds: int | None, threads: int, out: Path | None) -> Sweep:
    with experiment.loaded() as program:
        points = grid(program.parameters, settings, seeds)
    return Sweep.begun(experiment.name, points, threads, out)


def _refuse_other(experiment: Experiment, known: Sweep, settings: list[str], seeds: int | None) -> None:
    """A sweep goes on with the runs that it began with, and with the code and versions that they were made with."""
    if known.name != experiment.name:
        raise LabError(f"{known.folder} holds a sweep of '{known.name}', not of '{experiment.name}'.")
    with experiment.loaded() as program:
        known.refuse_changes(experiment)
        if (settings or seeds is not None) and tuple(grid(program.parameters, settings, seeds)) != known.points:
            raise LabError(
                f"The sweep in {known.folder} has other values or seeds than are given. Leave --set and --seeds away "
                "to go on with it, or begin a new one."
            )


def _carried_out(sweep: Sweep, experiment: Experiment, place: Any, result: str | None, largest: bool) -> None:
    """Carry out what is left, show it as it comes, and the table, also of a sweep that was broken off."""
    folder, left = sweep.folder, sweep.left()
    root = experiment.script.parent.parent
    plan = {sweep.run(point): point for point in left}
    jobs = [Job(run, experiment.name, root, tuple(point.all), Path.cwd()) for run, point in plan.items()]
    failed: list[tuple[Path, str]] = []
    shown.begun(sweep, len(left))
    try:
        with shown.Progress(len(jobs)) as progress, closing(place.ended(jobs)) as ended:
            for job, outcome in ended:
                state = run_state(job.folder)
                why = "" if state == "done" else _why(job.folder) or outcome.said
                if state != "done":
                    failed.append((job.folder, why))
                progress.ended(plan[job.folder], state, why)
    except KeyboardInterrupt:
        screen.note(f"Stopped. Go on with: torchflux sweep {sweep.name} --resume --out {screen.near(folder)}")
        raise
    finally:
        _summed_up(sweep, result, largest)
    if failed:
        shown.failed(failed, sweep)
        raise typer.Exit(FAILURE)


def _why(folder: Path) -> str:
    """The exception that a run's script raised, in a line."""
    path = folder / FAILED
    return last_line(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else ""


def _summed_up(sweep: Sweep, result: str | None, largest: bool) -> None:
    """The table, on the screen and on the disk."""
    table = sweep.table()
    if result is None:
        result, largest = wanted(table)
    elif not any(result in row.results for row in table):
        screen.note(f"No run has the result '{result}': no row is marked as the best.")
        result = None
    sweep.save(result, largest)
    shown.table(table, result, largest)
    for name in ("results.json", "results.csv"):
        screen.console().print(f"  {screen.near(sweep.folder / name)}", soft_wrap=True)
