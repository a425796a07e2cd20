"""The `torchflux` command: each of its commands reads its options here and leaves the work to a module."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import _screen as screen
from . import _show as show_run
from ._device import refuse_unavailable, refuse_undeclared
from ._error import LabError, ScriptError
from ._experiment import Experiment, Program
from ._find import VARIABLE, experiments, experiments_folder, find
from ._folder import FAILED, refuse_occupied, run_folder
from ._help import ExperimentCommand
from ._page import report
from ._parameters import parameters_with
from ._record_commands import commands
from ._resume import changes, refuse_changes, resumable, resumed_parameters
from ._run import has_checkpoint, perform, perform_on
from ._runs import find_run, runs
from ._tensorboard import refuse_missing
from ._versions import versions

MISUSE, FAILURE, INTERRUPTED = 2, 1, 130  # exit codes; 130 is the shells' own for Ctrl-C


class Commands(TyperGroup):
    """The commands, with one way to end for what may happen in any of them."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LabError as error:
            screen.error(str(error))
            raise typer.Exit(MISUSE) from error
        except ScriptError as error:
            screen.raised(error)
            raise typer.Exit(FAILURE) from error
        except KeyboardInterrupt as error:
            screen.note("Stopped.")
            raise typer.Exit(INTERRUPTED) from error


app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_show_locals=False)
app.add_typer(commands)


def main() -> None:
    """The entry point of the command and of `python -m torchflux_lab`."""
    app(prog_name="torchflux")


def show_version(wanted: bool) -> None:
    """The versions in one line."""
    if wanted:
        from . import __version__

        others = ", ".join(f"{name} {version or 'not installed'}" for name, version in versions().items())
        typer.echo(f"torchflux-lab {__version__} ({others})")
        raise typer.Exit


def names(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The experiments that a shell may complete to, with their summaries."""
    with suppress(LabError, OSError):
        known = experiments(experiments_folder(ctx.params.get("experiments_dir")))
        return [(each.name, each.summary) for each in known if each.name.startswith(incomplete)]
    return []


def run_names(incomplete: str) -> list[tuple[str, str]]:
    """The runs that a shell may complete to, with their settings."""
    found = [(run.folder.name, "  ".join(run.about["settings"])) for run in runs()]
    return [(name, settings) for name, settings in found if name.startswith(incomplete)]


Folder = Annotated[
    Path | None,
    typer.Option(
        "--experiments",
        envvar=VARIABLE,
        metavar="DIR",
        help="The experiments folder. By default the nearest one named 'experiments', here or above.",
    ),
]
Name = Annotated[str, typer.Argument(autocompletion=names, metavar="NAME", help="The experiment's name.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Set a parameter; may be repeated. Sequences: 1,2,3."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Short for --set seed=N.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="A new or empty folder for the run. By default runs/NAME-TIME."),
]
Device = Annotated[
    str | None, typer.Option("--device", metavar="D", help="Short for --set device=D: cpu, cuda, cuda:1.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the last run that was cut short, or that of --out.")]
Anyway = Annotated[bool, typer.Option("--anyway", help="Resume though code or versions are not as they were.")]
Board = Annotated[bool, typer.Option("--tensorboard", help="Write the metrics for TensorBoard too.")]
Which = Annotated[
    str | None,
    typer.Argument(
        autocompletion=run_names, metavar="RUN", help="Its folder, or an experiment's name for its last run."
    ),
]
Html = Annotated[bool, typer.Option("--html", help="Write report.html into its folder, and open it in a browser.")]
Version = Annotated[
    bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the versions and exit.")
]


@app.callback()
def torchflux(version: Version = False) -> None:
    """Experiments that are plain scripts: find them, run them."""


@app.command("list")
def list_experiments(experiments_dir: Folder = None) -> None:
    """Show every experiment with a line about it."""
    folder = experiments_folder(experiments_dir)
    screen.listed(experiments(folder), folder)


@app.command(cls=ExperimentCommand)
def run(
    name: Name,
    seed: Seed = None,
    settings: Settings = None,
    device: Device = None,
    out: Out = None,
    resume: Resume = False,
    anyway: Anyway = False,
    tensorboard: Board = False,
    experiments_dir: Folder = None,
) -> None:
    """Run an experiment. With its name, --help shows what can be set."""
    experiment = find(name, experiments_folder(experiments_dir))
    short = {"seed": seed, "device": device}
    given = [*(settings or []), *(f"{key}={value}" for key, value in short.items() if value is not None)]
    if resume:
        go_on(experiment, given, out, anyway)
    else:
        begin(experiment, given, out, tensorboard)


@app.command()
def show(run: Which = None, html: Html = False) -> None:
    """Show a run: its state, results and curves. Without one, show which there are."""
    if run is None:
        show_run.listed(runs())
        return
    found = find_run(run)
    show_run.shown(found)
    if html:
        path = report(found)
        typer.echo(f"  {screen.near(path)}")
        if sys.stdout.isatty():
            typer.launch(path.as_uri())


def begin(experiment: Experiment, settings: list[str], out: Path | None, tensorboard: bool) -> None:
    """Run an experiment in a new folder."""
    if out:
        refuse_occupied(out)  # before PyTorch is loaded, which takes seconds
    if tensorboard:
        refuse_missing()
    with experiment.loaded() as program:
        values = _checked(program, settings)
        folder = run_folder(experiment.name, out)
        with shown(program, values, folder) as record:
            record |= perform(program, values, folder, tensorboard=tensorboard)


def _checked(program: Program, settings: list[str]) -> Any:
    """The parameters with these settings; a device among them has to be there."""
    if any(setting.startswith("device=") for setting in settings):
        refuse_undeclared(program.experiment.name, program.parameters)
    values = parameters_with(program.parameters, settings)
    refuse_unavailable(values)
    return values


def go_on(experiment: Experiment, settings: list[str], out: Path | None, anyway: bool) -> None:
    """Go on with a run that was cut short."""
    run = resumable(experiment.name, out)
    if run.state == "done":
        screen.note(f"The run in {screen.near(run.folder)} is done: there is nothing to resume.")
        return
    with experiment.loaded() as program:
        _checked(program, settings)
        values = resumed_parameters(program, run, settings)
        changed = changes(program, run)
        if not anyway:
            refuse_changes(changed)
        if not has_checkpoint(run.folder):
            screen.note("There is no checkpoint to go on from: the run begins again.")
        with shown(program, values, run.folder) as record:
            record |= perform_on(program, values, run, changed)


@contextmanager
def shown(program: Program, values: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """Say what begins, and how it ends; inside, the record is to be filled in."""
    screen.begun(program.experiment.name, values, folder)
    began, record = time.monotonic(), dict[str, Any]()
    try:
        yield record
    except ScriptError as error:
        screen.raised(error)
        where = f"Its files and the traceback ({FAILED}) are in {screen.near(folder)}."
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
