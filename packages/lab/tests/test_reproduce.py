"""Reproduction: in a fresh environment from a lock file, with every result compared; and what stops it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from torchflux_lab import _environment, _reproduce
from torchflux_lab._environment import Environment
from torchflux_lab._record import Record, read_record

if TYPE_CHECKING:
    from conftest import Repository

INSIDE = """
import json, site
from importlib.metadata import distributions
print(json.dumps({"user": site.ENABLE_USER_SITE, "packages": [d.name for d in distributions()]}))
"""


@pytest.fixture
def offline(recorded: Repository, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A project with a record, where pip has the wheels of one folder and nothing else."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(recorded.wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return recorded


def reproduced(recorded: Repository, *options: str) -> tuple[int, str]:
    """The exit code of `reproduce`, and what it says in lines of single blanks."""
    done = recorded.torchflux("reproduce", "hello", *options)
    return done.exit_code, re.sub(r" +", " ", done.stdout + done.stderr)


def test_a_recorded_run_is_reproduced_in_full(
    offline: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONPATH", "PIP_TARGET", "PYTHONSTARTUP"):  # what must not leak in
        monkeypatch.setenv(name, str(tmp_path / "outside"))
    offline.edit("experiments/hello/hello.py", "4 * inside", "5 * inside")  # after the commit
    code, said = reproduced(offline, "--keep", str(tmp_path / "kept"))
    assert code == 0, said
    assert f"code: commit {offline.git('rev-parse', 'HEAD~1')[:12]}, 3 files as recorded" in said
    assert "hello.toml is reproduced: 3 equal" in said
    python = Environment(tmp_path / "kept" / "environment", Path(), print).python
    inside = json.loads(subprocess.run([str(python), "-I", "-c", INSIDE], capture_output=True, check=True).stdout)
    locked = {line.split("==")[0].replace("_", "-") for line in offline.locked}
    assert {name.lower().replace("_", "-") for name in inside["packages"]} - {"pip", "setuptools"} <= locked
    assert not inside["user"]
    again = json.loads((tmp_path / "kept" / "run" / "provenance.json").read_text(encoding="utf-8"))
    assert again["packages"]["torchflux-lab"]["version"] == "0.1.0"  # the locked one
    assert again["elsewhere"] == []
    assert again["code"] == read_record(offline.record).code


def test_a_locked_package_with_another_content_is_refused(offline: Repository) -> None:
    text = (offline.root / "lockfiles" / "cpu.txt").read_text()
    digest = re.search(r"typer==.*\n.*sha256:(\w+)", text)[1]
    offline.edit("lockfiles/cpu.txt", digest, "0" * 64)
    offline.commit()
    offline.shell("run", "hello", "--out", "runs/tampered")
    assert offline.torchflux("record", "runs/tampered", "--replace").exit_code == 0
    code, said = reproduced(offline)
    assert code == 2
    assert re.search(r"given for typer==\S+ does not have the hash that lockfiles/cpu.txt holds", said)


# What needs no environment of its own: the run takes place in this one.


class Here(Environment):
    """Stands in for the fresh environment."""

    made: ClassVar[list[str]] = []

    def run(self, command: list[str]) -> str:
        self.made.append(" ".join(command))
        return ""


@pytest.fixture
def here(offline: Repository, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A project whose reproductions run in the environment of these tests."""
    monkeypatch.setattr(_reproduce, "Environment", Here)
    monkeypatch.setattr(_reproduce, "LEAKING", ())
    monkeypatch.setattr(_reproduce, "clean_environment", lambda: dict(_environment.os.environ))
    monkeypatch.setattr(_reproduce, "isolated", lambda environment: [_environment.sys.executable])
    yield offline
    Here.made.clear()


def rewrite(recorded: Repository, table: str, **values: object) -> Record:
    """Somebody changes a record, and the hashes in it as well."""
    record = read_record(recorded.record)
    getattr(record, table).update(values)
    recorded.record.write_text(record.text(), encoding="utf-8")
    assert read_record(recorded.record).edited == []
    return record


def test_the_canary_is_reproduced(here: Repository) -> None:
    code, said = reproduced(here)
    assert (code, "hello.toml is reproduced: 3 equal" in said) == (0, True), said


def test_a_tampered_result_is_named(here: Repository) -> None:
    rewrite(here, "results", inside=1569, estimate=3.136 * (1 + 1e-7))
    code, said = reproduced(here)
    assert code == 1
    assert re.search(r"inside 1569 1568 \S+ different", said)
    assert re.search(r"estimate 3.136 3.136 \S+ within tolerance", said)
    assert "hello.toml is not reproduced: 1 equal, 1 within tolerance, 1 different" in said


def test_an_edited_record_is_not_reproduced(here: Repository) -> None:
    here.edit("lockfiles/hello.toml", "inside = ", "inside = 1")
    code, said = reproduced(here)
    assert (code, Here.made) == (2, [])
    assert "was changed after it was made: results" in said


def test_a_lost_or_new_result_is_different(here: Repository) -> None:
    rewrite(here, "results", lost=1.0)
    assert re.search(r"lost 1 missing different", reproduced(here)[1])


