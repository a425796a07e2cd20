"""`torchflux show`: in the terminal, and as a page that a browser shows without a word of complaint."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from torchflux_lab import Run

if TYPE_CHECKING:
    from conftest import Project

WAVES = '''"""Waves."""
import base64, math
from dataclasses import dataclass
from torchflux_lab import Metrics

@dataclass
class Parameters:
    seed: int = 0
    rates: tuple[float, ...] = (0.1, 1.0)
    name: str = "<script>alert(1)</script>"

def main(parameters, out):
    metrics = Metrics(out)
    for step in range(0, 3000, 3):
        metrics(step=step, loss=math.exp(-step / 300))
        metrics(step=step, mode="a & <b>", accuracy=step / 3000)
        metrics(step=step, mode="routed", accuracy=0.5)
    (out / "dot.png").write_bytes(base64.b64decode(DOT))
    print("<b>printed</b>")
    return {m: {"accuracy": 0.5, "probe": 0.25, "runs": [1.0]} for m in ("plain", "</td>")} | {"total": 3.14159265}

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
'''


@pytest.fixture
def waves(project: Project) -> Path:
    """The folder of a run."""
    project.add("waves", WAVES)
    assert project.torchflux("run", "waves", "--seed", "3").exit_code == 0
    (folder,) = project.runs
    return folder


def test_a_run_is_shown(waves: Path, project: Project) -> None:
    result = project.torchflux("show", "waves")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("waves  done  begun 20")
    rows = [line.split() for line in result.stdout.splitlines()]
    for row in (
        ["seed", "3"],
        ["rates", "0.1,1.0"],
        ["total", "3.14159"],
        ["at", "last", "a", "&", "<b>:", "0.999", "routed:", "0.5"],
    ):
        assert row in rows
    assert "loss  (logarithmic)" in result.stdout
    assert project.torchflux("show", str(waves)).stdout == project.torchflux("show", waves.name).stdout == result.stdout


def test_the_runs_that_there_are(waves: Path, project: Project) -> None:
    project.torchflux("run", "toy", "--out", "runs/mine")
    rows = [line.split() for line in project.torchflux("show").stdout.splitlines()]
    assert [row[:2] for row in rows if len(row) > 3] == [["run", "state"], ["mine", "done"], [waves.name, "done"]]
    (project.root / "runs").rename(project.root / "elsewhere")
    assert "There are no runs in runs yet" in project.torchflux("show").stderr


def test_a_run_that_is_not_done_says_how_to_go_on(project: Project) -> None:
    project.add_short("failing", "from torchflux_lab import Metrics\nMetrics(out)(loss=1)\nraise ValueError")
    project.torchflux("run", "failing", "-o", "here")
    result = project.torchflux("show", "here")
    assert "failing  failed  begun" in result.stdout
    assert "at last  1" in result.stdout
    assert result.stderr.startswith("Why is in here/failed.txt. Go on with: torchflux run failing --resume --out here")
    Run.read(project.root / "here").now(state="running")
    assert "failing  killed  begun" in project.torchflux("show", "here").stdout


def test_what_is_no_run_is_said(waves: Path, refused: Callable[..., str]) -> None:
    said = refused("show", "nothing")
    assert "'nothing' is no run: name its folder, or an experiment for its last run.\n" in said
    assert f"The last ones in runs: {waves.name}." in said


def test_a_terminal_of_ascii(waves: Path, project: Project) -> None:
    done = project.shell("show", "waves", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "****" in done.stdout


def test_a_shell_completes_runs(waves: Path, project: Project) -> None:
    variables = {"COMP_WORDS": "torchflux show wav", "COMP_CWORD": "2"}
    assert project.shell(_TORCHFLUX_COMPLETE="complete_bash", **variables).stdout.split() == [waves.name]


# The page.


def page_of(waves: Path, project: Project) -> str:
    result = project.torchflux("show", "waves", "--html")
    assert result.exit_code == 0, result.output
    path = waves / "report.html"
    assert str(path.relative_to(project.root)) in result.stdout
    return path.read_text(encoding="utf-8")


def test_the_page_needs_nothing_else_and_escapes_what_it_shows(waves: Path, project: Project) -> None:
    page = page_of(waves, project)
    assert "://" not in page
    assert all(source.startswith("data:") for source in re.findall(r'(?:src|href)="([^"]*)"', page))
    for hostile in ("<script>alert", "<b>printed", "a & <b>", "</td>\n"):
        assert hostile not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.count("<svg") == 2
    assert '<td class="number" title="3.14159265">3.14159</td>' in page


def test_a_page_that_cannot_be_written_is_said(waves: Path, project: Project) -> None:
    (waves / "report.html").mkdir()
    result = project.torchflux("show", "waves", "--html")
    assert result.exit_code == 2
    assert "report.html cannot be written: Is a directory." in result.stderr


PROBE = """<script>
const said = { errors: [] };
window.addEventListener("error", (event) => said.errors.push(event.message));
addEventListener("load", () => {
  const at = (area, x, y) => { const box = area.getBoundingClientRect();
    const place = { clientX: box.left + x * box.width, clientY: box.top + 9, bubbles: true };
    area.dispatchEvent(new PointerEvent("pointermove", place));
    return area.querySelector("output").innerText.split("\\n"); };
  said.width = [innerWidth, document.documentElement.scrollWidth];
  said.hover = [...document.querySelectorAll(".plot")].map((area) => at(area, 0.3));
  said.shown = getComputedStyle(document.querySelector("output")).display;
  document.querySelector(".plot").dispatchEvent(new PointerEvent("pointerleave"));
  said.hidden = getComputedStyle(document.querySelector("output")).display;
  said.picture = document.querySelector("img").naturalWidth;
  said.background = getComputedStyle(document.body).backgroundColor;
  const result = document.createElement("pre");
  result.id = "said";
  result.textContent = JSON.stringify(said);
  document.body.append(result);
});
</script></head>"""


def rendered(page: Path, folder: Path, *options: str) -> tuple[dict[str, Any], str]:
    """What a browser makes of a page: what the probe in it says, and what the browser logs."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium here")
    quiet = [
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    command = [browser, "--headless", "--no-sandbox", "--disable-quic", *quiet, f"--user-data-dir={folder}", *options]
    command += ["--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    (found,) = re.findall(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")), done.stderr


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_shows_the_page(theme: str, waves: Path, project: Project, tmp_path: Path) -> None:
    probed = tmp_path / "probed.html"
    probed.write_text(page_of(waves, project).replace("</head>", PROBE), encoding="utf-8")
    options = (
        ["--window-size=1000,900"]
        if theme == "light"
        else ["--window-size=500,900", "--blink-settings=preferredColorScheme=0"]
    )
    said, log = rendered(probed, tmp_path / "browser", *options)
    assert said["errors"] == []
    assert "CONSOLE" not in log
    width, needed = said["width"]
    assert needed <= width  # nothing has to be scrolled sideways
    assert said["hover"][0] == ["step 900", "0.049787"]
    assert said["hover"][1] == ["step 900", "a & <b>: 0.3", "routed: 0.5"]
    assert (said["shown"], said["hidden"], said["picture"]) == ("block", "none", 1)
    assert said["background"] == {"light": "rgb(251, 251, 249)", "dark": "rgb(21, 24, 27)"}[theme]


def test_a_browsers_complaint_would_be_noticed(waves: Path, project: Project, tmp_path: Path) -> None:
    """The canary of the test above: a page that asks the network for something."""
    probed = tmp_path / "probed.html"
    asking = '<img src="https://example.invalid/x.png">' + PROBE
    probed.write_text(page_of(waves, project).replace("</head>", asking), encoding="utf-8")
    _, log = rendered(probed, tmp_path / "browser")
    assert "CONSOLE" in log
