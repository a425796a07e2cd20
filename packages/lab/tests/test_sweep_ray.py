"""The same sweep on Ray: a cluster of three on this machine, one of which goes down."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from torchflux_lab import Run

if TYPE_CHECKING:
    from conftest import Project

SOURCE = '''"""Counts, slowly."""
import os, time
from dataclasses import dataclass
from types import SimpleNamespace
from torchflux_lab import Checkpoint, Metrics

@dataclass
class Parameters:
    seed: int = 0
    rate: float = 1.0

def main(parameters, out):
    so_far, metrics = SimpleNamespace(sum=0.0), Metrics(out)
    (out / "machine.txt").open("a").write(os.environ["TORCHFLUX_MACHINE"] + "\\\\n")
    for step in Checkpoint(out, so_far=so_far).steps(40):
        time.sleep(0.1)
        so_far.sum += parameters.rate * step + parameters.seed
        metrics(step=step, sum=so_far.sum)
    return {"sum": so_far.sum}
'''.replace("\\\\n", "\\n")
MACHINES = "head", "first", "second"


def test_without_ray_it_says_how_to_install_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = project.torchflux("sweep", "toy", "--ray", "auto")
    assert result.exit_code == 2
    assert "pip install torchflux-lab[ray]" in result.stderr
    assert "--jobs is for this machine" in project.torchflux("sweep", "toy", "--ray", "auto", "--jobs", "2").stderr
    assert project.runs == []


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a head that runs nothing, with two machines of one processor each."""
    pytest.importorskip("ray")
    if not Path("/proc").is_dir():
        pytest.skip("finds the processes of a machine in /proc")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    try:
        started("head", "--head", "--port", address.split(":")[1], "--num-cpus=0", "--include-dashboard=false")
        for name in MACHINES[1:]:
            started(name, "--address", address, "--num-cpus=1")
        yield address
    finally:
        for name in MACHINES:
            taken_down(name)


def started(machine: str, *options: str) -> None:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--node-ip-address=127.0.0.1", *options]
    quiet = os.environ | {"TORCHFLUX_MACHINE": machine, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def taken_down(machine: str) -> None:
    """Kill every process of a machine at once."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            is_its = f"TORCHFLUX_MACHINE={machine}".encode() in environment.read_bytes().split(b"\0")
        except OSError:
            continue
        if is_its:
            os.kill(int(environment.parent.name), signal.SIGKILL)


def waited_for(ready: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_machine_goes_down_and_the_sweep_comes_to_the_same(empty: Project, cluster: str) -> None:
    empty.add("slow", SOURCE)
    command = empty.command("sweep", "slow", "--set", "rate=1,2", "--seeds", "2", "--out", "all", "--ray", cluster)
    command = [part for part in command if part not in ("-W", "error")]  # Ray warns of things of its own
    sweep = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    all_runs = Path("all")
    waited_for(lambda: any("second" in file.read_text() for file in all_runs.glob("*/machine.txt")))
    waited_for(lambda: any(map(checkpointed_on_second, all_runs.glob("*/machine.txt"))))
    taken_down("second")
    out, error = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, out + error
    found = [Run.read(file.parent) for file in sorted(all_runs.glob("*/run.json"))]
    sums = [run.results["results"]["sum"] for run in found if run.results]
    assert sums == [rate * 780 + 40 * seed for rate in (1, 2) for seed in (0, 1)]
    assert [len(run.metrics()) for run in found] == [40] * 4
    assert sum(len(run.about["resumed"]) for run in found) >= 1
    machines = [(run.folder / "machine.txt").read_text().split() for run in found]
    assert ["second", "first"] in machines
    shutil.rmtree(all_runs)


def checkpointed_on_second(machine: Path) -> bool:
    return machine.read_text() == "second\n" and (machine.parent / "checkpoints" / "loop.safetensors").exists()
