"""TensorBoard reads what a run has measured, also when the run was resumed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

BODY = """
from torchflux_lab import Checkpoint, Metrics
metrics = Metrics(out, mode="plain")
for step in Checkpoint(out).steps(4):
    metrics(step=step, loss=step / 2)
    Metrics(out)(rate=step)
    if step == 2 and not (out / "once").exists():
        (out / "once").touch()
        raise KeyboardInterrupt
return {}
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("first", "second"), [(["--tensorboard"], []), ([], ["--tensorboard"])])
def test_the_curves_are_tensorboards(first: list[str], second: list[str], project: Project) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    project.add_short("boarded", BODY.strip())
    assert project.torchflux("run", "boarded", *first, "-o", "here").exit_code == 130
    assert project.torchflux("run", "boarded", "--resume", *second, "-o", "here").exit_code == 0
    read = EventAccumulator(str(project.root / "here" / "tensorboard"))
    read.Reload()
    assert read.Tags()["scalars"] == ["loss/plain", "rate"]
    assert [(x.step, x.value) for x in read.Scalars("loss/plain")] == [(0, 0.0), (1, 0.5), (2, 1.0), (3, 1.5)]
    assert [(x.step, x.value) for x in read.Scalars("rate")] == [(1, 0.0), (2, 1.0), (3, 2.0), (4, 3.0)]


def test_without_it_nothing_is_written_for_it(project: Project) -> None:
    project.add_short("plain", "from torchflux_lab import Metrics\nMetrics(out)(x=1)\nreturn {}")
    project.torchflux("run", "plain", "-o", "here")
    assert not Path("here", "tensorboard").exists()


def test_where_it_is_not_installed_that_is_said(monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'torchflux-lab[tensorboard]' does that" in refused("run", "toy", "--tensorboard")
