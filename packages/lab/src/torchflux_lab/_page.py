"""A run as one HTML file that needs nothing else: no network, no other file."""

import base64
import json
import mimetypes
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from ._curves import Curve, Plot, plots, thinned, ticks
from ._error import LabError
from ._folder import LOG
from ._plot import brief
from ._results import write_whole
from ._runs import Run
from ._values import write

__all__ = ["REPORT", "report"]

REPORT = "report.html"
COLOURS, DASHES = 8, 3  # in page.css
LARGEST = 10_000_000  # bytes of a picture that is put into the file
LAST_LINES = 300  # of the log
SHOWN = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg")

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
<script type="application/json" id="plots">{data}</script>
<script>
{script}</script>
</body>
</html>
"""


def report(run: Run) -> Path:
    """Write the report of a run into its folder, as it stands now.

    **Returns:** its path.

    **Raises:** `LabError` when it cannot be written.
    """
    found = plots(run.metrics())
    source = files(__package__)
    page = TEMPLATE.format(
        title=escape(f"{run.name} ({run.folder.name})"),
        style=(source / "page.css").read_text(encoding="utf-8"),
        script=(source / "page.js").read_text(encoding="utf-8"),
        body="\n".join(part for part in _parts(run, found) if part),
        data=json.dumps([_data(plot) for plot in found]).replace("<", "\\u003c"),
    )
    path = run.folder / REPORT
    try:
        write_whole(path, page)
    except OSError as error:
        raise LabError(f"{path} cannot be written: {error.strerror}.") from error
    return path


def _parts(run: Run, found: list[Plot]) -> Iterable[str]:
    """The report from top to bottom."""
    about = run.about
    yield _head(run)
    if run.results:
        yield _section("Results", _tables(run.results["results"]))
    if found:
        yield _section("Curves", f'<div class="plots">{"".join(map(_figure, range(len(found)), found))}</div>')
    if pictures := [path for path in sorted(run.folder.rglob("*")) if path.suffix.lower() in SHOWN]:
        yield _section("Pictures", "".join(_picture(path, run.folder) for path in pictures))
    yield _section("Parameters", _table({name: write(value) for name, value in about["parameters"].items()}))
    what = {"versions": about["versions"], "git": about["git"], "code": about["code"]}
    what |= {key: about[key] for key in ("platform", "threads", "device", "resumed")}
    yield _section("Surroundings", _table(dict(_flat(what))), folded=True)
    if lines := _log(run.folder / LOG):
        yield _section("Log", f"<pre>{escape(lines)}</pre>", folded=True)


def _head(run: Run) -> str:
    about = run.about
    began = datetime.fromisoformat(about["started"]).strftime("%Y-%m-%d %H:%M UTC")
    took = f", {about['seconds']:g} s" if "seconds" in about else ""
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    settings = "".join(f" --set {setting}" for setting in about["settings"])
    return (
        f'<header><h1>{escape(run.name)} <span class="state {run.state}">{run.state}</span></h1>'
        f"<p>begun {began}{took}; this page is of {now}</p>"
        f"<p><code>torchflux run {escape(run.name + settings)}</code></p></header>"
    )


def _section(title: str, content: str, *, folded: bool = False) -> str:
    if folded:
        return f"<details><summary>{title}</summary>{content}</details>"
    return f"<section><h2>{title}</h2>{content}</section>"


# Numbers in tables.


def _tables(results: Mapping[str, Any]) -> str:
    """Single values in one table; what has several columns alike, a row each, in another."""
    grids = {key: value for key, value in results.items() if isinstance(value, dict)}
    columns = list(dict.fromkeys(name for row in grids.values() for name, x in row.items() if not _is_nested(x)))
    alike = len(grids) > 1 and all(list(row)[: len(columns)] == columns for row in grids.values())
    if not alike:
        return _table(dict(_flat(results)))
    rows = [[key, *(row[name] for name in columns)] for key, row in grids.items()]
    rest = {key: value for key, value in results.items() if key not in grids}
    return _grid(["", *columns], rows) + (_table(dict(_flat(rest))) if rest else "")


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, Any]]:
    """Nested values with dotted names; lists stay whole."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _table(values: Mapping[str, Any]) -> str:
    return _grid([], [[key, value] for key, value in values.items()])


