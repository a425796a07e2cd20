"""What `torchflux show` prints: a run's state, parameters, results and curves; or the runs that there are."""

from datetime import datetime
from pathlib import Path

from rich.text import Text

from . import _screen as screen
from ._curves import plots
from ._folder import FAILED, RUNS
from ._plot import drawn
from ._runs import Run
from ._values import write

STYLES = {
    "running": "bold blue",
    "done": "bold green",
    "stopped": "bold yellow",
    "killed": "bold red",
    "failed": "bold red",
}
WIDEST = 100  # columns of a plot


def shown(run: Run) -> None:
    """A run, as it stands now."""
    console, about = screen.console(), run.about
    state, when = run.state, began(run)
    took = f", {screen.duration(about['seconds'])}" if "seconds" in about else ""
    console.print(Text.assemble((run.name, "bold cyan"), "  ", (state, STYLES[state]), f"  begun {when}{took}"))
    console.print(Text(f"{screen.near(run.folder)}\n", "dim"), soft_wrap=True)
    table = screen.table("parameter", "value")
    for name, value in about["parameters"].items():
        table.add_row(name, write(value))
    console.print(table)
    if run.results:
        screen.results(run.results["results"])
    braille = console.encoding.lower().startswith("utf")
    for plot in plots(run.metrics()):
        console.print(drawn(plot, min(console.width, WIDEST), braille=braille))
    if state not in ("done", "running"):
        screen.note(_advice(run))


def _advice(run: Run) -> str:
    reason = f"Why is in {screen.near(run.folder / FAILED)}. " if (run.folder / FAILED).is_file() else ""
    return f"{reason}Go on with: torchflux run {run.name} --resume --out {screen.near(run.folder)}"


def listed(found: list[Run]) -> None:
    """Some runs, a line each."""
    if not found:
        screen.note(f"There are no runs in {screen.near(Path(RUNS).resolve())} yet: torchflux run NAME makes one.")
        return
    table = screen.table("run", "state", "begun", "settings")
    for run in found:
        state = run.state
        table.add_row(run.folder.name, Text(state, STYLES[state]), began(run), "  ".join(run.about["settings"]))
    screen.console().print(table)


def began(run: Run) -> str:
    """When a run began, by the clock of this place."""
    return f"{datetime.fromisoformat(run.about['started']).astimezone():%Y-%m-%d %H:%M}"
