"""Where experiments are looked for, and what is said when there are none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from torchflux_lab import LabError, _find, experiments, experiments_folder, find

if TYPE_CHECKING:
    from conftest import Project


def test_it_is_found_from_any_folder_below(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = project.root / "experiments" / "toy" / "deep" / "deeper"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert experiments_folder() == project.root / "experiments"


def test_the_nearest_one_is_taken(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    nearer = project.root / "inner" / "experiments"
    nearer.mkdir(parents=True)
    monkeypatch.chdir(nearer.parent)
    assert experiments_folder() == nearer


def test_a_named_folder_goes_before_the_variable_and_that_before_the_nearest(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("named", "variable"):
        (project.root / name).mkdir()
    monkeypatch.setenv("TORCHFLUX_EXPERIMENTS", "variable")
    assert experiments_folder() == project.root / "variable"
    assert experiments_folder(Path("named")) == project.root / "named"


def test_a_checkout_is_found_from_anywhere(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    source = empty.root / "clone" / "packages" / "lab" / "src" / "torchflux_lab"
    source.mkdir(parents=True)
    (source.parent.parent / "pyproject.toml").touch()
    (empty.root / "clone" / "experiments").mkdir()
    monkeypatch.setattr(_find, "__file__", str(source / "_find.py"))
    assert experiments_folder() == empty.root / "clone" / "experiments"


@pytest.fixture
def installed(empty: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project where the lab is not a checkout's, as for most users."""
    monkeypatch.setattr(_find, "__file__", str(empty.root / "site-packages" / "torchflux_lab" / "_find.py"))
    return empty


def test_no_folder_says_where_it_looked_and_how_to_name_one(installed: Project) -> None:
    result = installed.torchflux("list")
    assert result.exit_code == 2
    for said in (str(installed.root), "every folder above", "--experiments DIR", "TORCHFLUX_EXPERIMENTS"):
        assert said in result.stderr.replace("\n", " ")


@pytest.mark.parametrize("given", ["missing", "file"])
def test_a_named_folder_that_is_none_is_refused(given: str, project: Project) -> None:
    (project.root / "file").touch()
    expected = {"missing": "does not exist", "file": "is a file"}[given]
    with pytest.raises(LabError, match=f"{given} {expected}"):
        experiments_folder(Path(given))
    assert given in project.torchflux("list", "--experiments", given).stderr


def test_experiments_are_folders_with_a_script_of_the_same_name(project: Project) -> None:
    project.add("adder", "")
    (project.root / "experiments" / "adder" / "other.py").touch()
    (project.root / "experiments" / "notes").mkdir()
    (project.root / "experiments" / "README.md").touch()
    assert [each.name for each in experiments(experiments_folder())] == ["adder", "toy"]


def test_an_unknown_name_suggests_those_spelt_like_it(project: Project) -> None:
    with pytest.raises(LabError, match=r"no experiment 'tay'(?s:.*)Did you mean 'toy'\?"):
        find("tay", experiments_folder())
    with pytest.raises(LabError) as unlike:
        find("treebank", experiments_folder())
    assert "Did you mean" not in str(unlike.value)
    assert "torchflux list" in str(unlike.value)


@pytest.mark.parametrize("name", ["../experiments/toy", "toy/toy", "toy.py", ""])
def test_a_path_is_no_name(name: str, project: Project) -> None:
    with pytest.raises(LabError, match="There is no experiment"):
        find(name, experiments_folder())


def test_an_unknown_name_where_there_are_none_says_how_to_write_one(empty: Project) -> None:
    (empty.root / "experiments").mkdir()
    with pytest.raises(LabError, match=r"none yet: write toy.toy\.py"):
        find("toy", experiments_folder())


def test_of_a_relative_folder_too_neighbours_are_forgotten(empty: Project) -> None:
    """Once the next experiment got the last one's module of the same name."""
    for name in ("one", "two"):
        script = empty.add_short(name, "import picture\nreturn {'of': picture.OF}")
        (script.parent / "picture.py").write_text(f"OF = {name!r}", encoding="utf-8")
    for name in ("one", "two"):
        with find(name, Path("experiments")).loaded() as program:
            assert program.main(program.parameters(), empty.root) == {"of": name}
