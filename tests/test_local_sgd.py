"""The experiment of a parallel algorithm of one's own: in two processes it is what it says, and alone it runs too."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from torchflux_lab import Run, find, parameters_with, perform
from torchflux_lab._cli import app

FOLDER = Path(__file__).parent.parent / "experiments"
SIZE = 4 * (64 * 16 + 16 + 16 * 10 + 10)  # bytes of the weights


@pytest.mark.skipif(os.name == "nt", reason="gloo's loopback")
def test_two_processes_send_what_they_say_and_averaging_each_step_is_ddp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    short = ["--set", "steps=96", "--set", "hidden=16", "--set", "apart=1,24", "--out", str(tmp_path / "two")]
    done = CliRunner().invoke(app, ["run", "local-sgd", "--nproc", "2", "--experiments", str(FOLDER), *short])
    assert done.exit_code == 0, done.output
    run = Run.read(tmp_path / "two")
    assert run.results is not None
    results = run.results["results"]
    assert {name: row["sent"] for name, row in results.items()} == {
        "ddp": 96 * SIZE,
        "local-1": 96 * SIZE,
        "local-24": 4 * SIZE,
    }
    curves = {name: [row["accuracy"] for row in run.metrics() if row["method"] == name] for name in results}
    # With plain gradient descent the mean of the weights after a step is the step along the mean gradient.
    assert curves["local-1"] == pytest.approx(curves["ddp"], abs=2 / 450)  # which rounding may turn
    assert curves["local-24"][0] != curves["ddp"][0]  # canary: weights that are apart at step 32 are others
    assert min(curve[-1] for curve in curves.values()) > 0.8
    assert len((tmp_path / "two" / "local-sgd.png").read_bytes()) > 20_000


def test_alone_all_methods_are_one(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    with find("local-sgd", FOLDER).loaded() as program:
        settings = ["steps=32", "every=16", "hidden=16", "apart=1,8"]
        results = perform(program, parameters_with(program.parameters, settings), tmp_path)["results"]
    assert json.loads((tmp_path / "results.json").read_text())["results"] == results
    assert len({row["accuracy"] for row in results.values()}) == 1
    assert {row["sent"] for row in results.values()} == {0}
