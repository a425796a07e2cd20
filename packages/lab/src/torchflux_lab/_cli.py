"""The `torchflux` command: each of its commands reads its options here and leaves the work to a module."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import _screen as screen
from ._error import LabError, ScriptError
from ._find import VARIABLE, experiments, experiments_folder, find
from ._folder import refuse_occupied, run_folder
from ._parameters import parameters_of, parameters_with
from ._record_commands import commands
from ._run import FAILED, perform
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
Parameters = Annotated[bool, typer.Option("--parameters", help="Show what can be set, and run nothing.")]
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


@app.command()
def run(
    name: Name,
    seed: Seed = None,
    settings: Settings = None,
    out: Out = None,
    parameters: Parameters = False,
    experiments_dir: Folder = None,
) -> None:
    """Run an experiment."""
    experiment = find(name, experiments_folder(experiments_dir))
    if out:
        refuse_occupied(out)  # before PyTorch is loaded, which takes seconds
    with experiment.loaded() as program:
        if parameters:
            screen.parameters(parameters_of(program.parameters))
            return
        values = parameters_with(program.parameters, [*(settings or []), *([] if seed is None else [f"seed={seed}"])])
        folder = run_folder(name, out)
        screen.begun(name, values, folder)
        with told_if_cut_short(folder):
            record = perform(program, values, folder)
    screen.ended(record, folder)


@contextmanager
def told_if_cut_short(folder: Path) -> Iterator[None]:
    """Say what is left of a run that fails or is stopped."""
    began = time.monotonic()
    try:
        yield
    except ScriptError as error:
        screen.raised(error)
        where = f"Its files and the traceback ({FAILED}) are in {screen.near(folder)}."
        screen.note(f"Failed after {screen.duration(time.monotonic() - began)}; there is no results.json. {where}")
        raise typer.Exit(FAILURE) from error
    except KeyboardInterrupt as error:
        screen.note(f"Stopped after {screen.duration(time.monotonic() - began)}; {_left(folder)}.")
        raise typer.Exit(INTERRUPTED) from error


def _left(folder: Path) -> str:
    """What a stopped run leaves; an empty folder is taken away."""
    with suppress(OSError):
        folder.rmdir()
        return "nothing was written"
    return f"there is no results.json. What the script wrote is in {screen.near(folder)}"
