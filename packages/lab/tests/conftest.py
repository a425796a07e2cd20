"""A project with made-up experiments, and two ways to give the command: in this process, and as one does."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import torchflux_lab
from torchflux_lab._cli import app
from torchflux_lab._files import sha256
from torchflux_lab._new import new_project
from torchflux_lab._packages import Installed, installed

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


class Repository(Project):
    """A project of one's own, as `torchflux new` makes it, in git, with a lock file, and a recorded run of `hello`."""

    def __init__(self, root: Path, wheels: Path) -> None:
        super().__init__(root)
        self.wheels = wheels
        self.record = root / "lockfiles" / "hello.toml"

    def git(self, *arguments: str) -> str:
        """Give a command to git, as somebody who has set nothing up."""
        who = ["-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *who, *arguments], cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "all")

    def lock(self, packages: dict[str, dict[str, str]]) -> None:
        """Pack what is installed here into wheels, with the lab, and lock these."""
        found = [packed(installed()[name], self.wheels) for name in packages] + [packed_lab(self.wheels)]
        pins = ([*wheel.name.split("-")[:2], sha256(wheel)] for wheel in found)
        text = "".join(f"{name}=={version} \\\n    --hash=sha256:{digest}\n" for name, version, digest in pins)
        (self.root / "lockfiles" / "cpu.txt").write_text(text, encoding="utf-8")

    @property
    def locked(self) -> list[str]:
        """The pins."""
        return [line for line in (self.root / "lockfiles" / "cpu.txt").read_text().splitlines() if "==" in line]

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file."""
        text = (self.root / name).read_text(encoding="utf-8")
        assert old in text
        (self.root / name).write_text(text.replace(old, new), encoding="utf-8")


def packed(package: Installed, folder: Path) -> Path:
    """The wheel that an installed package came from, file for file."""
    info = next(name.split("/")[0] for name in package.files if name.endswith(".dist-info/WHEEL"))
    tags = re.findall(r"^Tag: (.*)$", (package.site / info / "WHEEL").read_text(), re.MULTILINE)
    tag = next((tag for tag in tags if tag.startswith("py3")), tags[0])
    files = {name: (package.site / name).read_bytes() for name in package.files}
    return wheel(folder / f"{info.removesuffix('.dist-info')}-{tag}.whl", files, info)


def packed_lab(folder: Path) -> Path:
    """The lab's own wheel."""
    source, info = Path(torchflux_lab.__file__).parent, "torchflux_lab-0.1.0.dist-info"
    paths = [path for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    files = {f"torchflux_lab/{path.relative_to(source).as_posix()}": path.read_bytes() for path in paths}
    files[f"{info}/METADATA"] = b"Metadata-Version: 2.1\nName: torchflux-lab\nVersion: 0.1.0\n"
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    return wheel(folder / "torchflux_lab-0.1.0-py3-none-any.whl", files, info)


def wheel(path: Path, files: dict[str, bytes], info: str) -> Path:
    lines = [f'"{name}",{_record_hash(content)},{len(content)}\n' for name, content in files.items()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (files | {f"{info}/RECORD": "".join([*lines, f"{info}/RECORD,,\n"]).encode()}).items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def _record_hash(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def recorded_once(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A project that each test gets a copy of."""
    made = Repository(tmp_path_factory.mktemp("recorded") / "mine", tmp_path_factory.mktemp("wheels"))
    new_project(made.root)
    (made.root / "experiments" / "hello" / "table.csv").write_text("1,2\n")
    made.shell("run", "hello", "--out", "runs/first")
    made.lock(json.loads((made.root / "runs" / "first" / "provenance.json").read_text())["packages"])
    made.git("init", "--quiet")
    made.commit()
    made.shell("run", "hello", "--set", "points=2000", "--out", "runs/second")
    done = made.shell("record", "runs/second")
    assert done.returncode == 0, done.stderr
    made.commit()
    return made


@pytest.fixture
def recorded(recorded_once: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A project with a recorded run, and the working directory in it."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("TORCHFLUX_EXPERIMENTS", raising=False)
    copy = Repository(tmp_path / "mine", recorded_once.wheels)
    shutil.copytree(recorded_once.root, copy.root)
    monkeypatch.chdir(copy.root)
    return copy
