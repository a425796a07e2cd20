"""Runs: what is recorded, what is shown, and how a run may end."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from torchflux_lab import Run, _run, experiments_folder, find, parameters_with, perform

if TYPE_CHECKING:
    from conftest import Project


def record(project: Project) -> dict[str, Any]:
    """The one run's results.json."""
    (folder,) = project.runs
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_a_run_records_what_it_did(project: Project) -> None:
    result = project.torchflux("run", "toy", "--seed", "7", "--set", "steps=4", "-s", "lambdas=0.1,1,10")
    assert result.exit_code == 0, result.output
    found = record(project)
    assert list(found) == ["name", "parameters", "seed", "results", "seconds", "versions", "platform", "started"]
    assert (found["name"], found["seed"]) == ("toy", 7)
    assert found["results"] == {"sum": 6, "test": {"rate": 0.5}, "counts": [1, 2]}
    changed = {"seed": 7, "steps": 4, "lambdas": [0.1, 1.0, 10.0]}
    assert found["parameters"].items() >= changed.items()
    assert found["parameters"] | {"colour": "red", "limit": None, "pair": [1, "a"]} == found["parameters"]
    assert set(found["versions"]) == {"python", "torch", "torchflux"}
    started = datetime.fromisoformat(found["started"])
    assert started.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - started) < timedelta(minutes=5)


def test_no_path_of_the_machine_is_recorded(project: Project) -> None:
    project.torchflux("run", "toy")
    text = json.dumps(record(project))
    assert str(project.root) not in text
    assert str(Path.home()) not in text


def test_the_results_are_shown_and_where_they_lie(project: Project) -> None:
    shown = project.torchflux("run", "toy", "--out", "here", "--set", "rate=0.12345678").stdout
    assert "toy  seed=0  rate=0.12345678\ninto here\n" in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["sum", "3"] in rows
    assert ["test.rate", "0.123457"] in rows
    assert "counts" not in shown
    assert [str(Path("here", "results.json"))] in rows
    assert [str(Path("here", "curve.png"))] in rows
    files = sorted(path.name for path in (project.root / "here").iterdir())
    assert files == ["curve.png", "log.txt", "provenance.json", "results.json", "run.json"]


def test_measurements_of_the_same_things_are_shown_side_by_side(project: Project) -> None:
    project.add_short("modes", "return {m: {'loss': 1.0, 'accuracy': 0.5, 'runs': [1]} for m in ('plain', 'routed')}")
    rows = [line.split() for line in project.torchflux("run", "modes").stdout.splitlines()]
    assert ["result", "loss", "accuracy"] in rows
    assert ["routed", "1", "0.5"] in rows


def test_flat_results_have_a_line_each(project: Project) -> None:
    project.add_short("flat", "return {'loss': 1.0, 'name': '[bold]', 'nan': float('nan')}")
    rows = [line.split() for line in project.torchflux("run", "flat").stdout.splitlines()]
    for row in (["result", "value"], ["loss", "1"], ["name", "[bold]"], ["nan", "NaN"]):
        assert row in rows


def test_results_without_single_values_show_no_table(project: Project) -> None:
    project.add_short("lists", "return {'losses': [1.0], 'more': [2.0]}")
    assert "result " not in project.torchflux("run", "lists").stdout


def test_the_parameters_recorded_are_those_before_the_run(project: Project) -> None:
    project.add_short("changing", "parameters.seed = 99\nreturn {}")
    project.torchflux("run", "changing", "--seed", "3")
    assert record(project)["seed"] == record(project)["parameters"]["seed"] == 3


def test_out_is_absolute_so_that_the_script_may_change_its_folder(project: Project) -> None:
    project.add_short("moving", "import os\nos.chdir('/')\n(out / 'x.png').touch()\nreturn {'at': out.is_absolute()}")
    assert project.torchflux("run", "moving", "-o", "here").exit_code == 0
    assert json.loads((project.root / "here" / "results.json").read_text())["results"] == {"at": True}


def test_another_experiments_folder_can_be_named(project: Project) -> None:
    (project.root / "experiments").rename(project.root / "elsewhere")
    assert project.torchflux("run", "toy", "--experiments", "elsewhere").exit_code == 0
    assert record(project)["name"] == "toy"


