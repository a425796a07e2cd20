"""A project with made-up experiments, and two ways to give the command: in this process, and as one does."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from torchflux_lab._cli import app

TOY = (Path(__file__).parent / "toy" / "toy.py").read_text(encoding="utf-8")

SHORT = '''"""{summary}"""
from dataclasses import dataclass

@dataclass
class Parameters:
    seed: int = 0

def main(parameters, out):
    {body}
'''


class Project:
    """A folder with `experiments/`, where the command is given."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, name: str, source: str) -> Path:
        """Write an experiment."""
        script = self.root / "experiments" / name / f"{name}.py"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(source, encoding="utf-8")
        return script

    def add_short(self, name: str, body: str, summary: str = "Short.") -> Path:
        """Write an experiment whose main has this body."""
        return self.add(name, SHORT.format(summary=summary, body=body.replace("\n", "\n    ")))

    def torchflux(self, *arguments: str) -> Result:
        """Give the command in this process."""
        return CliRunner().invoke(app, list(arguments))

    def shell(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Give the command in a process of its own, where every warning is an error."""
        return subprocess.run(
            self.command(*arguments), cwd=self.root, env=os.environ | environment, capture_output=True, text=True
        )

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "torchflux_lab", *arguments]

    @property
    def runs(self) -> list[Path]:
        """The folders of the runs so far."""
        return sorted(self.root.glob("runs/*"))


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without experiments, and the working directory in it."""
    for variable in ("TORCHFLUX_EXPERIMENTS", "FORCE_COLOR", "GITHUB_ACTIONS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder of a run, as a script is given it."""
    about = {"name": "made", "state": "running", "started": "2026-01-01T00:00:00+00:00", "resumed": []}
    (tmp_path / "run.json").write_text(json.dumps(about | {"parameters": {"seed": 0}, "settings": ["seed=0"]}))
    return tmp_path


@pytest.fixture
def project(empty: Project) -> Project:
    """A project with the experiment `toy`."""
    empty.add("toy", TOY)
    return empty


@pytest.fixture
def refused(project: Project) -> Callable[..., str]:
    """Give a command that must be refused; returns what it says. Nothing may have been made."""

    def give(*arguments: str) -> str:
        before = sorted(project.root.rglob("*"))
        result = project.torchflux(*arguments)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        assert sorted(project.root.rglob("*")) == before
        return result.stderr

    return give
