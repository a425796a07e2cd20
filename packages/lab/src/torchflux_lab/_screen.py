"""What the command shows: tables, where things lie, errors."""

import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.traceback import Traceback

from ._error import ScriptError
from ._experiment import Experiment
from ._folder import RESULTS
from ._parameters import Parameter, settings_of
from ._values import write

PICTURES = (".png", ".jpg", ".jpeg", ".svg", ".pdf", ".gif", ".html")
MOST_COLUMNS = 6  # of a table in a terminal


def console(stderr: bool = False) -> Console:
    """What is shown is shown as it is: square brackets and numbers in it are no markup."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def error(message: str) -> None:
    """An error that the user can put right."""
    console(stderr=True).print(Text.assemble(("Error: ", "bold red"), message), soft_wrap=True)


def note(message: str) -> None:
    """What became of a run that did not end."""
    console(stderr=True).print(message, style="yellow", soft_wrap=True)


def raised(failure: ScriptError) -> None:
    """An experiment's own exception, with its own frames; of installed libraries only the names are shown."""
    cause = failure.__cause__
    assert cause is not None  # a ScriptError always has one
    installed = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")}
    shown = Traceback.from_exception(type(cause), cause, cause.__traceback__, suppress=installed, max_frames=20)
    console(stderr=True).print(shown)


def listed(experiments: list[Experiment], folder: Path) -> None:
    """The experiments of a folder, with a line each."""
    if not experiments:
        note(f"There are no experiments in {near(folder)} yet: an experiment is a script NAME/NAME.py there.")
        return
    shown = table("experiment", "what it is")
    for experiment in experiments:
        shown.add_row(experiment.name, experiment.summary)
    console().print(shown)


def parameters(experiment: Experiment, found: list[Parameter]) -> None:
    """What an experiment is, and what can be set."""
    shown = table("parameter", "type", "default", "help")
    for parameter in found:
        shown.add_row(parameter.name, parameter.expects, write(parameter.default) or "''", parameter.help)
    console().print(Text.assemble((experiment.name, "bold cyan"), f"  {experiment.summary}\nParameters, for --set:"))
    console().print(shown)


def begun(name: str, values: Any, folder: Path) -> None:
    """What is about to run, with the seed and what is not at its default, and where it writes."""
    text = Text.assemble((name, "bold cyan"), f"  {'  '.join(settings_of(values))}\n", (f"into {near(folder)}", "dim"))
    console().print(text, soft_wrap=True)


def ended(record: Mapping[str, Any], folder: Path) -> None:
    """The results that are single values, and where all of them lie."""
    results(record["results"])
    console().print(Text.assemble(("done", "bold green"), f" in {duration(record['seconds'])}"))
    for path in [folder / RESULTS, *_pictures(folder)]:
        console().print(f"  {near(path)}", soft_wrap=True)


def results(values: dict[str, Any]) -> None:
    """The results that are single values."""
    shown = _summary(values)
    if shown.row_count:
        console().print(shown)


def duration(seconds: float) -> str:
    """A time as one says it.

    >>> duration(0.31), duration(75), duration(7384)
    ('0.3 s', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def near(path: Path) -> str:
    """A path from the working directory, if it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def table(first: str, *others: str) -> Table:
    """An empty table with these columns; long texts wrap in all but the first."""
    shown = Table(box=box.SIMPLE_HEAD, header_style="bold")
    shown.add_column(first, style="cyan", no_wrap=True)
    for name in others:
        shown.add_column(name, overflow="fold")
    return shown


def _summary(results: dict[str, Any]) -> Table:
    """The single values of results: one a row, or a row for each of several measurements of the same things."""
    rows = {name: dict(_scalars(value)) for name, value in results.items()}
    columns = list(next(iter(rows.values()), {}))
    alike = all(list(row) == columns for row in rows.values())
    if not alike or len(rows) < 2 or not 2 <= len(columns) <= MOST_COLUMNS:
        rows, columns = {name: {"value": value} for name, value in _scalars(results)}, ["value"]
    shown = table("result", *columns)
    for column in shown.columns[1:]:
        column.justify = "right"
    for name, row in rows.items():
        shown.add_row(name, *map(_brief, row.values()))
    return shown


def _scalars(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The single values of nested results, with dotted names.

    >>> dict(_scalars({"test": {"accuracy": 0.9}, "losses": [1.0, 0.5]}))
    {'test.accuracy': 0.9}
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _scalars(inner, f"{name}.{key}" if name else key)
    elif not isinstance(value, list):
        yield name, value


def _brief(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else write(value)


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
