"""Records: what they hold, when there is none, and that every change to anything in them is found."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from torchflux_lab import LabError
from torchflux_lab._files import sha256
from torchflux_lab._record import read_record

if TYPE_CHECKING:
    from conftest import Repository


def test_a_record_holds_what_the_run_was_made_of(recorded: Repository) -> None:
    found = tomllib.loads(recorded.record.read_text(encoding="utf-8"))
    assert found["run"]["experiment"] == "hello"
    assert found["run"]["commit"] == recorded.git("rev-parse", "HEAD~1")
    assert found["run"]["changed"] == []
    assert found["parameters"] == {"seed": 0, "points": 2000}
    script = "experiments/hello/hello.py"
    assert found["code"] == {script: sha256(recorded.root / script)}
    assert found["data"] == {"experiments/hello/table.csv": sha256(recorded.root / "experiments/hello/table.csv")}
    assert found["lock"] == {"file": "lockfiles/cpu.txt", "sha256": sha256(recorded.root / "lockfiles/cpu.txt")}
    assert {"typer", "rich"} <= set(found["packages"])
    assert found["machine"]["python"].startswith("CPython 3.")
    assert found["tolerances"] == {"error": 1e-3, "*": 1e-6}
    results = json.loads((recorded.root / "runs" / "second" / "results.json").read_text(encoding="utf-8"))["results"]
    assert found["results"] == results


def test_a_record_names_no_path_no_address_and_is_the_same_when_it_is_made_again(recorded: Repository) -> None:
    text = recorded.record.read_text(encoding="utf-8")
    for word in (str(recorded.root), str(Path.home()), "://", "site-packages", str(recorded.wheels)):
        assert word not in text
    assert not re.search(r"\b[\w-]+\.(org|com|net|io|dev)\b", text)
    assert recorded.torchflux("record", "runs/second", "--replace").exit_code == 0
    assert recorded.record.read_text(encoding="utf-8") == text


def test_a_record_that_is_there_is_kept(recorded: Repository) -> None:
    done = recorded.torchflux("record", "runs/second")
    assert done.exit_code == 2
    assert "hello.toml is there already" in done.stderr


# What is not recorded.


def refusal(recorded: Repository, run: str = "runs/second", *options: str) -> str:
    """What speaks against a record."""
    done = recorded.torchflux("record", run, "--replace", *options)
    assert done.exit_code == 2, done.stdout
    return done.stderr


def test_a_run_that_is_not_finished(recorded: Repository) -> None:
    recorded.add_short("failing", "raise ValueError")
    recorded.shell("run", "failing", "--out", "runs/failed")
    assert "is not finished" in refusal(recorded, "runs/failed")


def test_a_run_whose_files_changed_since(recorded: Repository) -> None:
    recorded.edit("experiments/hello/hello.py", "4 * inside", "4.0 * inside")
    recorded.edit("experiments/hello/table.csv", "1,2", "1,3")
    recorded.edit("lockfiles/cpu.txt", "==", "== ")
    said = refusal(recorded)
    for name in ("experiments/hello/hello.py", "experiments/hello/table.csv", "lockfiles/cpu.txt"):
        assert f"{name} is not as it was when it ran" in said


def test_a_run_with_changes_that_no_commit_holds(recorded: Repository) -> None:
    recorded.edit("experiments/hello/hello.py", "4 * inside", "4.0 * inside")
    recorded.shell("run", "hello", "--out", "runs/changed")
    assert "the checkout had changes when it began: experiments/hello/hello.py" in refusal(recorded, "runs/changed")
    done = recorded.torchflux("record", "runs/changed", "--replace", "--dirty")
    assert done.exit_code == 0, done.stderr
    assert read_record(recorded.record).run["changed"] == ["experiments/hello/hello.py"]


def test_a_run_with_packages_that_no_lock_holds(recorded: Repository) -> None:
    recorded.edit("lockfiles/cpu.txt", "typer==", "typer==9")
    recorded.commit()
    recorded.shell("run", "hello", "--out", "runs/unlocked")
    assert re.search(
        r"lockfiles/cpu.txt does not hold what was loaded: typer \S+ \(locked: 9", refusal(recorded, "runs/unlocked")
    )


def test_a_run_that_loaded_what_belongs_to_nobody(recorded: Repository, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "stray.py").touch()
    source = f"import sys\nsys.path.append({str(tmp_path / 'elsewhere')!r})\nimport stray\nreturn {{}}"
    recorded.add_short("straying", source)
    recorded.commit()
    recorded.shell("run", "straying", "--out", "runs/stray")
    assert "belong to no package and not to the project: elsewhere/stray.py" in refusal(recorded, "runs/stray")


def test_a_run_that_changed_its_own_code_while_it_ran(recorded: Repository) -> None:
    script = recorded.add_short("turning", "from pathlib import Path\nPath(__file__).write_text('changed')\nreturn {}")
    recorded.commit()
    recorded.shell("run", "turning", "--out", "runs/turned")
    assert f"it changed while it ran, or before it was resumed: {script.relative_to(recorded.root)}" in refusal(
        recorded, "runs/turned"
    )


def test_a_run_that_was_resumed_with_other_code(recorded: Repository) -> None:
    script = recorded.add_short("stopping", "import os\nif 'STOP' in os.environ:\n    raise ValueError\nreturn {}")
    recorded.commit()
    recorded.shell("run", "stopping", "--out", "runs/resumed", STOP="yes")
    script.write_text(script.read_text().replace("ValueError", "TypeError"))
    recorded.commit()
    assert recorded.shell("run", "stopping", "--resume", "--anyway", "--out", "runs/resumed").returncode == 0
    assert "or before it was resumed: experiments/stopping/stopping.py" in refusal(recorded, "runs/resumed")


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ('DATA = ["none.csv"]', "names 'none.csv', and there is no such file"),
        ('DATA = ["/etc/hostname"]', "Name files from the script's folder on"),
        ('TOLERANCES = {"error": "small"}', "to a relative tolerance, a pair"),
        ("TOLERANCES = dict(error=1)", "is computed. It is read without running the script"),
    ],
)
def test_declarations_that_cannot_be_read(declared: str, said: str, recorded: Repository) -> None:
    recorded.edit("experiments/hello/hello.py", 'TOLERANCES = {"error": 1e-3}', declared)
    recorded.commit()
    ran = recorded.shell("run", "hello", "--out", "runs/declared")
    assert said in ran.stderr + ("" if ran.returncode else refusal(recorded, "runs/declared"))


def test_data_elsewhere_is_recorded_under_the_name_that_the_script_gives(recorded: Repository) -> None:
    (recorded.root / "shared").mkdir()
    (recorded.root / "shared" / "text.txt").write_text("text")
    recorded.edit("experiments/hello/hello.py", "TOLERANCES = {", 'DATA = ["../../shared/*.txt"]\nTOLERANCES = {')
    recorded.commit()
    recorded.shell("run", "hello", "--out", "runs/shared")
    assert recorded.torchflux("record", "runs/shared", "--replace").exit_code == 0
    assert "shared/text.txt" in read_record(recorded.record).data


# What is found when it is verified.


def verified(recorded: Repository, *options: str) -> tuple[int, str]:
    """The exit code of `verify`, and what it says in lines of single blanks."""
    done = recorded.torchflux("verify", str(recorded.root / "lockfiles" / "hello.toml"), *options)
    return done.exit_code, re.sub(r" +", " ", done.stdout + done.stderr)


def test_nothing_differs_where_it_was_recorded(recorded: Repository) -> None:
    done = recorded.shell("verify", "hello", "--deep")
    assert (done.returncode, done.stdout) == (0, "hello.toml: this machine has what was recorded\n")
    assert verified(recorded)[0] == 0
    assert verified(recorded, "--commit") == (0, "hello.toml: this commit has what was recorded\n")


@pytest.mark.parametrize("name", ["experiments/hello/hello.py", "experiments/hello/table.csv", "lockfiles/cpu.txt"])
def test_a_changed_or_missing_file_is_named(name: str, recorded: Repository) -> None:
    path = recorded.root / name
    path.write_bytes(path.read_bytes() + b"\n")
    code, said = verified(recorded)
    assert code == 1
    assert ("lock sha256" if "lock" in name else name) in said
    assert verified(recorded, "--commit")[0] == 0  # where it is as it was
    path.unlink()
    code, said = verified(recorded)
    assert (code, "(none)" in said) == (1, True)


def test_a_commit_that_is_not_here_is_said(recorded: Repository) -> None:
    shallow = recorded.root.parent / "shallow"
    recorded.git("clone", "--quiet", "--depth", "1", recorded.root.as_uri(), str(shallow))
    recorded.root = shallow
    code, said = verified(recorded, "--commit")
    assert code == 2
    assert "is not in this repository" in said
    assert verified(recorded)[0] == 0


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        ("results", "inside = ", "inside = 1"),
        ("parameters", "points = 2000", "points = 2001"),
        ("tolerances", "error = 0.001", "error = 0.1"),
        ("packages", 'version = "', 'version = "9'),
        ("machine", "processors = ", "processors = 1"),
        ("run", 'experiment = "hello"', 'experiment = "hullo"'),
    ],
)
def test_an_edited_record_is_found_and_its_table_named(table: str, old: str, new: str, recorded: Repository) -> None:
    recorded.edit("lockfiles/hello.toml", old, new)
    assert read_record(recorded.record).edited == [table]
    code, said = verified(recorded)
    assert code == 1
    assert f"record {table} as recorded edited" in said


def test_a_new_layout_is_no_edit(recorded: Repository) -> None:
    recorded.edit("lockfiles/hello.toml", "\n", "\r\n")
    recorded.edit("lockfiles/hello.toml", "[data]", "# mine\n[data]")
    assert read_record(recorded.record).edited == []


@pytest.mark.parametrize("text", ["", "[run]\n", "no = toml = at all"])
def test_what_is_no_record_is_refused(text: str, recorded: Repository) -> None:
    recorded.record.write_text(text)
    with pytest.raises(LabError, match="is no record"):
        read_record(recorded.record)


def test_a_run_of_several_processes_says_so(recorded: Repository) -> None:
    assert "processes" not in read_record(recorded.record).run
    file = recorded.root / "runs" / "second" / "provenance.json"
    about = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(about | {"processes": 2}), encoding="utf-8")
    assert recorded.torchflux("record", "runs/second", "--replace").exit_code == 0
    assert read_record(recorded.record).run["processes"] == 2


# Two side by side.


def test_diff_of_two_runs_names_what_is_different(recorded: Repository) -> None:
    recorded.edit("experiments/hello/hello.py", "4 * inside", "4.0 * inside")
    recorded.shell("run", "hello", "--set", "points=3000", "--out", "runs/third")
    done = recorded.torchflux("diff", "runs/second", "runs/third")
    said = re.sub(r" +", " ", done.stdout)
    assert done.exit_code == 1
    for row in ("parameters points 2000 3000", "code experiments/hello/hello.py", " inside 1568 "):
        assert row in said
    assert "packages" not in said


def test_diff_of_a_run_and_its_record(recorded: Repository) -> None:
    done = recorded.torchflux("diff", "runs/second", "lockfiles/hello.toml")
    assert (done.exit_code, done.stdout) == (0, "no difference\n")
