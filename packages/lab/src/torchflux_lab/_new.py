"""A new project: a folder in which experiments can be run, recorded and reproduced."""

import re
from pathlib import Path

from ._error import LabError

__all__ = ["new_project"]

TEMPLATE = Path(__file__).with_name("template")
RENAMED = {"gitignore": ".gitignore"}  # which would be obeyed in this repository


def new_project(folder: Path) -> list[Path]:
    """Write a project with one experiment, `hello`, into a folder. Returns the files.

    **Raises:** `LabError` when one of them is there already, or cannot be written; nothing is written over.
    """
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "experiments"
    sources = sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and path.suffix != ".pyc")
    files = {source: folder / _name(source.relative_to(TEMPLATE)) for source in sources}
    if taken := [path for path in files.values() if path.exists()]:
        raise LabError(f"{taken[0]} is there already, and would be written over. Name another folder.")
    try:
        for source, path in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source.read_text(encoding="utf-8").replace("PROJECT", name), encoding="utf-8")
    except OSError as error:
        raise LabError(f"{error.filename} cannot be written: {error.strerror}.") from error
    return list(files.values())


def _name(path: Path) -> Path:
    return path.with_name(RENAMED.get(path.name, path.name))
