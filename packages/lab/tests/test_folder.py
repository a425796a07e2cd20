"""The folder of a run: new, unique, and never one that holds something."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from torchflux_lab import LabError, _folder, refuse_occupied, run_folder

if TYPE_CHECKING:
    from conftest import Project


def test_the_usual_folder_is_named_for_experiment_and_time(empty: Project) -> None:
    folder = run_folder("toy")
    assert folder.parent == empty.root / "runs"
    assert re.fullmatch(r"toy-\d{8}-\d{6}", folder.name)
    assert folder.is_dir()


class Noon(_folder.datetime):
    @classmethod
    def now(cls, tz: object = None) -> Noon:
        return cls(2026, 1, 2, 12, 0, 0)


def test_a_taken_name_gets_a_number(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_folder, "datetime", Noon)
    names = [run_folder("toy").name for _ in range(3)]
    assert names == ["toy-20260102-120000", "toy-20260102-120000-2", "toy-20260102-120000-3"]


def test_a_named_folder_may_be_new_or_empty(empty: Project) -> None:
    assert run_folder("toy", Path("a/b")) == empty.root / "a" / "b"
    assert run_folder("toy", Path("a/b")) == empty.root / "a" / "b"


def test_a_folder_that_holds_something_is_refused_and_kept(project: Project, refused: Callable[..., str]) -> None:
    (project.root / "old").mkdir()
    (project.root / "old" / "results.json").write_text("precious")
    assert "--out old holds something already (results.json)" in refused("run", "toy", "--out", "old")
    assert (project.root / "old" / "results.json").read_text() == "precious"


def test_a_file_is_no_folder(project: Project, refused: Callable[..., str]) -> None:
    (project.root / "old").touch()
    assert "--out old is a file" in refused("run", "toy", "--out", "old")
    with pytest.raises(LabError):
        refuse_occupied(Path("old"))


def test_a_folder_that_cannot_be_made_is_said(project: Project, refused: Callable[..., str]) -> None:
    (project.root / "file").touch()
    assert "Not a directory" in refused("run", "toy", "--out", "file/inner")
    (project.root / "runs").touch()
    assert "cannot be made" in refused("run", "toy")
