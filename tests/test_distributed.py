"""Models train on PyTorch's own distributed engine: two processes give what one gives on all the data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("train_distributed.py")


def trained(engine, processes, folder, attempts=3):
    """What the first process prints. They meet through a file, and talk over the loopback interface.

    Where other work takes the machine away for long, the processes may wait for each other in vain; so they have
    more than one attempt.
    """
    store = folder / f"{engine}-{processes}-{attempts}"
    runs = [start(engine, store, rank, processes) for rank in range(processes)]
    try:
        printed = [run.communicate(timeout=90) for run in runs]
    except subprocess.TimeoutExpired:
        if attempts == 1:
            raise
        printed = None
    finally:
        for run in runs:
            run.kill()
            run.communicate()
    if printed is None:
        return trained(engine, processes, folder, attempts - 1)
    assert [run.returncode for run in runs] == [0] * processes, printed[0][1][-2000:]
    return json.loads(printed[0][0].strip().splitlines()[-1])


def start(engine, store, rank, processes):
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0"}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), engine, str(store), str(rank), str(processes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=quiet,
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained("none", 1, tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_two_processes_train_as_one(engine, alone, tmp_path):
    together = trained(engine, 2, tmp_path)
    for ours, theirs in zip(together["parameters"], alone["parameters"], strict=True):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs))
    assert "use back(loss) and opt()" in together["refusal"]  # autograd.grad would not average over the processes
    assert alone["refusal"] == ""


def test_canary_two_processes_without_an_engine_differ(alone, tmp_path):
    assert trained("none", 2, tmp_path)["parameters"] != alone["parameters"]
