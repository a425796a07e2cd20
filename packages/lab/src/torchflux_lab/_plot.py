"""Plots in a terminal: eight dots to a character, a colour for each curve."""

import itertools

from rich.text import Text

from ._curves import Curve, Plot, thinned

COLOURS = ("cyan", "yellow", "magenta", "green", "red", "blue")
ROWS = 7
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a Braille character, by row and column
BRAILLE = 0x2800


def drawn(plot: Plot, width: int, *, braille: bool = True) -> Text:
    """A plot, so many characters wide.

    **Arguments:**

    - `braille`: whether the terminal has such characters; a star stands for them where it has not.
    """
    low, high = plot.y_range
    labels = {0: brief(high), ROWS - 1: brief(low)} if high > low else {ROWS // 2: brief(low)}
    margin = max(map(len, labels.values()))
    cells = _cells(plot, max(10, width - margin - 3))
    text = Text.assemble((plot.name, "bold"), "  (logarithmic)" if plot.is_logarithmic else "", "\n")
    for number, row in enumerate(cells):
        text.append(f"{labels.get(number, ''):>{margin}} {'┤' if braille else '|'}", "dim")
        for dots, curve in row:
            text.append(_character(dots, braille), COLOURS[curve % len(COLOURS)])
        text.append("\n")
    first, last = map(brief, plot.x_range)
    text.append(f"{'':{margin + 2}}{first}{f'{plot.axis} {last}':>{len(cells[0]) - len(first)}}\n", "dim")
    return text + _legend(plot.curves, width)


def _character(dots: int, braille: bool) -> str:
    return (chr(BRAILLE + dots) if braille else "*") if dots else " "


def _cells(plot: Plot, columns: int) -> list[list[tuple[int, int]]]:
    """The dots of each character, and the number of the curve that came last there."""
    cells = [[(0, 0)] * columns for _ in range(ROWS)]
    for number, curve in enumerate(plot.curves):
        for x, y in _path(plot, curve, 2 * columns, 4 * ROWS):
            dots, _ = cells[y // 4][x // 2]
            cells[y // 4][x // 2] = dots | DOTS[y % 4][x % 2], number
    return cells


def _path(plot: Plot, curve: Curve, columns: int, rows: int) -> list[tuple[int, int]]:
    """The dots on the way from point to point."""
    curve = thinned(curve, 4 * columns)
    points = [
        (round(plot.width(x) * (columns - 1)), round((1 - plot.height(y)) * (rows - 1)))
        for x, y in zip(curve.x, curve.y, strict=True)
    ]
    path = points[:1]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        path += [(x0 + round((x1 - x0) * i / steps), y0 + round((y1 - y0) * i / steps)) for i in range(1, steps + 1)]
    return path


def _legend(curves: list[Curve], width: int) -> Text:
    """Where each curve ends, several to a line."""
    entries = [f"{curve.label}: {brief(curve.y[-1])}" if curve.label else brief(curve.y[-1]) for curve in curves]
    column = max(map(len, entries)) + 3
    text = Text()
    for number, entry in enumerate(entries):
        new = number % max(1, (width - 9) // column) == 0
        text.append("" if number == 0 else "\n" if new else "")
        text.append("  at last  " if number == 0 else " " * 11 if new else "", "dim")
        text.append(f"{entry:{column}}", COLOURS[number % len(COLOURS)])
    text.rstrip()
    return text.append("\n")


def brief(value: float) -> str:
    """A number in a few characters."""
    return f"{value:.4g}"
