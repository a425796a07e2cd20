"""Metrics: a line a call, whole or not at all, and cut to what a checkpoint has seen."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from torchflux_lab import LabError, Metrics, Run
from torchflux_lab._metrics import cut_metrics, metrics_size


def lines(out: Path) -> list[dict[str, Any]]:
    return Run.read(out).metrics()


def test_a_line_a_call_there_at_once(out: Path) -> None:
    metrics = Metrics(out, mode="plain")
    metrics(step=1, loss=torch.tensor(0.5))
    assert (out / "metrics.jsonl").read_text() == '{"mode": "plain", "step": 1, "loss": 0.5}\n'
    Metrics(out)(step=2, loss=float("nan"), name="λ")
    assert lines(out) == [{"mode": "plain", "step": 1, "loss": 0.5}, {"step": 2, "loss": "NaN", "name": "λ"}]


def test_outside_of_a_run_nothing_is_written(tmp_path: Path) -> None:
    Metrics(tmp_path)(step=1)
    assert list(tmp_path.iterdir()) == []


def test_what_json_cannot_hold_is_refused_and_writes_nothing(out: Path) -> None:
    with pytest.raises(TypeError, match=r"metrics\['model'\] is a Linear"):
        Metrics(out)(step=1, model=torch.nn.Linear(1, 1))
    assert not (out / "metrics.jsonl").exists()


@pytest.mark.parametrize("torn", ['{"step": 2, "lo', '{"step": 2, "name": "\u03bb"}'])
def test_a_last_line_without_an_end_is_not_read(torn: str, out: Path) -> None:
    Metrics(out)(step=1)
    with (out / "metrics.jsonl").open("ab") as file:
        file.write(torn.encode()[:-2])
    assert lines(out) == [{"step": 1}]


def test_what_is_no_line_of_metrics_is_said(out: Path) -> None:
    (out / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n')
    with pytest.raises(LabError, match="something else than lines of JSON"):
        lines(out)


def test_lines_after_a_checkpoint_are_cut(out: Path) -> None:
    metrics = Metrics(out)
    metrics(step=1)
    seen = metrics_size(out)
    metrics(step=2)
    cut_metrics(out, seen)
    assert lines(out) == [{"step": 1}]
    metrics(step=3)
    assert lines(out) == [{"step": 1}, {"step": 3}]


def test_a_file_that_someone_has_cut_is_refused(out: Path) -> None:
    Metrics(out)(step=1)
    with pytest.raises(LabError, match="has 12 bytes, and the last checkpoint has seen 100: it was cut"):
        cut_metrics(out, 100)
    assert metrics_size(out / "nowhere") == 0


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes, as if the disk were full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_line_that_does_not_fit_leaves_the_file_as_it_was(out: Path) -> None:
    metrics = Metrics(out)
    metrics(step=1)
    with files_up_to(20), pytest.raises(LabError, match=r"metrics\.jsonl cannot be written: File too large"):
        metrics(step=2, loss=0.123456789)
    assert (out / "metrics.jsonl").read_text() == '{"step": 1}\n'
    metrics(step=2)
    assert json.loads((out / "metrics.jsonl").read_text().splitlines()[1]) == {"step": 2}


def test_no_descriptor_is_left_open(out: Path) -> None:
    before = os.listdir("/proc/self/fd")
    Metrics(out)(step=1)
    assert len(os.listdir("/proc/self/fd")) == len(before)
