"""Going on with a run from the command line: which run, with what, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from torchflux_lab import LabError, Run, _folder, find_run, runs

if TYPE_CHECKING:
    from conftest import Project

# Counts its steps, and breaks off once where the file `break` says so.
COUNTING = '''"""Counts."""
from dataclasses import dataclass
from pathlib import Path
from torchflux_lab import Checkpoint, Metrics

@dataclass
class Parameters:
    seed: int = 0
    steps: int = 6
    rates: tuple[float, ...] = (0.5, float("inf"))

def main(parameters, out):
    done, metrics = [], Metrics(out)
    for step in Checkpoint(out, done=done).steps(parameters.steps):
        done.append(step)
        metrics(step=step, rate=parameters.rates[0])
        if step == 3 and Path("break").exists():
            Path("break").unlink()
            raise KeyboardInterrupt
    print(f"{len(done)} steps")
    return {"done": done}
'''


@pytest.fixture
def broken_off(project: Project) -> Path:
    """The folder of a run of `counting` that was stopped in its fourth step."""
    project.add("counting", COUNTING)
    (project.root / "break").touch()
    result = project.torchflux("run", "counting", "--set", "rates=0.25,inf")
    assert result.exit_code == 130
    (folder,) = project.runs
    return folder


def test_the_last_run_that_was_cut_short_goes_on(broken_off: Path, project: Project) -> None:
    assert len(Run.read(broken_off).metrics()) == 4
    result = project.torchflux("run", "counting", "--resume")
    assert result.exit_code == 0, result.output
    run = Run.read(broken_off)
    assert run.results is not None
    assert run.results["results"] == {"done": [0, 1, 2, 3, 4, 5]}
    assert run.metrics() == [{"step": step, "rate": 0.25} for step in range(6)]
    assert run.state == "done"
    assert [session["changed"] for session in run.about["resumed"]] == [[]]
    assert "rates=0.25,inf" in result.stdout
    first, last = (broken_off / "log.txt").read_text(encoding="utf-8").splitlines()
    assert first.startswith("--- resumed ")
    assert last == "6 steps"


def test_a_run_that_is_done_says_so(project: Project) -> None:
    project.add("counting", COUNTING)
    project.torchflux("run", "counting", "-o", "here")
    before = (project.root / "here" / "run.json").read_bytes()
    result = project.torchflux("run", "counting", "--resume", "--out", "here")
    assert result.exit_code == 0
    assert result.stderr == "The run in here is done: there is nothing to resume.\n"
    other = project.torchflux("run", "counting", "--resume", "--out", "here", "--set", "steps=7")
    assert other.exit_code == 2
    assert "steps: 6 in the run, 7 now" in other.stderr
    assert (project.root / "here" / "run.json").read_bytes() == before


def test_a_run_without_a_checkpoint_begins_again(project: Project) -> None:
    body = "from torchflux_lab import Metrics\nMetrics(out)(x=1)\nimport os\n"
    project.add_short(
        "plain", body + "if not os.path.exists('twice'):\n    open('twice', 'x').close()\n    1 / 0\nreturn {}"
    )
    assert project.torchflux("run", "plain").exit_code == 1
    (folder,) = project.runs
    assert (folder / "failed.txt").exists()
    result = project.torchflux("run", "plain", "--resume")
    assert result.exit_code == 0
    assert "no checkpoint to go on from: the run begins again" in result.stderr
    assert Run.read(folder).metrics() == [{"x": 1}]
    assert not (folder / "failed.txt").exists()


def test_parameters_may_be_repeated_and_not_changed(broken_off: Path, project: Project) -> None:
    said = project.torchflux("run", "counting", "--resume", "--seed", "1", "--set", "steps=9", "-s", "rates=0.25,inf")
    assert said.exit_code == 2
    assert "    steps: 6 in the run, 9 now\n    seed: 0 in the run, 1 now\n" in said.stderr
    assert "Begin a new run to change them." in said.stderr
    assert project.torchflux("run", "counting", "--resume", "-s", "rates=0.25,inf").exit_code == 0


def test_other_code_is_refused_unless_one_insists(broken_off: Path, project: Project) -> None:
    project.add("counting", COUNTING.replace("Counts.", "Counts on."))
    (project.root / "experiments" / "counting" / "more.py").touch()
    before = (broken_off / "run.json").read_bytes()
    said = project.torchflux("run", "counting", "--resume")
    assert said.exit_code == 2
    assert "    code: counting.py has changed\n    code: more.py is new\n" in said.stderr
    assert (broken_off / "run.json").read_bytes() == before
    assert project.torchflux("run", "counting", "--resume", "--anyway").exit_code == 0
    (session,) = Run.read(broken_off).about["resumed"]
    assert session["changed"] == ["code: counting.py has changed", "code: more.py is new"]


def test_other_versions_are_refused(broken_off: Path, project: Project) -> None:
    run = Run.read(broken_off)
    run.now(versions=run.about["versions"] | {"torch": "1.0"}, threads=99)
    said = project.torchflux("run", "counting", "--resume").stderr
    assert "    versions: torch: 1.0 then, 2." in said
    assert "    threads: 99 then, " in said


def test_parameters_that_are_declared_otherwise_are_refused(broken_off: Path, project: Project) -> None:
    project.add("counting", COUNTING.replace("seed: int = 0", "seed: int = 0\n    more: int = 1"))
    said = project.torchflux("run", "counting", "--resume", "--anyway").stderr
    assert "declared otherwise than when this was recorded: 'more' is new" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "toy", "--resume"], "There is no run of 'toy' to resume in "),
        (["run", "toy", "--resume", "--out", "runs"], "runs is no run's folder: run.json: No such file"),
        (["run", "toy", "--resume", "--out", "{folder}"], "holds a run of 'counting', not of 'toy'"),
        (["run", "toy", "--anyway"], "it goes with --resume."),
        (["run", "toy", "--out", "{folder}"], "or go on with the run that is there: --resume."),
    ],
)
def test_misuse_is_refused(arguments: list[str], said: str, broken_off: Path, project: Project) -> None:
    result = project.torchflux(*(x.replace("{folder}", str(broken_off)) for x in arguments))
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_run_that_goes_on_elsewhere_is_left_alone(project: Project) -> None:
    project.add_short("waiting", "import time\nprint('begun', flush=True)\ntime.sleep(60)")
    command = project.command("run", "waiting", "-o", "here")
    with subprocess.Popen(command, cwd=project.root, stdout=subprocess.PIPE, text=True) as process:
        while "begun" not in process.stdout.readline():
            pass
        run = Run.read(project.root / "here")
        assert run.state == "running"
        for extra in ([], ["--resume"]):
            assert project.torchflux("run", "waiting", "-o", "here", *extra).exit_code == 2
        said = project.torchflux("run", "waiting", "-o", "here", "--resume").stderr
        assert "here is still running: there is nothing to resume" in said
        process.kill()
    assert run.state == "killed"


def test_runs_are_found_by_folder_name_and_experiment(broken_off: Path, project: Project) -> None:
    project.torchflux("run", "toy", "--out", "runs/other")
    assert (
        find_run(str(broken_off)).folder
        == find_run(broken_off.name).folder
        == find_run("counting").folder
        == broken_off
    )
    assert {run.name for run in runs()} == {"toy", "counting"}
    with pytest.raises(LabError, match=r"'nothing' is no run: name its folder.*\n.*other"):
        find_run("nothing")
    for content, said in (("{", r"run\.json cannot be read"), ("{}", r"run\.json is no description of a run: it has")):
        (project.root / "runs" / "other" / "run.json").write_text(content)
        assert [run.name for run in runs()] == ["counting"]
        with pytest.raises(LabError, match=said):
            find_run("other")


# What cannot be written.


def test_a_read_only_folder_is_said(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.root / "here").mkdir(mode=0o555)
    if os.geteuid() == 0:  # who may write anywhere
        monkeypatch.setattr(_folder, "os", SimpleNamespace(access=lambda path, mode: False, W_OK=2, X_OK=1))
    result = project.torchflux("run", "toy", "--out", "here")
    assert result.exit_code == 2
    assert "here cannot be written: it is read-only. Name another folder: --out DIR." in result.stderr
    assert list((project.root / "here").iterdir()) == []


FULL = """
import resource, sys
from torchflux_lab._cli import app
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
app(sys.argv[1:])
"""


def test_on_a_full_disk_it_stops_with_the_last_step_kept_and_goes_on_later(project: Project) -> None:
    """A limit of 100,000 bytes for a file takes the disk's place."""
    project.add(
        "counting", COUNTING.replace("steps: int = 6", "steps: int = 60").replace("rate=", "text='x' * 2000, rate=")
    )
    done = subprocess.run(
        [sys.executable, "-c", FULL, "run", "counting", "-o", "here"], cwd=project.root, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "metrics.jsonl cannot be written: File too large." in done.stderr
    assert "--resume" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(Run.read(project.root / "here").metrics()) == 49
    assert project.torchflux("run", "counting", "--resume", "-o", "here").exit_code == 0
    run = Run.read(project.root / "here")
    assert [line["step"] for line in run.metrics()] == list(range(60))
    assert run.results is not None
    assert run.results["results"]["done"] == list(range(60))


# The device.

DEVICE = '''"""Somewhere."""
from dataclasses import dataclass
import torch

@dataclass
class Parameters:
    seed: int = 0
    device: str = "cpu"

def main(parameters, out):
    return {"device": str(torch.zeros(1, device=parameters.device).device)}
'''


def test_the_device_is_handed_over_and_written_down(project: Project) -> None:
    project.add("somewhere", DEVICE)
    assert project.torchflux("run", "somewhere", "--device", "cpu", "-o", "here").exit_code == 0
    assert json.loads((project.root / "here" / "run.json").read_text())["device"] == "cpu"


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "mps:7"])
def test_a_device_that_is_not_there_is_refused(device: str, project: Project, refused: Callable[..., str]) -> None:
    project.add("somewhere", DEVICE)
    for setting in (["--device", device], ["--set", f"device={device}"]):
        said = refused("run", "somewhere", *setting)
        assert f"device={device} is not to be had: " in said
        assert "Expected is cpu, or an accelerator" in said


def test_a_device_for_an_experiment_without_one_is_refused(refused: Callable[..., str]) -> None:
    assert "'toy' has no parameter 'device', so it computes on the CPU" in refused("run", "toy", "--device", "cuda")
