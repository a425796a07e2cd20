"""The set-up: what it does again and when, what it asks pip for, and what it says when it cannot."""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib.metadata
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

import environment
import set_up
import torch_build
from environment import Plan, SetUpError
from torchflux_lab import _environment
from torchflux_lab._environment import Environment, NotOffered, clean_environment, running_wheel_tag

FINISHED = {"interpreter", "lock", "packages"}


class FakeCommands:
    """Stands in for the commands of the set-up: notes them, and fails where it is told to."""

    def __init__(self, failing: dict[str, BaseException] | None = None) -> None:
        self.commands: list[list[str]] = []
        self.failing = failing or {}

    def __call__(self, made: Environment, command: list[str]) -> str:
        self.commands.append(command)
        for word, error in self.failing.items():
            if any(word in part for part in command):
                raise error
        if "venv" in command:
            (made.folder / "pyvenv.cfg").touch()
        return '[{"name": "pip"}, {"name": "torchflux"}]\n'

    def having(self, word: str) -> list[list[str]]:
        return [command for command in self.commands if any(word in part for part in command)]


def use(monkeypatch: pytest.MonkeyPatch, fake: FakeCommands) -> None:
    """Let a set-up give its commands to this."""
    monkeypatch.setattr(Environment, "run", lambda made, command: fake(made, command))


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A checkout with one package, and a lock with torch and one more pin."""
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "pyproject.toml").write_text('[project]\nname = "torchflux"\n')
    (tmp_path / "lockfiles").mkdir()
    other = f"other==1 \\\n    --hash=sha256:{'0' * 64}\n"
    (tmp_path / "lockfiles" / "cpu.txt").write_text(other + torch_build.read_table().lock_entries())
    (tmp_path / "lockfiles" / "cuda.txt").write_text(other + other.replace("other==1", "torch==2.13.0"))
    return Plan(tmp_path, tmp_path / ".venv")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> FakeCommands:
    fake = FakeCommands()
    use(monkeypatch, fake)
    return fake


# the interpreter -----------------------------------------------------------------------------------


def test_an_older_python_can_read_the_entry_point() -> None:
    ast.parse(Path(set_up.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))


def test_the_set_up_needs_no_package() -> None:
    """It imports the lab from its source, in a Python that has nothing installed."""
    places = [str(Path(set_up.__file__).parent), str(Path(_environment.__file__).parent.parent)]
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {places}; import environment"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_the_entry_point_objects_to() -> None:
    assert set_up.objection((3, 11), []) is None
    assert "needs Python 3.11 or later, and this is Python 3.10" in (set_up.objection((3, 10), []) or "")
    assert "apt-get install python3.11-venv" in (set_up.objection((3, 11), ["ensurepip"]) or "")


def test_an_interpreter_without_a_locked_wheel_is_named_with_the_way_out() -> None:
    table = torch_build.read_table()
    assert table.objection("cp311-cp311-manylinux_2_28_x86_64") is None
    for tag in ("cp315-cp315-manylinux_2_28_x86_64", "cp311-cp311-musllinux_x86_64", "cp313-cp313t-win_amd64"):
        sentence = table.objection(tag) or ""
        assert tag in sentence
        assert "PYTHON=" in sentence
        assert "3.11, 3.12, 3.13, 3.14" in sentence


def test_the_tag_of_this_interpreter_is_that_of_the_installed_wheel() -> None:
    distribution = importlib.metadata.distribution("torch")
    assert running_wheel_tag() in (distribution.read_text("WHEEL") or "")


# what is done again --------------------------------------------------------------------------------


def test_a_second_run_does_nothing(plan: Plan, commands: FakeCommands) -> None:
    environment.make(plan)
    assert commands.having("venv")
    assert set(environment.read_stamp(plan.venv)) == FINISHED
    commands.commands.clear()
    environment.make(plan)
    assert commands.commands == []


def test_a_new_lock_is_installed_into_the_same_environment(plan: Plan, commands: FakeCommands) -> None:
    environment.make(plan)
    commands.commands.clear()
    plan.lock.write_text(plan.lock.read_text() + "\n# changed\n")
    environment.make(plan)
    assert commands.having("--require-hashes")
    assert not any(command[1:3] == ["-m", "venv"] for command in commands.commands)


def test_new_declarations_install_the_packages_only(plan: Plan, commands: FakeCommands) -> None:
    environment.make(plan)
    commands.commands.clear()
    (plan.root / "core" / "pyproject.toml").write_text('[project]\nname = "torchflux"\nversion = "2"\n')
    environment.make(plan)
    assert commands.having("--editable")
    assert not commands.having("--require-hashes")


def test_another_build_of_torch_means_a_new_environment(plan: Plan, commands: FakeCommands) -> None:
    environment.make(plan)
    leftover = plan.venv / "leftover"
    leftover.mkdir()
    environment.make(Plan(plan.root, plan.venv, "cuda"))
    assert not leftover.exists()


def test_an_interrupted_set_up_starts_over(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakeCommands({"lockfiles": KeyboardInterrupt()}))
    with pytest.raises(KeyboardInterrupt):
        environment.make(plan)
    half_installed = plan.venv / "half"
    half_installed.touch()
    whole = FakeCommands()
    use(monkeypatch, whole)
    environment.make(plan)
    assert any(command[1:3] == ["-m", "venv"] for command in whole.commands)
    assert not half_installed.exists()
    assert set(environment.read_stamp(plan.venv)) == FINISHED


def test_an_update_that_is_interrupted_starts_over(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakeCommands())
    environment.make(plan)
    plan.lock.write_text(plan.lock.read_text() + "\n# changed\n")
    use(monkeypatch, FakeCommands({"--require-hashes": SetUpError("no disk")}))
    with pytest.raises(SetUpError, match="no disk"):
        environment.make(plan)
    assert environment.read_stamp(plan.venv) == {}


def test_what_the_lock_no_longer_holds_is_removed(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    class WithStray(FakeCommands):
        def __call__(self, made: Environment, command: list[str]) -> str:
            super().__call__(made, command)
            return '[{"name": "pip"}, {"name": "Old.Thing"}, {"name": "other"}]\n'

    fake = WithStray()
    use(monkeypatch, fake)
    environment.make(plan)
    assert [command[-2:] for command in fake.having("uninstall")] == [["--yes", "old-thing"]]


def test_a_second_set_up_waits_for_the_first(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    entered = threading.Event()

    def second() -> None:
        with environment.exclusive(plan.venv):
            entered.set()

    thread = threading.Thread(target=second)
    with environment.exclusive(plan.venv):
        thread.start()
        assert not entered.wait(0.3)
    thread.join(5)
    assert entered.is_set()
    assert "waiting for it" in capsys.readouterr().out


def test_an_environment_of_the_users_own_is_left_alone(plan: Plan, commands: FakeCommands) -> None:
    plan.venv.mkdir()
    (plan.venv / "pyvenv.cfg").write_text("mine")
    with pytest.raises(SetUpError, match="was not made by this set-up"):
        environment.make(plan)
    assert (plan.venv / "pyvenv.cfg").read_text() == "mine"
    assert commands.commands == []


def test_an_unknown_build_of_torch_is_refused(plan: Plan) -> None:
    with pytest.raises(SetUpError, match="TORCH=rocm names no lock file; expected one of: cpu, cuda"):
        environment.make(Plan(plan.root, plan.venv, "rocm"))


# what pip is asked for -----------------------------------------------------------------------------


def test_pip_checks_hashes_and_never_builds(plan: Plan, commands: FakeCommands) -> None:
    environment.make(plan)
    for command in commands.having("--requirement"):
        assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(command)
        assert "--index-url" not in command


def test_pytorchs_index_is_asked_for_torch_alone(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    class NotOnTheUsualIndex(FakeCommands):
        def __call__(self, made: Environment, command: list[str]) -> str:
            said = super().__call__(made, command)
            if "torch.txt" in command[-1] and "--index-url" not in command:
                raise NotOffered("no torch here")
            return said

    fake = NotOnTheUsualIndex()
    use(monkeypatch, fake)
    environment.make(plan)
    (asked,) = fake.having("--index-url")
    assert asked[asked.index("--index-url") + 1] == _environment.CPU_INDEX
    assert {"--require-hashes", "--no-deps"} <= set(asked)
    assert asked[-1] == str(plan.venv / "torch.txt")
    assert {line.split("==")[0] for line in Path(asked[-1]).read_text().splitlines() if "==" in line} == {"torch"}


def test_the_cuda_lock_needs_no_other_index(plan: Plan, commands: FakeCommands) -> None:
    environment.make(Plan(plan.root, plan.venv, "cuda"))
    assert not commands.having("--index-url")
    assert not commands.having("torch.txt")


def test_settings_that_lead_elsewhere_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, "somewhere")
    kept = clean_environment()
    assert kept["PIP_FIND_LINKS"] == "somewhere"
    assert not {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET"} & set(kept)


# with pip itself and no network --------------------------------------------------------------------


def build_wheel(folder: Path, name: str, version: str) -> Path:
    """The smallest wheel that pip takes."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{path},sha256={_record_digest(text)},{len(text)}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,"]) + "\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def _record_digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def install(folder: Path, digest: str) -> subprocess.CompletedProcess[str]:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"tamper==1.0 \\\n    --hash=sha256:{digest}\n")
    command = [sys.executable, "-m", "pip", "install", "--isolated", "--require-hashes", "--no-deps"]
    command += ["--no-index", "--find-links", str(folder), "--target", str(folder / "out")]
    return subprocess.run([*command, "-r", str(requirements)], capture_output=True, text=True)


