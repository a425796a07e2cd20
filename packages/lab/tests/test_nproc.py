"""Several processes: two come to what one comes to, and go on when one of them is killed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from torchflux_lab import Checkpoint, LabError, Run, Workers

if TYPE_CHECKING:
    from conftest import Project

unix = pytest.mark.skipif(os.name == "nt", reason="signals")

SOURCE = '''"""A small network, in as many processes as there are."""
import copy, os, signal
from dataclasses import dataclass
from pathlib import Path

import torch

from torchflux import Adam, Chain, Dense, back, mse, tanh, trainables
from torchflux_lab import Metrics, Workers


@dataclass
class Parameters:
    seed: int = 0
    steps: int = 6
    kill: int = -1


def main(parameters: Parameters, out: Path) -> dict:
    p, workers, metrics = parameters, Workers(out), Metrics(out)
    torch.manual_seed(p.seed)
    rng = torch.Generator().manual_seed(p.seed)
    own = torch.Generator().manual_seed(workers.rank)
    x = torch.randn(64, 3, generator=rng)
    y = x.prod(1, keepdim=True)
    apart = Chain(Dense(3, 8, tanh), Dense(8, 1))
    together, seen = workers.ddp(copy.deepcopy(apart)), []
    models = {"together": together, "apart": apart}
    opts = {f"opt {name}": Adam(trainables(model), 0.05) for name, model in models.items()}
    for step in workers.steps(p.steps, **models, **opts, rng=rng, own=own, seen=seen):
        mine = workers.share(torch.randint(64, (16,), generator=rng))
        losses = [mse(model(x[mine]), y[mine]) for model in models.values()]
        for loss, opt in zip(losses, opts.values()):
            back(loss)
            opt()
        seen.append(torch.rand((), generator=own).item())
        metrics(step=step, loss=workers.mean(losses[0]), own=workers.mean(torch.tensor(seen[-1])))
        if step == p.kill and workers.rank == 1 and not Path("once").exists():
            Path("once").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return {name: [w.tolist() for w in trainables(model)] for name, model in models.items()}
'''


SPREAD = '''"""A small network whose parameters are spread over the processes; our optimiser and PyTorch's."""
import os, signal
from dataclasses import dataclass
from pathlib import Path

import torch

from torchflux import Adam, Chain, Dense, adjust, back, mse, tanh, trainables
from torchflux_lab import Metrics, Workers


@dataclass
class Parameters:
    seed: int = 0
    steps: int = 6
    kill: int = -1


def main(parameters: Parameters, out: Path) -> dict:
    p, workers, metrics = parameters, Workers(out), Metrics(out)
    rng = torch.Generator().manual_seed(p.seed)
    x = torch.randn(64, 3, generator=rng)
    y = x.prod(1, keepdim=True)
    models = {}
    for name in ("ours", "PyTorch's"):
        torch.manual_seed(p.seed)
        models[name] = workers.fsdp(Chain(Dense(3, 7, tanh), Dense(7, 1)))
    ours, theirs = Adam(trainables(models["ours"]), 0.05), torch.optim.Adam(models["PyTorch's"].parameters(), 0.05)
    for step in workers.steps(p.steps, **models, opt=ours, other=theirs, rng=rng):
        if step == 1:
            adjust(ours, 0.01)
            theirs.param_groups[0]["lr"] = 0.01
        mine = workers.share(torch.randint(64, (16,), generator=rng))
        losses = [mse(model(x[mine]), y[mine]) for model in models.values()]
        for loss, opt in zip(losses, (ours, theirs.step)):
            back(loss)
            opt()
        theirs.zero_grad()
        metrics(step=step, loss=workers.mean(losses[0]))
        if step == p.kill and workers.rank == 1 and not Path("once").exists():
            Path("once").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    whole = lambda w: (w.full_tensor() if hasattr(w, "full_tensor") else w).tolist()
    return {name: [whole(w) for w in trainables(model)] for name, model in models.items()}
'''


QUICK = '''"""Needs no PyTorch in its processes, which so begin at once."""
import os, signal, time
from dataclasses import dataclass

@dataclass
class Parameters:
    seed: int = 0

def main(parameters, out):
    first = os.environ["RANK"] == "0"
    BODY
    return {"count": int(os.environ["WORLD_SIZE"])}