@pytest.mark.parametrize("name", ["experiments/hello/hello.py", "experiments/hello/table.csv", "lockfiles/cpu.txt"])
def test_a_file_that_cannot_be_had_as_recorded_is_named(name: str, here: Repository) -> None:
    record = read_record(here.record)
    table = "code" if name in record.code else "data" if name in record.data else "lock"
    rewrite(here, table, **{"sha256" if table == "lock" else name: "0" * 64})
    code, said = reproduced(here)
    assert (code, Here.made) == (2, [])
    assert f"{name}: has another content" in said


def test_without_the_commit_the_same_files_will_do(here: Repository) -> None:
    rewrite(here, "run", commit="0" * 40)
    code, said = reproduced(here)
    assert code == 0, said
    assert "code: this checkout, as the recorded commit is not in it" in said
    here.edit("experiments/hello/hello.py", "4 * inside", "5 * inside")
    here.commit()
    code, said = reproduced(here)
    assert code == 2
    assert "experiments/hello/hello.py: has another content" in said


def test_without_git_the_same_files_will_do(here: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(here, "run", commit="none")
    monkeypatch.setenv("PATH", "")
    assert reproduced(here)[0] == 0


def test_data_that_no_commit_holds_is_taken_from_here(here: Repository) -> None:
    large = here.root / "experiments" / "hello" / "large.bin"
    (here.root / ".gitignore").write_text("*.bin\nruns/\n")
    large.write_bytes(b"large")
    here.commit()
    here.shell("run", "hello", "--out", "runs/large")
    assert here.torchflux("record", "runs/large", "--replace").exit_code == 0
    assert reproduced(here)[0] == 0
    large.write_bytes(b"other")
    code, said = reproduced(here)
    assert code == 2
    assert "experiments/hello/large.bin: is not there" in said


def test_weights_that_torchflux_keeps_are_found_again(
    here: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("TORCHFLUX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    weights = tmp_path / ".cache" / "torchflux" / "zoo" / "net.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    body = "import os\nfrom pathlib import Path\ncache = os.environ.get('TORCHFLUX_CACHE') or '~/.cache/torchflux'\n"
    body += "return {'read': (Path(cache).expanduser() / 'zoo/net.safetensors').read_text()}"
    script = here.add_short("hello", body)
    script.write_text(script.read_text().replace("\n", '\nDATA = ["~/.cache/torchflux/zoo/*"]\n', 1))
    here.commit()
    here.shell("run", "hello", "--out", "runs/zoo")
    assert here.torchflux("record", "runs/zoo", "--replace").exit_code == 0
    assert read_record(here.record).data.keys() >= {"~/.cache/torchflux/zoo/net.safetensors"}
    code, said = reproduced(here)
    assert code == 0, said
    weights.write_bytes(b"others")
    code, said = reproduced(here)
    assert code == 2
    assert "~/.cache/torchflux/zoo/net.safetensors: has another content" in said


def test_another_package_in_the_environment_is_named(here: Repository) -> None:
    rewrite(here, "packages", typer={"version": "0.1", "sha256": "0" * 64})
    code, said = reproduced(here)
    assert code == 1
    assert "packages typer 0.1, files 000000000000" in said


def test_another_machine_is_named_and_may_have_the_same_results(here: Repository) -> None:
    rewrite(here, "machine", features="abacus")
    code, said = reproduced(here)
    assert (code, "machine features abacus" in said) == (0, True)


def test_the_run_has_the_recorded_threads_and_settings(here: Repository, tmp_path: Path) -> None:
    record = rewrite(here, "run", settings={"PYTHONHASHSEED": "7"})
    rewrite(here, "machine", threads=3)
    code, said = reproduced(here, "--keep", str(tmp_path / "kept"))
    assert code == 0, said
    again = json.loads((tmp_path / "kept" / "run" / "provenance.json").read_text(encoding="utf-8"))
    kept = _reproduce._run_environment(record, tmp_path)
    assert kept["TORCHINDUCTOR_CACHE_DIR"].startswith(str(tmp_path))  # nothing that was compiled elsewhere leaks in
    assert again["settings"] == {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "3"}
    assert again["parameters"] == record.parameters


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_run_of_two_processes_has_two_again(here: Repository, tmp_path: Path) -> None:
    rewrite(here, "run", processes=2)
    code, said = reproduced(here, "--keep", str(tmp_path / "kept"))
    assert code == 0, said
    again = json.loads((tmp_path / "kept" / "run" / "provenance.json").read_text(encoding="utf-8"))
    assert again["processes"] == 2


def test_a_run_that_fails_says_how_it_ended(here: Repository) -> None:
    rewrite(here, "parameters", points="many")
    code, said = reproduced(here)
    assert code == 2
    assert "The run failed in the fresh environment" in said
    assert "'points' was given 'many'" in said


def test_a_folder_that_holds_something_is_refused(here: Repository) -> None:
    code, said = reproduced(here, "--keep", "runs")
    assert (code, "--keep runs is there already" in said) == (2, True)