def test_pip_refuses_a_wrong_hash_and_takes_the_right_one(tmp_path: Path) -> None:
    digest = sha256(build_wheel(tmp_path, "tamper", "1.0"))
    wrong = ("1" if digest[0] == "0" else "0") + digest[1:]
    refused = install(tmp_path, wrong)
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert not (tmp_path / "out" / "tamper.py").exists()
    taken = install(tmp_path, digest)
    assert taken.returncode == 0, taken.stderr
    assert (tmp_path / "out" / "tamper.py").exists()


@pytest.fixture
def empty_index(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A checkout whose lock holds a made-up torch and nothing else, on a machine whose pip knows an empty
    index only."""
    (plan.root / "core" / "pyproject.toml").unlink()
    (plan.root / "usual").mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", (plan.root / "usual").as_uri())
    wheel = build_wheel(plan.root, "torch", "2.13.0+cpu")
    plan.lock.write_text(f"torch==2.13.0+cpu \\\n    --hash=sha256:{sha256(wheel)}\n")
    return plan


def publish(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of PyTorch's, in a folder, that has the wheel."""
    page = plan.root / "pytorch" / "torch" / "index.html"
    page.parent.mkdir(parents=True)
    (wheel,) = plan.root.glob("*.whl")
    page.write_text(f'<!DOCTYPE html><html><body><a href="{wheel.as_uri()}">{wheel.name}</a></body></html>')
    monkeypatch.setattr(_environment, "CPU_INDEX", (plan.root / "pytorch").as_uri())


def test_the_whole_set_up_with_the_fallback(
    empty_index: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(empty_index, monkeypatch)
    environment.make(empty_index)
    assert list(empty_index.venv.glob("**/site-packages/torch.py"))
    said = capsys.readouterr().out
    assert f"asking PyTorch's own index, {_environment.CPU_INDEX}" in said
    environment.make(empty_index)
    assert capsys.readouterr().out == ""


def test_when_pytorchs_index_fails_too_the_user_is_told_what_to_do(
    empty_index: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_environment, "CPU_INDEX", (empty_index.root / "nowhere").as_uri())
    with pytest.raises(SetUpError, match="PIP_FIND_LINKS=/that/folder"):
        environment.make(empty_index)


def test_a_file_with_another_hash_is_refused(empty_index: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(empty_index, monkeypatch)
    (wheel,) = empty_index.root.glob("*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(SetUpError, match=r"torch==2\.13\.0\+cpu does not have the hash"):
        environment.make(empty_index)
    assert environment.read_stamp(empty_index.venv) == {}