def test_the_same_run_from_python(project: Project) -> None:
    with find("toy", experiments_folder()).loaded() as program:
        found = perform(program, parameters_with(program.parameters, ["steps=5"]), project.root)
    assert found["results"]["sum"] == 10
    assert json.loads((project.root / "results.json").read_text(encoding="utf-8")) == found


# Runs that fail.


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('no [such] thing')", "ValueError: no [such] thing"),
        ("import sys\nsys.exit('enough')", "SystemExit: enough"),
        ("return 3", "TypeError: main returned a int; a dict of results was expected."),
        ("return {'out': out}", "is a PosixPath; JSON holds"),
    ],
)
def test_a_failing_script_is_shown_and_leaves_its_traceback(body: str, said: str, project: Project) -> None:
    script = project.add_short("failing", "(out / 'half.png').touch()\n" + body)
    result = project.torchflux("run", "failing")
    assert result.exit_code == 1
    assert said in result.stderr
    (folder,) = project.runs
    assert {path.name for path in folder.iterdir()} == {
        "half.png",
        "failed.txt",
        "run.json",
        "provenance.json",
        "log.txt",
    }
    assert said in (folder / "failed.txt").read_text(encoding="utf-8")
    assert said in (folder / "log.txt").read_text(encoding="utf-8")
    assert Run.read(folder).state == "failed"
    assert (
        f"there is no results.json. Its files and the traceback (failed.txt) are in runs/{folder.name}" in result.stderr
    )
    if "return" not in body:
        unframed = "".join(line.strip("│ ") for line in result.stderr.splitlines())
        assert f"{script}:" in unframed
    assert "torchflux_lab" not in result.stderr


def test_a_script_that_fails_to_load_makes_no_folder(project: Project) -> None:
    project.add("broken", '"""Broken."""\nimport no_such_module\n')
    project.add("unparsed", "def f(:\n")
    for name, said in (("broken", "No module named 'no_such_module'"), ("unparsed", "SyntaxError")):
        result = project.torchflux("run", name)
        assert result.exit_code == 1
        assert said in result.stderr
        assert "torchflux_lab" not in result.stderr
    assert not project.runs


def test_a_script_without_the_declarations_is_refused(project: Project, refused: Callable[..., str]) -> None:
    project.add("bare", "x = 1")
    assert "bare.py has no class Parameters" in refused("run", "bare")


def test_results_that_cannot_be_written_are_shown(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_run, "write_json", full)
    result = project.torchflux("run", "toy")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert "{'sum': 3, 'test': {'rate': 0.5}, 'counts': [1, 2]}" in result.stderr


# Ctrl-C.

WAIT = "import time\n{before}\nprint('begun', flush=True)\ntime.sleep(60)"


def interrupted(project: Project) -> tuple[int, str]:
    """Run `waiting`, send it a Ctrl-C when it has begun; its exit code and what it said."""
    # A shell may have started these tests with Ctrl-C ignored, which processes inherit.
    usual = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "preexec_fn": usual}
    with subprocess.Popen(project.command("run", "waiting"), cwd=project.root, **pipes) as process:
        while "begun" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=50)[1]
    return process.returncode, said


def test_ctrl_c_keeps_what_was_written(project: Project) -> None:
    project.add_short("waiting", WAIT.format(before="(out / 'half.png').touch()"))
    code, said = interrupted(project)
    (folder,) = project.runs
    assert code == 130
    assert said.startswith("Stopped after ")
    assert said.endswith(" s. There is no checkpoint yet: --resume would begin again.\n")
    assert {path.name for path in folder.iterdir()} == {"half.png", "run.json", "provenance.json", "log.txt"}
    assert Run.read(folder).state == "stopped"


def test_ctrl_c_says_how_to_go_on(project: Project) -> None:
    before = "from torchflux_lab import Checkpoint\nCheckpoint(out, numbers=[1]).save(1)"
    project.add_short("waiting", WAIT.format(before=before))
    code, said = interrupted(project)
    (folder,) = project.runs
    assert code == 130
    assert said.endswith(f"Go on with: torchflux run waiting --resume --out runs/{folder.name}\n")


def test_ctrl_c_while_the_script_is_loaded(project: Project) -> None:
    project.add("waiting", "import time\nprint('begun', flush=True)\ntime.sleep(60)")
    assert interrupted(project) == (130, "Stopped.\n")
