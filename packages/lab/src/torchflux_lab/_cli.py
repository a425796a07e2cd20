"""The `torchflux` command: each of its commands reads its options here and leaves the work to a module."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import _screen as screen
from . import _show as show_run
from ._error import LabError, ScriptError
from ._exit import FAILURE, INTERRUPTED, MISUSE
from ._find import VARIABLE, experiments, experiments_folder, find
from ._help import ExperimentCommand
from ._page import report
from ._record_commands import commands
from ._run_command import begin, go_on
from ._runs import find_run, runs
from ._tensorboard import refuse_missing
from ._versions import versions


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
    if tensorboard:
        refuse_missing()
    if resume:
        go_on(experiment, given, out, anyway, tensorboard)
    elif anyway:
        raise LabError("--anyway resumes a run though something has changed: it goes with --resume.")
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