def _grid(head: list[str], rows: list[list[Any]]) -> str:
    titles = "".join(f"<th>{escape(str(title))}</th>" for title in head)
    body = "".join(f"<tr><th>{escape(str(row[0]))}</th>{''.join(map(_cell, row[1:]))}</tr>" for row in rows)
    head_row = f"<thead><tr>{titles}</tr></thead>" if head else ""
    return f'<div class="wide"><table>{head_row}<tbody>{body}</tbody></table></div>'


def _cell(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        return f'<td class="number" title="{value!r}">{text}</td>'
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) > 200:
        return f"<td><details><summary>{escape(text[:60])}…</summary>{escape(text)}</details></td>"
    return f"<td>{escape(text)}</td>"


# Curves: the lines are stretched to the width that there is, their labels are not.


def _figure(number: int, plot: Plot) -> str:
    lines = "".join(f'<path class="{_style(i)}" d="{_line(plot, curve)}"/>' for i, curve in enumerate(plot.curves))
    y = [(t, plot.height(t)) for t in ticks(*plot.y_range, logarithmic=plot.is_logarithmic)]
    x = [(t, plot.width(t)) for t in ticks(*plot.x_range, most=4, whole=plot.is_counted)]
    grid = "".join(f'<line x1="0" x2="1000" y1="{1000 - 1000 * at:.1f}" y2="{1000 - 1000 * at:.1f}"/>' for _, at in y)
    labels = "".join(f'<span class="y" style="bottom:{100 * at:.2f}%">{brief(t)}</span>' for t, at in y)
    labels += "".join(f'<span class="x" style="left:{100 * at:.2f}%">{brief(t)}</span>' for t, at in x)
    names = "".join(f'<li class="{_style(i)}">{escape(c.label)}</li>' for i, c in enumerate(plot.curves) if c.label)
    scale = " <small>logarithmic</small>" if plot.is_logarithmic else ""
    return (
        f"<figure><figcaption>{escape(plot.name)}{scale}</figcaption>"
        f'<div class="plot" data-plot="{number}"><svg viewBox="0 0 1000 1000" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(plot.name)} by {plot.axis}">{grid}{lines}</svg>{labels}'
        f'<i class="cursor"></i><output></output></div><p class="axis">{plot.axis}</p>'
        f"{f'<ul>{names}</ul>' if names else ''}</figure>"
    )


def _style(number: int) -> str:
    """The colour and the dashes of a curve, in page.css."""
    return f"c{number % COLOURS} d{number // COLOURS % DASHES}"


def _line(plot: Plot, curve: Curve) -> str:
    curve = thinned(curve)
    points = zip(curve.x, curve.y, strict=True)
    line = "L".join(f"{1000 * plot.width(x):.1f} {1000 - 1000 * plot.height(y):.1f}" for x, y in points)
    return f"M{line}" if len(curve.x) > 1 else f"M{line}h0"


def _data(plot: Plot) -> dict[str, Any]:
    """What the page needs to say what is under the pointer: places from 0 to 1, and the numbers."""
    curves = [thinned(curve) for curve in plot.curves]
    return {
        "axis": plot.axis,
        "curves": [{"name": c.name, "at": [round(plot.width(x), 5) for x in c.x], "x": c.x, "y": c.y} for c in curves],
    }


# Files.


def _picture(path: Path, folder: Path) -> str:
    name = escape(path.relative_to(folder).as_posix())
    size = path.stat().st_size
    if size > LARGEST:
        return f"<p>{name} has {size / 1e6:.0f} MB, too many to be shown here.</p>"
    kind = mimetypes.guess_type(path.name)[0] or "image/png"
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<figure><img alt="{name}" src="data:{kind};base64,{content}"><figcaption>{name}</figcaption></figure>'


def _log(path: Path) -> str:
    """The last lines of the log."""
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    before = [f"({len(lines) - LAST_LINES} lines before)"] if len(lines) > LAST_LINES else []
    return "\n".join([*before, *lines[-LAST_LINES:]])
