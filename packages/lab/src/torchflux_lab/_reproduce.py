"""A recorded run, again: the recorded code in a fresh environment from the recorded lock, and every result compared."""

import dataclasses
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._agreement import DIFFERENT, Agreement, agreements
from ._differences import Difference, differences
from ._environment import Environment, clean_environment
from ._error import LabError
from ._files import digests, path_of
from ._git import commit_of, holds, unpack
from ._imports import cache_folder
from ._machine import SETTINGS
from ._project import Project
from ._record import Record, read_run
from ._values import write

__all__ = ["Reproduction", "reproduce"]

# What must not leak into the run: settings of Python, of numerical libraries, and of the loader. Those that the record
# names are set as they were.
LEAKING = (
    "PYTHON",
    "TORCH",
    "OMP_",
    "MKL_",
    "KMP_",
    "GOMP_",
    "OPENBLAS_",
    "NUMBA_",
    "ATEN_",
    "ONEDNN_",
    "DNNL_",
    "LD_PRELOAD",
)
NOT_COPIED = (".git", ".venv", "venv", "runs", "__pycache__", ".*_cache", "site", "dist", "build")
TAIL_LINES = 25


@dataclass(frozen=True)
class Reproduction:
    """How a second run compares with a record: what it was made of, and its results."""

    differences: list[Difference]
    results: list[Agreement]

    @property
    def succeeded(self) -> bool:
        """Whether everything that the record pins was the same, and every result agrees."""
        return not any(each.matters for each in self.differences) and DIFFERENT not in {r.verdict for r in self.results}


def reproduce(record: Record, project: Project, folder: Path, say: Callable[[str], None]) -> Reproduction:
    """Run a recorded experiment again and compare.

    **Arguments:**

    - `record`: what is to be reproduced.
    - `project`: where its repository is checked out; nothing in it is changed.
    - `folder`: an empty one; it gets `code`, `environment`, `cache` and `run`, 2 GB with PyTorch.
    - `say`: is told what is being done.

    **Raises:** `LabError` when the record was edited, its code, data or lock cannot be had as they were, a package has
    another hash, or the run fails. The message names what.
    """
    if record.edited:
        raise LabError(f"This record was changed after it was made: {', '.join(record.edited)}. It is not reproduced.")
    code = folder / "code"
    say(f"code: {gather(record, project, code)}")
    environment = Environment(
        folder / "environment", code / record.lock["file"], lambda line: say(f"environment: {line}")
    )
    environment.create()
    environment.install_lock("--no-compile")
    if record.run["local"]:
        say(f"environment: installing this project's packages: {', '.join(record.run['local'])}")
        environment.install_editable(code / name for name in record.run["local"])
    say(f"run: {record.experiment} (took {record.run['seconds']:.0f} s when it was recorded)")
    _keep_weights(record, folder / "cache")
    run_again(record, environment, folder)
    return compared(record, read_run(folder / "run")[0])


def gather(record: Record, project: Project, code: Path) -> str:
    """Put the recorded code into a folder, from its commit, or, file by file, from this checkout where that still has
    what was recorded. Returns where it is from.

    **Raises:** `LabError`, which names every file that cannot be had as it was recorded.
    """
    commit = record.run["commit"]
    known = bool(commit) and holds(project.root, commit)
    _base(project, code, commit if known else commit_of(project.root))
    names = [name for name in record.files if not name.startswith("~/")]
    wrong = _wrong(record, code, names)
    for name in set(wrong) - set(_wrong(record, project.root, list(wrong))):
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project.root / name, code / name)
    wrong = _wrong(record, code, names) | _wrong(record, code, [name for name in record.data if name.startswith("~/")])
    origin = f"commit {commit[:12]}" if known else "this checkout, as the recorded commit is not in it"
    if wrong:
        listed = "\n".join(f"  - {name}: {what}" for name, what in wrong.items())
        raise LabError(f"What was recorded cannot be had from {origin}:\n{listed}")
    return f"{origin}, {len(record.files)} files as recorded"


def _base(project: Project, code: Path, commit: str | None) -> None:
    """The whole project as a commit has it, or as it lies here."""
    if commit:
        code.mkdir(parents=True)
        unpack(project.root, commit, code)
    else:
        shutil.copytree(project.root, code, ignore=shutil.ignore_patterns(*NOT_COPIED))


def _wrong(record: Record, root: Path, names: list[str]) -> dict[str, str]:
    """The files that are not in a folder as they were recorded."""
    found = digests(root, names)
    wrong = [name for name in names if found.get(name) != record.files[name]]
    return {name: "has another content" if name in found else "is not there" for name in wrong}


def _keep_weights(record: Record, cache: Path) -> None:
    """Put recorded files that torchflux keeps, such as published weights, where the run will look for them."""
    for path in (path_of(cache, name) for name in record.data if name.startswith("~/")):
        if path.is_relative_to(cache_folder()):
            target = cache / path.relative_to(cache_folder())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def run_again(record: Record, environment: Environment, folder: Path) -> None:
    """Run the experiment with the recorded parameters, settings and threads.

    **Raises:** `LabError` with the end of what it printed when it fails.
    """
    script = folder / "code" / record.run["script"]
    command = [*isolated(environment), "-m", "torchflux_lab", "run", record.experiment]
    command += ["--experiments", str(script.parents[1]), "--out", str(folder / "run")]
    command += [word for setting in _settings(record.parameters) for word in ("--set", setting)]
    command += ["--nproc", str(record.run["processes"])] if "processes" in record.run else []
    done = subprocess.run(
        command,
        env=_run_environment(record, folder),
        cwd=folder / "code",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    (folder / "run.log").write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        tail = "\n".join(done.stdout.rstrip().splitlines()[-TAIL_LINES:])
        raise LabError(f"The run failed in the fresh environment. It ended with:\n{tail}")


def isolated(environment: Environment) -> list[str]:
    """Its Python, which sees no folder but its own. Variables that would show it others are not set, see `LEAKING`."""
    return [str(environment.python), "-s", "-P"]


def _settings(parameters: dict[str, Any]) -> list[str]:
    """Parameters as the command line takes them. What has no text there, such as a dict, was at its default."""
    return [f"{name}={write(value)}" for name, value in parameters.items() if not _nested(value)]


def _nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, list | dict) for each in value))


def _run_environment(record: Record, folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in clean_environment().items() if not name.startswith((*LEAKING, *SETTINGS))}
    threads = {"OMP_NUM_THREADS": str(record.machine["threads"])}
    alone = {"PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1"}  # for the processes that it starts
    caches = {"TORCHFLUX_CACHE": str(folder / "cache"), "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache" / "inductor")}
    return kept | threads | record.run["settings"] | alone | caches | {"COLUMNS": "120"}


def compared(record: Record, again: Record) -> Reproduction:
    """A record and the run that was to reproduce it. Packages that one of them loaded alone came from the same lock."""
    both = record.packages.keys() & again.packages.keys()
    packages = {name: again.packages[name] for name in both}
    recorded = dataclasses.replace(record, packages={name: record.packages[name] for name in both})
    machine = again.machine | {"processors": record.machine.get("processors")}  # only the threads matter
    again = dataclasses.replace(again, packages=packages, machine=machine)
    found = differences(recorded, again, ("parameters", "code", "data", "packages", "machine"))
    return Reproduction(found, agreements(record.results, again.results, record.tolerances))
