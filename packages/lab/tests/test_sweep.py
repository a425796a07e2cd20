"""Sweeps: the grid, runs in parallel, failures, Ctrl-C, going on, and the table."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from torchflux_lab import LabError, Run
from torchflux_lab._grid import Point, grid
from torchflux_lab._statistics import Statistic, best_of, numbers, rows, wanted
from torchflux_lab._take_up import has_run

if TYPE_CHECKING:
    from conftest import Project

SOURCE = '''"""Something to sweep."""
import os, time
from dataclasses import dataclass
from pathlib import Path

@dataclass
class Parameters:
    seed: int = 0
    rate: float = 0.5
    sizes: tuple[int, ...] = (8,)
    name: str = "a"
    limit: int | None = None

    def __post_init__(self):
        if self.rate < 0:
            raise ValueError("the rate must not be negative")

def main(parameters, out):
    if parameters.rate == 3 and not Path("mended").exists():
        raise ValueError("three is too much")
    if parameters.rate == 7 and not Path("mended").exists():
        (out / "sleeping").touch()
        time.sleep(100)
    return {"n": 3, "test": {"error": parameters.rate + parameters.seed**2}, "threads": os.environ["OMP_NUM_THREADS"]}
'''


@pytest.fixture
def swept(empty: Project) -> Project:
    """A project with the experiment `some`."""
    empty.add("some", SOURCE)
    return empty


@pytest.fixture
def declared(swept: Project) -> type[Any]:
    """Its parameters."""
    names: dict[str, Any] = {"__name__": "declared"}
    sys.modules["declared"] = type(sys)("declared")
    exec(SOURCE, names)
    return names["Parameters"]  # type: ignore[no-any-return]


def settings(points: list[Point]) -> list[str]:
    return [" ".join(point.all) for point in points]


def test_the_grid_is_every_combination_with_every_seed(declared: type[Any]) -> None:
    points = grid(declared, ["rate=0.1, 1", "limit=none,3"], 2)
    assert settings(points) == [
        f"rate={r} limit={m} seed={s}" for r in ("0.1", "1") for m in ("none", "3") for s in (0, 1)
    ]
    assert settings(grid(declared, ["seed=3,5"])) == ["seed=3", "seed=5"]
    assert settings(grid(declared, [])) == ["seed=0"]


def test_values_with_commas_have_semicolons_between(declared: type[Any]) -> None:
    assert settings(grid(declared, ["sizes=1,2;3", "name=x,y;"])) == [
        "sizes=1,2 name=x,y seed=0",
        "sizes=3 name=x,y seed=0",
    ]
    assert settings(grid(declared, ["sizes=4", "rate=1;2"])) == ["sizes=4 rate=1 seed=0", "sizes=4 rate=2 seed=0"]


@pytest.mark.parametrize(
    ("given", "seeds", "says"),
    [
        (["sizes=1,2"], None, "'sizes=1;2' are 2 values, and --set 'sizes=1,2;' is one"),
        (["name=a,b"], None, "ambiguous"),
        (["rate=1,2;3"], None, "'rate' was given '1,2', and float was expected"),
        (["rate=1,"], None, "'rate' was given ''"),
        (["rate=1,1.0"], None, "would be the same: rate=1 seed=0 and rate=1.0 seed=0"),
        (["rate=1", "rate=2"], None, "set twice"),
        (["rat=1"], None, "Did you mean 'rate'?"),
        (["rate"], None, "sets nothing"),
        (["rate=1,-1"], None, "must not be negative"),
        (["seed=1,2"], 2, "both say which seeds"),
        (["seed=1,x"], None, "whole numbers"),
        ([], 0, "1 or more"),
    ],
)
def test_what_is_ambiguous_or_wrong_is_refused(
    declared: type[Any], given: list[str], seeds: int | None, says: str
) -> None:
    with pytest.raises(LabError, match=re.escape(says)):
        grid(declared, given, seeds)


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The two files of results."""
    with (folder / "results.csv").open(encoding="utf-8") as file:
        return json.loads((folder / "results.json").read_text(encoding="utf-8")), list(csv.DictReader(file))


