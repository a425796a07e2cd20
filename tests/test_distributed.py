"""Models train on PyTorch's own distributed engine: two processes give what one gives on all the data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("train_distributed.py")


def trained(engine, processes):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    quiet = {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    run = subprocess.run(
        [*command, str(SCRIPT), engine], capture_output=True, text=True, timeout=120, env={**os.environ, **quiet}
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def alone():
    return trained("none", 1)


@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_two_processes_train_as_one(engine, alone):
    together = trained(engine, 2)
    for ours, theirs in zip(together["parameters"], alone["parameters"], strict=True):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs))
    assert "use back(loss) and opt()" in together["refusal"]  # autograd.grad would not average over the processes
    assert alone["refusal"] == ""


def test_canary_two_processes_without_an_engine_differ(alone):
    assert trained("none", 2)["parameters"] != alone["parameters"]
