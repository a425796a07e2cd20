"""Where the experiments are, and which there are."""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from ._error import LabError
from ._experiment import Experiment

__all__ = ["VARIABLE", "experiments", "experiments_folder", "find"]

#: The environment variable that names the experiments folder.
VARIABLE = "TORCHFLUX_EXPERIMENTS"


def experiments_folder(given: Path | None = None) -> Path:
    """The folder that holds the experiments.

    **Arguments:**

    - `given`: this folder and no other. Without it, the folder that `TORCHFLUX_EXPERIMENTS` names; else the
      nearest `experiments` folder at or above the working directory; else the one of the checkout that this
      package is installed from.

    **Raises:** `LabError`, which says where it looked.
    """
    named = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if named is not None:
        return _existing(named)
    folder = next((place for place in _places() if place.is_dir()), None)
    if folder is None:
        raise LabError(
            f"There is no experiments folder: looked for one named 'experiments' in {Path.cwd()} and every folder "
            f"above it.\nGo to your project, or name the folder: --experiments DIR, or {VARIABLE}=DIR."
        )
    return folder


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise LabError(f"The experiments folder {folder} {'is a file' if folder.exists() else 'does not exist'}.")
    return folder.resolve()


def _places() -> Iterator[Path]:
    """Where an experiments folder may be, nearest first."""
    here = Path.cwd()
    yield from (above / "experiments" for above in (here, *here.parents))
    checkout = _checkout(Path(__file__).resolve())
    if checkout:
        yield checkout / "experiments"


def _checkout(module: Path) -> Path | None:
    """The repository that a module was imported from, if it was not copied into a site-packages folder.

    >>> _checkout(Path("/venv/lib/python3.11/site-packages/torchflux_lab/_find.py"))
    """
    package = module.parent.parent.parent  # packages/lab, above src/torchflux_lab/_find.py
    return package.parent.parent if (package / "pyproject.toml").is_file() else None


def experiments(folder: Path) -> list[Experiment]:
    """Every experiment of a folder, by name: the folders NAME that hold a script NAME.py."""
    scripts = (inner / f"{inner.name}.py" for inner in sorted(folder.resolve().iterdir()))
    return [Experiment(script.stem, script) for script in scripts if script.is_file()]


def find(name: str, folder: Path) -> Experiment:
    """The experiment of this name.

    **Raises:** `LabError`, which names those that are spelt like it.
    """
    known = {experiment.name: experiment for experiment in experiments(folder)}
    if name not in known:
        raise LabError(f"There is no experiment '{name}' in {folder}.\n{_advice(name, list(known))}")
    return known[name]


def _advice(name: str, known: list[str]) -> str:
    """What to type instead.

    >>> _advice("dam", ["dan", "treebank"])
    "Did you mean 'dan'? `torchflux list` shows them all."
    """
    if not known:
        return f"It holds none yet: write {Path(name, name)}.py there."
    close = difflib.get_close_matches(name, known)
    question = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
    return question + "`torchflux list` shows them all."
