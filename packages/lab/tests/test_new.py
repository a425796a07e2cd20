"""A new project: what is written, and that nothing is written over. That it is reproduced is in test_reproduce.py."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project


def test_it_can_be_run_at_once(empty: Project) -> None:
    made = empty.torchflux("new", "My Models")
    assert made.exit_code == 0, made.stderr
    root = empty.root / "My Models"
    assert tomllib.loads((root / "pyproject.toml").read_text())["project"]["name"] == "my-models"
    assert (root / ".gitignore").is_file()
    assert "PROJECT" not in "".join(path.read_text() for path in root.rglob("*") if path.is_file())
    ran = empty.torchflux("run", "hello", "--experiments", str(root / "experiments"), "--set", "points=100")
    assert ran.exit_code == 0, ran.stderr


def test_nothing_is_written_over(empty: Project) -> None:
    (empty.root / "README.md").write_text("mine")
    done = empty.torchflux("new", ".")
    assert done.exit_code == 2
    assert "README.md is there already" in done.stderr
    assert [path.name for path in empty.root.iterdir()] == ["README.md"]
