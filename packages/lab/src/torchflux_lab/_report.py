"""What the commands of records show: differences, agreements, and a closing line."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from ._agreement import DIFFERENT, EQUAL, UNCOMPARED, WITHIN, Agreement
from ._differences import Difference
from ._screen import console
from ._values import write

STYLES = {EQUAL: "green", WITHIN: "green", DIFFERENT: "bold red", UNCOMPARED: "dim"}


def differing(found: Sequence[Difference], left: str, right: str) -> None:
    """A row for each difference."""
    table = _table("table", "what", left, right)
    for each in found:
        style = "bold red" if each.matters else "yellow"
        table.add_row(each.table, each.name, each.left or "(none)", each.right or "(none)", style=style)
    if found:
        console().print(table)


def agreeing(found: Sequence[Agreement], left: str, right: str, quiet: bool = False) -> None:
    """A row for each result; `quiet` leaves out those that are equal and those that are not compared."""
    table = _table("result", left, right, "deviation", "")
    for each in found:
        if not quiet or each.verdict in (WITHIN, DIFFERENT):
            row = (each.name, _brief(each.recorded), _brief(each.found), _deviation(each), each.verdict)
            table.add_row(*row, style=STYLES[each.verdict])
    if table.row_count:
        console().print(table)


def said(text: str, good: bool) -> None:
    """The closing line."""
    console().print(text, style="bold green" if good else "bold red", soft_wrap=True)


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _deviation(agreement: Agreement) -> str:
    return f"{agreement.deviation:.1e}" if agreement.deviation and agreement.verdict in (WITHIN, DIFFERENT) else ""


def _brief(value: Any) -> str:
    """A value in a few characters.

    >>> _brief(0.123456789), _brief([1.0, 2.0, 3.0]), _brief("none")
    ('0.123457', '3 values', 'none')
    """
    if isinstance(value, list):
        return f"{len(value)} values"
    return f"{value:.6g}" if isinstance(value, float) else write(value)


def counted(number: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "file"), counted(2, "file")
    ('1 file', '2 files')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def summary(found: Sequence[Agreement]) -> str:
    """How many results came out how.

    >>> summary([Agreement("loss", 1.0, 1.0, "equal"), Agreement("seconds", 1.0, 2.0, "not compared")])
    '1 equal, 1 not compared'
    """
    verdicts = [each.verdict for each in found]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in STYLES if verdict in verdicts]
    return ", ".join(counts) or "no results"