'''


def run(project: Project, out: str, *options: str) -> dict[str, Any]:
    """What a run comes to."""
    done = project.torchflux("run", "net", "--out", out, *options)
    assert done.exit_code == 0, done.output
    results = Run.read(project.root / out).results
    assert results is not None
    return dict(results["results"])


def weights(results: dict[str, Any], name: str = "together") -> torch.Tensor:
    return torch.cat([torch.tensor(w).flatten() for w in results[name]])


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@unix
def test_two_are_as_one_and_killed_they_go_on(empty: Project) -> None:
    empty.add("net", SOURCE)
    one, two = run(empty, "one"), run(empty, "two", "--nproc", "2")
    torch.testing.assert_close(weights(two), weights(one))
    # Canary: processes that only take parts of the batches go different ways, so that this could fail.
    assert not torch.allclose(weights(two, "apart"), weights(one, "apart"), atol=1e-3)
    assert Run.read(Path("two")).about["processes"] == 2
    assert run(empty, "killed", "--nproc", "2", "--set", "kill=3") == two
    assert Path("killed", "metrics.jsonl").read_bytes() == Path("two", "metrics.jsonl").read_bytes()
    assert len(Run.read(Path("killed")).about["resumed"]) == 1
    (checkpoint,) = Path("killed", "checkpoints").iterdir()
    assert checkpoint.name == "workers-6"


@unix
def test_spread_parameters_are_kept_in_parts(empty: Project) -> None:
    empty.add("net", SPREAD)
    one, two = run(empty, "one"), run(empty, "two", "--nproc", "2")
    for name in ("ours", "PyTorch's"):
        torch.testing.assert_close(weights(two, name), weights(one, name))
    assert run(empty, "killed", "--nproc", "2", "--set", "kill=3") == two
    assert Path("killed", "metrics.jsonl").read_bytes() == Path("two", "metrics.jsonl").read_bytes()
    assert len(Run.read(Path("killed")).about["resumed"]) == 1


@unix
@pytest.mark.parametrize("which", ["first", "not first"])
def test_when_either_is_killed_both_begin_again(empty: Project, which: str) -> None:
    killed = f"if {which} and not os.path.exists('killed'):\n        open('killed', 'w').close()\n"
    killed += "        os.kill(os.getpid(), signal.SIGKILL)\n    if not os.path.exists('killed'): time.sleep(60)"
    empty.add("net", QUICK.replace("BODY", killed))
    done = empty.torchflux("run", "net", "--nproc", "2", "--out", "here")
    assert done.exit_code == 0, done.output
    assert f"Process {'01'[which != 'first']} was killed by signal 9. All go on." in done.stderr
    run = Run.read(Path("here"))
    assert run.results is not None
    assert (run.state, run.results["results"]) == ("done", {"count": 2})
    assert len(run.about["resumed"]) <= 1  # the second one may be killed before the first has written anything


@unix
def test_a_process_that_fails_is_named_and_its_run_resumed_by_as_many(empty: Project) -> None:
    empty.add("net", QUICK.replace("BODY", "time.sleep(60) if first else 1 / 0"))
    failed = empty.torchflux("run", "net", "--nproc", "2", "--out", "here")
    assert failed.exit_code == 1
    assert "Process 1 failed" in failed.stderr
    assert "ZeroDivisionError" in failed.stderr
    assert "ZeroDivisionError" in Path("here", "worker-1.txt").read_text()
    alone = empty.torchflux("run", "net", "--resume", "--out", "here")
    assert alone.exit_code == 2
    assert "processes: 2 then, 1 now" in alone.stderr


@unix
def test_ctrl_c_ends_all(empty: Project) -> None:
    """The first process sends it to the launcher, which is this one, when the other one is there."""
    body = "open(f'pid-{os.getpid()}', 'w').close()\n    import glob\n    while len(glob.glob('pid-*')) < 2: pass\n"
    body += "    if first: os.kill(os.getppid(), signal.SIGINT)\n    time.sleep(60)"
    empty.add("net", QUICK.replace("BODY", body))
    before = signal.getsignal(signal.SIGINT)
    assert empty.torchflux("run", "net", "--nproc", "2", "--out", "here").exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert Run.read(Path("here")).state in ("stopped", "killed")
    for file in empty.root.glob("pid-*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.name.removeprefix("pid-")), 0)


def test_one_alone_is_like_any_run(out: Path) -> None:
    workers, model = Workers(out), torch.nn.Linear(2, 1)
    assert (workers.rank, workers.world) == (0, 1)
    assert workers.ddp(model) is model
    assert workers.share([1, 2, 3]) == [1, 2, 3]
    assert workers.mean(torch.tensor(3.0)) == 3
    done = []
    for step in workers.steps(5, model=model):
        done.append(step)
        if step == 3:  # which is not saved any more
            break
    about = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(about | {"resumed": [{"at": "", "changed": []}]}))
    assert [*done, *Workers(out).steps(5, model=model)] == [0, 1, 2, 3, 3, 4]


def test_unequal_parts_are_refused(tmp_path: Path) -> None:
    workers = Workers(tmp_path)
    workers.rank, workers.world = 1, 2
    assert workers.share([0, 1, 2, 3]) == [1, 3]
    with pytest.raises(ValueError, match="take a multiple of 2"):
        workers.share([1, 2, 3])
    with pytest.raises(ValueError, match="every=0"):
        next(iter(workers.steps(3, every=0)))


def test_a_checkpoint_of_one_process_is_refused_in_several(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHFLUX_RUN", str(out))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LabError, match="Checkpoint is of one process"):
        Checkpoint(out, "first")


def test_misuse(empty: Project) -> None:
    empty.add("net", SOURCE)
    assert "expected" in empty.torchflux("run", "net", "--nproc", "2", "--set", "steps=x").stderr
    assert "no run of 'net'" in empty.torchflux("run", "net", "--nproc", "2", "--resume").stderr
    assert "goes with --resume" in empty.torchflux("run", "net", "--nproc", "2", "--anyway").stderr
    assert empty.runs == []
