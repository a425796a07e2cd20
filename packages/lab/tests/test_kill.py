"""kill -9, at moments chosen at random and at every moment at which a file is half written: nothing is lost.

A process that has PyTorch loaded forks one for each run, so that a run costs a tenth of a second.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCRIPT = '''"""Training with everything that a resumed run has to get right."""
import random
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from torchflux import Adam, BatchNorm, Chain, Dense, adjust, back, relu, trainables
from torchflux_lab import Checkpoint, Metrics


@dataclass
class Parameters:
    seed: int = 0
    steps: int = 8


def main(parameters, out):
    p = parameters
    torch.manual_seed(p.seed)
    np.random.seed(p.seed)
    random.seed(p.seed)
    rng, order = torch.Generator().manual_seed(p.seed), np.random.default_rng(p.seed)
    x = torch.randn(64, 4, generator=rng)
    metrics, now = Metrics(out), SimpleNamespace(mean=0.0, looks=[])
    metrics(begun=float(x.sum()))
    for name in ("first", "second"):
        model = Chain(Dense(4, 8), BatchNorm(8, relu), Dense(8, 1))
        opt = Adam(trainables(model), 0.1)
        checkpoint = Checkpoint(out, name, model=model, opt=opt, rng=rng, order=order, now=now)
        for step in checkpoint.steps(p.steps):
            i = torch.from_numpy(order.permutation(64)[:16])
            noise = torch.rand(16, 1, generator=rng) + torch.rand(()) + float(np.random.rand()) + random.random()
            loss = (model(x[i]) - noise).square().mean()
            back(loss)
            adjust(opt, 0.1 / (1 + step))
            opt()
            now.mean = 0.9 * now.mean + 0.1 * loss.item()
            now.looks.append(loss.item())
            metrics(loop=name, step=step, loss=loss, mean=now.mean)
        metrics(done=name)
    return {"looks": now.looks, "last": [w.tolist() for w in trainables(model)]}
'''

HOST = """
import builtins, io, os, signal, sys, time
from pathlib import Path
import torch, torchflux
from torchflux_lab import Run, _state, find, parameters_with, perform, resumed_parameters
from torchflux_lab import _provenance
from torchflux_lab._run import perform_on

_provenance.installed = dict  # which packages there are takes a while, and is of no matter here
torch.set_num_threads(1)


def run(folder):
    with find("steady", Path("experiments").resolve()).loaded() as program:
        if not (folder / "run.json").exists():
            for torn in folder.iterdir():  # killed before it had begun
                torn.unlink()
            perform(program, parameters_with(program.parameters, sys.argv[1:]), folder)
        else:
            run = Run.read(folder)
            assert run.state != "running"
            if run.state == "done":  # and killed right after
                return
            perform_on(program, resumed_parameters(program, run), run, [])


def die_at(moment):
    # Count what is done to files, and be killed in the middle of one.
    left = [moment]

    def count():
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    def deadly(f):
        def call(*arguments, **settings):
            count()
            return f(*arguments, **settings)
        return call

    def opening(f):
        def call(file, mode="r", *arguments, **settings):
            opened = f(file, mode, *arguments, **settings)
            return Torn(opened) if mode in ("ab", "xb") else opened
        return call

    class Torn:
        def __init__(self, file):
            self.file = file
        def write(self, content):
            half = len(content) // 2
            self.file.write(content[:half])
            self.file.flush()
            count()
            return half + self.file.write(content[half:])
        def __getattr__(self, name):
            return getattr(self.file, name)
        def __enter__(self):
            return self
        def __exit__(self, *raised):
            self.file.close()

    for name in ("fsync", "replace", "truncate"):
        setattr(os, name, deadly(getattr(os, name)))
    builtins.open = opening(builtins.open)
    io.open = opening(io.open)


for line in sys.stdin:
    folder, seconds, moment = line.split()
    pid = os.fork()
    if not pid:
        if int(moment):
            die_at(int(moment))
        try:
            run(Path(folder))
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    if float(seconds):
        time.sleep(float(seconds))
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Host:
    """Runs the experiment in a new process each time, and gives how it ended: 0, or -9."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def run(self, folder: Path, seconds: float = 0, moment: int = 0) -> int:
        """Run, or go on with, what is in a folder; kill it after a time, or at the n-th thing it does to a file."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(folder, seconds, moment, file=self.process.stdin, flush=True)
        code = int(self.process.stdout.readline())
        assert code in (0, -9)
        return code


@contextmanager
def host(root: Path, *settings: str) -> Iterator[Host]:
    script = root / "experiments" / "steady" / "steady.py"
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-c", HOST, *settings]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=root, env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes) as process:
        yield Host(process)
        process.stdin.close()


def left(folder: Path) -> tuple[bytes, Any]:
    """What a finished run has measured, and its results. Nothing half done may lie about."""
    names = {path.name for path in folder.rglob("*")}
    checkpoints = {"checkpoints", "first.safetensors", "second.safetensors"}
    assert names == {"run.json", "provenance.json", "log.txt", "metrics.jsonl", "results.json", *checkpoints}
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))["results"]
    return (folder / "metrics.jsonl").read_bytes(), results


def folder_in(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir()
    return folder


def test_killed_at_random_it_comes_to_the_same_numbers(tmp_path: Path) -> None:
    rounds = int(os.environ.get("TORCHFLUX_KILLS", "12"))
    rng, kills, names = random.Random(0), 0, map("killed-{}".format, itertools.count())
    with host(tmp_path) as made:
        for name in ("whole", "again"):  # the first one takes longer
            whole, began = folder_in(tmp_path, name), time.monotonic()
            assert made.run(whole) == 0
        due, usual = left(whole), time.monotonic() - began
        while kills < rounds:
            folder = folder_in(tmp_path, next(names))
            while made.run(folder, seconds=rng.uniform(0.1, 1.2) * usual):
                kills += 1
            assert left(folder) == due
    print(f"{kills} kills")


def test_killed_in_the_middle_of_every_write_it_comes_to_the_same_numbers(tmp_path: Path) -> None:
    with host(tmp_path, "steps=1") as made:
        whole = folder_in(tmp_path, "whole")
        assert made.run(whole) == 0
        due, moment, code = left(whole), 0, -9
        while code:
            moment += 1
            folder = folder_in(tmp_path, f"moment-{moment}")
            code = made.run(folder, moment=moment)
            if code:
                made.run(folder)
            assert left(folder) == due, moment
    assert moment > 15
    print(f"{moment - 1} moments")
