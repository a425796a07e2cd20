"""Reading a script without running it, and loading it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from torchflux_lab import Experiment, LabError, ScriptError

if TYPE_CHECKING:
    from conftest import Project

TOY = (Path(__file__).parent / "toy" / "toy.py").read_text(encoding="utf-8")


def experiment(project: Project, source: str, name: str = "made") -> Experiment:
    return Experiment(name, project.add(name, source))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (TOY, "A toy: it counts."),
        ('"""\n   Indented, after an empty line.\n"""', "Indented, after an empty line."),
        ("", "(no docstring)"),
        ('""" """', "(no docstring)"),
        ("def f(:", "(cannot be read: invalid syntax (made.py, line 1))"),
        ('"""Doubtful escape."""\npattern = "\\d"', "Doubtful escape."),
        ('"""Not run."""\nraise SystemExit', "Not run."),
    ],
)
def test_the_summary_is_the_docstrings_first_line(source: str, expected: str, empty: Project) -> None:
    assert experiment(empty, source).summary == expected


def test_a_script_that_is_no_text_has_a_summary_too(empty: Project) -> None:
    script = empty.add("binary", "")
    script.write_bytes(b"\xff\xfe\x00")
    assert Experiment("binary", script).summary.startswith("(cannot be read")


def test_a_loaded_script_sees_its_neighbours_and_leaves_nothing_behind(project: Project) -> None:
    made = experiment(project, "import made_neighbour\n" + TOY)
    (made.script.parent / "made_neighbour.py").touch()
    path = list(sys.path)
    with made.loaded() as program:
        assert sys.modules[program.parameters.__module__].__file__ == str(made.script)
        assert sys.path[0] == str(made.script.parent)
    assert sys.path == path
    assert not {"made", "made_neighbour"} & set(sys.modules)
    assert not list(made.script.parent.glob("__pycache__/made.*"))


def test_neighbours_of_the_same_name_are_each_experiments_own(empty: Project) -> None:
    for name in ("first", "second"):
        made = experiment(empty, "import picture\n" + TOY, name)
        (made.script.parent / "picture.py").write_text(f"of = {name!r}")
        with made.loaded():
            assert sys.modules["picture"].of == name


def test_a_loaded_script_is_not_the_main_program(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    with experiment(project, TOY).loaded():
        pass
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def main(", "def start(", "has no function main"),
        ("parameters: Parameters, out: Path", "out", "made.py has main(out) -> dict; the lab calls"),
        ("Parameters", "Settings", "has no class Parameters"),
        ("@dataclass\n", "", "Parameters that is not a dataclass"),
    ],
)
def test_what_an_experiment_must_declare_is_said(old: str, new: str, said: str, project: Project) -> None:
    with pytest.raises(LabError) as error, experiment(project, TOY.replace(old, new)).loaded():
        pytest.fail("was loaded")
    assert said in str(error.value)


def test_a_name_that_a_module_has_already_is_refused(project: Project) -> None:
    with pytest.raises(LabError, match="cannot be called 'typing'"), experiment(project, TOY, "typing").loaded():
        pytest.fail("was loaded")
    assert sys.modules["typing"].__name__ == "typing"


def test_what_the_script_raises_keeps_its_own_frames_only(project: Project) -> None:
    made = experiment(project, "def f():\n    return 1 / 0\n\nf()")
    with pytest.raises(ScriptError, match=r"made\.py raised ZeroDivisionError") as error, made.loaded():
        pytest.fail("was loaded")
    frame = error.value.__cause__.__traceback__
    lines = []
    while frame:
        lines.append((frame.tb_frame.f_code.co_filename, frame.tb_lineno))
        frame = frame.tb_next
    assert lines == [(str(made.script), 4), (str(made.script), 2)]
