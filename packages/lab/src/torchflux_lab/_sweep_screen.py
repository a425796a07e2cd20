"""What a sweep shows: a line for each run as it ends, and one table."""

import math
from pathlib import Path
from typing import Any

from rich import progress as bars
from rich.text import Text

from . import _screen as screen
from ._grid import Point
from ._statistics import Row, Statistic, best_of
from ._sweep import Sweep

RESULTS_SHOWN = 6  # columns; results.csv has all


def begun(sweep: Sweep, left: int) -> None:
    """What is about to run."""
    rest = "" if left == len(sweep.points) else f", {left} of them left"
    threads = f"{sweep.threads} thread{'' if sweep.threads == 1 else 's'} each"
    name = Text.assemble((sweep.name, "bold cyan"), f"  {len(sweep.points)} runs{rest}, {threads}\n")
    screen.console().print(name + Text(f"into {screen.near(sweep.folder)}", "dim"), soft_wrap=True)


class Progress:
    """A line for each run that ends, and in a terminal a bar below them."""

    def __init__(self, count: int) -> None:
        console = screen.console()
        columns = bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeElapsedColumn()
        self._bar = bars.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._count, self._done = count, 0

    def __enter__(self) -> "Progress":
        self._bar.start()
        self._task = self._bar.add_task("", total=self._count)
        return self

    def __exit__(self, *raised: object) -> None:
        self._bar.stop()

    def ended(self, point: Point, state: str, why: str) -> None:
        """A run has ended."""
        self._done += 1
        self._bar.advance(self._task)
        style = "green" if state == "done" else "bold red"
        text = f"{self._done:>{len(str(self._count))}}/{self._count}  {'  '.join(point.all)}  "
        self._bar.console.print(Text.assemble(text, (state, style), f"  {why}".rstrip()), soft_wrap=True)


def table(found: list[Row], result: str | None, largest: bool) -> None:
    """The rows, the best one marked."""
    names = list(dict.fromkeys(name for row in found for name in row.results))
    names.sort(key=lambda name: name != result)  # the one that decides comes first
    best = best_of(found, result, largest) if result else None
    made = screen.table("", *_keys(found), "runs", *names[:RESULTS_SHOWN])
    for i, row in enumerate(found):
        values = [setting.partition("=")[2] for setting in row.settings]
        runs = str(row.runs) if row.done == row.runs else f"{row.done} of {row.runs}"
        cells = [_cell(row.results.get(name), row.done) for name in names[:RESULTS_SHOWN]]
        made.add_row("*" if i == best else "", *values, runs, *cells, style="bold green" if i == best else None)
    screen.console().print(made)
    lines = [f"* best: {'largest' if largest else 'smallest'} {result}"] if best is not None else []
    lines += [f"{len(names) - RESULTS_SHOWN} more results are in results.csv"] if len(names) > RESULTS_SHOWN else []
    for line in lines:
        screen.console().print(line, style="dim", soft_wrap=True)


def _keys(found: list[Row]) -> list[str]:
    return [setting.partition("=")[0] for setting in found[0].settings]


def _cell(taken: Statistic | None, done: int) -> str:
    """Mean ± standard deviation, which gets two digits and the mean as many decimals; behind it the count if some lack.

    >>> _cell(Statistic(0.123456, 0.00321, 5), 5), _cell(Statistic(1234.5678, 12.3, 4), 5)
    ('0.1235 ± 0.0032', '1235 ± 12 (4)')
    """
    if taken is None:
        return "-"
    few = "" if taken.count == done else f" ({taken.count})"
    if taken.deviation is None:
        return f"{taken.mean:.6g}{few}"
    if not (math.isfinite(taken.deviation) and taken.deviation > 0):
        return f"{taken.mean:.6g} ± {taken.deviation:.2g}{few}"
    decimals = 1 - math.floor(math.log10(taken.deviation))
    if not 0 <= decimals <= 8:
        return f"{taken.mean:.6g} ± {taken.deviation:.2g}{few}"
    return f"{taken.mean:.{decimals}f} ± {taken.deviation:.{decimals}f}{few}"


def failed(runs: list[tuple[Path, str]], sweep: Any) -> None:
    """The runs that came to nothing, by their folders."""
    count = f"{len(runs)} of {len(sweep.points)} runs {'is' if len(runs) == 1 else 'are'} not done"
    lines = [f"    {screen.near(folder)}: {said}" for folder, said in runs]
    advice = f"torchflux show says why; to try again: torchflux sweep {sweep.name} --resume --out "
    screen.note("\n".join([f"{count}:", *lines, advice + screen.near(sweep.folder)]))
