"""The README's example is an experiment that runs as it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from torchflux_lab import Checkpoint, Run

if TYPE_CHECKING:
    from conftest import Project

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


SOURCES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_example_runs(empty: Project) -> None:
    empty.add("line", SOURCES[0])
    result = empty.torchflux("run", "line", "--seed", "1", "--set", "points=1000", "--out", "here")
    assert result.exit_code == 0, result.output
    results = json.loads((empty.root / "here" / "results.json").read_text(encoding="utf-8"))["results"]
    assert results["error"] == abs(results["slope"] - 2) < 0.02
    shown = float(re.findall(r"^  slope +(\S+)", README, re.MULTILINE)[0])
    assert results["slope"] == pytest.approx(shown, abs=1e-4)


def test_the_listing_shows_the_example() -> None:
    summary = SOURCES[0].splitlines()[0].strip('"')
    assert README.count(summary) == 2


def test_the_loop_goes_on_where_it_was(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    empty.add("wave", SOURCES[1])
    assert empty.torchflux("run", "wave", "--set", "steps=30", "--out", "whole").exit_code == 0
    save = Checkpoint.save

    def broken_off(checkpoint: Checkpoint, step: int) -> None:
        save(checkpoint, step)
        if step == 17:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", broken_off)
        assert empty.torchflux("run", "wave", "--set", "steps=30").exit_code == 130
    assert empty.torchflux("run", "wave", "--resume").exit_code == 0
    (resumed,) = empty.runs
    whole = Run.read(empty.root / "whole")
    assert Run.read(resumed).metrics() == whole.metrics()
    assert Run.read(resumed).results["results"] == whole.results["results"]
    assert len(whole.metrics()) == 30


def test_the_loop_runs_without_the_command(empty: Project) -> None:
    script = empty.add("wave", SOURCES[1].replace("steps: int = 300", "steps: int = 2"))
    done = subprocess.run([sys.executable, str(script)], cwd=empty.root, capture_output=True, text=True)
    assert done.stdout.startswith("{'error': "), done.stderr
    assert {path.name for path in empty.root.rglob("*")} <= {"experiments", "wave", "wave.py"}
