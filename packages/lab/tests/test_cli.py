"""The command as one meets it in a shell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from torchflux_lab import __version__

if TYPE_CHECKING:
    from conftest import Project

TOY = (Path(__file__).parent / "toy" / "toy.py").read_text(encoding="utf-8")

# Prints which of the slow modules a command has imported.
IMPORTED = """
import sys
from torchflux_lab._cli import app
app(sys.argv[1:], standalone_mode=False)
print("imported:", sorted({"torch", "torchflux", "numpy"} & set(sys.modules)))
"""


def test_experiments_are_listed_with_a_line_each(project: Project) -> None:
    project.add_short("adder", "return {}", summary="Adds [red] numbers.")
    result = project.torchflux("list")
    assert result.exit_code == 0
    rows = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    listed = [(row[0], row[1].strip()) for row in rows if len(row) == 2]
    assert listed == [("experiment", "what it is"), ("adder", "Adds [red] numbers."), ("toy", "A toy: it counts.")]


def test_an_empty_folder_is_no_error(empty: Project) -> None:
    (empty.root / "experiments").mkdir()
    result = empty.torchflux("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "There are no experiments in experiments yet" in result.stderr


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["run", "--help"], ["--version"], ["run", "unknown"]])
def test_what_runs_nothing_does_not_import_pytorch(arguments: list[str], project: Project) -> None:
    command = [sys.executable, "-c", IMPORTED, *arguments]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True)
    assert "imported: []" in done.stdout, done.stderr


def test_the_version_names_what_results_depend_on(project: Project) -> None:
    done = project.shell("--version")
    assert done.returncode == 0
    assert done.stdout.startswith(f"torchflux-lab {__version__} (python 3.")
    assert "torch 2." in done.stdout


def test_without_arguments_it_explains_itself(project: Project) -> None:
    done = project.shell()
    assert "Usage: torchflux [OPTIONS] COMMAND" in done.stdout + done.stderr


def test_a_real_run_with_pytorch_and_a_progress_bar(project: Project) -> None:
    body = "from tqdm import trange\nimport torch\ntorch.manual_seed(parameters.seed)\n"
    project.add_short("real", body + "return {'sum': sum(torch.rand(()) for _ in trange(3, desc='training'))}")
    runs = [project.shell("run", "real", "--seed", "5", "--out", out) for out in ("one", "two")]
    for done in runs:
        assert done.returncode == 0, done.stderr
        assert "training: 100%" in done.stderr
    value = [line for line in runs[0].stdout.splitlines() if "sum" in line]
    assert value == [line for line in runs[1].stdout.splitlines() if "sum" in line]


def test_the_script_runs_without_the_lab_too(project: Project) -> None:
    script = project.root / "experiments" / "toy" / "toy.py"
    done = subprocess.run([sys.executable, str(script)], cwd=project.root, capture_output=True, text=True)
    assert done.stdout == "{'sum': 3, 'test': {'rate': 0.5}, 'counts': [1, 2]}\n"


def test_worker_processes_find_what_the_script_defines(project: Project) -> None:
    project.add(
        "workers",
        TOY.split("def main(")[0]
        + "import multiprocessing\n\ndef double(x):\n    return 2 * x\n\n"
        + "def main(parameters, out):\n    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        + "        return {'doubled': pool.map(double, [21])[0]}\n",
    )
    done = project.shell("run", "workers")
    assert done.returncode == 0, done.stderr
    assert ["doubled", "42"] in [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["rum", "toy"], 2, "Did you mean 'run'"),
        (["run"], 2, "Missing argument 'NAME'"),
        (["run", "tay"], 2, "Error: There is no experiment 'tay'"),
        (["run", "toy", "--sett", "steps=1"], 2, "--set"),
        (["run", "toy", "--set", "steps=many"], 2, "Error: 'steps' was given 'many', and int was expected"),
        (["list", "--experiments", "nowhere"], 2, "nowhere does not exist"),
    ],
)
def test_misuse_in_a_shell(arguments: list[str], code: int, said: str, project: Project) -> None:
    done = project.shell(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_experiments_folder_by_the_environment(project: Project) -> None:
    (project.root / "experiments").rename(project.root / "elsewhere")
    done = project.shell("list", TORCHFLUX_EXPERIMENTS=str(project.root / "elsewhere"))
    assert "A toy: it counts." in done.stdout


def test_a_terminal_of_ascii_only(project: Project) -> None:
    done = project.shell("run", "toy", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr


def complete(project: Project, line: str) -> list[str]:
    """What bash would offer behind this line."""
    variables = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    return project.shell(_TORCHFLUX_COMPLETE="complete_bash", **variables).stdout.split()


def test_a_shell_completes_names(project: Project) -> None:
    project.add_short("adder", "return {}")
    assert complete(project, "torchflux run ") == ["adder", "toy"]
    assert complete(project, "torchflux run t") == ["toy"]
    (project.root / "experiments").rename(project.root / "elsewhere")
    assert complete(project, "torchflux run --experiments elsewhere t") == ["toy"]
    assert complete(project, "torchflux run --experiments nowhere t") == []