def test_runs_in_parallel_come_to_one_table(swept: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    result = swept.torchflux("sweep", "some", "--set", "rate=2,0.5,3", "--seeds", "2", "--jobs", "2", "--out", "all")
    assert result.exit_code == 1
    found, lines = read(Path("all"))
    assert [line["state"] for line in lines] == ["done"] * 4 + ["failed"] * 2
    assert [line["results.test.error"] for line in lines] == ["2.0", "3.0", "0.5", "1.5", "", ""]
    mean, deviation = statistics.mean([0.5, 1.5]), statistics.stdev([0.5, 1.5])
    assert found["rows"][1]["results"]["test.error"] == {"mean": mean, "deviation": deviation, "count": 2}
    assert found["best"] == {"result": "test.error", "wanted": "smallest", "row": 1}
    shown = [line.split() for line in result.stdout.splitlines()]
    assert ["*", "0.5", "2", "1.00", "±", "0.71", "3", "±", "0"] in shown
    assert ["3", "0", "of", "2", "-", "-"] in shown
    assert result.stdout.count("ValueError: three is too much") == 2
    assert "2 of 6 runs are not done" in result.stderr
    run = Run.read(Path("all") / lines[0]["folder"])
    assert run.results is not None
    assert (run.state, run.about["seed"], run.results["results"]["threads"]) == ("done", 0, "1")
    assert Run.read(Path("all") / lines[5]["folder"]).state == "failed"

    Path("mended").touch()
    before = {line["folder"]: (Path("all") / line["folder"] / "results.json").stat().st_mtime_ns for line in lines[:4]}
    again = swept.torchflux("sweep", "some", "--resume", "--out", "all", "--max", "test.error")
    assert again.exit_code == 0, again.output
    assert "2 of them left" in again.stdout
    found, lines = read(Path("all"))
    assert [line["state"] for line in lines] == ["done"] * 6
    assert found["best"] == {"result": "test.error", "wanted": "largest", "row": 2}
    assert all((Path("all") / name / "results.json").stat().st_mtime_ns == time for name, time in before.items())


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_the_runs_and_resume_goes_on(swept: Project) -> None:
    command = swept.command("sweep", "some", "--set", "rate=1,7", "--jobs", "1")
    # A shell may have started these tests with Ctrl-C ignored, which processes inherit.
    usual = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "preexec_fn": usual}
    with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes) as sweep:
        try:
            waited_for(lambda: list(swept.root.glob("runs/*/002*/sleeping")))
            sweep.send_signal(signal.SIGINT)
            out, error = sweep.communicate(timeout=60)
        finally:
            sweep.kill()
    assert sweep.returncode == 130, error
    assert "Go on with: torchflux sweep some --resume --out" in error
    assert "0 of 1" in out
    (folder,) = swept.runs
    assert [Run.read(run.parent).state for run in sorted(folder.glob("*/run.json"))] == ["done", "stopped"]
    refused = swept.torchflux("sweep", "some", "--resume", "--set", "rate=1,8")
    assert "other values or seeds" in refused.stderr
    Path("mended").touch()
    assert swept.torchflux("sweep", "some", "--resume", "--set", "rate=1,7").exit_code == 0
    assert [line["state"] for line in read(folder)[1]] == ["done", "done"]
    swept.add("some", SOURCE + "\n# changed")
    refused = swept.torchflux("sweep", "some", "--resume")
    assert refused.exit_code == 2
    assert "The code changed since 001-rate=1-seed=0 was run" in refused.stderr


def waited_for(ready: Callable[[], Any], seconds: float = 60) -> None:
    """Until something is so."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_misuse(swept: Project) -> None:
    assert "no sweep of 'some'" in swept.torchflux("sweep", "some", "--resume").stderr
    assert "no sweep's folder" in swept.torchflux("sweep", "some", "--resume", "--out", "experiments").stderr
    assert "holds something already" in swept.torchflux("sweep", "some", "--out", "experiments").stderr
    assert "one result says" in swept.torchflux("sweep", "some", "--min", "a", "--max", "b").stderr
    assert swept.runs == []


def test_a_run_killed_before_it_could_say_what_it_is_begins_again(tmp_path: Path) -> None:
    torn, other = tmp_path / "torn", tmp_path / "other"
    for folder in (torn, other):
        folder.mkdir()
        (folder / "log.txt").touch()
    (other / "mine.txt").touch()
    assert not has_run(torn)
    assert not torn.exists()
    assert not has_run(other)
    assert (other / "mine.txt").exists()


def test_what_is_no_number_never_wins_and_what_is_missing_is_said() -> None:
    points = [Point((f"rate={rate}",), seed) for rate in (1, 2, 3) for seed in (0, 1)]
    losses = [0.1, math.nan, 0.5, 0.7, 0.2]  # the last run is missing
    table = rows(points, {point: {"n": 1.0, "loss": loss} for point, loss in zip(points, losses, strict=False)})
    assert [(row.runs, row.done) for row in table] == [(2, 2), (2, 2), (2, 1)]
    assert math.isnan(table[0].results["loss"].mean)
    assert table[2].results["loss"] == Statistic(0.2, None, 1)
    assert wanted(table) == ("loss", False)
    assert best_of(table, "loss", False) == 1
    assert wanted(rows(points, {points[0]: {"seconds": 1.0}})) == (None, False)
    assert wanted(rows(points, {points[0]: {"test.accuracy": 1.0, "loss": 1.0}})) == ("test.accuracy", True)
    assert numbers({"a": {"b": "Infinity"}, "ok": True, "s": "x", "m": None}) == {"a.b": math.inf}
